"""SQL of the placements' settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, text

_READ = (
    "SELECT placement, version, mode, diversity_bp, category_cap, item_limit, exploration_candidates, "
    "exploration_share_bp, created_at, created_by "
    "FROM placement_settings "
)
_LIST = text(_READ + "ORDER BY placement, version")
_FIND = text(_READ + "WHERE placement = :placement ORDER BY version DESC LIMIT 1")
# One change at a time: two would both find the same version to follow. Reading goes on.
_LOCK = text("LOCK TABLE placement_settings IN SHARE ROW EXCLUSIVE MODE")
_INSERT = text(
    "INSERT INTO placement_settings (placement, version, mode, diversity_bp, category_cap, item_limit, "
    "exploration_candidates, exploration_share_bp, created_at, created_by) VALUES "
    "(:placement, :version, :mode, :diversity_bp, :category_cap, :limit, :exploration_candidates, "
    ":exploration_share_bp, :now, :created_by)"
)


def list_placements(conn: Connection) -> Sequence[Row[Any]]:
    """Return the latest version of each placement's settings, by name."""
    # Versions are few, and come in order: the last of each placement is left.
    return list({row.placement: row for row in conn.execute(_LIST)}.values())


def find_placement(conn: Connection, *, placement: str) -> Row[Any] | None:
    """Return a placement's latest settings."""
    return conn.execute(_FIND, {"placement": placement}).one_or_none()


def hold_placement(conn: Connection, *, placement: str) -> Row[Any] | None:
    """Return a placement's latest settings, and keep others from changing any until the commit."""
    conn.execute(_LOCK)
    return find_placement(conn, placement=placement)


def insert_placement(
    conn: Connection,
    *,
    placement: str,
    version: int,
    values: Mapping[str, Any],
    created_by: str,
    now: datetime,
) -> None:
    """Add a version."""
    explored = values["exploration"] or {}
    conn.execute(
        _INSERT,
        {
            "placement": placement,
            "version": version,
            **values,
            "exploration_candidates": explored.get("candidates"),
            "exploration_share_bp": explored.get("share_bp"),
            "created_by": created_by,
            "now": now,
        },
    )
