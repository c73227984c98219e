"""How many points, from which lots, and until when. Pure."""

from __future__ import annotations

import calendar
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal

from service.kit.clock import local_midnight

ONE_BP = 10_000
"""A multiplier of one, in basis points."""

MONTHS_OF = {"month": 1, "quarter": 3, "half_year": 6, "year": 12}
"""Months of each calendar period."""

_NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class EarningRule:
    """What an award was computed by: `points` for every `per_minor`, times the multiplier of `tier`.

    `settings_version` says where the rate comes from, None for imported history; `rules_version` which
    earning rules said so, None for those of the first start. Recorded with the award,
    because a refund is computed from it and never from a later rule.
    """

    points: int
    per_minor: int
    multiplier_bp: int = ONE_BP
    tier: str | None = None
    settings_version: int | None = None
    rules_version: int | None = None

    def __post_init__(self) -> None:
        if self.points < 0 or self.per_minor < 1 or self.multiplier_bp < 0:
            raise ValueError("an earning rule needs points ≥ 0, per_minor ≥ 1 and multiplier_bp ≥ 0")


@dataclass(frozen=True, slots=True)
class Lot:
    """What is left of points that were earned together; `expires_at` None means never."""

    lot_key: int
    order_key: int | None
    remaining: int
    pending: bool
    earned_at: datetime
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Draw:
    """Points drawn on one lot."""

    lot_key: int
    points: int
    pending: bool


@dataclass(frozen=True, slots=True)
class Move:
    """Points that go from one account to another, within a lot or (`lot_key` None) outside any.

    A member's accounts are pending, available, held and debt; the programme's are issued, redeemed,
    expired and reversed.
    """

    from_account: str
    to_account: str
    points: int
    lot_key: int | None = None


@dataclass(frozen=True, slots=True)
class OrderRecord:
    """What the ledger holds of one order: the rule in force for it and the sums of its entries.

    `eligible_minor` is what the award was computed on; `earned`, `reversed` and `shortfall` are points.
    `terms` are what the caller recorded besides the rule: then the caller says what is left of the award.
    """

    rule: EarningRule
    eligible_minor: int
    earned: int
    reversed: int
    shortfall: int
    terms: Mapping[str, Any] | None = None

    def still_held(self) -> int:
        """Return the points that have been neither taken back nor reported as a shortfall."""
        return self.earned - self.reversed - self.shortfall


def points_for(eligible_minor: int, rule: EarningRule) -> int:
    """Return the points that an amount earns: exact, and rounded down once, at the end.

    Raises:
        ValueError: a negative amount.
    """
    if eligible_minor < 0:
        raise ValueError("nothing is earned on a negative amount")
    return eligible_minor * rule.points * rule.multiplier_bp // (rule.per_minor * ONE_BP)


def points_to_take_back(
    record: OrderRecord, *, eligible_left_minor: int, points_left: int | None = None
) -> int:
    """Return the points still to be taken back once only `eligible_left_minor` of an order is left.

    Cumulative, by the recorded rule: what the order holds less what it would have earned on what is left,
    which `points_left` says where the award had terms of its own. A shortfall that was reported is settled
    and not asked for again.
    """
    if points_left is None:
        points_left = points_for(min(eligible_left_minor, record.eligible_minor), record.rule)
    return max(0, record.still_held() - points_left)


def allocate(points: int, lots: Iterable[Lot], *, own_order_key: int | None = None) -> tuple[list[Draw], int]:
    """Draw points on lots and return the draws and what no lot could give.

    The order's own lots come first; then pending before available, soonest to expire first, without
    expiry last; what was earned first goes first among equals.
    """
    draws: list[Draw] = []
    missing = points
    for lot in sorted(lots, key=lambda lot: _turn(lot, own_order_key)):
        if missing == 0:
            break
        taken = min(lot.remaining, missing)
        if taken > 0:
            draws.append(Draw(lot.lot_key, taken, lot.pending))
            missing -= taken
    return draws, missing


def _turn(lot: Lot, own_order_key: int | None) -> tuple[bool, bool, datetime, datetime, int]:
    foreign = own_order_key is None or lot.order_key != own_order_key
    return (foreign, not lot.pending, lot.expires_at or _NEVER, lot.earned_at, lot.lot_key)


def available_from(occurred_at: datetime, *, day: date, return_period_days: int, timezone: str) -> datetime:
    """Return when points become available: as the return period ends, at a midnight of the store's zone.

    `day` is the order's store-local day. A return period of 0 means at once.
    """
    if return_period_days == 0:
        return occurred_at
    return local_midnight(day + timedelta(days=return_period_days), timezone=timezone)


