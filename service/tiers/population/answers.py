"""The tallies of a simulation summed up into its answer. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from service.kit.money import to_text
from service.tiers.conditions import Metrics
from service.tiers.needs import needs_of, needs_to_stay
from service.tiers.population.rules import (
    SAMPLES,
    Cost,
    Flow,
    Question,
    Sample,
    Tally,
    estimate,
    height_on,
    heights_of_held,
)
from service.tiers.rules import RuleSet
from service.tiers.standing import metrics_json, needs_json
from service.tiers.telling import chinese_rules, english_rules


@dataclass(slots=True)
class Tallies:
    """What the ranges counted so far have come to; a few thousand numbers, however many members."""

    flows: Counter[Flow] = field(default_factory=Counter)
    cohorts: Counter[tuple[str, Flow]] = field(default_factory=Counter)
    stores: Counter[tuple[int | None, Flow]] = field(default_factory=Counter)
    costs: list[Cost] = field(default_factory=list)
    samples: dict[Flow, list[Sample]] = field(default_factory=dict)

    def add(self, tally: Tally) -> int:
        """Count a range in; return how many members it held."""
        members = 0
        self.costs += tally.costs
        for line in tally.slices:
            if line.what == "cohort" and line.cohort is not None:
                self.cohorts[line.cohort, line.flow] += line.members
            elif line.what == "store":
                self.stores[line.store_key, line.flow] += line.members
            else:
                self.flows[line.flow] += line.members
                members += line.members
        for sample in tally.samples:
            known = self.samples.setdefault(sample.flow, [])
            known.append(sample)
            known.sort()
            del known[SAMPLES:]
        return members


class Answer:
    """Tells what tallies mean for a question."""

    def __init__(self, question: Question, tallies: Tallies) -> None:
        self._question, self._tallies = question, tallies
        draft, against = question.draft, question.against
        self._held = heights_of_held(question, draft)
        self._held_in_force = heights_of_held(question, question.in_force)
        self._against = (
            {}
            if against is None
            else {tier.rank: height_on(tier.code, tier.rank, against, draft) for tier in against.tiers}
        )
        movements: dict[tuple[str, str], list[Sample]] = {}
        for flow, samples in tallies.samples.items():
            movements.setdefault(self.ends(flow), []).extend(samples)
        self._samples = {ends: sorted(samples)[:SAMPLES] for ends, samples in movements.items()}

    def list_sampled(self) -> list[int]:
        """Return the keys of the members that the answer shows."""
        return [sample.member_key for samples in self._samples.values() for sample in samples]

    def to_json(
        self, *, point_value_minor: int, store_ids: Mapping[int, str], metrics: Mapping[int, Metrics]
    ) -> dict[str, Any]:
        """Return the answer as it is kept; money by the points' present value, `metrics` by sampled key."""
        flows = self._tallies.flows
        members, demoted = flows.total(), self._count(flows.items(), self.is_demoted)
        return {
            "members": members,
            "pinned": self._count(flows.items(), lambda flow: flow.is_pinned),
            "matrix": self._matrix(),
            "moved": self._moved(flows.items()),
            "demoted": demoted,
            "demoted_share": share(demoted, members),
            "demoted_anyway": self._count(flows.items(), self.is_demoted_anyway),
            "by_cohort": [
                {"cohort": cohort, **self._movers(lines)} for cohort, lines in _parts(self._tallies.cohorts)
            ],
            "by_store": [
                {"store_id": None if key is None else store_ids.get(key), **self._movers(lines)}
                for key, lines in _parts(self._tallies.stores)
            ],
            "points_cost_change": self._cost(point_value_minor),
            "samples": [
                {
                    "from": ends[0],
                    "to": ends[1],
                    # Whoever was merged into another since the count has no metrics any more.
                    "members": [
                        self._sample(sample, metrics[sample.member_key])
                        for sample in samples
                        if sample.member_key in metrics
                    ],
                }
                for ends, samples in sorted(self._samples.items())
            ],
        }

    def is_demoted(self, flow: Flow) -> bool:
        """Say whether somebody settles below the tier held today."""
        return 2 * flow.draft < self._held.get(flow.held, 0)

    def is_demoted_anyway(self, flow: Flow) -> bool:
        """Say whether the rules in force would let them fall too, if nothing more were bought."""
        return self.is_demoted(flow) and 2 * flow.in_force < self._held_in_force.get(flow.held, 0)

    def direction(self, flow: Flow) -> int:
        """Return 1 for a movement up, −1 for one down, 0 for none."""
        came_from = self._held.get(flow.held, 0) if flow.against is None else self._against[flow.against]
        return (2 * flow.draft > came_from) - (2 * flow.draft < came_from)

    def ends(self, flow: Flow) -> tuple[str, str]:
        """Return the codes of the tier that a movement begins at and of the one it ends at."""
        question = self._question
        came_from = flow.held
        if flow.against is not None and question.against is not None:
            came_from = question.against.tiers[flow.against].code
        return came_from, question.draft.tiers[flow.draft].code

    def _matrix(self) -> list[dict[str, Any]]:
        cells = Counter[tuple[str, str]]()
        for flow, count in self._tallies.flows.items():
            cells[self.ends(flow)] += count
        question = self._question
        ladders = (question.against or question.in_force, question.draft)
        return [
            {"from": ends[0], "to": ends[1], "members": cells[ends]}
            for ends in sorted(
                cells, key=lambda ends: [_rank(*pair) for pair in zip(ladders, ends, strict=True)]
            )
        ]

    def _moved(self, lines: Iterable[tuple[Flow, int]]) -> dict[str, int]:
        moved = {"up": 0, "down": 0}
        for flow, count in lines:
            direction = self.direction(flow)
            if direction:
                moved["up" if direction > 0 else "down"] += count
        return moved

    def _movers(self, lines: list[tuple[Flow, int]]) -> dict[str, Any]:
        return {
            "members": sum(count for _, count in lines),
            **self._moved(lines),
            "demoted": self._count(lines, self.is_demoted),
        }

    @staticmethod
    def _count(lines: Iterable[tuple[Flow, int]], counts: Callable[[Flow], bool]) -> int:
        return sum(count for flow, count in lines if counts(flow))

    def _cost(self, point_value_minor: int) -> dict[str, Any]:
        costs, currency = self._tallies.costs, self._question.draft.currency
        points, margin = estimate(costs)
        return {
            "points": points,
            "amount": to_text(points * point_value_minor, currency=currency),
            "currency": currency,
            "margin_points": margin,
            "members": sum(cost.members for cost in costs),
            "members_counted": sum(cost.drawn for cost in costs),
        }

    def _sample(self, sample: Sample, metrics: Metrics) -> dict[str, Any]:
        """One member: what is lacking for the tier that is lost, what is met of the one that is reached."""
        draft, flow = self._question.draft, sample.flow
        came_from, _ = self.ends(flow)
        reached = draft.tiers[flow.draft]
        if self.direction(flow) > 0 and reached.enter is not None:
            needs = needs_of(reached.enter, metrics)
        elif came_from in draft.codes:
            needs = needs_to_stay(draft.tiers[draft.rank_of(came_from)], metrics)
        else:
            needs = ()
        told = [need for need in needs if not need.met] or needs
        return {
            "member_key": sample.member_key,
            "held": flow.held,
            "tier_is_gone": came_from not in draft.codes,
            "metrics": metrics_json(metrics, currency=draft.currency),
            "needs": needs_json(needs, currency=draft.currency),
            "reason": {
                "en": english_rules.tell_needs(told, currency=draft.currency),
                "zh-Hant": chinese_rules.tell_needs(told, currency=draft.currency),
            }
            if needs
            else None,
        }


def share(numerator: int, denominator: int) -> dict[str, Any]:
    """Return a share with what it was made from; null of nobody."""
    if denominator == 0:
        return {"numerator": 0, "denominator": 0, "share": None}
    part = (Decimal(numerator) / denominator).quantize(Decimal("0.0001"), rounding=ROUND_HALF_UP)
    return {"numerator": numerator, "denominator": denominator, "share": str(part)}


def _parts(tally: Counter[tuple[Any, Flow]]) -> Iterator[tuple[Any, list[tuple[Flow, int]]]]:
    parts: dict[Any, list[tuple[Flow, int]]] = {}
    for (part, flow), count in tally.items():
        parts.setdefault(part, []).append((flow, count))
    yield from sorted(parts.items(), key=lambda item: (item[0] is None, item[0]))


def _rank(ladder: RuleSet, code: str) -> int:
    return ladder.rank_of(code) if code in ladder.codes else -1
