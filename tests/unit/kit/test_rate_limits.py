"""Leases: never more than the limit, however many processes share it."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from limits.storage import MemoryStorage

from service.kit.rate_limits import RateLimiter


class Counting(MemoryStorage):
    """A store that counts how often it is asked, and can be down."""

    asked = 0
    down = False
    now = 1_000.0

    def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        """Add."""
        self.asked += 1
        if self.down:
            raise ConnectionError("down")
        return super().incr(key, expiry, amount)

    def get_expiry(self, key: str) -> float:
        """Return a fixed end."""
        return 1_060.0


@pytest.fixture
def store() -> Iterator[Counting]:
    store = Counting()
    yield store
    store.timer.cancel()
    store.timer.join()


def test_a_busy_caller_costs_a_hundred_statements_a_window_at_most(store: Counting) -> None:
    limiter = RateLimiter(store)
    allowed = [limiter.spend("key:a", limit=5_000, seconds=1_000.0).granted for _ in range(6_000)]
    assert allowed == [True] * 5_000 + [False] * 1_000
    assert store.asked == 100


def test_a_small_limit_is_exact_over_processes(store: Counting) -> None:
    processes = [RateLimiter(store) for _ in range(4)]
    allowed = [processes[turn % 4].spend("key:a", limit=60, seconds=1_000.0).granted for turn in range(200)]
    assert sum(allowed) == 60
    assert allowed[:60] == [True] * 60


@given(
    limit=st.integers(1, 2_000),
    turns=st.lists(st.integers(0, 3), min_size=1, max_size=300),
)
def test_processes_together_never_exceed_the_limit_and_waste_little(limit: int, turns: list[int]) -> None:
    store = Counting()
    rounds = 2 * limit // len(turns) + 1
    try:
        processes = [RateLimiter(store) for _ in range(4)]
        allowed = sum(
            processes[turn].spend("key:a", limit=limit, seconds=1_000.0).granted for turn in turns * rounds
        )
    finally:
        store.timer.cancel()
        store.timer.join()
    assert allowed <= limit
    assert allowed >= limit - 3 * (max(1, limit // 100) - 1) or allowed == len(turns) * rounds


def test_callers_do_not_share_an_allowance(store: Counting) -> None:
    limiter = RateLimiter(store)
    assert limiter.spend("key:a", limit=1, seconds=1_000.0).granted
    assert not limiter.spend("key:a", limit=1, seconds=1_000.0).granted
    assert limiter.spend("key:b", limit=1, seconds=1_000.0).granted


def test_who_is_refused_learns_when_to_come_back(store: Counting) -> None:
    limiter = RateLimiter(store)
    limiter.spend("key:a", limit=1, seconds=1_000.0)
    refused = limiter.spend("key:a", limit=1, seconds=1_015.5)
    assert not refused.granted
    assert refused.remaining == 0
    assert refused.reset_seconds == pytest.approx(44.5)
    asked = store.asked
    limiter.spend("key:a", limit=1, seconds=1_016.0)
    assert store.asked == asked, "a refusal is remembered without asking again"


def test_nobody_is_limited_while_the_store_is_down(store: Counting, caplog: pytest.LogCaptureFixture) -> None:
    store.down = True
    limiter = RateLimiter(store)
    assert all(limiter.spend("key:a", limit=1, seconds=1_000.0).granted for _ in range(100))
    assert store.asked == 1, "a store that is down is not asked by every request"
    assert "nobody is limited" in caplog.text
    store.down = False
    assert limiter.spend("key:a", limit=1, seconds=1_006.0).granted
    assert not limiter.spend("key:a", limit=1, seconds=1_006.0).granted


def test_threads_of_a_process_spend_each_lease_once(store: Counting) -> None:
    limiter = RateLimiter(store)
    granted: list[bool] = []

    def spend() -> None:
        for _ in range(200):
            granted.append(limiter.spend("key:a", limit=1_000, seconds=1_000.0).granted)

    threads = [threading.Thread(target=spend) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(granted) == 1_000
