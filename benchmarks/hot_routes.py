"""The hot routes, by CPU time of the server's processes per request."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from statistics import median

import orjson

from benchmarks import cpu, load, shop
from benchmarks.load import request
from benchmarks.postings import record
from benchmarks.results import Row, milliseconds, ratio_of
from benchmarks.server import Server, serve
from benchmarks.world import Database, World, tell

BUDGETS = {"order": 10.0, "card": 3.0, "recommendations": 5.0}
TITLES = {
    "order": "POST /orders, three lines",
    "card": "GET /members/{id}/card",
    "recommendations": "GET /members/{id}/recommendations",
}
_STATUS = {"order": 201, "card": 200, "recommendations": 200, "rewards": 200}
_REWARDS_BUDGET = 5.0
"""As of recommendations: the same record, the same exposure."""
_WARM_UP = 400
_TURNS = 4
_ASKED_MEMBERS = 500
_CALLERS = count(1)


@dataclass(slots=True)
class Spent:
    """CPU seconds per request, one figure a turn: of the web workers and of PostgreSQL for them."""

    web: list[float] = field(default_factory=list)
    database: list[float] = field(default_factory=list)


class Caller:
    """Makes requests that the service has not seen yet."""

    def __init__(self, key: str, *, members: int, items: int) -> None:
        self._headers = {"Authorization": f"Bearer {key}"}
        self._members, self._items = members, items
        self._chance = random.Random(7)
        self._number = next(_CALLERS)
        self._orders = 0

    def make(self, kind: str, number: int) -> list[bytes]:
        """Return requests of a kind, each for some member."""
        if kind == "order":
            return [self._order() for _ in range(number)]
        # Few enough that each is enrolled in the experiment while warming up, as regulars are.
        asked = min(self._members, _ASKED_MEMBERS)
        return [
            request("GET", f"/v1/members/{shop.member_id(place % asked)}/{kind}", headers=self._headers)
            for place in range(number)
        ]

    def _order(self) -> bytes:
        self._orders += 1
        body = shop.order(
            f"b{self._number}-{self._orders}",
            member=self._chance.randrange(self._members),
            skus=[shop.chosen(self._items, self._chance) for _ in range(shop.LINES_PER_ORDER)],
            placed_at=datetime.now(UTC),
            chance=self._chance,
        )
        return request("POST", "/v1/orders", headers=self._headers, body=orjson.dumps(body))


@dataclass(frozen=True, slots=True)
class Subject:
    """A server with a database behind it, and who calls it."""

    server: Server
    database: Database
    caller: Caller

    def spend(self, kind: str, count: int, into: Spent | None) -> None:
        """Send requests and note what they cost."""
        requests = self.caller.make(kind, count)
        web, backends = self.server.cpu(), self.database.backends()
        load.send(self.server.port, requests, expected=_STATUS[kind])
        if into is not None:
            into.web.append(cpu.spent(web, self.server.cpu()) / count)
            into.database.append(cpu.spent(backends, self.database.backends()) / count)

    def warm_up(self) -> None:
        """Let connections, statements, caches and the model come to be."""
        for kind in BUDGETS:
            self.spend(kind, max(_WARM_UP, _ASKED_MEMBERS), None)


@contextmanager
def serve_service(world: World, database: Database) -> Iterator[Subject]:
    """Yield the service on a database, warmed up."""
    environment = {"DATABASE_URL": database.url, "TIDEMARK_VAR": str(world.folder)}
    key = world.make_key(database)
    metrics = world.folder / f"metrics-{database.engine.url.database}"
    metrics.mkdir(exist_ok=True)
    environment["PROMETHEUS_MULTIPROC_DIR"] = str(metrics)
    with serve("service.wsgi:app", environment=environment, probe="/readyz") as server:
        caller = Caller(key, members=world.sizes.members, items=world.sizes.items)
        subject = Subject(server, database, caller)
        subject.warm_up()
        yield subject


@contextmanager
def serve_bare() -> Iterator[tuple[Server, Callable[[int], float]]]:
    """Yield the bare route's server, and what measures it: seconds of CPU per request for so many."""
    with serve("benchmarks.baselines.bare_flask:app", environment={}, probe="/") as server:

        def spend(count: int) -> float:
            before = server.cpu()
            load.send(server.port, [request("GET", "/")] * count, expected=200)
            return cpu.spent(before, server.cpu()) / count

        spend(_WARM_UP)
        yield server, spend


