"""What differs between two rule sets."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given

from service.tiers.defaults import default_ruleset
from service.tiers.publishing.diff import Change, Side, compare_rulesets
from service.tiers.rules import parse_ruleset
from tests.unit.tiers.histories import leaf
from tests.unit.tiers.test_findings import ladders

OLD: Any = default_ruleset(currency="TWD")


def side(definition: Any) -> Side:
    return Side(parse_ruleset(definition, version=1), definition)


def diff(new: Any, old: Any = OLD) -> list[Change]:
    return compare_rulesets(side(old), side(new))


def edited() -> Any:
    return copy.deepcopy(OLD)


def test_equal_rule_sets_do_not_differ_however_their_numbers_are_written() -> None:
    new = edited()
    new["tiers"][2]["enter"]["all"][0]["value"] = 12_000
    new["tiers"][1]["enter"] = {"all": list(reversed(new["tiers"][1]["enter"]["all"]))}
    new["tiers"][1]["keep"] = {"all": [{"all": new["tiers"][1]["keep"]["all"]}]}
    assert diff(new) == []


def test_a_changed_threshold_has_pointers_values_and_a_sentence() -> None:
    new = edited()
    new["tiers"][2]["enter"]["all"][2]["value"] = 45
    (change,) = diff(new)
    assert change == Change(
        what="threshold",
        tier="gold",
        from_pointer="/tiers/2/enter/all/2/value",
        to_pointer="/tiers/2/enter/all/2/value",
        before=60,
        after=45,
        text=change.text,
    )
    assert change.text["en"] == (
        "Gold, condition to enter: “visits at most 60 days apart on average” becomes "
        "“visits at most 45 days apart on average”."
    )
    assert "60 天" in change.text["zh-Hant"]
    assert "45 天" in change.text["zh-Hant"]


def test_pointers_lead_into_each_definition_where_a_condition_moved() -> None:
    new = edited()
    conditions = new["tiers"][2]["keep"]["all"]
    conditions[0]["value"] = "10000.00"
    conditions.reverse()
    (change,) = diff(new)
    assert (change.from_pointer, change.to_pointer) == (
        "/tiers/2/keep/all/0/value",
        "/tiers/2/keep/all/3/value",
    )
    assert (change.before, change.after) == ("9000.00", "10000.00")


def test_conditions_that_come_and_go_are_told_apart_from_those_that_change() -> None:
    new = edited()
    conditions = new["tiers"][2]["enter"]["all"]
    del conditions[3]
    conditions.append(leaf("orders", ">=", 6))
    conditions[1]["op"] = ">"
    assert [(change.what, change.from_pointer, change.to_pointer) for change in diff(new)] == [
        ("condition-changed", "/tiers/2/enter/all/1", "/tiers/2/enter/all/1"),
        ("condition-removed", "/tiers/2/enter/all/3", None),
        ("condition-added", None, "/tiers/2/enter/all/3"),
    ]


def test_a_condition_to_keep_that_comes_or_goes_is_told_with_what_keeps_the_tier_instead() -> None:
    new = edited()
    del new["tiers"][1]["keep"]
    (gone,) = diff(new)
    assert (gone.what, gone.from_pointer, gone.to_pointer) == ("condition-removed", "/tiers/1/keep", None)
    assert gone.text["en"].startswith("Silver no longer has a condition to keep of its own (“net spend of ")
    assert gone.text["en"].endswith("): it is kept by its condition to enter.")
    (come,) = diff(OLD, old=new)
    assert (come.what, come.from_pointer, come.to_pointer) == ("condition-added", None, "/tiers/1/keep")
    assert come.text["zh-Hant"].endswith("」；先前以升等條件續等。")


def test_a_condition_of_another_shape_is_told_whole() -> None:
    new = edited()
    new["tiers"][1]["enter"] = {"at_least": {"k": 1, "of": OLD["tiers"][1]["enter"]["all"]}}
    (change,) = diff(new)
    assert (change.what, change.to_pointer) == ("condition-changed", "/tiers/1/enter")
    assert "becomes" in change.text["en"]
    del new["tiers"][1]["keep"]
    assert [change.what for change in diff(new)] == ["condition-changed", "condition-removed"]


def test_tiers_are_followed_by_their_code() -> None:
    new = edited()
    new["tiers"][1]["names"] = {"en": "Pearl", "zh-Hant": "珍珠會員"}
    del new["tiers"][2]
    new["tiers"].append(
        {"code": "diamond", "names": {"en": "Diamond", "zh-Hant": "鑽石"}, "enter": leaf("orders", ">=", 99)}
    )
    assert [(change.what, change.tier) for change in diff(new)] == [
        ("tier-renamed", "silver"),
        ("tier-moved", "platinum"),
        ("tier-added", "diamond"),
        ("tier-removed", "gold"),
    ]
    renamed, *_, removed = diff(new)
    assert renamed.text == {"en": "Silver is now called Pearl.", "zh-Hant": "銀卡會員改名為珍珠會員。"}
    assert "highest tier below it" in removed.text["en"]


def test_benefits_that_come_go_or_change_are_told_with_their_texts() -> None:
    new = edited()
    free = {"kind": "free_shipping", "text": {"en": "Free shipping", "zh-Hant": "免運費"}}
    new["tiers"][1]["benefits"] = []
    new["tiers"][2]["benefits"][0]["multiplier_bp"] = 13_000
    new["tiers"][3]["benefits"].append(free)
    changes = diff(new)
    assert [(change.what, change.tier) for change in changes] == [
        ("benefit-removed", "silver"),
        ("benefit-changed", "gold"),
        ("benefit-added", "platinum"),
    ]
    assert "what it gives changes" in changes[1].text["en"]
    assert changes[2].text["zh-Hant"] == "白金會員新增權益「免運費」。"
    assert changes[2].after == free


def test_settings_are_told_in_words() -> None:
    new = edited()
    new["window"] = {"kind": "membership_year", "anchor": "joining"}
    new["downgrade"] = {"policy": "to_qualified", "grace_days": 1, "min_hold_days": 90}
    new["review_cadence"] = "monthly"
    assert {change.to_pointer: change.text["en"] for change in diff(new)} == {
        "/window": "The window: “the last 365 days” becomes “the membership year since joining”.",
        "/downgrade/policy": "How far members fall: “one tier at a time” becomes “to the tier they qualify "
        "for”.",
        "/downgrade/grace_days": "The grace before a fall: “30 days” becomes “1 day”.",
        "/downgrade/notice_days": "The reminder before a fall: “7 days” becomes “1 day”.",
        "/review_cadence": "How often falls are applied: “every day” becomes “on the first of each month”.",
    }


@given(ladders(), ladders())
def test_rule_sets_differ_just_when_something_is_told(one: Any, other: Any) -> None:
    assert diff(one, one) == []
    changes = diff(other, one)
    back = diff(one, other)
    assert bool(changes) == bool(back)
    for change in changes:
        assert change.from_pointer or change.to_pointer
        assert "{" not in change.text["en"] + change.text["zh-Hant"]
    values = [
        (side(definition).value_at(pointer), value)
        for change in changes
        for definition, pointer, value in (
            (one, change.from_pointer, change.before),
            (other, change.to_pointer, change.after),
        )
        if pointer is not None and change.what != "setting" and change.what != "tier-moved"
    ]
    assert all(found == told for found, told in values)
