"""Examples of the API: recorded from real answers of a running service (`make examples`)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

from service.kit.errors import Invalid, Malformed, Problem
from service.kit.problems import status_of

INSTANCE = "req_019aa6c0f0d07b1f8d0f3f0a5f1e2d3c"
"""The request id of every example."""


@dataclass(frozen=True, slots=True)
class Example:
    """One exchange: what was sent (path and query parameters, headers, body) and what came back."""

    answer: object
    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: object | None = None


@dataclass(frozen=True, slots=True)
class Examples:
    """Every recorded exchange: operation → status → example, and code → problem."""

    answers: Mapping[str, Mapping[str, Example]]
    problems: Mapping[str, Mapping[str, Any]]


def load_examples() -> Examples:
    """Return what `examples.json` of this package holds."""
    recorded = json.loads((files(__package__) / "examples.json").read_text("utf-8"))
    return Examples(
        answers={
            operation: {status: Example(**example) for status, example in by_status.items()}
            for operation, by_status in recorded["answers"].items()
        },
        problems=recorded["problems"],
    )


def build_problem(kind: type[Problem]) -> dict[str, Any]:
    """Return the plainest answer of a kind that no recorded exchange provoked."""
    body: dict[str, Any] = {
        "type": f"/docs/problems#{kind.code}",
        "title": kind.title(),
        "status": status_of(kind),
        "detail": kind.title(),
        "code": kind.code,
        "instance": INSTANCE,
    }
    if kind is Invalid:
        body["errors"] = [{"pointer": "/lines/0/amount", "detail": "must be above zero"}]
    if kind is Malformed:
        body["errors"] = [{"parameter": "colour", "detail": "unknown parameter"}]
    return body
