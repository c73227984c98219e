"""Which rule set was in force when, and where a tier of one ladder is found on the next."""

from __future__ import annotations

import pytest

from service.tiers.rules import RuleSet
from service.tiers.timeline import RuleTimeline, carry_rank
from tests.unit.tiers.histories import at, ladder, spend


def rules(version: int, *codes: str) -> RuleSet:
    return ladder(*spend(*range(100, 100 + len(codes))), version=version, codes=codes)


FIRST, SECOND, THIRD = rules(1, "a", "b", "c"), rules(2, "b", "a"), rules(3, "c", "d")
TIMELINE = RuleTimeline.of([(at(20), SECOND), (at(5), FIRST), (at(40), THIRD)])


def test_the_first_rule_set_is_in_force_since_the_beginning_of_time() -> None:
    assert [TIMELINE.at(at(day)).version for day in (-900, 5, 19)] == [1, 1, 1]


def test_a_rule_set_is_in_force_from_its_moment_on() -> None:
    assert [TIMELINE.at(at(day)).version for day in (20, 39, 40, 900)] == [2, 2, 3, 3]
    assert TIMELINE.place_of(3) == 2
    with pytest.raises(KeyError):
        TIMELINE.place_of(4)


def test_a_timeline_can_end_with_a_version() -> None:
    assert TIMELINE.until(2).at(at(900)).version == 2


def test_of_two_that_begin_at_one_moment_the_later_version_counts() -> None:
    timeline = RuleTimeline.of([(at(5), SECOND), (at(5), FIRST)])
    assert [entry.rules.version for entry in timeline.entries] == [2]


def test_a_timeline_has_at_least_one_rule_set() -> None:
    with pytest.raises(ValueError, match="at least one"):
        RuleTimeline.of([])


def test_a_tier_is_found_by_its_code_or_below_where_it_is_gone() -> None:
    assert [carry_rank(rank, FIRST, SECOND) for rank in range(4)] == [0, 2, 1, 1]
    # Nothing of it remains but the base tier.
    assert [carry_rank(rank, SECOND, THIRD) for rank in range(3)] == [0, 0, 0]
    assert carry_rank(1, THIRD, rules(4, "x")) == 0


def test_a_code_of_an_earlier_rule_set_is_carried_through_every_one_since() -> None:
    assert TIMELINE.rank_of("b", place=1) == 1
    assert TIMELINE.rank_of("c", place=1) == 1
    # It has come back: the same code, whatever lay in between.
    assert TIMELINE.rank_of("c", place=2) == 1
    assert TIMELINE.rank_of("b", place=2) == 0
    assert TIMELINE.rank_of("unheard_of", place=2) == 0


def test_what_a_rating_needs_to_know_is_asked_of_every_rule_set() -> None:
    joining = ladder(*spend(10), window={"kind": "membership_year", "anchor": "joining"}, version=2)
    timeline = RuleTimeline.of([(at(0), FIRST), (at(9), joining)])
    assert timeline.asks_for_joining
    assert not TIMELINE.asks_for_joining
    assert (TIMELINE.lookback_days, timeline.lookback_days) == (365, 731)
    assert timeline.lookbacks == (731, 731)
    assert RuleTimeline.of([(at(0), joining), (at(9), rules(3, "x"))]).lookbacks == (731, 365)
