"""Sums that merge: exactly, in any order, without looking at rows again."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.experiments.statistics.sums import Moments, merge

MEMBERS = st.lists(st.tuples(st.integers(-(10**15), 10**15), st.integers(0, 500)), max_size=30)


def moments_of(members: list[tuple[int, int]]) -> Moments:
    return Moments.of([v for v, _ in members], [x for _, x in members])


@given(MEMBERS, MEMBERS, MEMBERS)
def test_merging_is_associative_and_commutative(
    first: list[tuple[int, int]], second: list[tuple[int, int]], third: list[tuple[int, int]]
) -> None:
    a, b, c = moments_of(first), moments_of(second), moments_of(third)
    assert (a + b) + c == a + (b + c) == c + b + a
    assert a + Moments() == a
    assert merge([a, b, c]) == moments_of(first + second + third)


@given(MEMBERS.filter(lambda members: len(members) > 1))
def test_variances_are_those_of_the_rows_to_the_last_digit(members: list[tuple[int, int]]) -> None:
    moments, n = moments_of(members), len(members)
    mean_v, mean_x = Fraction(sum(v for v, _ in members), n), Fraction(sum(x for _, x in members), n)
    assert moments.variance == float(sum((v - mean_v) ** 2 for v, _ in members) / (n - 1))
    assert moments.covariate_variance == float(sum((x - mean_x) ** 2 for _, x in members) / (n - 1))
    assert moments.covariance == float(sum((v - mean_v) * (x - mean_x) for v, x in members) / (n - 1))
    assert moments.mean == float(mean_v)


def test_small_differences_between_huge_amounts_are_not_lost() -> None:
    huge = 10**15
    # In floats Σv² - (Σv)²/n of these is 0 or worse.
    assert Moments.of([huge, huge + 1, huge + 2]).variance == 1.0


def test_fewer_than_two_members_have_no_spread() -> None:
    assert (Moments().variance, Moments().mean, Moments.of([7]).variance) == (0.0, 0.0, 0.0)


def test_counts_alone_are_the_moments_of_a_share() -> None:
    assert Moments.of_share(5, 2) == Moments.of([1, 0, 1, 0, 0])


def test_a_value_without_its_covariate_is_refused() -> None:
    with pytest.raises(ValueError, match="without its covariate"):
        Moments.of([1, 2], [1])
