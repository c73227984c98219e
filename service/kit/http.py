"""The door: one decorator that parses, tells the caller, opens one transaction and answers.

flask-smorest keeps the routes and the OpenAPI document; reading the body, refusing what is unknown and
writing the answer are done here, because its own wrappers take a form post for an empty body, ignore
unknown query parameters, and cost several times a bare route.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from functools import wraps
from http import HTTPStatus
from typing import Any

import flask_smorest
import orjson
from flask import Response, current_app, g, request
from marshmallow import Schema
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from service.kit import errors, idempotency, preconditions
from service.kit.auth import Authenticator, Caller, Role
from service.kit.clock import read_clock
from service.kit.db import try_again
from service.kit.exchange import WholeAnswer, present_notes, present_request
from service.kit.fields import is_merchant_id
from service.kit.rate_limits import Allowance, RateLimiter
from service.kit.readers import MOST_RESTING, Readers
from service.kit.reading import (
    load_body,
    normalise,
    preferred_locale,
    read_json,
    read_query,
    refuse_body,
    unknown_parameters,
)
from service.kit.routes import Route, document_route
from service.kit.sealing import Sealer
from service.kit.settings import Settings
from service.kit.strangers import Strangers
from service.kit.tables import CSV, NDJSON, Download, Table
from service.kit.uploads import Upload, receive_upload

STAFF: tuple[Role, ...] = ("server", "marketing", "operations", "admin")
"""Every role that may see data about members at large."""


@dataclass(frozen=True, slots=True)
class Desk:
    """What every door of this process shares, made once at start (`app.extensions["tidemark"]`)."""

    engine: Engine
    authenticator: Authenticator
    settings: Settings
    sealer: Sealer
    limiter: RateLimiter | None = None
    strangers: Strangers | None = None
    tools: dict[str, Any] = field(default_factory=dict)
    reads: Engine | None = None
    readers: Readers = field(init=False)
    """The same connections without BEGIN and COMMIT: a read sees each statement's own snapshot either way."""

    def __post_init__(self) -> None:
        """Share the engine's connections with the readers, where none is given that has them as they are."""
        reads = self.reads or self.engine.execution_options(isolation_level="AUTOCOMMIT")
        # Only a process that begins nothing by itself has connections that are good for the next read.
        readers = Readers(reads, most=0 if self.reads is None else MOST_RESTING)
        object.__setattr__(self, "readers", readers)


@dataclass(slots=True)
class Door:
    """One request inside its transaction: who asks, when, in which language."""

    conn: Connection
    now: datetime
    caller: Caller
    locale: str
    request_id: str
    desk: Desk
    wants_csv: bool = False
    """Whether the answer is to be a `Table`; only where the route offers it."""
    after_commit: list[Callable[[], None]] = field(default_factory=list)
    """Called once the transaction is committed; never when it was rolled back."""


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
        store_scope: bool = False,
        secret_fields: Sequence[str] = (),
        records: bool = False,
        localised: bool = False,
        upload: Sequence[str] = (),
        csv: bool = False,
        ndjson: bool = False,
        tagged: Schema | None = None,
        tagged_by: Callable[..., Answer] | None = None,
    ) -> Callable[[Callable[..., Answer]], Callable[..., Response]]:
        """Register a route whose view is called as `view(door, **path, body=…, query=…)`.

        `answers` documents each status; the view returns JSON-able data, or `(data, status)`.
        `idempotency_key` is None (reads, PUT), "optional" (a natural id exists) or "required".
        With `store_scope` the view must hold the caller to its stores (`door.caller`). `secret_fields`
        of the answer become null, with a `note`, where the answer is given again. A view that reads
        `door.locale` is `localised`. `upload` names the media types of a body that may be large: the view is
        given it as `upload`, a file on disk.
        With `csv` the caller may ask for a table instead (`Accept: text/csv`, or `format` in the query, which
        the query schema must have: `TableQuery`); the view sees `door.wants_csv` and returns a `Table`.
        `tagged` is the body of the PUT of what a GET reads: its answer has an entity tag that stands for what
        the PUT may say. The PUT names in `tagged_by` the view that reads what it changes, and honours
        `If-Match` and `If-None-Match`.
        With `ndjson` the view returns a `Download`: the answer's schema is that of one line.
        The view runs in one transaction, and runs again when PostgreSQL breaks a deadlock; that of a GET
        runs without one, unless it `records` that it answered.
        """
        if tagged_by is not None:
            refusals = (*refusals, errors.ChangedMeanwhile)
        route = Route(
            roles=tuple(roles),
            problems=_list_refusals(
                roles=roles,
                refusals=refusals,
                has_path="<" in rule,
                has_body=body is not None or bool(upload),
                has_query=query is not None,
                takes_body=method != "GET",
                idempotency_key=idempotency_key,
                store_scope=store_scope,
            ),
            writes=method not in {"GET", "HEAD"},
            idempotency_key=idempotency_key,
            store_scope=store_scope,
            secret_fields=tuple(secret_fields),
            localised=localised,
            csv=csv,
            ndjson=ndjson,
            content=_list_content(tagged if tagged_by is None else body, answers),
        )
        default_status = min(answers)

        def register(view: Callable[..., Answer]) -> Callable[..., Response]:
            guarded = view if tagged_by is None else _guard(view, tagged_by, route.content)

            @wraps(view)
            def enter(**path: Any) -> Response:
                desk: Desk = current_app.extensions["tidemark"]
                now = read_clock()
                caller = _admit(route, path, desk, now)
                arguments = _read_address(path, query, caller)
                visit = _Visit(
                    view=guarded,
                    arguments=arguments,
                    route=route,
                    desk=desk,
                    caller=caller,
                    now=now,
                    default_status=default_status,
                    in_transaction=route.writes or records,
                    wants_csv=route.csv and _wants_csv(),
                )
                return visit.receive(body, upload)

            enter._apidoc = document_route(  # type: ignore[attr-defined]
                route, answers, body, query, upload, name=view.__name__
            )
            ROUTES[f"{self.name}.{view.__name__}"] = route
            self.add_url_rule(rule, view.__name__, enter, methods=[method])
            return enter

        return register


