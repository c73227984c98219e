"""Put a member's rewards in order: affordability, likeness to what is bought, expiry, value. Pure.

Each of the four is a number from 0 to 1, and a reward's score is their sum, weighted by `WEIGHTS`. What
cannot be had whatever the points (tier, limit, stock, dates) stands behind all that can; the same score goes
by code. Nothing is drawn by chance: the same figures give the same order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import NamedTuple

from service.kit.clock import local_day
from service.rewards.rules import Offer, Reason, Terms

WEIGHTS: Mapping[str, float] = {"affordability": 0.4, "likeness": 0.3, "expiry": 0.2, "value": 0.1}
"""How much each part counts; they sum to 1."""
NEAR = 0.5
"""Affordability of a reward that one point is missing of; with fewer points it falls in proportion."""
NEUTRAL = 0.5
"""Likeness and value of a reward of which nothing can be said."""
OFFER_SOON_DAYS = 14
"""An offer that ends within so many days is urgent, the more the nearer its last day is."""
POINTS_SOON_DAYS = 30
"""Points that run out within so many days make what they can pay for urgent, likewise."""
VERSION = "1"
"""Named in every answer; raise it with any change of what is above or below."""

_HANDED_OVER = frozenset({"product", "sample"})
_CAPPED = frozenset({"voucher_percent", "free_shipping"})
_MICRO = 1_000_000


class Offering(NamedTuple):
    """What a ranking knows of one reward; `against` names why it cannot be had, empty where it can."""

    code: str
    offer: Offer
    terms: Terms
    against: tuple[Reason, ...] = ()

    @property
    def is_blocked(self) -> bool:
        """Tell whether no number of points would do."""
        return any(reason != "points" for reason in self.against)


@dataclass(frozen=True, slots=True)
class RunningOut:
    """Points that can be spent and expire as the day `on` begins: the soonest of them."""

    points: int
    on: date


@dataclass(frozen=True, slots=True)
class Tastes:
    """Which purchases are of a sku and of a category, by their number from 0 to `purchases` - 1."""

    purchases: int
    by_sku: Mapping[str, set[int]]
    by_category: Mapping[str, set[int]]

    @classmethod
    def of(cls, bought: Sequence[tuple[str, Iterable[str]]]) -> Tastes:
        """Return the tastes of whoever bought these skus, each with its categories."""
        by_sku: dict[str, set[int]] = {}
        by_category: dict[str, set[int]] = {}
        for number, (sku, categories) in enumerate(bought):
            by_sku.setdefault(sku, set()).add(number)
            for category in categories:
                by_category.setdefault(category, set()).add(number)
        return cls(len(bought), by_sku, by_category)

    def count(self, terms: Terms) -> int:
        """Return how many purchases a reward's goods hold."""
        found: set[int] = set()
        found = found.union(*(self.by_sku.get(sku, ()) for sku in terms.skus or ()))
        return len(found.union(*(self.by_category.get(code, ()) for code in terms.categories or ())))


NO_TASTES = Tastes(0, {}, {})


@dataclass(frozen=True, slots=True)
class Taster:
    """What a ranking knows of the member.

    `tastes` are empty where nothing was bought or may be looked at. `point_value_minor` is what one point is
    worth in the programme's minor units.
    """

    available: int
    point_value_minor: int
    tastes: Tastes
    running_out: RunningOut | None


class Why(NamedTuple):
    """A reason code with what its sentence needs."""

    code: str
    points: int = 0
    day: date | None = None


class Placed(NamedTuple):
    """A reward in its place; `parts` are those of the score, None where none was worked out."""

    code: str
    score: float
    source: str
    why: Why
    key: tuple[int, int, str]
    parts: Mapping[str, float] | None = None


AFFORDABLE, SAVING, BLOCKED, PLAIN = "affordable", "saving", "blocked", "plain"
SOURCES = (AFFORDABLE, SAVING, BLOCKED, PLAIN)
"""What an entry comes from: can be had now, points are missing, cannot be had, or the plain order."""


def rank_offerings(
    offerings: Sequence[Offering], taster: Taster, *, now: datetime, timezone: str
) -> list[Placed]:
    """Return rewards in the order that suits a member best, each with the reason that lifts it most."""
    today = local_day(now, timezone=timezone)
    placed = [_place(one, taster, today, timezone) for one in offerings]
    return sorted(placed, key=lambda one: one.key)


def rank_plainly(offerings: Sequence[Offering], *, available: int) -> list[Placed]:
    """Return rewards by points, then code: what the hold-out gets, and everybody where ranking fails.

    Nothing of the member decides it; the reason is the plain fact of whether it can be had.
    """
    placed = [
        Placed(
            code=one.code,
            score=round(1 / (1 + one.offer.points), 6),
            source=PLAIN,
            why=_tell_standing(one, available),
            key=(0, one.offer.points, one.code),
        )
        for one in offerings
    ]
    return sorted(placed, key=lambda one: one.key)


