"""Every SQL statement about movement: stays made from the log, counted; and who is at risk.

A stay is a row of the log with the one that follows it. By `effective` time the rows that stand today are
read; by `believed` time, what was on record at each moment, whatever was superseded since.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from typing import Any, Literal

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Connection,
    Date,
    DateTime,
    Integer,
    Row,
    Select,
    Subquery,
    Text,
    and_,
    any_,
    bindparam,
    case,
    cast,
    column,
    func,
    literal,
    null,
    or_,
    select,
    true,
    tuple_,
    union,
    values,
)
from sqlalchemy.sql.functions import FunctionElement

from service.members.readable import member_rows, membership_rows
from service.programme.readable import store_rows
from service.tiers.models import tier_changes, tier_reports, tier_states

Basis = Literal["effective", "believed"]
Split = Literal["cause", "cohort", "store"]

_Moment = DateTime(timezone=True)
_from = bindparam("from", type_=_Moment)
_to = bindparam("to", type_=_Moment)
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
    """Return (from_tier, to_tier, part, moved, opening, closing, departed) of [start, end), in one snapshot.

    `moved` counts moves; `opening` and `closing` are members that stood in `to_tier` just before each moment,
    `departed` those who left from there.
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
    parameters: dict[str, object] = {"moments": list(moments), "to": moments[-1], "from": None}
    if store_ids is not None:
        parameters["store_ids"] = list(store_ids)
    return conn.execute(_count_held(basis, store_ids is not None), parameters).all()


def list_unqualified(
    conn: Connection,
    *,
    tier: str | None,
    until: date,
    after: tuple[date, int],
    limit: int,
    store_ids: Sequence[str] | None,
) -> Sequence[Row[Any]]:
    """Return states that stopped qualifying by a day, with the member's id: the longest ago first.

    Pinned members are left out: nothing moves them while the pin holds.
    """
    parameters = {
        "until": until,
        "after_day": after[0],
        "after_key": after[1],
        "limit": limit,
        "tier": tier,
        "store_ids": None if store_ids is None else list(store_ids),
    }
    statement = _list_unqualified(tier is not None, store_ids is not None)
    return conn.execute(statement, parameters).all()


def find_forecast(conn: Connection, *, days: int) -> Row[Any] | None:
    """Return (as_of, computed_at, result) of the latest forecast that looks this many days ahead or more."""
    return conn.execute(_FIND_FORECAST, {"days": days}).one_or_none()


def count_due(conn: Connection, *, until: date, versions: Sequence[int], most: int) -> int:
    """Return how many members time alone may move by a day, or were rated under these rule sets.

    Counts no further than `most`.
    """
    parameters = {"until": until, "versions": list(versions), "most": most}
    return int(conn.execute(_COUNT_DUE, parameters).scalar_one())


def list_stores_of(conn: Connection, *, member_keys: Sequence[int]) -> dict[int, str]:
    """Return the store of each member that has one."""
    rows = conn.execute(_STORES_OF, {"member_keys": list(member_keys)})
    return {row.member_key: row.store_id for row in rows}


@lru_cache(maxsize=64)
def _count_cohort(basis: Basis, split: Split | None, scoped: bool) -> Select[Any]:
    stays = _stays(basis, scoped=scoped)
    ended = stays.c.ends
    held = (
        select(
            func.max(stays.c.to_tier)
            .filter(and_(stays.c.starts < _from, or_(ended.is_(None), ended >= _from)))
            .label("from_tier"),
            func.max(stays.c.to_tier).filter(ended.is_(None)).label("to_tier"),
            func.max(stays.c.cause).filter(and_(ended.is_(None), stays.c.starts >= _from)).label("cause"),
            func.min(stays.c.joined).label("joined"),
            func.max(stays.c.store_key).label("store_key"),
            func.max(stays.c.left_at).label("left_at"),
        )
        .group_by(stays.c.member_key)
        .subquery("held")
    )
    part, source = _part(split, held, held.c.cause)
    to_tier = case((held.c.left_at < _to, null()), else_=held.c.to_tier)
    return (
        select(held.c.from_tier, to_tier.label("to_tier"), part.label("part"), func.count().label("members"))
        .select_from(source)
        .where(or_(held.c.left_at.is_(None), held.c.left_at >= _from))
        .group_by(held.c.from_tier, to_tier, part)
    )


