"""Routes of activity that touch no other room: events."""

from __future__ import annotations

from typing import Any

from service.activity import events
from service.activity.schemas import EventsBody, EventVerdictsSchema
from service.kit.http import Blueprint, Door

blueprint = Blueprint("activity", __name__, url_prefix="/v1", description="What happened on the storefront.")


@blueprint.door(
    "POST",
    "/events",
    roles=("server", "operations", "admin", "storefront"),
    body=EventsBody(),
    answers={200: EventVerdictsSchema()},
    idempotency_key="optional",
)
def record_events(door: Door, body: dict[str, Any]) -> object:
    """Record up to 1,000 events; each gets its own verdict.

    An event is known by its `event_id`: sending it again changes nothing. A storefront sends events of its
    token's own member and of anonymous visitors; one event of somebody else has the whole batch refused.
    """
    if door.caller.role == "storefront":
        for event in body["events"]:
            if event.get("member_id") is not None:
                door.caller.check_member(event["member_id"])
    verdicts = events.record_events(door.conn, events=body["events"], now=door.now)
    accepted = sum(verdict["status"] == "accepted" for verdict in verdicts)
    return {"data": verdicts, "accepted": accepted}
