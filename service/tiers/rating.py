"""Rate facts as they come in: from the stored state where that is enough, from all facts where it is not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import partial
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, Row

from service.activity.rules import DayTotals, TierFact
from service.kit.clock import local_day
from service.programme.operations import Programme
from service.tiers import store
from service.tiers.changes import causes_of, change_values, correct_log, state_values
from service.tiers.errors import NoMembership
from service.tiers.events import tell_changes, tell_correction, tell_risk
from service.tiers.fold import MemberFold, follows, is_overtaken
from service.tiers.history import tiers_around_order
from service.tiers.lives import Life, list_ended_lives, read_life
from service.tiers.resuming import days_needed_after, find_joined, read_pins, read_state
from service.tiers.rules import LONGEST_WINDOW_DAYS, HeldTier, Tier
from service.tiers.rulesets import recall_timeline
from service.tiers.spans import Cause, Change, Pin, TierState
from service.tiers.standing import Standing, see_standing
from service.tiers.timeline import RuleTimeline
from service.tiers.window import RunningWindow


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
    timeline: RuleTimeline
    programme: Programme
    now: datetime
    today: date

    @property
    def member_key(self) -> int:
        key: int = self.row.member_key
        return key

    @property
    def held(self) -> Tier:
        """The tier held as last written."""
        rules = self.timeline.entries[self.timeline.place_of(self.state.ruleset_version)].rules
        return rules.tiers[self.state.rank]

    def day_of(self, moment: datetime) -> date:
        return local_day(moment, timezone=self.programme.timezone)

    def resume(
        self, totals: Sequence[DayTotals], *, joined: datetime | None, pins: Sequence[Pin] = ()
    ) -> MemberFold:
        return MemberFold.resume(
            timeline=self.timeline,
            timezone=self.programme.timezone,
            state=self.state,
            window=RunningWindow(totals),
            joined_at=joined,
            pins=pins,
        )


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
    `LONGEST_WINDOW_DAYS` before the first of them. A member who is due for a review, or was not yet rated
    under the rules in force, is caught up first. A fact older than what was rated already folds the member
    again and corrects the log.

    Raises:
        NoMembership: none was begun. NoActiveRuleset: none was published.
    """
    ordered = sorted(facts, key=TierFact.sort_key)
    case = _lock_case(conn, member_key, now, programme)
    if follows(case.state, ordered, timeline=case.timeline) and _reaches(case, ordered[0]):
        return _go_on(conn, case, days_before, ordered)
    window = timedelta(days=case.timeline.at(now).lookback_days)
    if ordered[0].at <= case.state.through and case.day_of(ordered[0].at) < case.today - window:
        return _put_off(conn, case, ordered[0])
    return _fold_again(conn, case, ordered)


def refold_member(
    conn: Connection,
    *,
    member_key: int,
    programme: Programme,
    now: datetime,
    is_late: bool = True,
    undone: Cause = "late_fact",
) -> bool:
    """Fold one member again: after a very late fact, another time of joining, a pin, a change of rules.

    With `is_late`, what turns out to have happened before the last fact rated until now gets the cause
    `late_fact`. `undone` is the cause that others are told where a movement is only taken back. Returns
    whether the tier held is another one now.

    Raises:
        NoMembership: none was begun. NoActiveRuleset: none was published.
    """
    case = _lock_case(conn, member_key, now, programme)
    is_late = is_late and not is_overtaken(case.state, timeline=case.timeline)
    life = read_life(conn, member_key=member_key)
    member = _fold(conn, case, life)
    late_until = case.state.through if is_late else None
    _write_fold(conn, case, member, learned_late_until=late_until, undone=undone)
    correct_ended(conn, member_keys=life.absorbed, programme=programme, now=now, is_late=is_late)
    return bool(member.tier.code != case.row.tier)


def _lock_case(conn: Connection, member_key: int, now: datetime, programme: Programme) -> _Case:
    row = store.lock_state(conn, member_key=member_key)
    if row is None:
        raise NoMembership
    return _Case(
        row=row,
        state=read_state(row),
        timeline=recall_timeline(conn, stamp=row.stamp),
        programme=programme,
        now=now,
        today=local_day(now, timezone=programme.timezone),
    )


def _reaches(case: _Case, first: TierFact) -> bool:
    """Say whether the days given reach back far enough for what is due before the first fact."""
    day = case.day_of(first.at)
    needed_after = days_needed_after(
        case.state, timeline=case.timeline, timezone=case.programme.timezone, day=day
    )
    return needed_after >= day - timedelta(days=LONGEST_WINDOW_DAYS)


