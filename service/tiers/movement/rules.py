"""Movement: flows between tiers, what they add up to, and the rates that follow from them. Pure.

Two views, which differ: the cohort view compares each member's tier at the start of `from` with the one at
the start of `to`; the event view counts every move in between. In both, per tier,
opening + joined + moved in − moved out − left = closing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from service.tiers.timeline import RuleTimeline

View = Literal["cohort", "event"]
Direction = Literal["stayed", "up", "down", "joined", "left"]


@dataclass(frozen=True, slots=True)
class Ladder:
    """Tier codes from the lowest up, with their names per locale.

    It holds every tier that was in force up to some moment: those of the last rule set in its order, and
    each removed one right above the highest remaining tier that stood below it, where its holders went.
    """

    codes: tuple[str, ...]
    names: Mapping[str, Mapping[str, str]]

    @classmethod
    def of(cls, timeline: RuleTimeline, *, entries: int) -> Ladder:
        """Return the ladder of the first `entries` rule sets of a timeline, at least one."""
        sets = [entry.rules for entry in timeline.entries[:entries]]
        codes = [tier.code for tier in sets[-1].tiers]
        names = {tier.code: tier.names for rules in sets for tier in rules.tiers}
        for rules in reversed(sets[:-1]):
            above = 0
            for tier in rules.tiers:
                if tier.code not in codes:
                    codes.insert(above, tier.code)
                above = max(above, codes.index(tier.code) + 1)
        return cls(tuple(codes), names)

    def direction(self, from_tier: str | None, to_tier: str | None) -> Direction:
        """Say which way a flow goes; None is outside the programme."""
        if from_tier is None:
            return "joined"
        if to_tier is None:
            return "left"
        if from_tier == to_tier:
            return "stayed"
        return "up" if self.codes.index(to_tier) > self.codes.index(from_tier) else "down"


@dataclass(frozen=True, slots=True)
class Flow:
    """How many went from one tier to another, None being outside the programme.

    In the cohort view members, who may have stayed; in the event view moves.
    """

    from_tier: str | None
    to_tier: str | None
    count: int


@dataclass(frozen=True, slots=True)
class Share:
    """A part of a whole, both told."""

    numerator: int
    denominator: int


@dataclass(frozen=True, slots=True)
class TierTotal:
    """One tier's reconciliation; `difference` is what the parts do not explain, and is zero."""

    tier: str
    opening: int
    joined: int
    rose_in: int
    fell_in: int
    rose_out: int
    fell_out: int
    left: int
    closing: int

    @property
    def difference(self) -> int:
        """Return closing minus what it should be."""
        arrived = self.opening + self.joined + self.rose_in + self.fell_in
        return self.closing - (arrived - self.rose_out - self.fell_out - self.left)


@dataclass(frozen=True, slots=True)
class Rates:
    """How often members rose, fell and were lost, out of those who could.

    Cohort view: out of the members of the opening; who stood above the base tier and stands at it or has left
    is lost. Event view: out of the stays that ran in the period, by how they ended.
    """

    upgrade: Share
    downgrade: Share
    churn: Share


@dataclass(frozen=True, slots=True)
class Movement:
    """Flows of one group of members (or of one cause), and what they add up to.

    `totals` is None for a group that is no group of members: the moves of one cause reconcile nothing.
    """

    flows: tuple[Flow, ...]
    totals: tuple[TierTotal, ...] | None
    rates: Rates | None
    rates_by_tier: Mapping[str, Rates]


@dataclass(frozen=True, slots=True)
class Tally:
    """What was counted for one group: flows, and members by tier before and after."""

    flows: tuple[Flow, ...]
    opening: Mapping[str, int]
    closing: Mapping[str, int]


def tally_cohort(flows: Iterable[Flow]) -> Tally:
    """Return flows between two snapshots with the snapshots themselves."""
    kept = tuple(flows)
    opening, closing = Counter[str](), Counter[str]()
    for flow in kept:
        if flow.from_tier is not None:
            opening[flow.from_tier] += flow.count
        if flow.to_tier is not None:
            closing[flow.to_tier] += flow.count
    return Tally(kept, opening, closing)


def add_up(tallies: Sequence[Tally]) -> Tally:
    """Return the tally of all groups together."""
    flows = Counter[tuple[str | None, str | None]]()
    opening, closing = Counter[str](), Counter[str]()
    for tally in tallies:
        opening.update(tally.opening)
        closing.update(tally.closing)
        for flow in tally.flows:
            flows[flow.from_tier, flow.to_tier] += flow.count
    return Tally(tuple(Flow(*ends, count) for ends, count in flows.items()), opening, closing)


def see_movement(tally: Tally, ladder: Ladder, *, view: View, reconciled: bool = True) -> Movement:
    """Return flows in the ladder's order, with totals and rates where they are of a group of members."""
    order = {code: place for place, code in enumerate(ladder.codes)}

    def place(code: str | None, outside: int) -> int:
        return outside if code is None else order[code]

    flows = sorted(
        tally.flows,
        key=lambda flow: (place(flow.from_tier, len(order)), place(flow.to_tier, len(order))),
    )
    if not reconciled:
        return Movement(tuple(flows), None, None, {})
    totals = tuple(_reconcile(code, tally, ladder) for code in ladder.codes)
    rates = _rate_cohort if view == "cohort" else _rate_events
    return Movement(
        flows=tuple(flows),
        totals=totals,
        rates=rates(flows, totals, ladder),
        rates_by_tier={
            total.tier: rates([flow for flow in flows if flow.from_tier == total.tier], [total], ladder)
            for total in totals
        },
    )


def _reconcile(code: str, tally: Tally, ladder: Ladder) -> TierTotal:
    arriving, leaving = Counter[Direction](), Counter[Direction]()
    for flow in tally.flows:
        direction = ladder.direction(flow.from_tier, flow.to_tier)
        if flow.to_tier == code:
            arriving[direction] += flow.count
        if flow.from_tier == code:
            leaving[direction] += flow.count
    return TierTotal(
        tier=code,
        opening=tally.opening.get(code, 0),
        joined=arriving["joined"],
        rose_in=arriving["up"],
        fell_in=arriving["down"],
        rose_out=leaving["up"],
        fell_out=leaving["down"],
        left=leaving["left"],
        closing=tally.closing.get(code, 0),
    )


def _rate_cohort(flows: Sequence[Flow], totals: Sequence[TierTotal], ladder: Ladder) -> Rates:
    opening = sum(total.opening for total in totals)
    above_base = sum(total.opening for total in totals if total.tier != ladder.codes[0])
    return _rates(flows, ladder, opening=opening, above_base=above_base)


def _rate_events(flows: Sequence[Flow], totals: Sequence[TierTotal], ladder: Ladder) -> Rates:
    stays = {total.tier: total.opening + total.joined + total.rose_in + total.fell_in for total in totals}
    above_base = sum(count for tier, count in stays.items() if tier != ladder.codes[0])
    return _rates(flows, ladder, opening=sum(stays.values()), above_base=above_base)


def _rates(flows: Sequence[Flow], ladder: Ladder, *, opening: int, above_base: int) -> Rates:
    base, ways, lost = ladder.codes[0], Counter[Direction](), 0
    for flow in flows:
        ways[ladder.direction(flow.from_tier, flow.to_tier)] += flow.count
        if flow.from_tier not in (None, base) and flow.to_tier in (None, base):
            lost += flow.count
    return Rates(Share(ways["up"], opening), Share(ways["down"], opening), Share(lost, above_base))
