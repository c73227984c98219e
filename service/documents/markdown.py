"""Render the pages of `docs/` as HTML with an anchor for every heading."""

from __future__ import annotations

import re
from collections.abc import Set
from dataclasses import dataclass
from itertools import pairwise

from markdown_it import MarkdownIt
from markdown_it.token import Token

_MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable("table")
_PAGE = re.compile(r"([\w/-]+)\.md(#.*)?\Z")


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading of a page."""

    level: int
    text: str
    anchor: str


@dataclass(frozen=True, slots=True)
class Page:
    """A rendered page: trusted HTML, and its headings below the title."""

    title: str
    html: str
    headings: tuple[Heading, ...]


def render_fragment(text: str) -> str:
    """Return a piece of Markdown as HTML; raw HTML in it is escaped."""
    return str(_MARKDOWN.render(text))


def render_page(text: str, *, pages: Set[str]) -> Page:
    """Return a page; links to files named in `pages` lead to `/docs/…`, others lose their target.

    An anchor is the heading in small letters with dashes, so that of `unknown-member` is itself.
    """
    tokens = _MARKDOWN.parse(text)
    headings: list[Heading] = []
    for opening, inline in pairwise(tokens):
        if opening.type == "heading_open":
            shown = inline.content.replace("`", "")
            anchor = re.sub(r"[^\w]+", "-", shown.lower()).strip("-")
            opening.attrSet("id", anchor)
            headings.append(Heading(int(opening.tag[1]), shown, anchor))
        if inline.children:
            inline.children = _follow(inline.children, pages)
    html = _MARKDOWN.renderer.render(tokens, _MARKDOWN.options, {})
    return Page(headings[0].text, str(html), tuple(headings[1:]))


def _follow(tokens: list[Token], pages: Set[str]) -> list[Token]:
    """Point links at served pages; what is not served stays as text."""
    kept: list[Token] = []
    dropping = False
    for token in tokens:
        target = str(token.attrGet("href") or "") if token.type == "link_open" else ""
        match = _PAGE.match(target)
        if match and match[1] in pages:
            token.attrSet("href", f"/docs/{match[1]}{match[2] or ''}")
        elif target and not target.startswith(("http", "/", "#")):
            dropping = True
            continue
        if token.type == "link_close" and dropping:
            dropping = False
            continue
        kept.append(token)
    return kept
