"""Read the log of tier changes: what was believed, and what should have been."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, Row

from service.kit.clock import format_time, local_day
from service.kit.pagination import decode_cursor, encode_cursor, page
from service.programme.operations import Programme
from service.tiers import store
from service.tiers.lives import read_life
from service.tiers.resuming import read_pins
from service.tiers.rules import HeldTier
from service.tiers.rulesets import recall_timeline
from service.tiers.standing import metrics_json

Basis = Literal["believed", "replay"]
_NEWEST = 2**63 - 1


def list_changes(
    conn: Connection,
    *,
    member_key: int,
    basis: Basis = "believed",
    limit: int,
    cursor: str | None,
    now: datetime,
    programme: Programme,
) -> dict[str, Any]:
    """Return a page of a member's tier changes, the latest first.

    `believed` is the log as it was written, superseded rows included; `replay` folds all facts known now
    and writes nothing.

    Raises:
        Malformed: not a cursor of this list.
    """
    key = decode_cursor(cursor, types=(int,))
    before = _NEWEST if key is None else key[0]
    if basis == "believed":
        rows = store.list_log(conn, member_key=member_key, before=before, limit=limit + 1)
        shown = [_logged_json(row) for row in rows]
        return page(shown, limit=limit, cursors=[encode_cursor(row.change_key) for row in rows])
    replayed = _replay(conn, member_key, now, programme)
    places = [place for place in range(len(replayed) - 1, -1, -1) if place < before][: limit + 1]
    return page(
        [replayed[place] for place in places],
        limit=limit,
        cursors=[encode_cursor(place) for place in places],
    )


def _replay(
    conn: Connection, member_key: int, now: datetime, programme: Programme
) -> list[dict[str, object]]:
    member = read_life(conn, member_key=member_key).fold(
        timeline=recall_timeline(conn),
        programme=programme,
        until=local_day(now, timezone=programme.timezone),
        pins=read_pins(conn, member_keys=[member_key]).get(member_key, ()),
        at=now,
    )
    orders = store.find_order_ids(
        conn, order_keys=[change.order_key for change in member.changes if change.order_key is not None]
    )
    refunds = store.find_refund_ids(
        conn, refund_keys=[change.refund_key for change in member.changes if change.refund_key is not None]
    )
    return [
        {
            "from": change.from_tier,
            "to": change.to_tier,
            "effective_at": format_time(change.effective_at),
            "recorded_at": None,
            "superseded_at": None,
            "cause": change.cause,
            "ruleset_version": change.rules.version,
            "metrics": metrics_json(change.metrics, currency=change.rules.currency),
            "order_id": None if change.order_key is None else orders.get(change.order_key),
            "refund_id": None if change.refund_key is None else refunds.get(change.refund_key),
        }
        for change in member.changes
    ]


def _logged_json(row: Row[Any]) -> dict[str, object]:
    return {
        "from": row.from_tier,
        "to": row.to_tier,
        "effective_at": format_time(row.effective_at),
        "recorded_at": format_time(row.recorded_at),
        "superseded_at": None if row.superseded_at is None else format_time(row.superseded_at),
        "cause": row.cause,
        "ruleset_version": row.ruleset_version,
        "metrics": row.metrics,
        "order_id": row.order_id,
        "refund_id": row.refund_id,
    }


def tiers_around_order(
    conn: Connection, *, member_key: int, order_key: int | None, placed_at: datetime
) -> tuple[HeldTier, HeldTier]:
    """Return the tier held just before an order was placed and the one held just after."""
    timeline = recall_timeline(conn)
    rows = store.list_changes_until(conn, member_key=member_key, at=placed_at)
    place = timeline.place_at(placed_at)
    tiers = timeline.entries[place].rules.tiers
    after = rows[0].to_tier if rows else tiers[0].code
    before = next(
        (
            row.from_tier
            for row in reversed(rows)
            if row.order_key == order_key and row.refund_key is None and row.effective_at == placed_at
        ),
        after,
    )
    ranks = (timeline.rank_of(code, place=place) for code in (before or after, after))
    held_before, held_after = (tiers[rank].held() for rank in ranks)
    return held_before, held_after
