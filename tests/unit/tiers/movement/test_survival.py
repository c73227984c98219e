"""Kaplan–Meier, against hand-worked figures and against counting every stay again."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.tiers.movement.survival import Step, estimate

# Freireich and others, Blood 21 (1963), the 6-MP arm: weeks of remission, + is censored. The figures are in
# every textbook on survival (Kalbfleisch and Prentice, The statistical analysis of failure time data, 1980).
RISEN = [6, 6, 6, 7, 10, 13, 16, 22, 23]
CENSORED = [6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35]
TEXTBOOK = [
    (6, 21, "0.857"),
    (7, 17, "0.807"),
    (10, 15, "0.753"),
    (13, 12, "0.690"),
    (16, 11, "0.627"),
    (22, 7, "0.538"),
    (23, 6, "0.448"),
]


def test_the_curve_is_that_of_the_textbook() -> None:
    curve = estimate(Counter(RISEN), Counter(CENSORED))
    assert [(step.days, step.at_risk, f"{step.waiting:.3f}") for step in curve.steps] == TEXTBOOK
    assert (curve.stays, curve.risen, curve.censored) == (21, 9, 12)
    median = curve.quantile(0.5)
    assert median is not None
    assert (median.days, median.at_risk) == (23, 6)
    lower = curve.quantile(0.25)
    assert lower is not None
    assert lower.days == 13
    assert curve.quantile(0.75) is None, "fewer than three in four were ever seen to rise"


def test_a_quartile_that_is_met_exactly_is_met() -> None:
    curve = estimate({10: 1, 20: 1, 30: 1, 40: 1}, {})
    quartiles = [curve.quantile(share) for share in (0.25, 0.5, 0.75)]
    assert [step.days for step in quartiles if step is not None] == [10, 20, 30]
    thirds = estimate({1: 1, 2: 1, 3: 1, 4: 1, 5: 1, 6: 1}, {})
    median = thirds.quantile(0.5)
    assert median is not None
    assert median.days == 3


def test_who_is_censored_on_a_day_was_still_at_risk_on_it() -> None:
    assert estimate({5: 1}, {5: 1}).steps == (Step(5, 2, 1, 0.5),)


def test_of_nobody_nothing_is_known() -> None:
    curve = estimate({}, {})
    assert (curve.stays, curve.steps, curve.quantile(0.5)) == (0, (), None)
    assert estimate({}, {3: 4}).quantile(0.25) is None


@given(st.lists(st.tuples(st.integers(0, 15), st.booleans()), max_size=40))
def test_the_curve_is_what_counting_every_stay_gives(stays: list[tuple[int, bool]]) -> None:
    risen = Counter(days for days, rose in stays if rose)
    censored = Counter(days for days, rose in stays if not rose)
    curve = estimate(risen, censored)
    waiting = Fraction(1)
    expected = []
    for day in range(16):
        at_risk = sum(days >= day for days, _ in stays)
        rose = sum(days == day and has_risen for days, has_risen in stays)
        if rose:
            waiting *= Fraction(at_risk - rose, at_risk)
            expected.append((day, at_risk, rose, waiting))
    assert [(step.days, step.at_risk, step.risen) for step in curve.steps] == [row[:3] for row in expected]
    assert [step.waiting for step in curve.steps] == pytest.approx([float(row[3]) for row in expected])
    for share in (0.25, 0.5, 0.75):
        first = next((row[0] for row in expected if 1 - row[3] >= Fraction(share)), None)
        step = curve.quantile(share)
        assert (None if step is None else step.days) == first
