"""Events of the storefront, up to a thousand at once, each with its own verdict."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection

from service.activity import events_store
from service.catalogue import operations as catalogue
from service.kit.clock import FUTURE_TOLERANCE, format_time
from service.kit.db import dumps
from service.members import operations as members

_TEXTS = (
    "anonymous_id",
    "session_id",
    "touchpoint",
    "source",
    "recommendation_id",
    "impression_id",
    "attribution_token",
)


@dataclass(frozen=True, slots=True)
class EventVerdict:
    """What became of an event: `event_key` where it is recorded, `item_key` where a new one has it."""

    event_id: str
    status: Literal["accepted", "duplicate", "rejected"]
    code: str | None = None
    detail: str | None = None
    event_key: int | None = None
    item_key: int | None = None


@dataclass(frozen=True, slots=True)
class Echo:
    """The answer an event names by its id or its token, and why the token does not hold, if it does not."""

    recommendation_id: str | None
    fault: str | None = None


def record_events(
    conn: Connection,
    *,
    events: Sequence[Mapping[str, Any]],
    now: datetime,
    echoes: Sequence[Echo] | None = None,
) -> list[EventVerdict]:
    """Record events that are new and return one verdict each, in the order given.

    `echoes`, one for each event, say what became of its token; without them no token was looked at.

    A verdict's `status` is `accepted`, `duplicate` (recorded before, the same) or `rejected` with a `code`:
    `order-conflict` (recorded before, otherwise), `future-time` or `member-not-enrolled`.
    """
    hashes = [_content_hash(event) for event in events]
    owners = members.find_owners(
        conn, member_ids=sorted({event["member_id"] for event in events if event.get("member_id")})
    )
    verdicts: dict[int, EventVerdict] = {}
    first: dict[str, int] = {}
    repeated: list[int] = []
    for index, event in enumerate(events):
        event_id = event["event_id"]
        if event["occurred_at"] > now + FUTURE_TOLERANCE:
            verdicts[index] = _reject(event_id, "future-time", "more than five minutes ahead of our clock")
        elif event.get("member_id") and event["member_id"] not in owners:
            verdicts[index] = _reject(event_id, "member-not-enrolled", "no such member")
        elif event_id in first:
            repeated.append(index)
        else:
            first[event_id] = index
    if echoes is None:
        echoes = [Echo(event.get("recommendation_id")) for event in events]
    _record(conn, events, echoes, hashes, first, owners, verdicts, now)
    for index in repeated:
        event_id = events[index]["event_id"]
        known = first[event_id]
        verdicts[index] = _again(event_id, verdicts[known].event_key, is_same=hashes[index] == hashes[known])
    return [verdicts[index] for index in range(len(events))]


def _record(
    conn: Connection,
    events: Sequence[Mapping[str, Any]],
    echoes: Sequence[Echo],
    hashes: Sequence[bytes],
    candidates: Mapping[str, int],
    owners: Mapping[str, members.Owner],
    verdicts: dict[int, EventVerdict],
    now: datetime,
) -> None:
    if not candidates:
        return
    indexes = list(candidates.values())
    claimed = events_store.claim(
        conn,
        rows={
            "event_ids": list(candidates),
            "occurred_ats": [events[index]["occurred_at"] for index in indexes],
            "content_hashes": [hashes[index] for index in indexes],
        },
    )
    taken = [event_id for event_id in candidates if event_id not in claimed]
    known = events_store.find_known(conn, event_ids=taken) if taken else {}
    item_keys = catalogue.ensure_items(
        conn,
        skus=(
            events[candidates[event_id]]["sku"]
            for event_id in claimed
            if events[candidates[event_id]].get("sku")
        ),
        now=now,
    )
    rows = []
    for event_id, index in candidates.items():
        if event_id in claimed:
            row = _row(events[index], echoes[index], claimed[event_id], owners, item_keys)
            rows.append(row)
            verdicts[index] = EventVerdict(
                event_id, "accepted", event_key=claimed[event_id], item_key=row["item_key"]
            )
        else:
            event_key, content_hash = known.get(event_id, (None, None))
            verdicts[index] = _again(event_id, event_key, is_same=content_hash == hashes[index])
    if rows:
        events_store.add(conn, events=dumps(rows), now=now)
        link_visitors(conn, links=_find_links(rows), now=now)


def link_visitors(conn: Connection, *, links: Mapping[str, int], now: datetime) -> None:
    """Let what anonymous visitors did, and will do, count for the members who they turned out to be.

    `links` holds a member's own key by anonymous id. Of two members the first stands.
    """
    if links:
        new = events_store.link_visitors(conn, links=links, now=now)
        if new:
            events_store.adopt_events(conn, anonymous_ids=new)


def _find_links(rows: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Return the member's own key of each visitor whose event names both, the earliest event first."""
    links: dict[str, int] = {}
    for row in sorted(rows, key=lambda row: (row["occurred_at"], row["event_key"])):
        if row["anonymous_id"] is not None and row["member_key"] is not None:
            links.setdefault(row["anonymous_id"], row["origin_key"] or row["member_key"])
    return links


def _row(
    event: Mapping[str, Any],
    echo: Echo,
    event_key: int,
    owners: Mapping[str, members.Owner],
    item_keys: Mapping[str, int],
) -> dict[str, Any]:
    owner = owners.get(event.get("member_id") or "")
    return {
        "event_key": event_key,
        "occurred_at": format_time(event["occurred_at"]),
        "type": event["type"],
        "member_key": None if owner is None else owner.member_key,
        "origin_key": None if owner is None else owner.origin_key,
        "item_key": item_keys.get(event.get("sku") or ""),
        "dwell_seconds": None if event.get("dwell_seconds") is None else str(event["dwell_seconds"]),
        "page_depth": event.get("page_depth"),
        "attributes": event.get("attributes"),
        **{name: event.get(name) for name in _TEXTS},
        "recommendation_id": echo.recommendation_id,
        "attribution_fault": echo.fault,
    }


def _content_hash(event: Mapping[str, Any]) -> bytes:
    plain = {
        name: value if isinstance(value, dict | int | None) else str(value)
        for name, value in sorted(event.items())
    }
    return hashlib.sha256(dumps(plain).encode()).digest()


def _again(event_id: str, event_key: int | None, *, is_same: bool) -> EventVerdict:
    if is_same:
        return EventVerdict(event_id, "duplicate", event_key=event_key)
    return _reject(event_id, "order-conflict", "recorded before with other content")


def _reject(event_id: str, code: str, detail: str) -> EventVerdict:
    return EventVerdict(event_id, "rejected", code, detail)
