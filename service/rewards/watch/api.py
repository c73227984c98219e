"""Routes of the review queue."""

from __future__ import annotations

from typing import Any

from service.kit.audit import actor_of
from service.kit.auth import Role
from service.kit.clock import format_time
from service.kit.http import Blueprint, Door
from service.kit.pagination import decode_cursor, encode_cursor, page
from service.rewards.errors import ReviewEntryResolved, UnknownReviewEntry
from service.rewards.watch import operations
from service.rewards.watch.operations import Entry
from service.rewards.watch.schemas import (
    ResolutionBody,
    ReviewEntrySchema,
    ReviewQueueQuery,
    ReviewQueueSchema,
)

blueprint = Blueprint("review_queue", __name__, url_prefix="/v1", description="What staff should look at.")

_REVIEWERS: tuple[Role, ...] = ("marketing", "operations", "admin")


@blueprint.door(
    "GET", "/review-queue", roles=_REVIEWERS, query=ReviewQueueQuery(), answers={200: ReviewQueueSchema()}
)
def list_review_queue(door: Door, query: dict[str, Any]) -> object:
    """List unusual patterns: many redemptions by one member, refunds after redeeming, many adjustments.

    Looked for hourly; from when on something is unusual is a setting.
    """
    key = decode_cursor(query.get("cursor"), types=(int,))
    entries = operations.list_entries(
        door.conn,
        is_open=query["state"] == "open",
        before=key[0] if key else None,
        limit=query["limit"] + 1,
    )
    names = operations.name_members(door.conn, entries=entries)
    rows = [_show(entry, names) for entry in entries]
    return page(rows, limit=query["limit"], cursors=[encode_cursor(entry.entry_key) for entry in entries])


@blueprint.door(
    "POST",
    "/review-queue/<id:entry_id>/resolve",
    roles=_REVIEWERS,
    body=ResolutionBody(),
    answers={200: ReviewEntrySchema()},
    refusals=(UnknownReviewEntry, ReviewEntryResolved),
    idempotency_key="optional",
)
def resolve_review_entry(door: Door, entry_id: str, body: dict[str, Any]) -> object:
    """Say that somebody has looked at it, and what came of it; the same again changes nothing."""
    entry = operations.resolve_entry(
        door.conn,
        entry_id=entry_id,
        note=body["note"],
        actor=actor_of(door.caller),
        request_id=door.request_id,
        now=door.now,
    )
    return _show(entry, operations.name_members(door.conn, entries=[entry]))


def _show(entry: Entry, names: dict[int, str]) -> dict[str, Any]:
    return {
        "entry_id": entry.entry_id,
        "kind": entry.kind,
        "member_id": None if entry.member_key is None else names.get(entry.member_key),
        "actor": entry.actor,
        "figures": entry.figures,
        "found_at": format_time(entry.found_at),
        "state": "open" if entry.resolved_at is None else "resolved",
        "resolved_at": None if entry.resolved_at is None else format_time(entry.resolved_at),
        "resolved_by": entry.resolved_by,
        "note": entry.note,
    }
