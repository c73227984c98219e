"""What an experiment set out to find, fixed before anybody looks. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """How a metric is compared."""

    SHARE = "share"
    """Members who did, of all: Newcombe, Katz, pooled z."""
    MEAN = "mean"
    """A value per assigned member: Welch."""
    RATIO = "ratio"
    """Σv ÷ Σx, such as net spend per order: delta method; shown, never decided on."""


class Unit(StrEnum):
    """What one of a metric is."""

    SHARE = "share"
    COUNT = "count"
    MINOR = "minor"


class Looks(StrEnum):
    """Which interval decides."""

    ONCE = "once"
    """The result is read once, at the planned end: the fixed interval decides."""
    ANY_TIME = "any_time"
    """Somebody looks while it runs: the always-valid interval decides."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One thing that is compared; `name` finds it in `ArmSums.metrics`."""

    name: str
    kind: Kind
    unit: Unit


@dataclass(frozen=True, slots=True)
class Guardrail:
    """A metric that must not get worse by more than `margin` (absolute, > 0, in the metric's unit).

    `worse` is +1 where more of it is harm (returned value), -1 where less is.
    """

    metric: Metric
    margin: float
    worse: int = 1


REPURCHASE = Metric("repurchase", Kind.SHARE, Unit.SHARE)
ORDERS = Metric("orders", Kind.MEAN, Unit.COUNT)
NET_SPEND = Metric("net_spend", Kind.MEAN, Unit.MINOR)
NET_AFTER_REWARDS = Metric("net_after_rewards", Kind.MEAN, Unit.MINOR)
REWARD_COST = Metric("reward_cost", Kind.MEAN, Unit.MINOR)
RETURNED_VALUE = Metric("returned_value", Kind.MEAN, Unit.MINOR)
UNSUBSCRIBED = Metric("unsubscribed", Kind.SHARE, Unit.SHARE)
ORDER_VALUE = Metric("order_value", Kind.RATIO, Unit.MINOR)
"""Net spend per order: v is the member's net spend, x the member's orders in the same window."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One comparison: the arm that is tried against the arm that shows what happens without it.

    `shares_bp` are the configured weights of every arm (they sum to 10,000). `alpha` is the error allowed for
    the primary metric; with several tried arms give each its own plan and `tried_arms`, which share it
    equally. `planned_members` (both arms together) is where the always-valid interval is at its narrowest;
    it must not be chosen by looking. `value_metric` is what the effect is worth; `members_a_year` are the
    members it would apply to, were the tried arm given to all.
    """

    experiment: str
    version: int
    baseline: str
    tried: str
    shares_bp: Mapping[str, int]
    window_days: int
    currency: str
    members_a_year: int
    anchor: str = "assigned_at"
    primary: Metric = REPURCHASE
    secondaries: tuple[Metric, ...] = (ORDERS, NET_SPEND)
    ratios: tuple[Metric, ...] = ()
    guardrails: tuple[Guardrail, ...] = ()
    value_metric: Metric = NET_SPEND
    alpha: float = 0.05
    power: float = 0.8
    tried_arms: int = 1
    minimum_members: int = 100
    planned_members: int = 20_000
    looks: Looks = Looks.ONCE

    def __post_init__(self) -> None:
        """Refuse a plan that could not be carried out, with a ValueError that says why."""
        fault = self._find_fault()
        if fault is not None:
            raise ValueError(fault)

    def _find_fault(self) -> str | None:
        decided = (
            self.primary,
            *self.secondaries,
            self.value_metric,
            *(one.metric for one in self.guardrails),
        )
        faults = {
            "the arms' shares sum to 10,000 basis points": sum(self.shares_bp.values()) != 10_000,
            "the arms compared are two of the arms that are drawn": (
                self.baseline == self.tried or not {self.baseline, self.tried} <= self.shares_bp.keys()
            ),
            "a ratio is shown, never decided on": any(metric.kind is Kind.RATIO for metric in decided),
            "only a ratio is shown as one": any(metric.kind is not Kind.RATIO for metric in self.ratios),
            "a guardrail's margin is above 0 and its worse side +1 or -1": any(
                one.margin <= 0 or one.worse not in {1, -1} for one in self.guardrails
            ),
            "alpha and power lie between 0 and 1": not (0 < self.alpha < 1 and 0 < self.power < 1),
            "at least two members are needed, one day, and one arm that is tried": (
                min(self.minimum_members, self.planned_members) < 2
                or min(self.window_days, self.tried_arms) < 1
            ),
        }
        return next((fault for fault, found in faults.items() if found), None)

    @property
    def level(self) -> float:
        """Return the error allowed for this comparison (C. E. Bonferroni over the tried arms)."""
        return self.alpha / self.tried_arms

    def list_metrics(self) -> tuple[Metric, ...]:
        """Return every metric an arm's sums must hold, each once."""
        found = (
            self.primary,
            *self.secondaries,
            *self.ratios,
            *(one.metric for one in self.guardrails),
            self.value_metric,
        )
        return tuple({metric.name: metric for metric in found}.values())
