"""Record exchanges with the service as the examples of the document, and compare them with later ones."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

from werkzeug.test import TestResponse

from service.documents.examples import INSTANCE, Example
from service.kit.tables import NDJSON
from tests.api.conftest import Client

FILE = Path(__file__).parents[2] / "service" / "documents" / "examples.json"
KEPT_HEADERS = ("Idempotency-Key", "Accept-Language")
_SECRET = re.compile(r"\b(tmt_|tm_[a-z]+_)[A-Za-z0-9_.-]{16,}")


class Recorder:
    """Plays requests through a `Client`; keeps the first answer of each operation and status."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.answers: dict[str, dict[str, Example]] = {}
        self.problems: dict[str, dict[str, Any]] = {}

    def call(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        """Send a request, keep the exchange, and return the answer's body."""
        response = self.client.call(method, path, **options)
        body: dict[str, Any] = response.json or {}
        if response.mimetype == NDJSON:
            # The document shows one line of such an answer.
            body = json.loads(response.data.partition(b"\n")[0])
        assert response.status_code != 500, response.data
        if response.status_code >= 400:
            self.problems.setdefault(body["code"], body | {"instance": INSTANCE})
        else:
            self._keep(method, response, options, body)
        return body

    def _keep(self, method: str, response: TestResponse, options: dict[str, Any], body: object) -> None:
        rule = re.sub(r"<(?:[^<>]+:)?(\w+)>", r"{\1}", self.client.matched or "")
        operation = self.client.spec["paths"][rule][method.lower()]["operationId"]
        headers = options.get("headers", {})
        example = Example(
            answer=_without_secrets(body),
            path=dict(self.client.arguments),
            query=response.request.args.to_dict(),
            headers={name: headers[name] for name in KEPT_HEADERS if name in headers},
            body=_without_secrets(options.get("json")),
        )
        self.answers.setdefault(operation, {}).setdefault(str(response.status_code), example)

    def to_json(self) -> dict[str, Any]:
        """Return what `examples.json` holds."""
        return {
            "answers": {
                operation: {status: asdict(example) for status, example in sorted(by_status.items())}
                for operation, by_status in sorted(self.answers.items())
            },
            "problems": dict(sorted(self.problems.items())),
        }

    def write(self) -> None:
        """Write the examples, keeping recorded ones that a reader could not tell from the new."""
        old, new = json.loads(FILE.read_text()), self.to_json()
        for operation, by_status in new["answers"].items():
            for status, example in by_status.items():
                kept = old["answers"].get(operation, {}).get(status)
                if kept is not None and not list_differences(kept, example):
                    by_status[status] = kept
        for code in new["problems"]:
            new["problems"][code] = old["problems"].get(code, new["problems"][code])
        FILE.write_text(json.dumps(new, indent=1, ensure_ascii=False) + "\n")


def _without_secrets(value: Any) -> Any:
    if isinstance(value, str):
        return _SECRET.sub(lambda found: found[1] + "0" * 43, value)
    if isinstance(value, dict):
        return {name: _without_secrets(inner) for name, inner in value.items()}
    return [_without_secrets(inner) for inner in value] if isinstance(value, list) else value


def _kind_of(value: object) -> str:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return "number" if is_number else type(value).__name__


def list_differences(old: object, new: object, path: str = "") -> list[str]:
    """Return where the names or types of two JSON values differ; null fits all, lists of any length do."""
    if isinstance(old, dict) and isinstance(new, dict):
        missing = [f"{path}/{name}" for name in old.keys() ^ new.keys()]
        return missing + [
            found
            for name in old.keys() & new.keys()
            for found in list_differences(old[name], new[name], f"{path}/{name}")
        ]
    if isinstance(old, list) and isinstance(new, list):
        return [
            found
            for index, (one, other) in enumerate(zip(old, new, strict=False))
            for found in list_differences(one, other, f"{path}/{index}")
        ]
    if old is None or new is None or _kind_of(old) == _kind_of(new):
        return []
    return [path]
