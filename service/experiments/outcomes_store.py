"""The outcome join: one statement, sums only, one row per arm and tier at assignment.

A cohort (who was drawn, from which moment, and who is left out why) is joined with what its members ordered
around their own anchors, and added up. Whatever the number of members, what leaves the database is a row per
arm and stratum.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    CTE,
    BigInteger,
    ColumnElement,
    Connection,
    Date,
    Integer,
    Interval,
    Numeric,
    Row,
    Select,
    Subquery,
    and_,
    bindparam,
    case,
    cast,
    func,
    literal,
    null,
    or_,
    select,
    text,
    union_all,
)

from service.activity.readable import order_give_backs, order_values, unlinked_refunds
from service.experiments.models import assignments, exposures
from service.members.readable import withdrawal_rows

COVARIATE = timedelta(days=90)
"""How far before the anchor the covariate looks."""

VALUES = (
    "repurchase",
    "orders",
    "net_spend",
    "returned_value",
    "reward_cost",
    "net_after_rewards",
    "unsubscribed",
)
"""What is added up of each member, beside the covariate x: Σv, Σv² and Σvx of each."""
_COUNTS = {"repurchase", "orders", "unsubscribed"}
REASONS = ("other_version", "override", "unexposed", "immature")
"""Why a member is left out, in the order they are asked."""

_PRODUCTS = tuple(name for name in VALUES if name not in _COUNTS)
_NARROW = 1 << 31
"""Below this the product of two values fits the integers of the database."""

# A membership is hashed in memory, for this transaction alone; compiling costs more than it saves.
_ROOM = text("SELECT set_config('work_mem', '128MB', true), set_config('jit', 'off', true)")
_second = literal(timedelta(seconds=1), Interval)
# Spans of seconds: days are added by the calendar, which costs as much as all the rest for every order.
_window = bindparam("window", type_=BigInteger) * _second
_grace = bindparam("grace", type_=BigInteger) * _second
_covariate = literal(int(COVARIATE.total_seconds()), BigInteger) * _second


def read_sums(
    conn: Connection,
    *,
    experiment: str,
    experiment_key: int,
    started_at: datetime,
    by_exposure: bool,
    window: timedelta,
    grace: timedelta,
    watermark: datetime,
) -> Sequence[Row[Any]]:
    """Return the sums of one version of an experiment: rows with a `day` are draws, those without are sums.

    Amounts are the programme's minor units. `by_exposure` anchors at the first would-be exposure instead of
    the assignment.
    """
    statement = _BY_EXPOSURE if by_exposure else _BY_ASSIGNMENT
    parameters = {
        "experiment": experiment,
        "experiment_key": experiment_key,
        "started_at": started_at,
        "window": int(window.total_seconds()),
        "grace": int(grace.total_seconds()),
        "watermark": watermark,
        "earliest": started_at - COVARIATE,
        "latest": watermark - grace,
    }
    conn.execute(_ROOM)
    return conn.execute(statement, parameters).all()


def _owners() -> Subquery:
    """Who stands for each member that was merged, however many merges later."""
    merged = assignments.alias("merged")
    steps = select(merged.c.member_key, merged.c.merged_into.label("owner_key")).where(
        merged.c.experiment == bindparam("experiment"), merged.c.merged_into.is_not(None)
    )
    line = steps.cte("line", recursive=True)
    further = steps.subquery("further")
    line = line.union(
        select(line.c.member_key, further.c.owner_key).select_from(
            line.join(further, further.c.member_key == line.c.owner_key)
        )
    )
    beyond = steps.subquery("beyond")
    return (
        select(line.c.member_key, line.c.owner_key)
        .select_from(line.outerjoin(beyond, beyond.c.member_key == line.c.owner_key))
        .where(beyond.c.member_key.is_(None))
        .subquery("owners")
    )


def _first_exposures() -> Subquery:
    """When each member was first answered in this version, in whichever arm."""
    key, owners = bindparam("experiment_key", type_=Integer), _owners()
    owner = func.coalesce(owners.c.owner_key, exposures.c.member_key)
    return (
        select(owner.label("member_key"), func.min(exposures.c.issued_at).label("first_at"))
        .select_from(exposures.outerjoin(owners, owners.c.member_key == exposures.c.member_key))
        .where(
            # Who was asked for and not drawn was answered without an arm: that began nothing.
            or_(
                and_(exposures.c.experiment_key == key, exposures.c.arm.is_not(None)),
                key == func.any(exposures.c.nested),
            ),
            exposures.c.issued_at >= bindparam("started_at"),
            exposures.c.member_key.is_not(None),
        )
        .group_by(owner)
        .subquery("first_exposures")
    )


def _cohort(*, by_exposure: bool) -> CTE:
    """Everybody with an assignment: arm, stratum, anchor, and the reason to leave them out (null: none)."""
    source: Any = assignments
    anchor: ColumnElement[Any] = assignments.c.assigned_at
    if by_exposure:
        first = _first_exposures()
        source = assignments.outerjoin(first, first.c.member_key == assignments.c.member_key)
        anchor = first.c.first_at
    key, matures_at = bindparam("experiment_key", type_=Integer), anchor + _window + _grace
    left_out = case(
        (assignments.c.experiment_key != key, "other_version"),
        (assignments.c.reason == "override", "override"),
        (anchor.is_(None), "unexposed"),
        (matures_at > bindparam("watermark"), "immature"),
    )
    # The same as conditions on columns, of which the planner knows how many rows meet them.
    is_settled = and_(
        assignments.c.experiment_key == key,
        assignments.c.reason != "override",
        anchor <= bindparam("watermark") - _window - _grace,
    )
    return (
        select(
            assignments.c.member_key,
            assignments.c.arm,
            func.coalesce(assignments.c.tier_at_assignment, "").label("stratum"),
            assignments.c.merges,
            anchor.label("anchor"),
            (anchor + _window).label("window_end"),
            matures_at.label("frozen_at"),
            left_out.label("left_out"),
            is_settled.label("is_settled"),
        )
        .select_from(source)
        .where(assignments.c.experiment == bindparam("experiment"), assignments.c.merged_into.is_(None))
        .cte("cohort")
        # First exposures are looked for once; assignments are quickly read again, by several at once.
        .prefix_with("MATERIALIZED" if by_exposure else "NOT MATERIALIZED", dialect="postgresql")
    )


def _given_back(settled: CTE) -> Subquery:
    """What was given back of each order by its member's freeze, and by the member's anchor."""
    amount, at = order_give_backs.c.order_amount_minor, order_give_backs.c.given_back_at
    return (
        select(
            order_give_backs.c.order_key,
            cast(func.sum(amount), BigInteger).label("by_freeze"),
            cast(func.sum(amount).filter(at < settled.c.anchor), BigInteger).label("by_anchor"),
        )
        .select_from(settled.join(order_give_backs, order_give_backs.c.member_key == settled.c.member_key))
        .where(at < settled.c.frozen_at, at >= settled.c.anchor - _covariate)
        .group_by(order_give_backs.c.order_key)
        .subquery("given_back")
    )


def _left(whole: ColumnElement[int], goods: ColumnElement[int], back: ColumnElement[Any]) -> Any:
    """What is left of an amount once `back` of its order's goods was given back, as `left_after` rounds."""
    twice = 2 * cast(whole, Numeric) * back + goods
    return case(
        (or_(back.is_(None), goods == 0), whole),
        else_=whole - cast(func.div(twice, 2 * cast(goods, Numeric)), BigInteger),
    )


