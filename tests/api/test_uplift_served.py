"""A shop whose truth is known, played through the running service: what it reports must be that truth.

Whoever is active visits more, and buys more anyway. Recommendations add three points to the chance of coming
back. Members visit, are drawn by the service, and order as the truth says; only time is moved by hand, since
nobody can wait for sixty days.
"""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import pytest
from sqlalchemy import Engine, text

from service.kit.auth import create_key
from service.kit.db import open_engine, transaction
from service.kit.settings import Settings
from service.startup import make_ready
from tests.conftest import SCALE, create_database, drop_database
from tests.serving import serve_web

MEMBERS = 2_000 * SCALE
TRUTH = 0.03
CALLERS = 4
# The whole story happened so long ago that every window of 60 days and its grace of 30 are over.
MOVED = timedelta(days=100)


@dataclass(frozen=True, slots=True)
class Person:
    """A member as only the truth knows them."""

    member_id: str
    visits: bool
    share: float
    chance: float

    def comes_back(self, arm: str | None) -> bool:
        """Tell whether this person orders again, shown recommendations or not."""
        return self.chance < self.share + (TRUTH if arm == "treatment" else 0)


def make_people(seed: int) -> list[Person]:
    """Draw members of whom the active visit more and buy more, whatever they are shown."""
    chance = random.Random(seed)
    people = []
    for number in range(MEMBERS):
        activity = chance.random()
        visits = chance.random() < 0.3 + 0.6 * activity
        people.append(Person(f"member-{number:05}", visits, 0.1 + 0.3 * activity, chance.random()))
    return people


class Caller:
    """Sends requests over one connection."""

    def __init__(self, port: int, token: str) -> None:
        self.line = HTTPConnection("127.0.0.1", port, timeout=60)
        self.headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def send(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Return status and body of an answer."""
        self.line.request(method, path, None if body is None else json.dumps(body), self.headers)
        response = self.line.getresponse()
        return response.status, json.loads(response.read())


def send_all(port: int, token: str, requests: Sequence[tuple[str, str, object]]) -> list[Any]:
    """Send requests from several callers and return the answers in order."""
    queue: SimpleQueue[int] = SimpleQueue()
    for index in range(len(requests)):
        queue.put(index)
    answers: list[Any] = [None] * len(requests)
    failures: list[BaseException] = []

    def work() -> None:
        caller = Caller(port, token)
        try:
            while True:
                index = queue.get_nowait()
                status, answer = caller.send(*requests[index])
                assert status in {200, 201}, answer
                answers[index] = answer
        except Empty:
            return
        except BaseException as error:  # a thread's failure is the test's
            failures.append(error)
        finally:
            caller.line.close()

    threads = [threading.Thread(target=work) for _ in range(CALLERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    return answers


@pytest.fixture
def database(server_url: str) -> Iterator[tuple[str, Engine]]:
    """A database of the test's own, which other processes can reach."""
    url = create_database(server_url)
    engine = open_engine(url, pool_size=4)
    yield url, engine
    engine.dispose()
    drop_database(server_url, url)


@pytest.mark.timeout(3_000)
def test_what_the_service_reports_covers_the_truth_and_refuses_what_would_not(
    database: tuple[str, Engine], tmp_path: Path
) -> None:
    url, engine = database
    now = datetime.now(UTC)
    make_ready(engine, Settings.from_environment({"TIDEMARK_VAR": str(tmp_path)}), now=now)
    with transaction(engine) as conn:
        token = create_key(conn, role="admin", label="truth", now=now)
    people = make_people(seed=6)
    with serve_web(database_url=url, var=tmp_path, workers=2) as server:
        send_all(server.port, token, [("PUT", f"/v1/members/{one.member_id}", {}) for one in people])
        visitors = [one for one in people if one.visits]
        paths = [f"/v1/members/{one.member_id}/recommendations?placement=home" for one in visitors]
        shown = send_all(server.port, token, [("GET", path, None) for path in paths])
        arms = {
            one.member_id: answer["measurement"]["assignment"]["arm"]
            for one, answer in zip(visitors, shown, strict=True)
        }
        move_back(engine)
        back = [one for one in people if one.comes_back(arms.get(one.member_id))]
        send_all(server.port, token, [("POST", "/v1/orders", order_of(one, now)) for one in back])
        caller = Caller(server.port, token)
        _, listed = caller.send("GET", "/v1/experiments?status=running")
        path = f"/v1/experiments/{listed['data'][0]['key']}/uplift"
        by_assignment = caller.send("GET", path)
        by_exposure = caller.send("GET", f"{path}?anchor=first_exposure")
        naive = caller.send("GET", f"{path}?compare=exposed")
        caller.line.close()

    assert set(arms.values()) == {"holdout", "treatment"}
    for status, told in (by_assignment, by_exposure):
        assert status == 200, told
        check_covers(told["comparisons"][0], len(visitors))
    assert (naive[0], naive[1]["code"]) == (422, "not-randomised")
    # What would have been told: who is active comes back more, so the shown do, by far more than the truth.
    came_back = {one.member_id for one in back}
    exposed = [one.member_id in came_back for one in visitors]
    others = [one.member_id in came_back for one in people if not one.visits]
    assert sum(exposed) / len(exposed) - sum(others) / len(others) > 2 * TRUTH


def check_covers(comparison: dict[str, Any], visitors: int) -> None:
    """Hold a comparison against the truth."""
    assert comparison["sample_ratio"]["status"] == "ok"
    primary = comparison["results"]["primary"]
    assert primary["baseline"]["members"] + primary["tried"]["members"] == visitors
    assert primary["difference"]["low"] <= TRUTH <= primary["difference"]["high"]
    assert primary["always_valid"]["low"] <= TRUTH <= primary["always_valid"]["high"]


def order_of(person: Person, now: datetime) -> dict[str, Any]:
    """Return the order of somebody who comes back ten days after the visit."""
    placed_at = now - MOVED + timedelta(days=10)
    return {
        "order_id": f"order-{person.member_id}",
        "member_id": person.member_id,
        "placed_at": placed_at.isoformat(),
        "currency": "TWD",
        "lines": [{"sku": "tea", "quantity": 1, "amount": "500"}],
    }


def move_back(engine: Engine) -> None:
    """Let everything so far have happened that long ago."""
    with engine.begin() as conn:
        days = {"moved": MOVED}
        conn.execute(text("UPDATE members SET joined_at = joined_at - :moved"), days)
        conn.execute(text("UPDATE assignments SET assigned_at = assigned_at - :moved"), days)
        conn.execute(text("UPDATE exposures SET issued_at = issued_at - :moved"), days)
        conn.execute(text("UPDATE experiments SET started_at = started_at - :moved"), days)