def _list_refusals(
    *,
    roles: Sequence[Role],
    refusals: Sequence[type[errors.Problem]],
    has_path: bool,
    has_body: bool,
    has_query: bool,
    takes_body: bool,
    idempotency_key: str | None,
    store_scope: bool,
) -> tuple[type[errors.Problem], ...]:
    """Return everything that a route can refuse, by what it takes."""
    kinds = [*_ALWAYS, *refusals]
    if has_path:
        kinds.append(errors.NoSuchPath)
    if "storefront" in roles:
        kinds += [errors.MemberTokenExpired, errors.MemberTokenNeeded, errors.OriginNotAllowed]
    if store_scope:
        kinds.append(errors.StoreOutOfScope)
    if takes_body:
        kinds.append(errors.TooLarge)
    if has_body:
        kinds += [errors.NotJson, errors.Invalid]
    if has_query:
        kinds.append(errors.Invalid)
    if idempotency_key:
        kinds.append(errors.IdempotencyKeyInvalid)
        if idempotency_key == "required":
            kinds.append(errors.IdempotencyKeyRequired)
        kinds += [errors.IdempotencyKeyReused, errors.RequestInFlight]
    return tuple(dict.fromkeys(kinds))


def _admit(route: Route, path: Mapping[str, Any], desk: Desk, now: datetime) -> Caller:
    """Return the caller if it may use the route, and now: the one place where that is decided.

    Raises:
        Unauthenticated, Forbidden: see docs/problems.md. TooMany: it asked too often.
    """
    notes, environ = present_notes(), present_request().environ
    notes.caller = caller = _identify(desk, now, environ)
    notes.origins = caller.origins
    if desk.limiter is not None:
        notes.allowance = _spend(desk.limiter, caller, desk.settings, now)
        if notes.allowance is not None and not notes.allowance.granted:
            raise errors.TooMany(f"at most {notes.allowance.limit} requests a minute")
    if caller.role not in route.roles:
        raise errors.Forbidden(f"a key of the role {caller.role} may not use this")
    if caller.role == "storefront":
        origin = environ.get("HTTP_ORIGIN")
        if origin is not None and caller.origins and origin not in caller.origins:
            raise errors.OriginNotAllowed("register the origin with the key")
        if "member_id" in path:
            caller.check_member(path["member_id"])
    return caller


