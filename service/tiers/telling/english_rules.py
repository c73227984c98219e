"""Conditions and needs in English. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import date
from fractions import Fraction
from functools import lru_cache

from service.tiers.conditions import AllOf, AtLeast, Compare, Condition
from service.tiers.needs import Need
from service.tiers.telling.numbers import exact_text, money_text, number_text, text_beside
from service.tiers.telling.shape import ends_of, lacks, simplify

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
_OPERATORS = {">=": "at least", "<=": "at most", ">": "more than", "<": "less than"}


def describe_condition(condition: Condition, *, currency: str) -> str:
    """Return a condition as a noun phrase, such as "net spend of at least NT$300 and at least 2 orders"."""
    plain = simplify(condition)
    if not isinstance(plain, AllOf):
        return _describe(plain, currency)
    single = [part for part in plain.of if isinstance(part, Compare)]
    groups = [part for part in plain.of if not isinstance(part, Compare)]
    words = [join([describe_leaf(leaf, currency=currency) for leaf in single])] if single else []
    return ", and ".join([*words, *(_describe(group, currency) for group in groups)])


def _describe(condition: Condition, currency: str) -> str:
    if isinstance(condition, Compare):
        return describe_leaf(condition, currency=currency)
    parts = [
        _describe(part, currency) if isinstance(part, Compare) else f"({_describe(part, currency)})"
        for part in condition.of
    ]
    if isinstance(condition, AtLeast):
        return f"at least {condition.k} of these {len(parts)}: {join(parts)}"
    return join(parts) if isinstance(condition, AllOf) else f"either {join(parts, 'or')}"


def describe_leaf(leaf: Compare, *, currency: str, spend: str = "net spend") -> str:
    """Return one comparison as a noun phrase."""
    key = "en", currency, spend
    told: str | None = leaf.notes.get(key)
    if told is None:
        told = leaf.notes[key] = _describe_leaf(leaf, currency, spend)
    return told


def _describe_leaf(leaf: Compare, currency: str, spend: str) -> str:
    if leaf.metric == "net_spend":
        amounts = _range(leaf, lambda value: money_text(int(value), currency=currency))
        return f"{spend} {amounts}" if amounts.startswith("between") else f"{spend} of {amounts}"
    if leaf.metric == "visit_interval_days":
        return f"visits {_days(leaf)} apart on average"
    if leaf.metric == "days_since_last_visit":
        today = ends_of(leaf) in ((0, 0), (None, 0))
        return "a purchase on the day itself" if today else f"a last purchase {_days(leaf)} ago"
    if leaf.metric == "member_days":
        return f"{_days(leaf)} as a member"
    if leaf.metric == "active_days":
        return _count(leaf, "day", " with a purchase")
    return _count(leaf, "order", "")


def _count(leaf: Compare, noun: str, rest: str) -> str:
    low, high = ends_of(leaf)
    if high is not None and high <= 0:
        return f"no {noun}{rest}"
    if leaf.op == ">" and low == 1:
        return f"at least 1 {noun}{rest}"
    return f"{_range(leaf, exact_text, fewer='fewer than')} {_plural(_last_of(leaf), noun)}{rest}"


def _days(leaf: Compare) -> str:
    return f"{_range(leaf, exact_text)} {_plural(_last_of(leaf), 'day')}"


def _last_of(leaf: Compare) -> Fraction:
    return leaf.value if leaf.upper is None else leaf.upper


def _range(leaf: Compare, show: Callable[[Fraction], str], *, fewer: str = "less than") -> str:
    if leaf.upper is None:
        return f"{fewer if leaf.op == '<' else _OPERATORS[leaf.op]} {show(leaf.value)}"
    if leaf.upper == leaf.value:
        return f"exactly {show(leaf.value)}"
    return f"between {show(leaf.value)} and {show(leaf.upper)}"


def tell_needs(
    needs: Iterable[Need], *, currency: str, spend: str = "a total spend", when: str = "now"
) -> str:
    """Return several needs, each beside what the member has, now or then."""
    return join(
        [
            f"{describe_leaf(need.leaf, currency=currency, spend=spend)} ({_have(need, currency, when)})"
            for need in needs
        ]
    )


def _have(need: Need, currency: str, when: str) -> str:
    leaf, have, _ = need
    if have is None:
        return _UNKNOWN.get(leaf.metric, "not known yet")
    if leaf.metric in ("visit_interval_days", "days_since_last_visit"):
        return f"{when} {with_noun(text_beside(have, leaf.value, leaf.upper), 'day')}"
    more = lacks(leaf, have)
    if leaf.metric == "net_spend":
        shown = money_text(int(have), currency=currency)
        to_go = "" if more is None else money_text(more, currency=currency)
    else:
        shown = number_text(have)
        to_go = "" if more is None else number_text(more)
    return f"{shown} so far, {to_go} to go" if to_go else f"{when} {shown}"


_UNKNOWN = {
    "visit_interval_days": "known after 2 days with a purchase",
    "days_since_last_visit": "no purchase counts yet",
}


def count_text(value: Fraction | int, noun: str) -> str:
    """Return a number with its noun: 1 day, 2 days, 0.5 days."""
    return with_noun(number_text(value), noun)


def with_noun(number: str, noun: str) -> str:
    """Return a number's text with its noun."""
    return f"{number} {noun}" if number == "1" else f"{number} {noun}s"


def _plural(value: Fraction, noun: str) -> str:
    return noun if value == 1 else f"{noun}s"


def join(parts: Sequence[str], word: str = "and") -> str:
    """Return a list as English writes it: a, b and c."""
    return f"{', '.join(parts[:-1])} {word} {parts[-1]}" if len(parts) > 1 else "".join(parts)


@lru_cache(maxsize=4_096)
def day_text(day: date) -> str:
    """Return a day such as 21 January 2024."""
    return f"{day.day} {_MONTHS[day.month - 1]} {day.year}"


def month_name(day: date) -> str:
    """Return the name of a day's month."""
    return _MONTHS[day.month - 1]
