"""The request at hand and the answer to it, without looking either up or through more often than needed."""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, cast

from flask import Request, Response, g, request

_WITHOUT_BODY = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED})


def present_request() -> Request:
    """Return what stands behind `flask.request` right now: that name looks it up again at every use."""
    proxy: Any = request
    return cast(Request, proxy._get_current_object())


def present_notes() -> Any:
    """Return what stands behind `flask.g` right now."""
    proxy: Any = g
    return proxy._get_current_object()


class WholeAnswer(Response):
    """A body of bytes under headers that nobody has to look through once more.

    Werkzeug copies the headers to join a `Location` and to count what is sent; these have neither. `also` are
    headers of our own making, sent as they are.
    """

    def __init__(self, body: bytes, *, status: int, content_type: str = "application/json") -> None:
        super().__init__(body, status=status, content_type=content_type)
        self.also: list[tuple[str, str]] = []

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answer as a WSGI application."""
        if environ["REQUEST_METHOD"] == "HEAD" or self.status_code in _WITHOUT_BODY or self._on_close:
            self.headers.extend(self.also)
            answer: Iterable[bytes] = super().__call__(environ, start_response)
            return answer
        start_response(self.status, [*self.headers.to_wsgi_list(), *self.also])
        return self.response  # type: ignore[return-value]


def add_headers(response: Response, headers: list[tuple[str, str]]) -> None:
    """Add headers of our own making, whose values need no looking at."""
    if isinstance(response, WholeAnswer):
        response.also += headers
    else:
        response.headers.extend(headers)
