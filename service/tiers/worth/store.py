"""Every SQL statement for what tiers are worth and how metrics spread: sums over everybody, never rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Double,
    Integer,
    MetaData,
    Numeric,
    Row,
    Select,
    Table,
    Text,
    and_,
    case,
    cast,
    func,
    insert,
    select,
    text,
)

from service.activity.readable import day_rows
from service.tiers.conditions import Compare, MetricName
from service.tiers.population.store_conditions import condition_sql, qualified_rank_sql
from service.tiers.population.store_metrics import Anchors, metrics_sql
from service.tiers.rules import RuleSet

_DEFINITION = text(
    "SELECT version, definition FROM tier_rulesets WHERE version = :version AND state <> 'discarded'"
)
_LEAVES_AT_ONCE = 500

_staged = Table(
    "tier_report_metrics",
    MetaData(),
    Column("member_key", BigInteger),
    Column("active_days", Integer),
    Column("span_days", Integer),
    Column("days_since_last_visit", Integer),
    Column("net_spend_minor", BigInteger),
    Column("orders", Integer),
    Column("member_days", Integer),
    prefixes=["TEMPORARY"],
    postgresql_on_commit="DROP",
)
"""Everybody's metrics on one day, for as long as one report takes."""
_UNSTAGE = text("DROP TABLE IF EXISTS pg_temp.tier_report_metrics")


def find_definition(conn: Connection, *, version: int) -> Mapping[str, Any] | None:
    """Return the definition of a rule set, draft or published, not discarded."""
    row = conn.execute(_DEFINITION, {"version": version}).one_or_none()
    return None if row is None else row.definition


def sum_cells(
    conn: Connection,
    *,
    rules: RuleSet,
    as_of: date,
    following: tuple[date, date],
    timezone: str,
    anchors: Anchors,
) -> Sequence[Row[Any]]:
    """Return one row per tier and spend group: members, buyers, net_minor and net_squares of the days after.

    Everybody is rated on the facts in effect by the end of `as_of`, and put in order of net spend of the same
    window; equal spenders come in an order that is arbitrary but always the same. Orders of the days
    `following` (half-open) count net of everything refunded of them since.
    """
    metrics = metrics_sql(rules.window, day=as_of, timezone=timezone, past=True).subquery("metrics")
    rated = select(
        metrics.c.member_key,
        qualified_rank_sql(rules, metrics.c).label("tier"),
        func.row_number()
        .over(order_by=(metrics.c.net_spend_minor, func.md5(cast(metrics.c.member_key, Text))))
        .label("place"),
    ).cte("rated")
    size = func.count()
    sizes = (
        select(rated.c.tier, size.label("size"), func.sum(size).over(order_by=rated.c.tier).label("up_to"))
        .group_by(rated.c.tier)
        .cte("sizes")
    )
    beside = and_(rated.c.place <= sizes.c.up_to, rated.c.place > sizes.c.up_to - sizes.c.size)
    followed = _following(following).subquery("followed")
    net = cast(func.coalesce(followed.c.net_minor, 0), Numeric)
    return conn.execute(
        select(
            rated.c.tier,
            sizes.c.tier.label("group"),
            func.count().label("members"),
            func.count().filter(followed.c.bought).label("buyers"),
            func.sum(net).label("net_minor"),
            func.sum(net * net).label("net_squares"),
        )
        .select_from(
            rated.join(sizes, beside).outerjoin(followed, followed.c.member_key == rated.c.member_key)
        )
        .group_by(rated.c.tier, sizes.c.tier)
        .order_by(rated.c.tier, sizes.c.tier),
        anchors,
    ).all()


def _following(days: tuple[date, date]) -> Select[Any]:
    return (
        select(
            day_rows.c.member_key,
            func.sum(day_rows.c.spend_minor - day_rows.c.unlinked_minor).label("net_minor"),
            func.bool_or(day_rows.c.goods_minor > 0).label("bought"),
        )
        .where(day_rows.c.day >= days[0], day_rows.c.day < days[1])
        .group_by(day_rows.c.member_key)
    )


def stage_metrics(
    conn: Connection, *, rules: RuleSet, as_of: date, timezone: str, past: bool, anchors: Anchors
) -> int:
    """Measure everybody once, for the statements below; return how many they are."""
    conn.execute(_UNSTAGE)
    _staged.create(conn)
    measured = metrics_sql(rules.window, day=as_of, timezone=timezone, past=past)
    columns = [column.name for column in _staged.columns]
    rows = measured.params(anchors).subquery("measured")
    conn.execute(insert(_staged).from_select(columns, select(*(rows.c[name] for name in columns))))
    return conn.execute(select(func.count()).select_from(_staged)).scalar_one()


def summarise(conn: Connection, *, metric: MetricName, shares: Sequence[float]) -> Row[Any]:
    """Return how many members a metric is defined for, its least and largest value, and its quantiles."""
    value = _value(metric)
    return conn.execute(
        select(
            func.count(value).label("defined"),
            func.min(value).label("least"),
            func.max(value).label("largest"),
            func.percentile_disc(cast(list(shares), ARRAY(Double))).within_group(value).label("quantiles"),
        )
    ).one()


def count_bins(conn: Connection, *, metric: MetricName, edges: Sequence[int]) -> dict[int, int]:
    """Return members by bucket of `width_bucket`, of those for whom a metric is defined."""
    value = _value(metric)
    bucket = func.width_bucket(value, cast(list(edges), ARRAY(Numeric)))
    rows = conn.execute(select(bucket, func.count()).where(value.is_not(None)).group_by(bucket))
    return {row[0]: row[1] for row in rows}


def count_meeting(conn: Connection, *, leaves: Sequence[Compare]) -> list[int]:
    """Return how many members meet each comparison, each by itself."""
    counts: list[int] = []
    for start in range(0, len(leaves), _LEAVES_AT_ONCE):
        some = leaves[start : start + _LEAVES_AT_ONCE]
        meeting = (func.count().filter(condition_sql(leaf, _staged.c)) for leaf in some)
        counts += conn.execute(select(*meeting).select_from(_staged)).one()
    return counts


def _value(metric: MetricName) -> ColumnElement[Any]:
    if metric == "visit_interval_days":
        gaps = _staged.c.active_days - 1
        return case((gaps > 0, cast(_staged.c.span_days, Numeric) / gaps), else_=None)
    return cast(_staged.c["net_spend_minor" if metric == "net_spend" else metric], Numeric)
