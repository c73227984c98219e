"""The tier rules of the design once more, slow and plain: every day in turn, every metric afresh.

It shares no code with the rooms it judges: conditions are read from the JSON itself, days are dates,
and nothing is carried from one evaluation to the next but the member's state.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

from service.activity.rules import TierFact

Definition = Mapping[str, Any]


@dataclass
class Stay:
    """A stay in one tier."""

    rank: int
    since: datetime
    unqualified: date | None = None
    carrier: int | None = None
    known_then: tuple[TierFact, ...] = ()
    day_then: date | None = None
    before: Stay | None = None


@dataclass(frozen=True)
class Verdict:
    """What the simulation found."""

    moves: list[tuple[int | None, int, datetime, str]]
    rank: int
    since: datetime
    unqualified: date | None


def simulate(
    definition: Definition, facts: Sequence[TierFact], *, timezone: str, joined_at: datetime, until: date
) -> Verdict:
    """Live through every day from the beginning to `until`."""
    return _Life(definition, facts, timezone=timezone, joined_at=joined_at).live(until)


class _Life:
    def __init__(
        self, definition: Definition, facts: Sequence[TierFact], *, timezone: str, joined_at: datetime
    ) -> None:
        self.definition = definition
        self.zone = ZoneInfo(timezone)
        self.facts = sorted(facts, key=lambda fact: (fact.at, fact.cause, fact.source_id))
        self.joined = joined_at.astimezone(self.zone).date()
        self.start = min([joined_at, *(fact.at for fact in facts)])
        self.known: list[TierFact] = []
        self.stay = Stay(0, self.start)
        self.moves: list[tuple[int | None, int, datetime, str]] = [(None, 0, self.start, "enrol")]

    def live(self, until: date) -> Verdict:
        day = self.start.astimezone(self.zone).date()
        self.rate(day, self.start, "enrol", None)
        waiting = list(self.facts)
        while day <= until or waiting:
            if day > self.start.astimezone(self.zone).date():
                self.rate(day, datetime.combine(day, time(), tzinfo=self.zone), "roll_off", None)
            while waiting and waiting[0].at.astimezone(self.zone).date() <= day:
                self.learn(waiting.pop(0), day)
            day += timedelta(days=1)
        return Verdict(self.moves, self.stay.rank, self.stay.since, self.stay.unqualified)

    def learn(self, fact: TierFact, day: date) -> None:
        self.known.append(fact)
        if fact.cause == "refund" and fact.order_key is not None and fact.order_key == self.stay.carrier:
            self.undo(fact, day)
        self.rate(day, fact.at, fact.cause, fact)

    def undo(self, fact: TierFact, day: date) -> None:
        here, noted = self.stay, list(self.moves)
        back = here
        while back.before is not None and not self.would_rise_again(back):
            back = back.before
        if back is here:
            return
        self.stay = Stay(**vars(back))
        self.rate(day, fact.at, "refund", fact)
        self.moves = noted
        if self.stay.rank == here.rank:
            self.stay = here
        else:
            self.moves.append((here.rank, self.stay.rank, fact.at, "refund"))

    def would_rise_again(self, stay: Stay) -> bool:
        given_back = [
            fact
            for fact in self.known
            if fact.cause == "refund" and fact.order_key == stay.carrier and fact not in stay.known_then
        ]
        assert stay.day_then is not None
        return self.entered(stay.rank, [*stay.known_then, *given_back], stay.day_then)

    def rate(self, day: date, at: datetime, cause: str, fact: TierFact | None) -> None:
        down = self.definition["downgrade"]
        highest = max(
            rank for rank in range(len(self.definition["tiers"])) if self.entered(rank, self.known, day)
        )
        if highest > self.stay.rank:
            carried = cause == "order" and fact is not None
            self.moves.append((self.stay.rank, highest, at, cause))
            self.stay = Stay(
                highest,
                at,
                carrier=fact.order_key if carried and fact else None,
                known_then=tuple(self.known) if carried else (),
                day_then=day if carried else None,
                before=Stay(**vars(self.stay)) if carried else None,
            )
            return
        if highest == self.stay.rank or self.kept(day):
            self.stay.unqualified = None
            return
        if self.stay.unqualified is None:
            self.stay.unqualified = day
        held = self.stay.since.astimezone(self.zone).date() + timedelta(days=down["min_hold_days"])
        if day >= max(held, self.stay.unqualified) + timedelta(days=down["grace_days"]):
            target = self.stay.rank - 1 if down["policy"] == "one_step" else highest
            self.moves.append((self.stay.rank, target, at, cause))
            self.stay = Stay(target, at)
            self.rate(day, at, cause, fact)

    def entered(self, rank: int, facts: Sequence[TierFact], day: date) -> bool:
        tier = self.definition["tiers"][rank]
        return "enter" not in tier or truth(tier["enter"], self.measure(facts, day))

    def kept(self, day: date) -> bool:
        tier = self.definition["tiers"][self.stay.rank]
        return "keep" in tier and truth(tier["keep"], self.measure(self.known, day))

    def measure(self, facts: Sequence[TierFact], day: date) -> dict[str, Fraction | None]:
        first = day - timedelta(days=self.definition["window"]["days"] - 1)
        goods: dict[date, int] = {}
        for fact in facts:
            goods[fact.day] = goods.get(fact.day, 0) + fact.goods_delta
        active = sorted(found for found, total in goods.items() if total > 0 and found >= first)
        inside = [fact for fact in facts if fact.day >= first]
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
