"""Two hundred callers at the points of twenty members, while the workers that serve them are killed.

Orders (half of them told ten days late), holds, captures, releases, refunds, cancellations, adjustments and
merges, each request sent again with its key until it is answered. Afterwards the books are held against the
answers: what was said is what was done, once, and nothing else.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from sqlalchemy import Engine, text

from service.cli.main import tidemark
from service.kit.auth import create_key
from service.kit.clock import read_clock
from service.kit.db import transaction
from service.kit.settings import Settings
from service.laws import check_laws_now
from service.startup import make_ready
from tests.conftest import SCALE
from tests.killing import kill_workers_during
from tests.serving import WebServer, serve_web

CALLERS = 200
STORIES = 200 if SCALE == 1 else 3_000
KILLS = 4 if SCALE == 1 else 40
MEMBERS = 20
MERGED = {19: 0, 18: 1, 17: 2, 16: 19}
WORKERS = 3
PATIENCE_SECONDS = 420

# What a caller sends again: the first sending may still run in a worker that lives, or nobody had room.
AGAIN = {(409, "request-in-flight"), (503, "unavailable")}


@dataclass(frozen=True, slots=True)
class Said:
    """An answer, and the request that it is for."""

    path: str
    body: dict[str, Any]
    key: str
    status: int
    raw: bytes

    @property
    def told(self) -> dict[str, Any]:
        """Return what the answer holds."""
        return dict(json.loads(self.raw))

    @property
    def code(self) -> str | None:
        """Return why it was refused; None where it was not."""
        return None if self.status < 300 else str(self.told["code"])


@dataclass(slots=True)
class Books:
    """What all callers saw together."""

    said: list[Said] = field(default_factory=list)
    seen: Counter[str] = field(default_factory=Counter)

    def answered(self, ending: str, *, refused: bool = False) -> list[Said]:
        """Return the answers of a kind of path."""
        return [one for one in self.said if one.path.endswith(ending) and (one.status >= 300) == refused]


class Caller:
    """One of the callers: sends each request until it is answered, over a connection that may break."""

    def __init__(self, port: int, token: str, books: Books) -> None:
        self.port = port
        self.token = token
        self.books = books
        self.line: HTTPConnection | None = None

    def send(self, path: str, body: dict[str, Any] | None, key: str) -> Said:
        """Send a request with its key until it is answered, and remember the answer."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            answer = self._try(path, body, key)
            if answer is not None:
                self.books.said.append(answer)
                return answer
            time.sleep(0.02 + random.random() * 0.05)
        raise AssertionError(f"{key} was not answered in {PATIENCE_SECONDS} s")

    def _try(self, path: str, body: dict[str, Any] | None, key: str) -> Said | None:
        headers = {"Authorization": f"Bearer {self.token}", "Idempotency-Key": key}
        if body is not None:
            headers["Content-Type"] = "application/json"
        self.line = self.line or HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            self.line.request("POST", path, None if body is None else json.dumps(body), headers)
            response = self.line.getresponse()
            raw = response.read()
        except (OSError, HTTPException) as error:
            self.books.seen[type(error).__name__] += 1
            self.close()
            return None
        assert b"deadlock" not in raw.lower(), raw
        assert b"serializ" not in raw.lower(), raw
        assert response.status != 500, raw
        answer = Said(path, body or {}, key, response.status, raw)
        self.books.seen["replayed" if response.headers.get("Idempotent-Replayed") else "answered"] += 1
        if (answer.status, answer.code) not in AGAIN:
            return answer
        self.books.seen[f"{answer.code}: {answer.told['detail']}"] += 1
        return None

    def close(self) -> None:
        """Give up the connection."""
        if self.line is not None:
            self.line.close()
            self.line = None


def play(caller: Caller, number: int) -> None:
    """One story of a shop; which one, and whose, comes of its number alone."""
    chance = random.Random(number)
    member = f"m{chance.randrange(MEMBERS)}"
    story = (adjust, buy_and_return, buy_and_cancel, hold_and_capture, hold_and_let_go, pay_with_points)
    story[number % len(story)](caller, member, number, chance)


