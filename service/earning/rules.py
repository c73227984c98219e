"""Earning rules, compiled, and what they make of an order or an event: exact, rounded down once. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction
from typing import Any, Literal

from service.kit.money import divide_half_up

ONE_BP = 10_000
"""A multiplier of one, in basis points."""

FIRST_VERSION = 1
"""The version of the first start: a plain rule that follows the programme's settings."""

Why = Literal["base", "rate", "excluded", "not_included"]


@dataclass(frozen=True, slots=True)
class Match:
    """Which lines are meant: those of a sku, or of a category as the order's line names it."""

    skus: frozenset[str] = frozenset()
    categories: frozenset[str] = frozenset()

    def finds(self, sku: str, category: str | None) -> str | None:
        """Return what fits a line, as `sku:…` or `category:…`, or None."""
        if sku in self.skus:
            return f"sku:{sku}"
        if category is not None and category in self.categories:
            return f"category:{category}"
        return None


@dataclass(frozen=True, slots=True)
class LineRate:
    """What lines of a kind earn: `points` per `per_minor`, or the base rate (None), times `multiplier_bp`."""

    match: Match
    points: int | None
    per_minor: int | None
    multiplier_bp: int


@dataclass(frozen=True, slots=True)
class EventRule:
    """What a custom event earns, and how often; None: as often as it comes."""

    type: str
    points: int
    per_member_day: int | None
    per_member: int | None
    once_per_sku: bool
    from_storefront: bool


@dataclass(frozen=True, slots=True)
class EarningRules:
    """One immutable version; amounts in programme minor units.

    `base` None and `counts_tax` None: as the programme's settings say at the time.
    """

    version: int
    base: tuple[int, int] | None = None
    tier_multiplier: bool = True
    tier_bonus_bp: Mapping[str, int] = field(default_factory=dict)
    counts_tax: bool | None = None
    counts_shipping: bool = False
    counts_points_paid: bool = False
    counts_vouchers_paid: bool = False
    included: Match | None = None
    excluded: Match = field(default_factory=Match)
    rates: tuple[LineRate, ...] = ()
    minimum_minor: int = 0
    cap_order: int | None = None
    cap_member_day: int | None = None
    events: Mapping[str, EventRule] = field(default_factory=dict)

    @property
    def is_plain(self) -> bool:
        """Whether an order earns one rate on its net spend and nothing else is asked."""
        return (
            self.counts_tax is None
            and not (self.counts_shipping or self.counts_points_paid or self.counts_vouchers_paid)
            and self.included is None
            and self.excluded == Match()
            and not self.rates
            and self.minimum_minor == 0
            and self.cap_order is None
            and self.cap_member_day is None
        )

    def multiplier_bp(self, *, tier: str | None, given_bp: int) -> int:
        """Return the multiplier of a tier: the tier's own, unless it is switched off, and the bonus."""
        own = given_bp if self.tier_multiplier else ONE_BP
        return own + (self.tier_bonus_bp.get(tier, 0) if tier is not None else 0)

    def rate_of(self, sku: str, category: str | None, *, base: tuple[int, int]) -> Rate:
        """Return what a line earns by: exclusions, then the first rate that fits, then the base rate."""
        left_out = self.excluded.finds(sku, category)
        if left_out is not None:
            return Rate(0, 1, ONE_BP, "excluded", left_out)
        if self.included is not None and self.included.finds(sku, category) is None:
            return Rate(0, 1, ONE_BP, "not_included", None)
        for rate in self.rates:
            by = rate.match.finds(sku, category)
            if by is not None:
                points, per_minor = base if rate.points is None else (rate.points, rate.per_minor or 1)
                return Rate(points, per_minor, rate.multiplier_bp, "rate", by)
        return Rate(*base, ONE_BP, "base", None)


@dataclass(frozen=True, slots=True)
class Rate:
    """`points` for every `per_minor`, times `multiplier_bp`; `why`, and `by` which sku or category."""

    points: int
    per_minor: int
    multiplier_bp: int
    why: Why
    by: str | None

    @property
    def exact(self) -> Fraction:
        """Points for one minor unit."""
        return Fraction(self.points * self.multiplier_bp, self.per_minor * ONE_BP)


@dataclass(frozen=True, slots=True)
class Boost:
    """A multiplier that somebody else brings: a campaign, by its name."""

    name: str
    multiplier_bp: int


@dataclass(frozen=True, slots=True)
class BasketLine:
    """A line as it was recorded: `amount_minor` after all discounts, in the order's currency."""

    sku: str
    category: str | None
    amount_minor: int


