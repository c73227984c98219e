"""Rewards as the archive gives them, read as what the rule book knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Row

from service.rewards.rules import Offer, Terms


def offer_of(row: Row[Any]) -> Offer:
    """Return what is asked of whoever takes a reward, from its row."""
    return Offer(
        points=row.points,
        tiers=None if row.tiers is None else tuple(row.tiers),
        starts_at=row.starts_at,
        ends_at=row.ends_at,
        per_member_limit=row.per_member_limit,
        left=None if row.stock is None else row.stock - row.taken,
    )


def terms_of(row: Row[Any]) -> Terms:
    """Return what a voucher of a reward is, from the reward's row."""
    return Terms(
        kind=row.kind,
        value_minor=row.value_minor,
        percent_bp=row.percent_bp,
        minimum_spend_minor=row.minimum_spend_minor,
        categories=None if row.categories is None else tuple(row.categories),
        skus=None if row.skus is None else tuple(row.skus),
        combinable=row.combinable,
    )


def named(names: Mapping[str, str], locale: str) -> str | None:
    """Return a name in a language, or else in English, or else in any."""
    return names.get(locale) or names.get("en") or next(iter(names.values()), None)
