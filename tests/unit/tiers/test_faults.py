"""What keeps a definition from being read: every fault at once, named, at its place."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from service.kit.findings import Fault
from service.tiers.defaults import default_ruleset
from service.tiers.publishing.faults import read_definition
from tests.unit.tiers.histories import leaf


def faults_of(definition: Any) -> list[Fault]:
    rules, faults = read_definition(definition, version=2, currency="TWD")
    assert (rules is None) == bool(faults)
    for fault in faults:
        assert fault.text["en"] != fault.text["zh-Hant"]
    return faults


def changed(path: list[Any], value: object) -> Any:
    definition: Any = copy.deepcopy(default_ruleset(currency="TWD"))
    place = definition
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return definition


def nested(levels: int) -> dict[str, Any]:
    condition: dict[str, Any] = leaf("orders", ">=", 1)
    for level in range(levels):
        condition = {"all": [condition]} if level % 2 else {"at_least": {"k": 1, "of": [condition]}}
    return condition


def test_what_can_be_read_has_no_faults() -> None:
    assert faults_of(default_ruleset(currency="TWD")) == []
    assert faults_of(changed(["tiers", 1, "enter"], nested(3))) == []


def test_an_unknown_metric_is_named_with_the_one_that_may_be_meant() -> None:
    (fault,) = faults_of(changed(["tiers", 1, "enter", "all", 0, "metric"], "net_spent"))
    assert (fault.name, fault.pointer) == ("unknown-metric", "/tiers/1/enter/all/0/metric")
    assert "Is net_spend meant?" in fault.text["en"]
    assert "您是指 net_spend 嗎" in fault.text["zh-Hant"]
    (fault,) = faults_of(changed(["tiers", 1, "keep"], leaf("zodiac", ">=", 3)))
    assert "meant" not in fault.text["en"]


def test_thirteen_tiers_are_too_many_and_told_as_such() -> None:
    definition: Any = default_ruleset(currency="TWD")
    definition["tiers"] += [definition["tiers"][1] | {"code": f"more{n}"} for n in range(9)]
    (fault,) = faults_of(definition)
    assert (fault.name, fault.pointer) == ("too-many-tiers", "/tiers")
    assert "13" in fault.text["en"]
    assert "12" in fault.text["zh-Hant"]


def test_four_nested_levels_are_one_too_many() -> None:
    (fault,) = faults_of(changed(["tiers", 2, "enter"], nested(4)))
    assert fault.name == "nested-too-deep"
    assert fault.pointer == "/tiers/2/enter/all/0/at_least/of/0/all/0"


def test_a_missing_locale_is_named_in_names_and_in_benefits() -> None:
    definition = changed(["tiers", 1, "names"], {"en": "Silver"})
    definition["tiers"][2]["benefits"][0]["text"] = {"en": "", "zh-Hant": "點數"}
    assert [(fault.name, fault.pointer) for fault in faults_of(definition)] == [
        ("missing-locale", "/tiers/1/names/zh-Hant"),
        ("missing-locale", "/tiers/2/benefits/0/text/en"),
    ]


def test_several_faults_are_told_at_once() -> None:
    definition = changed(["tiers", 1, "enter"], {"any": [leaf("luck", ">=", 1), nested(3)]})
    definition["tiers"][3]["names"] = {"zh-Hant": "白金"}
    definition["currency"] = "JPY"
    assert {fault.name for fault in faults_of(definition)} == {
        "another-currency",
        "unknown-metric",
        "nested-too-deep",
        "missing-locale",
    }


def test_what_cannot_be_read_is_told_of_every_part_at_once() -> None:
    definition = changed(["window"], {"kind": "rolling", "days": 0})
    definition["downgrade"]["policy"] = "never"
    definition["tiers"][0]["enter"] = leaf("orders", ">=", 1)
    definition["tiers"][1]["enter"] = leaf("orders", "=>", 1)
    definition["tiers"][1]["keep"] = leaf("net_spend", ">=", "-5")
    definition["tiers"][2]["code"] = "Gold!"
    definition["tiers"][2]["benefits"] = [{"kind": "hugs", "text": {"en": "Hugs", "zh-Hant": "擁抱"}}]
    del definition["tiers"][3]["enter"]
    definition["colour"] = "red"
    faults = {fault.pointer: fault.text["en"] for fault in faults_of(definition)}
    assert set(faults) == {
        "/colour",
        "/window/days",
        "/downgrade/policy",
        "/tiers/0/enter",
        "/tiers/1/enter/op",
        "/tiers/1/keep/value",
        "/tiers/2/code",
        "/tiers/2/benefits/0/kind",
        "/tiers/3/enter",
    }
    assert faults["/colour"] == "This cannot be read: there is no such field."
    assert faults["/tiers/3/enter"] == "This cannot be read: a field that is needed is missing."


def test_a_condition_of_more_than_sixty_comparisons_is_too_much_to_understand() -> None:
    wide = {"any": [{"all": [leaf("orders", ">=", n) for n in range(31)]} for _ in range(2)]}
    (fault,) = faults_of(changed(["tiers", 1, "enter"], wide))
    assert (fault.name, fault.pointer) == ("too-many-comparisons", "/tiers/1/enter")


@pytest.mark.parametrize(
    ("definition", "pointer"),
    [
        ({}, "/currency"),
        (changed(["currency"], "XXX"), "/currency"),
        (changed(["currency"], 7), "/currency"),
        (changed(["tiers"], "many"), "/tiers"),
        (changed(["tiers", 1], "silver"), "/tiers/1"),
        (changed(["tiers", 1, "enter"], []), "/tiers/1/enter"),
        (changed(["tiers", 1, "enter"], {"all": 3}), "/tiers/1/enter/all"),
        (changed(["tiers", 1, "enter"], {"at_least": {"of": [3]}}), "/tiers/1/enter/at_least"),
        (changed(["tiers", 1, "enter", "all", 0, "op"], "=="), "/tiers/1/enter/all/0/op"),
        (changed(["tiers", 1, "benefits"], [3]), "/tiers/1/benefits/0"),
        (changed(["window"], {"kind": "rolling"}), "/window/days"),
        (changed(["down/grade~"], 1), "/down~1grade~0"),
        (changed(["downgrade", "policy"], None), "/downgrade/policy"),
    ],
)
def test_whatever_else_is_wrong_has_its_place(definition: Any, pointer: str) -> None:
    assert pointer in [fault.pointer for fault in faults_of(definition)]
