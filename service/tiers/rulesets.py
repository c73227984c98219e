"""The rule set in force, read once per process and version: published versions never change."""

from __future__ import annotations

import threading
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from service.tiers import store
from service.tiers.defaults import default_ruleset
from service.tiers.errors import NoActiveRuleset
from service.tiers.rules import RuleSet, parse_ruleset
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


def get_active_ruleset(conn: Connection) -> RuleSet:
    """Return the rule set in force.

    Raises:
        NoActiveRuleset: none has been published.
    """
    row = store.find_active_version(conn)
    return recall_ruleset(
        conn, version=None if row is None else row.version, stamp=row.stamp if row else None
    )


def recall_ruleset(conn: Connection, *, version: int | None, stamp: str | None) -> RuleSet:
    """Return a rule set of which another statement has told version and row stamp, parsed at most once.

    The stamp tells apart equal versions of different databases, and a row that was written anew.

    Raises:
        NoActiveRuleset: `version` is None.
    """
    if version is None or stamp is None:
        raise NoActiveRuleset
    rules = _parsed.get((version, stamp))
    if rules is None:
        rules = parse_ruleset(store.get_definition(conn, version=version), version=version)
        with _lock:
            _make_room(_parsed)
            _parsed[version, stamp] = rules
    return rules


def recall_timeline(conn: Connection, *, stamp: str | None = None) -> RuleTimeline:
    """Return every published rule set by the moment it comes into force, parsed at most once.

    `stamp` where another statement brought it already; it is looked up otherwise.

    Raises:
        NoActiveRuleset: none was published.
    """
    if stamp is None:
        stamp = store.find_timeline_stamp(conn)
    if stamp is None:
        raise NoActiveRuleset
    timeline = _timelines.get(stamp)
    return _read_timeline(conn) if timeline is None else timeline


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
