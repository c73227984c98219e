"""What a story did, in a sentence or two, from its own numbers. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from service.earning.operations import Terms
from service.intake.reasons import explain_terms
from service.kit.money import show_money
from service.ledger.operations import EarningRule
from service.programme.operations import Programme
from service.tiers.operations import HeldTier


def explain_order(
    *,
    points: int,
    eligible_minor: int,
    rule: EarningRule,
    tier_when_placed: HeldTier,
    move: tuple[HeldTier, HeldTier],
    pending_until: str | None,
    programme: Programme,
    locale: str,
    paid: tuple[int, str] | None = None,
    voucher_paid: str | None = None,
    terms: Terms | None = None,
) -> list[str]:
    """Return why an order earned what it earned and what it did to the tier.

    `paid` are the points that paid for it, and what they paid; `voucher_paid` is what vouchers paid; `terms`
    those of an award that has its own.
    """
    currency = programme.currency
    amount = show_money(eligible_minor, currency=currency, locale=locale)
    per = show_money(rule.per_minor, currency=currency, locale=locale)
    times = _times(rule.multiplier_bp)
    tier = tier_when_placed.name.get(locale, tier_when_placed.code)
    if locale == "zh-Hant":
        earned = (
            f"{amount} 以「{tier}」等級（{times} 倍）、每 {per} 得 {rule.points} 點計算，獲得 {points} 點。"
        )
        wait = f"點數待鑑賞期結束後生效：{pending_until}。"
    else:
        earned = (
            f"{_points(points)} earned on {amount}: {_points(rule.points)} per {per}, "
            f"times {times} as {tier}, rounded down once."
        )
        wait = f"The points become available when the return period ends: {pending_until}."
    sentences = [earned]
    if terms is not None:
        total = f"獲得 {points} 點。" if locale == "zh-Hant" else f"{_points(points)} earned."
        why = explain_terms(terms, points=points, tier=tier, currency=currency, locale=locale)
        sentences = [total, *why]
    if voucher_paid is not None:
        sentences.insert(0, _explain_vouchers(voucher_paid, locale))
    if paid is not None:
        sentences.insert(0, _explain_payment(*paid, locale))
    if pending_until:
        sentences.append(wait)
    return [*sentences, *_explain_move(move, locale)]


def explain_refund(taken: Mapping[str, Any], move: tuple[HeldTier, HeldTier], *, locale: str) -> list[str]:
    """Return what a refund took back and what it did to the tier."""
    points, shortfall, returned = taken["reversed"], taken["shortfall"], taken["returned"]
    if locale == "zh-Hant":
        sentences = [f"收回 {points} 點。"]
        if shortfall:
            sentences.append(f"另有 {shortfall} 點已不在帳上，未能收回。")
        if returned:
            sentences.append(f"此訂單折抵的 {returned} 點已退回。")
    else:
        sentences = [f"{_points(points)} taken back."]
        if shortfall:
            sentences.append(
                f"{_points(shortfall)} more should have been taken back but were no longer there."
            )
        if returned:
            sentences.append(f"{_points(returned)} spent on the order given back.")
    return [*sentences, *_explain_move(move, locale)]


def _explain_payment(spent: int, amount: str, locale: str) -> str:
    if locale == "zh-Hant":
        return f"以 {spent} 點折抵 {amount}，折抵的金額不累積點數，也不計入消費淨額。"
    return f"{_points(spent)} paid {amount} of it, which earns nothing and is no net spend."


def _explain_vouchers(amount: str, locale: str) -> str:
    if locale == "zh-Hant":
        return f"優惠券折抵 {amount}，折抵的金額不累積點數，也不計入消費淨額。"
    return f"Vouchers paid {amount} of it, which earns nothing and is no net spend."


def _explain_move(move: tuple[HeldTier, HeldTier], locale: str) -> list[str]:
    before, after = move
    old, new = (tier.name.get(locale, tier.code) for tier in move)
    if before.code == after.code:
        return [f"等級維持「{new}」。"] if locale == "zh-Hant" else [f"The tier stays {new}."]
    if locale == "zh-Hant":
        verb = "升為" if after.rank > before.rank else "降為"
        return [f"等級由「{old}」{verb}「{new}」。"]
    verb = "rises" if after.rank > before.rank else "falls"
    return [f"The tier {verb} from {old} to {new}."]


def _points(points: int) -> str:
    return "1 point" if points == 1 else f"{points} points"


def _times(multiplier_bp: int) -> str:
    whole, part = divmod(multiplier_bp, 10_000)
    return f"{whole}.{part:04d}".rstrip("0").rstrip(".")
