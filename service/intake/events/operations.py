"""Events as a story: facts first, then what the earning rules of their time give for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from service.activity import operations as activity
from service.activity.operations import EventVerdict
from service.earning import operations as earning
from service.earning.operations import RuleTimeline, SeenEvent
from service.kit import outbox
from service.kit.clock import local_day
from service.kit.outbox import Event
from service.ledger import operations as ledger
from service.ledger.operations import Balance
from service.members import operations as members
from service.programme.operations import Programme
from service.recommendations import operations as recommendations
from service.recommendations.operations import AttributionKeys


def take_events(
    conn: Connection,
    *,
    events: Sequence[Mapping[str, Any]],
    by_storefront: bool,
    programme: Programme,
    now: datetime,
    keys: AttributionKeys | None = None,
    tells: bool = True,
) -> list[dict[str, Any]]:
    """Record events that are new, award those that earn, and return one verdict each, in the order given.

    An event is awarded in the transaction that records it, so both happen once or not at all. `tells` others
    of each award; an import does not. `keys` judge the tokens that events echo; without them, as in an
    import, none is looked at.
    """
    timeline = earning.recall_rules(conn, programme=programme)
    if any(event.get("member_id") for event in events):
        members.keep_owners(conn)
    # Accounts come before all else, as in an order's story.
    accounts = _lock_accounts(conn, events, timeline, now)
    echoes = None if keys is None else [recommendations.read_echo(keys, event) for event in events]
    verdicts = activity.record_events(conn, events=events, now=now, echoes=echoes)
    points = _known_points(conn, events, verdicts, timeline)
    told = []
    for index in sorted(range(len(events)), key=lambda i: (events[i]["occurred_at"], events[i]["event_id"])):
        event, verdict = events[index], verdicts[index]
        account = accounts.get(event.get("member_id") or "")
        if verdict.status != "accepted" or account is None or verdict.event_key is None:
            continue
        points[verdict.event_key] = _award(
            conn, event, verdict, account, timeline, by_storefront, programme, now
        )
        if points[verdict.event_key]:
            payload = {
                "event_id": event["event_id"],
                "type": event["type"],
                "points": points[verdict.event_key],
            }
            told.append(Event("points.rewarded", account.member_key, payload, event["occurred_at"]))
    if told and tells:
        outbox.emit_all(conn, events=told)
    return [
        {
            "event_id": verdict.event_id,
            "status": verdict.status,
            "code": verdict.code,
            "detail": verdict.detail,
            "points": points.get(verdict.event_key or 0, 0),
        }
        for verdict in verdicts
    ]


def _lock_accounts(
    conn: Connection, events: Sequence[Mapping[str, Any]], timeline: RuleTimeline, now: datetime
) -> dict[str, Balance]:
    """Lock the accounts of those who may earn, by ascending key; nobody's where no type is rewarded."""
    rewarded = timeline.event_types
    member_ids = sorted(
        {event["member_id"] for event in events if event["type"] in rewarded and event.get("member_id")}
    )
    if not member_ids:
        return {}
    keys = members.find_keys(conn, member_ids=member_ids)
    return {
        member_id: ledger.lock_account(conn, member_key=key, now=now)
        for member_id, key in sorted(keys.items(), key=lambda item: item[1])
    }


def _known_points(
    conn: Connection,
    events: Sequence[Mapping[str, Any]],
    verdicts: Sequence[EventVerdict],
    timeline: RuleTimeline,
) -> dict[int, int]:
    """Return what events recorded before have earned, so that a repetition gets the first answer."""
    keys = [
        verdict.event_key
        for event, verdict in zip(events, verdicts, strict=True)
        if verdict.status == "duplicate"
        and verdict.event_key is not None
        and event["type"] in timeline.event_types
    ]
    return dict(earning.find_awards(conn, event_keys=keys))


def _award(
    conn: Connection,
    event: Mapping[str, Any],
    verdict: EventVerdict,
    account: Balance,
    timeline: RuleTimeline,
    by_storefront: bool,
    programme: Programme,
    now: datetime,
) -> int:
    at = event["occurred_at"]
    day = local_day(at, timezone=programme.timezone)
    if verdict.event_key is None:
        raise ValueError("an event without a key was not recorded")
    seen = SeenEvent(
        event_key=verdict.event_key,
        type=event["type"],
        occurred_at=at,
        day=day,
        item_key=verdict.item_key,
        by_storefront=by_storefront,
    )
    expiry = ledger.expiry_of(
        day, expiry=programme.settings_at(at).points_expiry, timezone=programme.timezone
    )
    return earning.award_event(
        conn, event=seen, rules=timeline.at(at), account=account, expiry=expiry, now=now
    )
