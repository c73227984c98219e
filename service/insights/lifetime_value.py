"""What a member is expected to buy yet, and the chance that the member is still alive as a customer. Pure.

- P. S. Fader, B. G. S. Hardie and K. L. Lee (2005), "Counting your customers" the easy way: an alternative to
  the Pareto/NBD model, Marketing Science 24, 275–284 (BG/NBD): eq. 6 (likelihood), eq. 10 (expected orders);
  the chance of being alive as in their note "Computing P(alive) using the BG/NBD model" (2008).
- P. S. Fader and B. G. S. Hardie (2013), The Gamma-Gamma model of monetary value, brucehardie.com/notes/025:
  eq. 1a (likelihood) and eq. 5 (expected mean).

numpy and scipy are imported where they are used; fitting is work for the nightly jobs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import exp
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class History:
    """One member: `repeats` after the first order day, the last of them `recency` after it, seen for `age`.

    Both in the same unit of time. `mean_value` is the mean value of the repeat orders, 0 without any.
    """

    repeats: int
    recency: float
    age: float
    mean_value: float = 0.0


class NotFitted(ValueError):
    """The histories hold too little for the model."""


@dataclass(frozen=True, slots=True)
class Buying:
    """BG/NBD: how often members buy (r, alpha) and how readily they leave after an order (a, b)."""

    r: float
    alpha: float
    a: float
    b: float
    log_likelihood: float
    members: int

    def chance_alive(self, history: History) -> float:
        """Return the chance that the member has not left."""
        if history.repeats == 0:
            return 1.0
        silence = (self.alpha + history.age) / (self.alpha + history.recency)
        grown: float = silence ** (self.r + history.repeats)
        return 1 / (1 + grown * self.a / (self.b + history.repeats - 1))

    def expected_orders(self, history: History, *, ahead: float) -> float:
        """Return how many orders are expected of the member within `ahead` more units of time (eq. 10)."""
        from scipy.special import hyp2f1

        x, r, a, b = history.repeats, self.r, self.a, self.b
        age, end = self.alpha + history.age, self.alpha + history.age + ahead
        shrink = float(hyp2f1(r + x, b + x, a + b + x - 1, ahead / end))
        shorter: float = (age / end) ** (r + x)
        return (a + b + x - 1) / (a - 1) * (1 - shorter * shrink) * self.chance_alive(history)


@dataclass(frozen=True, slots=True)
class Spending:
    """Gamma-Gamma: what an order is worth (p), and how members differ in it (q, v)."""

    p: float
    q: float
    v: float
    log_likelihood: float
    members: int

    def expected_value(self, history: History) -> float:
        """Return the expected mean value of an order: the member's own drawn towards everybody's (eq. 5)."""
        weight = self.p * history.repeats
        return self.p * (self.v + history.mean_value * history.repeats) / (weight + self.q - 1)


def expected_lifetime_value(buying: Buying, spending: Spending, history: History, *, ahead: float) -> float:
    """Return the value the member is expected to bring within `ahead`, undiscounted."""
    return buying.expected_orders(history, ahead=ahead) * spending.expected_value(history)


def fit_buying(histories: Sequence[History]) -> Buying:
    """Return the BG/NBD model of most likelihood.

    Raises:
        NotFitted: nobody came back, or no maximum was found.
    """
    import numpy as np

    if not any(history.repeats for history in histories):
        raise NotFitted("nobody has come back yet")
    x, recency, age = (
        np.array([getattr(history, name) for history in histories], dtype=np.float64)
        for name in ("repeats", "recency", "age")
    )
    # Members with the same history count once, with a weight.
    rows, weights = np.unique(np.column_stack([x, recency, age]), axis=0, return_counts=True)
    # Time in units that make the parameters near 1, or the search starts a world away.
    scale = 10 / float(age.max())
    found, likelihood = _climb(
        lambda r, alpha, a, b: float(
            (weights * _buying_log_likelihood(rows * [1, scale, scale], r, alpha, a, b)).sum()
        ),
        parameters=4,
    )
    r, alpha, a, b = found
    # In the unit of the data every repeat order's density is larger by the scale.
    return Buying(r, alpha / scale, a, b, likelihood + float(x.sum()) * float(np.log(scale)), len(histories))


def _buying_log_likelihood(rows: Array, r: float, alpha: float, a: float, b: float) -> Array:
    """Return ln L of each row (x, recency, age): Fader et al. (2005), eq. 6."""
    import numpy as np
    from scipy.special import betaln, gammaln

    x, recency, age = rows.T
    common = gammaln(r + x) - gammaln(r) + r * np.log(alpha)
    alive = betaln(a, b + x) - betaln(a, b) - (r + x) * np.log(alpha + age)
    # δ(x > 0): a customer may only have left after an order.
    left = betaln(a + 1, b + np.maximum(x, 1) - 1) - betaln(a, b) - (r + x) * np.log(alpha + recency)
    return np.asarray(common + np.where(x > 0, np.logaddexp(alive, left), alive), dtype=np.float64)


def fit_spending(histories: Sequence[History]) -> Spending:
    """Return the Gamma-Gamma model of most likelihood, of members with repeat orders of positive mean value.

    Raises:
        NotFitted: fewer than two such members, or no maximum was found.
    """
    import numpy as np

    counted = [history for history in histories if history.repeats > 0 and history.mean_value > 0]
    if len(counted) < 2:
        raise NotFitted("too few members have come back")
    x = np.array([history.repeats for history in counted], dtype=np.float64)
    mean = np.array([history.mean_value for history in counted], dtype=np.float64)
    scale = 10 / float(mean.mean())
    found, likelihood = _climb(
        lambda p, q, v: float(_spending_log_likelihood(x, mean * scale, p, q, v).sum()), parameters=3
    )
    p, q, v = found
    return Spending(p, q, v / scale, likelihood + len(counted) * float(np.log(scale)), len(counted))


def _spending_log_likelihood(x: Array, mean: Array, p: float, q: float, v: float) -> Array:
    """Return ln L of each member: Fader & Hardie (2013), eq. 1a."""
    import numpy as np
    from scipy.special import gammaln

    weight = p * x
    return np.asarray(
        gammaln(weight + q)
        - gammaln(weight)
        - gammaln(q)
        + q * np.log(v)
        + (weight - 1) * np.log(mean)
        + weight * np.log(x)
        - (weight + q) * np.log(v + mean * x),
        dtype=np.float64,
    )


def _climb(log_likelihood: Callable[..., float], *, parameters: int) -> tuple[list[float], float]:
    """Return the positive parameters of most likelihood, searched on their logarithms."""
    import numpy as np
    from scipy.optimize import minimize

    def cost(logs: Array) -> float:
        return -log_likelihood(*(exp(one) for one in logs))

    # Quasi-Newton gets near from anywhere; the simplex then settles the last digits without a derivative.
    bounds = [(-12.0, 12.0)] * parameters
    near = minimize(cost, np.zeros(parameters), method="L-BFGS-B", bounds=bounds)
    settled = minimize(
        cost,
        near.x,
        method="Nelder-Mead",
        bounds=bounds,
        options={"xatol": 1e-8, "fatol": 1e-8, "maxiter": 5_000},
    )
    if not settled.success:
        raise NotFitted("no maximum was found")
    return [exp(one) for one in settled.x], -float(settled.fun)
