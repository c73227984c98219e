"""Every statement that looks over everybody: each writes what it finds set-based, none runs in a request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Connection,
    Date,
    DateTime,
    Row,
    Select,
    Text,
    and_,
    bindparam,
    cast,
    distinct,
    func,
    literal,
    null,
    select,
    text,
    true,
)
from sqlalchemy.dialects.postgresql import Insert, insert

from service.ledger.readable import adjustment_rows, earned_rows, missing_rows
from service.rewards.models import redemptions, review_entries

# A finding is entered once. While nobody has looked at it, it grows.
_ENTER = """
INSERT INTO review_entries (kind, member_key, actor, occasion, figures, found_at)
{found}
ON CONFLICT (kind, occasion) DO UPDATE SET figures = EXCLUDED.figures
WHERE review_entries.resolved_at IS NULL AND review_entries.figures <> EXCLUDED.figures
"""

# Ids grow with time, so the key of the table alone finds the last day's.
_MANY_REDEMPTIONS = text(
    _ENTER.replace(
        "{found}",
        """
SELECT 'many_redemptions', d.member_key, NULL, format('%s:%s', d.member_key, CAST(:day AS date)),
       jsonb_build_object('redemptions', count(*), 'points', sum(d.points)), :now
FROM redemptions d
WHERE d.redemption_id >= CAST(:since_id AS uuid) AND d.issued_at > :since AND d.state <> 'cancelled'
GROUP BY d.member_key HAVING count(*) >= :threshold
""",
    )
)


def _enter(found: Select[Any]) -> Insert:
    entered = insert(review_entries).from_select(
        ["kind", "member_key", "actor", "occasion", "figures", "found_at"], found
    )
    grown = and_(review_entries.c.resolved_at.is_(None), review_entries.c.figures != entered.excluded.figures)
    return entered.on_conflict_do_update(
        index_elements=["kind", "occasion"], set_={"figures": entered.excluded.figures}, where=grown
    ).execution_options(preserve_rowcount=True)


_now = bindparam("now", type_=DateTime(timezone=True))
_since = bindparam("since", type_=DateTime(timezone=True))
_adjusted = adjustment_rows.c
_adjustments = func.count(distinct(_adjusted.transaction_key))
_MANY_ADJUSTMENTS = _enter(
    select(
        literal("many_adjustments"),
        null(),
        _adjusted.actor,
        func.format("%s:%s", _adjusted.actor, bindparam("day", type_=Date)),
        func.jsonb_build_object(
            "adjustments",
            _adjustments,
            "members",
            func.count(distinct(_adjusted.member_key)),
            "given",
            func.sum(_adjusted.given),
        ),
        _now,
    )
    .where(_adjusted.recorded_at > _since, _adjusted.actor.is_not(None))
    .group_by(_adjusted.actor)
    .having(_adjustments >= bindparam("threshold", type_=BigInteger))
)

# Points were spent on a reward and then the order that had earned them was given back.
_refund = missing_rows.c
_bought = (
    select(func.count().label("redemptions"), func.sum(redemptions.c.points).label("points"))
    .where(
        redemptions.c.member_key == _refund.member_key,
        redemptions.c.state != "cancelled",
        redemptions.c.points > 0,
        redemptions.c.issued_at > _refund.occurred_at - func.make_interval(0, 0, 0, bindparam("days")),
        redemptions.c.issued_at <= _refund.occurred_at,
    )
    .lateral("bought")
)
_REFUND_AFTER_REDEEM = _enter(
    select(
        literal("refund_after_redeem"),
        _refund.member_key,
        null(),
        cast(_refund.transaction_key, Text),
        func.jsonb_build_object(
            "redemptions", _bought.c.redemptions, "points", _bought.c.points, "missing", _refund.missing
        ),
        _now,
    )
    .select_from(missing_rows.join(_bought, true()))
    .where(_refund.recorded_at > _since, _refund.missing > 0, _bought.c.redemptions > 0)
)

_LIST = text("""
SELECT e.* FROM review_entries e
WHERE (e.resolved_at IS NULL) = :open
  AND (CAST(:before AS bigint) IS NULL OR e.entry_key < CAST(:before AS bigint))
