"""What each place in the shop shows unless the question says otherwise; every version of it stays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row

from service.kit import audit
from service.kit.clock import format_time
from service.recommendations import store_placements as store
from service.recommendations.errors import UnknownPlacement
from service.recommendations.exploration import Exploration
from service.recommendations.ranking import DEFAULT_LIMIT, Asked

_BASIS_POINTS = 10_000
_DEFAULTS: dict[str, Any] = {
    "mode": "mixed",
    "diversity_bp": 0,
    "category_cap": None,
    "limit": DEFAULT_LIMIT,
    "exploration": None,
}


def list_placements(conn: Connection) -> list[dict[str, Any]]:
    """Return the settings in force of every placement that has its own."""
    return [_show(row) for row in store.list_placements(conn)]


def get_placement(conn: Connection, *, placement: str) -> dict[str, Any]:
    """Return the settings in force of a placement.

    Raises:
        UnknownPlacement: it has none of its own.
    """
    row = store.find_placement(conn, placement=placement)
    if row is None:
        raise UnknownPlacement(f"{placement} shows what every placement shows unless it is told otherwise")
    return _show(row)


def set_placement(
    conn: Connection,
    *,
    placement: str,
    values: Mapping[str, Any],
    actor: str,
    request_id: str | None,
    now: datetime,
) -> dict[str, Any]:
    """Put settings in force for a placement, from the next answer on; the same again changes nothing."""
    row = store.hold_placement(conn, placement=placement)
    before = None if row is None else _values(row)
    after = {name: values.get(name, default) for name, default in _DEFAULTS.items()}
    if row is not None and before == after:
        return _show(row)
    version = 1 if row is None else row.version + 1
    store.insert_placement(
        conn, placement=placement, version=version, values=after, created_by=actor, now=now
    )
    audit.record(
        conn,
        actor=actor,
        action="placement.changed",
        subject=("placement", placement),
        before=before or _DEFAULTS,
        after=after,
        request_id=request_id,
        now=now,
    )
    return {
        "placement": placement,
        "version": version,
        **after,
        "created_at": format_time(now),
        "created_by": actor,
    }


def arrange(asked: Asked, settings: Mapping[str, Any] | None) -> Asked:
    """Fill what a question left open with what its placement is set to."""
    if settings is None:
        return asked
    return replace(
        asked,
        mode=settings["mode"] if "mode" in asked.left_open else asked.mode,
        limit=settings["limit"] if "limit" in asked.left_open else asked.limit,
        diversity=settings["diversity_bp"] / _BASIS_POINTS,
        category_cap=settings["category_cap"],
        exploration=_read_exploration(settings),
        left_open=frozenset(),
    )


def _read_exploration(settings: Mapping[str, Any]) -> Exploration | None:
    candidates = settings["exploration_candidates"]
    return None if candidates is None else Exploration(candidates, settings["exploration_share_bp"])


def _values(row: Row[Any]) -> dict[str, Any]:
    explores = row.exploration_candidates is not None
    return {
        "mode": row.mode,
        "diversity_bp": row.diversity_bp,
        "category_cap": row.category_cap,
        "limit": row.item_limit,
        "exploration": {"candidates": row.exploration_candidates, "share_bp": row.exploration_share_bp}
        if explores
        else None,
    }


def _show(row: Row[Any]) -> dict[str, Any]:
    return {
        "placement": row.placement,
        "version": row.version,
        **_values(row),
        "created_at": format_time(row.created_at),
        "created_by": row.created_by,
    }
