"""What a member has: the figures that every read of points answers with."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Expiring:
    """Points that expire as the day `on` begins."""

    points: int
    on: str


@dataclass(frozen=True, slots=True)
class Points:
    """What a member effectively has: what is due counts as posted.

    `available` is net of `debt` and below zero only where the policy allows it. `value_minor` is what the
    available points are worth, in programme minor units. `expiring` is sorted by day, with pending points
    and without held ones. `soonest` are those of them that can be spent and expire first: of reads of the
    present alone.
    """

    available: int
    pending: int
    held: int
    debt: int
    lifetime_earned: int
    expiring: tuple[Expiring, ...]
    value_minor: int
    soonest: Expiring | None = field(default=None, compare=False)
