"""One ledger posting, from the library call to the commit."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from sqlalchemy import Engine, event

from benchmarks.baselines.bare_psycopg import Sent, replay
from benchmarks.results import Row, milliseconds, ratio_of
from benchmarks.world import Database, World, tell
from service.kit.db import transaction
from service.ledger import operations as ledger
from service.ledger.operations import EarningRule

_POSTINGS = 500
_RULE = EarningRule(points=1, per_minor=3000, multiplier_bp=10000, tier="base")


def measure(world: World, *, rounds: int) -> list[Row]:
    """Measure the client's CPU time of one posting against the same statements by psycopg alone."""
    tell("postings")
    database = world.create("postings", template=base_name(world))
    members = list_members(database)
    post = _library(world, database)
    sent = record(database.engine, lambda: post(members[0], 1))
    figures, baselines = [], []
    number = 1
    with world.connect(database) as bare:
        for round_no in range(rounds + 1):
            spent = []
            for one in (post, lambda member, order: _bare(bare, sent, member, order)):
                started = time.process_time()
                for _ in range(_POSTINGS):
                    number += 1
                    one(members[number % len(members)], number)
                spent.append((time.process_time() - started) / _POSTINGS)
            if round_no:  # the first one warms up
                figures.append(spent[0])
                baselines.append(spent[1])
    world.drop("postings")
    return [
        Row(
            "one ledger posting, call to commit",
            f"{milliseconds(figures)} CPU",
            f"B1 {milliseconds(baselines)}",
            ratio_of(figures, baselines),
            2.5,
            note=f"{len(sent)} statements and the commit",
        )
    ]


def record(engine: Engine, work: Callable[[], object]) -> list[Sent]:
    """Return the statements that `work` sends, as the driver gets them."""
    sent: list[Sent] = []

    def note(_conn: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        sent.append((statement.encode(), dict(parameters)))

    event.listen(engine, "before_cursor_execute", note)
    try:
        work()
    finally:
        event.remove(engine, "before_cursor_execute", note)
    return sent


def base_name(world: World) -> str:
    """Return the name of the database of members without a ledger, made first."""
    _ = world.base
    return "base"


def _library(world: World, database: Database) -> Callable[[int, int], None]:
    available_at, now = world.now + timedelta(days=7), world.now

    def post(member_key: int, order_key: int) -> None:
        with transaction(database.engine) as conn:
            ledger.earn_points(
                conn,
                member_key=member_key,
                order_key=order_key,
                eligible_minor=123_400,
                rule=_RULE,
                occurred_at=now,
                available_at=available_at,
                expires_at=None,
                now=now,
            )

    return post


def _bare(conn: Any, sent: list[Sent], member_key: int, order_key: int) -> None:
    replay(conn, sent, changed={"member_key": member_key, "order_key": order_key})


def list_members(database: Database) -> list[int]:
    """Return every account, ascending."""
    from sqlalchemy import text

    with database.engine.connect() as conn:
        return list(conn.execute(text("SELECT member_key FROM balances ORDER BY 1")).scalars())
