"""The pages under /docs, and the examples of the document beside real answers."""

from __future__ import annotations

import json
import os
import re
from html.parser import HTMLParser

import jsonschema
import pytest

from service.documents.contract import list_operations
from tests.api.conftest import Client
from tests.clients.recording import FILE, Recorder, list_differences
from tests.clients.story import tell_story

PAGES = (
    "/docs",
    "/docs/schemas",
    "/docs/clients",
    "/docs/problems",
    "/docs/tiers",
    "/docs/tier-rulesets",
    "/docs/earning-rules",
    "/docs/rewards",
    "/docs/bring-your-own-data",
    "/docs/glossary",
)


class Reader(HTMLParser):
    """What a browser would find on a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.scripted: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect anchors, links, what is fetched, and whatever would need `unsafe-inline`."""
        given = dict(attrs)
        self.anchors.add(given.get("id") or "")
        if tag == "a" and given.get("href"):
            self.links.append(given["href"] or "")
        if tag in {"link", "img", "script", "iframe"}:
            self.fetched.append(given.get("href") or given.get("src") or "inline")
        self.scripted += [name for name in given if name == "style" or name.startswith("on")]


def read(client: Client, path: str) -> Reader:
    response = client.get(path, role=None)
    assert response.status_code == 200
    assert response.mimetype == "text/html"
    return Reader(response.text)


@pytest.mark.parametrize("path", PAGES)
def test_a_page_needs_no_key_no_script_and_nothing_from_elsewhere(client: Client, path: str) -> None:
    page = read(client, path)
    assert page.fetched == ["/docs/style.css"]
    assert page.scripted == []
    assert client.get("/docs/style.css", role=None).mimetype == "text/css"


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_sent_with_a_strict_policy_and_once(client: Client, path: str) -> None:
    response = client.get(path, role=None)
    assert "script-src 'self'" in response.headers["Content-Security-Policy"]
    assert "unsafe" not in response.headers["Content-Security-Policy"]
    again = client.get(path, role=None, headers={"If-None-Match": response.headers["ETag"]})
    assert again.status_code == 304
    assert again.data == b""


def test_links_of_the_pages_lead_somewhere(client: Client) -> None:
    pages = {path: read(client, path) for path in PAGES}
    broken = []
    for path, page in pages.items():
        for link in page.links:
            target, _, anchor = link.partition("#")
            if "://" in target or target == "/openapi.json":
                continue
            found = pages.get(target or path)
            if found is None or (anchor and anchor not in found.anchors):
                broken.append(f"{path} → {link}")
    assert broken == []


def test_the_type_of_every_problem_resolves(client: Client) -> None:
    anchors = read(client, "/docs/problems").anchors
    codes = {
        code.removeprefix("problem-") for code in client.spec["components"]["examples"] if "problem-" in code
    }
    assert codes - anchors == set()
    assert {"no-such-path", "method-not-allowed", "internal-error"} <= anchors
    unknown = client.get("/v1/members/nobody").json or {}
    page, _, anchor = unknown["type"].partition("#")
    assert page == "/docs/problems"
    assert anchor in anchors


def test_the_reference_shows_every_operation_with_its_roles(client: Client) -> None:
    page = client.get("/docs", role=None).text
    for path, method, operation in list_operations(client.spec):
        assert f'id="{operation["operationId"]}"' in page, path
        assert f'">{method.upper()}</span> <code>{path}</code>' in page


def test_a_page_of_the_documentation_cannot_carry_markup_into_the_reference(client: Client) -> None:
    page = client.get("/docs/problems", role=None).text
    assert "<script" not in page
    assert "`unknown-member`" not in page
    assert re.search(r'<h3 id="unknown-member"><code>unknown-member</code></h3>', page)


def test_examples_have_the_shape_of_real_answers(client: Client) -> None:
    """When this fails: `make examples openapi`, and read what changed before committing it."""
    recorder = Recorder(client)
    tell_story(recorder)
    if os.environ.get("TIDEMARK_RECORD_EXAMPLES"):
        recorder.write()
    told, kept = recorder.to_json(), json.loads(FILE.read_text())
    assert told["answers"].keys() == kept["answers"].keys()
    assert told["problems"].keys() == kept["problems"].keys()
    stale = [
        f"{operation} {status}: {found}"
        for operation, by_status in told["answers"].items()
        for status, example in by_status.items()
        for found in list_differences(kept["answers"][operation][status], example)
    ]
    assert stale == []


def test_the_served_document_is_the_committed_one(client: Client) -> None:
    served = client.get("/openapi.json", role=None).json
    assert served == client.spec
    jsonschema.validate(served, {"required": ["openapi", "info", "paths", "components"]})
