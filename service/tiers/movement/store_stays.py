"""Stays in a tier, made from the log of changes: what every statement about movement counts.

A stay is a row of the log with the one that follows it. By `effective` time the rows that stand today are
read; by `believed` time, what was on record at each moment, whatever was superseded since.
"""

from __future__ import annotations

from typing import Any, Literal

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    DateTime,
    Subquery,
    Text,
    and_,
    any_,
    bindparam,
    case,
    func,
    literal,
    or_,
    select,
    true,
    union,
    union_all,
)
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.sql.functions import FunctionElement

from service.members.readable import joining_rows, leaving_rows
from service.programme.readable import store_rows
from service.tiers.models import tier_changes

Basis = Literal["effective", "believed"]

_Moment = DateTime(timezone=True)
period_from = bindparam("from", type_=_Moment)
period_to = bindparam("to", type_=_Moment)


def stays_sql(
    basis: Basis, *, scoped: bool, with_stores: bool = False, since_start: bool = False
) -> Subquery:
    """Return every stay begun before `to` while its member belonged.

    Columns: member_key, from_tier (null: the membership began), to_tier, cause, starts, ends and next_tier
    (null: not over by `to`), joined, left_at, left_by (a merge, or null); store_key with `with_stores`. Only
    moves in [from, to) are sure to be told one by one; with `since_start` earlier stays may be missing, and
    `joined` means nothing.
    """
    rows = _rows_believed() if basis == "believed" else _rows_effective(since_start=since_start)

    def in_order(value: FunctionElement[Any]) -> ColumnElement[Any]:
        return value.over(partition_by=rows.c.member_key, order_by=(rows.c.starts, rows.c.place))

    source = rows.outerjoin(leaving_rows, leaving_rows.c.member_key == rows.c.member_key)
    belongs = or_(leaving_rows.c.left_at.is_(None), rows.c.starts < leaving_rows.c.left_at)
    if scoped or with_stores:
        source = source.join(joining_rows, joining_rows.c.member_key == rows.c.member_key)
    if scoped:
        source = source.join(store_rows, store_rows.c.store_key == joining_rows.c.store_key)
        belongs = and_(belongs, in_scope())
    return (
        select(
            rows.c.member_key,
            rows.c.from_tier,
            rows.c.to_tier,
            rows.c.cause,
            rows.c.starts,
            in_order(func.lead(rows.c.starts)).label("ends"),
            in_order(func.lead(rows.c.to_tier)).label("next_tier"),
            in_order(func.first_value(rows.c.starts)).label("joined"),
            leaving_rows.c.left_at,
            leaving_rows.c.cause.label("left_by"),
            *([joining_rows.c.store_key] if with_stores else []),
        )
        .select_from(source)
        .where(belongs)
        .subquery("stays")
    )


def in_scope() -> ColumnElement[bool]:
    """Return whether a joined store is one of those asked for."""
    return store_rows.c.store_id == any_(bindparam("store_ids", type_=ARRAY(Text)))


def _rows_effective(*, since_start: bool) -> Subquery:
    """Return the rows of the log that stand today, by the time they took effect."""
    rows = select(
        tier_changes.c.member_key,
        tier_changes.c.from_tier,
        tier_changes.c.to_tier,
        tier_changes.c.cause,
        tier_changes.c.effective_at.label("starts"),
        tier_changes.c.change_key.label("place"),
    ).where(tier_changes.c.superseded_at.is_(None), tier_changes.c.effective_at < period_to)
    if since_start:
        rows = rows.where(tier_changes.c.effective_at >= period_from)
    return rows.subquery("moves")


def _rows_believed() -> Subquery:
    """Return what was on record just before `from`, and each moment since at which that became another tier.

    The cause is that of the row which came to stand then; where none was written at that moment, the one that
    stood until then was taken back, by a fact that came late.
    """
    known = _on_record_at_start()
    learned = _on_record_since()
    beliefs = union_all(select(known), select(learned)).subquery("beliefs")
    before = func.lag(beliefs.c.to_tier).over(
        partition_by=beliefs.c.member_key, order_by=(beliefs.c.is_since, beliefs.c.starts)
    )
    moves = select(beliefs, before.label("from_tier"), literal(0).label("place")).subquery("believed_moves")
    return select(moves).where(moves.c.from_tier.is_distinct_from(moves.c.to_tier)).subquery("moves")


def _on_record_at_start() -> Subquery:
    """Return what was on record just before `from`, since when its member was known at all."""
    first = func.min(tier_changes.c.recorded_at).over(partition_by=tier_changes.c.member_key)
    written = (
        select(tier_changes, first.label("starts"))
        .where(tier_changes.c.recorded_at < period_from)
        .subquery("written")
    )
    return (
        select(
            written.c.member_key,
            written.c.to_tier,
            written.c.cause,
            written.c.starts,
            literal(False).label("is_since"),
        )
        .ext(distinct_on(written.c.member_key))
        .where(or_(written.c.superseded_at.is_(None), written.c.superseded_at >= period_from))
        .order_by(written.c.member_key, written.c.effective_at.desc(), written.c.change_key.desc())
        .subquery("known")
    )


def _on_record_since() -> Subquery:
    """Return what was on record after each moment in [from, to) at which a row was written or superseded."""
    times = (tier_changes.c.recorded_at, tier_changes.c.superseded_at)
    moments = union(
        *(
            select(tier_changes.c.member_key, at.label("at")).where(at >= period_from, at < period_to)
            for at in times
        )
    ).subquery("moments")
    on_record = (
        select(tier_changes.c.to_tier, tier_changes.c.cause, tier_changes.c.recorded_at)
        .where(
            tier_changes.c.member_key == moments.c.member_key,
            tier_changes.c.recorded_at <= moments.c.at,
            or_(tier_changes.c.superseded_at.is_(None), tier_changes.c.superseded_at > moments.c.at),
        )
        .order_by(tier_changes.c.effective_at.desc(), tier_changes.c.change_key.desc())
        .limit(1)
        .lateral("on_record")
    )
    cause = case((on_record.c.recorded_at == moments.c.at, on_record.c.cause), else_="late_fact")
    return (
        select(
            moments.c.member_key,
            on_record.c.to_tier,
            cause.label("cause"),
            moments.c.at.label("starts"),
            literal(True).label("is_since"),
        )
        .select_from(moments.join(on_record, true()))
        .subquery("learned")
    )
