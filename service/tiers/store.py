"""Every SQL statement for one member's tier, for rule sets and for the log of changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Connection, Row, bindparam, select, text

from service.activity.readable import order_ids, refund_ids
from service.kit.db import dumps, run
from service.tiers.models import tier_changes
from service.tiers.readable import PUBLISHED, STAMP

_FIND_STAMP = text(f"SELECT {STAMP} AS stamp")
_TIMELINE = text(
    "SELECT version, CAST(xmin AS text) AS stamp, effective_from, definition "  # noqa: S608
    f"FROM tier_rulesets WHERE {PUBLISHED} ORDER BY version"
)
_ADD_FIRST_RULESET = text(
    """
    INSERT INTO tier_rulesets (version, state, definition, effective_from, created_at, published_at,
        published_by, reason)
    SELECT 1, 'active', CAST(:definition AS jsonb), :now, :now, :now, 'tidemark',
        'defaults of the first start'
    WHERE NOT EXISTS (SELECT FROM tier_rulesets)
    ON CONFLICT (version) DO NOTHING
    """
)
_FIND_STATE = text(
    "SELECT s.member_key, s.tier, s.rank, s.since, s.ruleset_version, s.unqualified_since, "  # noqa: S608
    "s.carrier_order_key, s.through, s.next_review_on, s.stands_until, s.rated_rank, s.rated_since, "
    f"s.pinned_until, {STAMP} AS stamp FROM tier_states s WHERE s.member_key = :member_key"
)
_LOCK_STATE = text(f"{_FIND_STATE.text} FOR NO KEY UPDATE OF s")
_ADD_STATE = text(
    """
    INSERT INTO tier_states (member_key, tier, rank, since, ruleset_version, unqualified_since,
        carrier_order_key, through, next_review_on, stands_until, rated_rank, rated_since, pinned_until)
    VALUES (:member_key, :tier, :rank, :since, :ruleset_version, :unqualified_since,
        :carrier_order_key, :through, :next_review_on, :stands_until, :rated_rank, :rated_since,
        :pinned_until)
    ON CONFLICT (member_key) DO NOTHING RETURNING member_key
    """
)
_UPDATE_STATE = text(
    "UPDATE tier_states SET tier = :tier, rank = :rank, since = :since, ruleset_version = :ruleset_version, "
    "unqualified_since = :unqualified_since, carrier_order_key = :carrier_order_key, through = :through, "
    "next_review_on = :next_review_on, stands_until = :stands_until, rated_rank = :rated_rank, "
    "rated_since = :rated_since, pinned_until = :pinned_until WHERE member_key = :member_key"
)
_ADD_CHANGE = text(
    """
    INSERT INTO tier_changes (member_key, from_tier, to_tier, effective_at, recorded_at, cause,
        ruleset_version, metrics, order_key, refund_key, import_key, pin_key)
    VALUES (:member_key, :from_tier, :to_tier, :effective_at, :recorded_at, :cause,
        :ruleset_version, CAST(:metrics AS jsonb), :order_key, :refund_key, :import_key, :pin_key)
    """
)
_PINS = text(
    "SELECT pin_key, member_key, tier, starts_at, coalesce(lifted_at, ends_at) AS ended_at, ends_at, reason, "
    "actor, recorded_at, lifted_at, lifted_by FROM tier_pins WHERE member_key = ANY(:member_keys) "
    "AND coalesce(lifted_at, ends_at) > starts_at ORDER BY member_key, starts_at, pin_key"
)
_ADD_PIN = text(
    "INSERT INTO tier_pins (member_key, tier, starts_at, ends_at, reason, actor, recorded_at) "
    "VALUES (:member_key, :tier, :starts_at, :ends_at, :reason, :actor, :starts_at) RETURNING pin_key"
)
_LIFT_PIN = text("UPDATE tier_pins SET lifted_at = :now, lifted_by = :actor WHERE pin_key = :pin_key")
# Lifted as it began, a pin never was.
_VOID_PIN = text("UPDATE tier_pins SET lifted_at = starts_at, lifted_by = :actor WHERE pin_key = :pin_key")
_STANDING_CHANGES = text(
    "SELECT change_key, member_key, from_tier, to_tier, effective_at, cause, metrics, ruleset_version, "
    "order_key, refund_key, pin_key FROM tier_changes "
    "WHERE member_key = ANY(:member_keys) AND superseded_at IS NULL "
    "ORDER BY member_key, effective_at, change_key"
)
_SUPERSEDE = text("UPDATE tier_changes SET superseded_at = :now WHERE change_key = ANY(:change_keys)")
_LOG = (
    select(tier_changes, order_ids.c.order_id, refund_ids.c.refund_id)
    .select_from(
        tier_changes.outerjoin(order_ids, order_ids.c.order_key == tier_changes.c.order_key).outerjoin(
            refund_ids, refund_ids.c.refund_key == tier_changes.c.refund_key
        )
    )
    .where(
        tier_changes.c.member_key == bindparam("member_key"),
        tier_changes.c.change_key < bindparam("before", type_=BigInteger),
    )
    .order_by(tier_changes.c.change_key.desc())
    .limit(bindparam("limit"))
)
_ORDER_IDS = select(order_ids).where(order_ids.c.order_key.in_(bindparam("keys", expanding=True)))
_REFUND_IDS = select(refund_ids).where(refund_ids.c.refund_key.in_(bindparam("keys", expanding=True)))
_AROUND = text(
    "SELECT from_tier, to_tier, effective_at, order_key, refund_key FROM tier_changes "
    "WHERE member_key = :member_key AND superseded_at IS NULL AND effective_at <= :at "
    "ORDER BY effective_at DESC, change_key DESC LIMIT 16"
)


def find_timeline_stamp(conn: Connection) -> str | None:
    """Return what tells the present timeline of rule sets from any other, None where none was published."""
    stamp: str | None = run(conn, _FIND_STAMP, {}).scalar_one()
    return stamp


def list_pins(conn: Connection, *, member_keys: Sequence[int]) -> Sequence[Row[Any]]:
    """Return the pins of some members, by member and time, with the moment each really ended or will end."""
    return conn.execute(_PINS, {"member_keys": list(member_keys)}).all()


def add_pin(conn: Connection, *, values: Mapping[str, object]) -> int:
    """Insert a pin and return its key."""
    key: int = conn.execute(_ADD_PIN, values).scalar_one()
    return key


def lift_pin(conn: Connection, *, pin_key: int, actor: str, now: datetime) -> None:
    """End a pin before its time."""
    conn.execute(_LIFT_PIN, {"pin_key": pin_key, "actor": actor, "now": now})


def void_pin(conn: Connection, *, pin_key: int, actor: str) -> None:
    """Let a pin never have been."""
    conn.execute(_VOID_PIN, {"pin_key": pin_key, "actor": actor})


def list_published(conn: Connection) -> Sequence[Row[Any]]:
    """Return every published rule set with the moment from which it is in force and its row's stamp."""
    return conn.execute(_TIMELINE).all()


