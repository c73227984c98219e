"""Breakage by the vintage method, and revenue as points are used: hand-made books with exact answers."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.tiers.liability.rules import (
    BANDS,
    Fate,
    Flow,
    band_of,
    develop,
    expect_breakage,
    make_vintages,
    outlook,
    recognise_revenue,
)

# Student's t for 95 % and five degrees of freedom (any table).
T_5 = 2.570582


def one_alike(month: int) -> list[Flow]:
    """A vintage of 100 points: 20 used at once, a month later 10 used and 10 gone."""
    return [
        Flow(month, month, issued=100),
        Flow(month, month, used=20),
        Flow(month, month + 1, used=10, gone=10),
    ]


ALIKE = [flow for month in range(1, 7) for flow in one_alike(month)]


def test_the_published_example_of_ifrs_15_comes_out_to_the_unit() -> None:
    first_year = recognise_revenue(9_000, used=4_500, expected=9_700)
    by_second_year = recognise_revenue(9_000, used=8_500, expected=9_900)
    assert first_year == 4_175
    assert by_second_year - first_year == 3_552


def test_all_of_the_price_is_revenue_once_nothing_more_is_expected() -> None:
    assert recognise_revenue(9_000, used=0, expected=0) == 9_000
    assert recognise_revenue(9_000, used=8_000, expected=8_000) == 9_000
    assert recognise_revenue(9_000, used=9_000, expected=8_000) == 9_000
    assert recognise_revenue(9_000, used=0, expected=10) == 0


def test_half_a_unit_is_rounded_up() -> None:
    assert recognise_revenue(3, used=1, expected=2) == 2


@pytest.mark.parametrize("wrong", [(-1, 0, 1), (1, -1, 1), (1, 0, -1)])
def test_what_is_below_zero_is_refused(wrong: tuple[int, int, int]) -> None:
    allocated, used, expected = wrong
    with pytest.raises(ValueError, match="not negative"):
        recognise_revenue(allocated, used=used, expected=expected)


@given(
    allocated=st.integers(0, 10**12),
    years=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)), max_size=8),
)
def test_revenue_never_passes_the_price_and_its_years_add_up(
    allocated: int, years: list[tuple[int, int]]
) -> None:
    used, recognised, by_year = 0, 0, []
    for more, still_expected in years:
        used += more
        now = recognise_revenue(allocated, used=used, expected=used + still_expected)
        assert 0 <= now <= allocated
        if used + still_expected:
            assert abs(now - Fraction(allocated * used, used + still_expected)) <= Fraction(1, 2)
        by_year.append(now - recognised)
        recognised = now
    assert sum(by_year) == recognised


def test_a_vintage_adds_up_what_became_of_its_points() -> None:
    flows = [
        Flow(2, 2, issued=100),
        Flow(2, 1, taken=5),  # dated before its points
        Flow(2, 3, used=30),
        Flow(2, 3, used=-10),
        Flow(2, 4, gone=7),
        Flow(0, 4, issued=50),  # before the first month
    ]
    (vintage,) = make_vintages(flows, last=4)
    assert (vintage.month, vintage.issued, vintage.open()) == (2, 100, 68)
    assert vintage.by_age == (Fate(taken=5), Fate(used=20), Fate(gone=7))


def test_shares_are_of_what_was_open_at_each_age_and_only_of_ages_lived_through() -> None:
    shares = develop(make_vintages(ALIKE, last=8), last=8)
    assert shares[:2] == [Fate(used=0.2), Fate(used=0.125, gone=0.125)]
    assert shares[2:] == [Fate()] * 5
    assert outlook(shares)[:3] == [(0.1, 0.6000000000000001), (0.125, 0.75), (0.0, 1.0)]


def test_points_lapse_as_those_before_them_did() -> None:
    vintages = make_vintages([*ALIKE, Flow(7, 7, issued=100, used=20), Flow(8, 8, issued=100)], last=8)
    cells = [(8, 60), (8, 40), (7, 80), (6, 60)]
    expected = expect_breakage(cells, vintages, last=8)
    assert expected.by_cell == (6, 4, 10, 0)
    assert expected.points == 20
    assert expected.unresolved == 60 + 60 + 60
    assert (expected.vintages, expected.ages) == (7, 7)
    assert expected.interval is None, "vintages that are all alike say nothing of how far others may differ"


def test_points_older_than_anything_seen_are_not_counted_as_lost() -> None:
    vintages = make_vintages(ALIKE, last=8)
    assert expect_breakage([(0, 500)], vintages, last=8).points == 0
    assert expect_breakage([(0, 500)], vintages, last=8).unresolved == 500


def test_without_experience_nothing_is_expected_to_lapse() -> None:
    vintages = make_vintages(ALIKE[: 5 * 3], last=8)
    expected = expect_breakage([(8, 100)], vintages, last=8)
    assert (expected.points, expected.unresolved, expected.ages) == (0, 100, 0)
    assert expected.interval is None


def test_the_bounds_are_those_of_leaving_out_one_vintage_after_the_other() -> None:
    gone = (4, 10, 7, 13, 9, 5)
    flows = [
        flow
        for month, points in enumerate(gone, start=1)
        for flow in (Flow(month, month, issued=100), Flow(month, month, gone=points))
    ]
    expected = expect_breakage([(8, 1_000)], make_vintages(flows, last=8), last=8)
    total = Fraction(1_000 * sum(gone), 600)
    without = [Fraction(1_000 * (sum(gone) - one), 500) for one in gone]
    mean = sum(without) / 6
    variance = Fraction(5, 6) * sum((one - mean) ** 2 for one in without)
    assert expected.points == 80 == total
    assert expected.interval is not None
    assert expected.interval.low == pytest.approx(80 - T_5 * float(variance) ** 0.5, rel=1e-6)
    assert expected.interval.high == pytest.approx(80 + T_5 * float(variance) ** 0.5, rel=1e-6)


@given(
    lives=st.lists(
        st.tuples(st.integers(0, 5_000), st.lists(st.tuples(*[st.integers(0, 100)] * 3), max_size=12)),
        min_size=1,
        max_size=14,
    ),
    ahead=st.integers(0, 3),
)
def test_breakage_lies_within_what_is_open_and_its_parts_add_up(
    lives: list[tuple[int, list[tuple[int, int, int]]]], ahead: int
) -> None:
    last = len(lives) + ahead
    flows, cells = [], []
    for month, (issued, life) in enumerate(lives, start=1):
        flows.append(Flow(month, month, issued=issued))
        left = issued
        for age, shares in enumerate(life[: last - month + 1]):
            parts = [left * share // 300 for share in shares]
            flows.append(Flow(month, month + age, 0, *parts))
            left -= sum(parts)
        cells.append((month, left))
    vintages = make_vintages(flows, last=last)
    assert {one.month: one.open() for one in vintages} == {
        month: n for month, n in cells if lives[month - 1][0]
    }
    expected = expect_breakage(cells, vintages, last=last)
    assert sum(expected.by_cell) == expected.points
    assert all(0 <= part <= points for part, (_, points) in zip(expected.by_cell, cells, strict=True))
    assert expected.points + expected.unresolved <= sum(points for _, points in cells)
    if expected.interval is not None:
        assert 0 <= expected.interval.low <= expected.points + 1
        assert expected.points <= expected.interval.high <= sum(points for _, points in cells) + 1e-6


def test_every_age_has_one_band() -> None:
    assert [band_of(age)[0] for age in (0, 2, 3, 11, 12, 23, 24, 400, None)] == [
        0,
        0,
        3,
        6,
        12,
        18,
        24,
        24,
        24,
    ]
    assert all(last is None or last + 1 == BANDS[place + 1][0] for place, (_, last) in enumerate(BANDS))
