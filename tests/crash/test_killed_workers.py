"""Workers are killed in the middle of keyed writes; clients send again with the same key until answered."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from sqlalchemy import Engine, text

from service.kit.auth import create_key
from service.kit.clock import read_clock
from service.kit.db import transaction
from service.kit.settings import Settings
from service.laws import check_laws_now
from service.startup import make_ready
from tests.conftest import SCALE
from tests.killing import kill_workers_during
from tests.serving import WebServer, serve_web

WRITES = 200 if SCALE == 1 else 1000
KILLS = 4 if SCALE == 1 else 12
CLIENTS = 8
MEMBERS = 10
POINTS = 7
AMOUNT = 300
PATIENCE_SECONDS = 240


@dataclass(frozen=True, slots=True)
class Write:
    """One write and the key it is sent with, every time."""

    path: str
    key: str
    body: dict[str, Any]


@dataclass(slots=True)
class Tally:
    """What the clients saw."""

    answers: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    seen: Counter[str] = field(default_factory=Counter)


def list_writes() -> list[Write]:
    """Half orders, half adjustments, over a few members: each waits for its member's others."""
    placed_at = datetime.now(UTC).isoformat()
    writes = []
    for number in range(WRITES):
        member_id = f"m{number % MEMBERS}"
        key = f"write-{number}"
        if number % 2:
            path, body = f"/v1/members/{member_id}/points/adjustments", {"points": POINTS, "reason": key}
        else:
            line = {"sku": "tea", "quantity": 1, "amount": str(AMOUNT)}
            path, body = (
                "/v1/orders",
                {
                    "order_id": key,
                    "member_id": member_id,
                    "placed_at": placed_at,
                    "currency": "TWD",
                    "lines": [line],
                },
            )
        writes.append(Write(path, key, body))
    return writes


def send_all(port: int, token: str, queue: SimpleQueue[Write], tally: Tally) -> None:
    """Send writes from the queue, each again and again until it is answered."""
    line: HTTPConnection | None = None
    try:
        while True:
            try:
                write = queue.get_nowait()
            except Empty:
                return
            line = send_until_answered(line, port, token, write, tally)
    finally:
        if line is not None:
            line.close()


def send_until_answered(
    line: HTTPConnection | None, port: int, token: str, write: Write, tally: Tally
) -> HTTPConnection:
    """Return the connection that the answer came over."""
    headers = {
        "Authorization": f"Bearer {token}",
        "Content-Type": "application/json",
        "Idempotency-Key": write.key,
    }
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        line = line or HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            line.request("POST", write.path, json.dumps(write.body), headers)
            response = line.getresponse()
            answer = response.read()
        except (OSError, HTTPException) as error:
            tally.seen[type(error).__name__] += 1
            line.close()
            line = None
            time.sleep(0.02)
            continue
        if response.status == 201:
            tally.answers[write.key] = (response.status, answer)
            tally.seen["replayed" if response.headers.get("Idempotent-Replayed") else "answered"] += 1
            return line
        code = json.loads(answer)["code"]
        # Its first sending may still run in a worker that lives; the service may have no thread free.
        assert (response.status, code) in {(409, "request-in-flight"), (503, "unavailable")}, answer
        tally.seen[code] += 1
        time.sleep(0.02)
    raise AssertionError(f"{write.key} was not answered in {PATIENCE_SECONDS} s")


def test_every_keyed_write_takes_effect_once_however_often_workers_are_killed(
    database: tuple[str, Engine], tmp_path: Path
) -> None:
    url, engine = database
    now = datetime.now(UTC)
    make_ready(engine, Settings.from_environment({"TIDEMARK_VAR": str(tmp_path)}), now=now)
    with transaction(engine) as conn:
        token = create_key(conn, role="server", label="crash", now=now)

    writes = list_writes()
    tally = Tally()
    with serve_web(database_url=url, var=tmp_path, workers=2) as server:
        enrol_members(server, token)
        queue: SimpleQueue[Write] = SimpleQueue()
        for write in writes:
            queue.put(write)
        killed = kill_workers_during(
            [lambda: send_all(server.port, token, queue, tally)] * CLIENTS,
            server=server,
            engine=engine,
            share_done=lambda: len(tally.answers) / WRITES,
            kills=KILLS,
            seed=20,
        )
        replays = [replay(server, token, write) for write in writes[:: WRITES // 20]]

    assert killed == KILLS
    assert len(tally.answers) == WRITES
    assert sum(tally.seen[name] for name in tally.seen if name not in {"answered", "replayed"}) > 0
    for write, answer in zip(writes[:: WRITES // 20], replays, strict=True):
        assert answer == tally.answers[write.key], "the answer kept is the answer given"
    check_books(engine)
    assert check_laws_now(engine, clock=read_clock, progress=lambda *_: None).violations == []


def enrol_members(server: WebServer, token: str) -> None:
    """Enrol the members that the writes are about."""
    line = HTTPConnection("127.0.0.1", server.port, timeout=30)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    for number in range(MEMBERS):
        line.request("PUT", f"/v1/members/m{number}", "{}", headers)
        response = line.getresponse()
        response.read()
        assert response.status == 201
    line.close()


def replay(server: WebServer, token: str, write: Write) -> tuple[int, bytes]:
    """Send a write once more and return its answer, which must be a kept one."""
    line = HTTPConnection("127.0.0.1", server.port, timeout=30)
    headers = {
        "Authorization": f"Bearer {token}",
        "Content-Type": "application/json",
        "Idempotency-Key": write.key,
    }
    line.request("POST", write.path, json.dumps(write.body), headers)
    response = line.getresponse()
    answer = response.read()
    assert response.headers["Idempotent-Replayed"] == "true"
    line.close()
    return response.status, answer


def check_books(engine: Engine) -> None:
    """Compare facts, transactions and balances with what was sent."""
    orders = WRITES // 2
    adjustments = WRITES - orders
    with engine.connect() as conn:
        counted = conn.execute(
            text(
                "SELECT (SELECT count(*) FROM orders) AS orders,"
                " (SELECT count(*) FROM order_keys) AS order_keys,"
                " (SELECT count(*) FROM idempotency_keys) AS kept,"
                " (SELECT count(*) FROM ledger_transactions WHERE kind = 'earn') AS earned,"
                " (SELECT count(DISTINCT order_key) FROM ledger_transactions WHERE kind = 'earn') AS once,"
                " (SELECT count(*) FROM ledger_transactions WHERE kind = 'adjust') AS adjusted,"
                " (SELECT count(DISTINCT reason) FROM ledger_transactions WHERE kind = 'adjust') AS reasons,"
                " (SELECT sum(available) FROM balances) AS available,"
                " (SELECT sum(points) FROM postings p JOIN ledger_transactions t USING (transaction_key)"
                "   WHERE t.kind = 'adjust') AS adjusted_points"
            )
        ).one()
        by_member = conn.execute(
            text("SELECT member_key, count(*) AS orders FROM orders GROUP BY member_key")
        ).all()
    assert (counted.orders, counted.order_keys) == (orders, orders)
    assert (counted.earned, counted.once) == (orders, orders)
    assert (counted.adjusted, counted.reasons) == (adjustments, adjustments)
    assert counted.adjusted_points == adjustments * POINTS
    assert counted.available == adjustments * POINTS
    assert counted.kept == WRITES
    assert sum(row.orders for row in by_member) == orders
