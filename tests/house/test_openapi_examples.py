"""The document is complete: every answer and problem has an example, every link leads somewhere."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest

from service.documents.contract import complete, list_operations
from service.documents.examples import Examples
from service.documents.groups import GROUPS, group_of
from service.documents.links import LINKS
from service.kit.problems import MIMETYPE
from tests.house.sources import ROOT
from tests.house.test_routes import SPEC

OPERATIONS = {operation["operationId"]: (path, operation) for path, _, operation in list_operations(SPEC)}
ANNOTATED = ("getRecommendations", "getRelated", "getCard", "listMemberRewards")


def check(value: object, schema: dict[str, Any]) -> None:
    """Hold a value against a schema of the document."""
    whole = {**schema, "components": SPEC["components"]}
    jsonschema.Draft202012Validator(whole).validate(value)


def contents(operation_id: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield status, media type and content of every answer."""
    for status, response in OPERATIONS[operation_id][1]["responses"].items():
        for media, content in response.get("content", {}).items():
            yield status, media, content


@pytest.mark.parametrize("operation_id", OPERATIONS)
def test_every_successful_answer_has_an_example_that_fits(operation_id: str) -> None:
    """When this fails for a new route: add a step to tests/clients/story.py, then `make examples openapi`."""
    for status, media, content in contents(operation_id):
        if status < "3" and media == "application/json":
            assert "example" in content, f"{operation_id} {status} has no example"
            check(content["example"], content["schema"])


@pytest.mark.parametrize("operation_id", OPERATIONS)
def test_every_problem_has_an_example_that_fits(operation_id: str) -> None:
    for status, media, content in contents(operation_id):
        if media != MIMETYPE:
            continue
        assert content["examples"], f"{operation_id} {status}"
        for code, reference in content["examples"].items():
            example = SPEC["components"]["examples"][reference["$ref"].rsplit("/", 1)[1]]["value"]
            check(example, content["schema"])
            assert example["code"] == code
            assert example["status"] == int(status)
            assert example["type"] == f"/docs/problems#{code}"


@pytest.mark.parametrize("operation_id", OPERATIONS)
def test_every_body_has_an_example_that_fits(operation_id: str) -> None:
    content = OPERATIONS[operation_id][1].get("requestBody", {}).get("content", {}).get("application/json")
    if content is not None:
        assert "example" in content, f"{operation_id} has no example of its body"
        check(content["example"], content["schema"])


@pytest.mark.parametrize("operation_id", OPERATIONS)
def test_every_operation_has_a_readable_name_and_one_group(operation_id: str) -> None:
    path, operation = OPERATIONS[operation_id]
    assert re.fullmatch(r"[a-z]+([A-Z][a-z]+)+", operation_id)
    assert operation["tags"] == [group_of(path)], f"name a group for {path} in service/documents/groups.py"


def test_every_group_in_use_is_described_and_in_reading_order() -> None:
    names = [tag["name"] for tag in SPEC["tags"]]
    assert names == [name for name in GROUPS if name in names]
    assert all(tag["description"].endswith(".") for tag in SPEC["tags"])
    assert {operation["tags"][0] for _, operation in OPERATIONS.values()} == set(names)


@pytest.mark.parametrize("source", LINKS)
def test_links_name_parameters_that_their_operation_has(source: str) -> None:
    _, operation = OPERATIONS[source]
    linked = [
        link
        for status, response in operation["responses"].items()
        if status < "3"
        for link in response["links"].values()
    ]
    assert linked
    for link in linked:
        path, target = OPERATIONS[link["operationId"]]
        shared = SPEC["paths"][path].get("parameters", [])
        names = {parameter["name"] for parameter in (*shared, *target.get("parameters", []))}
        assert set(link.get("parameters", {})) <= names
        if "requestBody" in link:
            assert "requestBody" in target


def test_a_link_to_nowhere_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LINKS, "getCard", LINKS["getCard"] + LINKS["getItem"])
    without = {**SPEC, "paths": {path: item for path, item in SPEC["paths"].items() if "related" not in path}}
    with pytest.raises(KeyError, match="getRelated, which does not exist"):
        complete(without, Examples({}, {}))


@pytest.mark.parametrize("operation_id", ANNOTATED)
def test_the_annotation_is_one_named_component(operation_id: str) -> None:
    content = next(content for status, _, content in contents(operation_id) if status == "200")
    schema = SPEC["components"]["schemas"][content["schema"]["$ref"].rsplit("/", 1)[1]]
    assert "#/components/schemas/Measurement'" in str(schema["properties"]["measurement"])
    assert "measurement" in schema["required"]
    check(content["example"]["measurement"], {"$ref": "#/components/schemas/Measurement"})
    broken = {**content["example"]["measurement"], "attribution_token": "none"}
    with pytest.raises(jsonschema.ValidationError):
        check(broken, {"$ref": "#/components/schemas/Measurement"})


def test_the_annotation_knows_no_other_fields() -> None:
    schema = SPEC["components"]["schemas"]["Measurement"]
    assert schema["additionalProperties"] is False
    assert set(schema["required"]) == set(schema["properties"])


def test_every_field_that_comes_in_has_a_type() -> None:
    untyped = [
        f"{name}.{field}"
        for name, schema in SPEC["components"]["schemas"].items()
        if name.endswith("Body")
        for field, inner in schema["properties"].items()
        if not {"type", "$ref", "anyOf", "allOf", "oneOf", "enum"} & set(inner)
    ]
    assert untyped == []


def test_no_schema_is_left_that_nothing_names() -> None:
    text = str(SPEC)
    unused = [name for name in SPEC["components"]["schemas"] if f"#/components/schemas/{name}'" not in text]
    assert unused == []


def test_the_document_has_the_version_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert SPEC["info"]["version"] == project["version"]


def test_no_example_holds_a_key() -> None:
    keys = re.findall(r"\b(?:tmt_|tm_[a-z]+_)([A-Za-z0-9_.-]{16,})", (ROOT / "openapi.yaml").read_text())
    assert set(keys) <= {"0" * 43}


@pytest.mark.parametrize("page", sorted((ROOT / "service" / "documents" / "pages").iterdir()), ids=str)
def test_a_served_page_is_the_one_of_the_documentation(page: Any) -> None:
    assert page.resolve() == ROOT / "docs" / page.name
    assert page.read_text().startswith("# ")
