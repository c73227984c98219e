"""The pages under `/docs`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from flask import Blueprint, Flask, Response, current_app, render_template, request

from service.documents.contract import Contract, Spec
from service.documents.examples import load_examples
from service.documents.markdown import Page, render_fragment, render_page
from service.documents.reference import list_groups, list_schemas

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
PAGES = {
    "clients": "Guide for storefronts",
    "problems": "Problems",
    "tiers": "Tiers: a walkthrough",
    "tier-rulesets": "Tier rule sets",
    "earning-rules": "Earning rules",
    "rewards": "Rewards",
    "bring-your-own-data": "Bring your own data",
    "glossary": "Words",
}
"""Pages of `docs/` that are served as well: file → name."""

blueprint = Blueprint("documents", __name__, template_folder="templates")


@dataclass(frozen=True, slots=True)
class Rendered:
    """A page as it is sent."""

    body: bytes
    mimetype: str
    etag: str


def publish(app: Flask, spec: Spec) -> None:
    """Serve the pages; `app.extensions["openapi"]` becomes the completed document of `spec`."""
    app.extensions["openapi"] = Contract(spec, load_examples())
    app.extensions["documents"] = {}
    app.register_blueprint(blueprint)


@blueprint.get("/docs")
def show_reference() -> Response:
    """Show every operation."""
    return _answer("reference", _render_reference)


@blueprint.get("/docs/schemas")
def show_schemas() -> Response:
    """Show every component of the document."""
    return _answer("schemas", _render_schemas)


@blueprint.get("/docs/clients")
@blueprint.get("/docs/problems")
@blueprint.get("/docs/tiers")
@blueprint.get("/docs/tier-rulesets")
@blueprint.get("/docs/earning-rules")
@blueprint.get("/docs/rewards")
@blueprint.get("/docs/bring-your-own-data")
@blueprint.get("/docs/glossary")
def show_page() -> Response:
    """Show a page of the documentation; each code on the page of problems has its anchor."""
    name = request.path.rsplit("/", 1)[1]
    return _answer(name, lambda: _render_markdown(name))


@blueprint.get("/docs/style.css")
def send_style() -> Response:
    """Send the style sheet of the pages."""
    return _answer("style", _read_style, mimetype="text/css")


def _answer(name: str, render: Callable[[], str], *, mimetype: str = "text/html") -> Response:
    """Return a page made once per process: the document does not change while it runs."""
    made: dict[str, Rendered] = current_app.extensions["documents"]
    if name not in made:
        body = render().encode()
        made[name] = Rendered(body, mimetype, hashlib.sha256(body).hexdigest()[:32])
    page = made[name]
    response = Response(page.body, mimetype=page.mimetype)
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["Cache-Control"] = "public, max-age=300"
    response.set_etag(page.etag)
    response.make_conditional(request)
    return response


def _render_reference() -> str:
    document = current_app.extensions["openapi"].to_dict()
    return render_template(
        "reference.html",
        info=document["info"],
        groups=list_groups(document),
        markdown=render_fragment,
        **_frame(),
    )


def _render_schemas() -> str:
    document = current_app.extensions["openapi"].to_dict()
    return render_template(
        "schemas.html", schemas=list_schemas(document), markdown=render_fragment, **_frame()
    )


def _render_markdown(name: str) -> str:
    return render_template("page.html", page=_read_page(name), name=name, **_frame())


def _frame() -> Mapping[str, object]:
    return {"pages": PAGES, "version": current_app.extensions["openapi"].to_dict()["info"]["version"]}


@cache
def _read_page(name: str) -> Page:
    text = (files(__package__) / "pages" / f"{name}.md").read_text("utf-8")
    return render_page(text, pages=frozenset(PAGES))


def _read_style() -> str:
    return (files(__package__) / "static" / "style.css").read_text("utf-8")
