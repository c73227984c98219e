"""Why a reward stands where it does, in a sentence, from the figures that put it there. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from service.recommendations.rewards.rules import Why

CODES = (
    "bought_before",
    "goes_with_purchases",
    "points_run_out",
    "ends_soon",
    "worth_more",
    "free",
    "available_now",
    "points_to_go",
)
"""Every reason that is told here; those against a reward are told by its own room."""

_SENTENCES: Mapping[str, Mapping[str, str]] = {
    "en": {
        "bought_before": "You have bought this before",
        "goes_with_purchases": "Goes with what you buy",
        "points_run_out": "Your {points} run out on {day}",
        "ends_soon": "Offered until {day}",
        "worth_more": "Worth more than the points it costs",
        "free": "It costs no points",
        "available_now": "You can have it now",
        "points_to_go": "{points} to go",
    },
    "zh-Hant": {
        "bought_before": "您曾經買過",
        "goes_with_purchases": "與您購買的商品相配",
        "points_run_out": "您的 {points}將於 {day} 到期",
        "ends_soon": "兌換至 {day} 止",
        "worth_more": "價值高於所需點數",
        "free": "免點數兌換",
        "available_now": "您現在就可以兌換",
        "points_to_go": "還差 {points}",
    },
}


def tell(why: Why, *, locale: str) -> str:
    """Return the sentence of a reason in a language, English where it is not one of ours.

    Raises:
        KeyError: a reason that is not told here.
    """
    sentence = _SENTENCES.get(locale, _SENTENCES["en"])[why.code]
    if locale == "zh-Hant":
        points = f"{why.points} 點"
    else:
        points = "1 point" if why.points == 1 else f"{why.points} points"
    return sentence.format(points=points, day="" if why.day is None else why.day.isoformat())