def _placed(settled: CTE) -> Subquery:
    """Orders before the anchor (not `inside`) and in the window, in rows narrow enough to hand over.

    An order in the window whose checkout began before the anchor is neither.
    """
    placed_at = order_values.c.placed_at
    begun_at = func.coalesce(order_values.c.checkout_started_at, placed_at)
    inside = placed_at >= settled.c.anchor
    paid = order_values.c.order_points_paid_minor + order_values.c.order_voucher_paid_minor
    cost = case(
        # Of most orders nothing was paid in points.
        (paid == 0, None),
        (order_values.c.exchange_rate.is_(None), paid),
        else_=cast(func.round(paid * order_values.c.exchange_rate), BigInteger),
    )
    return (
        select(
            order_values.c.member_key,
            order_values.c.order_key,
            inside.label("inside"),
            order_values.c.order_goods_minor.label("order_goods"),
            order_values.c.goods_minor.label("goods"),
            order_values.c.spend_minor.label("spend"),
            cost.label("cost"),
        )
        .select_from(settled.join(order_values, order_values.c.member_key == settled.c.member_key))
        .where(
            placed_at >= settled.c.anchor - _covariate,
            placed_at < settled.c.window_end,
            # A basket in progress at the anchor was not brought about by what came after it.
            or_(placed_at < settled.c.anchor, begun_at >= settled.c.anchor),
            # Nobody's window reaches further: known before planning, so that other months are not read.
            placed_at >= bindparam("earliest"),
            placed_at < bindparam("latest"),
        )
        # A fence: worked out by whoever reads the orders, several at once.
        .offset(0)
        .subquery("placed")
    )


