"""Published rule sets, read once per process and version: published versions never change."""

from __future__ import annotations

import threading
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from service.tiers import store
from service.tiers.defaults import default_ruleset
from service.tiers.errors import NoActiveRuleset, UnknownRuleset
from service.tiers.rules import LONGEST_WINDOW_DAYS, RuleSet, parse_ruleset
from service.tiers.timeline import RuleTimeline

_KEPT = 64
_parsed: dict[tuple[int, str], RuleSet] = {}
_timelines: dict[str, RuleTimeline] = {}
_lock = threading.Lock()


def ensure_default_ruleset(conn: Connection, *, currency: str, now: datetime) -> None:
    """Publish the default rule set as version 1, unless there are rule sets already."""
    definition = default_ruleset(currency=currency)
    parse_ruleset(definition, version=1)
    store.add_first_ruleset(conn, definition=definition, now=now)


def get_active_ruleset(conn: Connection, *, now: datetime) -> RuleSet:
    """Return the rule set in force at a moment.

    Raises:
        NoActiveRuleset: none has been published.
    """
    return recall_timeline(conn).at(now)


def recall_timeline(conn: Connection, *, stamp: str | None = None) -> RuleTimeline:
    """Return every published rule set by the moment it comes into force, parsed at most once.

    `stamp` where another statement brought it already; it is looked up otherwise. It tells apart equal
    versions of different databases, and a row that was written anew.

    Raises:
        NoActiveRuleset: none was published.
    """
    if stamp is None:
        stamp = store.find_timeline_stamp(conn)
    if stamp is None:
        raise NoActiveRuleset
    timeline = _timelines.get(stamp)
    return _read_timeline(conn) if timeline is None else timeline


def longest_lookback() -> int:
    """Return how many days a rating looks at, at most, under any rule set that this process knows."""
    known = [timeline.lookback_days for timeline in tuple(_timelines.values())]
    return max(known, default=LONGEST_WINDOW_DAYS)


def _read_timeline(conn: Connection) -> RuleTimeline:
    rows = store.list_published(conn)
    entries = []
    for row in rows:
        rules = _parsed.get((row.version, row.stamp)) or parse_ruleset(row.definition, version=row.version)
        entries.append((row.effective_from, rules))
    timeline = RuleTimeline.of(entries)
    with _lock:
        _make_room(_timelines)
        # Under the stamp of what was read: somebody may have published since the other statement.
        _timelines[" ".join(f"{row.version}.{row.stamp}" for row in rows)] = timeline
        for row, (_, rules) in zip(rows, entries, strict=True):
            _make_room(_parsed)
            _parsed[row.version, row.stamp] = rules
    return timeline


def _make_room(known: dict[Any, Any]) -> None:
    while len(known) >= _KEPT:
        del known[next(iter(known))]


def read_version(text: str) -> int:
    """Return the version that a path names.

    Raises:
        UnknownRuleset: it is not even a number.
    """
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise UnknownRuleset(f"there is no rule set of version {text}")
    return int(text)
