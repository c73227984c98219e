"""What a request says: its body as exact JSON, its query, its language; whatever is doubtful is refused."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from types import NoneType
from typing import Any

from flask import request
from marshmallow import Schema, ValidationError

from service.kit import errors
from service.kit.exact_json import parse_json
from service.kit.exchange import present_request


def preferred_locale() -> str:
    """Return `zh-Hant` where the caller prefers any Chinese, else `en`."""
    asked = present_request()
    if not asked.environ.get("HTTP_ACCEPT_LANGUAGE"):
        return "en"
    for language, quality in asked.accept_languages:
        if quality > 0 and language.lower().startswith("zh"):
            return "zh-Hant"
        if quality > 0 and language.lower().startswith("en"):
            return "en"
    return "en"


def read_json() -> Any:
    """Return the JSON value of the body, its decimals exact.

    Raises:
        NotJson: another type, charset or encoding. Malformed: not JSON, or nested too deep.
        TooLarge: above the limit, whether or not its length was announced.
    """
    if request.mimetype != "application/json":
        raise errors.NotJson("send Content-Type: application/json")
    if request.mimetype_params.get("charset", "utf-8").lower() not in {"utf-8", "utf8"}:
        raise errors.NotJson("JSON is sent as UTF-8")
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise errors.NotJson("send the body as it is, without Content-Encoding")
    try:
        return parse_json(_read_whole())
    except ValueError as error:
        raise errors.Malformed(f"the body {error}") from error


def _read_whole() -> bytes:
    raw = request.get_data(cache=True)
    most = request.max_content_length
    # A body whose length was not announced is cut off at the limit without a word: is there more of it?
    is_cut = request.content_length is None and most is not None and len(raw) >= most
    if is_cut and request.environ["wsgi.input"].read(1):
        raise errors.TooLarge
    return raw


def refuse_body() -> None:
    """Refuse a body where none is read; an empty one or `{}` is let pass.

    Raises:
        Malformed: there is something in it. TooLarge: above the limit.
    """
    if request.content_length == 0 or "wsgi.input" not in request.environ:
        return
    if request.content_length is None and not request.environ.get("wsgi.input_terminated"):
        return
    if _read_whole().strip() not in {b"", b"{}"}:
        raise errors.Malformed("this takes no body")


def load_body(schema: Schema, raw: object) -> Any:
    """Return what a schema makes of the body.

    Raises:
        Invalid: with a JSON pointer to each place.
    """
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


def read_query(schema: Schema) -> Any:
    """Return what a schema makes of the query parameters.

    Raises:
        Malformed: an unknown or repeated one. Invalid: with the name of each.
    """
    if not present_request().query_string or not request.args:
        return _read_nothing(schema)
    known = {name if field.data_key is None else field.data_key for name, field in schema.fields.items()}
    unknown = set(request.args) - known
    if unknown:
        raise unknown_parameters(sorted(unknown))
    repeated = [name for name, values in request.args.lists() if len(values) > 1]
    if repeated:
        found = [errors.FieldError("given more than once", parameter=name) for name in repeated]
        raise errors.Malformed("some parameters are given more than once", errors=found)
    return _load_query(schema, request.args.to_dict())


_MADE_OF_NOTHING: dict[int, tuple[Schema, dict[str, Any]]] = {}
"""What a schema makes of an empty query, by identity, where nothing in it can be changed."""
_UNCHANGING = (str, int, tuple, Decimal, NoneType)


def _read_nothing(schema: Schema) -> Any:
    known = _MADE_OF_NOTHING.get(id(schema))
    if known is not None:
        return dict(known[1])
    made = _load_query(schema, {})
    if isinstance(made, dict) and all(isinstance(value, _UNCHANGING) for value in made.values()):
        _MADE_OF_NOTHING[id(schema)] = (schema, dict(made))
    return made


def _load_query(schema: Schema, given: dict[str, str]) -> Any:
    try:
        return schema.load(given)
    except ValidationError as error:
        messages = error.messages if isinstance(error.messages, dict) else {"_schema": error.messages}
        found = [
            errors.FieldError(str(detail), parameter=str(name))
            for name, details in messages.items()
            for detail in (details if isinstance(details, list) else [details])
        ]
        raise errors.Invalid("some parameters are not acceptable", errors=found) from error


def unknown_parameters(names: Iterable[str]) -> errors.Malformed:
    """Return the refusal that names these parameters."""
    found = [errors.FieldError("unknown parameter", parameter=name) for name in names]
    return errors.Malformed("some parameters are unknown", errors=found)


def normalise(value: object) -> object:
    """Return a JSON value in which equal numbers are written alike, for comparing requests.

    1.50, 1.5 and 15e-1 become one; 1.5 and "1.5" stay two.
    """
    if isinstance(value, dict):
        return {name: normalise(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [normalise(inner) for inner in value]
    if isinstance(value, Decimal) or (isinstance(value, int) and not isinstance(value, bool)):
        # No schema lets a NUL through, so nothing else is written like this.
        return {"\x00": str(Decimal(value).normalize())}
    return value
