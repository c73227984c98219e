"""The set-based part of a full review: where the rules, read over everybody, and a stored state disagree."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Subquery,
    and_,
    func,
    literal,
    literal_column,
    not_,
    or_,
    select,
)

from service.tiers.periods import RollingWindow
from service.tiers.population.store import Range
from service.tiers.population.store_conditions import keeps_sql, qualified_rank_sql
from service.tiers.population.store_expected import expected_review
from service.tiers.population.store_metrics import metric_columns, states_sql, sums_sql
from service.tiers.rules import RuleSet

_ALONE = select(func.set_config("max_parallel_workers_per_gather", "0", True))


@dataclass(frozen=True, slots=True)
class Looked:
    """A range of members that was looked at: how many, the last key, whom to rate, and whom to fold again.

    Those `astray` are among the `disagreeing` and not due: by law T2 their state is not as their facts say.
    """

    members: int
    last_member_key: int
    disagreeing: list[int]
    astray: frozenset[int] = frozenset()


def list_disagreeing(conn: Connection, *, rules: RuleSet, day: date, timezone: str, found: Range) -> Looked:
    """Look at a range of memberships, and return those whom a rating on `day` could change.

    Who is due, or was rated under other rules, and who by the metrics of `day` qualifies for more than is
    held, or lost or regained what the state does not know of, or is due on another day than the state says.
    By law T2 a rating leaves all others as they are.
    """
    conn.execute(_ALONE)
    rows = conn.execute(_statement(rules, day, timezone, found.keys)).all()
    astray = frozenset(row.member_key for row in rows if not row.is_due)
    return Looked(found.members, found.last, [row.member_key for row in rows], astray)


def _statement(rules: RuleSet, day: date, timezone: str, keys: tuple[int, int]) -> Select[int, bool]:
    states = states_sql(rules, keys)
    days = sums_sql(rules.window, states, day=day, timezone=timezone, past=False, keys=keys)
    sums = days.subquery("sums")
    metrics = metric_columns(sums, states, day=day, timezone=timezone)
    rank = func.coalesce(states.c.rated_rank, states.c.rank)
    read = (
        select(
            states.c.member_key,
            rank.label("rank"),
            states.c.unqualified_since.is_not(None).label("is_unqualified"),
            or_(
                states.c.ruleset_version != rules.version,
                func.coalesce(states.c.next_review_on <= day, False),
                func.coalesce(states.c.stands_until <= day, False),
            ).label("is_due"),
            qualified_rank_sql(rules, metrics).label("qualified"),
            keeps_sql(rules, rank, metrics).label("stands"),
            states.c.next_review_on,
            expected_review(rules, states, sums, day=day, timezone=timezone).label("expected_on"),
        )
        .select_from(states.outerjoin(sums, sums.c.member_key == states.c.member_key))
        # Kept apart from what reads it, or every use would compute a verdict anew.
        .offset(literal_column("0"))
        .subquery("read")
    )
    is_elsewhere = read.c.next_review_on.is_distinct_from(read.c.expected_on)
    wanted = select(read.c.member_key, read.c.is_due).where(
        or_(read.c.is_due, _differs(rules, read), is_elsewhere)
    )
    return wanted.order_by(read.c.member_key)


def _differs(rules: RuleSet, read: Subquery) -> ColumnElement[bool]:
    qualifies = or_(read.c.qualified >= read.c.rank, read.c.stands)
    regained = and_(read.c.is_unqualified, qualifies)
    # In windows with periods a tier is judged when its time is over, which makes somebody due.
    lost = and_(
        not_(read.c.is_unqualified), not_(qualifies), literal(isinstance(rules.window, RollingWindow))
    )
    return or_(read.c.qualified > read.c.rank, regained, lost)