def _read_address(path: Mapping[str, Any], query: Schema | None, caller: Caller) -> dict[str, Any]:
    """Return a view's arguments from the path and the query.

    Raises:
        NoSuchPath: no such id can be. Malformed, Invalid: the query. Forbidden: another member.
    """
    if not all(map(is_merchant_id, path.values())):
        raise errors.NoSuchPath("an id in the path is not 1 to 128 visible characters")
    arguments = dict(path)
    if query is not None:
        arguments["query"] = asked = read_query(query)
        if asked.get("member_id") is not None:
            caller.check_member(asked["member_id"])
    elif present_request().query_string and request.args:
        raise unknown_parameters(request.args)
    return arguments


def _identify(desk: Desk, now: datetime, environ: Mapping[str, Any]) -> Caller:
    """Return the caller; an address that failed too often hears of that, unless it shows a known key."""
    strangers, seconds, address = desk.strangers, now.timestamp(), environ.get("REMOTE_ADDR")
    refusal = strangers.find_refusal(address, seconds=seconds) if strangers else None
    try:
        return desk.authenticator.identify(
            environ.get("HTTP_AUTHORIZATION"), now=now, known_only=refusal is not None
        )
    except errors.MemberTokenExpired as expired:
        # Its page may read that it expired, and ask its shop for another.
        g.origins = expired.origins
        raise
    except errors.Unauthenticated:
        if refusal is not None:
            g.allowance = refusal
            raise errors.TooMany(f"at most {refusal.limit} failed keys a minute from one address") from None
        if strangers is not None:
            strangers.count(address, seconds=seconds)
        raise


def _receive(upload: Sequence[str], settings: Settings) -> AbstractContextManager[Upload]:
    """Receive a body that may be large, into a file that is there as long as the request is."""
    folder = settings.var / "uploads"
    return receive_upload(media_types=upload, max_bytes=settings.max_upload_bytes, folder=folder)


def _read_body(route: Route, body: Schema | None, arguments: dict[str, Any]) -> object:
    """Return what makes the body this one and no other, having added what the view is given of it."""
    if body is not None:
        raw = read_json()
        arguments["body"] = load_body(body, raw)
        return raw
    if route.writes:
        refuse_body()
    return None


def _spend(limiter: RateLimiter, caller: Caller, settings: Settings, now: datetime) -> Allowance | None:
    """Spend a request of everything that limits the caller, and return what is nearest to its end."""
    seconds = now.timestamp()
    nearest = None
    if settings.rate_limit_per_key:
        bucket = f"key:{caller.key_id}"
        nearest = limiter.spend(bucket, limit=settings.rate_limit_per_key, seconds=seconds)
    if caller.member_id is not None and settings.rate_limit_per_member:
        bucket = f"member:{caller.scope}"
        own = limiter.spend(bucket, limit=settings.rate_limit_per_member, seconds=seconds)
        nearest = own if nearest is None else min(nearest, own, key=_nearness)
    return nearest


def _nearness(allowance: Allowance) -> tuple[bool, float]:
    return allowance.granted, allowance.remaining / allowance.limit


@dataclass(slots=True)
class _Visit:
    """One request that was let in, and what its answer is made of."""

    view: Callable[..., Answer]
    arguments: dict[str, Any]
    route: Route
    desk: Desk
    caller: Caller
    now: datetime
    default_status: int
    in_transaction: bool
    wants_csv: bool
    keyed: idempotency.KeyedRequest | None = None

    def receive(self, body: Schema | None, upload: Sequence[str]) -> Response:
        """Read the body, if the route takes any, and answer."""
        if upload:
            with _receive(upload, self.desk.settings) as received:
                self.arguments["upload"] = received
                return self._answer_to([received.media_type, received.sha256.hex()])
        return self._answer_to(_read_body(self.route, body, self.arguments))

    def _answer_to(self, raw: object) -> Response:
        """Return the answer to a body; `raw` is what makes it this one and no other."""
        self.keyed = _read_idempotency_key(self.route, self.caller, raw)
        return self._answer()

    def _answer(self) -> Response:
        """Return the answer, having tried again where PostgreSQL broke a deadlock."""
        try:
            return try_again(self._answer_once)
        except PoolTimeout as error:
            raise errors.Unavailable("every connection is busy; try again shortly") from error
        except OperationalError as error:
            raise errors.Unavailable("the database did not answer in time") from error
        except DBAPIError as error:
            if error.connection_invalidated:
                raise errors.Unavailable("the database connection was lost") from error
            raise

    def _answer_once(self) -> Response:
        keyed = self.keyed
        with self._connect() as conn:
            if keyed is not None:
                stored = idempotency.claim(conn, request=keyed)
                if stored is not None:
                    return _replay(stored)
            door = Door(
                conn,
                self.now,
                self.caller,
                preferred_locale(),
                present_notes().request_id,
                self.desk,
                self.wants_csv,
            )
            result = self.view(door, **self.arguments)
            if isinstance(result, Table):
                return _answer_table(result)
            if isinstance(result, Download):
                return _answer_download(result)
            data, status = result if isinstance(result, tuple) else (result, self.default_status)
            payload = b"" if status == HTTPStatus.NO_CONTENT else orjson.dumps(data)
            if keyed is not None:
                secret_fields = self.route.secret_fields
                kept = orjson.dumps(_redact(data, secret_fields)) if secret_fields else payload
                idempotency.keep(conn, request=keyed, status=status, body=kept, now=self.now)
        for follow in door.after_commit:
            follow()
        response = WholeAnswer(payload, status=status)
        if self.route.content and isinstance(data, Mapping):
            response.set_etag(preconditions.tag_of(data, self.route.content))
        return response

    def _connect(self) -> AbstractContextManager[Connection]:
        """Open a transaction, or for a read a connection on which each statement stands by itself."""
        if not self.in_transaction:
            return self.desk.readers.lend()
        self.desk.readers.make_room()
        return self.desk.engine.begin()


