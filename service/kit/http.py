"""The door: one decorator that parses, tells the caller, opens one transaction and answers.

flask-smorest keeps the routes and the OpenAPI document; reading the body, refusing what is unknown and
writing the answer are done here, because its own wrappers take a form post for an empty body, ignore
unknown query parameters, and cost several times a bare route.
"""

from __future__ import annotations

import json
import logging
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from functools import wraps
from http import HTTPStatus
from typing import Any

import flask_smorest
import orjson
from flask import Response, current_app, g, request
from marshmallow import Schema, ValidationError, fields
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from service.kit import errors, idempotency, problems
from service.kit.auth import ROLES, Authenticator, Caller, Role
from service.kit.clock import read_clock
from service.kit.fields import is_merchant_id
from service.kit.problems import status_of
from service.kit.sealing import Sealer
from service.kit.settings import Settings

log = logging.getLogger(__name__)

MAX_DEPTH = 32
_TRIES = 4
_RETRIED = {"40001", "40P01"}  # serialisation failure, deadlock

STAFF: tuple[Role, ...] = ("server", "marketing", "operations", "admin")
"""Every role that may see data about members at large."""


@dataclass(frozen=True, slots=True)
class Desk:
    """What every door of this process shares, made once at start (`app.extensions["tidemark"]`)."""

    engine: Engine
    authenticator: Authenticator
    settings: Settings
    sealer: Sealer
    tools: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Door:
    """One request inside its transaction: who asks, when, in which language."""

    conn: Connection
    now: datetime
    caller: Caller
    locale: str
    request_id: str
    desk: Desk


@dataclass(frozen=True, slots=True)
class Route:
    """What the house knows of a route: who may use it, what it can refuse, whether it writes."""

    roles: tuple[Role, ...]
    problems: tuple[type[errors.Problem], ...]
    writes: bool
    idempotency_key: str | None


ROUTES: dict[str, Route] = {}
"""Endpoint → route: the one table of who may do what."""

_ALWAYS: tuple[type[errors.Problem], ...] = (
    errors.Malformed,
    errors.Unauthenticated,
    errors.Forbidden,
    errors.TooMany,
    errors.Unavailable,
)

Answer = tuple[object, int] | object


class Blueprint(flask_smorest.Blueprint):  # type: ignore[misc]
    """A room's routes."""

    def door(
        self,
        method: str,
        rule: str,
        *,
        roles: Sequence[Role],
        answers: Mapping[int, Schema],
        body: Schema | None = None,
        query: Schema | None = None,
        refusals: Sequence[type[errors.Problem]] = (),
        idempotency_key: str | None = None,
    ) -> Callable[[Callable[..., Answer]], Callable[..., Response]]:
        """Register a route whose view is called as `view(door, **path, body=…, query=…)`.

        `answers` documents each status; the view returns JSON-able data, or `(data, status)`.
        `idempotency_key` is None (reads, PUT), "optional" (a natural id exists) or "required".
        The view runs in one transaction, and runs again when PostgreSQL breaks a deadlock.
        """
        writes = method not in {"GET", "HEAD"}
        kinds = (*_ALWAYS, *refusals)
        if "<" in rule:
            kinds = (*kinds, errors.NoSuchPath)
        if body is not None:
            kinds = (*kinds, errors.NotJson, errors.TooLarge, errors.Invalid)
        if query is not None:
            kinds = (*kinds, errors.Invalid)
        if idempotency_key:
            kinds = (
                *kinds,
                errors.IdempotencyKeyInvalid,
                *([errors.IdempotencyKeyRequired] if idempotency_key == "required" else []),
                errors.IdempotencyKeyReused,
                errors.RequestInFlight,
            )
        route = Route(tuple(roles), kinds, writes, idempotency_key)
        default_status = min(answers)

        def register(view: Callable[..., Answer]) -> Callable[..., Response]:
            @wraps(view)
            def enter(**path: Any) -> Response:
                desk: Desk = current_app.extensions["tidemark"]
                now = read_clock()
                caller = desk.authenticator.identify(request.headers.get("Authorization"), now=now)
                g.caller = caller
                if caller.role not in route.roles:
                    raise errors.Forbidden(f"a key of the role {caller.role} may not use this")
                arguments = dict(path)
                if not all(map(is_merchant_id, path.values())):
                    raise errors.NoSuchPath("an id in the path is not 1 to 128 visible characters")
                if query is not None:
                    arguments["query"] = _read_query(query)
                elif request.args:
                    raise _unknown_parameters(request.args)
                raw: object = None
                if body is not None:
                    raw = _read_json()
                    arguments["body"] = _load(body, raw)
                keyed = _read_idempotency_key(route, caller, raw)
                return _run(
                    view,
                    arguments,
                    desk=desk,
                    caller=caller,
                    now=now,
                    keyed=keyed,
                    default_status=default_status,
                )

            enter._apidoc = _document(  # type: ignore[attr-defined]
                route, answers, body, query, operation_id=_camel(view.__name__)
            )
            ROUTES[f"{self.name}.{view.__name__}"] = route
            self.add_url_rule(rule, view.__name__, enter, methods=[method])
            return enter

        return register


