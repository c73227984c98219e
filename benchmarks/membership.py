"""A membership of any size, made by DuckDB and brought in by COPY: what tiers are rated on, no more."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from sqlalchemy import Engine, case, func, select, text, update

from service.kit.clock import local_midnight
from service.tiers.models import tier_states
from service.tiers.periods import RollingWindow
from service.tiers.population.store_conditions import qualified_rank_sql
from service.tiers.population.store_metrics import members_sql, metric_columns, sums_sql
from service.tiers.rules import RuleSet

ORDERS_PER_MEMBER = 20
_BLOCK = 1 << 20

# Members differ as in real shops: most buy now and then, some every week; half have stopped coming at some
# time; they joined over three years. The dice are hashes, so the same numbers come whatever the threads.
_MEMBERS = """
CREATE TABLE members AS
SELECT i AS member_key, DATE '{today}' - CAST(30 + 1065 * dice(i, 1) AS integer) AS joined_on,
       1 + least(300, CAST(floor(-{mean} * ln(1 - dice(i, 2))) AS integer)) AS orders,
       CASE WHEN dice(i, 3) < 0.5 THEN 1.0 ELSE dice(i, 4) END AS stays,
       exp(11.0 + 0.8 * (dice(i, 5) + dice(i, 6) + dice(i, 7) - 1.5) * 2) AS basket_minor
