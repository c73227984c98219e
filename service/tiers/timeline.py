"""Which rule set was in force when: published sets by the moment each came into force. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import accumulate
from typing import NamedTuple

from service.tiers.rules import RuleSet


class InForce(NamedTuple):
    """A rule set and the moment from which it is in force."""

    starts_at: datetime
    rules: RuleSet


@dataclass(frozen=True, slots=True)
class RuleTimeline:
    """Rule sets by the time they come into force, at least one; the first since the beginning of time.

    `lookbacks` are the most days that a rating looks at under the rule set of a place or a later one;
    `asks_for_joining` says whether one under any of them needs to know when the member joined.
    """

    entries: tuple[InForce, ...]
    lookbacks: tuple[int, ...] = field(init=False, repr=False, compare=False)
    asks_for_joining: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Work out once what every rating asks."""
        days = accumulate((entry.rules.lookback_days for entry in reversed(self.entries)), max)
        object.__setattr__(self, "lookbacks", tuple(days)[::-1])
        object.__setattr__(
            self, "asks_for_joining", any(entry.rules.asks_for_joining for entry in self.entries)
        )

    @classmethod
    def always(cls, rules: RuleSet) -> RuleTimeline:
        """Return the timeline of a single rule set."""
        return cls((InForce(datetime.min.replace(tzinfo=UTC), rules),))

    @classmethod
    def of(cls, entries: Iterable[tuple[datetime, RuleSet]]) -> RuleTimeline:
        """Return the timeline of some published sets; of two that begin at one moment the later version.

        Raises:
            ValueError: there is none.
        """
        latest: dict[datetime, RuleSet] = {}
        for starts_at, rules in sorted(entries, key=lambda entry: (entry[0], entry[1].version)):
            latest[starts_at] = rules
        if not latest:
            raise ValueError("a timeline has at least one rule set")
        return cls(tuple(InForce(starts_at, rules) for starts_at, rules in latest.items()))

    def at(self, moment: datetime) -> RuleSet:
        """Return the rule set in force at a moment."""
        return self.entries[self.place_at(moment)].rules

    def place_at(self, moment: datetime) -> int:
        """Return the place in `entries` of the rule set in force at a moment."""
        place = len(self.entries) - 1
        while place and self.entries[place].starts_at > moment:
            place -= 1
        return place

    def place_of(self, version: int) -> int:
        """Return the place of a version.

        Raises:
            KeyError: it was never in force, nor will be.
        """
        for place, entry in enumerate(self.entries):
            if entry.rules.version == version:
                return place
        raise KeyError(version)

    def until(self, version: int) -> RuleTimeline:
        """Return the timeline as if nothing had come after a version."""
        return RuleTimeline(self.entries[: self.place_of(version) + 1])

    def rank_of(self, code: str, *, place: int) -> int:
        """Return the rank, under the rule set of a place, of a tier of that one or of an earlier one."""
        for known in range(place, -1, -1):
            rules = self.entries[known].rules
            if code in rules.codes:
                rank = rules.rank_of(code)
                for later in range(known, place):
                    rank = carry_rank(rank, self.entries[later].rules, self.entries[later + 1].rules)
                return rank
        return 0

    @property
    def lookback_days(self) -> int:
        """The most days that a rating under any of the rule sets looks at."""
        return self.lookbacks[0]


def carry_rank(rank: int, old: RuleSet, new: RuleSet) -> int:
    """Return where the holder of a tier of `old` finds themselves in `new`.

    The tier of the same code, or of the highest code below it that remains; the base tier if none does.
    """
    for below in range(rank, -1, -1):
        code = old.tiers[below].code
        if code in new.codes:
            return new.rank_of(code)
    return 0
