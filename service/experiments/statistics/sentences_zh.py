"""The sentences of a verdict in Traditional Chinese. Pure."""

from __future__ import annotations

from service.experiments.statistics.noninferiority import NOT_SHOWN
from service.experiments.statistics.plan import Looks, Plan, Unit
from service.experiments.statistics.report import Estimate, GuardrailReport, Results
from service.experiments.statistics.wording import (
    ZH,
    Counts,
    list_guardrails,
    name_anchor,
    name_metric,
    name_total,
    show_change,
    show_level,
    show_percent,
    show_size,
    show_worth,
)


def tell_invalid() -> list[str]:
    """Say that nothing can be said, without a number."""
    return [
        "各組人數與設定的比例不符，且無法以偶然解釋。",
        "某一組的會員或曝光有遺漏或重複計算，各組已無法比較，因此不顯示任何結果。",
        "這並不表示效果好或壞：請找出原因後重新進行實驗。",
    ]


def tell_immature(plan: Plan, counts: Counts) -> list[str]:
    """Say that it is too early."""
    return [
        f"為時尚早：{plan.tried} 組有 {counts.tried:,} 位、{plan.baseline} 組有 {counts.baseline:,} 位會員的"
        f"觀察期已結束，各組至少需要 {plan.minimum_members:,} 位。",
        f"另有 {counts.tried_immature + counts.baseline_immature:,} 位仍在觀察期內。",
        "這尚未說明任何效果。",
    ]


def tell_insufficient(plan: Plan, counts: Counts, results: Results | None) -> list[str]:
    """Say that there are too few, and what so few can show."""
    return [
        f"會員人數不足：{plan.tried} 組 {counts.tried:,} 位、{plan.baseline} 組 {counts.baseline:,} 位，"
        f"各組至少需要 {plan.minimum_members:,} 位。",
        *([tell_smallest(results, plan)] if results else []),
        "這並不表示沒有效果。",
    ]


def tell_breach(guardrail: GuardrailReport, plan: Plan) -> str:
    """Say which guardrail is breached, by how much."""
    unit = guardrail.unit
    return (
        f"已逾越防護指標：{name_metric(guardrail.metric, ZH)}惡化了 "
        f"{show_size(guardrail.harm.value, unit, plan)}{_points(unit)}，"
        f"容許上限為 {show_size(guardrail.margin, unit, plan)}，"
        f"且不能排除達到 {show_size(guardrail.harm.high, unit, plan)}。"
        "無論其他結果如何，都不應擴大提供。"
    )


def tell_found(results: Results, decided: Estimate, plan: Plan) -> str:
    """Say what was found."""
    metric = results.primary
    tried, baseline, unit = metric.tried, metric.baseline, metric.unit
    return (
        f"自{name_anchor(plan.anchor, ZH)}起 {plan.window_days} 天內，"
        f"{plan.tried} 組 {tried.members:,} 位會員的{name_metric(metric.metric, ZH)}為 "
        f"{show_level(tried.mean, unit, plan)}，{plan.baseline} 組 {baseline.members:,} 位為 "
        f"{show_level(baseline.mean, unit, plan)}：相差 "
        f"{show_change(decided.value, unit, plan)}{_points(unit)}"
        f"（{show_percent(decided.confidence)} 信賴區間 {show_change(decided.low, unit, plan)} 至 "
        f"{show_change(decided.high, unit, plan)}）。"
    )


def tell_sure(decided: Estimate, plan: Plan) -> str:
    """Say how sure that is."""
    looked = "無論查看幾次" if plan.looks is Looks.ANY_TIME else "只在結束時查看一次"
    error = f"若毫無差異，{looked}，最多只有 {show_percent(1 - decided.confidence)} 的實驗會不含零。"
    if decided.low > 0:
        return f"整個區間都在零以上：{error}"
    if decided.high < 0:
        return f"整個區間都在零以下：{error}"
    return "區間包含零：這次實驗分不出各組高下，但也不能證明沒有效果。"


def tell_smallest(results: Results, plan: Plan) -> str:
    """Say what so many members can show."""
    smallest = results.smallest_detectable
    if smallest is None:
        return "以這樣的人數，無法看出任何差異。"
    unit = plan.primary.unit.value
    return (
        f"以這樣的人數，{show_size(smallest.difference, unit, plan)}{_points(unit)}的差異有 "
        f"{show_percent(smallest.power)} 的機會被發現；小得多的差異多半看不出來。"
    )


def tell_worth(results: Results, plan: Plan) -> list[str]:
    """Say what it is worth a year, nothing where that is not money."""
    worth = results.worth_a_year
    if worth is None:
        return []
    amount, low, high = show_worth(worth, plan)
    return [
        f"若提供給 {worth.members:,} 位會員並持續一整年，{name_total(worth.metric, ZH)}每年約變動 {amount}"
        f"（介於 {low} 與 {high} 之間）。"
    ]


def tell_unshown(results: Results) -> list[str]:
    """Say which guardrails are open."""
    names = [name_metric(one.metric, ZH) for one in list_guardrails(results, NOT_SHOWN)]
    return [f"尚未證明無害的指標：{'、'.join(names)}。"] if names else []


def tell_limits(plan: Plan) -> str:
    """Say what it does not say."""
    return f"這並不表示效果會持續超過 {plan.window_days} 天、對每位會員都相同，也未說明原因。"


def _points(unit: str) -> str:
    return " 個百分點" if unit == Unit.SHARE else ""
