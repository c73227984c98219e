"""The second reader of metrics: what every member is rated on, on one day, as one statement.

`RunningWindow` measures one member while facts come in; this measures everybody from the day roll-up, or, as
of a past day, from the facts in effect by then. Law T3 holds the two together.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any, TypedDict

from sqlalchemy import (
    ARRAY,
    BigInteger,
    BindParameter,
    ColumnElement,
    Date,
    DateTime,
    FromClause,
    Integer,
    Select,
    Subquery,
    and_,
    any_,
    bindparam,
    case,
    cast,
    func,
    literal,
    null,
    or_,
    select,
    true,
    type_coerce,
)
from sqlalchemy.dialects.postgresql import distinct_on

from service.activity.readable import day_rows, day_rows_before
from service.kit.clock import local_midnight
from service.members.readable import joining_rows, joining_rows_before, merged_rows
from service.tiers.models import tier_changes, tier_pins, tier_states
from service.tiers.periods import CalendarYear, MembershipYear, RollingWindow, Window
from service.tiers.rules import RuleSet

Keys = tuple[Any, Any] | list[int] | BindParameter[Any]
"""Which members: from one key to another (numbers or parameters), both included, or those of a list (itself
or a parameter)."""


class Anchors(TypedDict):
    """Values of a statement over `members_sql(past=True)`: members, each with when their tier was reached."""

    anchored_keys: list[int]
    anchored_from: list[datetime]


# Without values of their own, so that nobody forgets them.
_ANCHORED = func.unnest(
    bindparam("anchored_keys", type_=ARRAY(BigInteger)),
    bindparam("anchored_from", type_=ARRAY(DateTime(timezone=True))),
)


def metrics_sql(
    window: Window, *, day: date, timezone: str, past: bool = False, keys: Keys | None = None
) -> Select[Any]:
    """Return the metrics of every member (or those in `keys`) on `day`, in no order.

    Columns: member_key, active_days, span_days, days_since_last_visit, net_spend_minor, orders, member_days;
    as `conditions.Metrics`, member_days always told. One row per membership, with or without days; where the
    window is anchored on the tier, on the rating's own (not a pinned) tier.

    `past` False: as the roll-up stands now, so `day` is today or later. `past` True: as the facts in effect
    by the end of `day` make it, over the memberships begun by then; refunds known since do not count. Such a
    statement needs the values that `anchors.find_anchors` returns.
    """
    members = members_sql(day=day, timezone=timezone, past=past, keys=keys).subquery("rated_members")
    sums = sums_sql(window, members, day=day, timezone=timezone, past=past, keys=keys).subquery("sums")
    columns = metric_columns(sums, members, day=day, timezone=timezone)
    return select(
        members.c.member_key, *(column.label(name) for name, column in columns.items())
    ).select_from(members.outerjoin(sums, sums.c.member_key == members.c.member_key))


def metric_columns(
    sums: Subquery, members: Subquery, *, day: date, timezone: str
) -> dict[str, ColumnElement[Any]]:
    """Return the metrics by name, for `members` that `sums` were left-joined to."""
    return {
        "active_days": func.coalesce(sums.c.active_days, 0),
        "span_days": func.coalesce(_days_between(sums.c.first_day, sums.c.last_day), 0),
        "days_since_last_visit": _age(sums.c.last_day, day),
        "net_spend_minor": func.coalesce(sums.c.net_spend_minor, 0),
        "orders": func.coalesce(sums.c.orders, 0),
        "member_days": _age(local_day_sql(members.c.joined_at, timezone), day),
    }


def members_sql(*, day: date, timezone: str, past: bool = False, keys: Keys | None = None) -> Select[Any]:
    """Return who is a member on `day`: member_key, tier, is_pinned, anchored_at, joined_at, store_key.

    `tier` is the one held, as last written or, of a past day, as the log that stands today says;
    `anchored_at` is when the tier that the rating underneath a pin says was reached, of a past day the values
    given or else the last movement.
    """
    held = _held_on(day, timezone, keys) if past else _held_now(keys)
    joined = joining_rows_before(_end_of(day, timezone)) if past else joining_rows
    return (
        select(*held.c, joined.c.joined_at, joined.c.store_key)
        .select_from(held.join(joined, joined.c.member_key == held.c.member_key))
        # The planner does not carry a range over to the other side of a join by itself.
        .where(_within(joined.c.member_key, keys))
    )


def _end_of(day: date, timezone: str) -> datetime:
    """The first moment after a day."""
    return local_midnight(day + timedelta(days=1), timezone=timezone)


def _held_now(keys: Keys | None) -> Subquery:
    return (
        select(
            tier_states.c.member_key,
            tier_states.c.tier,
            tier_states.c.pinned_until.is_not(None).label("is_pinned"),
            func.coalesce(tier_states.c.rated_since, tier_states.c.since).label("anchored_at"),
        )
        .where(_within(tier_states.c.member_key, keys))
        .subquery("held")
    )


def _held_on(day: date, timezone: str, keys: Keys | None) -> Subquery:
    """The tier that the standing log says was held at the end of a day; the first change begins it all."""
    cut = _end_of(day, timezone)
    merged = (
        select(merged_rows.c.member_key)
        .where(merged_rows.c.member_key == tier_changes.c.member_key, merged_rows.c.merged_at < cut)
        .exists()
    )
    last = last_changes(cut, keys).where(~merged).subquery("last_changes")
    pinned = (
        select(tier_pins.c.pin_key)
        .where(
            tier_pins.c.member_key == last.c.member_key,
            tier_pins.c.starts_at < cut,
            func.coalesce(tier_pins.c.lifted_at, tier_pins.c.ends_at) >= cut,
        )
        .exists()
    )
    anchored = _ANCHORED.table_valued("member_key", "anchored_at", name="anchored").render_derived()
    return (
        select(
            last.c.member_key,
            last.c.to_tier.label("tier"),
            pinned.label("is_pinned"),
            func.coalesce(anchored.c.anchored_at, last.c.effective_at).label("anchored_at"),
        )
        .select_from(last.outerjoin(anchored, anchored.c.member_key == last.c.member_key))
        .subquery("held")
    )


def last_changes(cut: datetime, keys: Keys | None) -> Select[Any]:
    """Return the last movement of each member before a moment that stands in the log of today."""
    return (
        select(
            tier_changes.c.member_key,
            tier_changes.c.to_tier,
            tier_changes.c.effective_at,
            tier_changes.c.refund_key,
        )
        .where(tier_changes.c.superseded_at.is_(None), tier_changes.c.effective_at < cut)
        .where(_within(tier_changes.c.member_key, keys))
        .ext(distinct_on(tier_changes.c.member_key))
        .order_by(
            tier_changes.c.member_key, tier_changes.c.effective_at.desc(), tier_changes.c.change_key.desc()
        )
    )


def states_sql(rules: RuleSet, keys: Keys) -> Subquery:
    """Return the stored states of some members, with what metrics under `rules` are counted from.

    `anchored_at` and `joined_at` as in `members_sql`; `joined_at` null where the rules do not ask for it.
    """
    anchored_at = func.coalesce(tier_states.c.rated_since, tier_states.c.since).label("anchored_at")
    wanted = _within(tier_states.c.member_key, keys)
    if not rules.asks_for_joining:
        unasked = cast(null(), DateTime(timezone=True)).label("joined_at")
        return select(tier_states, anchored_at, unasked).where(wanted).subquery("states")
    return (
        select(tier_states, anchored_at, joining_rows.c.joined_at)
        .select_from(tier_states.join(joining_rows, joining_rows.c.member_key == tier_states.c.member_key))
        .where(wanted, _within(joining_rows.c.member_key, keys))
        .subquery("states")
    )


def sums_sql(
    window: Window, members: Subquery, *, day: date, timezone: str, past: bool, keys: Keys | None
) -> Select[Any]:
    """Return the sums of the days in the window, by member; like the fold's, a window has no upper end."""
    earliest = _earliest_day(window, day)
    days = _days(earliest, day=day, timezone=timezone, past=past, keys=keys)
    is_active = days.c.goods_minor > 0
    sums = select(
        days.c.member_key,
        cast(func.count().filter(is_active), Integer).label("active_days"),
        func.min(days.c.day).filter(is_active).label("first_day"),
        func.max(days.c.day).filter(is_active).label("last_day"),
        func.min(days.c.day).filter(_counts(days)).label("counting_day"),
        cast(func.sum(days.c.spend_minor - days.c.unlinked_minor), BigInteger).label("net_spend_minor"),
        cast(func.sum(days.c.orders), Integer).label("orders"),
    ).group_by(days.c.member_key)
    if not isinstance(window, MembershipYear):
        return sums
    anchor = members.c.joined_at if window.anchor == "joining" else members.c.anchored_at
    first = period_start(local_day_sql(anchor, timezone), day)
    return sums.select_from(
        members.join(days, and_(days.c.member_key == members.c.member_key, days.c.day >= first))
    )


