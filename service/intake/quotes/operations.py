"""Quotes: what an order would earn now, by the same arithmetic as the order's own award."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from service.activity import operations as activity
from service.activity.rules import NewOrder
from service.earning import operations as rules_room
from service.intake import earning
from service.intake.checkout import PaidOrder, price_order
from service.intake.earning import Award
from service.intake.operations import get_enrolled, points_dates, tier_view
from service.intake.reasons import describe_caps, exact_text, explain_terms, spread_over_lines
from service.kit.clock import format_time, local_day
from service.kit.money import to_text
from service.ledger import operations as ledger
from service.ledger.errors import HoldEnded, HoldNotFound, HoldNotKnown
from service.programme.operations import Programme, find_zone
from service.tiers import operations as tiers
from service.tiers.operations import HeldTier


def quote_order(
    conn: Connection,
    *,
    member_id: str | None,
    order: NewOrder,
    programme: Programme,
    locale: str,
    now: datetime,
) -> dict[str, Any]:
    """Return what an order that would be placed now earns, line by line; writes nothing and waits for nobody.

    Raises:
        MemberNotEnrolled: nobody has this id. HoldNotKnown, HoldEnded: the points cannot pay.
        Voucher…: see `checkout.price_order`.
        Invalid: the amounts do not fit together.
    """
    member_key = None if member_id is None else get_enrolled(conn, member_id=member_id).member_key
    hold = None
    if order.points_hold_id is not None:
        hold = _find_hold(conn, order.points_hold_id, member_key=member_key, now=now)
    priced = price_order(
        conn, order=order, hold=hold, member_key=member_key, programme=programme, now=now, is_quote=True
    )
    order = priced.order
    amounts = activity.value_new_order(order, programme=programme)
    day = local_day(now, timezone=find_zone(conn, store_id=order.store_id, programme=programme))
    tier = _tier_of(conn, member_key=member_key, programme=programme, now=now)
    rules = earning.rules_at(conn, moment=now, programme=programme)
    settings = programme.settings_at(now)
    used = 0
    if member_key is not None:
        used = rules_room.points_of_day(conn, rules=rules, member_key=member_key, day=day)
    basket = earning.basket_of(
        order,
        line_minors=[line.order_amount_minor for line in amounts.lines],
        spend_minor=amounts.spend_minor,
    )
    award = earning.work_out(
        basket,
        rules=rules,
        settings=settings,
        tier=tier.code,
        tier_bp=tier.multiplier_bp,
        day_used=used,
    )
    # A plain award has no terms of its own; for the reasoning it is put in the same words.
    terms = award.terms or earning.terms_of(
        basket, rules=rules, settings=settings, multiplier_bp=award.rule.multiplier_bp
    )
    available_at, _ = points_dates(now, day, programme)
    return _show(
        replace(award, terms=terms),
        priced=priced,
        tier=tier,
        rules_version=rules.version,
        pending_until=format_time(available_at) if award.points and available_at > now else None,
        currency=programme.currency,
        locale=locale,
    )


def _find_hold(conn: Connection, hold_id: str, *, member_key: int | None, now: datetime) -> ledger.Hold:
    try:
        hold = ledger.get_hold(conn, hold_id=hold_id, now=now)
    except HoldNotFound as missing:
        raise HoldNotKnown(missing.detail) from None
    if hold.member_key != member_key:
        raise HoldNotKnown(f"{hold_id} sets aside points of another member")
    if hold.state not in {"open", "captured"}:
        raise HoldEnded(f"{hold_id} is {hold.state}")
    return hold


def _tier_of(conn: Connection, *, member_key: int | None, programme: Programme, now: datetime) -> HeldTier:
    if member_key is None:
        return tiers.get_active_ruleset(conn, now=now).tiers[0].held()
    return tiers.see_held_tier(conn, member_key=member_key, now=now, programme=programme)


def _show(
    award: Award,
    *,
    priced: PaidOrder,
    tier: HeldTier,
    rules_version: int,
    pending_until: str | None,
    currency: str,
    locale: str,
) -> dict[str, Any]:
    terms = award.terms
    if terms is None:
        raise ValueError("a quote is shown by its terms")
    order = priced.order
    lines = zip(order.lines, spread_over_lines(terms), terms.chosen, terms.line_points(), strict=True)
    return {
        "points": award.points,
        "points_spent": priced.points,
        "points_paid": to_text(order.points_paid_minor, currency=order.currency),
        "voucher_paid": to_text(order.voucher_paid_minor, currency=order.currency),
        "currency": currency,
        "counted": to_text(terms.counted_minor, currency=currency),
        "eligible": to_text(terms.eligible_minor, currency=currency),
        "minimum_order": to_text(terms.minimum_minor, currency=currency) if terms.minimum_minor else None,
        "rules_version": rules_version,
        "tier": tier_view(tier, locale),
        "multiplier_bp": terms.multiplier_bp,
        "lines": [
            {
                "line_no": number,
                "sku": line.sku,
                "category": line.category,
                "counted": to_text(counted, currency=currency),
                "rate": {
                    "points": terms.rates[index].points,
                    "per": to_text(terms.rates[index].per_minor, currency=currency),
                    "multiplier_bp": terms.rates[index].multiplier_bp,
                    "why": terms.rates[index].why,
                    "by": terms.rates[index].by,
                },
                "points": exact_text(points),
            }
            for number, (line, counted, index, points) in enumerate(lines, 1)
        ],
        "caps": describe_caps(terms),
        "pending_until": pending_until,
        "explanation": explain_terms(
            terms,
            points=award.points,
            tier=tier.name.get(locale, tier.code),
            currency=currency,
            locale=locale,
        ),
    }
