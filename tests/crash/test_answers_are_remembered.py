"""Workers are killed under a storm of questions: of every answer that arrived, the exposure is kept."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from http.client import HTTPConnection, HTTPException
from pathlib import Path
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

QUESTIONS = 240 if SCALE == 1 else 6_000
KILLS = 3 if SCALE == 1 else 40
CLIENTS = 8
MEMBERS = 20
PLAN: dict[str, Any] = {
    "key": "words",
    "title": "Other words",
    "arms": [{"arm": "control", "weight_bp": 5000}, {"arm": "new", "weight_bp": 5000}],
}


@dataclass(slots=True)
class Heard:
    """What the clients heard: recommendation id → the arm it named; nothing is ever asked again."""

    arms: dict[str, str | None] = field(default_factory=dict)
    members: dict[str, str] = field(default_factory=dict)
    seen: Counter[str] = field(default_factory=Counter)


def ask_all(port: int, token: str, place: int, heard: Heard) -> None:
    """Ask this client's share of the questions: recommendations, and the arm of a test of words."""
    line: HTTPConnection | None = None
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    try:
        for number in range(place, QUESTIONS, CLIENTS):
            member_id = f"m{number % MEMBERS}"
            line = line or HTTPConnection("127.0.0.1", port, timeout=30)
            try:
                if number % 3:
                    line.request("GET", f"/v1/members/{member_id}/recommendations", headers=headers)
                else:
                    visitor = json.dumps({"member_id": member_id})
                    line.request("POST", "/v1/experiments/words/exposures", visitor, headers)
                response = line.getresponse()
                raw = response.read()
            except (OSError, HTTPException) as error:
                heard.seen[type(error).__name__] += 1
                line.close()
                line = None
                time.sleep(0.02)
                continue
            note(response.status, json.loads(raw), member_id, heard)
    finally:
        if line is not None:
            line.close()


def note(status: int, answer: dict[str, Any], member_id: str, heard: Heard) -> None:
    """Remember an answer that arrived."""
    if status == 503:
        heard.seen["unavailable"] += 1
        return
    assert status == 200, answer
    measurement = answer["measurement"]
    assignment = measurement["assignment"]
    heard.arms[answer["recommendation_id"]] = None if assignment is None else assignment["arm"]
    heard.members[answer["recommendation_id"]] = member_id
    heard.seen["answered"] += 1


def prepare(server: WebServer, tokens: dict[str, str]) -> None:
    """Enrol the members and start the test of words."""
    line = HTTPConnection("127.0.0.1", server.port, timeout=30)

    def send(method: str, path: str, body: dict[str, Any], role: str) -> None:
        headers = {
            "Authorization": f"Bearer {tokens[role]}",
            "Content-Type": "application/json",
            "Idempotency-Key": path,
        }
        line.request(method, path, json.dumps(body), headers)
        response = line.getresponse()
        assert response.status in {200, 201}, response.read()
        response.read()

    for number in range(MEMBERS):
        send("PUT", f"/v1/members/m{number}", {}, "server")
    send("POST", "/v1/experiments", PLAN, "marketing")
    send("POST", "/v1/experiments/words/start", {}, "marketing")
    line.close()


def test_no_answer_that_arrived_is_forgotten_however_often_workers_are_killed(
    database: tuple[str, Engine], tmp_path: Path
) -> None:
    url, engine = database
    now = datetime.now(UTC)
    make_ready(engine, Settings.from_environment({"TIDEMARK_VAR": str(tmp_path)}), now=now)
    with transaction(engine) as conn:
        tokens = {
            role: create_key(conn, role=role, label="storm", now=now) for role in ("server", "marketing")
        }
    heard = Heard()
    environment = {"TIDEMARK_RATE_LIMIT_PER_KEY": "0"}
    with serve_web(database_url=url, var=tmp_path, workers=2, environment=environment) as server:
        prepare(server, tokens)
        killed = kill_workers_during(
            [partial(ask_all, server.port, tokens["server"], place, heard) for place in range(CLIENTS)],
            server=server,
            engine=engine,
            share_done=lambda: heard.seen["answered"] / (0.7 * QUESTIONS),
            kills=KILLS,
            seed=6,
        )

    assert killed == KILLS
    assert len(heard.arms) == heard.seen["answered"] > QUESTIONS // 2
    check_memory(engine, heard)
    assert check_laws_now(engine, clock=read_clock, progress=lambda *_: None).violations == []


def check_memory(engine: Engine, heard: Heard) -> None:
    """Each answer has its exposure: the member, the arm that was told, and how it was decided."""
    with engine.connect() as conn:
        rows = conn.execute(
            text("SELECT x.exposure_id, x.arm, x.policy, x.decision, m.member_id FROM exposures x "
                 "JOIN members m USING (member_key)")
        ).all()  # fmt: skip
    kept = {f"rec_{row.exposure_id.hex}": row for row in rows}
    assert heard.arms.keys() <= kept.keys()
    for recommendation_id, arm in heard.arms.items():
        row = kept[recommendation_id]
        assert (row.member_id, row.arm) == (heard.members[recommendation_id], arm), recommendation_id
        assert row.decision["assignment"]["bucket"] is not None
    assert len({row.policy for row in rows}) > 1, "pages and recommendations were both asked"
