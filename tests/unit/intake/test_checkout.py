"""How many points pay an amount."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from service.activity.rules import convert_back
from service.intake.checkout import fewest_points

rates = st.none() | st.decimals("0.0001", "10000", places=4)


@given(amount=st.integers(1, 10**12), value=st.integers(1, 10**6), rate=rates)
def test_the_fewest_points_cover_an_amount_and_one_less_does_not(
    amount: int, value: int, rate: Decimal | None
) -> None:
    points = fewest_points(amount, value_minor=value, rate=rate)
    assert convert_back(points * value, rate=rate) >= amount
    assert convert_back((points - 1) * value, rate=rate) < amount


def test_nothing_to_pay_and_worthless_points_take_none() -> None:
    assert fewest_points(0, value_minor=30, rate=None) == 0
    assert fewest_points(100, value_minor=0, rate=None) == 0