def _bought(settled: CTE) -> Subquery:
    """What each settled member ordered before the anchor and in the window, net as of the member's freeze."""
    placed, back = _placed(settled), _given_back(settled)
    inside, goods = placed.c.inside, placed.c.order_goods
    counts = and_(inside, goods > func.coalesce(back.c.by_freeze, 0))
    before = and_(~inside, goods > func.coalesce(back.c.by_anchor, 0))
    left = _left(placed.c.spend, goods, back.c.by_freeze)
    returned = placed.c.goods - _left(placed.c.goods, goods, back.c.by_freeze)
    sums = {
        "net": func.sum(left).filter(counts),
        "returned": func.sum(returned).filter(inside, back.c.by_freeze.is_not(None)),
        "cost": func.sum(placed.c.cost).filter(counts, placed.c.cost.is_not(None)),
    }
    return (
        select(
            placed.c.member_key,
            func.count().filter(before).label("x"),
            func.count().filter(counts).label("orders"),
            *(cast(total, BigInteger).label(name) for name, total in sums.items()),
        )
        .select_from(placed.outerjoin(back, back.c.order_key == placed.c.order_key))
        .group_by(placed.c.member_key)
        .subquery("bought")
    )


def _taken_back(settled: CTE) -> Subquery:
    """Refunds of no known order in the window: they lower net spend on their own day."""
    amount = func.sum(unlinked_refunds.c.order_amount_minor)
    return (
        select(settled.c.member_key, cast(amount, BigInteger).label("unlinked"))
        .select_from(settled.join(unlinked_refunds, unlinked_refunds.c.member_key == settled.c.member_key))
        .where(
            unlinked_refunds.c.refunded_at >= settled.c.anchor,
            unlinked_refunds.c.refunded_at < settled.c.window_end,
        )
        .group_by(settled.c.member_key)
        .subquery("taken_back")
    )


def _withdrawn(settled: CTE) -> Subquery:
    """Who took back the consent to marketing in the window."""
    at = withdrawal_rows.c.withdrawn_at
    return (
        select(settled.c.member_key)
        .select_from(settled.join(withdrawal_rows, withdrawal_rows.c.member_key == settled.c.member_key))
        .where(at >= settled.c.anchor, at < settled.c.window_end)
        .group_by(settled.c.member_key)
        .subquery("withdrawn")
    )


def _settled(cohort: CTE) -> CTE:
    """Those of the cohort whose outcome is known."""
    return (
        select(
            cohort.c.member_key,
            cohort.c.arm,
            cohort.c.stratum,
            cohort.c.anchor,
            cohort.c.window_end,
            cohort.c.frozen_at,
        )
        .where(cohort.c.is_settled)
        .cte("settled")
        .prefix_with("NOT MATERIALIZED", dialect="postgresql")
    )


def _members(settled: CTE) -> Subquery:
    """One row per settled member with every value that is added up."""
    bought, back, withdrawn = _bought(settled), _taken_back(settled), _withdrawn(settled)

    def zero(column: ColumnElement[Any]) -> ColumnElement[Any]:
        return func.coalesce(column, 0)

    net, cost = zero(bought.c.net) - zero(back.c.unlinked), zero(bought.c.cost)
    returned = zero(bought.c.returned) + zero(back.c.unlinked)
    # A net amount lies between what is taken from it and what it is taken from.
    largest = func.greatest(zero(bought.c.net), returned + cost)
    return (
        select(
            settled.c.arm,
            settled.c.stratum,
            zero(bought.c.x).label("x"),
            case((bought.c.orders > 0, 1), else_=0).label("repurchase"),
            zero(bought.c.orders).label("orders"),
            net.label("net_spend"),
            returned.label("returned_value"),
            cost.label("reward_cost"),
            (net - cost).label("net_after_rewards"),
            case((withdrawn.c.member_key.is_not(None), 1), else_=0).label("unsubscribed"),
            (largest < _NARROW).label("is_narrow"),
        )
        .select_from(
            settled.outerjoin(bought, bought.c.member_key == settled.c.member_key)
            .outerjoin(back, back.c.member_key == settled.c.member_key)
            .outerjoin(withdrawn, withdrawn.c.member_key == settled.c.member_key)
        )
        # A fence: without it every sum works its own value out anew, forty times a member.
        .offset(0)
        .subquery("people")
    )


