"""Whose stay in a tier the log of movements does not date: see `anchors`."""

from __future__ import annotations

from datetime import date, timedelta

from sqlalchemy import Connection, func, or_, select

from service.kit.clock import local_midnight
from service.members.readable import owners_at
from service.tiers.models import tier_pins
from service.tiers.population.store_metrics import Keys, last_changes


def list_unclear(conn: Connection, *, day: date, timezone: str, keys: Keys | None) -> list[int]:
    """Return the members whose last movement by the end of a day does not say when their stay began.

    A movement by a refund may have brought an earlier stay back; and whoever was pinned since it, or had
    anybody merged into them, may have moved without one.
    """
    cut = local_midnight(day + timedelta(days=1), timezone=timezone)
    last, owners = last_changes(cut, keys).subquery("last_changes"), owners_at(cut)
    pinned = (
        select(tier_pins.c.pin_key)
        .where(
            tier_pins.c.member_key == last.c.member_key,
            tier_pins.c.starts_at < cut,
            func.coalesce(tier_pins.c.lifted_at, tier_pins.c.ends_at) >= last.c.effective_at,
        )
        .exists()
    )
    grown = last.c.member_key.in_(select(owners.c.owner_key))
    unclear = or_(last.c.refund_key.is_not(None), pinned, grown)
    return list(conn.scalars(select(last.c.member_key).where(unclear).order_by(last.c.member_key)))