def measure(world: World, kinds: Sequence[str], *, rounds: int, requests: int) -> list[Row]:
    """Measure routes against the bare one, turn by turn."""
    database = world.shop
    spent = {kind: Spent() for kind in kinds}
    bare: list[float] = []
    with ExitStack() as stack:
        _, spend_bare = stack.enter_context(serve_bare())
        subject = stack.enter_context(serve_service(world, database))
        for round_no in range(1, rounds + 1):
            tell(f"requests, round {round_no} of {rounds}")
            # Short turns: a machine that is shared is now fast, now slow, for a second or so at a time.
            for _ in range(_TURNS):
                bare.append(spend_bare(requests // _TURNS))
                for kind in kinds:
                    subject.spend(kind, requests // _TURNS, spent[kind])
    counts = count_statements(world, database)
    return [
        Row(
            TITLES[kind],
            f"{milliseconds(spent[kind].web)} CPU",
            f"B0 {milliseconds(bare)}",
            ratio_of(spent[kind].web, bare),
            BUDGETS[kind],
            note=(
                f"{counts[kind]} statements, PostgreSQL {milliseconds(spent[kind].database)} CPU; "
                f"quietest rounds {min(spent[kind].web) / min(bare):.2f}"
            ),
        )
        for kind in kinds
    ]


def measure_rewards(world: World, *, rounds: int, requests: int) -> list[Row]:
    """Measure a member's rewards in order against the bare route, turn by turn."""
    database = world.rewarded
    spent, bare = Spent(), list[float]()
    with ExitStack() as stack:
        _, spend_bare = stack.enter_context(serve_bare())
        subject = stack.enter_context(serve_service(world, database))
        subject.spend("rewards", _ASKED_MEMBERS, None)
        for round_no in range(1, rounds + 1):
            tell(f"rewards, round {round_no} of {rounds}")
            bare.append(spend_bare(2 * requests))
            subject.spend("rewards", requests, spent)
    statements = count_statements(world, database, ["rewards"])["rewards"]
    return [
        Row(
            f"GET /members/{{id}}/rewards, {shop.REWARDS} offered",
            f"{milliseconds(spent.web)} CPU",
            f"B0 {milliseconds(bare)}",
            ratio_of(spent.web, bare),
            _REWARDS_BUDGET,
            note=f"{statements} statements, PostgreSQL {milliseconds(spent.database)} CPU; "
            f"quietest rounds {min(spent.web) / min(bare):.2f}",
        )
    ]


def measure_growth(world: World, *, rounds: int, requests: int) -> list[Row]:
    """Measure each route with few members and with many, turn by turn."""
    few, many = world.shop, world.grown
    figures = {kind: (Spent(), Spent()) for kind in BUDGETS}
    with ExitStack() as stack:
        subjects = [stack.enter_context(serve_service(world, database)) for database in (few, many)]
        for round_no in range(1, rounds + 1):
            tell(f"requests with few and many members, round {round_no} of {rounds}")
            for kind, pair in figures.items():
                for subject, spent in zip(subjects, pair, strict=True):
                    subject.spend(kind, requests, spent)
    counts = [count_statements(world, database) for database in (few, many)]
    size = f"{world.sizes.members:,} → {world.sizes.members * world.sizes.growth:,} members"
    rows = []
    for kind, (before, after) in figures.items():
        for what, budget, old, new in (
            ("web", 1.3, before.web, after.web),
            ("PostgreSQL", 1.5, before.database, after.database),
        ):
            rows.append(
                Row(
                    f"{TITLES[kind]}, {size}, {what}" if what == "web" else f"{TITLES[kind]}, {what}",
                    f"{milliseconds(new)} CPU",
                    milliseconds(old),
                    ratio_of(new, old),
                    budget,
                    note=f"{counts[0][kind]} statements, then {counts[1][kind]}" if what == "web" else "",
                )
            )
    return rows


def count_statements(
    world: World, database: Database, kinds: Iterable[str] = tuple(BUDGETS)
) -> dict[str, int]:
    """Return how many statements each route sends once everything is warm."""
    from service.app import create_app

    key = world.make_key(database)
    caller = Caller(key, members=world.sizes.members, items=world.sizes.items)
    client = create_app(world.settings(), database.engine).test_client()
    counts = {}
    for kind in kinds:
        for _ in range(3):
            raw = caller.make(kind, 1)[0]
            head, _, body = raw.partition(b"\r\n\r\n")
            method, path, _ = head.decode().split(" ", 2)
            sent = record(
                database.engine,
                lambda method=method, path=path, body=body: client.open(  # type: ignore[misc]
                    path,
                    method=method,
                    data=body or None,
                    content_type="application/json" if body else None,
                    headers={"Authorization": f"Bearer {key}"},
                ),
            )
        counts[kind] = len(sent)
    return counts


def measure_worker(world: World, *, rounds: int, requests: int) -> list[Row]:
    """Measure a worker's private memory with a model loaded, and how long a server takes to answer."""
    del requests
    starts, bare_starts, private = [], [], []
    for round_no in range(1, min(rounds, 3) + 1):
        tell(f"starts, round {round_no}")
        with serve_bare() as (bare, _):
            bare_starts.append(bare.start_seconds)
            bare_private = max(map(cpu.private_bytes, bare.workers())) / 2**20
        with serve_service(world, world.shop) as subject:
            starts.append(subject.server.start_seconds)
            private.append(max(map(cpu.private_bytes, subject.server.workers())) / 2**20)
    return [
        Row(
            "web worker, private memory (MB)",
            f"{median(private):.0f} MB",
            f"bare {bare_private:.0f} MB",
            median(private),
            150,
            note=f"model of {world.sizes.items:,} items loaded, after requests",
        ),
        Row(
            "web server, start (s)",
            f"{median(starts):.2f} s",
            f"bare {median(bare_starts):.2f} s",
            median(starts),
            3,
            note="until /readyz answers",
        ),
    ]
