"""Buckets, arms and windows. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

BUCKETS = 10_000
HOLDOUT = "holdout"
TREATMENT = "treatment"
# The hold-out sees less of an effect the smaller the shop; docs suggest 20 % below 50,000 members.
HOLDOUT_WEIGHT_BP = 1_000
REPURCHASE_WINDOW_DAYS = 60
REFUND_GRACE_DAYS = 30


@dataclass(frozen=True, slots=True)
class Arm:
    """One side of an experiment and its share in basis points, which are also its buckets."""

    arm: str
    weight_bp: int


@dataclass(frozen=True, slots=True)
class Experiment:
    """One version of an experiment, fixed from its start on."""

    experiment_key: int
    experiment: str
    version: int
    salt: str
    arms: tuple[Arm, ...]
    window_days: int
    refund_grace_days: int


@dataclass(frozen=True, slots=True)
class Assignment:
    """A member's side of an experiment, as first drawn."""

    experiment: Experiment
    arm: str
    bucket: int
    reason: str
    assigned_at: datetime
    tier_at_assignment: str | None

    @property
    def is_holdout(self) -> bool:
        """Tell whether this member gets the baseline."""
        return self.arm == HOLDOUT


@dataclass(frozen=True, slots=True)
class OutcomeWindow:
    """The half-open window in which a repurchase counts, and when it can be judged."""

    start: datetime
    end: datetime
    matures_at: datetime


@dataclass(frozen=True, slots=True)
class Baseline:
    """What the hold-out does by itself: repurchasers of the mature members, as of a day."""

    numerator: int
    denominator: int
    as_of: date

    @property
    def repurchase_rate(self) -> float | None:
        """Return the share, or None when nobody is mature yet."""
        return self.numerator / self.denominator if self.denominator else None


def bucket_of(experiment: str, salt: str, member_id: str) -> int:
    """Return the member's bucket, 0 to 9,999: measurement by SHA-256, the same for ever and everywhere.

    The first 64 bits of the hash of the three texts, joined by the unit separator, scaled to the buckets.
    """
    digest = hashlib.sha256(f"{experiment}\x1f{salt}\x1f{member_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") * BUCKETS >> 64


def arm_of(arms: Sequence[Arm], bucket: int) -> str:
    """Return the arm whose half-open range of buckets holds `bucket`; ranges follow the arms' order.

    Raises:
        ValueError: the weights do not reach the bucket.
    """
    end = 0
    for arm in arms:
        end += arm.weight_bp
        if bucket < end:
            return arm.arm
    raise ValueError(f"bucket {bucket} is beyond the arms' weights ({end})")


def holdout_arms(weight_bp: int) -> tuple[Arm, ...]:
    """Return the arms of a hold-out: it comes first, so that enlarging it never lets anybody out.

    Raises:
        ValueError: not a share between 0 and all.
    """
    if not 0 <= weight_bp <= BUCKETS:
        raise ValueError("a share lies between 0 and 10,000 basis points")
    return (Arm(HOLDOUT, weight_bp), Arm(TREATMENT, BUCKETS - weight_bp))


def probability_of(arms: Sequence[Arm], arm: str) -> float:
    """Return the share of members who are drawn into `arm`."""
    return sum(one.weight_bp for one in arms if one.arm == arm) / BUCKETS


def read_arms(values: Sequence[Mapping[str, Any]]) -> tuple[Arm, ...]:
    """Return arms as they are stored."""
    return tuple(Arm(value["arm"], value["weight_bp"]) for value in values)


def name_global_holdout(today: date) -> str:
    """Return the name of the global hold-out that starts on `today`, by half-year."""
    return f"global-holdout-{today.year}h{1 if today.month <= 6 else 2}"


def window_of(experiment: Experiment, *, anchor: datetime) -> OutcomeWindow:
    """Return the outcome window [anchor, anchor + window), which matures after the refund grace."""
    end = anchor + timedelta(days=experiment.window_days)
    return OutcomeWindow(anchor, end, end + timedelta(days=experiment.refund_grace_days))
