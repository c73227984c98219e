"""A standing told to its member, in Traditional Chinese. Pure."""

from __future__ import annotations

from datetime import date, timedelta

from service.tiers.needs import Need, Rise
from service.tiers.periods import CalendarYear, MembershipYear, RollingWindow
from service.tiers.standing import Standing
from service.tiers.telling.chinese_rules import day_text, describe_condition, tell_needs
from service.tiers.telling.numbers import money_text_zh, ratio_text

_DAY = timedelta(days=1)


def explain(standing: Standing) -> str:
    """Tell where a member stands and why, what keeps the tier, and what is missing for the next."""
    sentences = [f"您目前的會員等級是{_name(standing)}，自 {day_text(standing.since_day)}起生效。"]
    if standing.pinned_until:
        sentences += _tell_pin(standing)
    sentences.append(_tell_activity(standing))
    if standing.to_stay and not standing.pinned_until:
        sentences += _tell_stay(standing)
    if standing.to_rise and standing.to_rise.missing:
        sentences += _tell_rise(standing, standing.to_rise)
    return "".join(sentences)


def _name(standing: Standing) -> str:
    return f"「{standing.tier.names['zh-Hant']}」"


def _tell_pin(standing: Standing) -> list[str]:
    until = (standing.pinned_until or standing.day) - _DAY
    sentences = [f"此等級由專人設定，保留至 {day_text(until)}，之後再依您的消費決定。"]
    if standing.rated is not None and standing.rated.rank != standing.tier.rank:
        sentences.append(f"若只依消費計算，您目前的等級會是「{standing.rated.names['zh-Hant']}」。")
    return sentences


def _tell_activity(standing: Standing) -> str:
    metrics = standing.metrics
    period = _period(standing)
    spent = f"消費總淨額為 {money_text_zh(metrics.net_spend_minor, currency=standing.currency)}"
    if metrics.days_since_last_visit is None:
        return f"{period}沒有列入計算的消費" + (f"，{spent}。" if metrics.net_spend_minor else "。")
    gaps = metrics.active_days - 1
    rhythm = "" if gaps < 1 else f"（平均間隔 {ratio_text(metrics.span_days, gaps)} 天）"
    last = standing.day - timedelta(days=metrics.days_since_last_visit)
    return (
        f"{period}您共有 {metrics.active_days:,} 天消費{rhythm}，{spent}，最近一次消費是 {day_text(last)}。"
    )


def _period(standing: Standing) -> str:
    first, last = standing.window_from, standing.day
    if isinstance(standing.window, MembershipYear):
        return f"本會員年度（{day_text(first)}起）"
    if isinstance(standing.window, CalendarYear):
        return f"{first.year} 年截至 {last.month} 月 {last.day} 日，"
    return f"{day_text(last)}當天" if first == last else f"{day_text(first)}至 {day_text(last)}期間，"


def _tell_stay(standing: Standing) -> list[str]:
    unmet = [need for need in standing.to_stay if not need.met]
    if standing.falls_on is not None:
        return _tell_risk(standing, standing.falls_on, unmet)
    if standing.stands_until is not None:
        return _tell_judgement(standing, standing.stands_until)
    sentences = [f"目前已符合{_name(standing)}的續等條件。"]
    if standing.next_review_on is not None:
        sentences.append(f"下次檢視最晚在 {day_text(standing.next_review_on)}。")
    return sentences


def _tell_risk(standing: Standing, falls_on: date, unmet: list[Need]) -> list[str]:
    held, ends = standing.protected_until, day_text(falls_on - _DAY)
    if held is None:
        state = f"{_tell_lapse(standing)}，寬限期至 {ends}止。"
    else:
        state = f"{_tell_lapse(standing)}，但等級仍保留至 {day_text(held - _DAY)}"
        state += "。" if falls_on <= held else f"，之後的寬限期至 {ends}止。"
    needed = tell_needs(unmet, currency=standing.currency)
    return [
        state,
        *([f"若要維持等級，還需要：{needed}。"] if unmet else []),
        f"若未達成，將於 {day_text(falls_on)}降等。",
    ]


def _tell_lapse(standing: Standing) -> str:
    if standing.unqualified_since is None or isinstance(standing.window, RollingWindow | None):
        return f"您目前已不符合{_name(standing)}的續等條件"
    last = day_text(standing.unqualified_since - _DAY)
    return f"您在截至 {last}的期間未達{_name(standing)}的續等條件"


def _tell_judgement(standing: Standing, judged_on: date) -> list[str]:
    sentences = [f"{_name(standing)}資格保留至 {day_text(judged_on - _DAY)}。"]
    if standing.judged_from is not None and standing.judged_from > standing.day:
        condition = standing.tier.keep or standing.tier.enter
        if condition is not None:
            rule = describe_condition(condition, currency=standing.currency)
            sentences.append(f"若要在之後續等，自 {day_text(standing.judged_from)}起須符合：{rule}。")
    elif unmet := [need for need in standing.to_keep or () if not need.met]:
        needed = tell_needs(unmet, currency=standing.currency, when="屆時")
        sentences.append(f"若要在之後續等，到期前還需要：{needed}。")
    else:
        sentences.append("依目前的消費，到期後可以續等。")
    return sentences


def _tell_rise(standing: Standing, rise: Rise) -> list[str]:
    name, missing = f"「{rise.tier.names['zh-Hant']}」", tell_needs(rise.missing, currency=standing.currency)
    if standing.pinned_until:
        return [f"若要憑消費達到{name}，還需要：{missing}。"]
    sentences = [f"升等為{name}還需要：{missing}。"]
    if rise.one_order_is_enough:
        sentences.append("今天再消費一筆就可能達成。")
    elif any(need.leaf.metric != "member_days" for need in rise.missing):
        sentences.append(f"只靠一筆訂單還無法達成{tell_undone(rise, standing.currency)}。")
    return sentences


def tell_undone(rise: Rise, currency: str) -> str:
    """Return what an order today would undo, as the end of a sentence."""
    if not rise.undone:
        return ""
    return f"；今天消費後還需要：{tell_needs(rise.undone, currency=currency, when='屆時')}"
