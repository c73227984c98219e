"""The route of events."""

from __future__ import annotations

from typing import Any

from service.activity.schemas import EventsBody, EventVerdictsSchema
from service.intake.events.operations import take_events
from service.kit.http import Blueprint, Door
from service.programme.operations import get_programme

blueprint = Blueprint("events", __name__, url_prefix="/v1", description="What happened on the storefront.")


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

    An event is known by its `event_id`: sending it again changes nothing. A custom event of a member earns
    points where the earning rules reward its type, once, and not beyond their limits. A storefront sends
    events of its token's own member and of anonymous visitors; one event of somebody else has the whole batch
    refused, and what it sends earns only where the rules say so. An event names the answer it came of by
    `recommendation_id`, by `attribution_token`, or by both; one with a forged, foreign or expired token is
    recorded, and credits nothing.
    """
    is_storefront = door.caller.role == "storefront"
    if is_storefront:
        for event in body["events"]:
            if event.get("member_id") is not None:
                door.caller.check_member(event["member_id"])
    verdicts = take_events(
        door.conn,
        events=body["events"],
        by_storefront=is_storefront,
        programme=get_programme(door.conn),
        now=door.now,
        keys=door.desk.tools["serving"].keys,
    )
    accepted = sum(verdict["status"] == "accepted" for verdict in verdicts)
    return {"data": verdicts, "accepted": accepted}