def adjust(caller: Caller, member: str, number: int, chance: random.Random) -> None:
    """Give some, and take some that may not be there."""
    path = f"/v1/members/{member}/points/adjustments"
    for turn, points in enumerate((chance.randrange(1, 90), -chance.randrange(1, 400))):
        key = f"adjust-{number}-{turn}"
        caller.send(path, {"points": points, "reason": key}, key)


def buy_and_return(caller: Caller, member: str, number: int, chance: random.Random) -> None:
    """Buy, and give a part back twice."""
    buy(caller, member, number)
    for turn in range(2):
        refund(caller, number, turn, str(chance.randrange(1, 450)))


def buy_and_cancel(caller: Caller, member: str, number: int, chance: random.Random) -> None:
    """Buy, give a part back, call the rest off."""
    buy(caller, member, number)
    refund(caller, number, 0, str(chance.randrange(1, 900)))
    body = {"cancelled_at": now(), "reason": "out of stock"}
    caller.send(f"/v1/orders/o{number}/cancel", body, f"cancel-{number}")


def hold_and_capture(caller: Caller, member: str, number: int, chance: random.Random) -> None:
    """Set points aside and spend some of them."""
    held = hold(caller, member, number, chance, ttl_seconds=600)
    if held is not None:
        body = {"order_id": f"till-{number}", "points": chance.randrange(1, held["points"] + 2)}
        caller.send(f"/v1/points/holds/{held['hold_id']}/capture", body, f"capture-{number}")


def hold_and_let_go(caller: Caller, member: str, number: int, chance: random.Random) -> None:
    """Set points aside; give them free, or forget them."""
    held = hold(caller, member, number, chance, ttl_seconds=chance.choice((1, 600)))
    if held is not None and chance.random() < 0.6:
        caller.send(f"/v1/points/holds/{held['hold_id']}/release", None, f"release-{number}")


def pay_with_points(caller: Caller, member: str, number: int, chance: random.Random) -> None:
    """Buy with points, and give a part back, which brings points back."""
    held = hold(caller, member, number, chance, ttl_seconds=600)
    if held is not None:
        buy(caller, member, number, points_hold_id=held["hold_id"])
        refund(caller, number, 0, str(chance.randrange(1, 900)))


def hold(
    caller: Caller, member: str, number: int, chance: random.Random, *, ttl_seconds: int
) -> dict[str, Any] | None:
    body = {"points": chance.randrange(1, 120), "ttl_seconds": ttl_seconds, "order_id": f"o{number}"}
    answer = caller.send(f"/v1/members/{member}/points/holds", body, f"hold-{number}")
    return answer.told if answer.status == 201 else None


