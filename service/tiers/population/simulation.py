"""Go through the whole membership under a draft: in ranges of keys, counting, writing nothing."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Engine

from service.kit.db import transaction
from service.programme.operations import Programme
from service.tiers.population import store, store_people
from service.tiers.population.answers import Answer, Tallies
from service.tiers.population.rules import Question

CHUNK = 20_000
"""Members a statement goes through: a fraction of a second, between which one may stop."""

Watch = Callable[[int], bool]
"""Told how many members are done; False to stop."""


def simulate(
    engine: Engine, *, question: Question, programme: Programme, watch: Watch, chunk: int = CHUNK
) -> dict[str, object] | None:
    """Return what a draft would do to everybody, None where `watch` stopped it.

    Each range is read in a transaction of its own: what is bought meanwhile may be in it or not. Memory does
    not grow with the membership.
    """
    tallies, after, done = Tallies(), 0, 0
    while True:
        with transaction(engine) as conn:
            found = store.find_range(conn, after=after, size=chunk)
            if found is None:
                break
            last, count = found
            slices, samples = store_people.tally(
                conn, question=question, timezone=programme.timezone, keys=(after + 1, last)
            )
        tallies.add(slices, samples)
        after, done = last, done + count
        if not watch(done):
            return None
    with transaction(engine) as conn:
        store_ids = store.map_store_ids(conn)
    return Answer(question, tallies).to_json(
        point_value_minor=programme.settings.point_value_minor, store_ids=store_ids
    )
