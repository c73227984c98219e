"""Conditions and needs in Traditional Chinese, as it is used in Taiwan. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import date
from fractions import Fraction
from functools import lru_cache

from service.tiers.conditions import AllOf, AtLeast, Compare, Condition
from service.tiers.needs import Need
from service.tiers.telling.numbers import exact_text, money_text_zh, number_text, text_beside
from service.tiers.telling.shape import ends_of, lacks, simplify

_OPERATORS = {">=": "至少", "<=": "不超過", ">": "超過", "<": "少於"}
_SUBJECTS = {
    "visit_interval_days": "消費回訪間隔平均",
    "days_since_last_visit": "距上次消費",
    "member_days": "入會天數",
    "active_days": "實際消費天數",
    "orders": "訂單數",
}
_MEETING = re.compile(r"(?<=[A-Za-z0-9])(?=[\u4e00-\u9fff])|(?<=[\u4e00-\u9fff])(?=[A-Za-z0-9£€¥$-])")


def describe_condition(condition: Condition, *, currency: str) -> str:
    """Return a condition in words, such as 消費總淨額至少 300 元、訂單數至少 2 筆."""
    plain = simplify(condition)
    if not isinstance(plain, AllOf):
        return spaced(_describe(plain, currency))
    single = [part for part in plain.of if isinstance(part, Compare)]
    groups = [part for part in plain.of if not isinstance(part, Compare)]
    words = ["、".join(describe_leaf(leaf, currency=currency) for leaf in single)] if single else []
    words += [f"（{_describe(group, currency)}）" for group in groups]
    return spaced("，且".join(words))


def _describe(condition: Condition, currency: str) -> str:
    if isinstance(condition, Compare):
        return describe_leaf(condition, currency=currency)
    parts = [
        _describe(part, currency) if isinstance(part, Compare) else f"（{_describe(part, currency)}）"
        for part in condition.of
    ]
    if isinstance(condition, AllOf):
        return "且".join(parts)
    wanted = condition.k if isinstance(condition, AtLeast) else 1
    if len(parts) == 2 and wanted == 1:
        return "或".join(parts)
    return f"下列 {len(parts)} 項中至少符合 {wanted} 項：{'、'.join(parts)}"


def spaced(text: str) -> str:
    """Return a text with a space wherever Chinese meets a Latin letter or a digit."""
    return _MEETING.sub(" ", text)


def describe_leaf(leaf: Compare, *, currency: str) -> str:
    """Return one comparison in words, with spaces where they belong."""
    key = "zh-Hant", currency
    told: str | None = leaf.notes.get(key)
    if told is None:
        told = leaf.notes[key] = spaced(_describe_leaf(leaf, currency))
    return told


def _describe_leaf(leaf: Compare, currency: str) -> str:
    if leaf.metric in ("active_days", "orders"):
        return _describe_count(leaf)
    if leaf.metric == "net_spend":
        return f"消費總淨額{_range(leaf, lambda value: money_text_zh(int(value), currency=currency))}"
    if leaf.metric == "days_since_last_visit" and ends_of(leaf) in ((0, 0), (None, 0)):
        return "當天有消費"
    return f"{_SUBJECTS[leaf.metric]}{_range(leaf, _days)}"


def _describe_count(leaf: Compare) -> str:
    show = _orders if leaf.metric == "orders" else _days
    low, high = ends_of(leaf)
    if high is not None and high <= 0:
        return "沒有訂單" if leaf.metric == "orders" else "沒有消費日"
    if leaf.op == ">" and low == 1:
        return f"{_SUBJECTS[leaf.metric]}至少 {show(Fraction(1))}"
    return f"{_SUBJECTS[leaf.metric]}{_range(leaf, show)}"


def _days(value: Fraction) -> str:
    return f"{exact_text(value)} 天"


def _orders(value: Fraction) -> str:
    return f"{exact_text(value)} 筆"


def _range(leaf: Compare, show: Callable[[Fraction], str]) -> str:
    if leaf.upper is None:
        below = "未滿" if leaf.metric == "net_spend" and leaf.op == "<" else _OPERATORS[leaf.op]
        return f"{below} {show(leaf.value)}"
    if leaf.upper == leaf.value:
        return f"正好 {show(leaf.value)}"
    return f"介於 {show(leaf.value)}與 {show(leaf.upper)}之間"


def tell_needs(needs: Iterable[Need], *, currency: str, when: str = "目前") -> str:
    """Return several needs, each beside what the member has, now or then."""
    return "、".join(
        [f"{describe_leaf(need.leaf, currency=currency)}（{_have(need, currency, when)}）" for need in needs]
    )


def _have(need: Need, currency: str, when: str) -> str:
    leaf, have, _ = need
    if have is None:
        return _UNKNOWN.get(leaf.metric, "尚無資料")
    if leaf.metric in ("visit_interval_days", "days_since_last_visit"):
        return f"{when} {text_beside(have, leaf.value, leaf.upper)} 天"
    more = lacks(leaf, have)
    if leaf.metric == "net_spend":
        shown = money_text_zh(int(have), currency=currency)
        to_go = "" if more is None else money_text_zh(more, currency=currency)
    else:
        shown = count_text(have, leaf)
        to_go = "" if more is None else count_text(more, leaf)
    return f"目前 {shown}，還差 {to_go}" if to_go else f"{when} {shown}"


_UNKNOWN = {
    "visit_interval_days": "滿兩個消費日後才能計算",
    "days_since_last_visit": "尚無列入計算的消費",
}


def count_text(value: Fraction | int, leaf: Compare) -> str:
    """Return a count with its measure word."""
    return f"{number_text(value)} {'筆' if leaf.metric == 'orders' else '天'}"


@lru_cache(maxsize=4_096)
def day_text(day: date) -> str:
    """Return a day such as 2024 年 1 月 21 日."""
    return f"{day.year} 年 {day.month} 月 {day.day} 日"
