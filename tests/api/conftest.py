"""A client that talks HTTP to the real application and holds every answer against openapi.yaml."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, request
from jsonschema import Draft202012Validator
from sqlalchemy import Engine
from werkzeug.test import TestResponse

from service.app import create_app
from service.kit.auth import ROLES, Role, create_key
from service.kit.db import open_engine, transaction
from service.kit.settings import Settings
from service.kit.tables import NDJSON
from service.startup import make_ready


class Client:
    """Calls the API with a key of some role; refuses answers that the document does not promise."""

    def __init__(self, app: Flask, engine: Engine, keys: Mapping[Role, str]) -> None:
        self.app = app
        self.engine = engine
        self.keys = keys
        self.spec = read_contract()
        self.matched: str | None = None
        self.arguments: dict[str, Any] = {}

    def call(
        self,
        method: str,
        path: str,
        *,
        role: Role | None = "server",
        headers: Mapping[str, str] | None = None,
        **options: Any,
    ) -> TestResponse:
        """Send one request and check the answer's status, type and shape against the document."""
        given = {"Authorization": f"Bearer {self.keys[role]}"} if role else {}
        with self.app.test_client() as browser:
            response = browser.open(path, method=method, headers={**given, **(headers or {})}, **options)
            self.matched = request.url_rule.rule if request.url_rule else None
            self.arguments = dict(request.view_args or {})
        self._check(method, response)
        return response

    def get(self, path: str, **options: Any) -> TestResponse:
        """GET."""
        return self.call("GET", path, **options)

    def post(self, path: str, **options: Any) -> TestResponse:
        """POST."""
        return self.call("POST", path, **options)

    def put(self, path: str, **options: Any) -> TestResponse:
        """PUT."""
        return self.call("PUT", path, **options)

    def _check(self, method: str, response: TestResponse) -> None:
        assert response.headers["X-Request-Id"]
        if response.status_code >= 400:
            assert response.mimetype == "application/problem+json", response.data
            assert {"type", "title", "status", "detail", "code", "instance"} <= set(response.json or {})
        if self.matched is None or not self.matched.startswith("/v1"):
            return
        path = re.sub(r"<(?:[^<>]+:)?(\w+)>", r"{\1}", self.matched)
        operation = self.spec["paths"][path].get(method.lower())
        if operation is None:
            assert response.status_code == 405
            return
        documented = operation["responses"].get(str(response.status_code))
        assert documented is not None, f"{method} {path} answers {response.status_code} undocumented"
        schema = documented["content"][response.mimetype]["schema"]
        validator = make_validator(json.dumps(schema, sort_keys=True))
        told = [response.json if response.is_json else response.text]
        if response.mimetype == NDJSON:
            told = [json.loads(line) for line in response.text.splitlines()]
        for one in told:
            validator.validate(one)


@cache
def read_contract() -> dict[str, Any]:
    """Return the document: the same for every application that a run makes."""
    app = create_app(Settings.from_environment({}), open_engine("postgresql://nobody@localhost/nothing"))
    document: dict[str, Any] = app.extensions["openapi"].to_dict()
    return document


@cache
def make_validator(schema: str) -> Draft202012Validator:
    """Return what holds answers against a schema of the document, given as JSON."""
    whole = {**json.loads(schema), "components": read_contract()["components"]}
    return Draft202012Validator(whole)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings as an empty environment gives them, with a folder of the test's own."""
    return Settings.from_environment({"TIDEMARK_VAR": str(tmp_path), "TIDEMARK_SECRET_KEY": "a test's own"})


@pytest.fixture
def client(engine: Engine, settings: Settings) -> Client:
    """A client on a started, empty programme in TWD, Asia/Taipei, with a key of every role."""
    now = datetime.now(UTC)
    make_ready(engine, settings, now=now)
    with transaction(engine) as conn:
        keys = {role: create_key(conn, role=role, label="test", now=now) for role in ROLES}
    return Client(create_app(settings, engine), engine, keys)


def enrol(client: Client, member_id: str = "m1", **fields: Any) -> None:
    """Enrol a member."""
    response = client.put(f"/v1/members/{member_id}", json=fields)
    assert response.status_code in {200, 201}, response.data


def an_order(
    order_id: str = "o1", member_id: str = "m1", amount: str = "1000", **fields: Any
) -> dict[str, Any]:
    """Return the body of a plain order."""
    return {
        "order_id": order_id,
        "member_id": member_id,
        "placed_at": datetime.now(UTC).isoformat(),
        "currency": "TWD",
        "lines": [{"sku": "tea", "quantity": 1, "amount": amount}],
    } | fields
