"""Schemathesis holds the running service against its own document, with each role's key."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import cast
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from service.kit.auth import ROLES, Role
from tests.conftest import SCALE
from tests.contract.conftest import Service
from tests.serving import ROOT, clean_environment

PATIENCE_SECONDS = 540 if SCALE == 1 else 3_000  # of one caller; a member's token lives for an hour
pytestmark = pytest.mark.timeout(PATIENCE_SECONDS + 60)
CONFIG = Path(__file__).with_name("schemathesis.toml")
PHASES = ("examples", "coverage", "fuzzing", "stateful")
MEMBER = "member"
# One role meets every rule of every route; the others mostly meet the one table of who may do what.
FULLEST: Role = "admin"
CALLERS = (*sorted(set(ROLES) - {FULLEST}), MEMBER)
"""Every other role with its key, and a member's browser with its token behind the storefront's."""

_CASES = re.compile(r"Test cases:\n\s+(.+)")


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is asked: which phases, and how many examples of each operation."""

    phases: tuple[str, ...]
    examples: int


# The coverage phase alone asks some thousand things of each caller.
BRIEF, WHOLE = Plan(("examples", "fuzzing"), 1), Plan(PHASES, 2)
FULL = Plan(PHASES, 100)


def run(service: Service, folder: Path, *, key: str, plan: Plan) -> str:
    """Run schemathesis with a key and return its count of cases; fail the test when it found something."""
    command = [
        sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG),
        "run", f"{service.url}/openapi.json", "--url", service.url, "--no-color",
        "--checks", "all", "--phases", ",".join(plan.phases), "--max-examples", str(plan.examples),
    ]  # fmt: skip
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    environment = clean_environment(
        CONTRACT_KEY=key,
        CONTRACT_KNOWN=json.dumps(dict(service.known)),
        CONTRACT_OWN_KEY_IDS=json.dumps(service.own_key_ids),
        PYTHONPATH=path,
    )
    # Its caches lie in its working folder, and there is what it printed while it runs.
    with (folder / "schemathesis.log").open("wb") as log:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=log,
            check=False,
            timeout=PATIENCE_SECONDS,
        )
    printed = (folder / "schemathesis.log").read_text()
    assert done.returncode == 0, printed[-20_000:]
    assert b"Traceback" not in service.log.read_bytes()
    found = _CASES.search(printed)
    return found[1] if found else "no cases"


def make_token(service: Service) -> str:
    """Return a member's token for as long as there may be one."""
    asked = Request(
        f"{service.url}/v1/member-tokens",
        data=json.dumps({"member_id": service.known["member_id"], "ttl_seconds": 3600}).encode(),
        headers={"Authorization": f"Bearer {service.keys['server']}", "Content-Type": "application/json"},
    )
    with urlopen(asked, timeout=30) as answer:
        return str(json.load(answer)["token"])


def status_of(service: Service, key: str, path: str) -> int:
    """Return the status of a GET."""
    try:
        asked = Request(service.url + path, headers={"Authorization": f"Bearer {key}"})
        with urlopen(asked, timeout=30) as answer:
            return int(answer.status)
    except HTTPError as refused:
        return refused.code


def test_the_service_keeps_to_its_document_in_every_phase(
    service: Service, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    key = service.keys[FULLEST]
    cases = run(service, tmp_path, key=key, plan=WHOLE if SCALE == 1 else FULL)
    tell(record_property, FULLEST, cases)
    assert status_of(service, key, "/v1/keys") == 200, "the key that was asked with still stands"


@pytest.mark.parametrize("caller", CALLERS)
def test_the_service_keeps_to_its_document_for_every_caller(
    service: Service, tmp_path: Path, caller: str, record_property: Callable[[str, object], None]
) -> None:
    key = make_token(service) if caller == MEMBER else service.keys[cast(Role, caller)]
    cases = run(service, tmp_path, key=key, plan=BRIEF if SCALE == 1 else FULL)
    tell(record_property, caller, cases)
    assert status_of(service, key, f"/v1/items/{service.known['sku']}") == 200, "the key still stands"


def test_the_service_keeps_to_its_document_for_a_key_that_is_not_known(
    service: Service, tmp_path: Path
) -> None:
    run(service, tmp_path, key="tm_admin_nobody", plan=Plan(("examples",), 1))


def tell(record_property: Callable[[str, object], None], caller: str, cases: str) -> None:
    """Note how much was asked: seen with `-rP`, and in reports."""
    record_property("cases", cases)
    print(f"{caller}: {cases}")  # noqa: T201


@pytest.mark.parametrize(
    "raw",
    [
        b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * 9000 + b"\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: x\r\n" + b"X-Many: 1\r\n" * 200 + b"\r\n",
        b"GET /livez HTTP/1.1\r\nHost: x\r\nbad header\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"POST /v1/orders HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"POST /v1/orders HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    ],
    ids=["long line", "long header", "many headers", "no header", "nonsense", "coding", "two lengths"],
)
def test_what_is_no_http_is_refused_in_the_one_shape(service: Service, raw: bytes) -> None:
    line = HTTPConnection("127.0.0.1", service.port, timeout=10)
    line.connect()
    assert line.sock is not None
    line.sock.sendall(raw)
    response = line.response_class(line.sock, method="GET")
    response.begin()
    body = response.read()
    line.close()
    assert response.status == 400, body
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.headers["X-Request-Id"]
    assert b'"code":"malformed-request"' in body
