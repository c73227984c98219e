"""What the house knows of a route, and what flask-smorest is told to write of it in the document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from marshmallow import Schema, fields

from service.kit import errors, problems
from service.kit.auth import Role
from service.kit.problems import status_of
from service.kit.tables import CSV, NDJSON


@dataclass(frozen=True, slots=True)
class Route:
    """What the house knows of a route: who may use it, what it can refuse, whether it writes.

    `store_scope` says that it is about facts of stores, and holds keys to theirs. `secret_fields` of an
    answer are never stored. A `localised` one answers in the caller's language. `content` are the fields of
    its answer that an entity tag stands for.
    """

    roles: tuple[Role, ...]
    problems: tuple[type[errors.Problem], ...]
    writes: bool
    idempotency_key: str | None
    store_scope: bool = False
    secret_fields: tuple[str, ...] = ()
    localised: bool = False
    csv: bool = False
    ndjson: bool = False
    content: tuple[str, ...] = ()


class ProblemSchema(Schema):
    """A refusal (RFC 9457)."""

    type = fields.String(required=True)
    title = fields.String(required=True)
    status = fields.Integer(required=True)
    detail = fields.String(required=True)
    code = fields.String(required=True)
    instance = fields.String(required=True)
    errors = fields.List(
        fields.Nested(
            Schema.from_dict(
                {
                    "pointer": fields.String(),
                    "parameter": fields.String(),
                    "detail": fields.String(required=True),
                },
                name="ProblemFieldSchema",
            )
        )
    )


_PROBLEM = ProblemSchema()


def document_route(
    route: Route,
    answers: Mapping[int, Schema],
    body: Schema | None,
    query: Schema | None,
    upload: Sequence[str],
    *,
    name: str,
) -> dict[str, Any]:
    """Say to flask-smorest what this route takes and answers."""
    doc: dict[str, Any] = {
        "manual_doc": {
            "operationId": _camel(name),
            "security": [{"apiKey": []}],
            "x-roles": list(route.roles),
            "x-store-scope": route.store_scope,
        }
    }
    if upload:
        text = {"schema": {"type": "string", "format": "binary", "minLength": 1}}
        doc["manual_doc"]["requestBody"] = {"required": True, "content": dict.fromkeys(upload, text)}
    parameters = _list_headers(route)
    if query is not None:
        parameters.append({"in": "query", "schema": query})
    if body is not None:
        parameters.append({"in": "json", "required": True, "schema": body})
    if parameters:
        doc["arguments"] = {"parameters": parameters}
    responses: dict[Any, Any] = {
        status: [{"schema": schema, "description": HTTPStatus(status).phrase, "content_type": None}]
        for status, schema in answers.items()
    }
    if route.csv:
        table = {"type": "string", "description": "The same figures as rows under a header, UTF-8."}
        responses[min(answers)].append({"schema": table, "description": "", "content_type": CSV})
    if route.ndjson:
        responses[min(answers)][0]["content_type"] = NDJSON
    if route.content:
        for status in answers:
            responses[status][0]["headers"] = {"ETag": _TAG}
    by_status: dict[int, list[type[errors.Problem]]] = {}
    for kind in route.problems:
        by_status.setdefault(status_of(kind), []).append(kind)
    for status, kinds in sorted(by_status.items()):
        codes = ", ".join(f"`{kind.code}`" for kind in dict.fromkeys(kinds))
        responses[status] = [{"schema": _PROBLEM, "description": codes, "content_type": problems.MIMETYPE}]
    doc["response"] = {"responses": responses}
    return doc


_TAG = {
    "description": "Stands for what a PUT may say of this; send it back in `If-Match` with your change.",
    "schema": {"type": "string", "example": '"6f1c0c2d9f0b4a7e8d3c5b2a19087f6e"'},
}
_CONDITIONS = (
    (
        "If-Match",
        "The `ETag` of what you read. Was it changed since, the answer is 412 `changed-meanwhile` and nothing"
        " is written; without this header the last one wins. `*`: only if it is there.",
    ),
    ("If-None-Match", "`*`: only if it is not there yet."),
)


def _list_headers(route: Route) -> list[dict[str, Any]]:
    headers: list[dict[str, Any]] = []
    if route.idempotency_key:
        headers.append(
            {
                "in": "header",
                "name": "Idempotency-Key",
                "required": route.idempotency_key == "required",
                "description": "Chosen by the caller; the same key and body get the first answer again.",
                "schema": {"type": "string", "minLength": 1, "maxLength": 128, "pattern": r"^[!-+\x2d-~]+$"},
            }
        )
    if route.content and route.writes:
        headers += [
            {
                "in": "header",
                "name": name,
                "required": False,
                "description": text,
                "schema": {"type": "string"},
            }
            for name, text in _CONDITIONS
        ]
    if route.localised:
        headers.append(
            {
                "in": "header",
                "name": "Accept-Language",
                "required": False,
                "description": "The language of names and explanations: `en`, or `zh-Hant` for any Chinese; "
                "the first that is preferred, else `en`.",
                "schema": {"type": "string"},
                "example": "zh-Hant, en;q=0.8",
            }
        )
    return headers


def _camel(name: str) -> str:
    """Return `place_order` as `placeOrder`."""
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
