"""Benefits as data, and as answers show them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from service.tiers.benefits import KINDS, benefit_json, parse_benefits

TEXT = {"en": "A benefit", "zh-Hant": "權益"}
EVERY_KIND: list[dict[str, Any]] = [
    {"kind": "points_multiplier", "multiplier_bp": 12_500},
    {"kind": "free_shipping", "minimum_spend": "500"},
    {"kind": "percent_off", "percent_bp": 500, "applies_to": {"categories": ["tea", "cups"]}},
    {"kind": "early_access", "hours": 48},
    {"kind": "exclusive_skus", "skus": ["tea-gold", "cup-1"]},
    {"kind": "service_level", "level": "priority"},
    {"kind": "custom"},
]


def parse(*benefits: dict[str, Any]) -> Any:
    given = [{"text": TEXT, **benefit} for benefit in benefits]
    return parse_benefits(given, currency="TWD", pointer="/b")


def show(benefit: dict[str, Any], locale: str = "en") -> dict[str, object]:
    return benefit_json(parse(benefit)[0], currency="TWD", locale=locale)


def test_every_kind_is_read_and_shown_with_what_a_machine_needs() -> None:
    assert [benefit["kind"] for benefit in EVERY_KIND] == list(KINDS)
    shown = [benefit_json(one, currency="TWD", locale="en") for one in parse(*EVERY_KIND)]
    assert [{name: one[name] for name in one if name not in {"kind", "value", "text"}} for one in shown] == [
        {"multiplier_bp": 12_500},
        {"minimum_spend": "500.00"},
        {"percent_bp": 500, "applies_to": {"categories": ["tea", "cups"]}},
        {"hours": 48},
        {"skus": ["tea-gold", "cup-1"]},
        {"level": "priority"},
        {},
    ]
    assert [one["value"] for one in shown] == [12_500, None, None, None, None, None, None]
    assert {one["text"] for one in shown} == {"A benefit"}


def test_what_may_be_left_out_is_shown_as_null() -> None:
    assert show({"kind": "free_shipping"})["minimum_spend"] is None
    assert show({"kind": "percent_off", "percent_bp": 10_000})["applies_to"] is None
    assert show({"kind": "custom"}, "zh-Hant")["text"] == "權益"


def test_a_minimum_spend_is_exact_money_of_the_currency() -> None:
    assert parse({"kind": "free_shipping", "minimum_spend": Decimal("12.5")})[0].minimum_spend_minor == 1250
    (yen,) = parse_benefits(
        [{"kind": "free_shipping", "minimum_spend": 300, "text": TEXT}], currency="JPY", pointer=""
    )
    assert yen.minimum_spend_minor == 300


@pytest.mark.parametrize(
    ("benefit", "message"),
    [
        ({"kind": "yacht"}, "/b/0/kind: unknown kind of benefit; one of points_multiplier"),
        ({"kind": ["custom"]}, "/b/0/kind: unknown kind"),
        ({"kind": "points_multiplier"}, "/b/0/multiplier_bp: belongs to every points_multiplier"),
        ({"kind": "custom", "hours": 3}, "/b/0/hours: belongs to another kind than custom"),
        ({"kind": "custom", "colour": 3}, "/b/0/colour: there is no such field"),
        ({"kind": "points_multiplier", "multiplier_bp": True}, "/b/0/multiplier_bp: a whole number"),
        ({"kind": "free_shipping", "minimum_spend": "1.005"}, "/b/0/minimum_spend: more decimals"),
        ({"kind": "free_shipping", "minimum_spend": "-1"}, "/b/0/minimum_spend: an amount is never"),
        ({"kind": "free_shipping", "minimum_spend": None}, "/b/0/minimum_spend: an amount of money"),
        ({"kind": "percent_off", "percent_bp": 0}, "/b/0/percent_bp: a whole number from 1 to 10000"),
        (
            {"kind": "percent_off", "percent_bp": 1, "applies_to": {}},
            "/b/0/applies_to/categories: a field that is needed is missing",
        ),
        (
            {"kind": "percent_off", "percent_bp": 1, "applies_to": {"categories": []}},
            "/b/0/applies_to/categories: 1 to 50",
        ),
        ({"kind": "early_access", "hours": 0}, "/b/0/hours: a whole number"),
        ({"kind": "exclusive_skus", "skus": "tea"}, "/b/0/skus: a list"),
        ({"kind": "exclusive_skus", "skus": ["tea", "tea"]}, "/b/0/skus/1: 'tea' stands twice"),
        ({"kind": "exclusive_skus", "skus": ["tea", " "]}, "/b/0/skus/1: 1 to 128 visible"),
        ({"kind": "exclusive_skus", "skus": ["tea"] * 201}, "/b/0/skus: 1 to 200"),
        ({"kind": "service_level", "level": "VIP!"}, "/b/0/level: a small letter"),
        ({"kind": "custom", "text": {"en": "x"}}, "/b/0/text/zh-Hant: a field that is needed is missing"),
        ({"kind": "custom", "text": {"en": "", "zh-Hant": "x"}}, "/b/0/text/en: a text"),
    ],
)
def test_a_fault_in_a_benefit_is_named_with_its_pointer(benefit: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse(benefit)


def test_what_would_contradict_itself_stands_once_and_the_rest_may_repeat() -> None:
    for benefit in EVERY_KIND:
        if benefit["kind"] in ("points_multiplier", "free_shipping", "early_access", "service_level"):
            with pytest.raises(ValueError, match=f"/b: one {benefit['kind']} at most"):
                parse(benefit, benefit)
        else:
            assert len(parse(benefit, benefit)) == 2
    with pytest.raises(ValueError, match="/b: at most 20"):
        parse(*[{"kind": "custom"}] * 21)