def _counts(days: FromClause) -> ColumnElement[bool]:
    """Whether a day counts for any metric, as `RunningWindow` has it."""
    net_minor = days.c.spend_minor - days.c.unlinked_minor
    return or_(days.c.goods_minor != 0, net_minor != 0, days.c.orders != 0)


def _days(earliest: date, *, day: date, timezone: str, past: bool, keys: Keys | None) -> FromClause:
    if past:
        cut = _end_of(day, timezone)
        return day_rows_before(cut, first_day=earliest, keys=keys)
    return (
        select(day_rows)
        .where(day_rows.c.day >= earliest, _within(day_rows.c.member_key, keys))
        .subquery("days_in_window")
    )


def _earliest_day(window: Window, day: date) -> date:
    """The first day of the window, or the earliest that it is for anybody."""
    if isinstance(window, RollingWindow):
        return day - timedelta(days=window.days - 1)
    if isinstance(window, CalendarYear):
        return date(day.year, 1, 1)
    return day - timedelta(days=366)


def period_start(anchor: ColumnElement[date], day: date, *, later_years: int = 0) -> ColumnElement[date]:
    """`periods.period_of` in SQL: adding years to 29 February gives the 28th in common years there too.

    The first day of the period that holds `day`, or of one some years later.
    """
    started = _return_in(anchor, day.year) <= _day(day)
    this_year, last_year = (_return_in(anchor, day.year + later_years - back) for back in (0, 1))
    return case((started, this_year), else_=last_year)


def _return_in(anchor: ColumnElement[date], year: int) -> ColumnElement[date]:
    years = literal(year) - cast(func.date_part("year", anchor), Integer)
    return cast(anchor + func.make_interval(years), Date)


def _age(since: ColumnElement[date], day: date) -> ColumnElement[int]:
    """Days from one day to the evaluation day, never negative; null where there is none."""
    return case((since >= _day(day), 0), else_=_days_between(since, _day(day)))


def _days_between(first: ColumnElement[date], last: ColumnElement[date]) -> ColumnElement[int]:
    # One date less another is a whole number in PostgreSQL.
    return type_coerce(last - first, Integer)


def local_day_sql(moment: ColumnElement[Any], timezone: str) -> ColumnElement[date]:
    """Return the calendar day of a moment in a zone."""
    return cast(func.timezone(timezone, moment), Date)


def _day(day: date) -> ColumnElement[date]:
    return literal(day, Date)


def _within(key: ColumnElement[int], keys: Keys | None) -> ColumnElement[bool]:
    if keys is None:
        return true()
    if isinstance(keys, BindParameter):
        return key == any_(keys)
    if isinstance(keys, list):
        return key == any_(literal(keys, ARRAY(BigInteger)))
    return key.between(*keys)
