"""B2: DuckDB computing the metrics of the default rules from a Parquet file of orders."""

from __future__ import annotations

import time
from datetime import date
from pathlib import Path

# Its threads are the machine's, as they are for PostgreSQL beside it. The file is in order of time, as a
# shop's export would be; a day with goods is an active day.
_QUERY = """
CREATE TEMP TABLE metrics AS
SELECT member_key, count(*) AS active_days, (max(day) - min(day)) / nullif(count(*) - 1, 0) AS visit_interval,
       DATE '{day}' - max(day) AS days_since_last_visit, sum(spend_minor) AS net_spend_minor
FROM (
    SELECT member_key, day, sum(spend_minor) AS spend_minor FROM '{parquet}'
    WHERE day > DATE '{day}' - 365 AND day <= DATE '{day}'
    GROUP BY member_key, day HAVING sum(spend_minor) > 0
)
GROUP BY member_key
"""


def measure(parquet: Path, *, day: date) -> tuple[float, float, int]:
    """Return seconds, CPU seconds, and how many members have bought in the year before a day."""
    import duckdb

    with duckdb.connect() as conn:
        started, used = time.perf_counter(), time.process_time()
        conn.execute(_QUERY.format(parquet=parquet, day=day))
        seconds, used = time.perf_counter() - started, time.process_time() - used
        found = conn.execute("SELECT count(*) FROM metrics").fetchone()
    return seconds, used, 0 if found is None else int(found[0])
