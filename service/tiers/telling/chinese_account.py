"""The account of a tier in Traditional Chinese: for its member, and for staff. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from service.tiers.conditions import MetricName, Metrics
from service.tiers.grounds.rules import Account, Counted, Leaving, Step
from service.tiers.rules import Tier
from service.tiers.telling import chinese
from service.tiers.telling.chinese_rules import day_text, tell_needs
from service.tiers.telling.numbers import money_text_zh, number_text

_DAY = timedelta(days=1)
_SHOWN = 3
_CAUSES = {
    "roll_off": "消費日離開計算期間或久未消費",
    "merge": "會員合併",
    "manual": "人工設定",
    "late_fact": "補登的資料",
    "import": "資料匯入",
}


def explain_to_member(account: Account) -> str:
    """Tell a member where they stand, and which purchases stop counting next."""
    told = chinese.explain(account.standing)
    leaving = next((leaving for leaving in account.leaving if leaving.net_minor > 0), None)
    if leaving is None:
        return told
    first, last = day_text(leaving.facts[0].day), day_text(leaving.facts[-1].day)
    days = first if first == last else f"{first}至 {last}"
    amount = money_text_zh(leaving.net_minor, currency=account.standing.currency)
    return f"{told}{day_text(leaving.on)}起，您在 {days}的消費（{amount}）將不再列入計算。"


def explain_to_staff(account: Account) -> str:
    """Tell staff which tier is held and why, what counts, what leaves, and what comes next."""
    sentences = [_tell_tier(account), _tell_reached(account), *_tell_reason(account), *_tell_counted(account)]
    sentences += [_tell_leaving(account, leaving) for leaving in account.leaving[:_SHOWN]]
    more = len(account.leaving) - _SHOWN
    if more > 0:
        sentences.append(f"之後另有 {more:,} 天會有消費離開計算期間。")
    return "".join([*sentences, *_tell_missing(account), *_tell_outlook(account.outlook)])


def _tell_tier(account: Account) -> str:
    standing = account.standing
    return (
        f"此會員自 {day_text(standing.since_day)}起為{_name(standing.tier)}"
        f"（依等級規則第 {account.rules.version:,} 版評定）。"
    )


def _tell_reached(account: Account) -> str:
    reached = account.reached
    change, day = reached.change, day_text(reached.on)
    if change.cause == "enrol":
        return f"會員資格自 {day}開始。"
    cause = _CAUSES.get(change.cause, "")
    if change.cause == "order":
        cause = f"訂單 {reached.order_id}"
    elif change.cause == "refund":
        order = f"訂單 {reached.order_id} 取消"
        cause = order if reached.refund_id is None else f"退款 {reached.refund_id}"
    elif change.cause == "rule_change":
        cause = f"等級規則第 {change.rules.version:,} 版生效"
    left = "" if reached.from_tier is None else f"由{_name(reached.from_tier)}"
    return f"於 {day}{left}異動至此等級，原因：{cause}。"


def _tell_reason(account: Account) -> list[str]:
    standing, name, override = account.standing, _name(account.standing.tier), account.override
    if override is not None:
        return [
            f"此等級由 {override.actor} 人工設定，保留至 {day_text(override.ends_on - _DAY)}"
            f"（原因：{override.reason}）；依消費計算的等級為{_name(standing.rated or standing.tier)}。"
        ]
    if account.reason == "base":
        return ["這是基本等級，沒有條件。"]
    if account.reason in ("enter", "keep"):
        part = "升等條件" if account.reason == "enter" else "續等條件"
        told = [f"目前符合{part}：{tell_needs(account.branch, currency=standing.currency)}。"]
        until = standing.stands_until
        if until is not None and until > standing.day:
            told.append(f"依期間規則，無論如何保留至 {day_text(until - _DAY)}。")
        return told
    if account.reason == "period" and standing.stands_until is not None:
        return [f"{name}保留至 {day_text(standing.stands_until - _DAY)}，屆時再依該期間的消費判定。"]
    lapse = standing.unqualified_since
    since = "目前不符合條件" if lapse is None else f"自 {day_text(lapse)}起不符合條件"
    if account.reason == "grace" and standing.falls_on is not None:
        return [f"{since}，寬限期至 {day_text(standing.falls_on - _DAY)}止。"]
    held = standing.protected_until
    return [f"{since}{'' if held is None else f'，最短維持期至 {day_text(held - _DAY)}止'}。"]


def _tell_counted(account: Account) -> list[str]:
    standing, metrics = account.standing, account.standing.metrics
    period = f"自 {day_text(standing.window_from)}起"
    if not account.counted:
        return [f"{period}沒有列入計算的訂單。"]
    orders = sum(fact.kind == "order" and fact.counts for fact in account.counted)
    what = f"列入計算的訂單有 {orders:,} 筆" if orders else "沒有列入計算的訂單"
    spent = money_text_zh(metrics.net_spend_minor, currency=standing.currency)
    told = [f"{period}{what}：消費總淨額 {spent}，實際消費天數 {metrics.active_days:,} 天。"]
    refunds, cancellations, taken = account.given_back()
    if refunds or cancellations:
        counts = [f"退款 {refunds:,} 筆"] if refunds else []
        counts += [f"取消 {cancellations:,} 筆"] if cancellations else []
        told.append(f"已扣除{'、'.join(counts)}，共 {money_text_zh(taken, currency=standing.currency)}。")
    return told


_METRICS: dict[MetricName, str] = {
    "net_spend": "消費總淨額",
    "active_days": "實際消費天數",
    "orders": "訂單數",
    "visit_interval_days": "消費回訪間隔",
}


def _tell_leaving(account: Account, leaving: Leaving) -> str:
    standing = account.standing
    told = f"{day_text(leaving.on)}起，{_tell_facts(leaving.facts)}離開計算期間"
    changes = [
        f"{_METRICS[name]}變為{_value(name, leaving.after, standing.currency)}" for name in leaving.changed()
    ]
    told += f"，{'、'.join(changes)}" if changes else ""
    if leaving.decides:
        told += f"，從這天起不符合{_name(standing.rated or standing.tier)}的條件"
    return f"{told}。"


def _value(name: MetricName, metrics: Metrics, currency: str) -> str:
    value = metrics.value_of(name)
    if value is None:
        return "無法計算"
    if name == "net_spend":
        return f" {money_text_zh(int(value), currency=currency)}"
    return f" {number_text(value)} {'筆' if name == 'orders' else '天'}"


def _tell_facts(facts: Sequence[Counted]) -> str:
    if len(facts) > _SHOWN:
        return f"{len(facts):,} 筆訂單與退款"
    return "、".join(
        f"{'訂單' if fact.kind == 'order' else '退款'} {fact.fact_id}（{day_text(fact.day)}）"
        for fact in facts
    )


def _tell_missing(account: Account) -> list[str]:
    standing, told = account.standing, []
    when, needs = ("目前", standing.to_stay) if standing.to_keep is None else ("屆時", standing.to_keep)
    unmet = [need for need in needs if not need.met]
    if unmet:
        rated = _name(standing.rated or standing.tier)
        told.append(f"維持{rated}還缺：{tell_needs(unmet, currency=standing.currency, when=when)}。")
    rise = standing.to_rise
    if rise is not None and rise.missing:
        enough = "今天一筆訂單就可能達成" if rise.one_order_is_enough else "單筆訂單無法達成"
        missing = tell_needs(rise.missing, currency=standing.currency)
        undone = tell_needs(rise.undone, currency=standing.currency, when="屆時")
        enough += f"，因為今天消費後將不符合：{undone}" if undone else ""
        told.append(f"升等為{_name(rise.tier)}還缺：{missing}；{enough}。")
    return told


def _tell_outlook(steps: Sequence[Step]) -> list[str]:
    if not steps:
        return ["若不再消費，等級不變。"]
    told = [
        f"{day_text(step.on)}起{_name(step.tier)}即將降等"
        if step.kind == "at_risk"
        else f"{day_text(step.on)}起為{_name(step.tier)}"
        for step in steps
    ]
    return [f"若不再消費：{'，'.join(told)}。"]


def _name(tier: Tier) -> str:
    return f"「{tier.names['zh-Hant']}」"
