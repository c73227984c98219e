"""What is found in a rule set, and that no member ever contradicts it."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from datetime import date
from itertools import combinations, product
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.activity.rules import DayTotals
from service.kit.findings import Finding
from service.kit.money import EXPONENTS
from service.tiers.conditions import Metrics, compile_condition, parse_condition
from service.tiers.defaults import default_ruleset
from service.tiers.publishing.boxes import Undecided, boxes_of, is_covered
from service.tiers.publishing.findings import look_through
from service.tiers.rules import parse_ruleset
from service.tiers.window import RunningWindow
from tests.conftest import SCALE
from tests.unit.tiers.histories import leaf

NAMES = {"en": "Tier", "zh-Hant": "等級"}


def ladder(*enters: dict[str, Any], keeps: dict[int, dict[str, Any]] | None = None, days: int = 365) -> Any:
    """Return a definition with a tier t1, t2, … for each condition to enter."""
    tiers: list[dict[str, Any]] = [{"code": "t0", "names": NAMES}]
    for rank, enter in enumerate(enters, start=1):
        names = {"en": f"Tier {rank}", "zh-Hant": f"第{rank}級"}
        tiers.append({"code": f"t{rank}", "names": names, "enter": enter})
        if keeps and rank in keeps:
            tiers[-1]["keep"] = keeps[rank]
    return {
        "currency": "TWD",
        "window": {"kind": "rolling", "days": days},
        "tiers": tiers,
        "downgrade": {"policy": "one_step", "grace_days": 0, "min_hold_days": 0},
    }


def find(definition: Any) -> list[Finding]:
    return look_through(parse_ruleset(definition, version=2), definition=definition)


def names_of(definition: Any) -> list[str]:
    return [finding.name for finding in find(definition)]


def spend(amount: int) -> dict[str, Any]:
    return leaf("net_spend", ">=", str(amount))


@pytest.mark.parametrize("currency", sorted(EXPONENTS))
def test_nothing_is_found_in_the_default_ladder_of_any_currency(currency: str) -> None:
    assert find(default_ruleset(currency=currency)) == []


@pytest.mark.parametrize(
    "enter",
    [
        {"all": [leaf("net_spend", ">=", "100"), leaf("net_spend", "<", "100")]},
        {"all": [leaf("active_days", "<=", 1), leaf("visit_interval_days", "<=", 30)]},
        {"all": [leaf("active_days", ">=", 5), leaf("orders", "<", 5)]},
        {"all": [leaf("active_days", ">=", 300), leaf("visit_interval_days", ">=", 2)]},
        {"all": [leaf("days_since_last_visit", ">=", 300), leaf("active_days", ">=", 70)]},
        {"at_least": {"k": 2, "of": [spend(5), leaf("net_spend", "<", "5")]}},
        {"any": [leaf("active_days", ">", 400), leaf("orders", "<", 0)]},
    ],
)
def test_a_condition_that_can_never_hold_makes_its_tier_unreachable(enter: dict[str, Any]) -> None:
    found = [finding for finding in find(ladder(enter)) if finding.name == "unreachable-tier"]
    assert [(finding.severity, finding.pointers) for finding in found] == [("error", ("/tiers/1/enter",))]
    assert "Nobody can ever reach Tier 1" in found[0].text["en"]
    assert "第1級" in found[0].text["zh-Hant"]


def test_a_tier_no_harder_than_the_one_below_it_is_named_with_both() -> None:
    for lower, higher in (
        (spend(500), spend(500)),
        (spend(500), spend(400)),
        ({"all": [spend(500), leaf("orders", ">=", 3)]}, {"any": [spend(500), leaf("orders", ">=", 9)]}),
        (leaf("active_days", ">=", 3), leaf("orders", ">=", 3)),
        (leaf("visit_interval_days", "<=", 30), leaf("orders", ">=", 2)),
        (leaf("days_since_last_visit", "<=", 5), leaf("active_days", ">=", 1)),
    ):
        found = [one for one in find(ladder(lower, higher)) if one.name == "easier-than-below"]
        assert [one.pointers for one in found] == [("/tiers/2/enter", "/tiers/1/enter")]
        assert found[0].severity == "error"


def test_a_harder_tier_is_not_taken_for_an_easier_one() -> None:
    for lower, higher in (
        (spend(500), spend(501)),
        (leaf("orders", ">=", 3), leaf("active_days", ">=", 3)),
        (leaf("orders", ">=", 2), leaf("visit_interval_days", "<=", 30)),
        (leaf("visit_interval_days", "<=", 30), leaf("visit_interval_days", "<", 30)),
    ):
        assert "easier-than-below" not in names_of(ladder(lower, higher))


def test_a_tier_that_everybody_has_leaves_nobody_in_the_lowest_one() -> None:
    many, few, always = leaf("orders", ">=", 5), leaf("orders", "<", 5), leaf("member_days", ">=", 0)
    (finding,) = [one for one in find(ladder(always, spend(5))) if one.severity == "error"]
    assert (finding.name, finding.pointers) == (
        "unreachable-tier",
        ("/tiers/0", "/tiers/1/enter", "/tiers/2/enter"),
    )
    # Not one of them alone, but both together.
    assert "/tiers/0" in [one.pointers[0] for one in find(ladder(many, {"all": [few, spend(0)]}, few))]
    assert "/tiers/0" not in [one.pointers[0] for one in find(ladder(many, {"all": [few, spend(1)]}))]


def test_a_tier_between_two_that_together_leave_it_nobody_is_unreachable() -> None:
    low = {"all": [spend(1), leaf("orders", ">=", 1)]}
    few = {"all": [spend(1), leaf("orders", "<=", 5)]}
    many = {"all": [spend(1), leaf("orders", ">", 5)]}
    (finding,) = [one for one in find(ladder(low, few, many)) if one.name == "unreachable-tier"]
    assert finding.pointers == ("/tiers/1/enter", "/tiers/2/enter", "/tiers/3/enter")
    assert "higher tier" in finding.text["en"]


def test_a_tier_that_a_higher_one_leaves_nobody_is_found_past_one_that_nobody_reaches() -> None:
    never = leaf("orders", "<", 0)
    found = {
        one.pointers for one in find(ladder(spend(5), never, spend(3))) if one.name == "unreachable-tier"
    }
    assert found == {("/tiers/1/enter", "/tiers/3/enter"), ("/tiers/2/enter",)}


def test_keeping_that_contradicts_entering_is_named() -> None:
    enter = {"all": [spend(300), leaf("orders", ">=", 2)]}
    never = {"all": [spend(300), leaf("net_spend", "<", "200")]}
    harder = {"all": [spend(400), leaf("orders", ">=", 2)]}
    assert names_of(ladder(enter, keeps={1: never})) == ["keep-never-holds"]
    assert names_of(ladder(enter, keeps={1: harder})) == ["keep-harder-than-enter"]
    assert names_of(ladder(enter, keeps={1: enter})) == []
    assert names_of(ladder(enter, keeps={1: spend(200)})) == []
    (finding,) = find(ladder(enter, keeps={1: spend(400)}))
    assert (finding.name, finding.severity) == ("keep-asks-for-more", "warning")
    assert "net spend" in finding.text["en"]


def test_keeping_and_entering_that_never_hold_together_are_named() -> None:
    enter, keep = spend(1000), leaf("net_spend", "<", "500")
    (finding,) = find(ladder(enter, keeps={1: keep}))
    assert (finding.name, finding.severity) == ("keep-contradicts-enter", "warning")
    assert finding.pointers == ("/tiers/1/keep", "/tiers/1/enter")
    # What most who enter do not meet, and some do, is no contradiction.
    assert find(ladder(enter, keeps={1: leaf("net_spend", "<=", "1000")})) == []
    # Metrics that bind each other contradict each other, too.
    apart, long_ago = leaf("visit_interval_days", ">=", "40"), leaf("days_since_last_visit", ">", 330)
    assert names_of(ladder(apart, keeps={1: long_ago})) == ["keep-contradicts-enter"]


@pytest.mark.parametrize(
    ("condition", "severity"),
    [
        (leaf("active_days", ">=", 366), "error"),
        (leaf("active_days", "<=", 365), "warning"),
        (leaf("days_since_last_visit", ">=", 365), "error"),
        (leaf("days_since_last_visit", "<=", 364), "warning"),
        (leaf("visit_interval_days", ">=", 365), "error"),
        (leaf("visit_interval_days", "<=", 400), "warning"),
        (leaf("visit_interval_days", "<", 1), "error"),
        (leaf("visit_interval_days", ">=", 1), "warning"),
        (leaf("orders", "<", 0), "error"),
        (leaf("orders", ">=", 0), "warning"),
        (leaf("member_days", "<", 0), "error"),
        (leaf("visit_interval_days", "between", [1, 364]), "warning"),
    ],
)
def test_a_threshold_out_of_range_is_named_at_its_number(condition: dict[str, Any], severity: str) -> None:
    enter = {"any": [spend(5), {"all": [condition, spend(3)]}]}
    found = [one for one in find(ladder(enter)) if one.name == "threshold-out-of-range"]
    assert [(one.severity, one.pointers) for one in found] == [
        (severity, ("/tiers/1/enter/any/1/all/0/value",))
    ]


def test_a_threshold_that_always_holds_is_to_be_raised_or_lowered_as_its_side_is() -> None:
    for condition, remedy, chinese in (
        (leaf("orders", ">=", 0), "Raise it, or leave it out.", "請提高數值"),
        (leaf("active_days", "<=", 400), "Lower it, or leave it out.", "請降低數值"),
    ):
        (finding,) = find(ladder({"all": [condition, spend(3)]}))
        assert finding.text["en"].endswith(remedy)
        assert chinese in finding.text["zh-Hant"]


@pytest.mark.parametrize(
    "condition",
    [
        leaf("active_days", ">=", 365),
        leaf("days_since_last_visit", "<=", 363),
        leaf("visit_interval_days", "<=", 363),
        leaf("visit_interval_days", "<=", 1),
        leaf("net_spend", "<", "0"),
        leaf("net_spend", ">=", "0"),
        leaf("member_days", ">=", 4000),
    ],
)
def test_a_threshold_within_range_is_left_alone(condition: dict[str, Any]) -> None:
    assert "threshold-out-of-range" not in names_of(ladder(condition))


def test_a_year_has_366_days_whatever_the_kind_of_year() -> None:
    for window in ({"kind": "calendar_year"}, {"kind": "membership_year", "anchor": "joining"}):
        for days, expected in ((366, []), (367, ["threshold-out-of-range"])):
            definition = ladder(leaf("active_days", ">=", days)) | {"window": window}
            assert names_of(definition) == expected


def test_a_visit_interval_wants_days_since_the_last_visit_beside_it_on_every_way() -> None:
    often, lately = leaf("visit_interval_days", "<=", 30), leaf("days_since_last_visit", "<=", 60)
    paired = {"all": [often, lately]}
    assert names_of(ladder(paired)) == []
    assert names_of(ladder({"all": [lately, {"any": [often, spend(9)]}]})) == []
    assert names_of(ladder(leaf("visit_interval_days", ">=", 30))) == []
    for enter, pointer in (
        (often, "/tiers/1/enter"),
        ({"any": [paired, {"all": [spend(3), often]}]}, "/tiers/1/enter/any/1/all/1"),
        ({"at_least": {"k": 2, "of": [often, lately, spend(3)]}}, "/tiers/1/enter/at_least/of/0"),
    ):
        (finding,) = find(ladder(enter))
        assert (finding.name, finding.severity) == ("interval-without-last-visit", "warning")
        assert pointer in finding.pointers


def test_a_higher_tier_with_a_lower_number_is_a_warning_that_shows_both() -> None:
    (finding,) = find(ladder(spend(3000), {"all": [spend(1200), leaf("orders", ">=", 4)]}))
    assert (finding.name, finding.severity) == ("lower-bar-than-below", "warning")
    assert "NT$3,000" in finding.text["en"]
    assert "1,200 元" in finding.text["zh-Hant"]


def test_points_that_fall_with_rank_are_a_warning() -> None:
    definition = default_ruleset(currency="TWD")
    tiers: Any = copy.deepcopy(definition["tiers"])
    tiers[2]["benefits"][0]["multiplier_bp"] = 10_500
    (finding,) = find(definition | {"tiers": tiers})
    assert finding.name == "multiplier-falls"
    assert finding.pointers == ("/tiers/2/benefits", "/tiers/1/benefits")
    # Without a multiplier a tier earns the plain points.
    tiers[2]["benefits"] = []
    assert names_of(definition | {"tiers": tiers}) == ["multiplier-falls"]


def test_tiers_that_members_could_not_tell_apart_are_a_warning() -> None:
    definition = ladder(spend(1), spend(2))
    definition["tiers"][2]["names"] = {"en": " tier 1", "zh-Hant": "第2級"}
    (finding,) = find(definition)
    assert (finding.name, finding.severity) == ("names-alike", "warning")
    assert finding.pointers == ("/tiers/2/names/en", "/tiers/1/names/en")


def test_of_a_condition_with_too_many_ways_nothing_is_said() -> None:
    chance = Random(1)

    def some_way() -> dict[str, Any]:
        metrics = ("orders", "member_days", "net_spend")
        starts = [chance.randint(1, 90) for _ in metrics]
        pairs = zip(metrics, starts, strict=True)
        return {"any": [leaf(metric, "between", [start, start + 90]) for metric, start in pairs]}

    wide = {"all": [some_way() for _ in range(12)]}
    with pytest.raises(Undecided):
        boxes_of(parse_condition(wide, currency="TWD"), days=365)
    assert find(ladder(wide, wide, keeps={1: wide})) == []


# Windows so short that every kind of member there can be is listed, days ahead of the programme's included.
LONGEST = 4
SPENDS = (-100, 0, 100, 200, 300)
TENURES = (0, 2, 5)


def every_member(days: int) -> Iterator[Metrics]:
    """Yield the metrics of every kind of member, as the fold's own window measures them."""
    today = date(2026, 6, 1).toordinal()
    possible = range(today - days - 1, today + 3)
    for count in range(min(len(possible), 4) + 1):
        for active in combinations(possible, count):
            for more_orders in (0, 2):
                totals = [
                    DayTotals(date.fromordinal(day), 1, 0, 1 + more_orders * (day == active[0]), 0)
                    for day in active
                ]
                window = RunningWindow(totals)
                window.move(today - days + 1)
                metrics = window.measure(today, joined=today)
                for net, tenure in product(SPENDS, TENURES):
                    yield metrics._replace(net_spend_minor=net, member_days=tenure)


