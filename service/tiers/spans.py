"""What a fold is made of: stays in a tier, the movements between them, and what is stored. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal, NamedTuple

from service.activity.rules import TierFact
from service.tiers.conditions import Metrics

Cause = Literal[
    "enrol", "order", "refund", "roll_off", "rule_change", "manual", "merge", "late_fact", "import"
]


class Span(NamedTuple):
    """A stay in one tier; days are ordinals."""

    rank: int
    since: datetime
    since_day: int
    unqualified_since: int | None
    carrier: Carrier | None


class Carrier(NamedTuple):
    """The order whose arrival opened a span by a rise, and the span it would go back to.

    `fact_no` is its place among the facts folded, None (and `before` meaningless) where the span was read
    from storage: then its facts have to be folded again before the rise can be reconsidered.
    """

    order_key: int | None
    fact_no: int | None
    day: int
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


class Moment(NamedTuple):
    """When and by what a rating is made; `at` None is the first moment of the day."""

    day: int
    at: datetime | None
    cause: Cause
    fact: TierFact | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """One movement, with its cause and the metrics it was made on; `from_rank` None begins a membership."""

    from_rank: int | None
    to_rank: int
    effective_at: datetime
    cause: Cause
    metrics: Metrics
    order_key: int | None
    refund_key: int | None


@dataclass(frozen=True, slots=True)
class RiskNotice:
    """The first day on which a member is at risk, and the day of the fall if nothing is bought."""

    rank: int
    on: date
    falls_on: date
    metrics: Metrics


@dataclass(frozen=True, slots=True)
class TierState:
    """Where a member stands, as stored.

    Facts later than `through` are rated from here; earlier ones re-fold the member. Up to the day before
    `next_review_on` nothing can change without a fact.
    """

    rank: int
    since: datetime
    unqualified_since: date | None
    carrier_order_key: int | None
    through: datetime
    next_review_on: date | None