@dataclass(frozen=True, slots=True)
class Terms:
    """All that an order's award was computed by, recorded with it: refunds need nothing else.

    `counted_minor` is what counts of the order, spread over the lines in proportion to `weights` (their
    amounts, in the order's currency); `chosen` names the rate of each line. `day_left` is what the cap of the
    day had left when the order earned. Amounts are programme minor units.
    """

    version: int
    counted_minor: int
    weights: tuple[int, ...]
    chosen: tuple[int, ...]
    rates: tuple[Rate, ...]
    multiplier_bp: int
    minimum_minor: int = 0
    cap_order: int | None = None
    cap_member_day: int | None = None
    day_left: int | None = None
    boosts: tuple[Boost, ...] = ()

    def shares(self) -> tuple[Fraction, ...]:
        """Return each line's share of what counts; the shares of all lines sum to one."""
        whole = sum(self.weights)
        if whole == 0:
            return (Fraction(1, len(self.weights)),) * len(self.weights)
        return tuple(Fraction(weight, whole) for weight in self.weights)

    @property
    def eligible_minor(self) -> int:
        """What of the counted amount earns anything, rounded half up."""
        whole = sum(self.weights)
        parts = self.weights if whole else (1,) * len(self.weights)
        earns = [rate.points * rate.multiplier_bp > 0 for rate in self.rates]
        earning = sum(part for part, index in zip(parts, self.chosen, strict=True) if earns[index])
        return divide_half_up(self.counted_minor * earning, whole or len(parts))

    def uncapped(self, left: Sequence[Fraction] | None = None) -> int:
        """Return the points before caps, of which `left` says what part of each line is left (None: all)."""
        return int(self.exact(left))

    def points(self, left: Sequence[Fraction] | None = None) -> int:
        """Return the points on what is left of each line: exact, rounded down once, then capped."""
        caps = [cap for cap in (self.cap_order, self.day_left) if cap is not None]
        return min([self.uncapped(left), *caps])

    def line_points(self) -> list[Fraction]:
        """Return what each line brings, exactly, before the whole is rounded down and capped."""
        factor = self.counted_minor * self._factor
        return [
            share * self.rates[index].exact * factor
            for share, index in zip(self.shares(), self.chosen, strict=True)
        ]

    @property
    def _factor(self) -> Fraction:
        factor = Fraction(self.multiplier_bp, ONE_BP)
        for boost in self.boosts:
            factor *= Fraction(boost.multiplier_bp, ONE_BP)
        return factor

    def exact(self, left: Sequence[Fraction] | None = None) -> Fraction:
        """Return the points before they are rounded down and capped."""
        counted = self.counted_minor
        if left is not None:
            kept = self._share_by(lambda rate: Fraction(1), left)
            if counted * kept < self.minimum_minor:
                return Fraction(0)
            return counted * self._factor * self._share_by(lambda rate: rate.exact, left)
        if counted < self.minimum_minor:
            return Fraction(0)
        # The common case in whole numbers: a fraction at every step would be most of an order's arithmetic.
        whole = sum(self.weights)
        sums: dict[int, int] = {}
        for weight, index in zip(self.weights, self.chosen, strict=True):
            sums[index] = sums.get(index, 0) + (weight if whole else 1)
        top, bottom = 0, 1
        for index, part in sums.items():
            rate = self.rates[index]
            per = rate.per_minor * ONE_BP
            top = top * per + part * rate.points * rate.multiplier_bp * bottom
            bottom *= per
        for times in (self.multiplier_bp, *(boost.multiplier_bp for boost in self.boosts)):
            top, bottom = top * times, bottom * ONE_BP
        return Fraction(counted * top, bottom * (whole or len(self.weights)))

    def _share_by(self, value: Callable[[Rate], Fraction], left: Sequence[Fraction]) -> Fraction:
        """Return the sum of every line's share of what is left, times the value of its rate."""
        sums: dict[int, Fraction] = {}
        for share, part, index in zip(self.shares(), left, self.chosen, strict=True):
            sums[index] = sums.get(index, Fraction(0)) + share * part
        return sum((part * value(self.rates[index]) for index, part in sums.items()), Fraction(0))


def make_terms(
    rules: EarningRules,
    *,
    lines: Sequence[BasketLine],
    counted_minor: int,
    base: tuple[int, int],
    multiplier_bp: int,
    day_used: int = 0,
    boosts: Sequence[Boost] = (),
) -> Terms:
    """Return the terms of an order: what its lines earn by, before anything is computed.

    `base` is the settings' rate, used where the rules have none of their own; `multiplier_bp` is the tier's
    with its bonus; `day_used` are the points that orders of the same member and day have earned.
    """
    numbers: dict[Rate, int] = {}
    chosen = tuple(
        numbers.setdefault(rules.rate_of(line.sku, line.category, base=rules.base or base), len(numbers))
        for line in lines
    )
    return Terms(
        version=rules.version,
        counted_minor=counted_minor,
        weights=tuple(line.amount_minor for line in lines),
        chosen=chosen,
        rates=tuple(numbers),
        multiplier_bp=multiplier_bp,
        minimum_minor=rules.minimum_minor,
        cap_order=rules.cap_order,
        cap_member_day=rules.cap_member_day,
        day_left=None if rules.cap_member_day is None else max(0, rules.cap_member_day - day_used),
        boosts=tuple(boosts),
    )


