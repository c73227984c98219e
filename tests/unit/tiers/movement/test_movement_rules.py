"""Flows between tiers: what they add up to, whatever the histories."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.tiers.defaults import default_ruleset
from service.tiers.movement.rules import (
    Flow,
    Ladder,
    Share,
    Tally,
    TierTotal,
    add_up,
    see_movement,
    tally_cohort,
)
from service.tiers.rules import parse_ruleset
from service.tiers.timeline import RuleTimeline

CODES = ("base", "silver", "gold")
LADDER = Ladder(CODES, {code: {"en": code, "zh-Hant": code} for code in CODES})

Life = list[str | None]
"""The tier a member holds on each of ten days, None outside the programme."""


@st.composite
def lives(draw: st.DrawFn) -> Life:
    """Draw who joins some day or was there before, moves, and perhaps leaves for good."""
    joins, leaves = draw(st.integers(0, 9)), draw(st.integers(1, 12))
    tiers = draw(st.lists(st.sampled_from(CODES), min_size=10, max_size=10))
    return [tier if joins <= day < leaves else None for day, tier in enumerate(tiers)]


def moves_of(life: Life) -> list[Flow]:
    return [Flow(before, after, 1) for before, after in pairwise(life) if before != after]


def holders(members: list[Life], day: int) -> Counter[str]:
    return Counter(tier for life in members if (tier := life[day]) is not None)


@given(st.lists(lives(), max_size=12))
def test_both_views_reconcile_for_every_history(members: list[Life]) -> None:
    opening, closing = holders(members, 0), holders(members, -1)
    cohort = tally_cohort(
        Flow(life[0], life[-1], 1) for life in members if (life[0], life[-1]) != (None, None)
    )
    events = Tally(tuple(flow for life in members for flow in moves_of(life)), opening, closing)
    for view, tally in (("cohort", cohort), ("event", events)):
        movement = see_movement(add_up([tally]), LADDER, view="cohort" if view == "cohort" else "event")
        assert movement.totals is not None
        assert [total.difference for total in movement.totals] == [0, 0, 0]
        assert {total.tier: total.opening for total in movement.totals} == {c: opening[c] for c in CODES}
        assert {total.tier: total.closing for total in movement.totals} == {c: closing[c] for c in CODES}
        assert movement.rates is not None
        for share in (movement.rates.upgrade, movement.rates.downgrade, movement.rates.churn):
            assert 0 <= share.numerator <= share.denominator
        by_tier = list(movement.rates_by_tier.values())
        assert sum(rates.upgrade.numerator for rates in by_tier) == movement.rates.upgrade.numerator
        assert sum(rates.churn.denominator for rates in by_tier) == movement.rates.churn.denominator


def test_the_two_views_differ_and_say_so_in_their_rates() -> None:
    there_and_back: Life = ["silver", "gold", "silver"]
    cohort = see_movement(tally_cohort([Flow("silver", "silver", 1)]), LADDER, view="cohort")
    moves = Tally(tuple(moves_of(there_and_back)), {"silver": 1}, {"silver": 1})
    event = see_movement(moves, LADDER, view="event")
    assert cohort.rates is not None
    assert event.rates is not None
    assert (cohort.rates.upgrade, cohort.rates.downgrade) == (Share(0, 1), Share(0, 1))
    # Three stays: silver, gold, silver again. One ended in a rise, one in a fall, one still runs.
    assert (event.rates.upgrade, event.rates.downgrade) == (Share(1, 3), Share(1, 3))


def test_lost_is_who_fell_to_the_base_tier_from_above_or_left_from_there() -> None:
    flows = [
        Flow("gold", "base", 2),
        Flow("gold", "silver", 3),
        Flow("silver", None, 1),
        Flow("silver", "silver", 4),
        Flow("base", None, 5),
        Flow("base", "base", 5),
        Flow(None, "base", 7),
    ]
    movement = see_movement(tally_cohort(flows), LADDER, view="cohort")
    assert movement.rates is not None
    assert movement.rates.churn == Share(3, 10)
    assert movement.rates.downgrade == Share(5, 20)
    assert movement.rates_by_tier["gold"].churn == Share(2, 5)
    assert movement.rates_by_tier["base"].churn == Share(0, 0)


def test_what_does_not_add_up_shows() -> None:
    total = TierTotal("gold", 10, 1, 2, 0, 0, 3, 1, closing=9)
    assert total.difference == 0
    assert replace(total, closing=8).difference == -1


def test_moves_of_one_cause_reconcile_nothing() -> None:
    tally = Tally((Flow("gold", "silver", 1),), {}, {})
    movement = see_movement(tally, LADDER, view="event", reconciled=False)
    assert (movement.totals, movement.rates, movement.rates_by_tier) == (None, None, {})


def timeline(*ladders: list[str]) -> RuleTimeline:
    """Return rule sets with these tiers, a day apart."""
    plain = default_ruleset(currency="TWD")
    enter = {"metric": "orders", "op": ">=", "value": 1}
    entries = []
    for number, codes in enumerate(ladders):
        tiers: list[dict[str, object]] = [
            {"code": code, "names": {"en": f"{code} {number}", "zh-Hant": code}} for code in codes
        ]
        for tier in tiers[1:]:
            tier["enter"] = enter
        rules = parse_ruleset({**plain, "tiers": tiers}, version=number + 1)
        entries.append((datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=number), rules))
    return RuleTimeline.of(entries)


@pytest.mark.parametrize(
    ("ladders", "codes"),
    [
        ([["base", "gold"]], ("base", "gold")),
        ([["base", "silver", "gold"], ["base", "gold"]], ("base", "silver", "gold")),
        ([["base", "gold"], ["base", "silver", "gold"]], ("base", "silver", "gold")),
        ([["base", "iron", "gold"], ["base", "copper", "gold"]], ("base", "iron", "copper", "gold")),
        ([["old", "gold"], ["new", "gold"]], ("old", "new", "gold")),
    ],
)
def test_a_ladder_holds_every_tier_there_was_in_its_place(
    ladders: list[list[str]], codes: tuple[str, ...]
) -> None:
    ladder = Ladder.of(timeline(*ladders), entries=len(ladders))
    assert ladder.codes == codes
    assert ladder.names["gold"]["en"] == f"gold {len(ladders) - 1}"


def test_tiers_that_are_not_in_force_yet_are_not_told() -> None:
    both = timeline(["base", "gold"], ["base", "silver", "gold"])
    assert Ladder.of(both, entries=1).codes == ("base", "gold")


def test_a_removed_tier_is_left_downwards() -> None:
    ladder = Ladder.of(timeline(["base", "silver", "gold"], ["base", "gold"]), entries=2)
    assert ladder.direction("silver", "base") == "down"
    assert ladder.direction("silver", "gold") == "up"
    assert ladder.direction(None, "base") == "joined"
    assert ladder.direction("gold", None) == "left"
