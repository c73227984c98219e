"""What a fold is made of: stays in a tier, the movements between them, and what is stored. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal, NamedTuple

from service.activity.rules import TierFact
from service.tiers.conditions import Metrics
from service.tiers.rules import RuleSet, Tier

Cause = Literal[
    "enrol", "order", "refund", "roll_off", "rule_change", "manual", "merge", "late_fact", "import"
]


class Span(NamedTuple):
    """A stay in one tier as rated; days are ordinals.

    `stands_until` is the first day on which `keep` is judged, of windows with periods; None where every day
    is judged, and in the base tier.
    """

    rank: int
    since: datetime
    since_day: int
    unqualified_since: int | None
    carrier: Carrier | None
    stands_until: int | None


class Carrier(NamedTuple):
    """The order whose arrival opened a span by a rise, how it was judged, and the span to go back to.

    `place` is that of the rule set of the rise in the timeline, `rank` the one risen to under it, `first`
    the first day of the window then. `fact_no` is the order's place among the facts folded, None (and the
    rest meaningless) where the span was read from storage: then its facts have to be folded again before
    the rise can be reconsidered.
    """

    order_key: int | None
    fact_no: int | None
    day: int
    place: int
    rank: int
    first: int
    before: Span


class Pin(NamedTuple):
    """A tier that staff hold a member at from one moment until another (exclusive), whatever the rating.

    `ends_at` is when it really ended, where it was lifted early; it ends at a midnight of the programme
    otherwise. Pins of one member never overlap.
    """

    key: int | None
    tier: str
    starts_at: datetime
    ends_at: datetime


class Merge(NamedTuple):
    """Another member's facts (sorted) and joining, which became this member's at a moment."""

    at: datetime
    facts: Sequence[TierFact]
    joined_at: datetime


class Moment(NamedTuple):
    """When and by what a rating is made; `at` None is the first moment of the day."""

    day: int
    at: datetime | None
    cause: Cause
    fact: TierFact | None = None
    pin_key: int | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """One movement of the tier held, with its cause and the metrics it was made on.

    `rules` are those in force at the time; `from_rank` and `from_tier` are of the ladder that the tier left
    stood on, which at a change of rules is the one before. Both are None at the beginning of a membership.
    """

    from_rank: int | None
    to_rank: int
    effective_at: datetime
    cause: Cause
    metrics: Metrics
    order_key: int | None
    refund_key: int | None
    pin_key: int | None
    from_tier: str | None
    rules: RuleSet

    @property
    def to_tier(self) -> str:
        """The code of the tier reached."""
        return self.rules.tiers[self.to_rank].code


@dataclass(frozen=True, slots=True)
class RiskNotice:
    """A day on which a member at risk is told so: the first one, or the one shortly before the fall.

    `falls_on` is the day of the fall if nothing is bought.
    """

    kind: Literal["first", "reminder"]
    tier: Tier
    on: date
    since: date
    falls_on: date
    metrics: Metrics
    rules: RuleSet


class TierState(NamedTuple):
    """Where a member stands, as stored.

    Facts later than `through` are rated from here; earlier ones re-fold the member. Up to the day before
    `next_review_on` nothing can change without a fact or a change of rules. `rank` and `since` are of the
    tier held; while it is pinned, until `pinned_until`, the rating underneath is `rated_rank` since
    `rated_since`.
    """

    rank: int
    since: datetime
    ruleset_version: int
    unqualified_since: date | None
    carrier_order_key: int | None
    through: datetime
    next_review_on: date | None
    stands_until: date | None = None
    rated_rank: int | None = None
    rated_since: datetime | None = None
    pinned_until: datetime | None = None
