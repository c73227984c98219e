"""What a simulation asks, and who goes together in its tallies. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, Literal, NamedTuple

from service.tiers.conditions import Metrics
from service.tiers.rules import RuleSet
from service.tiers.timeline import RuleTimeline, carry_rank

SAMPLES = 3
"""Members shown of each movement."""


def definition_hash(definition: Mapping[str, Any]) -> bytes:
    """Return SHA-256 of a rule set's definition, whatever the order of its names."""
    text = json.dumps(definition, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
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


def _ranks_in_force(question: Question) -> dict[str, int]:
    timeline = question.timeline
    place = timeline.place_of(question.in_force.version)
    codes = sorted({code for entry in timeline.entries for code in entry.rules.codes})
    return {code: timeline.rank_of(code, place=place) for code in codes}


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
    cohort: date | None
    store_key: int | None
    flow: Flow
    members: int
    points: Decimal


class Sample(NamedTuple):
    """One member of a movement; the lowest `turn` is shown first. Metrics are those of the draft's window."""

    turn: int
    member_key: int
    flow: Flow
    metrics: Metrics
