"""Turn the OpenAPI document into what the reference pages show: pure, from dict to values."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from service.documents.contract import Document, Operation, list_operations

_DEPTH = 3
_LONGEST_BOUND = 30  # longer patterns stand in openapi.json, for machines
_CODE = re.compile(r"`([a-z]+(?:-[a-z]+)*)`")
_BOUNDS = (
    ("minLength", "at least {} long"),
    ("maxLength", "at most {} long"),
    ("minimum", "≥ {}"),
    ("exclusiveMinimum", "> {}"),
    ("maximum", "≤ {}"),
    ("minItems", "at least {}"),
    ("maxItems", "at most {}"),
    ("maxProperties", "at most {} names"),
    ("pattern", "matches {}"),
    ("default", "default {}"),
)


@dataclass(frozen=True, slots=True)
class Row:
    """One parameter or field: `schema` is the component it links to, `choices` its only values."""

    name: str
    type: str
    schema: str | None
    required: bool
    description: str
    bounds: str
    choices: Sequence[str]
    place: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer: a success with its example, or the codes of the problems with that status."""

    status: str
    phrase: str
    schema: str | None
    example: str | None
    codes: Sequence[str]


@dataclass(frozen=True, slots=True)
class Call:
    """One operation as it is shown."""

    id: str
    method: str
    path: str
    summary: str
    description: str
    roles: Sequence[str]
    parameters: Sequence[Row]
    body_schema: str | None
    body: Sequence[Row]
    curl: str
    answers: Sequence[Answer]
    problems: Sequence[Answer]
    links: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Group:
    """Operations that belong together."""

    name: str
    description: str
    calls: Sequence[Call]


def list_groups(document: Document) -> list[Group]:
    """Return every operation, by group, in the document's order of groups."""
    calls: dict[str, list[Call]] = {tag["name"]: [] for tag in document["tags"]}
    for path, method, operation in list_operations(document):
        shared = document["paths"][path].get("parameters", [])
        calls[operation["tags"][0]].append(_show_call(document, path, method, operation, shared))
    return [Group(tag["name"], tag["description"], calls[tag["name"]]) for tag in document["tags"]]


def list_schemas(document: Document) -> list[tuple[str, str, list[Row]]]:
    """Return every component: its name, its description and its fields."""
    return [
        (name, schema.get("description", ""), list(_list_fields(document, schema, depth=1)))
        for name, schema in sorted(document["components"]["schemas"].items())
    ]


def _show_call(
    document: Document, path: str, method: str, operation: Operation, shared: Sequence[dict[str, Any]]
) -> Call:
    parameters = [*shared, *operation.get("parameters", [])]
    body = operation.get("requestBody", {}).get("content", {})
    body_schema = next((content.get("schema", {}) for content in body.values()), None)
    answers = [_show_answer(status, response) for status, response in operation["responses"].items()]
    return Call(
        id=operation["operationId"],
        method=method.upper(),
        path=path,
        summary=operation["summary"],
        description=operation.get("description", ""),
        roles=operation.get("x-roles", ()),
        parameters=[_show_parameter(parameter) for parameter in parameters],
        body_schema=_name_of(body_schema) if body_schema else None,
        body=list(_list_fields(document, body_schema, depth=_DEPTH)) if body_schema else [],
        curl=write_curl(path, method, parameters, body, schemes=bool(operation.get("security", True))),
        answers=[answer for answer in answers if answer.status < "4"],
        problems=[answer for answer in answers if answer.status >= "4"],
        links=_list_links(operation),
    )


def _show_answer(status: str, response: Mapping[str, Any]) -> Answer:
    content: Mapping[str, Any] = next(iter(response.get("content", {}).values()), {})
    example = content.get("example")
    refused = status >= "4"
    return Answer(
        status=status,
        phrase="" if refused else response["description"],
        schema=_name_of(content.get("schema", {})),
        example=None if example is None else write_json(example),
        codes=_CODE.findall(response["description"]) if refused else (),
    )


def _list_links(operation: Operation) -> list[tuple[str, str]]:
    found: dict[str, str] = {}
    for response in operation["responses"].values():
        for link in response.get("links", {}).values():
            found[link["operationId"]] = link.get("description", "")
    return list(found.items())


