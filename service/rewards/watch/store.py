"""Every statement that looks over everybody: each writes what it finds set-based, none runs in a request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, text

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

_MANY_ADJUSTMENTS = text(
    _ENTER.replace(
        "{found}",
        """
SELECT 'many_adjustments', NULL, t.actor, format('%s:%s', t.actor, CAST(:day AS date)),
       jsonb_build_object('adjustments', count(DISTINCT t.transaction_key),
                          'members', count(DISTINCT t.member_key),
                          'given', coalesce(sum(p.points) FILTER (WHERE p.from_account = 'issued'), 0)), :now
FROM ledger_transactions t JOIN postings p USING (transaction_key)
WHERE t.kind = 'adjust' AND t.recorded_at > :since AND t.actor IS NOT NULL
GROUP BY t.actor HAVING count(DISTINCT t.transaction_key) >= :threshold
""",
    )
)

# Points were spent on a reward and then the order that had earned them was given back.
_REFUND_AFTER_REDEEM = text(
    _ENTER.replace(
        "{found}",
        """
SELECT 'refund_after_redeem', t.member_key, NULL, CAST(t.transaction_key AS text),
       jsonb_build_object('redemptions', r.redemptions, 'points', r.points, 'missing', t.shortfall + o.owed),
       :now
FROM ledger_transactions t,
LATERAL (
    SELECT coalesce(sum(points), 0) AS owed FROM postings
    WHERE transaction_key = t.transaction_key AND from_account = 'debt'
) o, LATERAL (
    SELECT count(*) AS redemptions, sum(d.points) AS points FROM redemptions d
    WHERE d.member_key = t.member_key AND d.state <> 'cancelled' AND d.points > 0
      AND d.issued_at > t.occurred_at - make_interval(days => :days) AND d.issued_at <= t.occurred_at
) r
WHERE t.kind = 'reverse' AND t.recorded_at > :since AND t.shortfall + o.owed > 0 AND r.redemptions > 0
""",
    )
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
_APPRAISE = text("""
WITH earned AS (
    SELECT sum(earned) AS points FROM lots
    WHERE earned_at > :earning_since AND order_key IS NOT NULL GROUP BY member_key
), median AS (
    SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY points) AS points FROM earned
), looked_at AS (
    SELECT r.reward_key, r.points, r.ends_at, greatest(r.created_at, r.starts_at) AS offered_at,
           (SELECT count(*) FROM redemptions d WHERE d.reward_key = r.reward_key
            AND d.issued_at > :redeeming_since AND d.state <> 'cancelled') AS redeemed
    FROM rewards r
)
INSERT INTO reward_appraisals (reward_key, appraised_at, median_points, redeemed, out_of_reach, unwanted)
SELECT l.reward_key, :now, coalesce(m.points, 0), l.redeemed, coalesce(l.points > m.points, false),
       :days > 0 AND l.redeemed = 0 AND l.offered_at <= :redeeming_since
       AND (l.ends_at IS NULL OR l.ends_at > :now)
FROM looked_at l, median m
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
        "earning_since": earning_since,
        "redeeming_since": redeeming_since,
        "days": days,
    }
    return conn.execute(_APPRAISE, values).rowcount
