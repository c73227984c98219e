"""The tier rules of the design once more, slow and plain: every day in turn, every metric afresh.

It shares no code with the rooms it judges: conditions are read from the JSON itself, days are dates,
and nothing is carried from one evaluation to the next but the member's state.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from fractions import Fraction
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from service.activity.rules import TierFact

Definition = Mapping[str, Any]
Move = tuple[str | None, str, datetime, str]
DAY = timedelta(days=1)


class Pinned(NamedTuple):
    """A tier held by staff from a moment until another."""

    tier: str
    starts_at: datetime
    ends_at: datetime


class Merged(NamedTuple):
    """Another member's life that became part of this one."""

    at: datetime
    facts: Sequence[TierFact]
    joined_at: datetime


@dataclass(frozen=True)
class Risen:
    """What a rise was judged on, and the stay it would go back to."""

    order_key: int | None
    rules_no: int
    rank: int
    known: tuple[TierFact, ...]
    day: date
    first: date
    before: Stay


@dataclass(frozen=True)
class Stay:
    """A stay in one tier, as rated."""

    rank: int
    since: datetime
    unqualified: date | None = None
    stands_until: date | None = None
    risen: Risen | None = None


@dataclass(frozen=True)
class Verdict:
    """What the simulation found; tiers by code."""

    moves: list[Move]
    notices: list[tuple[str, str, date, date]]
    tier: str
    since: datetime
    rated: str
    rated_since: datetime
    unqualified: date | None
    stands_until: date | None
    pinned_until: datetime | None
    version: int


def simulate(
    rulesets: Sequence[tuple[datetime, Definition]],
    facts: Sequence[TierFact],
    *,
    timezone: str,
    joined_at: datetime,
    until: date,
    pins: Sequence[Pinned] = (),
    merges: Sequence[Merged] = (),
) -> Verdict:
    """Live through every day from the beginning to `until`."""
    life = _Life(rulesets, facts, timezone=timezone, joined_at=joined_at, pins=pins)
    known, joined = list(facts), joined_at
    for merge in sorted(merges, key=lambda merge: merge.at):
        if merge.at.astimezone(life.zone).date() > until:
            break
        life.live(until, before=merge.at)
        known, joined = [*known, *merge.facts], min(joined, merge.joined_at)
        other = _Life(rulesets, known, timezone=timezone, joined_at=joined, pins=pins)
        other.live(until, before=merge.at)
        other.follow(life, merge.at)
        life = other
    life.live(until)
    return life.verdict()


