"""What imported orders earn, by the earning rules of each order's time: the same figures as live ones.

A plain rule needs no more than the order's net spend, and the ledger computes it for all orders at once.
Where rules ask for more, the lines of the members' orders are read in one go, and each award says its points.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection

from service.activity import operations as activity
from service.activity.operations import OrderInLines
from service.earning import operations as earning
from service.earning.operations import BasketLine, EarningRules, RuleTimeline
from service.intake.bulk.rules import Kept, Purchase
from service.intake.earning import Award, Basket, work_out
from service.kit.db import dumps
from service.kit.money import exponent_of
from service.ledger import operations as ledger
from service.programme.operations import Programme, ProgrammeSettings
from service.tiers.operations import OrderTier


@dataclass(slots=True)
class Earnings:
    """Awards of a chunk of members; one member's orders are asked for in order of their time."""

    timeline: RuleTimeline
    currency: str
    in_lines: Mapping[int, OrderInLines]
    live_points: Mapping[int, int]
    _used: dict[tuple[int, date], int] = field(default_factory=dict)

    def rules_of(self, purchase: Purchase) -> EarningRules:
        """Return the rules of an order's time."""
        return self.timeline.at(purchase.placed_at)

    def count_live(self, member_key: int, purchases: Sequence[Purchase]) -> None:
        """Count what a member's orders of the API have earned against the limits of their days."""
        if not self.timeline.caps_days:
            return
        for purchase in purchases:
            if not purchase.is_imported:
                self._use(member_key, purchase.day, self.live_points.get(purchase.order_key, 0))

    def award(
        self, member_key: int, purchase: Purchase, *, tier: OrderTier, settings: ProgrammeSettings
    ) -> Award:
        """Return what an imported order earns."""
        rules = self.rules_of(purchase)
        award = work_out(
            self._basket(purchase, rules),
            rules=rules,
            settings=settings,
            tier=tier.tier,
            tier_bp=tier.multiplier_bp,
            is_live=False,
            day_used=self._used.get((member_key, purchase.day), 0),
        )
        if self.timeline.caps_days:
            self._use(member_key, purchase.day, award.points)
        return award

    def points_left(self, purchase: Purchase, award: Award, steps: Sequence[Kept]) -> list[int | None]:
        """Return what an award leaves after each of its refunds and all before; None: by a plain rule."""
        if award.terms is None:
            return [None] * len(steps)
        order = self.in_lines[purchase.order_key]
        return [award.terms.points(order.left(step.seen)) for step in steps]

    def _use(self, member_key: int, day: date, points: int) -> None:
        self._used[member_key, day] = self._used.get((member_key, day), 0) + points

    def _basket(self, purchase: Purchase, rules: EarningRules) -> Basket:
        if rules.is_plain:
            return Basket((), 0, 0, 0, 0, None, purchase.spend_minor)
        order = self.in_lines[purchase.order_key]
        return Basket(
            lines=tuple(
                BasketLine(sku, category, line.amount_minor)
                for sku, category, line in zip(order.skus, order.categories, order.lines, strict=True)
            ),
            tax_minor=order.tax_minor,
            shipping_minor=order.shipping_minor,
            points_paid_minor=order.points_paid_minor,
            voucher_paid_minor=order.voucher_paid_minor,
            rate=self._rate(order),
            spend_minor=purchase.spend_minor,
        )

    def _rate(self, order: OrderInLines) -> Decimal | None:
        if order.exchange_rate is None:
            return None
        return order.exchange_rate.scaleb(exponent_of(self.currency) - exponent_of(order.currency))


def prepare_earnings(
    conn: Connection, *, purchases: Mapping[int, Sequence[Purchase]], programme: Programme
) -> Earnings:
    """Read what the rules of the time of some members' orders need; nothing where they are plain.

    `purchases` are all orders of each member. Allotments of refunds are written before this is called.
    """
    timeline = earning.recall_rules(conn, programme=programme)
    every = [purchase for ones in purchases.values() for purchase in ones]
    special = [
        purchase.order_key
        for purchase in every
        if purchase.is_imported and not timeline.at(purchase.placed_at).is_plain
    ]
    live: Mapping[int, int] = {}
    if timeline.caps_days:
        keys = [purchase.order_key for purchase in every if not purchase.is_imported]
        live = ledger.sum_earned(conn, order_keys=keys)
    return Earnings(
        timeline=timeline,
        currency=programme.currency,
        in_lines=activity.read_in_lines(conn, order_keys=special) if special else {},
        live_points=live,
    )


def award_columns(award: Award) -> tuple[Any, ...]:
    """Return what the points history holds of an award besides its rule: version, points, terms."""
    if award.terms is None:
        return (award.rule.rules_version, None, None)
    return (award.rule.rules_version, award.points, dumps(earning.terms_to_json(award.terms)))
