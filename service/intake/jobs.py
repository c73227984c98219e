"""Work that a story leaves for the worker, enqueued in the story's own transaction."""

from __future__ import annotations

from sqlalchemy import Connection

from service.kit.jobs import defer


def defer_refold(conn: Connection, *, member_key: int) -> None:
    """Have a member's whole history rated again; once, however often it is asked for meanwhile."""
    defer(
        conn, task="tiers.refold", arguments={"member_key": member_key}, queueing_lock=f"refold-{member_key}"
    )
