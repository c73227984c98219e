"""The postings of a checkout, each from the library call to the commit: earn, hold, capture, release, refund.

The statements are recorded on one copy of the database, measured through the library on a second and sent
again by psycopg alone on a third: all three go through the same states, so the same keys meet the same rows.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

from sqlalchemy import Connection

from benchmarks.baselines.bare_psycopg import Sent, replay
from benchmarks.postings import base_name, list_members, record
from benchmarks.results import Row, milliseconds, ratio_of
from benchmarks.world import Database, World, tell
from service.kit.db import open_engine, transaction
from service.ledger import operations as ledger
from service.ledger.operations import EarningRule

VERBS = ("earn", "hold", "capture", "hold again", "release", "refund")
_STORIES = 250
_CALLERS = 32
_POSTINGS = 100
_RULE = EarningRule(points=1, per_minor=3000, multiplier_bp=10000, tier="base")


@dataclass(slots=True)
class Checkouts:
    """Plays the same checkouts on a database, one verb a transaction."""

    world: World
    database: Database
    members: list[int]
    holds: dict[int, str]

    def play(self, verb: str, number: int) -> None:
        """Do one verb of the checkout of that number."""
        with transaction(self.database.engine) as conn:
            getattr(self, f"_{verb.split(maxsplit=1)[0]}")(conn, number)

    def _member(self, number: int) -> int:
        return self.members[number % len(self.members)]

    def _earn(self, conn: Connection, number: int) -> None:
        now = self.world.now
        ledger.earn_points(
            conn, member_key=self._member(number), order_key=number, eligible_minor=300_000, rule=_RULE,
            occurred_at=now, available_at=now, expires_at=None, now=now,
        )  # fmt: skip

    def _hold(self, conn: Connection, number: int) -> None:
        ttl = timedelta(hours=1)
        held = ledger.hold_points(
            conn, member_key=self._member(number), points=40, ttl=ttl, now=self.world.now
        )
        self.holds[number] = held.hold_id

    def _capture(self, conn: Connection, number: int) -> None:
        ledger.capture_hold(
            conn, hold_id=self.holds[number], points=30, order_id=f"o{number}", order_key=number,
            now=self.world.now,
        )  # fmt: skip

    def _release(self, conn: Connection, number: int) -> None:
        ledger.release_hold(conn, hold_id=self.holds[number], now=self.world.now)

    def _refund(self, conn: Connection, number: int) -> None:
        ledger.take_back_points(
            conn, member_key=self._member(number), order_key=number, refund_key=number,
            eligible_left_minor=100_000, occurred_at=self.world.now, policy="clamp", now=self.world.now,
        )  # fmt: skip


def measure(world: World, *, rounds: int) -> list[Row]:
    """Measure the client's CPU time of each verb against the same statements by psycopg alone."""
    tell("the postings of a checkout")
    recorded, played = (_checkouts(world, name) for name in ("recorded", "played"))
    bare = world.create("bare", template=base_name(world))
    figures: dict[str, list[float]] = {verb: [] for verb in VERBS}
    baselines: dict[str, list[float]] = {verb: [] for verb in VERBS}
    statements = dict.fromkeys(VERBS, 0)
    with world.connect(bare) as conn:
        for round_no in range(rounds + 1):
            numbers = range(1 + round_no * _STORIES, 1 + (round_no + 1) * _STORIES)
            for verb in VERBS:
                sent = [_record(recorded, verb, number) for number in numbers]
                statements[verb] = len(sent[-1])
                ours = _time(partial(played.play, verb), numbers)
                theirs = _time(partial(_replay, conn, sent, numbers[0]), numbers)
                if round_no:  # the first one warms up
                    figures[verb].append(ours)
                    baselines[verb].append(theirs)
    for name in ("recorded", "played", "bare"):
        world.drop(name)
    return [
        Row(
            f"posting: {verb}",
            f"{milliseconds(figures[verb])} CPU",
            f"B1 {milliseconds(baselines[verb])}",
            ratio_of(figures[verb], baselines[verb]),
            2.5,
            note=f"{statements[verb]} statements and the commit",
        )
        for verb in VERBS
    ]


def measure_hot(world: World, *, rounds: int) -> list[Row]:
    """Measure postings a second of one member and many callers against the same statements, bare."""
    tell(f"one member, {_CALLERS} callers")
    ours, theirs = (world.create(name, template=base_name(world)) for name in ("hot", "bare"))
    member = list_members(ours)[0]
    recorded = _checkouts(world, "recorded")
    sent = _record(recorded, "earn", 0)
    engine = open_engine(f"{ours.url}&application_name=bench", pool_size=_CALLERS)
    crowd = Checkouts(world, Database(ours.url, engine, ours.programme), [member], {})
    lines = [world.connect(theirs) for _ in range(_CALLERS)]
    figures, baselines = [], []
    for round_no in range(rounds + 1):
        first = 1 + round_no * _CALLERS * _POSTINGS
        library = _crowd(lambda _, number: crowd.play("earn", number), first)
        bare = _crowd(
            lambda caller, number: replay(
                lines[caller], sent, changed={"member_key": member, "order_key": number}
            ),
            first,
        )
        if round_no:
            figures.append(library)
            baselines.append(bare)
    for line in lines:
        line.close()
    engine.dispose()
    for name in ("hot", "bare", "recorded"):
        world.drop(name)
    rates = [f"{sorted(rates)[len(rates) // 2]:,.0f}/s" for rates in (figures, baselines)]
    return [
        Row(
            f"hot account: one member, {_CALLERS} callers",
            rates[0],
            f"B1 {rates[1]}",
            ratio_of(figures, baselines),
            0.5,
            at_least=True,
            note="postings a second, both sides threads of one process",
        )
    ]


def _checkouts(world: World, name: str) -> Checkouts:
    database = world.create(name, template=base_name(world))
    return Checkouts(world, database, list_members(database), {})


def _record(checkouts: Checkouts, verb: str, number: int) -> list[Sent]:
    return record(checkouts.database.engine, lambda: checkouts.play(verb, number))


def _replay(conn: Any, sent: list[list[Sent]], first: int, number: int) -> None:
    replay(conn, sent[number - first], changed={})


def _time(one: Callable[[int], Any], numbers: range) -> float:
    started = time.process_time()
    for number in numbers:
        one(number)
    return (time.process_time() - started) / len(numbers)


def _crowd(one: Callable[[int, int], Any], first: int) -> float:
    """Let all callers post at once and return how many postings a second came of it."""
    broken: list[BaseException] = []

    def work(caller: int) -> None:
        try:
            for number in range(first + caller, first + _CALLERS * _POSTINGS, _CALLERS):
                one(caller, number)
        except BaseException as error:  # a thread's failure is the measurement's
            broken.append(error)

    threads = [threading.Thread(target=work, args=(caller,)) for caller in range(_CALLERS)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if broken:
        raise broken[0]
    return _CALLERS * _POSTINGS / (time.perf_counter() - started)
