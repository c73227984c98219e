"""The statement of a simulation: a range of members, where each is and would settle, tallied by PostgreSQL.

Each step computes a thing once for the next: `measured` what each rule set says of somebody's metrics,
`people` where everybody settles.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any, Literal

from sqlalchemy import (
    ARRAY,
    CTE,
    BigInteger,
    Boolean,
    ColumnElement,
    CompoundSelect,
    Connection,
    DateTime,
    FromClause,
    Integer,
    Numeric,
    Select,
    SmallInteger,
    Subquery,
    and_,
    bindparam,
    case,
    cast,
    func,
    literal,
    literal_column,
    null,
    select,
    tuple_,
    union_all,
)

from service.kit.clock import local_midnight
from service.ledger.readable import award_rows, reversal_rows
from service.tiers.conditions import Metrics
from service.tiers.periods import Window
from service.tiers.population.rules import (
    SAMPLES,
    Cost,
    Flow,
    Question,
    Sample,
    Slice,
    Tally,
    codes_held,
    height_on,
    heights_of_held,
    months_until,
    multipliers_of_held,
)
from service.tiers.population.store_conditions import condition_sql, keeps_sql, qualified_rank_sql
from service.tiers.population.store_metrics import (
    Anchors,
    Keys,
    members_sql,
    metric_columns,
    metrics_sql,
    sums_sql,
)
from service.tiers.rules import PAR_BP, RuleSet

_YEAR = timedelta(days=365)
# As `GROUPING(cohort, store_key)` tells the sets of a tally apart: whatever a set leaves out counts.
_ALL, _COHORT, _STORE, _SAMPLE, _COST = 3, 1, 2, -1, -2
_WHAT: Mapping[int, Literal["all", "cohort", "store"]] = {_ALL: "all", _COHORT: "cohort", _STORE: "store"}
# A range is small: it fits into memory, and a second process of the server would only do the same sums again.
_ALONE = select(
    func.set_config("work_mem", "32MB", True),
    func.set_config("max_parallel_workers_per_gather", "0", True),
    func.set_config("plan_cache_mode", "force_custom_plan", True),
)
_FIRST, _LAST = bindparam("first_key", type_=BigInteger), bindparam("last_key", type_=BigInteger)
_Side = tuple[str, RuleSet]


def tally(
    conn: Connection,
    *,
    counting: CompoundSelect[Any],
    question: Question,
    timezone: str,
    keys: tuple[int, int],
    anchors: Anchors,
) -> Tally:
    """Return what `counting_sql` counts of a range of members."""
    conn.execute(_ALONE)
    codes, months = codes_held(question), months_until(question.day, timezone=timezone)
    found = Tally([], [], [])
    for row in conn.execute(counting, {"first_key": keys[0], "last_key": keys[1], **anchors}):
        if row.what == _COST:
            found.costs.append(Cost(row.members, row.turn, row.points, row.squares))
            continue
        flow = Flow(codes[row.held], row.is_pinned, row.draft, row.in_force, row.against)
        if row.what == _SAMPLE:
            found.samples.append(Sample(row.turn, row.members, flow))
        else:
            cohort = None if row.cohort is None else months[max(row.cohort, 1) - 1][1]
            found.slices.append(Slice(_WHAT[row.what], cohort, row.store_key, flow, row.members))
    return found


def list_metrics(
    conn: Connection, *, question: Question, timezone: str, member_keys: list[int], anchors: Anchors
) -> dict[int, Metrics]:
    """Return the metrics of a few members under the draft's window."""
    draft = question.draft
    rows = conn.execute(
        metrics_sql(
            draft.window, day=question.day, timezone=timezone, past=question.is_past, keys=member_keys
        ),
        anchors,
    )
    return {
        row.member_key: Metrics(
            row.active_days,
            row.span_days,
            row.days_since_last_visit,
            row.net_spend_minor,
            row.orders,
            row.member_days if draft.asks_for_tenure else None,
        )
        for row in rows
    }


def counting_sql(question: Question, *, timezone: str, costed: int) -> CompoundSelect[Any]:
    """Return the statement that counts a range of members, made once for all ranges.

    It tells how many go from where to where: in all, by cohort and by store. With them go a few members of
    each movement, drawn by their keys, and what the awards of up to `costed` members, likewise drawn, would
    have come to under each change of multiplier.
    """
    people = _people(question, _measured(question, timezone, (_FIRST, _LAST)))
    # Counted by everything at once, hashed; small enough then to be summed up three times over.
    apart = [people.c[name] for name in (*Flow._fields, "cohort", "store_key")]
    grouped = select(*apart, func.count().label("members")).group_by(*apart).subquery("grouped")
    flow = [grouped.c[name] for name in Flow._fields]
    sets = (flow, [*flow, grouped.c.cohort], [*flow, grouped.c.store_key])
    counted = select(
        func.grouping(grouped.c.cohort, grouped.c.store_key).label("what"),
        *flow,
        grouped.c.cohort,
        grouped.c.store_key,
        cast(func.sum(grouped.c.members), BigInteger).label("members"),
        literal(0, BigInteger).label("turn"),
        literal(0, Numeric).label("points"),
        literal(0, Numeric).label("squares"),
    ).group_by(func.grouping_sets(*(tuple_(*one) for one in sets)))
    return union_all(counted, _sampled(people, question), _costs(people, question, timezone, costed))