def _totals(cohort: CTE) -> Subquery:
    """What the settled members of each arm and stratum add up to."""
    people = _members(_settled(cohort))
    x, orders = people.c.x, people.c.orders

    def total(one: ColumnElement[Any], other: ColumnElement[Any]) -> ColumnElement[Any]:
        """Add up a product, in exact numbers only where it could outgrow an integer: they are slow."""
        narrow = func.coalesce(func.sum(one * other).filter(people.c.is_narrow), 0)
        return narrow + func.coalesce(func.sum(cast(one, Numeric) * other).filter(~people.c.is_narrow), 0)

    columns: list[ColumnElement[Any]] = [
        func.sum(x).label("x"),
        func.sum(x * x).label("x_squares"),
        total(people.c.net_spend, orders).label("net_spend_by_orders"),
    ]
    for name in VALUES:
        value = people.c[name]
        squares = total(value, value) if name in _PRODUCTS else func.sum(value * value)
        by_x = total(value, x) if name in _PRODUCTS else func.sum(value * x)
        columns += [
            func.sum(value).label(name),
            squares.label(f"{name}_squares"),
            by_x.label(f"{name}_by_x"),
        ]
    return (
        select(people.c.arm, people.c.stratum, *columns)
        .group_by(people.c.arm, people.c.stratum)
        .subquery("totals")
    )


def _counted(cohort: CTE) -> CTE:
    """How many were drawn and anchored on each day, and how many are left out why: one look at everybody.

    Whoever is in neither arm's draws has no day.
    """
    analysed = cohort.c.is_settled
    drawn = or_(analysed, cohort.c.left_out == "immature")
    day = case((drawn, cast(cohort.c.anchor, Date)))
    return (
        select(
            cohort.c.arm,
            cohort.c.stratum,
            day.label("day"),
            func.count().label("drawn"),
            func.count().filter(analysed).label("members"),
            func.count().filter(analysed, cohort.c.merges > 0).label("merged"),
            *(func.count().filter(cohort.c.left_out == reason).label(reason) for reason in REASONS),
        )
        .group_by(cohort.c.arm, cohort.c.stratum, day)
        .cte("counted")
    )


def _sums(cohort: CTE, counted: CTE) -> Select[Any]:
    totals = _totals(cohort)
    counts = (
        select(
            counted.c.arm,
            counted.c.stratum,
            *(func.sum(counted.c[name]).label(name) for name in ("members", *REASONS, "merged")),
        )
        .group_by(counted.c.arm, counted.c.stratum)
        .subquery("counts")
    )
    same = and_(totals.c.arm == counts.c.arm, totals.c.stratum == counts.c.stratum)
    names = [column.name for column in totals.columns if column.name not in {"arm", "stratum"}]
    return select(
        counts.c.arm,
        counts.c.stratum,
        cast(null(), Date).label("day"),
        counts.c.members,
        *(func.coalesce(totals.c[name], 0).label(name) for name in names),
        *(counts.c[reason] for reason in REASONS),
        counts.c.merged,
    ).select_from(counts.outerjoin(totals, same))


def _draws(counted: CTE, width: int) -> Select[Any]:
    """How many were drawn and anchored on each day, mature or not: what the sample-ratio test reads."""
    nothing = [cast(null(), Numeric) for _ in range(width)]
    return select(counted.c.arm, counted.c.stratum, counted.c.day, counted.c.drawn, *nothing).where(
        counted.c.day.is_not(None)
    )


def _statement(*, by_exposure: bool) -> Any:
    cohort = _cohort(by_exposure=by_exposure)
    counted = _counted(cohort)
    sums = _sums(cohort, counted)
    draws = _draws(counted, len(sums.selected_columns) - 4)
    return union_all(sums, draws)


_BY_ASSIGNMENT = _statement(by_exposure=False)
_BY_EXPOSURE = _statement(by_exposure=True)