MEMBERS = {days: sorted(set(every_member(days)), key=repr) for days in range(1, LONGEST + 1)}


@st.composite
def comparisons(draw: st.DrawFn) -> dict[str, Any]:
    metric = draw(
        st.sampled_from(
            [
                "visit_interval_days",
                "days_since_last_visit",
                "active_days",
                "net_spend",
                "orders",
                "member_days",
            ]
        )
    )
    op = draw(st.sampled_from(["<=", ">=", "<", ">", "between"]))
    values = (
        st.sampled_from(["0", "1", "2", "3"])
        if metric == "net_spend"
        else st.sampled_from(["0.5", "1", "1.5", "2", "3"])
        if metric == "visit_interval_days"
        else st.integers(0, 5)
    )
    value: Any = draw(values)
    if op == "between":
        value = sorted([value, draw(values)], key=float)
    return leaf(metric, op, value)


def combined(parts: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    several = st.lists(parts, min_size=1, max_size=3)
    return st.one_of(
        several.map(lambda of: {"all": of}),
        several.map(lambda of: {"any": of}),
        several.flatmap(lambda of: st.integers(1, len(of)).map(lambda k: {"at_least": {"k": k, "of": of}})),
    )


CONDITIONS = st.one_of(comparisons(), combined(comparisons()), combined(combined(comparisons())))


@st.composite
def ladders(draw: st.DrawFn, *, days: int | None = None) -> Any:
    enters = draw(st.lists(CONDITIONS, min_size=1, max_size=3))
    keeps = draw(st.dictionaries(st.integers(1, len(enters)), CONDITIONS))
    return ladder(*enters, keeps=keeps, days=days or draw(st.integers(1, LONGEST)))


@given(ladders())
@settings(max_examples=200 * SCALE)
def test_no_member_ever_contradicts_a_finding(definition: Any) -> None:
    rules = parse_ruleset(definition, version=2)
    for finding in look_through(rules, definition=definition):
        assert set(finding.text) == {"en", "zh-Hant"}
        assert "{" not in finding.text["en"] + finding.text["zh-Hant"]
        rank = int(finding.pointers[0].split("/")[2])
        enters = {tier.rank: compile_condition(tier.enter) for tier in rules.tiers if tier.enter}
        enters[0] = lambda _: True
        keeps = {tier.rank: compile_condition(tier.keep) for tier in rules.tiers if tier.keep}
        for metrics in MEMBERS[definition["window"]["days"]]:
            if finding.name == "unreachable-tier":
                higher = any(enters[above](metrics) for above in enters if above > rank)
                assert not enters[rank](metrics) or (len(finding.pointers) > 1 and higher)
            elif finding.name == "easier-than-below":
                assert not enters[rank - 1](metrics) or enters[rank](metrics)
            elif finding.name == "keep-never-holds":
                assert not keeps[rank](metrics)
            elif finding.name == "keep-contradicts-enter":
                assert not (keeps[rank](metrics) and enters[rank](metrics))
            elif finding.name == "keep-harder-than-enter":
                assert not keeps[rank](metrics) or enters[rank](metrics)


def every_kind_of_member(days: int) -> Iterator[Metrics]:
    """Yield the metrics on each side of every number that `comparisons` draws, as they go together."""
    today = date(2026, 6, 1).toordinal()
    possible = range(today - days + 1, today + 4)
    for count in range(len(possible) + 1):
        for active in combinations(possible, count):
            span = active[-1] - active[0] if active else 0
            since = max(0, today - active[-1]) if active else None
            for orders, net, tenure in product(
                range(count, max(count, 6) + 1), (-100, 0, 50, 100, 150, 200, 250, 300, 400), range(7)
            ):
                yield Metrics(count, span, since, net, orders, tenure)


EVERYBODY = list(set(every_kind_of_member(1)))


@given(ladders(days=1))
@settings(max_examples=100 * SCALE)
def test_no_tier_that_nobody_reaches_is_missed(definition: Any) -> None:
    rules = parse_ruleset(definition, version=2)
    found = {(one.name, one.pointers[0]) for one in look_through(rules, definition=definition)}
    held = {rules.qualified_rank(metrics) for metrics in EVERYBODY}
    for rank in {tier.rank for tier in rules.tiers} - held:
        assert found & {
            ("unreachable-tier", f"/tiers/{rank}" if rank == 0 else f"/tiers/{rank}/enter"),
            ("easier-than-below", f"/tiers/{rank + 1}/enter"),
        }


@given(CONDITIONS, CONDITIONS, st.integers(1, LONGEST))
@settings(max_examples=400 * SCALE)
def test_boxes_are_the_condition_and_what_they_cover_holds(one: Any, other: Any, days: int) -> None:
    these, those = (parse_condition(part, currency="TWD") for part in (one, other))
    boxes = [boxes_of(part, days=days) for part in (these, those)]
    first, second = compile_condition(these), compile_condition(those)
    members = MEMBERS[days]
    if not boxes[0]:
        assert not any(first(metrics) for metrics in members)
    if is_covered(boxes[0], boxes[1], days=days):
        assert all(second(metrics) for metrics in members if first(metrics))
    assert is_covered(boxes[0], boxes[0], days=days)