def _measured(question: Question, timezone: str, keys: Keys) -> Subquery:
    """What every rule set says of each member's metrics."""
    day, past = question.day, question.is_past
    members = members_sql(day=day, timezone=timezone, past=past, keys=keys).subquery("members_in_range")
    source: FromClause = members
    measures: dict[Window, dict[str, ColumnElement[Any]]] = {}
    verdicts: list[ColumnElement[Any]] = []
    for side, rules in _sides(question):
        if rules.window not in measures:
            sums = sums_sql(rules.window, members, day=day, timezone=timezone, past=past, keys=keys)
            named = sums.subquery(f"sums_{side}")
            source = source.outerjoin(named, named.c.member_key == members.c.member_key)
            measures[rules.window] = metric_columns(named, members, day=day, timezone=timezone)
        metrics = measures[rules.window]
        start = _start(members.c.tier, question, rules)
        verdicts.append(start.label(f"start_{side}"))
        verdicts.append(qualified_rank_sql(rules, metrics).label(f"qualified_{side}"))
        verdicts.append(_stay(rules, start, metrics).label(f"stay_{side}"))
    codes = {code: place for place, code in enumerate(codes_held(question))}
    # Which month somebody joined in, found among the months' first moments: converting zones costs more.
    starts = [start for start, _ in months_until(question.day, timezone=timezone)]
    cohort = func.width_bucket(members.c.joined_at, literal(starts, ARRAY(DateTime(timezone=True))))
    return (
        select(
            members.c.member_key,
            # As a number: text is dear to sort and to compare.
            cast(case(codes, value=members.c.tier), SmallInteger).label("held"),
            members.c.is_pinned,
            cohort.label("cohort"),
            members.c.store_key,
            *verdicts,
        )
        .select_from(source)
        # Kept apart from what reads it, or every use would compute a verdict anew.
        .offset(literal_column("0"))
        .subquery("measured")
    )


def _people(question: Question, measured: Subquery) -> CTE:
    """Where everybody settles once hold and grace are over and nothing more was bought."""
    settled = {side: _settle(rules, measured, side) for side, rules in _sides(question)}
    against = settled.get("against", cast(null(), SmallInteger))
    return (
        select(
            *(measured.c[name] for name in ("member_key", "held", "is_pinned", "cohort", "store_key")),
            settled["draft"].label("draft"),
            settled["in_force"].label("in_force"),
            against.label("against"),
        )
        .cte("people")
        .prefix_with("MATERIALIZED")
    )


def _sides(question: Question) -> list[_Side]:
    sides = [("draft", question.draft), ("in_force", question.in_force)]
    return sides if question.against is None else [*sides, ("against", question.against)]


