"""Complete the OpenAPI document that the routes give: groups, links, examples, nothing unused."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any, Protocol

from service.documents.examples import Example, Examples, build_problem
from service.documents.groups import GROUPS, group_of
from service.documents.links import LINKS, Link
from service.kit import problems
from service.kit.errors import Problem, list_problems
from service.kit.tables import CSV

METHODS = ("get", "put", "post", "patch", "delete")
_CODE = re.compile(r"`([a-z]+(?:-[a-z]+)*)`")

Operation = dict[str, Any]
Document = dict[str, Any]


class Spec(Protocol):
    """What the routes say of themselves."""

    def to_dict(self) -> Document:
        """Return the document as the routes give it."""


class Contract:
    """The document, completed once and read many times."""

    def __init__(self, spec: Spec, examples: Examples) -> None:
        self._spec = spec
        self._examples = examples
        self._document: Document | None = None

    def to_dict(self) -> Document:
        """Return the completed document; callers do not change it."""
        if self._document is None:
            self._document = complete(self._spec.to_dict(), self._examples)
        return self._document


def list_operations(document: Document) -> Iterator[tuple[str, str, Operation]]:
    """Yield path, method and operation of every operation, in the document's order."""
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                yield path, method, item[method]


def complete(document: Document, examples: Examples) -> Document:
    """Return `document` with groups, links and examples, and without schemas that nothing names.

    Raises:
        KeyError: a link leads to an operation that does not exist.
    """
    whole = deepcopy(document)
    _group(whole)
    _link(whole)
    _give_examples(whole, examples)
    _give_problem_examples(whole, examples)
    _drop_unused(whole)
    # Plain JSON, nothing shared between two places: a dump has no aliases.
    plain: Document = json.loads(json.dumps(whole))
    return plain


def _group(document: Document) -> None:
    given = {tag["name"]: tag for tag in document.get("tags", [])}
    used: dict[str, None] = {}
    for path, _, operation in list_operations(document):
        name = group_of(path) or operation["tags"][0]
        operation["tags"] = [name]
        used[name] = None
    known = [{"name": name, "description": text} for name, text in GROUPS.items() if name in used]
    document["tags"] = known + [given[name] for name in used if name not in GROUPS]


def _link(document: Document) -> None:
    by_id = {operation["operationId"]: operation for _, _, operation in list_operations(document)}
    for source, links in LINKS.items():
        for link in links:
            if link.operation not in by_id:
                raise KeyError(f"{source} links to {link.operation}, which does not exist")
        for status, response in by_id[source]["responses"].items():
            if status.startswith("2"):
                response["links"] = {link.operation: _link_to_json(link) for link in links}


def _link_to_json(link: Link) -> dict[str, Any]:
    shown: dict[str, Any] = {"operationId": link.operation, "description": link.description}
    if link.parameters:
        shown["parameters"] = dict(link.parameters)
    if link.body is not None:
        shown["requestBody"] = deepcopy(link.body)
    return shown


def _give_examples(document: Document, examples: Examples) -> None:
    for path, _, operation in list_operations(document):
        recorded = examples.answers.get(operation["operationId"], {})
        for status, example in recorded.items():
            for media, content in operation["responses"].get(status, {}).get("content", {}).items():
                # What was recorded is the JSON, not the table that the route also answers.
                if media != CSV:
                    content["example"] = example.answer
        if recorded:
            first = recorded[max(recorded)]  # 201 shows more than 200
            _give_request_example(operation, document["paths"][path].get("parameters", []), first)


def _give_request_example(operation: Operation, shared: list[dict[str, Any]], example: Example) -> None:
    if example.body is not None:
        for media, content in operation.get("requestBody", {}).get("content", {}).items():
            if media == "application/json":
                content["example"] = example.body
    given: Mapping[str, Mapping[str, str]] = {"path": example.path, "query": example.query}
    for parameter in (*shared, *operation.get("parameters", [])):
        value = given.get(parameter.get("in", ""), {}).get(parameter.get("name", ""))
        if value is not None and "example" not in parameter:
            parameter["example"] = _typed(value, parameter.get("schema", {}))


def _typed(value: str, schema: Mapping[str, Any]) -> object:
    return int(value) if schema.get("type") == "integer" else value


def _give_problem_examples(document: Document, examples: Examples) -> None:
    kinds: dict[str, type[Problem]] = {kind.code: kind for kind in list_problems()}
    shown: dict[str, Any] = {}
    for _, _, operation in list_operations(document):
        for response in operation["responses"].values():
            content = response.get("content", {}).get(problems.MIMETYPE)
            if content is None:
                continue
            codes = _CODE.findall(response["description"])
            content["examples"] = {code: {"$ref": f"#/components/examples/problem-{code}"} for code in codes}
            for code in codes:
                shown[f"problem-{code}"] = {
                    "summary": kinds[code].title(),
                    "value": examples.problems.get(code) or build_problem(kinds[code]),
                }
    document["components"]["examples"] = dict(sorted(shown.items()))


def _drop_unused(document: Document) -> None:
    schemas = document["components"]["schemas"]
    needed = set(_references(document["paths"]))
    waiting = list(needed)
    while waiting:
        for name in _references(schemas[waiting.pop()]):
            if name not in needed:
                needed.add(name)
                waiting.append(name)
    document["components"]["schemas"] = {name: schema for name, schema in schemas.items() if name in needed}


def _references(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        target = node.get("$ref")
        if isinstance(target, str) and target.startswith("#/components/schemas/"):
            yield target.rsplit("/", 1)[1]
        for inner in node.values():
            yield from _references(inner)
    elif isinstance(node, list):
        for inner in node:
            yield from _references(inner)
