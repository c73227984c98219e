"""Buckets, arms and windows. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

BUCKETS = 10_000
HOLDOUT = "holdout"
TREATMENT = "treatment"
# The hold-out sees less of an effect the smaller the shop; docs suggest 20 % below 50,000 members.
HOLDOUT_WEIGHT_BP = 1_000
REPURCHASE_WINDOW_DAYS = 60
REFUND_GRACE_DAYS = 30

DRAFT, RUNNING, REPLACED, ANALYSIS, STOPPED = "draft", "running", "replaced", "analysis", "stopped"
STATUSES = (DRAFT, RUNNING, REPLACED, ANALYSIS, STOPPED)
"""`replaced` by a later version; in `analysis` nobody new is drawn while the last windows mature."""
RECOMMENDATIONS, REWARDS = "recommendations", "rewards"
STOREFRONT, MESSAGE, CAMPAIGNS = "storefront", "message", "campaigns"
SURFACES = (RECOMMENDATIONS, REWARDS, STOREFRONT, MESSAGE, CAMPAIGNS)
"""Where the arms differ; who answers there also draws them."""
SHOWN_BY_THE_SHOP = (STOREFRONT, MESSAGE)
"""Where the shop itself shows the arm: it asks for it, and asking is the exposure."""
POLICIES: Mapping[str, tuple[str, ...]] = {RECOMMENDATIONS: ("popularity",), REWARDS: ("plain",)}
"""What an arm may be answered by instead of what answers everybody else, per surface that we answer."""
ASSIGNED_AT, FIRST_EXPOSURE = "assigned_at", "first_exposure"
ANCHORS = (ASSIGNED_AT, FIRST_EXPOSURE)
SIDE_BY_SIDE = (60, 90, 180)
"""Windows that are shown beside each other, in days: pull-forward shows in the longer ones."""


@dataclass(frozen=True, slots=True)
class Arm:
    """One side of an experiment and its share in basis points, which are also its buckets."""

    arm: str
    weight_bp: int
    policy: str | None = None
    """What answers this arm instead of the model in force, or of the ranking."""


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
    # Where it stands now; it is the same version whatever becomes of it.
    status: str = field(default=RUNNING, compare=False)


@dataclass(frozen=True, slots=True)
class Place:
    """A member's place in one of the other experiments: the arm, or whether one may be drawn.

    A `nested` one is drawn only among those whom the global hold-out leaves.
    """

    experiment: Experiment
    surface: str
    nested: bool
    arm: str | None
    is_eligible: bool

    @property
    def policy(self) -> str | None:
        """Return what recommends to this arm, if the arm says so."""
        found = [one.policy for one in self.experiment.arms if one.arm == self.arm]
        return found[0] if found else None


class Assignment(NamedTuple):
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


class OutcomeWindow(NamedTuple):
    """The half-open window in which a repurchase counts, and when it can be judged."""

    start: datetime
    end: datetime
    matures_at: datetime


class Baseline(NamedTuple):
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
    return tuple(Arm(value["arm"], value["weight_bp"], value.get("policy")) for value in values)


def check_arms(arms: Sequence[Arm]) -> str | None:
    """Return what is wrong with a split, or None: two arms or more, named once, that share everybody."""
    names = [arm.arm for arm in arms]
    if len(names) < 2:
        return "an experiment compares two arms or more"
    if len(set(names)) != len(names):
        return "every arm has a name of its own"
    if any(arm.weight_bp <= 0 for arm in arms):
        return "every arm has a weight above zero"
    total = sum(arm.weight_bp for arm in arms)
    if total != BUCKETS:
        return f"the weights sum to {total}, not to {BUCKETS} basis points"
    return None


def check_policies(arms: Sequence[Arm], surface: str) -> str | None:
    """Return what is wrong with the policies that arms name, or None: each is one of the surface's own."""
    for arm in arms:
        if arm.policy is not None and arm.policy not in POLICIES.get(surface, ()):
            return f"the policy {arm.policy} does not go with the surface {surface}"
    return None


def name_global_holdout(today: date) -> str:
    """Return the name of the global hold-out that starts on `today`, by half-year."""
    return f"global-holdout-{today.year}h{1 if today.month <= 6 else 2}"


def window_of(experiment: Experiment, *, anchor: datetime) -> OutcomeWindow:
    """Return the outcome window [anchor, anchor + window), which matures after the refund grace."""
    end = anchor + timedelta(days=experiment.window_days)
    return OutcomeWindow(anchor, end, end + timedelta(days=experiment.refund_grace_days))


def may_draw(place: Place, *, surface: str, is_held_out: bool | None) -> bool:
    """Tell whether an arm is to be drawn here and now; `is_held_out` is None where there is no hold-out."""
    if place.arm is not None or place.surface != surface or place.experiment.status != RUNNING:
        return False
    return place.is_eligible and not (place.nested and is_held_out)
