"""Rules, numbers and standings of every kind, to be put into words."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from functools import cache
from itertools import combinations_with_replacement, product
from typing import Any

from hypothesis import strategies as st

from service.kit.money import exponent_of
from service.tiers.conditions import METRICS, Metrics
from service.tiers.needs import needs_to_stay, rise_above
from service.tiers.periods import CalendarYear, MembershipYear, RollingWindow
from service.tiers.rules import RuleSet, parse_ruleset
from service.tiers.standing import Standing
from tests.unit.tiers.histories import leaf

TODAY = date(2025, 5, 26)
CURRENCIES = ("TWD", "JPY", "KWD", "USD", "EUR", "GBP", "HKD", "SEK")
NAMES = (
    {"en": "Member", "zh-Hant": "一般會員"},
    {"en": "Silver", "zh-Hant": "銀卡會員"},
    {"en": "Gold", "zh-Hant": "金卡會員"},
    {"en": "Platinum", "zh-Hant": "白金會員"},
)
COUNTS = (0, 1, 2, 3, 12, 90, 365, 1000, 36_525)
INTERVALS = ("0", "0.5", "1", "1.00", "1.5", "7", "7.25", "30", "33.3333333333", "1234.5")


@cache
def list_leaves(currency: str) -> tuple[dict[str, Any], ...]:
    """Return every metric with every operator and telling thresholds."""
    whole = ("0", "1", "300", "12000", "9999999999")
    decimals = exponent_of(currency)
    amounts = whole if decimals == 0 else (*whole, *(f"{amount}.{'5' * decimals}" for amount in whole))
    values: dict[str, Sequence[object]] = dict.fromkeys(METRICS, COUNTS)
    values |= {"visit_interval_days": INTERVALS, "net_spend": amounts}
    return tuple(
        leaf(metric, op, value)
        for metric, of_metric in values.items()
        for op, ends in (
            *product(("<=", ">=", "<", ">"), of_metric),
            *(("between", ends) for ends in combinations_with_replacement(sorted(of_metric, key=by_size), 2)),
        )
        for value in [list(ends) if isinstance(ends, tuple) else ends]
    )


def by_size(value: object) -> Fraction:
    """Sort thresholds that may be texts."""
    return Fraction(str(value))


@cache
def conditions(currency: str) -> st.SearchStrategy[dict[str, Any]]:
    """Draw a condition up to three deep."""
    tree = flat = st.sampled_from(list_leaves(currency))
    for _ in range(3):
        parts = st.lists(tree, min_size=1, max_size=3)
        tree = st.one_of(
            flat,
            parts.map(lambda of: {"all": of}),
            parts.map(lambda of: {"any": of}),
            parts.flatmap(lambda of: st.integers(1, len(of)).map(lambda k: {"at_least": {"k": k, "of": of}})),
        )
    return tree


@st.composite
def metrics(draw: st.DrawFn) -> Metrics:
    """Draw the numbers of a member: none, one, many, given back, huge."""
    days = draw(st.sampled_from([0, 0, 1, 1, 2, 3, 12, 365]))
    net = draw(st.sampled_from([-1_234_550, -5, 0, 1, 99, 100, 123_456, 1_200_000, 10**15]))
    span = 0 if days < 2 else days - 1 + draw(st.integers(0, 300))
    return Metrics(
        active_days=days,
        span_days=span,
        days_since_last_visit=draw(st.sampled_from([0, 1, 2, 89, 200])) if days else None,
        net_spend_minor=net,
        orders=draw(st.sampled_from([days, days, days * 2, 1000])) if days else 0,
        member_days=draw(st.sampled_from([None, 0, 1, 30, 5000])),
    )


@st.composite
def rulesets(draw: st.DrawFn, currency: str) -> RuleSet:
    """Draw a ladder of one to four tiers."""
    tiers: list[dict[str, Any]] = [{"code": "t0", "names": NAMES[0]}]
    for rank in range(1, draw(st.integers(1, 4))):
        tier = {"code": f"t{rank}", "names": NAMES[rank], "enter": draw(conditions(currency))}
        if draw(st.booleans()):
            tier["keep"] = draw(conditions(currency))
        tiers.append(tier)
    definition = {
        "currency": currency,
        "window": {"kind": "rolling", "days": 365},
        "tiers": tiers,
        "downgrade": {"policy": "one_step", "grace_days": 30, "min_hold_days": 90},
    }
    return parse_ruleset(definition, version=1)


def seen(rules: RuleSet, rank: int, metrics: Metrics, **fields: Any) -> Standing:
    """Return the standing of whoever has these numbers in a tier, seen on `TODAY`."""
    tier = rules.tiers[rank]
    rated = fields.get("rated") or tier
    shown: dict[str, Any] = {
        "currency": rules.currency,
        "ruleset_version": rules.version,
        "tier": tier,
        "since": datetime(2024, 1, 21, 4, tzinfo=UTC),
        "since_day": date(2024, 1, 21),
        "as_of": datetime(2025, 5, 26, 4, tzinfo=UTC),
        "day": TODAY,
        "window_from": TODAY - timedelta(days=364),
        "window_to": TODAY + timedelta(days=1),
        "metrics": metrics,
        "unqualified_since": None,
        "at_risk_since": None,
        "falls_on": None,
        "protected_until": None,
        "next_review_on": date(2025, 6, 30),
        "to_stay": needs_to_stay(rated, metrics),
        "to_rise": rise_above(rated, rules, metrics),
        "window": RollingWindow(365),
    }
    standing = Standing(**(shown | fields))
    judged, since = standing.stands_until, standing.judged_from
    if judged is None or since is None or not since <= TODAY < judged:
        return standing
    left = (judged - TODAY).days - 1
    closing = metrics._replace(
        days_since_last_visit=later(metrics.days_since_last_visit, left),
        member_days=later(metrics.member_days, left),
    )
    return standing._replace(to_keep=needs_to_stay(rated, closing))


def later(days: int | None, left: int) -> int | None:
    """Return what a number of days has grown to when some are gone."""
    return None if days is None else days + left


RISK: dict[str, Any] = {
    "unqualified_since": date(2025, 5, 21),
    "at_risk_since": date(2025, 5, 21),
    "falls_on": date(2025, 6, 20),
}
HOLD: dict[str, Any] = {
    "unqualified_since": date(2025, 5, 21),
    "protected_until": date(2025, 7, 21),
    "falls_on": date(2025, 8, 20),
}
HOLD_ALONE: dict[str, Any] = HOLD | {"falls_on": date(2025, 7, 21)}
YEAR: dict[str, Any] = {
    "window": CalendarYear(),
    "window_from": date(2025, 1, 1),
    "window_to": date(2026, 1, 1),
    "stands_until": date(2026, 1, 1),
    "judged_from": date(2025, 1, 1),
}
FIRST_YEAR: dict[str, Any] = YEAR | {"stands_until": date(2027, 1, 1), "judged_from": date(2026, 1, 1)}
LAPSED_YEAR: dict[str, Any] = YEAR | {
    "stands_until": date(2025, 1, 1),
    "judged_from": date(2024, 1, 1),
    "unqualified_since": date(2025, 1, 1),
    "at_risk_since": date(2025, 5, 1),
    "falls_on": date(2025, 6, 1),
}
MEMBERSHIP: dict[str, Any] = {
    "window": MembershipYear("joining"),
    "window_from": date(2025, 3, 9),
    "window_to": date(2026, 3, 9),
    "stands_until": date(2026, 3, 9),
    "judged_from": date(2025, 3, 9),
}
ANCHORED: dict[str, Any] = MEMBERSHIP | {"window": MembershipYear("tier")}
PINNED: dict[str, Any] = {"pinned_until": date(2025, 7, 1)}
NEVER_AGAIN: dict[str, Any] = {"next_review_on": None}
ONE_DAY: dict[str, Any] = {"window": RollingWindow(1), "window_from": TODAY}
STATES: tuple[dict[str, Any], ...] = (
    {}, RISK, HOLD, HOLD_ALONE, YEAR, FIRST_YEAR, LAPSED_YEAR, MEMBERSHIP, ANCHORED, PINNED, NEVER_AGAIN,
    ONE_DAY,
)  # fmt: skip


@st.composite
def standings(draw: st.DrawFn) -> tuple[RuleSet, Standing]:
    """Draw a rule set and the standing of somebody under it."""
    rules = draw(st.sampled_from(CURRENCIES).flatmap(rulesets))
    rank = draw(st.integers(0, len(rules.tiers) - 1))
    state = draw(st.sampled_from(STATES))
    if state is PINNED:
        state = state | {"rated": draw(st.sampled_from(rules.tiers))}
    elif rank == 0:
        state = draw(st.sampled_from([{}, NEVER_AGAIN, ONE_DAY]))
    return rules, seen(rules, rank, draw(metrics()), **state)
