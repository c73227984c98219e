"""Every route says who may use it and what it answers, and openapi.yaml says so too."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from flask import Flask
from openapi_spec_validator import validate

from service.app import create_app
from service.cli.main import tidemark
from service.kit.auth import ROLES
from service.kit.db import open_engine
from service.kit.http import ROUTES
from service.kit.problems import status_of
from service.kit.settings import Settings
from tests.house.sources import ROOT

# Asked by machines that have no key; they tell nothing about members.
OPEN = {"/livez", "/readyz", "/metrics", "/openapi.json"}
APP: Flask = create_app(
    Settings.from_environment({"TIDEMARK_SECRET_KEY": "x"}), open_engine("postgresql://nobody@localhost/none")
)
SPEC: dict[str, Any] = APP.extensions["openapi"].to_dict()
RULES = {rule.endpoint: rule for rule in APP.url_map.iter_rules()}


def operation_of(endpoint: str) -> dict[str, Any]:
    """What the document says of a route."""
    rule = RULES[endpoint]
    method = next(iter((rule.methods or set()) - {"HEAD", "OPTIONS"})).lower()
    found: dict[str, Any] = SPEC["paths"][re.sub(r"<(?:[^<>]+:)?(\w+)>", r"{\1}", rule.rule)][method]
    return found


def test_every_route_goes_through_the_door_or_is_named_as_open() -> None:
    outside = {
        rule.rule
        for endpoint, rule in RULES.items()
        if endpoint not in ROUTES and not endpoint.startswith("documents.")
    }
    assert outside <= OPEN
    # Tests of the door have routes of their own, in rooms that the application has not.
    assert {name for name in ROUTES if name.split(".")[0] in APP.blueprints} <= set(RULES)


@pytest.mark.parametrize("endpoint", sorted(ROUTES))
def test_every_route_names_the_roles_that_may_use_it(endpoint: str) -> None:
    roles = ROUTES[endpoint].roles
    assert roles
    assert set(roles) <= set(ROLES)
    assert len(set(roles)) == len(roles)
    assert "admin" in roles
    assert operation_of(endpoint)["x-roles"] == list(roles)


@pytest.mark.parametrize("endpoint", sorted(ROUTES))
def test_every_route_lies_under_v1_and_has_a_summary(endpoint: str) -> None:
    assert RULES[endpoint].rule.startswith("/v1/")
    summary = operation_of(endpoint)["summary"]
    assert summary
    assert summary.endswith(".")


@pytest.mark.parametrize("endpoint", sorted(ROUTES))
def test_every_answer_of_every_route_is_documented(endpoint: str) -> None:
    responses = operation_of(endpoint)["responses"]
    assert any(status.startswith("2") for status in responses)
    for status, response in responses.items():
        expected = "application/json" if status < "4" else "application/problem+json"
        if ROUTES[endpoint].ndjson and status < "4":
            expected = "application/x-ndjson"
        if status != "204":
            others = {"application/x-ndjson"} | ({"text/csv"} if ROUTES[endpoint].csv else set())
            assert set(response["content"]) <= {expected} | others, f"{endpoint} {status}"
            assert response["content"][expected]["schema"]
    for kind in ROUTES[endpoint].problems:
        assert f"`{kind.code}`" in responses[str(status_of(kind))]["description"]


@pytest.mark.parametrize("endpoint", sorted(name for name, route in ROUTES.items() if route.csv))
def test_what_answers_as_a_table_says_so_and_can_be_asked_to(endpoint: str) -> None:
    operation = operation_of(endpoint)
    tables = [status for status, answer in operation["responses"].items() if "text/csv" in answer["content"]]
    assert tables == ["200"]
    assert "format" in [parameter.get("name") for parameter in operation["parameters"]]


@pytest.mark.parametrize("endpoint", sorted(name for name, route in ROUTES.items() if route.writes))
def test_every_post_that_writes_takes_an_idempotency_key(endpoint: str) -> None:
    if "POST" not in (RULES[endpoint].methods or set()):
        assert ROUTES[endpoint].idempotency_key is None
        return
    assert ROUTES[endpoint].idempotency_key in {"optional", "required"}
    names = [parameter["name"] for parameter in operation_of(endpoint)["parameters"] if "name" in parameter]
    assert "Idempotency-Key" in names


@pytest.mark.parametrize("endpoint", sorted(ROUTES))
def test_accept_language_is_documented_where_the_answer_depends_on_it_and_only_there(endpoint: str) -> None:
    reads_it = "door.locale" in inspect.getsource(inspect.unwrap(APP.view_functions[endpoint]))
    assert ROUTES[endpoint].localised == reads_it
    parameters = operation_of(endpoint).get("parameters", ())
    names = [parameter["name"] for parameter in parameters if "name" in parameter]
    assert ("Accept-Language" in names) == reads_it


def test_the_document_is_valid_openapi() -> None:
    assert SPEC["openapi"].startswith("3.1")
    validate(SPEC)


def test_operation_ids_are_not_given_twice() -> None:
    ids = [
        operation["operationId"]
        for path in SPEC["paths"].values()
        for method, operation in path.items()
        if method in {"get", "put", "post", "delete", "patch"} and "operationId" in operation
    ]
    assert len(set(ids)) == len(ids)


def test_every_schema_has_a_name_of_its_own() -> None:
    doubled = [name for name in SPEC["components"]["schemas"] if name[-1].isdigit()]
    assert doubled == [], "two different schemas of one name: the second is numbered"


def test_openapi_yaml_is_fresh() -> None:
    """When this fails: `make openapi`, and read what changed before committing it."""
    printed = CliRunner().invoke(tidemark, ["openapi"], catch_exceptions=False)
    assert printed.exit_code == 0
    committed = (ROOT / "openapi.yaml").read_text()
    assert yaml.safe_load(printed.output) == yaml.safe_load(committed)
    assert printed.output == committed