@lru_cache(maxsize=64)
def _count_events(basis: Basis, split: Split | None, scoped: bool) -> Select[Any]:
    stays = _stays(basis, scoped=scoped)
    c = stays.c
    part, source = _part(split, stays, c.cause)
    here_at_start = or_(c.left_at.is_(None), c.left_at >= _from)
    here_at_end = or_(c.left_at.is_(None), c.left_at >= _to)
    counted = {
        "moved": c.starts >= _from,
        "opening": and_(c.starts < _from, or_(c.ends.is_(None), c.ends >= _from), here_at_start),
        "closing": and_(c.ends.is_(None), here_at_end),
        "departed": and_(c.ends.is_(None), here_at_start, ~here_at_end),
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
    stays = _stays(basis, scoped=scoped, since_start=True)
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
    stays = _stays(basis, scoped=scoped)
    moments = bindparam("moments", type_=ARRAY(_Moment))
    # `width_bucket` counts the moments up to one: the place of the first moment after it.
    begun = func.width_bucket(stays.c.starts, moments)
    over = func.least(stays.c.ends, stays.c.left_at)
    ended = case((over.is_not(None), func.width_bucket(over, moments)))
    steps = (
        values(column("place", Integer), column("change", Integer), name="steps")
        .data([(begun, literal(1)), (ended, literal(-1))])
        .lateral()
    )
    return (
        select(stays.c.to_tier.label("tier"), steps.c.place, func.sum(steps.c.change).label("change"))
        .select_from(stays.join(steps, true()))
        .where(steps.c.place.is_not(None))
        .group_by(stays.c.to_tier, steps.c.place)
    )


@lru_cache(maxsize=4)
def _list_unqualified(by_tier: bool, scoped: bool) -> Select[Any]:
    key = tuple_(tier_states.c.unqualified_since, tier_states.c.member_key)
    after = tuple_(
        bindparam("after_day", type_=Date), bindparam("after_key", type_=BigInteger), types=[Date, BigInteger]
    )
    source = tier_states.join(member_rows, member_rows.c.member_key == tier_states.c.member_key)
    wanted = [
        tier_states.c.unqualified_since <= bindparam("until", type_=Date),
        tier_states.c.pinned_until.is_(None),
        key > after,
    ]
    if by_tier:
        wanted.append(tier_states.c.tier == bindparam("tier", type_=Text))
    if scoped:
        source = source.join(membership_rows, membership_rows.c.member_key == tier_states.c.member_key).join(
            store_rows, store_rows.c.store_key == membership_rows.c.store_key
        )
        wanted.append(_in_scope())
    return (
        select(tier_states, member_rows.c.member_id)
        .select_from(source)
        .where(*wanted)
        .order_by(tier_states.c.unqualified_since, tier_states.c.member_key)
        .limit(bindparam("limit", type_=Integer))
    )


_COUNT_DUE = select(func.count()).select_from(
    select(tier_states.c.member_key)
    .where(
        or_(
            tier_states.c.next_review_on <= bindparam("until", type_=Date),
            tier_states.c.ruleset_version == any_(bindparam("versions", type_=ARRAY(Integer))),
        )
    )
    .limit(bindparam("most", type_=Integer))
    .subquery("due")
)
_FIND_FORECAST: Select[Any] = (
    select(tier_reports.c.as_of, tier_reports.c.computed_at, tier_reports.c.result)
    .where(
        tier_reports.c.kind == "forecast",
        tier_reports.c.state == "done",
        tier_reports.c.parameters["days"].as_integer() >= bindparam("days", type_=Integer),
    )
    .order_by(tier_reports.c.as_of.desc(), tier_reports.c.computed_at.desc())
    .limit(1)
)
_STORES_OF = (
    select(membership_rows.c.member_key, store_rows.c.store_id)
    .select_from(membership_rows.join(store_rows, store_rows.c.store_key == membership_rows.c.store_key))
    .where(membership_rows.c.member_key == any_(bindparam("member_keys", type_=ARRAY(BigInteger))))
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


def _in_scope() -> ColumnElement[bool]:
    return store_rows.c.store_id == any_(bindparam("store_ids", type_=ARRAY(Text)))


def _stays(basis: Basis, *, scoped: bool, since_start: bool = False) -> Subquery:
    """Return every stay begun before `to` while its member belonged.

    Columns: member_key, from_tier (null: the membership began), to_tier, cause, starts, ends and next_tier
    (null: not over by `to`), joined, store_key, left_at. With `since_start` stays that began before `from`
    may be left out, and `joined` means nothing.
    """
    rows = _rows_believed() if basis == "believed" else _rows_effective(since_start=since_start)

    def in_order(value: FunctionElement[Any]) -> ColumnElement[Any]:
        return value.over(partition_by=rows.c.member_key, order_by=(rows.c.starts, rows.c.place))

    source = rows.join(membership_rows, membership_rows.c.member_key == rows.c.member_key)
    belongs = or_(membership_rows.c.left_at.is_(None), rows.c.starts < membership_rows.c.left_at)
    if scoped:
        source = source.join(store_rows, store_rows.c.store_key == membership_rows.c.store_key)
        belongs = and_(belongs, _in_scope())
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
            membership_rows.c.store_key,
            membership_rows.c.left_at,
        )
        .select_from(source)
        .where(belongs)
        .subquery("stays")
    )


def _rows_effective(*, since_start: bool) -> Subquery:
    """Return the rows of the log that stand today, by the time they took effect."""
    rows = select(
        tier_changes.c.member_key,
        tier_changes.c.from_tier,
        tier_changes.c.to_tier,
        tier_changes.c.cause,
        tier_changes.c.effective_at.label("starts"),
        tier_changes.c.change_key.label("place"),
    ).where(tier_changes.c.superseded_at.is_(None), tier_changes.c.effective_at < _to)
    if since_start:
        rows = rows.where(tier_changes.c.effective_at >= _from)
    return rows.subquery("moves")


def _rows_believed() -> Subquery:
    """Return each moment at which another tier than before was on record.

    On record at a moment is the last row by effective time of those written and not yet superseded. The cause
    is that row's, if it was written then; else its correction is one by a fact that came late.
    """
    written = select(tier_changes.c.member_key, tier_changes.c.recorded_at.label("at")).where(
        tier_changes.c.recorded_at < _to
    )
    superseded = select(tier_changes.c.member_key, tier_changes.c.superseded_at.label("at")).where(
        tier_changes.c.superseded_at < _to
    )
    moments = union(written, superseded).subquery("moments")
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
    before = func.lag(on_record.c.to_tier).over(partition_by=moments.c.member_key, order_by=moments.c.at)
    cause = case((on_record.c.recorded_at == moments.c.at, on_record.c.cause), else_="late_fact")
    beliefs = (
        select(
            moments.c.member_key,
            before.label("from_tier"),
            on_record.c.to_tier,
            cause.label("cause"),
            moments.c.at.label("starts"),
            literal(0).label("place"),
        )
        .select_from(moments.join(on_record, true()))
        .subquery("beliefs")
    )
    return select(beliefs).where(beliefs.c.from_tier.is_distinct_from(beliefs.c.to_tier)).subquery("moves")
