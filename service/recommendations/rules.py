"""What a member still has of what they bought, and the sentences that go with a reason. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

LOCALES = ("en", "zh-Hant")


class Bought(NamedTuple):
    """A line of an order that stands: days since 1970-01-01, whole pieces."""

    item: str
    day: int
    quantity: int
    order_key: int


class Returned(NamedTuple):
    """Pieces given back on a day; `order_key` is None where the refund does not name its order."""

    item: str
    day: int
    quantity: int
    order_key: int | None


class Purchase(NamedTuple):
    """What is left of a purchase, as the recommender takes it."""

    item_id: str
    day: int
    quantity: int


def net_purchases(bought: Sequence[Bought], returned: Sequence[Returned]) -> list[Purchase]:
    """Return what one member still has of what was bought; order of the arguments does not matter.

    A return that names its order takes from that order's lines of the item. One that does not takes from
    the latest purchases of the item on or before its own day, last in first out; what it cannot take from
    is left alone, since it was bought before our time.
    """
    if not returned:
        return [Purchase(line.item, line.day, line.quantity) for line in bought]
    returned_items = {one.item for one in returned}
    kept = [Purchase(one.item, one.day, one.quantity) for one in bought if one.item not in returned_items]
    by_item: dict[str, list[Bought]] = defaultdict(list)
    for line in bought:
        if line.item in returned_items:
            by_item[line.item].append(line)
    linked: dict[tuple[int, str], int] = defaultdict(int)
    unlinked: dict[str, list[Returned]] = defaultdict(list)
    for one in returned:
        if one.order_key is None:
            unlinked[one.item].append(one)
        else:
            linked[one.order_key, one.item] += one.quantity
    for item, lines in by_item.items():
        left = _take_linked(lines, linked)
        kept += _take_unlinked(left, unlinked.get(item, ()))
    return kept


def _take_linked(lines: Iterable[Bought], linked: dict[tuple[int, str], int]) -> list[Bought]:
    """Take each order's own returns off its lines of one item."""
    left = []
    for line in lines:
        owed = linked.get((line.order_key, line.item), 0)
        taken = min(owed, line.quantity)
        if taken:
            linked[line.order_key, line.item] = owed - taken
        if line.quantity > taken:
            left.append(line._replace(quantity=line.quantity - taken))
    return left


def _take_unlinked(lines: Sequence[Bought], returns: Iterable[Returned]) -> list[Purchase]:
    """Take returns of one item off the purchases before them, the latest first."""
    stack: list[list[int]] = []
    waiting = sorted(lines, key=lambda line: (line.day, line.order_key))
    position = 0
    for one in sorted(returns, key=lambda one: one.day):
        while position < len(waiting) and waiting[position].day <= one.day:
            stack.append([waiting[position].day, waiting[position].quantity])
            position += 1
        owed = one.quantity
        while owed and stack:
            taken = min(owed, stack[-1][1])
            owed -= taken
            stack[-1][1] -= taken
            if not stack[-1][1]:
                stack.pop()
    stack += [[line.day, line.quantity] for line in waiting[position:]]
    return [Purchase(lines[0].item, day, quantity) for day, quantity in stack]


FAULTS = (
    "fault",
    "defect",
    "damage",
    "broken",
    "wrong",
    "quality",
    "expired",
    "瑕疵",
    "損壞",
    "破損",
    "故障",
    "不良",
)
"""What the reason of a return holds where the item, not the member's mind, was at fault."""


def was_at_fault(reason: str | None) -> bool:
    """Say whether a return's reason blames the item: it is not pressed on the member again."""
    return reason is not None and any(word in reason.casefold() for word in FAULTS)


class Reason(NamedTuple):
    """Why an item is shown: a public code and a sentence that is true."""

    code: str
    text: str


_SENTENCES: Mapping[str, Mapping[str, str]] = {
    "en": {
        "usual_interval": "You buy this about every {days} days",
        "usual_interval_daily": "You buy this about every day",
        "bought_before": "You have bought this {times} times",
        "bought_before_once": "You have bought this before",
        "often_bought_with": "Often bought with {item}",
        "like_your_purchases": "Goes with what you have bought",
        "popular_now": "Popular in the shop now",
        "also_available": "Also in the shop",
        "looked_at": "You looked at this recently",
        "put_in_cart": "You put this in your cart recently",
        "wished_for": "You put this on your wish list recently",
        "like_viewed": "Goes with {item}, which you looked at recently",
        "trending_now": "Many are buying this now",
        "popular_in_tier": "Popular among {tier} members",
        "popular_in_category": "Popular in {category}",
    },
    "zh-Hant": {
        "usual_interval": "您大約每 {days} 天購買一次",
        "usual_interval_daily": "您幾乎每天購買",
        "bought_before": "您買過 {times} 次",
        "bought_before_once": "您曾經買過",
        "often_bought_with": "常與「{item}」一起購買",
        "like_your_purchases": "與您買過的商品相配",
        "popular_now": "店內近期熱門商品",
        "also_available": "店內其他商品",
        "looked_at": "您最近看過這項商品",
        "put_in_cart": "您最近將它放入購物車",
        "wished_for": "您最近將它加入願望清單",
        "like_viewed": "與您最近看過的「{item}」相配",
        "trending_now": "近期許多人購買",
        "popular_in_tier": "「{tier}」會員的熱門商品",
        "popular_in_category": "「{category}」熱門商品",
    },
}


def explain(
    code: str,
    params: Mapping[str, int | str],
    *,
    locale: str,
    names: Mapping[str, str],
    whole_history: bool,
) -> Reason:
    """Return a reason in the caller's language.

    `names` gives display names by sku where known. When only the latest purchases were read
    (`whole_history` False), a count would be too low, so none is given.
    """
    sentences = _SENTENCES.get(locale, _SENTENCES["en"])
    if code == "usual_interval":
        days = params["days"]
        return Reason(code, sentences["usual_interval_daily" if days == 1 else code].format(days=days))
    if code == "bought_before":
        times = params["times"]
        counted = whole_history and isinstance(times, int) and times > 1
        return Reason(code, sentences[code if counted else "bought_before_once"].format(times=times))
    if "item_id" in params:
        sku = str(params["item_id"])
        return Reason(code, sentences[code].format(item=names.get(sku, sku)))
    return Reason(code, sentences[code].format(**params))


def pick_name(names: Mapping[str, str], *, locale: str) -> str | None:
    """Return a display name in the caller's language, else in any."""
    for wanted in (locale, *LOCALES):
        if names.get(wanted):
            return names[wanted]
    return next((name for name in names.values() if name), None)
