"""Made-up shops whose true effect is known, and the sums that a database would return for them.

Active members both look more and buy more: whoever compares those who saw something with those who did not
measures activity, not effect. In both arms it is known who would have seen something (the would-be exposure).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.experiments.statistics.plan import ORDER_VALUE, UNSUBSCRIBED, Guardrail, Plan
from service.experiments.statistics.sums import ArmSums, Moments

Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]

TIERS = ("", "silver", "gold")
BASELINE, TRIED = "holdout", "treatment"


@dataclass(frozen=True)
class Shop:
    """One draw of a shop: arrays with one value a member."""

    treated: Flags
    would_see: Flags
    tier: Integers
    prior_orders: Integers
    repurchased: Flags
    orders: Integers
    net_minor: Integers
    unsubscribed: Flags
    lift: float
    """Points of repurchase that seeing it adds, as a share."""

    @property
    def saw(self) -> Flags:
        """Who really saw something: the treated among those who would."""
        return self.treated & self.would_see

    @property
    def lift_of_all(self) -> float:
        """The effect per assigned member: most of them never look."""
        return self.lift * float(self.would_see.mean())


def open_shop(
    seed: int, *, members: int = 20_000, holdout_bp: int = 1_000, lift: float = 0.03, rate: float = 0.2
) -> Shop:
    """Return a shop of `members` whose exposed members repurchase `lift` more often than they would."""
    chance = np.random.default_rng(seed)
    activity = chance.beta(2, 3, members)
    treated = chance.random(members) >= holdout_bp / 10_000
    would_see = chance.random(members) < 0.05 + 0.9 * activity
    prior_orders = chance.poisson(3 * activity)
    tier = np.minimum(prior_orders // 2, 2)
    share = rate * (0.2 + 2.0 * activity) + lift * (treated & would_see)
    repurchased = chance.random(members) < share
    orders = np.where(repurchased, 1 + chance.poisson(0.4, members), 0)
    basket = np.rint(chance.lognormal(11, 0.6, members)).astype(np.int64)
    unsubscribed = chance.random(members) < 0.02
    return Shop(
        treated, would_see, tier, prior_orders, repurchased, orders, orders * basket, unsubscribed, lift
    )


def add_up(shop: Shop, *, among: Flags | None = None) -> tuple[ArmSums, ...]:
    """Return the sums per arm and tier, of all members or of some."""
    counted = np.ones(len(shop.treated), dtype=bool) if among is None else among
    found = []
    for arm, side in ((BASELINE, ~shop.treated), (TRIED, shop.treated)):
        for number, tier in enumerate(TIERS):
            found.append(sum_members(shop, counted & side & (shop.tier == number), arm=arm, stratum=tier))
    return tuple(found)


def sum_members(shop: Shop, chosen: Flags, *, arm: str, stratum: str = "") -> ArmSums:
    """Return the sums of the chosen members under the name of an arm."""
    x = pick(shop.prior_orders, chosen)
    net, orders = pick(shop.net_minor, chosen), pick(shop.orders, chosen)
    return ArmSums(
        arm,
        stratum,
        {
            "repurchase": Moments.of(pick(shop.repurchased, chosen), x),
            "orders": Moments.of(orders, x),
            "net_spend": Moments.of(net, x),
            "order_value": Moments.of(net, orders),
            "unsubscribed": Moments.of(pick(shop.unsubscribed, chosen), x),
        },
    )


def pick(values: Integers | Flags, chosen: Flags) -> Sequence[int]:
    """Return the values of the chosen as Python integers, which do not overflow."""
    found: list[int] = values[chosen].astype(np.int64).tolist()
    return found


def make_plan(**changes: object) -> Plan:
    """Return the plan of a global hold-out of 10 %, or another."""
    given: dict[str, object] = {
        "experiment": "global-holdout-2026h2",
        "version": 1,
        "baseline": BASELINE,
        "tried": TRIED,
        "shares_bp": {BASELINE: 1_000, TRIED: 9_000},
        "window_days": 60,
        "currency": "TWD",
        "members_a_year": 20_000,
        "ratios": (ORDER_VALUE,),
        "guardrails": (Guardrail(UNSUBSCRIBED, margin=0.02),),
    }
    return Plan(**(given | changes))  # type: ignore[arg-type]
