"""Lifetime value: the published fits of a public data set, and what the models promise."""

from __future__ import annotations

import pytest

from service.insights.lifetime_value import (
    Buying,
    History,
    NotFitted,
    Spending,
    expected_lifetime_value,
    fit_buying,
    fit_spending,
)
from tests.unit.insights.cdnow import read_histories, read_valued_histories

FITTED = Buying(r=0.243, alpha=4.414, a=0.793, b=2.426, log_likelihood=-9582.4, members=2_357)
VALUED = Spending(p=6.25, q=3.74, v=15.44, log_likelihood=-4055.9, members=946)


def test_the_buying_of_cdnow_is_fitted_as_published() -> None:
    found = fit_buying(read_histories())
    assert (f"{found.r:.4f}", f"{found.alpha:.4f}") == ("0.2426", "4.4135")
    assert (f"{found.a:.4f}", f"{found.b:.4f}") == ("0.7929", "2.4258")
    assert f"{found.log_likelihood:.2f}" == "-9582.43"
    assert found.members == 2_357


def test_the_spending_of_cdnow_is_fitted_as_published() -> None:
    found = fit_spending(read_valued_histories())
    # Published to three digits after the point: 6.249, 3.745, 15.448.
    assert found.p == pytest.approx(6.249, abs=0.0005)
    assert found.q == pytest.approx(3.745, abs=0.0005)
    assert found.v == pytest.approx(15.448, abs=0.0005)
    assert found.members == 946


def test_the_unit_of_time_does_not_change_what_is_said() -> None:
    weeks = read_histories()[::8]
    days = [History(one.repeats, 7 * one.recency, 7 * one.age) for one in weeks]
    by_week, by_day = fit_buying(weeks), fit_buying(days)
    assert (by_day.r, by_day.alpha / 7) == pytest.approx((by_week.r, by_week.alpha), rel=1e-4)
    expected = by_week.expected_orders(weeks[0], ahead=10)
    assert by_day.expected_orders(days[0], ahead=70) == pytest.approx(expected, rel=1e-4)


def test_the_worked_example_of_the_published_note_comes_out() -> None:
    """Fader, Hardie & Lee (2005): x = 2, t_x = 30.43 and T = 38.86 order 1.226 times in 39 weeks."""
    member = History(2, 30.43, 38.86)
    assert FITTED.expected_orders(member, ahead=39) == pytest.approx(1.226, abs=0.001)


def test_silence_after_many_orders_says_more_than_after_few() -> None:
    often, seldom = History(20, 10, 38), History(1, 10, 38)
    assert FITTED.chance_alive(often) < FITTED.chance_alive(seldom) < 1
    assert FITTED.chance_alive(History(20, 38, 38)) > 0.9
    assert FITTED.chance_alive(History(0, 0, 38)) == 1


def test_a_mean_of_one_order_is_drawn_further_to_everybody_than_one_of_twenty() -> None:
    everybody = VALUED.expected_value(History(0, 0, 38))
    assert everybody == pytest.approx(6.25 * 15.44 / 2.74)
    once, often = (VALUED.expected_value(History(repeats, 30, 38, 100.0)) for repeats in (1, 20))
    assert everybody < once < often < 100


def test_lifetime_value_is_orders_times_their_value() -> None:
    member = History(2, 30.43, 38.86, 22.35)
    value = expected_lifetime_value(FITTED, VALUED, member, ahead=39)
    assert value == pytest.approx(1.226 * VALUED.expected_value(member), rel=0.001)


def test_a_shop_nobody_came_back_to_has_no_model() -> None:
    with pytest.raises(NotFitted, match="nobody"):
        fit_buying([History(0, 0.0, 10.0)] * 50)
    with pytest.raises(NotFitted, match="too few"):
        fit_spending([History(0, 0.0, 10.0)] * 50)
