"""Names and figures as people read them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from service.experiments.statistics.plan import Plan, Unit
from service.experiments.statistics.report import GuardrailReport, Results, Worth
from service.kit.money import exponent_of, to_text

EN, ZH = "en", "zh-Hant"

METRIC_NAMES: Mapping[str, Mapping[str, str]] = {
    "repurchase": {EN: "repurchase rate", ZH: "回購率"},
    "orders": {EN: "orders per member", ZH: "每位會員訂單數"},
    "net_spend": {EN: "net spend per member", ZH: "每位會員消費淨額"},
    "net_after_rewards": {
        EN: "net spend per member less the cost of rewards",
        ZH: "每位會員扣除獎勵成本後的消費淨額",
    },
    "reward_cost": {EN: "cost of rewards per member", ZH: "每位會員獎勵成本"},
    "returned_value": {EN: "returned value per member", ZH: "每位會員退貨金額"},
    "unsubscribed": {EN: "share of members who unsubscribed", ZH: "取消訂閱的會員比例"},
    "order_value": {EN: "net spend per order", ZH: "每筆訂單消費淨額"},
}
"""Metrics that have a name for people; others are called by their own."""

ANCHOR_NAMES: Mapping[str, Mapping[str, str]] = {
    "assigned_at": {EN: "being assigned", ZH: "分組之日"},
    "first_exposure": {EN: "the first exposure, shown or withheld,", ZH: "首次（應）曝光之日"},
}

ATTRIBUTED_LABEL: Mapping[str, str] = {
    EN: "Attributed, not caused: credit given by a rule to what happened after a click or a view. Most of it "
    "would have happened anyway; what was caused is the difference between the arms.",
    ZH: "歸因數字，並非因果：依規則把點擊或瀏覽之後發生的事記為功勞。"
    "其中多數本來就會發生；真正帶來的增量是各組之間的差異。",
}


@dataclass(frozen=True, slots=True)
class Counts:
    """How many were analysed in each arm, and how many of each are still within their window."""

    tried: int
    baseline: int
    tried_immature: int
    baseline_immature: int

    @property
    def fewest(self) -> int:
        """Return the members of the smaller arm."""
        return min(self.tried, self.baseline)

    @property
    def fewest_with_immature(self) -> int:
        """Return the members of the smaller arm once all windows have closed."""
        return min(self.tried + self.tried_immature, self.baseline + self.baseline_immature)


def list_guardrails(results: Results, status: str) -> list[GuardrailReport]:
    """Return the guardrails in a state."""
    return [one for one in results.guardrails if one.status == status]


def name_metric(metric: str, locale: str) -> str:
    """Return what people call a metric."""
    return METRIC_NAMES.get(metric, {}).get(locale, metric)


def name_anchor(anchor: str, locale: str) -> str:
    """Return what people call the moment from which a window runs."""
    return ANCHOR_NAMES.get(anchor, {}).get(locale, anchor)


def name_total(metric: str, locale: str) -> str:
    """Return what people call the sum of a metric over all members."""
    return name_metric(metric, locale).replace(" per member", "").removeprefix("每位會員")


def show_level(value: float | None, unit: str, plan: Plan) -> str:
    """Return where an arm stands: 21.40%, TWD 1,234.50."""
    if value is None:
        return "-"
    return f"{100 * value:.2f}%" if unit == Unit.SHARE else show_size(value, unit, plan)


def show_size(value: float, unit: str, plan: Plan) -> str:
    """Return the size of a difference; of shares in percentage points, without the words."""
    if unit == Unit.SHARE:
        return f"{100 * value:.2f}"
    return show_money(value, plan, sign="") if unit == Unit.MINOR else f"{value:.4g}"


def show_change(value: float, unit: str, plan: Plan) -> str:
    """Return a difference with its sign; adding zero turns the -0.0 of a rounded small one into 0.0."""
    if unit == Unit.SHARE:
        return f"{round(100 * value, 2) + 0.0:+.2f}"
    return show_money(value, plan) if unit == Unit.MINOR else f"{value:+.4g}"


def show_money(minor: float, plan: Plan, sign: str = "+") -> str:
    """Return minor units as money: TWD +1,234.50."""
    amount = Decimal(to_text(round(minor), currency=plan.currency))
    return f"{plan.currency} {amount:{sign},}"


def show_worth(worth: Worth, plan: Plan) -> tuple[str, str, str]:
    """Return amount, low and high in whole units, to three digits of the largest: TWD +5,250,000.

    More digits would look surer than the interval is.
    """
    bounds = (worth.amount_minor, worth.low_minor, worth.high_minor)
    unit: int = 10 ** exponent_of(plan.currency)
    largest = max(abs(bound) for bound in bounds) // unit
    step = unit * 10 ** max(0, len(str(largest)) - 3)
    amount, low, high = (f"{plan.currency} {round(bound / step) * step // unit:+,}" for bound in bounds)
    return amount, low, high


def show_percent(share: float) -> str:
    """Return a share as a percentage: 95%."""
    return f"{100 * share:.4g}%"