def counted_minor(
    rules: EarningRules,
    *,
    goods_minor: int,
    tax_minor: int,
    shipping_minor: int,
    points_paid_minor: int,
    voucher_paid_minor: int,
    tax_counts: bool,
    voucher_shipping_minor: int = 0,
) -> int:
    """Return what counts of an order, in its own currency: goods after discounts, and what the rules add.

    What points and vouchers paid is left out unless the rules count it; what a voucher paid of shipping
    (`voucher_shipping_minor`) lowers nothing but shipping. Never below zero.
    """
    counted = goods_minor
    counted += tax_minor if (tax_counts if rules.counts_tax is None else rules.counts_tax) else 0
    if rules.counts_shipping:
        counted += shipping_minor - (0 if rules.counts_vouchers_paid else voucher_shipping_minor)
    counted -= 0 if rules.counts_points_paid else points_paid_minor
    counted -= 0 if rules.counts_vouchers_paid else voucher_paid_minor
    return max(0, counted)


@dataclass(frozen=True, slots=True)
class RuleTimeline:
    """Every published version by the moment from which it is in force."""

    entries: tuple[tuple[datetime, EarningRules], ...]

    def at(self, moment: datetime) -> EarningRules:
        """Return the version in force at a moment; the first one is since the beginning of time."""
        if not self.entries:
            return EarningRules(FIRST_VERSION)
        after = bisect_right(self.entries, moment, key=lambda entry: entry[0])
        return self.entries[max(0, after - 1)][1]

    @property
    def event_types(self) -> frozenset[str]:
        """Every type of event that some version rewards: the rest need not be looked at."""
        return frozenset(kind for _, rules in self.entries for kind in rules.events)

    @property
    def caps_days(self) -> bool:
        """Whether some version limits what a member's orders of one day earn."""
        return any(rules.cap_member_day is not None for _, rules in self.entries)


@dataclass(frozen=True, slots=True)
class EventCount:
    """What a member has been given for one type of event: that day, ever, and for that sku."""

    today: int = 0
    ever: int = 0
    of_sku: int = 0


def event_points(rule: EventRule, *, count: EventCount, has_sku: bool, by_storefront: bool) -> int:
    """Return what one more event of a type earns: its points, or nothing once a limit is reached.

    What a browser sends earns only where the rule says so. With `once_per_sku` an event without a sku earns
    nothing.
    """
    if by_storefront and not rule.from_storefront:
        return 0
    if rule.once_per_sku and (not has_sku or count.of_sku > 0):
        return 0
    limits = ((rule.per_member_day, count.today), (rule.per_member, count.ever))
    if any(limit is not None and given >= limit for limit, given in limits):
        return 0
    return rule.points


def terms_to_json(terms: Terms) -> dict[str, Any]:
    """Return terms as they are recorded with an award."""
    recorded: dict[str, Any] = {
        "version": terms.version,
        "counted_minor": terms.counted_minor,
        "weights": list(terms.weights),
        "chosen": list(terms.chosen),
        "rates": [
            [rate.points, rate.per_minor, rate.multiplier_bp, rate.why, rate.by] for rate in terms.rates
        ],
        "multiplier_bp": terms.multiplier_bp,
        "minimum_minor": terms.minimum_minor,
        "cap_order": terms.cap_order,
        "cap_member_day": terms.cap_member_day,
        "day_left": terms.day_left,
        "boosts": [[boost.name, boost.multiplier_bp] for boost in terms.boosts],
    }
    return recorded


def terms_from_json(recorded: Mapping[str, Any]) -> Terms:
    """Return recorded terms."""
    return Terms(
        version=recorded["version"],
        counted_minor=recorded["counted_minor"],
        weights=tuple(recorded["weights"]),
        chosen=tuple(recorded["chosen"]),
        rates=tuple(Rate(*rate) for rate in recorded["rates"]),
        multiplier_bp=recorded["multiplier_bp"],
        minimum_minor=recorded["minimum_minor"],
        cap_order=recorded["cap_order"],
        cap_member_day=recorded["cap_member_day"],
        day_left=recorded["day_left"],
        boosts=tuple(Boost(*boost) for boost in recorded["boosts"]),
    )
