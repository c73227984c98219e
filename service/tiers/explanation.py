"""Sentences about a standing, in English and Traditional Chinese, made from rule and numbers. Pure."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from fractions import Fraction

from service.kit.money import to_text
from service.tiers.conditions import Compare
from service.tiers.needs import Need
from service.tiers.standing import Standing, two_decimals

_SYMBOLS = {"TWD": "NT$", "GBP": "£", "USD": "US$", "EUR": "€", "JPY": "¥", "HKD": "HK$"}
_MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)


def explain(standing: Standing, *, locale: str) -> str:
    """Tell a member where they stand and why, what keeps the tier, and what is missing for the next."""
    return _explain_zh(standing) if locale == "zh-Hant" else _explain_en(standing)


def money_text(minor: int, *, currency: str) -> str:
    """Return an amount for a reader: grouped, without decimals that are all zero."""
    whole, _, decimals = to_text(abs(minor), currency=currency).partition(".")
    amount = f"{int(whole):,}" + (f".{decimals}" if int(decimals or "0") else "")
    sign = "-" if minor < 0 else ""
    symbol = _SYMBOLS.get(currency)
    return f"{sign}{symbol}{amount}" if symbol else f"{currency} {sign}{amount}"


def number_text(value: Fraction | int) -> str:
    """Return a number rounded to two decimals, without zeros at its end."""
    text = two_decimals(Fraction(value))
    return text.rstrip("0").rstrip(".")


def _explain_en(standing: Standing) -> str:
    name = standing.tier.names["en"]
    sentences = [f"Your tier is {name}, since {_day_en(standing.since_day)}.", _activity_en(standing)]
    if standing.to_stay and standing.falls_on is None:
        sentences.append(f"That is enough to stay {name}.")
        if standing.next_review_on is not None:
            sentences.append(f"It is looked at again on {_day_en(standing.next_review_on)} at the latest.")
    elif standing.falls_on is not None:
        unmet = [_need_en(need, standing) for need in standing.to_stay if not need.met]
        sentences.append(f"To stay {name} you need {_join_en(unmet)}.")
        sentences.append(f"Without that, your tier falls on {_day_en(standing.falls_on)}.")
    if standing.to_rise is not None and standing.to_rise.missing:
        rise = standing.to_rise
        missing = _join_en([_need_en(need, standing) for need in rise.missing])
        sentences.append(f"For {rise.tier.names['en']} you still need {missing}.")
        sentences.append(
            "One order today can be enough."
            if rise.one_order_is_enough
            else "One order alone cannot reach it."
        )
    return " ".join(sentences)


def _activity_en(standing: Standing) -> str:
    metrics = standing.metrics
    period = f"From {_day_en(standing.window_from)} to {_day_en(standing.window_to - timedelta(days=1))}"
    spent = money_text(metrics.net_spend_minor, currency=standing.currency)
    if metrics.days_since_last_visit is None:
        return f"{period} no purchase counts" + (
            f"; your spend is {spent}." if metrics.net_spend_minor else "."
        )
    interval = metrics.visit_interval()
    rhythm = "" if interval is None else f", {_count_en(interval, 'day')} apart on average"
    last = metrics.days_since_last_visit
    ago = "today" if last == 0 else f"{_count_en(last, 'day')} ago"
    return (
        f"{period} you shopped on {_count_en(metrics.active_days, 'day')}{rhythm}, "
        f"and spent {spent} in all; the last time was {ago}."
    )


def _need_en(need: Need, standing: Standing) -> str:
    leaf, currency = need.leaf, standing.currency
    phrases: dict[str, Callable[[str], str]] = {
        "net_spend": lambda amount: f"{amount} spent",
        "active_days": lambda amount: f"{amount} with a purchase",
        "orders": lambda amount: amount,
        "visit_interval_days": lambda amount: f"{amount} between visits on average",
        "days_since_last_visit": lambda amount: f"{amount} since your last purchase",
        "member_days": lambda amount: f"{amount} as a member",
    }
    if leaf.metric == "net_spend":
        amount = _range_en(leaf, lambda value: money_text(int(value), currency=currency), lambda value: "")
        have = money_text(int(need.have or 0), currency=currency)
    else:
        noun = "order" if leaf.metric == "orders" else "day"
        amount = _range_en(leaf, number_text, lambda value: f" {noun}" if value == 1 else f" {noun}s")
        have = "not known yet" if need.have is None else number_text(need.have)
    now = have if need.have is None else f"now {have}"
    return f"{phrases[leaf.metric](amount)} ({now})"


def _range_en(leaf: Compare, show: Callable[[Fraction], str], unit: Callable[[Fraction], str]) -> str:
    if leaf.upper is not None:
        return f"between {show(leaf.value)} and {show(leaf.upper)}{unit(leaf.upper)}"
    less = "less than" if leaf.metric == "net_spend" or leaf.value == 1 else "fewer than"
    words = {">=": "at least", "<=": "at most", ">": "more than", "<": less}
    return f"{words[leaf.op]} {show(leaf.value)}{unit(leaf.value)}"


def _count_en(value: Fraction | int, noun: str) -> str:
    return f"{number_text(value)} {noun}" + ("" if number_text(value) == "1" else "s")


def _join_en(parts: list[str]) -> str:
    return f"{', '.join(parts[:-1])} and {parts[-1]}" if len(parts) > 1 else "".join(parts)


def _day_en(day: date) -> str:
    return f"{day.day} {_MONTHS[day.month - 1]} {day.year}"


def _explain_zh(standing: Standing) -> str:
    name = standing.tier.names["zh-Hant"]
    sentences = [f"您目前的等級是{name}，自 {_day_zh(standing.since_day)}起。", _activity_zh(standing)]
    if standing.to_stay and standing.falls_on is None:
        sentences.append(f"這已足以維持{name}。")
        if standing.next_review_on is not None:
            sentences.append(f"最晚於 {_day_zh(standing.next_review_on)}再次檢視。")
    elif standing.falls_on is not None:
        unmet = "、".join(_need_zh(need, standing) for need in standing.to_stay if not need.met)
        sentences.append(f"要維持{name}，還需要：{unmet}。")
        sentences.append(f"若未達成，等級將於 {_day_zh(standing.falls_on)}調降。")
    if standing.to_rise is not None and standing.to_rise.missing:
        rise = standing.to_rise
        missing = "、".join(_need_zh(need, standing) for need in rise.missing)
        sentences.append(f"升上{rise.tier.names['zh-Hant']}還需要：{missing}。")
        sentences.append(
            "今天再一筆訂單就可能達成。" if rise.one_order_is_enough else "單靠一筆訂單還無法達成。"
        )
    return "".join(sentences)


def _activity_zh(standing: Standing) -> str:
    metrics = standing.metrics
    period = f"{_day_zh(standing.window_from)}至 {_day_zh(standing.window_to - timedelta(days=1))}期間"
    spent = money_text(metrics.net_spend_minor, currency=standing.currency)
    if metrics.days_since_last_visit is None:
        return f"{period}沒有計入的消費" + (f"，消費淨額為 {spent}。" if metrics.net_spend_minor else "。")
    interval = metrics.visit_interval()
    rhythm = "" if interval is None else f"，平均間隔 {number_text(interval)} 天"
    last = metrics.days_since_last_visit
    ago = "最近一次在今天" if last == 0 else f"最近一次在 {last} 天前"
    return f"{period}，您有 {metrics.active_days} 天消費{rhythm}，消費淨額共 {spent}；{ago}。"


def _need_zh(need: Need, standing: Standing) -> str:
    leaf, currency = need.leaf, standing.currency
    subject, unit = {
        "net_spend": ("消費淨額", ""),
        "active_days": ("消費天數", " 天"),
        "orders": ("訂單數", " 筆"),
        "visit_interval_days": ("平均回訪間隔", " 天"),
        "days_since_last_visit": ("距上次消費", " 天"),
        "member_days": ("入會天數", " 天"),
    }[leaf.metric]

    def show(value: Fraction | int) -> str:
        if leaf.metric == "net_spend":
            return money_text(int(value), currency=currency)
        return f"{number_text(value)}{unit}"

    if leaf.upper is not None:
        wanted = f"介於 {show(leaf.value)}至 {show(leaf.upper)}之間"
    else:
        words = {">=": "至少", "<=": "至多", ">": "超過", "<": "少於"}
        wanted = f"{words[leaf.op]} {show(leaf.value)}"
    have = "尚無資料" if need.have is None else f"目前 {show(need.have)}"
    return f"{subject}{wanted}（{have}）"


def _day_zh(day: date) -> str:
    return f"{day.year} 年 {day.month} 月 {day.day} 日"
