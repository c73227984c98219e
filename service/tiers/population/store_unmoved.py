"""Whom a rating leaves where they are, read set-based: of most who are due nothing but a day has left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Connection,
    Row,
    Select,
    and_,
    bindparam,
    func,
    literal_column,
    or_,
    select,
)

from service.tiers.population.store_conditions import keeps_sql, qualified_rank_sql
from service.tiers.population.store_expected import expected_review
from service.tiers.population.store_metrics import metric_columns, states_sql, sums_sql
from service.tiers.rules import RuleSet

# Some two thousand keys each time: a plan for ten, as a prepared statement gets in the end, takes far longer.
_FOR_MANY = select(func.set_config("plan_cache_mode", "force_custom_plan", True))
_KEYS = bindparam("member_keys", type_=ARRAY(BigInteger))


@dataclass(frozen=True, slots=True, eq=False)
class _Rules:
    """A rule set by identity, to recall statements by; kept with them, so that no identity comes twice."""

    of: RuleSet

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Rules) and self.of is other.of

    def __hash__(self) -> int:
        return id(self.of)


def plan_for_many(conn: Connection) -> None:
    """Have `list_unmoved` planned for as many members as are asked about, until the transaction ends."""
    conn.execute(_FOR_MANY)


def list_unmoved(
    conn: Connection, *, rules: RuleSet, day: date, timezone: str, member_keys: Sequence[int]
) -> Sequence[Row[int, date | None]]:
    """Return which of some members a rating on `day` leaves as they are, and when each is due next.

    All of them are due on `day` and were last rated under `rules`; none is at risk or pinned. By law T3
    whoever is not returned rises, falls, comes to be at risk or begins a new period on that day.
    """
    return conn.execute(_statement(_Rules(rules), day, timezone), {"member_keys": list(member_keys)}).all()


# One for each day that is reviewed: making it takes longer than rating a hundred members by it.
@lru_cache(maxsize=16)
def _statement(of: _Rules, day: date, timezone: str) -> Select[int, date | None]:
    rules = of.of
    states = states_sql(rules, _KEYS)
    days = sums_sql(rules.window, states, day=day, timezone=timezone, past=False, keys=_KEYS)
    sums = days.subquery("sums")
    metrics = metric_columns(sums, states, day=day, timezone=timezone)
    read = (
        select(
            states.c.member_key,
            states.c.rank,
            states.c.stands_until,
            qualified_rank_sql(rules, metrics).label("qualified"),
            keeps_sql(rules, states.c.rank, metrics).label("stands"),
            expected_review(rules, states, sums, day=day, timezone=timezone).label("expected_on"),
        )
        .select_from(states.outerjoin(sums, sums.c.member_key == states.c.member_key))
        # Kept apart from what reads it, or every use would compute a verdict anew.
        .offset(literal_column("0"))
        .subquery("read")
    )
    is_protected = func.coalesce(read.c.stands_until > day, False)
    return select(read.c.member_key, read.c.expected_on).where(
        or_(read.c.stands_until.is_(None), is_protected),
        or_(
            read.c.qualified == read.c.rank,
            and_(read.c.qualified < read.c.rank, or_(read.c.stands, is_protected)),
        ),
    )
