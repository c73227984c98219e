"""Published earning rules, compiled once per process and version: published versions never change."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from service.earning import store
from service.earning.definition import read_rules
from service.earning.rules import EarningRules, RuleTimeline
from service.programme.operations import Programme

_KEPT = 64
_timelines: dict[str, tuple[Programme, RuleTimeline]] = {}
_lock = threading.Lock()


def default_definition(*, currency: str) -> dict[str, Any]:
    """Return the rules of the first start: the programme's rate and the tier's multiplier, nothing else."""
    return {"currency": currency}


def ensure_default_rules(conn: Connection, *, currency: str, now: datetime) -> None:
    """Publish the default rules as version 1, unless there are rules already."""
    store.add_first(conn, definition=default_definition(currency=currency), now=now)
    forget_rules(conn)


def compile_rules(definition: Mapping[str, Any], *, version: int, currency: str) -> EarningRules:
    """Return the rules of a definition that was read when it was drafted.

    Raises:
        ValueError: it cannot be read.
    """
    rules, faults = read_rules(definition, version=version, currency=currency)
    if rules is None:
        raise ValueError(f"earning rules {version}: {faults[0].pointer}: {faults[0].text['en']}")
    return rules


def recall_rules(conn: Connection, *, programme: Programme) -> RuleTimeline:
    """Return every published version by the moment it comes into force, as fresh as the programme given.

    A process reads the programme anew every few seconds, and then these, so an order costs no statement more.
    """
    key = str(conn.engine.url)
    known = _timelines.get(key)
    if known is not None and known[0] is programme:
        return known[1]
    timeline = RuleTimeline(
        tuple(
            (
                row.effective_from,
                compile_rules(row.definition, version=row.version, currency=programme.currency),
            )
            for row in store.list_timeline(conn)
        )
    )
    with _lock:
        while len(_timelines) >= _KEPT:
            del _timelines[next(iter(_timelines))]
        _timelines[key] = (programme, timeline)
    return timeline


def forget_rules(conn: Connection) -> None:
    """Have this process read the rules again: some have been published or withdrawn."""
    with _lock:
        _timelines.pop(str(conn.engine.url), None)