def _start(held: ColumnElement[str], question: Question, rules: RuleSet) -> ColumnElement[int]:
    """The rank on a ladder that somebody's tier is carried to before the rating."""
    ranks = {code: height // 2 for code, height in heights_of_held(question, rules).items()}
    return cast(case(ranks, value=held, else_=0), SmallInteger)


def _stay(
    rules: RuleSet, start: ColumnElement[int], metrics: Mapping[str, ColumnElement[Any]]
) -> ColumnElement[int]:
    """The rank that `keep` holds somebody at, null where it does not.

    Where neither hold nor grace parts one step from the next, a fall goes down to the first tier kept.
    """
    if not _falls_through(rules):
        return case((keeps_sql(rules, start, metrics), start))
    kept = [
        (and_(start >= tier.rank, condition_sql(tier.keep, metrics)), literal(tier.rank, SmallInteger))
        for tier in reversed(rules.tiers)
        if tier.keep is not None
    ]
    return case(*kept) if kept else cast(null(), SmallInteger)


def _falls_through(rules: RuleSet) -> bool:
    down = rules.downgrade
    return down.policy == "one_step" and down.grace_days == 0 and down.min_hold_days == 0


def _settle(rules: RuleSet, measured: Subquery, side: str) -> ColumnElement[int]:
    start, qualified, stay = (measured.c[f"{name}_{side}"] for name in ("start", "qualified", "stay"))
    if _falls_through(rules):
        fallen: ColumnElement[int] = func.greatest(qualified, stay)
    elif rules.downgrade.policy == "one_step":
        fallen = func.coalesce(stay, start - 1)
    else:
        fallen = func.coalesce(stay, qualified)
    return cast(
        case((measured.c.is_pinned, start), (qualified >= start, qualified), else_=fallen), SmallInteger
    )


def _came_from(people: CTE, question: Question) -> ColumnElement[int]:
    """How high the tier that a movement begins at stands on the draft's ladder."""
    if question.against is None:
        return case(_by_place(question, heights_of_held(question, question.draft)), value=people.c.held)
    old = question.against
    heights = {tier.rank: height_on(tier.code, tier.rank, old, question.draft) for tier in old.tiers}
    return case(heights, value=people.c.against, else_=0)


def _costs(people: CTE, question: Question, timezone: str, costed: int) -> Select[*tuple[Any, ...]]:
    """What a year's awards would have come to more, or less, where the multiplier changes.

    Reading the ledger is what a simulation could spend most of its time on, so of every change no more than
    `costed` members are read. Each award is computed anew from its recorded rule, rounded down as awards
    are, less the share that refunds took back.
    """
    now, then = _multipliers(people, question)
    changed = (
        select(
            people.c.member_key,
            now.label("now"),
            then.label("then"),
            func.row_number().over(partition_by=[now, then], order_by=_turn(people)).label("place"),
        )
        .where(now != then)
        .subquery("changed")
    )
    drawn = (
        select(
            changed.c.now,
            changed.c.then,
            case((changed.c.place <= costed, _points_more(changed, question, timezone))).label("points"),
        )
        .offset(literal_column("0"))
        .subquery("drawn_for_cost")
    )
    return select(
        literal(_COST),
        *(cast(null(), kind) for kind in (SmallInteger, Boolean, SmallInteger, SmallInteger, SmallInteger)),
        cast(null(), Integer),
        cast(null(), Integer),
        func.count(),
        func.count(drawn.c.points),
        func.coalesce(func.sum(drawn.c.points), 0),
        func.coalesce(func.sum(drawn.c.points * drawn.c.points), 0),
    ).group_by(drawn.c.now, drawn.c.then)


def _points_more(changed: Subquery, question: Question, timezone: str) -> ColumnElement[Decimal]:
    until = local_midnight(question.day + timedelta(days=1), timezone=timezone)
    reversed_by_order = (
        select(reversal_rows.c.order_key, func.sum(reversal_rows.c.points).label("points"))
        .where(reversal_rows.c.member_key == changed.c.member_key)
        .group_by(reversal_rows.c.order_key)
        .correlate(changed)
        .lateral("reversed_by_order")
    )
    taken_back = func.coalesce(reversed_by_order.c.points, 0)
    kept = case((award_rows.c.points > 0, 1 - taken_back / award_rows.c.points), else_=1)

    def award(multiplier: ColumnElement[int]) -> ColumnElement[Decimal]:
        return func.div(award_rows.c.par_numerator * multiplier, award_rows.c.par_denominator * PAR_BP)

    return (
        select(func.coalesce(func.sum((award(changed.c.then) - award(changed.c.now)) * kept), 0))
        .select_from(
            award_rows.outerjoin(reversed_by_order, reversed_by_order.c.order_key == award_rows.c.order_key)
        )
        .where(
            award_rows.c.member_key == changed.c.member_key,
            award_rows.c.occurred_at >= until - _YEAR,
            award_rows.c.occurred_at < until,
        )
        .correlate(changed)
        .scalar_subquery()
    )


def _multipliers(people: CTE, question: Question) -> tuple[ColumnElement[int], ColumnElement[int]]:
    if question.against is None:
        now = case(_by_place(question, multipliers_of_held(question)), value=people.c.held)
    else:
        now = case(_by_rank(question.against), value=people.c.against, else_=PAR_BP)
    return now, case(_by_rank(question.draft), value=people.c.draft, else_=PAR_BP)


def _by_place(question: Question, of_codes: Mapping[str, int]) -> dict[int, int]:
    return {place: of_codes[code] for place, code in enumerate(codes_held(question))}


def _by_rank(rules: RuleSet) -> dict[int, int]:
    return {tier.rank: tier.multiplier_bp for tier in rules.tiers}


def _sampled(people: CTE, question: Question) -> Select[Any]:
    """A few members of each movement."""
    flow = [people.c[name] for name in Flow._fields]
    turn = _turn(people)
    drawn = (
        select(
            people,
            turn.label("turn"),
            func.row_number().over(partition_by=flow, order_by=turn).label("place"),
        )
        .where(2 * people.c.draft != _came_from(people, question))
        .subquery("drawn")
    )
    return select(
        literal(_SAMPLE),
        *(drawn.c[name] for name in Flow._fields),
        drawn.c.cohort,
        drawn.c.store_key,
        drawn.c.member_key,
        drawn.c.turn,
        literal(0, Numeric),
        literal(0, Numeric),
    ).where(drawn.c.place <= SAMPLES)


def _turn(people: CTE) -> ColumnElement[int]:
    """A number made from a member's key to draw members by: any few, but the same each time."""
    return (people.c.member_key % 2**31 * 2_654_435_761) % 2**32
