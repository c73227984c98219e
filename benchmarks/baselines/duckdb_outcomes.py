"""DuckDB adding up the outcomes of an experiment from Parquet: the same sums as the service's own join."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path
from typing import Any

_QUERY = """
WITH cohort AS MATERIALIZED (
    SELECT member_key, arm, coalesce(tier, '') AS stratum, assigned_at AS anchor,
           assigned_at + INTERVAL 60 DAY AS window_end, assigned_at + INTERVAL 90 DAY AS frozen_at,
           CASE WHEN reason = 'override' THEN 'override'
                WHEN assigned_at + INTERVAL 90 DAY > TIMESTAMP '{now}' THEN 'immature' END AS left_out
    FROM '{folder}/assignments.parquet'
), settled AS (SELECT * FROM cohort WHERE left_out IS NULL
), given AS (
    SELECT order_key, sum(amount) AS by_freeze, sum(amount) FILTER (WHERE refunded_at < anchor) AS by_anchor
    FROM '{folder}/refunds.parquet' JOIN settled USING (member_key)
    WHERE order_key IS NOT NULL AND refunded_at < frozen_at AND refunded_at >= anchor - INTERVAL 90 DAY
    GROUP BY order_key
), unlinked AS (
    SELECT member_key, sum(amount) AS unlinked
    FROM '{folder}/refunds.parquet' JOIN settled USING (member_key)
    WHERE order_key IS NULL AND refunded_at >= anchor AND refunded_at < window_end GROUP BY member_key
), withdrawn AS (
    SELECT DISTINCT member_key FROM '{folder}/withdrawals.parquet' JOIN settled USING (member_key)
    WHERE withdrawn_at >= anchor AND withdrawn_at < window_end
), placed AS (
    SELECT o.member_key, placed_at >= anchor AS inside, order_goods, goods, spend, by_freeze, by_anchor,
           CASE WHEN rate IS NULL THEN paid ELSE CAST(round(paid * rate) AS bigint) END AS cost,
           CASE WHEN by_freeze IS NULL OR order_goods = 0 THEN 0
                ELSE (2 * CAST(goods AS hugeint) * by_freeze + order_goods) // (2 * order_goods)
                END AS goods_back,
           CASE WHEN by_freeze IS NULL OR order_goods = 0 THEN 0
                ELSE (2 * CAST(spend AS hugeint) * by_freeze + order_goods) // (2 * order_goods)
                END AS spend_back
    FROM '{folder}/orders.parquet' o JOIN settled USING (member_key) LEFT JOIN given USING (order_key)
    WHERE placed_at >= anchor - INTERVAL 90 DAY AND placed_at < window_end
      AND (placed_at < anchor OR coalesce(begun_at, placed_at) >= anchor)
      AND placed_at >= TIMESTAMP '{now}' - INTERVAL 237 DAY
      AND placed_at < TIMESTAMP '{now}' - INTERVAL 30 DAY
), bought AS (
    SELECT member_key, count(*) FILTER (WHERE NOT inside AND order_goods > coalesce(by_anchor, 0)) AS x,
           count(*) FILTER (WHERE inside AND order_goods > coalesce(by_freeze, 0)) AS orders,
           sum(spend - spend_back) FILTER (WHERE inside AND order_goods > coalesce(by_freeze, 0)) AS net,
           sum(goods_back) FILTER (WHERE inside) AS returned,
           sum(cost) FILTER (WHERE inside AND order_goods > coalesce(by_freeze, 0)) AS cost
    FROM placed GROUP BY member_key
), people AS (
    SELECT arm, stratum, CAST(coalesce(x, 0) AS bigint) AS x, CAST(coalesce(b.orders, 0) AS bigint) AS orders,
           CAST(coalesce(b.orders, 0) > 0 AS bigint) AS repurchase,
           CAST(coalesce(net, 0) - coalesce(unlinked, 0) AS bigint) AS net_spend,
           CAST(coalesce(returned, 0) + coalesce(unlinked, 0) AS bigint) AS returned_value,
           CAST(coalesce(cost, 0) AS bigint) AS reward_cost, net_spend - reward_cost AS net_after_rewards,
           CAST(w.member_key IS NOT NULL AS bigint) AS unsubscribed
    FROM settled LEFT JOIN bought b USING (member_key) LEFT JOIN unlinked USING (member_key)
    LEFT JOIN withdrawn w ON w.member_key = settled.member_key
), totals AS (
    SELECT arm, stratum, sum(x) AS x, sum(x * x) AS x_squares,
           sum(CAST(net_spend AS hugeint) * orders) AS net_spend_by_orders, {sums}
    FROM people GROUP BY arm, stratum
), counts AS (
    SELECT arm, stratum, count(*) FILTER (WHERE left_out IS NULL) AS members,
           count(*) FILTER (WHERE left_out = 'override') AS override,
           count(*) FILTER (WHERE left_out = 'immature') AS immature
    FROM cohort GROUP BY arm, stratum
)
SELECT * FROM counts LEFT JOIN totals USING (arm, stratum)
"""
_DRAWS = """
SELECT arm, coalesce(tier, '') AS stratum, CAST(CAST(assigned_at AS date) AS varchar) AS day,
       count(*) AS members
FROM '{folder}/assignments.parquet' WHERE reason <> 'override' GROUP BY ALL
"""
_VALUES = (
    "repurchase",
    "orders",
    "net_spend",
    "returned_value",
    "reward_cost",
    "net_after_rewards",
    "unsubscribed",
)
_SUMS = ", ".join(
    f"sum({name}) AS {name}, sum(CAST({name} AS hugeint) * {name}) AS {name}_squares, "
    f"sum(CAST({name} AS hugeint) * x) AS {name}_by_x"
    for name in _VALUES
)


def measure(folder: Path, *, now: datetime) -> tuple[float, list[dict[str, Any]]]:
    """Return seconds, and a row of sums per arm and stratum, then a row for each of their days of draws."""
    import duckdb

    given = {"folder": folder, "now": now.strftime("%Y-%m-%d %H:%M:%S.%f"), "sums": _SUMS}
    with duckdb.connect() as conn:
        started = time.perf_counter()
        rows: list[dict[str, Any]] = []
        for query in (_QUERY, _DRAWS):
            found = conn.execute(query.format(**given))
            names = [column[0] for column in found.description]
            rows += [{"day": None} | dict(zip(names, row, strict=True)) for row in found.fetchall()]
        seconds = time.perf_counter() - started
    return seconds, [
        {name: value if isinstance(value, str) else value and int(value) for name, value in row.items()}
        for row in rows
    ]