def write_json(value: object) -> str:
    """Return JSON as a person reads it."""
    return json.dumps(value, indent=2, ensure_ascii=False)


def write_curl(
    path: str, method: str, parameters: Sequence[Mapping[str, Any]], body: Mapping[str, Any], *, schemes: bool
) -> str:
    """Return a command that sends the example of an operation; `$URL` and `$KEY` are the reader's."""
    filled, query = path, {}
    headers = ['-H "Authorization: Bearer $KEY"'] if schemes else []
    for parameter in parameters:
        name, example = parameter["name"], parameter.get("example")
        if parameter["in"] == "path":
            filled = filled.replace(f"{{{name}}}", quote(str(example or name.upper()), safe=""))
        elif parameter["in"] == "query" and example is not None:
            query[name] = str(example)
        elif parameter["in"] == "header" and parameter.get("required"):
            headers.append(f'-H "{name}: {example or "$(uuidgen)"}"')
    address = filled + (f"?{urlencode(query)}" if query else "")
    words = [f'curl -X {method.upper()} "$URL{address}"', *headers]
    for media, content in body.items():
        words.append(f'-H "Content-Type: {media}"')
        if content.get("example") is not None:
            words.append("-d '" + write_json(content["example"]).replace("'", "'\\''") + "'")
        break
    return " \\\n  ".join(words)


def _show_parameter(parameter: Mapping[str, Any]) -> Row:
    schema = parameter.get("schema", {})
    return _row(
        parameter["name"],
        schema,
        required=parameter.get("required", False),
        description=parameter.get("description", ""),
        place=parameter["in"],
    )


def _list_fields(
    document: Document, schema: Mapping[str, Any], *, depth: int, prefix: str = ""
) -> Iterator[Row]:
    resolved = _resolve(document, schema)
    needed = resolved.get("required", ())
    for name, inner in resolved.get("properties", {}).items():
        is_list = "items" in inner
        yield _row(prefix + name, inner, required=name in needed, description=inner.get("description", ""))
        below = inner["items"] if is_list else inner
        if depth > 1 and _name_of(below):
            path = f"{prefix}{name}{'[]' if is_list else ''}."
            yield from _list_fields(document, below, depth=depth - 1, prefix=path)


def _row(name: str, schema: Mapping[str, Any], *, required: bool, description: str, place: str = "") -> Row:
    inner = schema.get("items", {}) if "items" in schema else schema
    return Row(
        name=name,
        type=_type_of(schema),
        schema=_name_of(inner),
        required=required,
        description=description,
        bounds=", ".join(
            text.format(schema[key])
            for key, text in _BOUNDS
            if schema.get(key) not in (None, "") and len(str(schema[key])) <= _LONGEST_BOUND
        ),
        choices=[str(choice) for choice in inner.get("enum", ()) if choice is not None],
        place=place,
    )


def _alternatives(schema: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    found: Sequence[Mapping[str, Any]] = next(
        (schema[word] for word in ("anyOf", "oneOf", "allOf") if word in schema), ()
    )
    return found


def _name_of(schema: Mapping[str, Any]) -> str | None:
    for candidate in (schema, *_alternatives(schema)):
        if "$ref" in candidate:
            return str(candidate["$ref"]).rsplit("/", 1)[1]
    return None


def _resolve(document: Document, schema: Mapping[str, Any]) -> Mapping[str, Any]:
    name = _name_of(schema)
    found: Mapping[str, Any] = document["components"]["schemas"][name] if name else schema
    return found


def _type_of(schema: Mapping[str, Any]) -> str:
    if "items" in schema:
        return f"list of {_type_of(schema['items'])}"
    name = _name_of(schema)
    if name:
        is_nullable = any(option.get("type") == "null" for option in _alternatives(schema))
        return f"{name} or null" if is_nullable else name
    kind = schema.get("type", "any")
    words = " or ".join(kind) if isinstance(kind, list) else str(kind)
    return f"{words} ({schema['format']})" if "format" in schema else words
