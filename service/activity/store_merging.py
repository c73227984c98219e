"""Every SQL statement that hands facts from one member to another."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, text

from service.activity.rules import DayTotals

_OVER = text(
    """
    WITH keys AS (
        UPDATE order_keys SET member_key = :into_key WHERE member_key = :from_key
    ), bought AS (
        UPDATE orders SET member_key = :into_key, origin_key = coalesce(origin_key, :from_key)
        WHERE member_key = :from_key
    ), refund_ids AS (
        UPDATE refund_keys SET member_key = :into_key WHERE member_key = :from_key
        RETURNING refund_key, refunded_at
    ), given_back AS (
        UPDATE refunds r SET member_key = :into_key, origin_key = coalesce(r.origin_key, :from_key)
        FROM refund_ids k WHERE r.refund_key = k.refund_key AND r.refunded_at = k.refunded_at
    )
    UPDATE events SET member_key = :into_key, origin_key = coalesce(origin_key, :from_key)
    WHERE member_key = :from_key
    """
)
_DAYS_OVER = text(
    """
    WITH gone AS (
        DELETE FROM member_days WHERE member_key = :from_key
        RETURNING day, goods_minor, spend_minor, orders, unlinked_minor
    )
    INSERT INTO member_days AS d (member_key, day, goods_minor, spend_minor, orders, unlinked_minor)
    SELECT CAST(:into_key AS bigint), day, goods_minor, spend_minor, orders, unlinked_minor FROM gone
    ON CONFLICT (member_key, day) DO UPDATE SET goods_minor = d.goods_minor + EXCLUDED.goods_minor,
        spend_minor = d.spend_minor + EXCLUDED.spend_minor, orders = d.orders + EXCLUDED.orders,
        unlinked_minor = d.unlinked_minor + EXCLUDED.unlinked_minor
    """
)
_ORDER_KEYS = text(
    "SELECT order_key FROM orders WHERE origin_key = ANY(CAST(:origins AS bigint[])) "
    "AND member_key = :member_key ORDER BY order_key"
)
_BACK = text(
    """
    WITH bought AS (
        UPDATE orders SET member_key = :from_key, origin_key = nullif(origin_key, :from_key)
        WHERE origin_key = ANY(CAST(:origins AS bigint[])) AND member_key = :into_key RETURNING order_key
    ), keys AS (
        UPDATE order_keys k SET member_key = :from_key FROM bought b WHERE k.order_key = b.order_key
    ), given_back AS (
        UPDATE refunds SET member_key = :from_key, origin_key = nullif(origin_key, :from_key)
        WHERE origin_key = ANY(CAST(:origins AS bigint[])) AND member_key = :into_key RETURNING refund_key
    ), refund_ids AS (
        UPDATE refund_keys k SET member_key = :from_key FROM given_back b WHERE k.refund_key = b.refund_key
    )
    UPDATE events SET member_key = :from_key, origin_key = nullif(origin_key, :from_key)
    WHERE member_key = :into_key AND origin_key = ANY(CAST(:origins AS bigint[]))
    """
)
_DAYS_BACK = text(
    """
    WITH back AS (
        SELECT * FROM unnest(CAST(:days AS date[]), CAST(:goods AS bigint[]), CAST(:spend AS bigint[]),
            CAST(:orders AS int[]), CAST(:unlinked AS bigint[]))
            AS b (day, goods_minor, spend_minor, orders, unlinked_minor)
    ), less AS (
        UPDATE member_days d SET goods_minor = d.goods_minor - b.goods_minor,
            spend_minor = d.spend_minor - b.spend_minor, orders = d.orders - b.orders,
            unlinked_minor = d.unlinked_minor - b.unlinked_minor
        FROM back b WHERE d.member_key = :into_key AND d.day = b.day
    )
    INSERT INTO member_days (member_key, day, goods_minor, spend_minor, orders, unlinked_minor)
    SELECT CAST(:from_key AS bigint), day, goods_minor, spend_minor, orders, unlinked_minor FROM back
    """
)

# Days on which nobody but the other bought anything were never the survivor's.
_FORGET_DAYS = text(
    """
    DELETE FROM member_days d
    WHERE d.member_key = :into_key AND d.day = ANY(CAST(:days AS date[])) AND d.goods_minor = 0
        AND d.spend_minor = 0 AND d.orders = 0 AND d.unlinked_minor = 0
        AND NOT EXISTS (SELECT FROM orders o WHERE o.member_key = :into_key AND o.day = d.day)
    """
)


def hand_over_facts(conn: Connection, *, from_key: int, into_key: int) -> None:
    """Let every fact of a member count for another, remembering for whom it was sent."""
    conn.execute(_OVER, {"from_key": from_key, "into_key": into_key})


def hand_over_days(conn: Connection, *, from_key: int, into_key: int) -> None:
    """Add a member's days to another's."""
    conn.execute(_DAYS_OVER, {"from_key": from_key, "into_key": into_key})


def list_order_keys(conn: Connection, *, member_key: int, origins: Sequence[int]) -> list[int]:
    """Return the orders of a member that were sent for some others."""
    return list(conn.scalars(_ORDER_KEYS, {"member_key": member_key, "origins": list(origins)}))


def hand_back_facts(conn: Connection, *, from_key: int, into_key: int, origins: Sequence[int]) -> None:
    """Let what was sent for some merged members count for one of them again."""
    conn.execute(_BACK, {"from_key": from_key, "into_key": into_key, "origins": list(origins)})


def hand_back_days(conn: Connection, *, from_key: int, into_key: int, days: Sequence[DayTotals]) -> None:
    """Take totals from a member's days and give them to another, who has none."""
    values: dict[str, object] = {
        "from_key": from_key,
        "into_key": into_key,
        "days": [one.day for one in days],
        "goods": [one.goods_minor for one in days],
        "spend": [one.spend_minor for one in days],
        "orders": [one.orders for one in days],
        "unlinked": [one.unlinked_minor for one in days],
    }
    conn.execute(_DAYS_BACK, values)
    conn.execute(_FORGET_DAYS, {"into_key": into_key, "days": values["days"]})
