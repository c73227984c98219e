"""Problems become RFC 9457 answers here: the one table of HTTP numbers, and one shape for all."""

from __future__ import annotations

import http
from typing import Any

import orjson
from flask import Response

from service.kit import errors
from service.kit.exchange import WholeAnswer

STATUS: dict[type[errors.Problem], int] = {
    errors.Malformed: 400,
    errors.Unauthenticated: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.ChangedMeanwhile: 412,
    errors.TooLarge: 413,
    errors.NotJson: 415,
    errors.Invalid: 422,
    errors.TooMany: 429,
    errors.Unavailable: 503,
}

MIMETYPE = "application/problem+json"


def status_of(kind: type[errors.Problem]) -> int:
    """Return the HTTP status of a kind of problem: its own or its nearest ancestor's."""
    for ancestor in kind.__mro__:
        if ancestor in STATUS:
            return STATUS[ancestor]
    return 500


def answer(problem: errors.Problem, *, instance: str) -> Response:
    """Return the answer for a problem; `instance` is the request's id."""
    fields = [
        {
            **({"pointer": field.pointer} if field.pointer is not None else {}),
            **({"parameter": field.parameter} if field.parameter is not None else {}),
            "detail": field.detail,
        }
        for field in problem.errors
    ]
    return build(
        status_of(type(problem)),
        code=problem.code,
        title=problem.title(),
        detail=problem.detail,
        instance=instance,
        fields=fields,
    )


def answer_status(status: int, *, detail: str, instance: str) -> Response:
    """Return the answer for a refusal by the framework itself (no such path, wrong method…)."""
    phrase = http.HTTPStatus(status).phrase
    code = {404: "no-such-path", 405: "method-not-allowed", 500: "internal-error"}.get(
        status, phrase.lower().replace(" ", "-")
    )
    return build(status, code=code, title=phrase, detail=detail, instance=instance, fields=[])


def build(
    status: int, *, code: str, title: str, detail: str, instance: str, fields: list[dict[str, Any]]
) -> Response:
    """Return one `application/problem+json` answer."""
    body: dict[str, Any] = {
        "type": f"/docs/problems#{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "code": code,
        "instance": instance,
    }
    if fields:
        body["errors"] = fields
    response = WholeAnswer(orjson.dumps(body), status=status, content_type=MIMETYPE)
    if status == 401:
        response.headers["WWW-Authenticate"] = 'Bearer realm="tidemark"'
    if status in {429, 503}:
        response.headers["Retry-After"] = "1"
    return response