def _run(
    view: Callable[..., Answer],
    arguments: dict[str, Any],
    *,
    desk: Desk,
    caller: Caller,
    now: datetime,
    keyed: idempotency.KeyedRequest | None,
    default_status: int,
) -> Response:
    for attempt in range(_TRIES):
        try:
            return _run_once(
                view,
                arguments,
                desk=desk,
                caller=caller,
                now=now,
                keyed=keyed,
                default_status=default_status,
            )
        except PoolTimeout as error:
            raise errors.Unavailable("every connection is busy; try again shortly") from error
        except OperationalError as error:
            sqlstate = getattr(error.orig, "sqlstate", None)
            if sqlstate in _RETRIED and attempt + 1 < _TRIES:
                log.warning("transaction broken off by PostgreSQL, again", extra={"sqlstate": sqlstate})
                time.sleep(random.uniform(0.005, 0.02) * 2**attempt)
                continue
            raise errors.Unavailable("the database did not answer in time") from error
        except DBAPIError as error:
            if error.connection_invalidated:
                raise errors.Unavailable("the database connection was lost") from error
            raise
    raise AssertionError("unreachable")


def _run_once(
    view: Callable[..., Answer],
    arguments: dict[str, Any],
    *,
    desk: Desk,
    caller: Caller,
    now: datetime,
    keyed: idempotency.KeyedRequest | None,
    default_status: int,
) -> Response:
    with desk.engine.begin() as conn:
        if keyed is not None:
            stored = idempotency.claim(conn, request=keyed)
            if stored is not None:
                response = Response(stored.body, status=stored.status, mimetype="application/json")
                response.headers["Idempotent-Replayed"] = "true"
                return response
        door = Door(conn, now, caller, preferred_locale(), g.request_id, desk)
        result = view(door, **arguments)
        data, status = result if isinstance(result, tuple) else (result, default_status)
        payload = b"" if status == HTTPStatus.NO_CONTENT else orjson.dumps(data)
        if keyed is not None:
            idempotency.keep(conn, request=keyed, status=status, body=payload, now=now)
    return Response(payload, status=status, mimetype="application/json")


def preferred_locale() -> str:
    """Return `zh-Hant` where the caller prefers any Chinese, else `en`."""
    header = request.headers.get("Accept-Language")
    if not header:
        return "en"
    for language, quality in request.accept_languages:
        if quality > 0 and language.lower().startswith("zh"):
            return "zh-Hant"
        if quality > 0 and language.lower().startswith("en"):
            return "en"
    return "en"


def _read_json() -> object:
    if request.mimetype != "application/json":
        raise errors.NotJson("send Content-Type: application/json")
    raw = request.get_data(cache=True)
    try:
        value = json.loads(
            raw.decode(),
            parse_float=Decimal,
            parse_constant=_refuse_constant,
            object_pairs_hook=_unique_names,
        )
    except UnicodeDecodeError as error:
        raise errors.Malformed("the body is not UTF-8") from error
    except RecursionError as error:
        raise errors.Malformed("the body is nested too deep") from error
    except (ValueError, ArithmeticError) as error:
        raise errors.Malformed(f"the body is not JSON: {error}") from error
    if raw.count(b"[") + raw.count(b"{") > MAX_DEPTH and _depth(value) > MAX_DEPTH:
        raise errors.Malformed("the body is nested too deep")
    return value


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def _unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a name appears twice in one object")
    return members


def _depth(value: object) -> int:
    deepest = 0
    stack: list[tuple[object, int]] = [(value, 1)]
    while stack:
        inner, depth = stack.pop()
        deepest = max(deepest, depth)
        children = inner.values() if isinstance(inner, dict) else inner if isinstance(inner, list) else ()
        stack.extend((child, depth + 1) for child in children if isinstance(child, dict | list))
    return deepest


