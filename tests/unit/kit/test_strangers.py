"""Failures by address: so many a minute, over a window that moves, in a bounded memory."""

from __future__ import annotations

import pytest

from service.kit.strangers import Strangers


def fail(strangers: Strangers, address: str, *, at: list[float]) -> None:
    for seconds in at:
        strangers.count(address, seconds=seconds)


def test_an_address_may_fail_so_often_and_is_then_told_when_to_come_back() -> None:
    strangers = Strangers(limit=3)
    fail(strangers, "192.0.2.1", at=[1_000.0, 1_010.0])
    assert strangers.find_refusal("192.0.2.1", seconds=1_011.0) is None
    fail(strangers, "192.0.2.1", at=[1_020.0])
    refusal = strangers.find_refusal("192.0.2.1", seconds=1_021.0)
    assert refusal is not None
    assert (refusal.granted, refusal.limit, refusal.remaining, refusal.policy) == (False, 3, 0, "failures")
    assert refusal.reset_seconds == pytest.approx(39.0)
    assert strangers.find_refusal("192.0.2.2", seconds=1_021.0) is None


def test_the_window_moves_and_is_not_doubled_at_its_edge() -> None:
    strangers = Strangers(limit=3)
    fail(strangers, "192.0.2.1", at=[1_000.0, 1_058.0, 1_059.0])
    assert strangers.find_refusal("192.0.2.1", seconds=1_059.5) is not None
    assert strangers.find_refusal("192.0.2.1", seconds=1_060.5) is None
    fail(strangers, "192.0.2.1", at=[1_061.0])
    assert strangers.find_refusal("192.0.2.1", seconds=1_062.0) is not None, (
        "two of before are in this minute"
    )


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        (None, "", True),
        ("unix", "192.0.2.1", False),
    ],
)
def test_who_counts_as_one_address(one: str | None, other: str | None, same: bool) -> None:
    strangers = Strangers(limit=1)
    strangers.count(one, seconds=1_000.0)
    assert (strangers.find_refusal(other, seconds=1_001.0) is not None) == same


def test_memory_is_bounded_however_many_addresses_come() -> None:
    strangers = Strangers(limit=2, most_addresses=100)
    for number in range(5_000):
        strangers.count(f"10.0.{number // 256}.{number % 256}", seconds=1_000.0)
    fail(strangers, "192.0.2.1", at=[1_000.0] * 500)
    assert strangers.find_refusal("192.0.2.1", seconds=1_001.0) is not None
    assert len(strangers._failures) == 100
    assert all(len(moments) <= 2 for moments in strangers._failures.values())
