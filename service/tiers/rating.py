"""Rate facts as they come in: from the stored state where that is enough, from all facts where it is not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import Connection, Row

from service.activity import operations as activity
from service.activity.rules import DayTotals, TierFact
from service.kit.clock import local_day
from service.members import operations as members
from service.programme.operations import Programme
from service.tiers import store
from service.tiers.changes import causes_of, change_values, correct_log, state_values
from service.tiers.errors import NoMembership
from service.tiers.events import tell_changes, tell_move, tell_risk
from service.tiers.fold import MemberFold, fold, follows
from service.tiers.history import tiers_around_order
from service.tiers.rules import LONGEST_WINDOW_DAYS, HeldTier, RuleSet
from service.tiers.rulesets import recall_ruleset
from service.tiers.spans import Change, TierState
from service.tiers.standing import Standing, see_standing


@dataclass(frozen=True, slots=True)
class TierOutcome:
    """What rating did: the tier just before and just after the facts, and the one held now.

    Where the facts came late, before and after are what was believed until now and what is known now.
    `when_placed` is the tier held just before the order, in its own time. `changes` are those appended to
    the log, in order. `pending`: a fact is older than one window, so nothing was rated, `standing` is None,
    and `refold_member` is to be run outside the request.
    """

    before: HeldTier
    after: HeldTier
    when_placed: HeldTier
    now: HeldTier
    changes: tuple[Change, ...]
    pending: bool = False
    _look: Callable[[], Standing] | None = field(default=None, repr=False, compare=False)

    @property
    def standing(self) -> Standing | None:
        """Where the member stands now; made when asked for, because most callers never do."""
        return None if self._look is None else self._look()


@dataclass(frozen=True, slots=True)
class _Case:
    """One call: whose state, under which rules, on which day."""

    row: Row[Any]
    state: TierState
    rules: RuleSet
    programme: Programme
    now: datetime
    today: date

    @property
    def member_key(self) -> int:
        key: int = self.row.member_key
        return key

    def day_of(self, moment: datetime) -> date:
        return local_day(moment, timezone=self.programme.timezone)


def read_state(row: Row[Any]) -> TierState:
    """Return a stored state as the fold takes it."""
    return TierState(
        rank=row.rank,
        since=row.since,
        unqualified_since=row.unqualified_since,
        carrier_order_key=row.carrier_order_key,
        through=row.through,
        next_review_on=row.next_review_on,
    )


def joined_at(conn: Connection, *, member_key: int) -> datetime:
    """Return when a member joined."""
    return members.list_joined(conn, member_keys=[member_key])[member_key]


def rate_facts(
    conn: Connection,
    *,
    member_key: int,
    days_before: Sequence[DayTotals],
    facts: Sequence[TierFact],
    now: datetime,
    programme: Programme,
) -> TierOutcome:
    """Rate one or more facts of one member that were recorded in this transaction.

    `days_before` is the member's roll-up without these facts, at least every day later than
    `LONGEST_WINDOW_DAYS` before the first of them. A member who is due for a review is caught up first. A
    fact older than what was rated already folds the member again and corrects the log.

    Raises:
        NoMembership: none was begun. NoActiveRuleset: none was published.
    """
    ordered = sorted(facts, key=TierFact.sort_key)
    row = store.lock_state(conn, member_key=member_key)
    if row is None:
        raise NoMembership
    case = _Case(
        row=row,
        state=read_state(row),
        rules=recall_ruleset(conn, version=row.version, stamp=row.stamp),
        programme=programme,
        now=now,
        today=local_day(now, timezone=programme.timezone),
    )
    if follows(case.state, ordered) and _reaches(case, ordered[0]):
        return _go_on(conn, case, days_before, ordered)
    window = timedelta(days=case.rules.window.days)
    if ordered[0].at <= case.state.through and case.day_of(ordered[0].at) < case.today - window:
        return _put_off(conn, case, ordered[0])
    return _fold_again(conn, case, ordered)


def _reaches(case: _Case, first: TierFact) -> bool:
    """Say whether the days given reach back far enough for reviews that are due before the first fact."""
    due = case.state.next_review_on
    if due is None:
        return True
    given_after = case.day_of(first.at) - timedelta(days=LONGEST_WINDOW_DAYS)
    return due - timedelta(days=case.rules.window.days) >= given_after


def _go_on(
    conn: Connection, case: _Case, days_before: Sequence[DayTotals], facts: Sequence[TierFact]
) -> TierOutcome:
    rules, key = case.rules, case.member_key
    member = MemberFold.resume(
        rules=rules,
        timezone=case.programme.timezone,
        state=case.state,
        totals=days_before,
        joined_at=joined_at(conn, member_key=key) if rules.asks_for_tenure else None,
    )
    member.catch_up(case.day_of(facts[0].at))
    before = member.rank
    for fact in facts:
        member.take(fact)
    after = member.rank
    member.catch_up(case.today)
    store.update_state(conn, values=state_values(member.state(), member_key=key, rules=rules))
    rows = [
        change_values(change, cause=change.cause, member_key=key, rules=rules, now=case.now, import_key=None)
        for change in member.changes
    ]
    store.add_changes(conn, rows=rows)
    tell_changes(conn, member.changes, member_key=key, rules=rules)
    tell_risk(conn, member, member_key=key, rules=rules, now=case.now)
    return _outcome(case, member, facts, ranks=(before, after), changes=member.changes)


def _fold_again(conn: Connection, case: _Case, facts: Sequence[TierFact]) -> TierOutcome:
    rules, key = case.rules, case.member_key
    known = activity.list_tier_facts(conn, member_key=key)
    member = fold(
        known,
        rules=rules,
        timezone=case.programme.timezone,
        joined_at=joined_at(conn, member_key=key),
        until=case.today,
    )
    logged = store.list_standing_changes(conn, member_keys=[key])
    correction = correct_log(logged, member.changes, rules=rules, same_metrics=False)
    late = _is_late(facts[0], known, case.state)
    changes = causes_of(correction.appended, learned_late_until=case.state.through if late else None)
    store.supersede_changes(conn, change_keys=correction.superseded, now=case.now)
    rows = [
        change_values(change, cause=cause, member_key=key, rules=rules, now=case.now, import_key=None)
        for change, cause in changes
    ]
    store.add_changes(conn, rows=rows)
    store.update_state(conn, values=state_values(member.state(), member_key=key, rules=rules))
    _tell_outcome(conn, case, member, cause=changes[-1][1] if changes else "late_fact")
    ranks = (case.state.rank, member.rank)
    return _outcome(case, member, facts, ranks=ranks, changes=correction.appended)


def _is_late(first: TierFact, known: Sequence[TierFact], state: TierState) -> bool:
    """Say whether a fact changes what was already concluded; of equal moments the merchant's ids decide."""
    if first.at != state.through:
        return first.at < state.through
    return any(fact.at == first.at and fact.sort_key() > first.sort_key() for fact in known)


