"""DuckDB adding up the outcomes of an experiment from Parquet: the same sums as the service's own join."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path
from typing import Any

_QUERY = """
WITH cohort AS (
    SELECT member_key, arm, assigned_at AS anchor, assigned_at + INTERVAL 60 DAY AS window_end,
           assigned_at + INTERVAL 90 DAY AS frozen_at
    FROM '{folder}/assignments.parquet' WHERE assigned_at + INTERVAL 90 DAY <= TIMESTAMP '{now}'
), given AS (
    SELECT order_key, sum(amount) AS by_freeze,
           coalesce(sum(amount) FILTER (WHERE refunded_at < anchor), 0) AS by_anchor
    FROM '{folder}/refunds.parquet' JOIN cohort USING (member_key)
    WHERE refunded_at < frozen_at AND refunded_at >= anchor - INTERVAL 90 DAY GROUP BY order_key
), bought AS (
    SELECT o.member_key,
           count(*) FILTER (WHERE placed_at < anchor AND goods > coalesce(by_anchor, 0)) AS x,
           count(*) FILTER (WHERE placed_at >= anchor AND goods > coalesce(by_freeze, 0)) AS orders,
           sum(goods - coalesce(by_freeze, 0)) FILTER (WHERE placed_at >= anchor) AS net
    FROM '{folder}/orders.parquet' o JOIN cohort USING (member_key) LEFT JOIN given USING (order_key)
    WHERE placed_at >= anchor - INTERVAL 90 DAY AND placed_at < window_end
    GROUP BY o.member_key
), people AS (
    SELECT arm, coalesce(x, 0) AS x, coalesce(orders, 0) AS orders, coalesce(net, 0) AS net,
           CAST(coalesce(orders, 0) > 0 AS integer) AS y
    FROM cohort LEFT JOIN bought USING (member_key)
)
SELECT arm, count(*) AS members, sum(x) AS x, sum(x * x) AS x_squares, sum(y) AS repurchase,
       sum(y * x) AS repurchase_by_x, sum(orders) AS orders, sum(orders * orders) AS orders_squares,
       sum(orders * x) AS orders_by_x, sum(net) AS net_spend,
       sum(CAST(net AS hugeint) * net) AS net_spend_squares, sum(net * x) AS net_spend_by_x,
       sum(net * orders) AS net_spend_by_orders
FROM people GROUP BY arm ORDER BY arm
"""


def measure(folder: Path, *, now: datetime) -> tuple[float, list[dict[str, Any]]]:
    """Return seconds, and the sums by arm."""
    import duckdb

    with duckdb.connect() as conn:
        started = time.perf_counter()
        found = conn.execute(_QUERY.format(folder=folder, now=now.strftime("%Y-%m-%d %H:%M:%S.%f")))
        names = [column[0] for column in found.description]
        rows = found.fetchall()
        seconds = time.perf_counter() - started
    return seconds, [
        {
            name: value if isinstance(value, str) else int(value)
            for name, value in zip(names, row, strict=True)
        }
        for row in rows
    ]
