"""Schemathesis holds the running service against its own document, with each role's key."""

from __future__ import annotations

import os
import subprocess
import sys
from http.client import HTTPConnection
from pathlib import Path

import pytest

from service.kit.auth import ROLES, Role
from tests.conftest import SCALE
from tests.contract.conftest import Service
from tests.serving import ROOT, clean_environment

CONFIG = Path(__file__).with_name("schemathesis.toml")
PHASES = ("examples", "coverage", "fuzzing", "stateful")
# One role meets every rule of every route; the others mostly meet the one table of who may do what.
FULLEST: Role = "admin"


def run(service: Service, folder: Path, *, key: str, phases: tuple[str, ...], examples: int) -> str:
    """Run schemathesis with a key and return what it printed; fail the test when it found something."""
    command = [
        sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG),
        "run", f"{service.url}/openapi.json", "--url", service.url, "--no-color",
        "--phases", ",".join(phases), "--max-examples", str(examples),
    ]  # fmt: skip
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    environment = clean_environment(CONTRACT_KEY=key, PYTHONPATH=path)
    # Its caches lie in its working folder.
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=540
    )
    assert done.returncode == 0, f"{done.stdout[-20_000:]}\n{done.stderr[-2_000:]}"
    return done.stdout


def test_the_service_keeps_to_its_document_in_every_phase(service: Service, tmp_path: Path) -> None:
    examples = 4 if SCALE == 1 else 100
    printed = run(service, tmp_path, key=service.keys[FULLEST], phases=PHASES, examples=examples)
    assert "❌" not in printed
    assert b"Traceback" not in service.log.read_bytes()


@pytest.mark.parametrize("role", sorted(set(ROLES) - {FULLEST}))
def test_the_service_keeps_to_its_document_for_every_role(
    service: Service, tmp_path: Path, role: Role
) -> None:
    phases = ("examples", "fuzzing") if SCALE == 1 else PHASES
    run(service, tmp_path, key=service.keys[role], phases=phases, examples=1 if SCALE == 1 else 40)
    assert b"Traceback" not in service.log.read_bytes()


def test_the_service_keeps_to_its_document_for_a_key_that_is_not_known(
    service: Service, tmp_path: Path
) -> None:
    run(service, tmp_path, key="tm_admin_nobody", phases=("examples",), examples=1)


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
