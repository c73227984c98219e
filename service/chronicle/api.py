"""Routes of the chronicle."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from service.chronicle import operations
from service.chronicle.errors import ChangeCursorUnknown
from service.chronicle.operations import AuditEntry, Change
from service.chronicle.rules import read_topics
from service.chronicle.schemas import AuditLogSchema, AuditQuery, ChangesQuery, ChangesSchema
from service.kit.clock import format_time, parse_time
from service.kit.errors import FieldError, Invalid, Malformed
from service.kit.http import Blueprint, Door
from service.kit.pagination import decode_cursor, encode_cursor, page

blueprint = Blueprint("chronicle", __name__, url_prefix="/v1", description="Who changed what; what changed.")


@blueprint.door(
    "GET",
    "/audit-log",
    roles=("operations", "admin"),
    query=AuditQuery(),
    answers={200: AuditLogSchema()},
    store_scope=True,
)
def list_audit_log(door: Door, query: dict[str, Any]) -> object:
    """List who changed what, when and why, the newest first.

    Values of settings, stores, keys and points stand as they were before and after. Of a member's record
    the names of the fields are shown; their values are sealed. Not for keys held to stores.
    """
    door.caller.check_every_store()
    found = operations.list_audit(
        door.conn,
        actor=query.get("actor"),
        action=query.get("action"),
        subject=query.get("subject"),
        since=query.get("since"),
        before=_read_cursor(query.get("cursor")),
        limit=query["limit"] + 1,
    )
    cursors = [encode_cursor(format_time(entry.occurred_at), entry.audit_key) for entry in found]
    return page([_entry_to_json(entry) for entry in found], limit=query["limit"], cursors=cursors)


@blueprint.door(
    "GET",
    "/changes",
    roles=("server", "operations", "admin"),
    query=ChangesQuery(),
    answers={200: ChangesSchema()},
    refusals=(ChangeCursorUnknown,),
    store_scope=True,
)
def list_changes(door: Door, query: dict[str, Any]) -> object:
    """Read what changed since the last time, in order and without gaps.

    Keep `resume_from` and send it as `since` with the next request: every change comes exactly once, also
    when many are written at the same moment. A change appears when every transaction that began to write
    before its own has ended, as a rule within milliseconds. A bulk import does not appear here, nor what is
    older than the feed is kept. Not for keys held to stores.
    """
    door.caller.check_every_store()
    limit = query["limit"]
    found = operations.list_changes(
        door.conn, after=_read_since(query.get("since")), limit=limit, topics=_read_topics(query)
    )
    resume_from = None if found.resume_key is None else encode_cursor(found.resume_key)
    return {
        "data": [_change_to_json(change) for change in found.changes],
        "next_cursor": resume_from if found.has_more else None,
        "resume_from": resume_from,
    }


def _read_cursor(cursor: str | None) -> tuple[datetime, int] | None:
    key = decode_cursor(cursor, types=(str, int))
    try:
        return None if key is None else (parse_time(key[0]), key[1])
    except ValueError as error:
        raise Malformed(errors=[FieldError("not a cursor of this list", parameter="cursor")]) from error


def _read_since(since: str | None) -> int | None:
    try:
        key = decode_cursor(since, types=(int,))
    except Malformed as error:
        raise Malformed(errors=[FieldError("not a cursor of this feed", parameter="since")]) from error
    return None if key is None else key[0]


def _read_topics(query: dict[str, Any]) -> list[str] | None:
    if "topics" not in query:
        return None
    topics, unknown = read_topics(query["topics"])
    if unknown:
        detail = f"no such topic: {', '.join(unknown)}"
        raise Invalid("some topics do not exist", errors=[FieldError(detail, parameter="topics")])
    return topics


def _entry_to_json(entry: AuditEntry) -> dict[str, Any]:
    return {
        "audit_id": f"aud_{entry.audit_key}",
        "occurred_at": format_time(entry.occurred_at),
        "actor": entry.actor,
        "action": entry.action,
        "subject": {"kind": entry.subject_kind, "id": entry.subject_id},
        "changes": [
            {"field": one.field, "sealed": one.sealed, "before": one.before, "after": one.after}
            for one in entry.changes
        ],
        "reason": entry.reason,
        "request_id": entry.request_id,
    }


def _change_to_json(change: Change) -> dict[str, Any]:
    return {
        "change_id": f"chg_{change.event_key}",
        "topic": change.topic,
        "occurred_at": format_time(change.occurred_at),
        "recorded_at": format_time(change.recorded_at),
        "member_id": change.member_id,
        "payload": dict(change.payload),
    }