def expires_from(
    day: date,
    *,
    model: Literal["none", "rolling_months", "end_of_period", "after_inactivity"],
    months: int | None,
    period: Literal["month", "quarter", "half_year", "year"] | None = None,
    periods: int | None = None,
    timezone: str,
) -> datetime | None:
    """Return when points earned on a store-local day expire, at a midnight of the store's zone.

    `rolling_months`: as the day that many months later begins (the last day of a shorter month); points
    earned on 15 January for 12 months can be used through 14 January. `after_inactivity`: likewise, after
    the member's last active day. `end_of_period`: as the calendar period ends that comes `periods` after the
    one of the day; never before one full period has passed. `none`: never, None.

    Raises:
        ValueError: a model without its number of months, or without its period.
    """
    if model == "none":
        return None
    if model == "end_of_period":
        if period is None or periods is None or periods < 1:
            raise ValueError("end_of_period needs a period and how many of them later")
        length = MONTHS_OF[period]
        start = day.replace(month=(day.month - 1) // length * length + 1, day=1)
        return local_midnight(add_months(start, months=length * (periods + 1)), timezone=timezone)
    if months is None or months < 1:
        raise ValueError(f"{model} needs a number of months")
    return local_midnight(add_months(day, months=months), timezone=timezone)


def add_months(day: date, *, months: int) -> date:
    """Return the same day of a later month, or that month's last day when it is shorter."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    return date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1]))


def reversals(draws: Sequence[Draw], *, debt: int = 0) -> list[Move]:
    """Return the moves that take back what was drawn, and what is owed beyond it."""
    moves = [
        Move("pending" if draw.pending else "available", "reversed", draw.points, draw.lot_key)
        for draw in draws
    ]
    return [*moves, Move("debt", "reversed", debt)] if debt else moves


def give_back(
    freed: Sequence[tuple[Lot, int]], *, account_from: str, debt: int, now: datetime
) -> tuple[list[Move], list[tuple[Lot, int]]]:
    """Return the moves that make points of lots available again, and what of them has meanwhile expired.

    What comes back pays the debt first, soonest to expire first; what has expired goes on from available
    in entries of its own.
    """
    moves: list[Move] = []
    payments: list[Move] = []
    lapsed: list[tuple[Lot, int]] = []
    for lot, points in sorted(freed, key=lambda one: _turn(one[0], None)):
        if points == 0:
            continue
        moves.append(Move(account_from, "available", points, lot.lot_key))
        paid = min(points, debt)
        debt -= paid
        if paid:
            payments.append(Move("available", "debt", paid, lot.lot_key))
        if points > paid and lot.expires_at is not None and lot.expires_at <= now:
            lapsed.append((lot, points - paid))
    return [*moves, *payments], lapsed


def share_back(points: int, lots: Iterable[Lot]) -> list[tuple[Lot, int]]:
    """Return how points go back to the lots they came from: what was drawn last comes back first.

    `remaining` of each lot is what can go back to it.
    """
    shares: list[tuple[Lot, int]] = []
    for lot in sorted(lots, key=lambda lot: _turn(lot, None), reverse=True):
        share = min(points, lot.remaining)
        if share > 0:
            shares.append((lot, share))
            points -= share
    return shares


@dataclass(frozen=True, slots=True)
class LotThen:
    """A lot as entries dated up to some moment leave it; lot_key None holds what belongs to none.

    `freed` of what is held belongs to a hold that ended at `freed_at`, which is not posted.
    """

    lot_key: int | None
    pending: int
    available: int
    held: int
    available_at: datetime | None
    expires_at: datetime | None
    freed: int = 0
    freed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """What there effectively was at a moment; `available` is not net of `debt`."""

    available: int
    pending: int
    held: int
    debt: int
    expiring: tuple[tuple[datetime, int], ...]


def stand_at(lots: Sequence[LotThen], *, debt: int, at: datetime) -> Standing:
    """Return what lots come to at a moment when everything due by then counts as posted.

    What became available, or free, pays the debt first, in the order of time; what is past its expiry is
    gone.
    """
    pending = sum(lot.pending for lot in lots if not _is_released(lot, at))
    free = [(lot.expires_at, lot.available) for lot in lots]
    for _, _, expires_at, points in sorted(
        [
            (lot.available_at or _NEVER, lot.lot_key or 0, lot.expires_at, lot.pending)
            for lot in lots
            if _is_released(lot, at)
        ]
        + [
            (lot.freed_at or _NEVER, lot.lot_key or 0, lot.expires_at, lot.freed) for lot in lots if lot.freed
        ],
        key=lambda piece: piece[:2],
    ):
        paid = min(points, debt)
        debt -= paid
        free.append((expires_at, points - paid))
    standing = [(expires_at, points) for expires_at, points in free if expires_at is None or expires_at > at]
    ahead = [(expires_at, points) for expires_at, points in standing if expires_at is not None]
    ahead += [
        (lot.expires_at, lot.pending)
        for lot in lots
        if lot.expires_at is not None and not _is_released(lot, at)
    ]
    return Standing(
        available=sum(points for _, points in standing),
        pending=pending,
        held=sum(lot.held - lot.freed for lot in lots),
        debt=debt,
        expiring=tuple((expires_at, points) for expires_at, points in ahead if points > 0),
    )


def _is_released(lot: LotThen, at: datetime) -> bool:
    return lot.pending > 0 and lot.available_at is not None and lot.available_at <= at


def rule_to_json(
    rule: EarningRule,
    *,
    eligible_minor: int,
    terms: Mapping[str, Any] | None = None,
    granted: int | None = None,
) -> dict[str, object]:
    """Return a rule and the amount it was applied to, as they are recorded with an award.

    With `terms` the award is what they say, `granted`, and the rule is its base.
    """
    recorded: dict[str, object] = {
        "points": rule.points,
        "per_minor": rule.per_minor,
        "multiplier_bp": rule.multiplier_bp,
        "tier": rule.tier,
        "eligible_minor": eligible_minor,
    }
    if rule.settings_version is not None:
        recorded["settings_version"] = rule.settings_version
    if rule.rules_version is not None:
        recorded["rules_version"] = rule.rules_version
    if terms is not None:
        recorded |= {"terms": dict(terms), "granted": granted}
    return recorded


def rule_from_json(recorded: Mapping[str, Any]) -> tuple[EarningRule, int]:
    """Return a recorded rule and the amount it was applied to, in minor units."""
    rule = EarningRule(
        points=recorded["points"],
        per_minor=recorded["per_minor"],
        multiplier_bp=recorded["multiplier_bp"],
        tier=recorded["tier"],
        settings_version=recorded.get("settings_version"),
        rules_version=recorded.get("rules_version"),
    )
    return rule, recorded["eligible_minor"]
