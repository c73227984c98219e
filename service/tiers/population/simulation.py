"""Go through the whole membership under a draft: in ranges of keys, counting, writing nothing."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any

from sqlalchemy import Connection, Engine

from service.kit.db import transaction
from service.programme.operations import Programme
from service.tiers.population import store, store_people
from service.tiers.population.anchors import find_anchors
from service.tiers.population.answers import Answer, Tallies
from service.tiers.population.ranges import each_range
from service.tiers.population.rules import COSTED, Question, Tally
from service.tiers.population.store import Range
from service.tiers.population.store_metrics import Anchors, Keys

CHUNK = 20_000
"""Members a statement goes through: a fraction of a second, between which one may stop."""
_PAST_SHARE, _PAST_TIMES = 10, 5
"""Of a past day a tenth of the membership, at most five times as many: its orders stand in the order of time,
so that each range reads nearly all of a year's pages."""
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

    def count(conn: Connection, found: Range) -> Tally:
        return store_people.tally(
            conn,
            counting=counting,
            question=question,
            timezone=programme.timezone,
            keys=found.keys,
            anchors=_find_anchors(conn, question, programme, found.keys),
        )

    done = 0
    with closing(each_range(engine, size=chunk, work=count)) as counted:
        for tally in counted:
            done += tallies.add(tally)
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