def buy(caller: Caller, member: str, number: int, **fields: Any) -> None:
    """Place an order; every other one is told ten days late."""
    placed_at = datetime.now(UTC) - timedelta(days=10 * (number // 6 % 2))
    line = {"sku": f"sku-{number % 7}", "quantity": 1, "amount": "900"}
    body = {
        "order_id": f"o{number}",
        "member_id": member,
        "placed_at": placed_at.isoformat(),
        "currency": "TWD",
        "lines": [line],
    }
    caller.send("/v1/orders", body | fields, f"order-{number}")


def refund(caller: Caller, number: int, turn: int, amount: str) -> None:
    body = {
        "refund_id": f"r{number}-{turn}",
        "order_id": f"o{number}",
        "refunded_at": now(),
        "amount": amount,
    }
    caller.send("/v1/refunds", body, f"refund-{number}-{turn}")


def now() -> str:
    return datetime.now(UTC).isoformat()


def tell_stories(server: WebServer, token: str, books: Books, place: int) -> None:
    """Play one caller's share of the stories."""
    caller = Caller(server.port, token, books)
    try:
        for number in range(place, STORIES, CALLERS):
            play(caller, number)
    finally:
        caller.close()


def merge_some(
    server: WebServer, token: str, books: Books, merged: Counter[str], done: threading.Event
) -> None:
    """Merge pairs of members while everybody is at them, each asked for twice at once."""

    def merge(source: int, into: int, turn: int) -> None:
        caller = Caller(server.port, token, books)
        body = {"into": f"m{into}", "reason": "the same person"}
        try:
            answer = caller.send(f"/v1/members/m{source}/merge", body, f"merge-{source}-{turn}")
            merged[answer.code or "merged"] += 1
        finally:
            caller.close()

    for place, (source, into) in enumerate(MERGED.items()):
        while len(books.said) < (place + 1) * STORIES // 3 and not done.wait(0.005):
            pass
        with ThreadPoolExecutor(2) as twice:
            list(twice.map(partial(merge, source, into), range(2)))


def end_return_periods(server: WebServer, admin: str, books: Books, done: threading.Event) -> None:
    """Let points be available at once from the middle on: refunds meet pending and available ones."""
    while len(books.said) < STORIES and not done.wait(0.01):
        pass
    line = HTTPConnection("127.0.0.1", server.port, timeout=30)
    headers = {"Authorization": f"Bearer {admin}", "Content-Type": "application/json"}
    body = json.dumps({"values": {"return_period_days": 0}, "reason": "the middle of the test"})
    for _ in range(600):
        try:
            line.request("PUT", "/v1/settings", body, headers)
            response = line.getresponse()
            response.read()
            if response.status == 200:
                books.seen["settings changed"] += 1
                break
        except (OSError, HTTPException):
            line.close()
        time.sleep(0.1)
    line.close()


def test_two_hundred_callers_and_killed_workers_leave_the_books_as_the_answers_say(
    database: tuple[str, Engine], tmp_path: Path
) -> None:
    url, engine = database
    settings = Settings.from_environment({"TIDEMARK_VAR": str(tmp_path), "TIDEMARK_SECRET_KEY": "fire"})
    make_ready(engine, settings, now=datetime.now(UTC))
    with transaction(engine) as conn:
        token = create_key(conn, role="server", label="fire", now=datetime.now(UTC))
        admin = create_key(conn, role="admin", label="fire", now=datetime.now(UTC))
    books, merged = Books(), Counter[str]()
    environment = {"TIDEMARK_SECRET_KEY": "fire", "TIDEMARK_RATE_LIMIT_PER_KEY": "0"}
    with serve_web(database_url=url, var=tmp_path, workers=WORKERS, environment=environment) as server:
        enrol(server, token)
        killed = kill_workers_during(
            [partial(tell_stories, server, token, books, place) for place in range(CALLERS)],
            server=server,
            engine=engine,
            # Some three answers a story; what is refused early has fewer.
            share_done=lambda: len(books.said) / (2.2 * STORIES),
            kills=KILLS,
            seed=5,
            beside=(
                partial(merge_some, server, token, books, merged),
                partial(end_return_periods, server, admin, books),
            ),
        )
        first = list(books.said)
        check_replays(Caller(server.port, token, Books()), first)
        log = server.log.read_text()

    assert killed == KILLS
    assert books.seen["settings changed"] == 1
    assert merged == {"merged": 3, "already-merged": 3, "survivor-merged": 2}
    assert len({one.key for one in first}) == len(first)
    assert "transaction given up" not in log
    check_answers(books)
    check_books(engine, books)
    assert check_laws_now(engine, clock=read_clock, progress=lambda *_: None).violations == []
    verified = CliRunner().invoke(
        tidemark,
        ["points", "verify"],
        env={"DATABASE_URL": url, "TIDEMARK_VAR": str(tmp_path), "TIDEMARK_SECRET_KEY": "fire"},
    )
    assert (verified.exit_code, json.loads(verified.output.splitlines()[-1])) == (0, {"violations": 0})
    print(f"{len(first)} answers, {dict(books.seen)}, deadlocks {count_deadlocks(engine)}")  # noqa: T201


def enrol(server: WebServer, token: str) -> None:
    """Enrol the members, each with some points to lose."""
    line = HTTPConnection("127.0.0.1", server.port, timeout=30)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    for number in range(MEMBERS):
        joined_at = (datetime.now(UTC) - timedelta(days=400)).isoformat()
        line.request("PUT", f"/v1/members/m{number}", json.dumps({"joined_at": joined_at}), headers)
        response = line.getresponse()
        assert (response.status, bool(response.read())) == (201, True)
        body = {"points": 100, "reason": "welcome"}
        keyed = headers | {"Idempotency-Key": f"welcome-{number}"}
        line.request("POST", f"/v1/members/m{number}/points/adjustments", json.dumps(body), keyed)
        response = line.getresponse()
        assert (response.status, bool(response.read())) == (201, True)
    line.close()


def check_replays(caller: Caller, said: list[Said]) -> None:
    """Every kept answer is the one that was given."""
    kept = [one for one in said if one.status < 300]
    for one in kept[:: max(1, len(kept) // 60)]:
        again = caller.send(one.path, one.body or None, one.key)
        assert (again.status, again.raw) == (one.status, one.raw), one.key
    caller.close()


def check_answers(books: Books) -> None:
    """What was refused was refused for a reason of the shop's own."""
    refused = Counter((one.path.rsplit("/", 1)[-1], one.code) for one in books.said if one.status >= 300)
    assert set(refused) <= {
        ("adjustments", "insufficient-points"),
        ("holds", "insufficient-points"),
        ("capture", "capture-above-hold"),
        ("refunds", "refund-above-left"),
        ("release", "hold-ended"),
        ("orders", "hold-ended"),
        ("orders", "hold-not-known"),
        ("refunds", "unknown-order"),
        ("merge", "already-merged"),
        ("merge", "survivor-merged"),
    }, refused
    for ending in ("adjustments", "orders", "refunds", "cancel", "holds", "capture", "release"):
        assert books.answered(ending), f"no {ending} was answered"


def check_books(engine: Engine, books: Books) -> None:
    """Each key took effect once: the books hold what the answers say, and nothing else."""
    adjusted = books.answered("adjustments")
    held, captured = books.answered("holds"), books.answered("capture")
    orders, refunds, cancelled = (books.answered(one) for one in ("orders", "refunds", "cancel"))
    with engine.connect() as conn:
        counted = conn.execute(
            text(
                "SELECT (SELECT count(*) FROM idempotency_keys) AS kept,"
                " (SELECT count(*) FROM orders) AS orders,"
                " (SELECT count(*) FROM refunds) AS refunds,"
                " (SELECT count(*) FROM point_holds) AS holds,"
                " (SELECT count(*) FROM ledger_transactions WHERE kind = 'earn') AS earned,"
                " (SELECT count(*) FROM ledger_transactions WHERE kind = 'adjust') AS adjusted,"
                " (SELECT count(DISTINCT reason) FROM ledger_transactions WHERE kind = 'adjust') AS reasons,"
                " (SELECT count(*) FROM ledger_transactions WHERE kind = 'capture') AS captures,"
                " (SELECT coalesce(sum(captured), 0) FROM point_holds) AS spent,"
                " (SELECT sum(pending + available + held - debt) FROM balances) AS points"
            )
        ).one()
    assert counted.kept == sum(one.status < 300 for one in books.said) + MEMBERS
    assert counted.adjusted == len(adjusted) + MEMBERS
    assert counted.reasons == len(adjusted) + 1
    assert counted.orders == counted.earned == len(orders)
    assert counted.refunds == len(refunds)
    assert counted.holds == len({one.told["hold_id"] for one in held}) == len(held)
    paid = sum(one.told["points"]["spent"] for one in orders)
    assert counted.spent == sum(one.told["captured"] for one in captured) + paid
    assert counted.captures == len(captured) + sum(one.told["points"]["spent"] > 0 for one in orders)
    points = 100 * MEMBERS + sum(one.told["points"] for one in adjusted) - counted.spent
    points += sum(one.told["points"]["earned"] for one in orders)
    for one in (*refunds, *cancelled):
        points += one.told["points"]["returned"] - one.told["points"]["reversed"]
    assert counted.points == points, "what members have is what they were told"


def count_deadlocks(engine: Engine) -> int:
    """Return how often PostgreSQL had to break one off."""
    with engine.connect() as conn:
        sql = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        return int(conn.scalar(text(sql)) or 0)
