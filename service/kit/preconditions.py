"""Two people who edit one thing: an entity tag on what is read, `If-Match` on what is written (RFC 9110 §13).

A tag stands for what a PUT may say of a thing, and for nothing else that its answer shows: what was taken of
a reward meanwhile is no reason to refuse a change of its name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from flask import request
from sqlalchemy import Connection, text

from service.kit.db import run
from service.kit.errors import ChangedMeanwhile

# One PUT of a path at a time: of two that saw the same, the second sees what the first did. 5 tells these
# locks from others that are named by a hash.
_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended(:path, 5))")


def tag_of(answer: Mapping[str, Any], names: Sequence[str]) -> str:
    """Return the entity tag, without its quotes, of an answer: the same for the same values of `names`."""
    content = {name: answer[name] for name in names if name in answer}
    return hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()[:32]


def hold(conn: Connection, *, path: str) -> None:
    """Let one change of what is at a path happen at a time."""
    run(conn, _LOCK, {"path": path})


def are_asked() -> bool:
    """Say whether the request is to be done only under a condition."""
    return "If-Match" in request.headers or "If-None-Match" in request.headers


def check(tag: str | None) -> None:
    """Refuse what was asked of another state than the present one, whose tag it is; None: there is nothing.

    A tag that a proxy has marked as weak is as good: it stands for content, not for bytes.

    Raises:
        ChangedMeanwhile: `If-Match` names others, or `If-None-Match` names this one or any.
    """
    if "If-Match" in request.headers:
        asked = request.if_match
        if tag is None or not (asked.star_tag or asked.contains_weak(tag)):
            raise ChangedMeanwhile("read it again, and decide what of your change still goes")
    if "If-None-Match" in request.headers:
        asked = request.if_none_match
        if tag is not None and (asked.star_tag or asked.contains_weak(tag)):
            raise ChangedMeanwhile("it is there already")