def _go_on(
    conn: Connection, case: _Case, days_before: Sequence[DayTotals], facts: Sequence[TierFact]
) -> TierOutcome:
    key = case.member_key
    pinned = case.state.pinned_until is not None
    member = case.resume(
        days_before,
        joined=find_joined(conn, member_key=key, timeline=case.timeline),
        pins=read_pins(conn, member_keys=[key])[key] if pinned else (),
    )
    member.catch_up(case.day_of(facts[0].at), at=facts[0].at)
    before = member.tier
    for fact in facts:
        member.take(fact)
    after = member.tier
    member.catch_up(case.today)
    store.update_state(conn, values=state_values(member, member_key=key))
    rows = [
        change_values(change, cause=change.cause, member_key=key, now=case.now, import_key=None)
        for change in member.changes
    ]
    store.add_changes(conn, rows=rows)
    tell_changes(conn, member.changes, member_key=key)
    tell_risk(conn, member, member_key=key, now=case.now)
    return _outcome(case, member, facts, tiers=(before, after), changes=member.changes)


def _fold_again(conn: Connection, case: _Case, facts: Sequence[TierFact]) -> TierOutcome:
    life = read_life(conn, member_key=case.member_key)
    member = _fold(conn, case, life)
    late = _is_late(facts[0], life.known_facts(by=None), case.state)
    appended = _write_fold(conn, case, member, learned_late_until=case.state.through if late else None)
    correct_ended(conn, member_keys=life.absorbed, programme=case.programme, now=case.now, is_late=late)
    return _outcome(case, member, facts, tiers=(case.held, member.tier), changes=appended)


def _fold(conn: Connection, case: _Case, life: Life) -> MemberFold:
    key = case.member_key
    pins = read_pins(conn, member_keys=[key]).get(key, ())
    return life.fold(timeline=case.timeline, programme=case.programme, until=case.today, pins=pins)


def correct_ended(
    conn: Connection, *, member_keys: Sequence[int], programme: Programme, now: datetime, is_late: bool
) -> None:
    """Make the logs of members who were merged say what their own facts say, up to their merges.

    Nobody is told: what it means for today is the survivor's. With `is_late`, what was not known gets the
    cause `late_fact`.
    """
    if not member_keys:
        return
    timeline = recall_timeline(conn)
    today = local_day(now, timezone=programme.timezone)
    pins = read_pins(conn, member_keys=member_keys)
    rows = store.list_standing_changes(conn, member_keys=member_keys)
    logged = {key: list(group) for key, group in groupby(rows, key=lambda row: row.member_key)}
    for life in list_ended_lives(conn, member_keys=member_keys):
        key = life.member_key
        member = life.fold(timeline=timeline, programme=programme, until=today, pins=pins.get(key, ()))
        correction = correct_log(logged.get(key, []), member.changes, same_metrics=False)
        changes = causes_of(correction.appended, learned_late_until=life.left_at if is_late else None)
        _write_correction(conn, key, correction.superseded, changes, now)


def _write_correction(
    conn: Connection, member_key: int, superseded: list[int], changes: list[tuple[Change, str]], now: datetime
) -> None:
    if superseded:
        store.supersede_changes(conn, change_keys=superseded, now=now)
    rows = [
        change_values(change, cause=cause, member_key=member_key, now=now, import_key=None)
        for change, cause in changes
    ]
    store.add_changes(conn, rows=rows)


def _write_fold(
    conn: Connection,
    case: _Case,
    member: MemberFold,
    *,
    learned_late_until: datetime | None,
    undone: Cause = "late_fact",
) -> list[Change]:
    """Make log and state say what a fold of all facts says, tell so, and return what the log lacked."""
    key = case.member_key
    logged = store.list_standing_changes(conn, member_keys=[key])
    correction = correct_log(logged, member.changes, same_metrics=False)
    changes = causes_of(correction.appended, learned_late_until=learned_late_until)
    _write_correction(conn, key, correction.superseded, changes, case.now)
    store.update_state(conn, values=state_values(member, member_key=key))
    tell_correction(
        conn,
        member,
        member_key=key,
        believed_tier=case.row.tier,
        was_at_risk=case.resume((), joined=None).at_risk,
        cause=changes[-1][1] if changes else undone,
        now=case.now,
    )
    return correction.appended


def _is_late(first: TierFact, known: Sequence[TierFact], state: TierState) -> bool:
    """Say whether a fact changes what was already concluded; of equal moments the merchant's ids decide."""
    if first.at != state.through:
        return first.at < state.through
    return any(fact.at == first.at and fact.sort_key() > first.sort_key() for fact in known)


def _put_off(conn: Connection, case: _Case, fact: TierFact) -> TierOutcome:
    held = case.held.held()
    placed, _ = tiers_around_order(
        conn, member_key=case.member_key, order_key=fact.order_key, placed_at=fact.at
    )
    return TierOutcome(held, held, placed, held, (), pending=True)


def _outcome(
    case: _Case,
    member: MemberFold,
    facts: Sequence[TierFact],
    *,
    tiers: tuple[Tier, Tier],
    changes: Sequence[Change],
) -> TierOutcome:
    orders = {fact.order_key for fact in facts if fact.cause == "order"}
    placed = next((tier for fact, tier in member.held if fact.order_key in orders), tiers[0])
    return TierOutcome(
        before=tiers[0].held(),
        after=tiers[1].held(),
        when_placed=placed.held(),
        now=member.tier.held(),
        changes=tuple(changes),
        _look=partial(see_standing, member, day=max(case.today, member.last_day), as_of=case.now),
    )
