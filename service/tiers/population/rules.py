"""What a simulation asks, and who goes together in its tallies. Pure."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal
from functools import lru_cache
from typing import Any, Literal, NamedTuple

from service.kit.clock import local_midnight
from service.tiers.periods import Window
from service.tiers.rules import RuleSet
from service.tiers.timeline import RuleTimeline, carry_rank

SAMPLES = 3
"""Members shown of each movement."""
COSTED = 2_000
"""Members, of each change of multiplier, whose awards are read to tell what it costs."""
_NORMAL_95 = Decimal("1.96")


def definition_hash(definition: Mapping[str, Any]) -> bytes:
    """Return SHA-256 of a rule set's definition, whatever the order of its names."""
    text = json.dumps(definition, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).digest()


@dataclass(frozen=True, slots=True)
class Question:
    """A draft tried on everybody as of the end of a day.

    `against` None: against the tiers held. Otherwise against where everybody would settle under it.
    `timeline` is that of the published sets, and `in_force` the one of them in force now.
    """

    draft: RuleSet
    against: RuleSet | None
    in_force: RuleSet
    timeline: RuleTimeline
    day: date
    is_past: bool

    @property
    def windows(self) -> set[Window]:
        """The windows of the sets that somebody is rated by."""
        return {rules.window for rules in (self.draft, self.in_force, self.against) if rules is not None}


def heights_of_held(question: Question, rules: RuleSet) -> dict[str, int]:
    """Return how high each tier that was ever held stands on a ladder, by code: see `height_on`."""
    ranks = _ranks_in_force(question)
    return {code: height_on(code, rank, question.in_force, rules) for code, rank in ranks.items()}


def height_on(code: str, rank: int, old: RuleSet, new: RuleSet) -> int:
    """Return how high a tier of `old` stands on the ladder `new`, in half steps.

    Twice the rank where it is there. One more than twice the rank its holders are carried to where it is
    gone: above that tier, below the next.
    """
    return 2 * new.rank_of(code) if code in new.codes else 2 * carry_rank(rank, old, new) + 1


def multipliers_of_held(question: Question) -> dict[str, int]:
    """Return the points multiplier of each tier that was ever held, as the set in force gives it, by code."""
    tiers = question.in_force.tiers
    return {code: tiers[rank].multiplier_bp for code, rank in _ranks_in_force(question).items()}


def codes_held(question: Question) -> list[str]:
    """Return the code of every tier that may be held: those of every set that was ever published."""
    return sorted({code for entry in question.timeline.entries for code in entry.rules.codes})


def _ranks_in_force(question: Question) -> dict[str, int]:
    timeline = question.timeline
    place = timeline.place_of(question.in_force.version)
    return {code: timeline.rank_of(code, place=place) for code in codes_held(question)}


@lru_cache(maxsize=8)
def months_until(day: date, *, timezone: str) -> tuple[tuple[datetime, str], ...]:
    """Return the first moment and the name of every month up to a day's, from 1900: no time is older."""
    return tuple(
        (local_midnight(date(year, month, 1), timezone=timezone), f"{year:04}-{month:02}")
        for year in range(1900, day.year + 1)
        for month in range(1, 13)
        if (year, month) <= (day.year, day.month)
    )


class Flow(NamedTuple):
    """Who goes together: the tier held, and where they settle under each of the rule sets, as ranks."""

    held: str
    is_pinned: bool
    draft: int
    in_force: int
    against: int | None


class Slice(NamedTuple):
    """One line of a tally: of everybody, of those who joined in one month, or of one store's."""

    what: Literal["all", "cohort", "store"]
    cohort: str | None
    store_key: int | None
    flow: Flow
    members: int


class Sample(NamedTuple):
    """One member of a movement; the lowest `turn` is shown first."""

    turn: int
    member_key: int
    flow: Flow


class Cost(NamedTuple):
    """One change of multiplier in one range: whom it concerns, and the points of those who were drawn.

    `squares` is the sum of each drawn member's points, squared.
    """

    members: int
    drawn: int
    points: Decimal
    squares: Decimal


class Tally(NamedTuple):
    """What was counted of one range."""

    slices: list[Slice]
    samples: list[Sample]
    costs: list[Cost]


def estimate(costs: Iterable[Cost]) -> tuple[int, int]:
    """Return the points that all members together would get more, and how far off that may be.

    The sum of a sample drawn from each range and change of multiplier apart (Cochran, Sampling Techniques,
    §5.3); the second figure is 1.96 standard errors, and 0 where everybody was drawn.
    """
    points, variance = Decimal(0), Decimal(0)
    for cost in costs:
        if cost.drawn == 0:
            continue
        mean = cost.points / cost.drawn
        points += mean * cost.members
        if 1 < cost.drawn < cost.members:
            spread = (cost.squares - mean * cost.points) / (cost.drawn - 1)
            variance += cost.members * (cost.members - cost.drawn) * max(spread, Decimal(0)) / cost.drawn
    margin = _NORMAL_95 * variance.sqrt()
    return int(points.quantize(Decimal(1), rounding=ROUND_HALF_UP)), math.ceil(margin)
