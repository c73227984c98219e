"""Why a member cannot have a reward, in a sentence, from the numbers it was decided on. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from service.kit.clock import local_day
from service.rewards.rules import Offer, Reason, Taker


def explain_reason(
    reason: Reason,
    offer: Offer,
    taker: Taker,
    *,
    tier_names: Mapping[str, str],
    timezone: str,
    locale: str,
) -> str:
    """Return one reason in the caller's language; `tier_names` are the tiers' names in it, by code."""
    chinese = locale == "zh-Hant"
    if reason == "tier":
        names = _list([tier_names.get(code, code) for code in offer.tiers or ()], chinese=chinese)
        return f"限「{names}」等級的會員。" if chinese else f"For members of the tier {names} only."
    if reason == "not_yet" and offer.starts_at is not None:
        day = local_day(offer.starts_at, timezone=timezone).isoformat()
        return f"{day} 起開放兌換。" if chinese else f"Offered from {day} on."
    missing, times = offer.points - taker.available, offer.per_member_limit or 0
    often = "Once for each member." if times == 1 else f"At most {times} times for each member."
    english, in_chinese = {
        "points": (f"{_points(missing)} more needed.", f"還差 {missing} 點。"),
        "limit_reached": (often, f"每位會員限兌換 {times} 次。"),
        "out_of_stock": ("Nothing is left of it.", "已兌換完畢。"),
    }.get(reason, ("No longer offered.", "兌換期間已結束。"))
    return in_chinese if chinese else english


def _list(names: Sequence[str], *, chinese: bool) -> str:
    if chinese:
        return "」、「".join(names)
    return " or ".join(names)


def _points(points: int) -> str:
    return "1 point" if points == 1 else f"{points} points"
