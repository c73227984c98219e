"""The rule set in force, read once per process and version: published versions never change."""

from __future__ import annotations

import threading
from datetime import datetime

from sqlalchemy import Connection

from service.tiers import store
from service.tiers.defaults import default_ruleset
from service.tiers.errors import NoActiveRuleset
from service.tiers.rules import RuleSet, parse_ruleset

_KEPT = 32
_parsed: dict[tuple[int, str], RuleSet] = {}
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
            while len(_parsed) >= _KEPT:
                del _parsed[next(iter(_parsed))]
            _parsed[version, stamp] = rules
    return rules
