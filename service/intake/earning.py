"""What an order earns, by the earning rules of its time; and what its award leaves after refunds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from service.activity import operations as activity
from service.activity.rules import NewOrder, convert
from service.earning import operations as earning
from service.earning.operations import BasketLine, Boost, EarningRules, Terms
from service.ledger import operations as ledger
from service.ledger.operations import Balance, Earned, EarningRule, OrderPoints
from service.programme.operations import Programme, ProgrammeSettings
from service.tiers.operations import HeldTier


@dataclass(frozen=True, slots=True)
class Award:
    """What an order is to earn: `points`, by `rule` on `eligible_minor`, or by terms of their own.

    `terms` None: a plain rule, one rate on net spend. `multiplier_bp` of the rule has the tier's bonus in it.
    """

    points: int
    rule: EarningRule
    eligible_minor: int
    terms: Terms | None = None


@dataclass(frozen=True, slots=True)
class Basket:
    """What is bought: lines after all discounts, and the rest, in the order's currency (minor units).

    `voucher_paid_minor` is what vouchers paid for goods and tax, `voucher_shipping_minor` what for shipping.
    """

    lines: tuple[BasketLine, ...]
    tax_minor: int
    shipping_minor: int
    points_paid_minor: int
    voucher_paid_minor: int
    rate: Any
    spend_minor: int
    voucher_shipping_minor: int = 0


def basket_of(order: NewOrder, *, line_minors: Sequence[int], spend_minor: int) -> Basket:
    """Return what an order buys, as its rules look at it."""
    return Basket(
        lines=tuple(
            BasketLine(line.sku, line.category, amount)
            for line, amount in zip(order.lines, line_minors, strict=True)
        ),
        tax_minor=order.tax_minor,
        shipping_minor=order.shipping_minor,
        points_paid_minor=order.points_paid_minor,
        # Shipping that a voucher paid lowers nothing that was paid for goods.
        voucher_paid_minor=order.voucher_paid_goods_minor,
        rate=order.rate,
        spend_minor=spend_minor,
        voucher_shipping_minor=order.voucher_paid_minor - order.voucher_paid_goods_minor,
    )


def rules_at(conn: Connection, *, moment: datetime, programme: Programme) -> EarningRules:
    """Return the earning rules in force at a moment."""
    return earning.recall_rules(conn, programme=programme).at(moment)


def terms_of(
    basket: Basket,
    *,
    rules: EarningRules,
    settings: ProgrammeSettings,
    multiplier_bp: int,
    day_used: int = 0,
    boosts: Sequence[Boost] = (),
) -> Terms:
    """Return the terms by which a basket earns: every line with its rate, and the limits."""
    counted = earning.counted_minor(
        rules,
        goods_minor=sum(line.amount_minor for line in basket.lines),
        tax_minor=basket.tax_minor,
        shipping_minor=basket.shipping_minor,
        points_paid_minor=basket.points_paid_minor,
        voucher_paid_minor=basket.voucher_paid_minor,
        voucher_shipping_minor=basket.voucher_shipping_minor,
        tax_counts=settings.tax_counts,
    )
    return earning.make_terms(
        rules,
        lines=basket.lines,
        counted_minor=convert(counted, rate=basket.rate),
        base=(settings.earn_points, settings.earn_per_minor),
        multiplier_bp=multiplier_bp,
        day_used=day_used,
        boosts=boosts,
    )


def work_out(
    basket: Basket,
    *,
    rules: EarningRules,
    settings: ProgrammeSettings,
    tier: str,
    tier_bp: int,
    is_live: bool = True,
    day_used: int = 0,
    boosts: Sequence[Boost] = (),
) -> Award:
    """Return what a basket earns at a tier, whose multiplier is `tier_bp`.

    `is_live`: the award names its settings; imported history is not tied to their version. `day_used` are the
    points that the member's orders of the same day earned; `boosts` are what campaigns multiply by.
    """
    multiplier_bp = rules.multiplier_bp(tier=tier, given_bp=tier_bp)
    base = rules.base or (settings.earn_points, settings.earn_per_minor)
    rule = EarningRule(
        points=base[0],
        per_minor=base[1],
        multiplier_bp=multiplier_bp,
        tier=tier,
        settings_version=settings.version if is_live else None,
        rules_version=rules.version if rules.version > earning.FIRST_VERSION else None,
    )
    if rules.is_plain and not boosts:
        return Award(ledger.points_for(basket.spend_minor, rule), rule, basket.spend_minor)
    terms = terms_of(
        basket,
        rules=rules,
        settings=settings,
        multiplier_bp=multiplier_bp,
        day_used=day_used,
        boosts=boosts,
    )
    return Award(terms.points(), rule, terms.eligible_minor, terms)


def earn(
    conn: Connection,
    *,
    account: Balance,
    order: NewOrder,
    recorded: activity.RecordedOrder,
    tier: HeldTier,
    dates: tuple[datetime, ledger.Expiry],
    programme: Programme,
    now: datetime,
) -> tuple[Award, Earned]:
    """Award an order that was recorded in this transaction what it earns; `dates` are those of its lot."""
    if recorded.fact is None:
        raise ValueError("an order that was recorded before has earned")
    rules = rules_at(conn, moment=order.placed_at, programme=programme)
    award = work_out(
        basket_of(order, line_minors=recorded.line_minors, spend_minor=recorded.spend_minor),
        rules=rules,
        settings=programme.settings_at(order.placed_at),
        tier=tier.code,
        tier_bp=tier.multiplier_bp,
        day_used=earning.points_of_day(
            conn, rules=rules, member_key=account.member_key, day=recorded.fact.day
        ),
    )
    available_at, expiry = dates
    earned = ledger.earn_points(
        conn,
        member_key=account.member_key,
        order_key=recorded.order_key,
        eligible_minor=award.eligible_minor,
        rule=award.rule,
        occurred_at=order.placed_at,
        available_at=available_at,
        expires_at=expiry.at,
        rolls=expiry.rolls,
        now=now,
        account=account,
        terms=None if award.terms is None else earning.terms_to_json(award.terms),
        granted=None if award.terms is None else award.points,
    )
    return award, earned


def award_of(points: OrderPoints) -> Award:
    """Return the award that the ledger recorded of an order."""
    terms = None if points.terms is None else earning.terms_from_json(points.terms)
    return Award(points.earned, points.rule, points.eligible_minor, terms)


def points_left(conn: Connection, *, order_key: int, award: OrderPoints) -> int | None:
    """Return what an award by terms of its own comes to on what is left of its order now; None: a plain rule.

    Every line is looked at: what came back of it, by the refunds' own lines.
    """
    if award.terms is None:
        return None
    order = activity.read_in_lines(conn, order_keys=[order_key])[order_key]
    return earning.terms_from_json(award.terms).points(order.left())
