"""SQL of exports for mailings: what was asked for, whose turn it is, and the lines in parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Connection,
    Row,
    Select,
    and_,
    bindparam,
    cast,
    delete,
    func,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import TEXT, insert

from service.members.readable import consent_rows, member_rows
from service.recommendations.models import recommendation_export_parts as parts
from service.recommendations.models import recommendation_exports as exports
from service.tiers.readable import standing_rows

_FIND = select(exports).where(exports.c.export_id == bindparam("export_id"))
_HOLD = _FIND.with_for_update()
_segment = bindparam("segment", type_=TEXT)
_NEXT: Select[Any] = (
    select(member_rows.c.member_key, member_rows.c.member_id, member_rows.c.locale, consent_rows.c.marketing)
    .select_from(
        member_rows.join(consent_rows, consent_rows.c.member_key == member_rows.c.member_key).outerjoin(
            standing_rows, standing_rows.c.member_key == member_rows.c.member_key
        )
    )
    .where(
        member_rows.c.member_key > bindparam("after"),
        consent_rows.c.is_here,
        or_(cast(_segment, TEXT).is_(None), standing_rows.c.tier == _segment),
    )
    .order_by(member_rows.c.member_key)
    .limit(bindparam("limit"))
)
_FORGET = text(
    "DELETE FROM recommendation_export_parts WHERE export_id IN "
    "(SELECT export_id FROM recommendation_exports WHERE requested_at < :before)"
)


def add_export(conn: Connection, *, values: Mapping[str, Any]) -> None:
    """Add an export that waits for the worker."""
    conn.execute(insert(exports).values(state="queued", **values))


def find_export(conn: Connection, *, export_id: str) -> Row[Any] | None:
    """Return an export."""
    return conn.execute(_FIND, {"export_id": export_id}).one_or_none()


def hold_export(conn: Connection, *, export_id: str) -> Row[Any] | None:
    """Return an export and keep others from it until the transaction ends."""
    return conn.execute(_HOLD, {"export_id": export_id}).one_or_none()


def list_exports(conn: Connection, *, before: tuple[datetime, str] | None, limit: int) -> Sequence[Row[Any]]:
    """Return exports, the latest first, from before a (time, id) on."""
    query = select(exports).order_by(exports.c.requested_at.desc(), exports.c.export_id.desc()).limit(limit)
    if before is not None:
        moment, export_id = before
        query = query.where(
            or_(
                exports.c.requested_at < moment,
                and_(exports.c.requested_at == moment, exports.c.export_id < export_id),
            )
        )
    return conn.execute(query).all()


def list_next_members(conn: Connection, *, after: int, segment: str | None, limit: int) -> Sequence[Row[Any]]:
    """Return the next members by key: key, id, language, and whether they may be written to."""
    return conn.execute(_NEXT, {"after": after, "segment": segment, "limit": limit}).all()


def add_part(conn: Connection, *, export_id: str, content: bytes) -> None:
    """Add lines after those there are; the export is held."""
    number = select(func.coalesce(func.max(parts.c.part_no) + 1, 0)).where(parts.c.export_id == export_id)
    conn.execute(insert(parts).values(export_id=export_id, part_no=number.scalar_subquery(), content=content))


def find_part(conn: Connection, *, export_id: str, part_no: int) -> bytes | None:
    """Return the lines of one part, or None after the last."""
    query = select(parts.c.content).where(parts.c.export_id == export_id, parts.c.part_no == part_no)
    content = conn.execute(query).scalar_one_or_none()
    return None if content is None else bytes(content)


def set_export(conn: Connection, *, export_id: str, **values: Any) -> None:
    """Note how far an export is, or how it ended."""
    conn.execute(update(exports).where(exports.c.export_id == export_id).values(**values))


def drop_parts(conn: Connection, *, export_id: str) -> None:
    """Throw an export's lines away."""
    conn.execute(delete(parts).where(parts.c.export_id == export_id))


def forget_parts(conn: Connection, *, before: datetime) -> int:
    """Throw the lines of old exports away, and return how many parts there were."""
    return conn.execute(_FORGET, {"before": before}).rowcount
