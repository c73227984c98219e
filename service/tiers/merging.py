"""Two members become one, and may become two again: their tiers, from the facts that count for each."""

from __future__ import annotations

from collections import deque
from datetime import datetime

from sqlalchemy import Connection

from service.programme.operations import Programme
from service.tiers import store, store_bulk
from service.tiers.pins import find_pin
from service.tiers.rating import refold_member
from service.tiers.refolds import refold_members


def lock_two(conn: Connection, *, member_keys: tuple[int, int]) -> None:
    """Hold two members' tiers, by ascending key, until the transaction ends."""
    store_bulk.lock_states(conn, member_keys=sorted(member_keys))


def merge_tiers(
    conn: Connection,
    *,
    from_key: int,
    into_key: int,
    now: datetime,
    programme: Programme,
) -> int | None:
    """Rate the survivor on the facts of both, from now on, and end the other one's tier.

    The merge is on record and the facts are the survivor's already. An override that holds the merged
    member goes on for the survivor, unless the survivor has one; returns its new key.
    """
    store_bulk.drop_state(conn, member_key=from_key)
    pin_key = _carry_pin(conn, from_key=from_key, into_key=into_key, now=now)
    refold_member(conn, member_key=into_key, programme=programme, now=now, is_late=False)
    return pin_key


def unmerge_tiers(
    conn: Connection,
    *,
    from_key: int,
    into_key: int,
    pin_key: int | None,
    actor: str,
    now: datetime,
    programme: Programme,
) -> None:
    """Rate both on their own facts, as if they had never been merged.

    The merge is off the record and the facts are with whom they were sent for. `pin_key` is the override
    that went over with the merge.
    """
    if pin_key is not None:
        store.void_pin(conn, pin_key=pin_key, actor=actor)
    refold_member(conn, member_key=into_key, programme=programme, now=now, is_late=False, undone="merge")
    # One who has no tier begins with it anew; there is nothing to yield that anybody asks for.
    deque(refold_members(conn, member_keys=[from_key], now=now, programme=programme), maxlen=0)


def _carry_pin(conn: Connection, *, from_key: int, into_key: int, now: datetime) -> int | None:
    pin = find_pin(conn, member_key=from_key, at=now)
    if pin is None or find_pin(conn, member_key=into_key, at=now) is not None:
        return None
    values = {"tier": pin.tier, "starts_at": now, "ends_at": pin.ends_at, "reason": pin.reason}
    return store.add_pin(conn, values={**values, "member_key": into_key, "actor": pin.actor})