class _Life:
    def __init__(
        self,
        rulesets: Sequence[tuple[datetime, Definition]],
        facts: Sequence[TierFact],
        *,
        timezone: str,
        joined_at: datetime,
        pins: Sequence[Pinned],
    ) -> None:
        self.rulesets = sorted(rulesets, key=lambda ruleset: ruleset[0])
        self.zone = ZoneInfo(timezone)
        self.joined = joined_at.astimezone(self.zone).date()
        self.start = min([joined_at, *(fact.at for fact in facts)])
        self.rules_no = max(
            [number for number, (at, _) in enumerate(self.rulesets) if at <= self.start], default=0
        )
        self.known: list[TierFact] = []
        self.stay = Stay(0, self.start)
        self.pin: tuple[int, datetime, datetime] | None = None
        self.told = 0
        self.moves: list[Move] = [(None, self.code(0), self.start, "enrol")]
        self.notices: list[tuple[str, str, date, date]] = []
        self.coming = self.events(facts, pins)
        self.next = next(self.coming)
        self.rate(self.day_of(self.start), self.start, "enrol")

    # The course of time

    def events(self, facts: Sequence[TierFact], pins: Sequence[Pinned]) -> Iterator[tuple[Any, ...]]:
        """Yield (moment, order at that moment, tie, what happens) for ever, a night at a time."""
        happening: list[tuple[Any, ...]] = [
            (at, 0, "", ("rules", number))
            for number, (at, _) in enumerate(self.rulesets)
            if number > self.rules_no
        ]
        ends = {max(pin.starts_at, self.start): pin for pin in pins if pin.ends_at > self.start}
        for at in {*ends, *(pin.ends_at for pin in ends.values())}:
            happening.append((at, 2, "", ("pin", ends.get(at))))
        for fact in facts:
            happening.append((fact.at, 4, (fact.cause, fact.source_id), ("fact", fact)))
        happening.sort(key=lambda event: (event[0], event[1], event[2] or ("", "")))
        night = self.midnight(self.day_of(self.start) + DAY)
        while True:
            while happening and (happening[0][0], happening[0][1]) < (night, 1):
                yield happening.pop(0)
            yield (night, 1, "", ("night", None))
            night = self.midnight(self.day_of(night) + DAY)

    def live(self, until: date, *, before: datetime | None = None) -> None:
        """Go on to the end of a day, or to a moment, without the facts of that moment itself."""
        while self.day_of(self.next[0]) <= until and (
            before is None or (self.next[0], self.next[1]) < (before, 3)
        ):
            at, _, _, (kind, what) = self.next
            day = self.day_of(at)
            if kind == "rules":
                self.change_rules(what, day, at)
            elif kind == "night":
                self.rate(day, at, "roll_off")
            elif kind == "pin":
                self.change_pin(what, day, at)
            else:
                self.learn(what, day)
            self.next = next(self.coming)

    def follow(self, before: _Life, at: datetime) -> None:
        """Become the life of two members from a moment on."""
        self.moves, self.notices = before.moves, before.notices
        if self.held() != before.held():
            self.moves.append((before.held(), self.held(), at, "merge"))
        self.told = 0
        self.rate(self.day_of(at), at, "merge")

    def learn(self, fact: TierFact, day: date) -> None:
        self.known.append(fact)
        carried = None if self.stay.risen is None else self.stay.risen.order_key
        if fact.cause == "refund" and fact.order_key is not None and fact.order_key == carried:
            self.undo(fact, day)
        self.rate(day, fact.at, fact.cause, fact)

    def undo(self, fact: TierFact, day: date) -> None:
        here, moves, notices, told = self.stay, list(self.moves), list(self.notices), self.told
        back = here
        while back.risen is not None and not self.would_rise_again(back.risen):
            back = self.brought_to_today(back.risen)
        if back is here:
            return
        self.stay, self.told = back, 0
        self.rate(day, fact.at, "refund", fact)
        self.moves = moves
        if self.stay.rank == here.rank:
            self.stay, self.notices, self.told = here, notices, told
        elif self.pin is None:
            self.moves.append((self.code(here.rank), self.code(self.stay.rank), fact.at, "refund"))

    def would_rise_again(self, risen: Risen) -> bool:
        given_back = [
            fact
            for fact in self.known
            if fact.cause == "refund" and fact.order_key == risen.order_key and fact not in risen.known
        ]
        definition = self.rulesets[risen.rules_no][1]
        metrics = self.measure([*risen.known, *given_back], risen.first, None, risen.day)
        return not given_back or truth(definition["tiers"][risen.rank]["enter"], metrics)

    def brought_to_today(self, risen: Risen) -> Stay:
        stay = risen.before
        for number in range(risen.rules_no + 1, self.rules_no + 1):
            stay = self.carried(stay, number)
        return stay

    def change_rules(self, number: int, day: date, at: datetime) -> None:
        held, said = self.held(), len(self.moves)
        stay = self.carried(self.stay, number)
        if self.pin is not None:
            rank = self.landing(self.pin[0], number)
            self.pin = (rank, self.pin[1] if self.code(rank, number) == held else at, self.pin[2])
        self.stay, self.rules_no = stay, number
        if self.held() != held:
            self.moves.append((held, self.held(), at, "rule_change"))
        self.rate(day, at, "rule_change")
        while len(self.moves) > said + 1 and self.rank_of(self.moves[-1][1]) > self.rank_of(
            self.moves[-2][1]
        ):
            last, first = self.moves.pop(), self.moves.pop()
            self.moves.append((first[0], *last[1:]))

    def landing(self, rank: int, number: int) -> int:
        codes = [tier["code"] for tier in self.rulesets[number][1]["tiers"]]
        before = [tier["code"] for tier in self.rulesets[number - 1][1]["tiers"]]
        return next((codes.index(code) for code in reversed(before[: rank + 1]) if code in codes), 0)

    def carried(self, stay: Stay, number: int) -> Stay:
        """Set a stay under one rule set upon the ladder of the next."""
        at, definition = self.rulesets[number]
        rank, old, new = self.landing(stay.rank, number), self.rulesets[number - 1][1], definition
        landed = self.code(rank, number) != self.code(stay.rank, number - 1)
        promised = stay.stands_until
        if landed:
            stay = Stay(rank, at, risen=stay.risen)
        stay = replace(stay, rank=rank)
        if rank == 0:
            return replace(stay, unqualified=None, stands_until=None)
        if new["window"]["kind"] == "rolling":
            return replace(stay, stands_until=None)
        if not landed and promised is not None and new["window"] == old["window"]:
            return stay
        day = self.day_of(at)
        if not landed and promised is not None:
            day = max(day, promised - DAY)
        until = self.period(day, self.day_of(stay.since), definition)[1]
        return replace(stay, unqualified=None, stands_until=until)

    def change_pin(self, pin: Pinned | None, day: date, at: datetime) -> None:
        held, since = self.held(), self.held_since()
        self.pin = None
        if pin is not None:
            number = next(
                (
                    number
                    for number in range(self.rules_no, -1, -1)
                    if pin.tier in [tier["code"] for tier in self.rulesets[number][1]["tiers"]]
                ),
                None,
            )
            rank = 0 if number is None else self.rank_of(pin.tier, number)
            for later in range((self.rules_no if number is None else number) + 1, self.rules_no + 1):
                rank = self.landing(rank, later)
            self.pin = (rank, since if self.code(rank) == held else at, pin.ends_at)
        else:
            self.told = 0
        if self.held() != held:
            self.moves.append((held, self.held(), at, "manual"))
        self.rate(day, at, "manual")

    # One day

    def rate(self, day: date, at: datetime, cause: str, fact: TierFact | None = None) -> None:
        definition = self.rulesets[self.rules_no][1]
        down, tiers, stay = definition["downgrade"], definition["tiers"], self.stay
        first, end = self.period(day, self.day_of(stay.since))
        now = self.measure(self.known, first, None, day)
        highest = self.highest(now)
        if highest > stay.rank:
            self.rise(highest, day, at, cause, fact, first)
            return
        if highest == stay.rank or ("keep" in tiers[stay.rank] and truth(tiers[stay.rank]["keep"], now)):
            self.stand(day, end)
            return
        closed = None
        if definition["window"]["kind"] != "rolling":
            assert stay.stands_until is not None
            if day < stay.stands_until:
                # Whoever stands by a promise is at no risk, though told so under rules before.
                self.told = 0
                return
            last = first - DAY
            closed_first = self.period(last, self.day_of(stay.since))[0]
            closed = self.measure(self.known, closed_first, last, last)
            kept = "keep" in tiers[stay.rank] and truth(tiers[stay.rank]["keep"], closed)
            if stay.unqualified is None and (kept or self.highest(closed) >= stay.rank):
                self.stand(day, end)
                return
        unqualified = stay.unqualified or day
        self.stay = replace(stay, unqualified=unqualified)
        risk = max(unqualified, self.day_of(stay.since) + timedelta(days=down["min_hold_days"]))
        falls_on = risk + timedelta(days=down["grace_days"])
        while not is_cadence_day(definition.get("review_cadence", "daily"), falls_on):
            falls_on += DAY
        if day < falls_on:
            self.warn(day, risk, falls_on)
            return
        target = stay.rank - 1
        if down["policy"] == "to_qualified":
            target = highest if closed is None else min(target, max(highest, self.highest(closed)))
        self.move(target, at, cause)
        until = None
        if definition["window"]["kind"] != "rolling" and target > 0:
            until = self.period(day, day)[1]
        self.stay, self.told = Stay(target, at, stands_until=until), 0
        self.rate(day, at, cause, fact)

    def rise(
        self, rank: int, day: date, at: datetime, cause: str, fact: TierFact | None, first: date
    ) -> None:
        risen, window = None, self.rulesets[self.rules_no][1]["window"]
        if cause == "order" and fact is not None:
            risen = Risen(fact.order_key, self.rules_no, rank, tuple(self.known), day, first, self.stay)
        self.move(rank, at, cause)
        until = None
        if window["kind"] != "rolling":
            until = self.period(day, day)[1]
            if window.get("anchor") != "tier":
                until = self.period(until, day)[1]
        self.stay, self.told = Stay(rank, at, stands_until=until, risen=risen), 0
        self.rate(day, at, cause, fact)

    def stand(self, day: date, end: date) -> None:
        self.told = 0
        if self.stay.stands_until is None:
            self.stay = replace(self.stay, unqualified=None)
        elif day >= self.stay.stands_until:
            self.stay = replace(self.stay, unqualified=None, stands_until=end)

    def warn(self, day: date, risk: date, falls_on: date) -> None:
        down = self.rulesets[self.rules_no][1]["downgrade"]
        notice_days = min(down.get("notice_days", 7), down["grace_days"])
        again = falls_on - timedelta(days=notice_days)
        due = 0 if day < risk else 2 if notice_days and risk < again <= day else 1
        if due > self.told and self.pin is None:
            kind = "reminder" if self.told else "first"
            self.notices.append((kind, self.code(self.stay.rank), day, falls_on))
        self.told = due

    # What a rating looks at

    def highest(self, metrics: Mapping[str, Fraction | None]) -> int:
        tiers = self.rulesets[self.rules_no][1]["tiers"]
        return max(
            rank for rank, tier in enumerate(tiers) if "enter" not in tier or truth(tier["enter"], metrics)
        )

    def period(self, day: date, since: date, definition: Definition | None = None) -> tuple[date, date]:
        """Return the first day of the window that ends with a day, and the first day of the next period."""
        window = (definition or self.rulesets[self.rules_no][1])["window"]
        if window["kind"] == "rolling":
            return day - timedelta(days=window["days"] - 1), day + DAY
        anchor = date(2000, 1, 1)
        if window["kind"] == "membership_year":
            anchor = self.joined if window["anchor"] == "joining" else since
        returns = [returned(anchor, year) for year in range(day.year - 1, day.year + 2)]
        return max(one for one in returns if one <= day), min(one for one in returns if one > day)

    def measure(
        self, facts: Sequence[TierFact], first: date, last: date | None, day: date
    ) -> dict[str, Fraction | None]:
        inside = [fact for fact in facts if fact.day >= first and (last is None or fact.day <= last)]
        goods: dict[date, int] = {}
        for fact in inside:
            goods[fact.day] = goods.get(fact.day, 0) + fact.goods_delta
        active = sorted(found for found, total in goods.items() if total > 0)
        return {
            "active_days": Fraction(len(active)),
            "net_spend": Fraction(sum(fact.spend_delta - fact.unlinked_delta for fact in inside), 100),
            "orders": Fraction(sum(fact.orders_delta for fact in inside)),
            "visit_interval_days": Fraction((active[-1] - active[0]).days, len(active) - 1)
            if len(active) > 1
            else None,
            "days_since_last_visit": Fraction(max((day - active[-1]).days, 0)) if active else None,
            "member_days": Fraction(max((day - self.joined).days, 0)),
        }

    # Names and days

    def move(self, rank: int, at: datetime, cause: str) -> None:
        if self.pin is None:
            self.moves.append((self.code(self.stay.rank), self.code(rank), at, cause))

    def code(self, rank: int, number: int | None = None) -> str:
        rules_no = self.rules_no if number is None else number
        return str(self.rulesets[rules_no][1]["tiers"][rank]["code"])

    def rank_of(self, code: str, number: int | None = None) -> int:
        definition = self.rulesets[self.rules_no if number is None else number][1]
        return [tier["code"] for tier in definition["tiers"]].index(code)

    def held(self) -> str:
        return self.code(self.stay.rank if self.pin is None else self.pin[0])

    def held_since(self) -> datetime:
        return self.stay.since if self.pin is None else self.pin[1]

    def day_of(self, at: datetime) -> date:
        return at.astimezone(self.zone).date()

    def midnight(self, day: date) -> datetime:
        return datetime.combine(day, time(), tzinfo=self.zone).astimezone(ZoneInfo("UTC"))

    def verdict(self) -> Verdict:
        return Verdict(
            moves=self.moves,
            notices=self.notices,
            tier=self.held(),
            since=self.held_since(),
            rated=self.code(self.stay.rank),
            rated_since=self.stay.since,
            unqualified=self.stay.unqualified,
            stands_until=self.stay.stands_until,
            pinned_until=None if self.pin is None else self.pin[2],
            version=self.rules_no + 1,
        )


def returned(anchor: date, year: int) -> date:
    """Return the day on which a date comes back in a year; the last of February where it does not."""
    try:
        return anchor.replace(year=year)
    except ValueError:
        return date(year, 3, 1) - DAY


def is_cadence_day(cadence: str, day: date) -> bool:
    """Say whether falls are applied on a day."""
    return {"daily": True, "weekly": day.isoweekday() == 1, "monthly": day.day == 1}[cadence]


def truth(condition: Mapping[str, Any], metrics: Mapping[str, Fraction | None]) -> bool:
    """Read a condition straight from its JSON (two decimals of currency)."""
    if "all" in condition:
        return all(truth(part, metrics) for part in condition["all"])
    if "any" in condition:
        return any(truth(part, metrics) for part in condition["any"])
    if "at_least" in condition:
        several = condition["at_least"]
        return [truth(part, metrics) for part in several["of"]].count(True) >= int(several["k"])
    have, value = metrics[condition["metric"]], condition["value"]
    if have is None:
        return False
    if condition["op"] == "between":
        return Fraction(value[0]) <= have <= Fraction(value[1])
    need = Fraction(value)
    return {"<=": have <= need, ">=": have >= need, "<": have < need, ">": have > need}[condition["op"]]
