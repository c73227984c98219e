"""Every SQL statement that counts movement, from the stays of `store_stays`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Literal

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Connection,
    Date,
    DateTime,
    Row,
    Select,
    Subquery,
    Text,
    and_,
    bindparam,
    case,
    cast,
    func,
    null,
    or_,
    select,
    tuple_,
)

from service.programme.readable import store_rows
from service.tiers.movement.store_stays import Basis, period_from, period_to, stays_sql

Split = Literal["cause", "cohort", "store"]

_from, _to = period_from, period_to
_zone = bindparam("timezone", type_=Text)


@dataclass(frozen=True, slots=True)
class Asked:
    """What is read: which stays, of which members (`store_ids` None: all), between which moments."""

    start: datetime
    end: datetime
    basis: Basis
    timezone: str
    store_ids: Sequence[str] | None

    def parameters(self) -> dict[str, object]:
        """Return them as the statements name them."""
        given: dict[str, object] = {"from": self.start, "to": self.end, "timezone": self.timezone}
        return given if self.store_ids is None else given | {"store_ids": list(self.store_ids)}


def count_cohort(conn: Connection, *, asked: Asked, split: Split | None) -> Sequence[Row[Any]]:
    """Return (from_tier, to_tier, part, members): where members stood just before two moments.

    A tier is null outside the membership; `part` is the group asked for. Who joined and left in between
    has two nulls.
    """
    statement = _count_cohort(asked.basis, split, asked.store_ids is not None)
    return conn.execute(statement, asked.parameters()).all()


def count_events(conn: Connection, *, asked: Asked, split: Split | None) -> Sequence[Row[Any]]:
    """Return (from_tier, to_tier, part, moved, opening, closing, departed, merged) of [start, end).

    `moved` counts moves; `opening` and `closing` are members that stood in `to_tier` just before each moment,
    `departed` those who left from there, `merged` those of them who were merged into another. All in one
    snapshot.
    """
    statement = _count_events(asked.basis, split, asked.store_ids is not None)
    return conn.execute(statement, asked.parameters()).all()


def count_stays(conn: Connection, *, asked: Asked) -> Sequence[Row[Any]]:
    """Return (tier, next_tier, days, stays) of the stays begun in [start, end), followed until `end`.

    `next_tier` is null where the stay was not over by then, or the member left.
    """
    return conn.execute(_count_stays(asked.basis, asked.store_ids is not None), asked.parameters()).all()


def count_held(
    conn: Connection, *, moments: Sequence[datetime], basis: Basis, store_ids: Sequence[str] | None
) -> Sequence[Row[Any]]:
    """Return (tier, place, change): by how much the holders of a tier grow at `moments[place]`, ascending.

    The sum of the changes up to a place is how many held the tier just before that moment.
    """
    parameters: dict[str, object] = {"moments": list(moments), "from": moments[0], "to": moments[-1]}
    if store_ids is not None:
        parameters["store_ids"] = list(store_ids)
    return conn.execute(_count_held(basis, store_ids is not None), parameters).all()


@lru_cache(maxsize=64)
def _count_cohort(basis: Basis, split: Split | None, scoped: bool) -> Select[Any]:
    by_store = split == "store"
    stays = stays_sql(basis, scoped=scoped, with_stores=by_store)
    ended = stays.c.ends
    held = (
        select(
            func.max(stays.c.to_tier)
            .filter(and_(stays.c.starts < _from, or_(ended.is_(None), ended >= _from)))
            .label("from_tier"),
            func.max(stays.c.to_tier).filter(ended.is_(None)).label("to_tier"),
            func.max(stays.c.cause).filter(and_(ended.is_(None), stays.c.starts >= _from)).label("cause"),
            func.min(stays.c.joined).label("joined"),
            func.max(stays.c.left_at).label("left_at"),
            func.max(stays.c.left_by).label("left_by"),
            *([func.max(stays.c.store_key).label("store_key")] if by_store else []),
        )
        .group_by(stays.c.member_key)
        .subquery("held")
    )
    way_out = case((held.c.left_at < _to, func.coalesce(held.c.left_by, held.c.cause)), else_=held.c.cause)
    part, source = _part(split, held, way_out)
    to_tier = case((held.c.left_at < _to, null()), else_=held.c.to_tier)
    return (
        select(held.c.from_tier, to_tier.label("to_tier"), part.label("part"), func.count().label("members"))
        .select_from(source)
        .where(or_(held.c.left_at.is_(None), held.c.left_at >= _from))
        .group_by(held.c.from_tier, to_tier, part)
    )


@lru_cache(maxsize=64)
def _count_events(basis: Basis, split: Split | None, scoped: bool) -> Select[Any]:
    stays = stays_sql(basis, scoped=scoped, with_stores=split == "store")
    c = stays.c
    part, source = _part(split, stays, c.cause)
    here_at_start = or_(c.left_at.is_(None), c.left_at >= _from)
    here_at_end = or_(c.left_at.is_(None), c.left_at >= _to)
    counted = {
        "moved": c.starts >= _from,
        "opening": and_(c.starts < _from, or_(c.ends.is_(None), c.ends >= _from), here_at_start),
        "closing": and_(c.ends.is_(None), here_at_end),
        "departed": and_(c.ends.is_(None), here_at_start, ~here_at_end),
        "merged": and_(c.ends.is_(None), here_at_start, ~here_at_end, c.left_by.is_not(None)),
    }
    return (
        select(
            c.from_tier,
            c.to_tier,
            part.label("part"),
            *(func.count().filter(condition).label(name) for name, condition in counted.items()),
        )
        .select_from(source)
        .group_by(c.from_tier, c.to_tier, part)
    )


@lru_cache(maxsize=8)
def _count_stays(basis: Basis, scoped: bool) -> Select[Any]:
    stays = stays_sql(basis, scoped=scoped, since_start=True)
    c = stays.c
    over = func.coalesce(c.ends, func.least(c.left_at, _to))
    days = _day(over) - _day(c.starts)
    return (
        select(c.to_tier.label("tier"), c.next_tier, days.label("days"), func.count().label("stays"))
        .where(c.starts >= _from)
        .group_by(c.to_tier, c.next_tier, days)
    )


@lru_cache(maxsize=8)
def _count_held(basis: Basis, scoped: bool) -> Select[Any]:
    stays = stays_sql(basis, scoped=scoped)
    moments = bindparam("moments", type_=ARRAY(DateTime(timezone=True)))
    # `width_bucket` counts the moments up to one: the place of the first moment after it.
    over = func.least(stays.c.ends, stays.c.left_at)
    placed = select(
        stays.c.to_tier.label("tier"),
        func.width_bucket(stays.c.starts, moments).label("begun"),
        case((over.is_not(None), func.width_bucket(over, moments))).label("ended"),
    ).subquery("placed")
    begun, ended = (tuple_(placed.c.tier, place) for place in (placed.c.begun, placed.c.ended))
    return (
        select(
            placed.c.tier,
            func.coalesce(placed.c.begun, placed.c.ended).label("place"),
            case((func.grouping(placed.c.begun) == 0, func.count()), else_=-func.count()).label("change"),
        )
        .group_by(func.grouping_sets(begun, ended))
        .having(or_(placed.c.begun.is_not(None), placed.c.ended.is_not(None)))
    )


def _part(split: Split | None, rows: Subquery, cause: ColumnElement[Any]) -> tuple[ColumnElement[Any], Any]:
    """Return the column that groups, and what to select from."""
    if split == "cause":
        return cause, rows
    if split == "cohort":
        return func.to_char(func.timezone(_zone, rows.c.joined), "YYYY-MM"), rows
    if split == "store":
        return store_rows.c.store_id, rows.outerjoin(store_rows, store_rows.c.store_key == rows.c.store_key)
    return cast(null(), Text), rows


def _day(moment: ColumnElement[Any]) -> ColumnElement[Any]:
    return cast(func.timezone(_zone, moment), Date)
