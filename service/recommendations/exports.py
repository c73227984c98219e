"""Recommendations for mailings: asked for now, computed by a job, fetched as lines.

Each line is the answer that a request for that member would have got then, with a measurement block and an
exposure of its own. A chunk of members is one transaction together with how far the export is: whatever dies
in the middle, nobody is answered twice and nobody is left out.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import orjson
from sqlalchemy import Connection, Engine, Row

from service.kit.clock import format_time
from service.kit.db import transaction
from service.kit.ids import new_id
from service.kit.jobs import defer
from service.recommendations import store_exports as store
from service.recommendations.errors import ExportEnded, ExportNotReady, UnknownExport, UnknownSegment
from service.recommendations.operations import Asked, recommend
from service.recommendations.serving import Serving
from service.tiers import operations as tiers

log = logging.getLogger(__name__)

TASK = "recommendations.export"
CHUNK = 200
KEPT_DAYS = 7
_ENDED = ("done", "cancelled", "failed")


def request_export(
    conn: Connection,
    *,
    placement: str,
    channel: str,
    limit: int,
    segment: str | None,
    locale: str,
    requested_by: str,
    now: datetime,
) -> dict[str, Any]:
    """Ask for everybody's recommendations, or those of the members of one tier, and return the export.

    Raises:
        UnknownSegment: the rule set in force has no such tier.
    """
    if segment is not None and segment not in tiers.get_active_ruleset(conn, now=now).codes:
        raise UnknownSegment(f"{segment} is no tier of the rule set in force")
    export_id = new_id("rexp", now)
    store.add_export(
        conn,
        values={
            "export_id": export_id,
            "placement": placement,
            "channel": channel,
            "item_limit": limit,
            "segment": segment,
            "locale": locale,
            "requested_by": requested_by,
            "requested_at": now,
        },
    )
    defer(conn, task=TASK, arguments={"export_id": export_id})
    return get_export(conn, export_id=export_id)


def get_export(conn: Connection, *, export_id: str) -> dict[str, Any]:
    """Return an export as the API shows it.

    Raises:
        UnknownExport: there is none of this id.
    """
    return show_export(_get_row(conn, export_id))


def list_exports(conn: Connection, *, before: tuple[datetime, str] | None, limit: int) -> list[Row[Any]]:
    """Return exports, the latest first."""
    return list(store.list_exports(conn, before=before, limit=limit))


def show_export(row: Row[Any]) -> dict[str, Any]:
    """Return an export, JSON-able."""
    return {
        "export_id": row.export_id,
        "state": row.state,
        "placement": row.placement,
        "channel": row.channel,
        "limit": row.item_limit,
        "segment": row.segment,
        "requested_by": row.requested_by,
        "requested_at": format_time(row.requested_at),
        "finished_at": None if row.finished_at is None else format_time(row.finished_at),
        "members": row.members,
        "without_consent": row.without_consent,
        "failure": row.failure,
    }


def cancel_export(conn: Connection, *, export_id: str, now: datetime) -> dict[str, Any]:
    """Call an export off; its lines are thrown away, the exposures of what was computed stay.

    Raises:
        UnknownExport: there is none of this id. ExportEnded: it is done, or failed.
    """
    row = store.hold_export(conn, export_id=export_id)
    if row is None:
        raise UnknownExport(f"no export has the id {export_id}")
    if row.state != "cancelled":
        if row.state in _ENDED:
            raise ExportEnded(f"the export is {row.state}")
        store.set_export(conn, export_id=export_id, state="cancelled", finished_at=now)
        store.drop_parts(conn, export_id=export_id)
    return get_export(conn, export_id=export_id)


def open_lines(conn: Connection, *, engine: Engine, export_id: str) -> Callable[[], Iterator[bytes]]:
    """Return what reads an export's lines, one part at a time.

    Raises:
        UnknownExport: there is none of this id. ExportNotReady: it is not done, or its lines are too old.
    """
    row = _get_row(conn, export_id)
    if row.state != "done":
        raise ExportNotReady(f"the export is {row.state}")
    if row.members and store.find_part(conn, export_id=export_id, part_no=0) is None:
        raise ExportNotReady(f"lines are kept for {KEPT_DAYS} days")
    return partial(_read_lines, engine, export_id)


def run_export(engine: Engine, *, export_id: str, serving: Serving, clock: Callable[[], datetime]) -> None:
    """Compute an export to its end; begun again after a crash it goes on where it was."""
    try:
        while _run_chunk(engine, export_id, serving, clock()):
            pass
    except Exception:
        log.exception("export failed", extra={"export": export_id})
        failure = "it broke off for a reason that the worker's log tells under this export's id; ask again"
        with transaction(engine) as conn:
            row = store.hold_export(conn, export_id=export_id)
            if row is not None and row.state not in _ENDED:
                store.set_export(
                    conn, export_id=export_id, state="failed", finished_at=clock(), failure=failure
                )
        raise


def forget_lines(conn: Connection, *, now: datetime) -> int:
    """Throw away lines that were kept long enough."""
    return store.forget_parts(conn, before=now - timedelta(days=KEPT_DAYS))


def _run_chunk(engine: Engine, export_id: str, serving: Serving, now: datetime) -> bool:
    """Answer the next members in one transaction; False when there is nothing left to do."""
    with transaction(engine) as conn:
        row = store.hold_export(conn, export_id=export_id)
        if row is None or row.state in _ENDED:
            return False
        found = store.list_next_members(conn, after=row.through_member_key, segment=row.segment, limit=CHUNK)
        if not found:
            store.set_export(conn, export_id=export_id, state="done", finished_at=now)
            return False
        willing = [member for member in found if member.marketing]
        lines = [_answer(conn, serving, row, member, now) for member in willing]
        if lines:
            store.add_part(conn, export_id=export_id, content=b"".join(lines))
        store.set_export(
            conn,
            export_id=export_id,
            state="running",
            through_member_key=found[-1].member_key,
            members=row.members + len(willing),
            without_consent=row.without_consent + len(found) - len(willing),
        )
        return True


def _answer(conn: Connection, serving: Serving, row: Row[Any], member: Row[Any], now: datetime) -> bytes:
    """Return one member's line, in the member's own language where it is known."""
    asked = Asked(
        member_id=member.member_id,
        placement=row.placement,
        channel=row.channel,
        limit=row.item_limit,
        locale=member.locale or row.locale,
    )
    answer = recommend(conn, serving=serving, asked=asked, now=now)
    return orjson.dumps({"member_id": member.member_id, **answer}, option=orjson.OPT_APPEND_NEWLINE)


def _read_lines(engine: Engine, export_id: str) -> Iterator[bytes]:
    part_no = 0
    while True:
        with engine.connect() as conn:
            content = store.find_part(conn, export_id=export_id, part_no=part_no)
        if content is None:
            return
        yield content
        part_no += 1


def _get_row(conn: Connection, export_id: str) -> Row[Any]:
    row = store.find_export(conn, export_id=export_id)
    if row is None:
        raise UnknownExport(f"no export has the id {export_id}")
    return row
