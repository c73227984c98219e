"""Go through the whole membership under a draft: in ranges of keys, counting, writing nothing."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any

from sqlalchemy import Connection, Engine

from service.kit.db import transaction
from service.programme.operations import Programme
from service.tiers.population import store, store_people
from service.tiers.population.anchors import find_anchors
from service.tiers.population.answers import Answer, Tallies
from service.tiers.population.rules import COSTED, Question, Tally
from service.tiers.population.store_metrics import Anchors, Keys

CHUNK = 20_000
"""Members a statement goes through: a fraction of a second, between which one may stop."""
_PAST_SHARE, _PAST_TIMES = 10, 5
"""Of a past day a tenth of the membership, at most five times as many: its orders stand in the order of time,
so that each range reads nearly all of a year's pages."""
AT_ONCE = 2
"""Ranges read at the same time, each on a connection of its own."""
_LEAST_COSTED = 20
"""Members of a range and change of multiplier whose awards are read, however many ranges there are."""

Watch = Callable[[int], bool]
"""Told how many members are done; False to stop."""


def simulate(
    engine: Engine, *, question: Question, programme: Programme, watch: Watch, chunk: int = CHUNK
) -> dict[str, Any] | None:
    """Return what a draft would do to everybody, None where `watch` stopped it.

    Each range is read in a transaction of its own: what is bought meanwhile may be in it or not. Memory does
    not grow with the membership.
    """
    tallies = Tallies()
    with transaction(engine) as conn:
        members = store.count_members(conn)
    if question.is_past:
        chunk = max(chunk, min(chunk * _PAST_TIMES, members // _PAST_SHARE))
    ranges = max(1, -(-members // chunk))

    counting = store_people.counting_sql(
        question, timezone=programme.timezone, costed=max(_LEAST_COSTED, COSTED // ranges)
    )

    def count(keys: tuple[int, int]) -> Tally:
        with transaction(engine) as conn:
            return store_people.tally(
                conn,
                counting=counting,
                question=question,
                timezone=programme.timezone,
                keys=keys,
                anchors=_find_anchors(conn, question, programme, keys),
            )

    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="simulation") as readers:
        done = 0
        for counted in _in_turn(readers, count, _ranges(engine, chunk)):
            done += tallies.add(counted)
            if not watch(done):
                return None
    answer = Answer(question, tallies)
    sampled = answer.list_sampled()
    with transaction(engine) as conn:
        return answer.to_json(
            point_value_minor=programme.settings.point_value_minor,
            store_ids=store.map_store_ids(conn),
            metrics=store_people.list_metrics(
                conn,
                question=question,
                timezone=programme.timezone,
                member_keys=sampled,
                anchors=_find_anchors(conn, question, programme, sampled),
            ),
        )


def _find_anchors(conn: Connection, question: Question, programme: Programme, keys: Keys) -> Anchors:
    return find_anchors(
        conn,
        windows=question.windows,
        day=question.day,
        programme=programme,
        past=question.is_past,
        keys=keys,
    )


def _ranges(engine: Engine, chunk: int) -> Iterator[tuple[int, int]]:
    after = 0
    while True:
        with transaction(engine) as conn:
            found = store.find_range(conn, after=after, size=chunk)
        if found is None:
            return
        yield after + 1, found[0]
        after = found[0]


def _in_turn(
    readers: Executor, count: Callable[[tuple[int, int]], Tally], ranges: Iterator[tuple[int, int]]
) -> Iterator[Tally]:
    """Yield what each range counts, in order, no more than a few ranges ahead."""
    waiting = deque[Future[Tally]]()
    try:
        for keys in ranges:
            waiting.append(readers.submit(count, keys))
            if len(waiting) > AT_ONCE:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