ORDER BY e.entry_key DESC LIMIT :limit
""")
_FIND = text("SELECT * FROM review_entries WHERE entry_key = :entry_key FOR NO KEY UPDATE")
_RESOLVE = text(
    "UPDATE review_entries SET resolved_at = :now, resolved_by = :actor, note = :note "
    "WHERE entry_key = :entry_key"
)

# Who earned anything at all in the months looked at counts as active.
_earned = (
    select(func.sum(earned_rows.c.earned).label("points"))
    .where(earned_rows.c.earned_at > bindparam("earning_since", type_=DateTime(timezone=True)))
    .group_by(earned_rows.c.member_key)
    .subquery("earned")
)
_MEDIAN = select(func.percentile_disc(0.5).within_group(_earned.c.points.asc()))
_APPRAISE = text("""
WITH looked_at AS (
    SELECT r.reward_key, r.points, r.ends_at, greatest(r.created_at, r.starts_at) AS offered_at,
           (SELECT count(*) FROM redemptions d WHERE d.reward_key = r.reward_key
            AND d.issued_at > :redeeming_since AND d.state <> 'cancelled') AS redeemed
    FROM rewards r
)
INSERT INTO reward_appraisals (reward_key, appraised_at, median_points, redeemed, out_of_reach, unwanted)
SELECT l.reward_key, :now, coalesce(m.points, 0), l.redeemed, coalesce(l.points > m.points, false),
       :days > 0 AND l.redeemed = 0 AND l.offered_at <= :redeeming_since
       AND (l.ends_at IS NULL OR l.ends_at > :now)
FROM looked_at l, (SELECT CAST(:median AS bigint) AS points) m
ON CONFLICT (reward_key) DO UPDATE SET appraised_at = EXCLUDED.appraised_at,
    median_points = EXCLUDED.median_points, redeemed = EXCLUDED.redeemed,
    out_of_reach = EXCLUDED.out_of_reach, unwanted = EXCLUDED.unwanted
""")


def enter_many_redemptions(conn: Connection, *, values: Mapping[str, object]) -> int:
    """Enter members who took many rewards within a day, and return how many."""
    return conn.execute(_MANY_REDEMPTIONS, values).rowcount


def enter_many_adjustments(conn: Connection, *, values: Mapping[str, object]) -> int:
    """Enter actors who adjusted points many times within a day, and return how many."""
    return conn.execute(_MANY_ADJUSTMENTS, values).rowcount


def enter_refunds_after_redeeming(conn: Connection, *, values: Mapping[str, object]) -> int:
    """Enter refunds whose points had been spent on rewards before, and return how many."""
    return conn.execute(_REFUND_AFTER_REDEEM, values).rowcount


def list_entries(conn: Connection, *, is_open: bool, before: int | None, limit: int) -> Sequence[Row[Any]]:
    """Return entries of the queue, the newest first."""
    return conn.execute(_LIST, {"open": is_open, "before": before, "limit": limit}).all()


def lock_entry(conn: Connection, *, entry_key: int) -> Row[Any] | None:
    """Lock an entry and return it."""
    return conn.execute(_FIND, {"entry_key": entry_key}).one_or_none()


def resolve(conn: Connection, *, entry_key: int, actor: str, note: str, now: datetime) -> None:
    """Write that somebody has looked at an entry."""
    conn.execute(_RESOLVE, {"entry_key": entry_key, "actor": actor, "note": note, "now": now})


def appraise(
    conn: Connection, *, now: datetime, earning_since: datetime, redeeming_since: datetime, days: int
) -> int:
    """Write for every reward whether it is in reach and wanted, and return how many there are."""
    values = {
        "now": now,
        "median": conn.execute(_MEDIAN, {"earning_since": earning_since}).scalar_one(),
        "redeeming_since": redeeming_since,
        "days": days,
    }
    return conn.execute(_APPRAISE, values).rowcount
