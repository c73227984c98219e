"""Bins that a person can read."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from service.tiers.worth.bins import MOST_BINS, day_edges, money_edges, place_counts


@given(st.integers(0, 40_000))
def test_bins_of_days_are_few_equal_and_reach_the_top(top: int) -> None:
    edges = day_edges(top)
    widths = {after - before for before, after in pairwise(edges)}
    assert edges[0] == 0
    assert edges[-1] > top
    assert len(widths) == 1
    assert len(edges) <= MOST_BINS
    assert str(widths.pop()).rstrip("0") in {"1", "2", "5"}


@given(st.integers(0, 10**15))
def test_bins_of_money_are_few_rising_and_reach_the_top(top: int) -> None:
    edges = money_edges(top)
    assert edges[0] == 0
    assert edges[-1] > top
    assert all(before < after for before, after in pairwise(edges))
    assert len(edges) <= MOST_BINS
    assert all(len(str(edge).rstrip("0")) <= 2 for edge in edges)


def test_a_few_shillings_and_a_fortune_have_readable_bins() -> None:
    assert money_edges(999) == [0, 10, 15, 20, 30, 50, 70, 100, 150, 200, 300, 500, 700, 1000]
    assert money_edges(0) == [0, 10]
    assert day_edges(0) == [0, 1]


def test_empty_ends_are_left_out_and_gaps_are_shown() -> None:
    assert place_counts([0, 10, 20], {1: 4}) == [(1, 4), (2, 0)]
    assert place_counts([0, 10, 20], {0: 1, 3: 2}) == [(0, 1), (1, 0), (2, 0), (3, 2)]