FROM range(1, {members} + 1) AS m (i)
"""
_ORDERS = """
COPY (
    SELECT row_number() OVER (ORDER BY day, dice(key, 11)) AS order_key, member_key, day,
           greatest(100, CAST(basket_minor * exp(dice(key, 9) + dice(key, 10) - 1) AS bigint)) AS spend_minor
    FROM (
        SELECT *,
               joined_on + CAST(floor((DATE '{today}' - joined_on) * stays * dice(key, 8)) AS integer) AS day
        FROM (SELECT *, member_key * 1000 + unnest(range(orders)) AS key FROM members)
    )
    ORDER BY order_key
) TO '{folder}/orders.parquet' (FORMAT parquet)
"""
_FILES = {
    "members": """
        SELECT member_key, 'm' || member_key, joined_on, 'en', joined_on, joined_on
        FROM members ORDER BY member_key
    """,
    "member_days": """
        SELECT member_key, day, sum(spend_minor), sum(spend_minor), count(*), 0 FROM '{folder}/orders.parquet'
        GROUP BY ALL ORDER BY member_key, day
    """,
    "tier_states": """
        SELECT member_key, 'member', 0, joined_on, 1, joined_on, DATE '{today}'
        FROM members ORDER BY member_key
    """,
    "ledger_transactions": """
        SELECT member_key, 'earn', day, day, order_key,
               '{{"points":1,"per_minor":3000,"multiplier_bp":10000,"tier":"member","eligible_minor":'
               || spend_minor || '}}'
        FROM '{folder}/orders.parquet' WHERE day > DATE '{today}' - 365 ORDER BY order_key
    """,
}
_COPIES = {
    "members": "member_key, member_id, joined_at, locale, created_at, updated_at",
    "member_days": "member_key, day, goods_minor, spend_minor, orders, unlinked_minor",
    "tier_states": "member_key, tier, rank, since, ruleset_version, through, next_review_on",
    "ledger_transactions": "member_key, kind, occurred_at, recorded_at, order_key, rule",
}
# What past days are rated from: the orders themselves, and the log of tiers held.
_FACTS = {
    "orders": """
        SELECT order_key, day, day, member_key, day, 'TWD', spend_minor, spend_minor, spend_minor
        FROM '{folder}/orders.parquet' ORDER BY order_key
    """,
    "tier_changes": """
        SELECT member_key, 'member', joined_on, joined_on, 'enrol', 1, '{{}}' FROM members ORDER BY member_key
    """,
}
_FACT_COPIES = {
    "orders": "order_key, placed_at, received_at, member_key, day, currency, order_goods_minor, goods_minor, "
    "spend_minor",
    "tier_changes": "member_key, to_tier, effective_at, recorded_at, cause, ruleset_version, metrics",
}


@dataclass(frozen=True, slots=True)
class Membership:
    """How many members there are, how many orders, and where DuckDB finds them."""

    members: int
    orders: int
    parquet: Path


def make(
    conn: psycopg.Connection[Any],
    folder: Path,
    *,
    members: int,
    now: datetime,
    orders_each: int = ORDERS_PER_MEMBER,
    with_facts: bool = False,
) -> Membership:
    """Fill an empty database with members and their day roll-up, each due for the first review.

    Their orders, `orders_each` on average, stand in a Parquet file beside it, their awards of a year in
    the ledger. `with_facts` past days can be rated as well; the months of the orders have partitions by then.
    """
    import duckdb

    given = {"today": _today(now), "members": members, "mean": orders_each - 0.5, "folder": folder}
    with duckdb.connect() as maker:
        maker.execute("CREATE MACRO dice(i, n) AS (hash(CAST(i AS bigint) * 31 + n) % 1000003) / 1000003.0")
        maker.execute(_MEMBERS.format(**given))
        maker.execute(_ORDERS.format(**given))
        counted = maker.execute(f"SELECT count(*) FROM '{folder}/orders.parquet'").fetchone()
        files = _FILES | (_FACTS if with_facts else {})
        copies = _COPIES | _FACT_COPIES
        for table, query in files.items():
            path = folder / f"{table}.csv"
            maker.execute(f"COPY ({query.format(**given)}) TO '{path}' (FORMAT csv, HEADER false)")
            with _without_indexes(conn, table):
                _copy(conn, f"COPY {table} ({copies[table]}) FROM STDIN (FORMAT csv)", path)
            path.unlink()
    conn.commit()
    conn.autocommit = True
    conn.execute("VACUUM (ANALYZE)")
    conn.execute("CHECKPOINT")
    return Membership(members, 0 if counted is None else int(counted[0]), folder / "orders.parquet")


def stand(engine: Engine, *, rules: RuleSet, day: date, timezone: str) -> None:
    """Set everybody's state to what a rating on `day` would leave, set-based: rated one by one it takes long.

    Whoever qualifies for a tier holds it; the next review is when a day leaves the window, or when the last
    visit has become too long ago for some condition.
    """
    members = members_sql(day=day, timezone=timezone).subquery("members")
    sums = sums_sql(rules.window, members, day=day, timezone=timezone, past=False, keys=None).subquery("sums")
    metrics = metric_columns(sums, members, day=day, timezone=timezone)
    if not isinstance(rules.window, RollingWindow):
        raise TypeError("made for a rolling window")
    leaving = sums.c.first_day + rules.window.days
    age = metrics["days_since_last_visit"]
    stale = [sums.c.last_day + case((age < point, point)) for point in rules.recency_days]
    rated = (
        select(
            members.c.member_key,
            qualified_rank_sql(rules, metrics).label("rank"),
            func.least(leaving, *stale).label("next_review_on"),
        )
        .select_from(members.outerjoin(sums, sums.c.member_key == members.c.member_key))
        .subquery("rated")
    )
    codes = {tier.rank: tier.code for tier in rules.tiers}
    with engine.begin() as conn:
        conn.execute(
            update(tier_states)
            .where(tier_states.c.member_key == rated.c.member_key)
            .values(
                rank=rated.c.rank,
                tier=case(codes, value=rated.c.rank),
                next_review_on=rated.c.next_review_on,
                through=local_midnight(day, timezone=timezone),
            )
        )
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        conn.execute(text("VACUUM (FULL, ANALYZE) tier_states"))


def _today(now: datetime) -> date:
    return (now + timedelta(hours=8)).date()


@contextmanager
def _without_indexes(conn: psycopg.Connection[Any], table: str) -> Iterator[None]:
    """Make a table's indexes after its rows, all but the primary key: in no order they take hours."""
    found = conn.execute(
        "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename = %s "
        "AND NOT EXISTS (SELECT FROM pg_constraint WHERE conname = indexname)",
        [table],
    ).fetchall()
    for name, _ in found:
        conn.execute(sql.SQL("DROP INDEX {}").format(sql.Identifier(name)))
    yield
    for _, definition in found:
        conn.execute(definition)


def _copy(conn: psycopg.Connection[Any], statement: str, path: Path) -> None:
    with conn.cursor() as cursor, cursor.copy(statement.encode()) as copy:
        for block in _blocks(path):
            copy.write(block)


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            yield block
