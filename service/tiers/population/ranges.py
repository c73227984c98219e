"""Go through the whole membership in ranges of keys, two at the same time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from sqlalchemy import Connection, Engine

from service.kit.db import transaction
from service.tiers.population import store
from service.tiers.population.store import Range

AT_ONCE = 2
"""Ranges worked on at the same time, each on a connection of its own."""

T = TypeVar("T")


def each_range(engine: Engine, *, size: int, work: Callable[[Connection, Range], T]) -> Generator[T]:
    """Yield what `work` makes of each range of `size` memberships, in order.

    Each is worked on in a transaction of its own: what comes meanwhile may be in it or not. No more than a
    few are done ahead of whoever asks; who stops asking stops the work.
    """

    def work_on(keys: Range) -> T:
        with transaction(engine) as conn:
            return work(conn, keys)

    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="ranges") as workers:
        waiting = deque[Future[T]]()
        try:
            for keys in _list_ranges(engine, size):
                waiting.append(workers.submit(work_on, keys))
                if len(waiting) > AT_ONCE:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _list_ranges(engine: Engine, size: int) -> Iterator[Range]:
    after = 0
    while True:
        with transaction(engine) as conn:
            found = store.find_range(conn, after=after, size=size)
        if found is None:
            return
        yield found
        after = found.last
