"""The explored place: drawn as often as is logged, from what may be shown, and the same every time."""

from __future__ import annotations

from collections import Counter
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from service.recommendations.exploration import Exploration, chances, draw, explore, seed_of

settings = st.builds(
    Exploration, candidates=st.integers(min_value=2, max_value=50), share_bp=st.integers(1, 10_000)
)


def answer_id(number: int) -> str:
    return f"rec_{UUID(int=number).hex}"


@given(settings, st.integers(2, 50))
def test_the_chances_of_all_candidates_sum_to_one(how: Exploration, count: int) -> None:
    told = chances(how, count)
    assert len(told) == count
    assert sum(told) == pytest.approx(1, abs=1e-12)
    assert min(told) > 0
    assert told[0] == pytest.approx(1 - how.share_bp / 10_000 * (count - 1) / count)


@given(settings, st.integers(2, 50))
def test_tickets_are_shared_out_exactly_as_the_chances_say(how: Exploration, count: int) -> None:
    tickets = 10_000 * count
    # The seed of a ticket's middle: rounding cannot move it to its neighbour.
    drawn = Counter(
        draw(how, count=count, seed=((2 * t + 1) << 47) // tickets) for t in range(0, tickets, 97)
    )
    told = chances(how, count)
    for index, chance in enumerate(told):
        assert drawn[index] / sum(drawn.values()) == pytest.approx(chance, abs=0.02)


@pytest.mark.parametrize("how", [Exploration(4, 10_000), Exploration(6, 3_000), Exploration(2, 1)])
def test_over_many_answers_each_candidate_is_shown_as_often_as_is_logged(how: Exploration) -> None:
    keys = list(range(100, 100 + how.candidates))
    shown: Counter[int] = Counter()
    for number in range(20_000):
        found = explore(how, limit=1, item_keys=keys, answer_id=answer_id(number))
        assert found is not None
        shown[found.drawn] += 1
        assert found.propensity == chances(how, how.candidates)[found.drawn]
    expected = [20_000 * chance for chance in chances(how, how.candidates)]
    # What hardly ever happens is held against a bound, as the test of fit needs five of each.
    usual = [index for index, number in enumerate(expected) if number >= 5]
    if len(usual) > 1:
        assert (
            chisquare([shown[index] for index in usual], [expected[index] for index in usual]).pvalue > 0.001
        )
    assert sum(shown[index] for index in range(how.candidates) if index not in usual) <= 10


@given(settings, st.integers(1, 20), st.integers(0, 80), st.integers(min_value=0, max_value=2**128 - 1))
def test_a_lot_is_cast_among_the_next_best_alone_and_can_be_cast_again(
    how: Exploration, limit: int, available: int, number: int
) -> None:
    keys = [1_000 + index for index in range(available)]
    found = explore(how, limit=limit, item_keys=keys, answer_id=answer_id(number))
    if available <= limit:
        assert found is None
        return
    assert found is not None
    assert found.position == limit
    assert found.item_keys == tuple(keys[limit - 1 : limit - 1 + how.candidates])
    assert found.item_keys[found.drawn] not in keys[: limit - 1]
    assert found == explore(how, limit=limit, item_keys=keys, answer_id=answer_id(number))
    assert draw(how, count=len(found.item_keys), seed=seed_of(answer_id(number))) == found.drawn


def test_the_record_names_every_candidate_with_its_chance() -> None:
    found = explore(Exploration(3, 6_000), limit=2, item_keys=[7, 8, 9, 10, 11], answer_id=answer_id(5))
    assert found is not None
    kept = found.record(steered_by=("tea-1",))
    assert kept["exploration"] == {
        "position": 2,
        "share_bp": 6_000,
        "candidates": [[8, pytest.approx(0.6)], [9, pytest.approx(0.2)], [10, pytest.approx(0.2)]],
        "steered_by": ["tea-1"],
    }
    assert kept["propensity"] == {"kind": "exploration", "value": found.propensity}
    assert kept["seed"] == seed_of(answer_id(5))