def _place(one: Offering, taster: Taster, today: date, timezone: str) -> Placed:
    offer_urgency, last_day = _urge_by_offer(one.offer, today, timezone)
    points_urgency = _urge_by_points(one, taster, today)
    parts = {
        "affordability": affordability_of(one.offer.points, available=taster.available),
        "likeness": likeness_of(one.terms, taster.tastes),
        "expiry": max(offer_urgency, points_urgency),
        "value": value_of(one.offer.points, worth_of(one.terms), point_value_minor=taster.point_value_minor),
    }
    micro = round(_MICRO * sum(WEIGHTS[name] * part for name, part in parts.items()))
    blocked = one.is_blocked
    return Placed(
        code=one.code,
        score=micro / _MICRO,
        source=BLOCKED if blocked else SAVING if one.against else AFFORDABLE,
        why=_tell(one, taster, parts, last_day=None if points_urgency >= offer_urgency else last_day),
        key=(int(blocked), -micro, one.code),
        parts=parts,
    )


def _tell(one: Offering, taster: Taster, parts: Mapping[str, float], *, last_day: date | None) -> Why:
    """Return what lifts a reward most, or the plain fact where it cannot be had or nothing lifts it.

    `last_day` is None where it is the points that run out.
    """
    likeness = WEIGHTS["likeness"] * (parts["likeness"] - NEUTRAL)
    expiry = WEIGHTS["expiry"] * parts["expiry"]
    value = WEIGHTS["value"] * (parts["value"] - NEUTRAL) if one.offer.points else 0.0
    most = max(likeness, expiry, value)
    if one.against or most <= 0:
        return _tell_standing(one, taster.available)
    if most == likeness:
        return _tell_likeness(one.terms, taster.tastes)
    if most == value:
        return Why("worth_more")
    out = taster.running_out
    if last_day is None and out is not None:
        return Why("points_run_out", points=out.points, day=out.on)
    return Why("ends_soon", day=last_day)


def affordability_of(points: int, *, available: int) -> float:
    """Return 1 for what the points suffice for, else `NEAR` times the share of them that is there."""
    if available >= points:
        return 1.0
    # Whoever owes points cannot even have what is free.
    return NEAR * max(0, available) / points if points else 0.0


def likeness_of(terms: Terms, tastes: Tastes) -> float:
    """Return how much a reward is for what a member buys.

    A reward that names goods: 0 where none of them was bought, else half for that and half times the share of
    purchases that they are. One that names none stands in between, and so does every one where nothing is
    known of the member.
    """
    if not tastes.purchases or (terms.skus is None and terms.categories is None):
        return NEUTRAL
    found = tastes.count(terms)
    return 0.5 + 0.5 * found / tastes.purchases if found else 0.0


def worth_of(terms: Terms) -> int | None:
    """Return what a reward is worth in minor units, None where its value is only the most it could be."""
    return None if terms.kind in _CAPPED else terms.value_minor


def value_of(points: int, value_minor: int | None, *, point_value_minor: int) -> float:
    """Return r ÷ (1 + r), r being what it is worth ÷ what its points are worth: ½ at par, 1 for nothing."""
    if points == 0:
        return 1.0
    if value_minor is None or point_value_minor == 0:
        return NEUTRAL
    return value_minor / (value_minor + points * point_value_minor)


def _urge_by_offer(offer: Offer, today: date, timezone: str) -> tuple[float, date | None]:
    """Return how urgent the end of an offer makes it, and its last day."""
    if offer.ends_at is None:
        return 0.0, None
    last_day = local_day(offer.ends_at - timedelta(microseconds=1), timezone=timezone)
    return _urge((last_day - today).days, within=OFFER_SOON_DAYS), last_day


def _urge_by_points(one: Offering, taster: Taster, today: date) -> float:
    """Return how urgent points that run out make what can be had for them, by how many of them it takes."""
    out = taster.running_out
    if out is None or one.against or out.points <= 0:
        return 0.0
    share = min(one.offer.points, out.points) / out.points
    return _urge((out.on - today).days, within=POINTS_SOON_DAYS) * share


def _urge(days: int, *, within: int) -> float:
    """Return 1 on the day itself, falling evenly to 0."""
    return min(1.0, max(0.0, 1 - days / within))


def _tell_likeness(terms: Terms, tastes: Tastes) -> Why:
    itself = terms.kind in _HANDED_OVER and any(sku in tastes.by_sku for sku in terms.skus or ())
    return Why("bought_before" if itself else "goes_with_purchases")


def _tell_standing(one: Offering, available: int) -> Why:
    """Return the plain fact: what stands against it, or that it can be had."""
    if one.is_blocked:
        return Why(next(reason for reason in one.against if reason != "points"))
    if one.against:
        return Why("points_to_go", points=one.offer.points - available)
    return Why("available_now" if one.offer.points else "free")
