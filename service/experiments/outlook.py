"""What an experiment will be able to see: told at its start, from the shop's size and its baseline."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from service.experiments import outlook_store as store
from service.experiments.definitions import Plan
from service.experiments.rules import BUCKETS, HOLDOUT

ALPHA, POWER = 0.05, 0.8
SMALL_SHOP = 50_000
"""Below so many members a hold-out of 20 % is suggested."""
_SUGGESTED_BP = 2_000


def look_ahead(conn: Connection, *, plan: Plan, now: datetime) -> dict[str, Any]:
    """Return the smallest difference in repurchase that each tried arm could show, and from what.

    Everybody who is eligible today is taken as a member of the experiment, and the share of them with an
    order in the last window as what they do without it. Rates and differences are fractions.
    """
    from service.experiments.statistics.power import smallest_share_difference

    row = store.count_eligible(
        conn, eligibility=plan.eligibility, since=now - timedelta(days=plan.window_days), now=now
    )
    members, buyers = int(row.members), int(row.buyers)
    share = buyers / members if members else 0.0
    baseline = plan.arms[0]
    arms = {}
    for arm in plan.arms[1:]:
        found = smallest_share_difference(
            share=share,
            tried=members * arm.weight_bp // BUCKETS,
            baseline=members * baseline.weight_bp // BUCKETS,
            level=ALPHA / (len(plan.arms) - 1),
            power=POWER,
        )
        arms[arm.arm] = {
            "smallest_difference": None if found is None else round(found, 6),
            "relative": None if found is None or not share else round(found / share, 6),
        }
    return {
        "members": members,
        "repurchase_rate": round(share, 6),
        "window_days": plan.window_days,
        "alpha": ALPHA,
        "power": POWER,
        "arms": arms,
        "suggestion": _suggest(plan, members),
    }


def _suggest(plan: Plan, members: int) -> Mapping[str, str] | None:
    """Return advice where the hold-out is smaller than a small shop needs."""
    first = plan.arms[0]
    if first.arm != HOLDOUT or members >= SMALL_SHOP or first.weight_bp >= _SUGGESTED_BP:
        return None
    return {
        "en": f"Below {SMALL_SHOP:,} members a hold-out of 20 % is suggested: it sees smaller effects.",
        "zh-Hant": f"會員少於 {SMALL_SHOP:,} 人時，建議保留組設為 20 %，較小的效果才看得出來。",
    }
