"""Browsers on other origins: which pages may read our answers (https://fetch.spec.whatwg.org/#http-cors-protocol).

A preflight carries no key, so it is answered for every origin that some storefront key names. The answer
itself names the origin only if it is one of the key's own. There is no wildcard and there are no cookies.
"""

from __future__ import annotations

from collections.abc import Collection

from flask import Response, current_app, request
from flask.globals import request_ctx
from werkzeug.exceptions import HTTPException

from service.kit.clock import read_clock

_MAY_SEND = (
    "Authorization, Content-Type, Idempotency-Key, Accept-Language, X-Request-Id, traceparent, tracestate"
)
_MAY_READ = "X-Request-Id, Idempotent-Replayed, RateLimit, RateLimit-Policy, Retry-After"
_REMEMBERED_SECONDS = "600"


def answer_preflight() -> Response | None:
    """Answer whether a page may send the request it asks about; None where there is no such route."""
    from service.kit.http import ROUTES, Desk

    origin = request.headers.get("Origin")
    method = request.headers["Access-Control-Request-Method"]
    adapter = request_ctx.url_adapter
    if origin is None or adapter is None:
        return None
    try:
        endpoint, _ = adapter.match(method=method)
    except HTTPException:
        return None
    response = Response(status=204)
    response.headers["Vary"] = "Origin, Access-Control-Request-Method"
    desk: Desk = current_app.extensions["tidemark"]
    route = ROUTES.get(endpoint)
    if route is None or "storefront" not in route.roles:
        return response
    if origin in desk.authenticator.list_origins(now=read_clock()):
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Access-Control-Allow-Methods"] = method
        response.headers["Access-Control-Allow-Headers"] = _MAY_SEND
        response.headers["Access-Control-Max-Age"] = _REMEMBERED_SECONDS
    return response


def allow_origin(response: Response, origin: str | None, origins: Collection[str] | None) -> None:
    """Let the calling page read the answer, if its `origin` is one of the caller's key's `origins`."""
    if origins or origin:
        response.vary.add("Origin")
    if origins and origin in origins:
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Access-Control-Expose-Headers"] = _MAY_READ
