"""Every statement that checks law R1 on live data; each returns the exact rows that break it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Executable, Row, case, func, or_, select, text

from service.ledger.readable import spend_rows
from service.rewards.models import redemptions, rewards

_LIMIT = 1_000

_SHELVES_AGAINST_REDEMPTIONS = """
WITH taken AS (
    SELECT reward_key, shelf_no, count(*) AS redemptions FROM redemptions
    WHERE state <> 'cancelled' GROUP BY reward_key, shelf_no
)
SELECT format('shelf %s counts %s taken, %s redemptions stand', shelf_no, s.taken,
              coalesce(t.redemptions, 0)) AS detail,
       r.code AS reward, CAST(NULL AS uuid) AS redemption_id, CAST(NULL AS bigint) AS member_key,
       CAST(NULL AS bigint) AS transaction_key
FROM reward_shelves s FULL JOIN taken t USING (reward_key, shelf_no) LEFT JOIN rewards r USING (reward_key)
WHERE s.taken IS DISTINCT FROM coalesce(t.redemptions, 0)
"""

_OVER_STOCK = """
SELECT format('%s redemptions stand of %s in stock', t.redemptions, s.stock) AS detail, r.code AS reward,
       CAST(NULL AS uuid) AS redemption_id, CAST(NULL AS bigint) AS member_key,
       CAST(NULL AS bigint) AS transaction_key
FROM (SELECT reward_key, sum(stock) AS stock FROM reward_shelves
      GROUP BY reward_key HAVING count(stock) = count(*)) s
JOIN (SELECT reward_key, count(*) AS redemptions FROM redemptions WHERE state <> 'cancelled'
      GROUP BY reward_key) t USING (reward_key)
JOIN rewards r USING (reward_key)
WHERE t.redemptions > s.stock
"""

_CODES_AGAINST_REDEMPTIONS = """
SELECT format('the pool gave it the code %s, it shows %s', c.code, d.voucher_code) AS detail,
       r.code AS reward, c.redemption_id, d.member_key, CAST(NULL AS bigint) AS transaction_key
FROM pool_codes c LEFT JOIN redemptions d USING (redemption_id) LEFT JOIN rewards r USING (reward_key)
WHERE c.redemption_id IS NOT NULL AND d.voucher_code IS DISTINCT FROM c.code
UNION ALL
SELECT format('it shows the code %s of a pool that gave it to %s', c.code,
              coalesce(CAST(c.redemption_id AS text), 'nobody')),
       r.code, d.redemption_id, d.member_key, NULL
FROM redemptions d JOIN pool_codes c ON c.code = d.voucher_code LEFT JOIN rewards r USING (reward_key)
WHERE c.redemption_id IS DISTINCT FROM d.redemption_id
"""

_spent = spend_rows.c
_cost, _returned = func.coalesce(_spent.points, 0), func.coalesce(_spent.returned, 0)
_POINTS_AGAINST_LEDGER = (
    select(
        func.format(
            "it is %s and cost %s points; the ledger took %s and gave %s back",
            func.coalesce(redemptions.c.state, "gone"),
            redemptions.c.points,
            _cost,
            _returned,
        ).label("detail"),
        rewards.c.code.label("reward"),
        func.coalesce(redemptions.c.redemption_id, _spent.spend_id).label("redemption_id"),
        redemptions.c.member_key,
        _spent.transaction_key,
    )
    .select_from(
        redemptions.join(spend_rows, _spent.spend_id == redemptions.c.redemption_id, full=True).outerjoin(
            rewards, rewards.c.reward_key == redemptions.c.reward_key
        )
    )
    .where(
        or_(
            redemptions.c.points.is_distinct_from(_cost),
            _returned != case((redemptions.c.state == "cancelled", redemptions.c.points), else_=0),
        )
    )
    .order_by("reward", "redemption_id")
    .limit(_LIMIT)
)

_USES_AGAINST_STATES = """
WITH used AS (
    SELECT redemption_id,
           count(*) FILTER (WHERE kind = 'use') - count(*) FILTER (WHERE kind = 'return') AS times,
           sum(CASE kind WHEN 'use' THEN amount_minor ELSE -amount_minor END) AS amount_minor
    FROM voucher_uses GROUP BY redemption_id
)
SELECT CASE WHEN d.balance_minor IS NULL
            THEN format('it is %s and stands used %s times', d.state, coalesce(u.times, 0))
            ELSE format('%s of %s is left, %s was paid', d.balance_minor, d.terms ->> 'value_minor',
                        coalesce(u.amount_minor, 0)) END AS detail,
       r.code AS reward, redemption_id, d.member_key, CAST(NULL AS bigint) AS transaction_key
FROM redemptions d LEFT JOIN used u USING (redemption_id) LEFT JOIN rewards r USING (reward_key)
WHERE CASE WHEN d.balance_minor IS NULL
           THEN coalesce(u.times, 0) <> CASE d.state WHEN 'used' THEN 1 ELSE 0 END
           ELSE d.balance_minor <> CAST(d.terms ->> 'value_minor' AS bigint) - coalesce(u.amount_minor, 0)
                OR d.state = 'used' AND d.balance_minor > 0 END
"""

_CHECKS: list[Executable] = [
    text(f"{check} ORDER BY reward, redemption_id LIMIT {_LIMIT}")
    for check in (
        _SHELVES_AGAINST_REDEMPTIONS,
        _OVER_STOCK,
        _CODES_AGAINST_REDEMPTIONS,
        _USES_AGAINST_STATES,
    )
]
_CHECKS.append(_POINTS_AGAINST_LEDGER)


def list_violations(conn: Connection) -> list[Row[Any]]:
    """Return each row of detail, reward, redemption_id, member_key and transaction_key that breaks R1."""
    return [row for check in _CHECKS for row in conn.execute(check)]