def _load(schema: Schema, raw: object) -> Any:
    try:
        return schema.load(raw)  # type: ignore[arg-type]
    except ValidationError as error:
        found = list(_pointers(error.messages, ""))
        raise errors.Invalid("some fields are not acceptable", errors=found) from error


def _pointers(messages: Any, path: str) -> list[errors.FieldError]:
    if isinstance(messages, dict):
        found = []
        for name, inner in messages.items():
            here = path if name == "_schema" else f"{path}/{_escape(str(name))}"
            found += _pointers(inner, here)
        return found
    return [errors.FieldError(str(message), pointer=path) for message in messages]


def _escape(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _read_query(schema: Schema) -> Any:
    unknown = set(request.args) - set(schema.fields)
    if unknown:
        raise _unknown_parameters(sorted(unknown))
    repeated = [name for name, values in request.args.lists() if len(values) > 1]
    if repeated:
        found = [errors.FieldError("given more than once", parameter=name) for name in repeated]
        raise errors.Malformed("some parameters are given more than once", errors=found)
    try:
        return schema.load(request.args.to_dict())
    except ValidationError as error:
        messages = error.messages if isinstance(error.messages, dict) else {"_schema": error.messages}
        found = [
            errors.FieldError(str(detail), parameter=str(name))
            for name, details in messages.items()
            for detail in (details if isinstance(details, list) else [details])
        ]
        raise errors.Invalid("some parameters are not acceptable", errors=found) from error


def _unknown_parameters(names: Iterable[str]) -> errors.Malformed:
    found = [errors.FieldError("unknown parameter", parameter=name) for name in names]
    return errors.Malformed("some parameters are unknown", errors=found)


def _read_idempotency_key(route: Route, caller: Caller, raw: object) -> idempotency.KeyedRequest | None:
    key = request.headers.get("Idempotency-Key")
    if route.idempotency_key is None:
        return None
    if key is None:
        if route.idempotency_key == "required":
            raise errors.IdempotencyKeyRequired
        return None
    body = orjson.dumps(raw, default=str, option=orjson.OPT_SORT_KEYS)
    digest = idempotency.hash_request(request.method.encode(), request.path.encode(), body)
    return idempotency.KeyedRequest(caller.key_id, idempotency.check_key(key), digest)


def _camel(name: str) -> str:
    """Return `place_order` as `placeOrder`."""
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _document(
    route: Route,
    answers: Mapping[int, Schema],
    body: Schema | None,
    query: Schema | None,
    *,
    operation_id: str,
) -> dict[str, Any]:
    """Say to flask-smorest what this route takes and answers."""
    doc: dict[str, Any] = {
        "manual_doc": {
            "operationId": operation_id,
            "security": [{"apiKey": []}],
            "x-roles": list(route.roles),
        }
    }
    parameters: list[dict[str, Any]] = []
    if query is not None:
        parameters.append({"in": "query", "schema": query})
    if body is not None:
        parameters.append({"in": "json", "required": True, "schema": body})
    if parameters:
        doc["arguments"] = {"parameters": parameters}
    if route.idempotency_key:
        doc["manual_doc"]["parameters"] = [
            {
                "in": "header",
                "name": "Idempotency-Key",
                "required": route.idempotency_key == "required",
                "description": "Chosen by the caller; the same key and body get the first answer again.",
                "schema": {"type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[!-~]+$"},
            }
        ]
    responses: dict[Any, Any] = {
        status: [{"schema": schema, "description": HTTPStatus(status).phrase, "content_type": None}]
        for status, schema in answers.items()
    }
    by_status: dict[int, list[type[errors.Problem]]] = {}
    for kind in route.problems:
        by_status.setdefault(status_of(kind), []).append(kind)
    for status, kinds in sorted(by_status.items()):
        codes = ", ".join(f"`{kind.code}`" for kind in dict.fromkeys(kinds))
        responses[status] = [{"schema": _PROBLEM, "description": codes, "content_type": problems.MIMETYPE}]
    doc["response"] = {"responses": responses}
    return doc


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


def check_roles(roles: Sequence[str]) -> None:
    """Refuse a role that does not exist, at start rather than at the first request."""
    unknown = set(roles) - set(ROLES)
    if unknown:
        raise ValueError(f"unknown roles: {', '.join(sorted(unknown))}")
