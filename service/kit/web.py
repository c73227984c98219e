"""What surrounds every request: ids in paths, request ids, problems, logs and metrics."""

from __future__ import annotations

import logging
import math
import re
import threading
import time
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any
from urllib.parse import unquote_to_bytes

from flask import Flask, Response, g
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest, multiprocess
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge
from werkzeug.routing import BaseConverter

from service.kit import cors, errors, problems
from service.kit.clock import read_clock
from service.kit.exchange import add_headers, present_notes, present_request
from service.kit.ids import new_id
from service.kit.rate_limits import WINDOW_SECONDS, Allowance

log = logging.getLogger("tidemark.request")

REQUESTS = Counter("tidemark_requests_total", "Requests answered.", ["method", "route", "status"])
SECONDS = Histogram(
    "tidemark_request_seconds",
    "Time to answer.",
    ["method", "route"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}\Z", re.ASCII)
_TRACEPARENT = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}\Z", re.ASCII)


class EncodedSlashes:
    """Let ids with a slash arrive whole: `%2F` and `%25` stay encoded until the route has matched."""

    def __init__(self, wsgi: Callable[..., Iterable[bytes]]) -> None:
        self._wsgi = wsgi

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        raw = environ.get("RAW_URI") or environ.get("REQUEST_URI") or ""
        path = raw.split("?", 1)[0]
        if "%2F" in path or "%2f" in path or "%25" in path:
            kept = re.sub(r"%(2[Ff5])", r"%25\1", path)
            environ["PATH_INFO"] = unquote_to_bytes(kept).decode("latin-1")
        return self._wsgi(environ, start_response)


class InFlight:
    """Count the requests that this process holds, and mark those above its limit.

    They are refused by the application, in its own shape, before anything is read: a queue that grows
    faster than it is served only makes everybody late. Probes are let pass.
    """

    def __init__(self, wsgi: Callable[..., Iterable[bytes]], *, most: int) -> None:
        self._wsgi = wsgi
        self._most = most
        self._count = 0
        self._lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        with self._lock:
            self._count += 1
            environ["tidemark.crowded"] = self._count > self._most
        try:
            return self._wsgi(environ, start_response)
        finally:
            with self._lock:
                self._count -= 1


class MerchantIdConverter(BaseConverter):
    """A merchant's own id as one path segment; whether it can be one, the door asks.

    Refusing it here would leave the other methods of the path standing, and answer 405.
    """

    def to_python(self, value: str) -> str:
        """Return the id with its slashes and percent signs back."""
        return re.sub(r"%2[Ff]", "/", value).replace("%25", "%")


def surround(app: Flask, *, max_in_flight: int = 1_000) -> None:
    """Give every request of `app` an id, a problem+json for every refusal, a log line and its metrics."""
    app.url_map.converters["id"] = MerchantIdConverter
    # Routes match exactly what was sent: nothing is merged or redirected behind the caller's back.
    app.url_map.merge_slashes = False
    app.url_map.strict_slashes = True
    app.wsgi_app = EncodedSlashes(app.wsgi_app)  # type: ignore[method-assign]
    app.wsgi_app = InFlight(app.wsgi_app, most=max_in_flight)  # type: ignore[method-assign]
    app.before_request(_begin)
    app.after_request(_end)
    app.register_error_handler(errors.Problem, _refuse)
    app.register_error_handler(HTTPException, _refuse_by_framework)
    app.register_error_handler(Exception, _break)


def traceparent() -> str | None:
    """Return the caller's W3C trace context, if it sent one."""
    header = present_request().environ.get("HTTP_TRACEPARENT", "")
    return header if _TRACEPARENT.match(header) else None


def _begin() -> Response | None:
    asked, notes = present_request(), present_notes()
    environ = asked.environ
    notes.started = time.perf_counter()
    given = environ.get("HTTP_X_REQUEST_ID", "")
    notes.request_id = given if _REQUEST_ID.match(given) else new_id("req", read_clock())
    path = environ.get("PATH_INFO", "")
    if path.startswith("//"):
        # Read as one slash behind our back: what a proxy in front forbids would be open under another name.
        raise errors.NoSuchPath("a path begins with one slash")
    if environ.get("tidemark.crowded") and path.startswith("/v1/"):
        raise errors.Unavailable("this process has its hands full; try again shortly")
    if asked.method == "OPTIONS" and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in environ:
        return cors.answer_preflight()
    return None


def _end(response: Response) -> Response:
    asked, notes = present_request(), present_notes()
    request_id = _request_id()
    # Nobody has set them before.
    headers = [("X-Request-Id", request_id), ("X-Content-Type-Options", "nosniff")]
    if "Cache-Control" not in response.headers:
        headers.append(("Cache-Control", "no-store"))
    cors.allow_origin(response, asked.environ.get("HTTP_ORIGIN"), notes.get("origins"))
    allowance = notes.get("allowance")
    if allowance is not None:
        headers += _tell_allowance(allowance)
        if not allowance.granted:
            response.headers["Retry-After"] = str(max(1, math.ceil(allowance.reset_seconds)))
    add_headers(response, headers)
    seconds = time.perf_counter() - notes.get("started", time.perf_counter())
    route = "-" if asked.url_rule is None else asked.url_rule.rule
    answered, lasted = _meters(asked.method, route, response.status_code)
    answered.inc()
    lasted.observe(seconds)
    if log.isEnabledFor(logging.INFO):
        caller = notes.get("caller")
        log.info(
            "request",
            extra={
                "method": asked.method,
                "route": route,
                "status": response.status_code,
                "milliseconds": round(seconds * 1000, 2),
                "request_id": request_id,
                "key_id": caller.key_id if caller else None,
                "traceparent": traceparent(),
            },
        )
    return response


@lru_cache(maxsize=2_000)
def _meters(method: str, route: str, status: int) -> tuple[Counter, Histogram]:
    """Return the two metrics of a route's answers; looking for them takes longer than counting."""
    return REQUESTS.labels(method, route, status), SECONDS.labels(method, route)


def _tell_allowance(allowance: Allowance) -> list[tuple[str, str]]:
    """Say what may still be asked (draft-ietf-httpapi-ratelimit-headers)."""
    reset = math.ceil(allowance.reset_seconds)
    return [
        ("RateLimit-Policy", f'"{allowance.policy}";q={allowance.limit};w={WINDOW_SECONDS}'),
        ("RateLimit", f'"{allowance.policy}";r={allowance.remaining};t={reset}'),
    ]


def _request_id() -> str:
    request_id: str = g.get("request_id", "") or new_id("req", read_clock())
    return request_id


def _refuse(problem: errors.Problem) -> Response:
    return problems.answer(problem, instance=_request_id())


def _refuse_by_framework(error: HTTPException) -> Response:
    if isinstance(error, RequestEntityTooLarge):
        return _refuse(errors.TooLarge())
    response = problems.answer_status(
        error.code or 500, detail=error.description or error.name, instance=_request_id()
    )
    for name, value in error.get_headers():
        if name.lower() == "allow":
            response.headers[name] = value
    return response


def _break(error: Exception) -> Response:
    log.error("unexpected error", exc_info=error, extra={"request_id": _request_id()})
    detail = "Something broke on our side. The request id finds it in the log."
    return problems.answer_status(500, detail=detail, instance=_request_id())


def render_metrics() -> Response:
    """Return the metrics of every worker of this machine in Prometheus' text format."""
    import os

    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return Response(generate_latest(registry), mimetype="text/plain; version=0.0.4")
    return Response(generate_latest(), mimetype="text/plain; version=0.0.4")
