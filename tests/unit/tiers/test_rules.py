"""Rule sets as data."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from service.kit.money import EXPONENTS
from service.tiers.conditions import Metrics, holds
from service.tiers.defaults import default_ruleset
from service.tiers.periods import RollingWindow
from service.tiers.rules import parse_ruleset

ENOUGH = Metrics(
    active_days=20,
    span_days=200,
    days_since_last_visit=1,
    net_spend_minor=10**12,
    orders=20,
    member_days=None,
)


def test_the_default_ladder_has_four_tiers_with_growing_multipliers() -> None:
    rules = parse_ruleset(default_ruleset(currency="TWD"), version=1)
    assert [tier.code for tier in rules.tiers] == ["member", "silver", "gold", "platinum"]
    assert [tier.multiplier_bp for tier in rules.tiers] == [10_000, 11_000, 12_500, 15_000]
    assert [tier.names["zh-Hant"] for tier in rules.tiers] == ["一般會員", "銀卡會員", "金卡會員", "白金會員"]
    assert rules.window == RollingWindow(365)
    assert (rules.downgrade.grace_days, rules.downgrade.min_hold_days) == (30, 90)
    assert rules.qualified_rank(ENOUGH) == 3
    assert rules.rank_of("gold") == 2
    with pytest.raises(KeyError):
        rules.rank_of("diamond")


@pytest.mark.parametrize("currency", sorted(EXPONENTS))
def test_there_are_default_thresholds_for_every_currency(currency: str) -> None:
    rules = parse_ruleset(default_ruleset(currency=currency), version=1)
    assert rules.currency == currency
    assert rules.qualified_rank(ENOUGH) == 3


@pytest.mark.parametrize(
    ("currency", "silver", "gold", "platinum"),
    [
        ("TWD", 300_000, 1_200_000, 3_600_000),
        ("GBP", 10_000, 40_000, 120_000),
        ("USD", 10_000, 40_000, 120_000),
        ("EUR", 10_000, 40_000, 120_000),
        ("JPY", 12_000, 48_000, 144_000),
    ],
)
def test_the_documented_spend_is_what_each_default_tier_takes(
    currency: str, silver: int, gold: int, platinum: int
) -> None:
    rules = parse_ruleset(default_ruleset(currency=currency), version=1)
    for rank, minor in ((1, silver), (2, gold), (3, platinum)):
        assert rules.qualified_rank(ENOUGH._replace(net_spend_minor=minor)) == rank
        assert rules.qualified_rank(ENOUGH._replace(net_spend_minor=minor - 1)) == rank - 1


def test_whoever_enters_a_default_tier_also_keeps_it() -> None:
    rules = parse_ruleset(default_ruleset(currency="TWD"), version=1)
    for tier in rules.tiers[1:]:
        assert tier.enter is not None
        assert tier.keep is not None
        for active in range(1, 12):
            for span in (0, 40, 100, 200, 364):
                for since in (0, 60, 61, 90, 91, 120, 121):
                    for net in (0, 225_000, 300_000, 900_000, 1_200_000, 2_700_000, 3_600_000):
                        metrics = Metrics(active, span, since, net, active, None)
                        assert not holds(tier.enter, metrics) or holds(tier.keep, metrics)


def _broken(path: list[Any], value: object) -> dict[str, Any]:
    data: dict[str, Any] = copy.deepcopy(default_ruleset(currency="TWD"))
    place: Any = data
    for step in path[:-1]:
        place = place[step]
    if value is None:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return data


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["currency"], None, "/currency: a field that is needed is missing"),
        (["currency"], "XYZ", "ISO 4217"),
        (["colour"], "blue", "/colour: there is no such field"),
        (["window", "kind"], "lunar_month", "/window/kind: unknown kind"),
        (["window", "days"], 0, "/window/days: a whole number from 1 to 731"),
        (["window", "days"], "365", "/window/days"),
        (["tiers"], [], "/tiers: a list of 1 to 12"),
        (["tiers", 1, "code"], "member", "/tiers/1/code: 'member' stands twice"),
        (["tiers", 1, "code"], "Silver Tier", "/tiers/1/code: a small letter"),
        (["tiers", 1, "enter"], None, "/tiers/1/enter: a field that is needed is missing"),
        (["tiers", 1, "enter", "all", 0, "metric"], "luck", "/tiers/1/enter/all/0/metric: unknown metric"),
        (
            ["tiers", 0, "enter"],
            {"metric": "orders", "op": ">=", "value": 1},
            "/tiers/0/enter: the lowest tier asks for nothing",
        ),
        (["tiers", 1, "names", "en"], "", "/tiers/1/names/en: a text"),
        (["tiers", 1, "names", "zh-Hant"], None, "/tiers/1/names/zh-Hant: a field that is needed is missing"),
        (
            ["tiers", 1, "benefits", 0, "multiplier_bp"],
            -1,
            "/tiers/1/benefits/0/multiplier_bp: a whole number",
        ),
        (["tiers", 1, "benefits", 0, "multiplier_bp"], None, "/tiers/1/benefits/0/multiplier_bp: belongs"),
        (["tiers", 1, "benefits", 0, "kind"], "yacht", "/tiers/1/benefits/0/kind"),
        (["tiers", 1, "benefits"], "free shipping", "/tiers/1/benefits: a list"),
        (["downgrade", "policy"], "instantly", "/downgrade/policy: one_step or to_qualified"),
        (["downgrade", "grace_days"], True, "/downgrade/grace_days: a whole number"),
    ],
)
def test_a_fault_in_a_rule_set_is_named_with_its_pointer(
    path: list[Any], value: object, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        parse_ruleset(_broken(path, value), version=1)


def test_thirteen_tiers_are_too_many() -> None:
    data: dict[str, Any] = default_ruleset(currency="TWD")
    data["tiers"] += [data["tiers"][1] | {"code": f"more{n}"} for n in range(9)]
    with pytest.raises(ValueError, match="1 to 12"):
        parse_ruleset(data, version=1)


def test_two_multipliers_in_one_tier_are_refused() -> None:
    data: dict[str, Any] = default_ruleset(currency="TWD")
    data["tiers"][1]["benefits"] *= 2
    with pytest.raises(ValueError, match="one points_multiplier at most"):
        parse_ruleset(data, version=1)