def _replay(stored: idempotency.StoredAnswer) -> Response:
    """Return the answer that was given the first time."""
    response = WholeAnswer(stored.body, status=stored.status)
    response.headers["Idempotent-Replayed"] = "true"
    return response


def _guard(
    view: Callable[..., Answer], read: Callable[..., Answer], content: tuple[str, ...]
) -> Callable[..., Answer]:
    """Return a view that changes what `read` shows only where it is what the caller saw."""
    read = getattr(read, "__wrapped__", read)  # the view itself, where it is a route's

    def guarded(door: Door, **arguments: Any) -> Answer:
        preconditions.hold(door.conn, path=request.path)
        if preconditions.are_asked():
            try:
                present = read(door, **(request.view_args or {}))
            except errors.NotFound:
                preconditions.check(None)
            else:
                if not isinstance(present, Mapping):
                    raise TypeError("what has an entity tag is an object")
                preconditions.check(preconditions.tag_of(present, content))
        return view(door, **arguments)

    return guarded


def _list_content(body: Schema | None, answers: Mapping[int, Schema]) -> tuple[str, ...]:
    """Return the fields of an answer that a body may set."""
    if body is None:
        return ()
    shown = answers[min(answers)].fields
    return tuple(name for name in body.fields if name in shown)


def _wants_csv() -> bool:
    """Say whether the caller prefers a table; `format` in the query goes before what it accepts."""
    asked = request.args.get("format")
    if asked is not None:
        return asked == "csv"
    return request.accept_mimetypes.best_match(("application/json", CSV)) == CSV


def _answer_download(download: Download) -> Response:
    """Return lines as they are read: nobody holds all of them."""
    response = Response(download.parts(), content_type=NDJSON)
    response.headers["Content-Disposition"] = f'attachment; filename="{download.name}.ndjson"'
    return response


def _answer_table(table: Table) -> Response:
    response = Response(table.to_csv(), content_type=f"{CSV}; charset=utf-8; header=present")
    response.headers["Content-Disposition"] = f'attachment; filename="{table.name}.csv"'
    if table.next_cursor is not None:
        response.headers["X-Next-Cursor"] = table.next_cursor
    return response


def _redact(data: object, secret_fields: tuple[str, ...]) -> object:
    if not isinstance(data, dict):
        raise TypeError("an answer with secret fields is an object")
    note = "What was secret in the first answer was shown once and is not kept."
    return data | dict.fromkeys(secret_fields) | {"note": note}


def _read_idempotency_key(route: Route, caller: Caller, raw: object) -> idempotency.KeyedRequest | None:
    if route.idempotency_key is None:
        return None
    key = request.headers.get("Idempotency-Key")
    if key is None:
        if route.idempotency_key == "required":
            raise errors.IdempotencyKeyRequired
        return None
    checked = idempotency.check_key(key)
    body = orjson.dumps(normalise(raw), option=orjson.OPT_SORT_KEYS)
    asked = orjson.dumps(sorted(request.args.items(multi=True)))
    digest = idempotency.hash_request(request.method.encode(), request.path.encode(), asked, body)
    return idempotency.KeyedRequest(caller.scope, checked, digest)
