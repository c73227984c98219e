"""What each convention of the API adds to a request, in CPU time of the web processes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from statistics import median

import orjson

from benchmarks import cpu, load
from benchmarks.hot_routes import serve_bare
from benchmarks.load import request
from benchmarks.results import Row, milliseconds, ratio_of
from benchmarks.server import Server, serve
from benchmarks.world import Database, World, tell

_ORDER = {
    "order_id": "o1",
    "member_id": "m1",
    "placed_at": "2026-11-21T19:03:11+08:00",
    "currency": "TWD",
    "lines": [{"sku": f"tea-{number}", "quantity": number, "amount": "320.00"} for number in (1, 2, 3)],
    "shipping": "60",
    "channel": "web",
}
_UNLIMITED = {"TIDEMARK_RATE_LIMIT_PER_KEY": "0", "TIDEMARK_RATE_LIMIT_PER_MEMBER": "0"}
_LIMITED = {"TIDEMARK_RATE_LIMIT_PER_KEY": "1000000000"}
STEPS = ("surroundings", "door", "rate limit", "validation", "idempotency key")
_TITLES = {
    "surroundings": "a route with request id, headers, metrics",
    "door": "… and a key, its role, a connection",
    "rate limit": "… and a rate limit for the key",
    "validation": "a key, and a validated body (order, three lines)",
    "idempotency key": "… and an idempotency key, its answer kept",
}
_BEFORE = {
    "door": "surroundings",
    "rate limit": "door",
    "validation": "door",
    "idempotency key": "validation",
}


class Requests:
    """Makes the requests of each step; an idempotency key is never used twice."""

    def __init__(self, key: str) -> None:
        self._headers = {"Authorization": f"Bearer {key}"}
        self._body = orjson.dumps(_ORDER)
        self._keys = 0

    def make(self, step: str, count: int) -> list[bytes]:
        """Return so many requests of a step."""
        if step == "surroundings":
            return [request("GET", "/measured/plain")] * count
        if step in {"door", "rate limit"}:
            return [request("GET", "/v1/measured/door", headers=self._headers)] * count
        if step == "validation":
            return [request("POST", "/v1/measured/body", headers=self._headers, body=self._body)] * count
        return [self._keyed() for _ in range(count)]

    def _keyed(self) -> bytes:
        self._keys += 1
        headers = self._headers | {"Idempotency-Key": f"measured-{self._keys}"}
        return request("POST", "/v1/measured/keyed", headers=headers, body=self._body)


def measure(world: World, *, rounds: int, requests: int) -> list[Row]:
    """Measure every step against the bare route, turn by turn."""
    database = world.shop
    made = Requests(world.make_key(database))
    web: dict[str, list[float]] = {step: [] for step in STEPS}
    backends: dict[str, list[float]] = {step: [] for step in STEPS}
    bare: list[float] = []
    with ExitStack() as stack:
        spend_bare: Callable[[int], float]
        _, spend_bare = stack.enter_context(serve_bare())
        unlimited = stack.enter_context(_serve(world, database, _UNLIMITED))
        limited = stack.enter_context(_serve(world, database, _LIMITED))
        for round_no in range(rounds + 1):
            tell(f"conventions, round {round_no} of {rounds}")
            counted = requests if round_no else 200  # the first warms up
            bare_cost = spend_bare(counted)
            for step in STEPS:
                server = limited if step == "rate limit" else unlimited
                cost = _spend(server, database, made.make(step, counted))
                if round_no:
                    web[step].append(cost[0])
                    backends[step].append(cost[1])
            if round_no:
                bare.append(bare_cost)
    return [
        Row(
            _TITLES[step],
            f"{milliseconds(web[step])} CPU",
            f"B0 {milliseconds(bare)}",
            ratio_of(web[step], bare),
            note=_note(step, web, backends, bare),
        )
        for step in STEPS
    ]


def _note(step: str, web: dict[str, list[float]], backends: dict[str, list[float]], bare: list[float]) -> str:
    before = web[_BEFORE[step]] if step in _BEFORE else bare
    added = median(now - then for now, then in zip(web[step], before, strict=True)) * 1000
    return f"adds {added:+.2f} ms; PostgreSQL {milliseconds(backends[step])} CPU"


def _serve(world: World, database: Database, limits: dict[str, str]) -> AbstractContextManager[Server]:
    metrics = world.folder / f"metrics-conventions-{'un' if limits is _UNLIMITED else ''}limited"
    metrics.mkdir(exist_ok=True)
    environment = {
        "DATABASE_URL": database.url,
        "TIDEMARK_VAR": str(world.folder),
        "PROMETHEUS_MULTIPROC_DIR": str(metrics),
        **limits,
    }
    return serve("benchmarks.conventions_app:app", environment=environment, probe="/readyz")


def _spend(server: Server, database: Database, requests: list[bytes]) -> tuple[float, float]:
    """Send requests and return the CPU seconds of each: of the web workers, and of PostgreSQL."""
    workers, backends = server.cpu(), database.backends()
    load.send(server.port, requests, expected=200)
    return (
        cpu.spent(workers, server.cpu()) / len(requests),
        cpu.spent(backends, database.backends()) / len(requests),
    )