def add_first_ruleset(conn: Connection, *, definition: Mapping[str, object], now: datetime) -> None:
    """Insert version 1, in force from now on, where there is no version yet."""
    conn.execute(_ADD_FIRST_RULESET, {"definition": dumps(definition), "now": now})


def find_state(conn: Connection, *, member_key: int) -> Row[Any] | None:
    """Return a member's state with the stamp of the timeline of rule sets."""
    return run(conn, _FIND_STATE, {"member_key": member_key}).one_or_none()


def lock_state(conn: Connection, *, member_key: int) -> Row[Any] | None:
    """Return the same, holding the state until the transaction ends."""
    return run(conn, _LOCK_STATE, {"member_key": member_key}).one_or_none()


def add_state(conn: Connection, *, values: Mapping[str, object]) -> bool:
    """Insert a member's first state; False when there is one."""
    return conn.execute(_ADD_STATE, values).one_or_none() is not None


def update_state(conn: Connection, *, values: Mapping[str, object]) -> None:
    """Overwrite a member's state."""
    run(conn, _UPDATE_STATE, values)


def add_changes(conn: Connection, *, rows: Sequence[Mapping[str, object]]) -> None:
    """Append to the log, in the order given."""
    for row in rows:
        conn.execute(_ADD_CHANGE, {**row, "metrics": dumps(row["metrics"])})


def list_standing_changes(conn: Connection, *, member_keys: Sequence[int]) -> Sequence[Row[Any]]:
    """Return the changes of some members that were not superseded, by member and time."""
    return conn.execute(_STANDING_CHANGES, {"member_keys": list(member_keys)}).all()


def supersede_changes(conn: Connection, *, change_keys: Sequence[int], now: datetime) -> None:
    """Mark changes as no longer standing."""
    conn.execute(_SUPERSEDE, {"change_keys": list(change_keys), "now": now})


def list_log(conn: Connection, *, member_key: int, before: int, limit: int) -> Sequence[Row[Any]]:
    """Return up to `limit` changes of a member with keys below `before`, the latest recorded first."""
    return conn.execute(_LOG, {"member_key": member_key, "before": before, "limit": limit}).all()


def find_order_ids(conn: Connection, *, order_keys: Sequence[int]) -> dict[int, str]:
    """Return the merchant's id of each order."""
    if not order_keys:
        return {}
    return {row.order_key: row.order_id for row in conn.execute(_ORDER_IDS, {"keys": list(order_keys)})}


def find_refund_ids(conn: Connection, *, refund_keys: Sequence[int]) -> dict[int, str]:
    """Return the merchant's id of each refund."""
    if not refund_keys:
        return {}
    return {row.refund_key: row.refund_id for row in conn.execute(_REFUND_IDS, {"keys": list(refund_keys)})}


def list_changes_until(conn: Connection, *, member_key: int, at: datetime) -> Sequence[Row[Any]]:
    """Return the last changes in effect at a moment, the latest first."""
    return conn.execute(_AROUND, {"member_key": member_key, "at": at}).all()