def _tell_outcome(conn: Connection, case: _Case, member: MemberFold, *, cause: str) -> None:
    """Tell what a correction means for today; its steps in the past are in the log."""
    rules, key = case.rules, case.member_key
    if member.rank != case.state.rank:
        tell_move(
            conn,
            member_key=key,
            rules=rules,
            ranks=(case.state.rank, member.rank),
            cause=cause,
            effective_at=member.changes[-1].effective_at,
        )
    believed = MemberFold.resume(
        rules=rules, timezone=case.programme.timezone, state=case.state, totals=(), joined_at=None
    )
    if not believed.at_risk or member.rank != case.state.rank:
        tell_risk(conn, member, member_key=key, rules=rules, now=case.now)


def _put_off(conn: Connection, case: _Case, fact: TierFact) -> TierOutcome:
    held = case.rules.tiers[case.state.rank].held()
    placed, _ = tiers_around_order(
        conn, member_key=case.member_key, order_key=fact.order_key, placed_at=fact.at
    )
    return TierOutcome(held, held, placed, held, (), pending=True)


def _outcome(
    case: _Case,
    member: MemberFold,
    facts: Sequence[TierFact],
    *,
    ranks: tuple[int, int],
    changes: Sequence[Change],
) -> TierOutcome:
    orders = {fact.order_key for fact in facts if fact.cause == "order"}
    placed = next((rank for fact, rank in member.held if fact.order_key in orders), ranks[0])
    tiers = case.rules.tiers
    return TierOutcome(
        before=tiers[ranks[0]].held(),
        after=tiers[ranks[1]].held(),
        when_placed=tiers[placed].held(),
        now=tiers[member.rank].held(),
        changes=tuple(changes),
        _look=partial(
            see_standing, member, rules=case.rules, day=max(case.today, member.last_day), as_of=case.now
        ),
    )
