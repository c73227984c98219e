"""What the database adds up for one arm: sufficient statistics that merge. Pure.

Everything is an exact Python integer (money in minor units): float sums of squares lose what a variance is
made of. Variances and covariances are formed from integers and divided once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date


@dataclass(frozen=True, slots=True)
class Moments:
    """n, Σv, Σv², Σx, Σx² and Σvx over members: a value v beside a covariate x.

    x is what the member did before the anchor (CUPED), or, for a ratio, the denominator. Moments of two sets
    of members add to those of their union: `+` is associative and commutative, `Moments()` is its zero.
    """

    members: int = 0
    total: int = 0
    squares: int = 0
    covariate_total: int = 0
    covariate_squares: int = 0
    products: int = 0

    def __add__(self, other: Moments) -> Moments:
        return Moments(
            self.members + other.members,
            self.total + other.total,
            self.squares + other.squares,
            self.covariate_total + other.covariate_total,
            self.covariate_squares + other.covariate_squares,
            self.products + other.products,
        )

    @classmethod
    def of(cls, values: Iterable[int], covariates: Iterable[int] | None = None) -> Moments:
        """Return the moments of values, one a member, and of their covariates (none: all zero)."""
        v = list(values)
        x = [0] * len(v) if covariates is None else list(covariates)
        if len(x) != len(v):
            raise ValueError("a value without its covariate")
        return cls(
            len(v),
            sum(v),
            sum(one * one for one in v),
            sum(x),
            sum(one * one for one in x),
            sum(a * b for a, b in zip(v, x, strict=True)),
        )

    @classmethod
    def of_share(cls, members: int, having: int) -> Moments:
        """Return the moments of a yes-or-no value of which only the counts are known."""
        return cls(members, having, having)

    @property
    def mean(self) -> float:
        """Return Σv ÷ n, 0 for nobody."""
        return self.total / self.members if self.members else 0.0

    @property
    def covariate_mean(self) -> float:
        """Return Σx ÷ n, 0 for nobody."""
        return self.covariate_total / self.members if self.members else 0.0

    @property
    def variance(self) -> float:
        """Return the sample variance of v (divisor n - 1), 0 for fewer than two members."""
        return self._central(self.squares, self.total, self.total)

    @property
    def covariate_variance(self) -> float:
        """Return the sample variance of x."""
        return self._central(self.covariate_squares, self.covariate_total, self.covariate_total)

    @property
    def covariance(self) -> float:
        """Return the sample covariance of v and x."""
        return self._central(self.products, self.total, self.covariate_total)

    def _central(self, products: int, first: int, second: int) -> float:
        if self.members < 2:
            return 0.0
        return (self.members * products - first * second) / (self.members * (self.members - 1))


@dataclass(frozen=True, slots=True)
class ArmSums:
    """The mature, analysed members of one arm in one stratum ("" for none): `metrics` by name.

    The stratum is the tier at assignment. Every metric counts the same members.
    """

    arm: str
    stratum: str
    metrics: Mapping[str, Moments]

    @property
    def members(self) -> int:
        """Return how many members were added up."""
        return next(iter(self.metrics.values())).members if self.metrics else 0


@dataclass(frozen=True, slots=True)
class Draw:
    """How many were drawn into each arm under the same shares, in one stratum, on one day.

    What the sample-ratio test reads: everybody enrolled by the split and anchored, mature or not, overrides
    left out. Under another version with other shares it is another draw. `day` lets the sequential test see
    the days; without it the counts are one look.
    """

    members: Mapping[str, int]
    shares_bp: Mapping[str, int]
    stratum: str = ""
    day: date | None = None


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Members who were not analysed, and why: `immature`, `override`, `merged`, … .

    Who was never drawn (`not_eligible`, `held_out`, …) is in no arm: None.
    """

    arm: str | None
    reason: str
    members: int


@dataclass(frozen=True, slots=True)
class WindowSums:
    """The same experiment over another window: what the pull-forward table compares."""

    window_days: int
    arms: tuple[ArmSums, ...]


@dataclass(frozen=True, slots=True)
class Attributed:
    """A figure by credit, not by comparison: clicks, orders or revenue after a click or a view.

    `unit` is `count` or `minor` (minor units of the programme's currency); `rule` names how credit is given,
    such as `last_click_7d`.
    """

    name: str
    value: int
    unit: str
    rule: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything an analysis is given besides its plan."""

    arms: tuple[ArmSums, ...]
    draws: tuple[Draw, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    windows: tuple[WindowSums, ...] = ()
    attributed: tuple[Attributed, ...] = field(default=())


def merge(parts: Iterable[Moments]) -> Moments:
    """Return the moments of all parts together."""
    whole = Moments()
    for part in parts:
        whole += part
    return whole
