"""Which orders an unlinked refund takes points from, and what each order keeps, from all facts. Pure.

Everything is derived from all facts of a member in order of their own time, so that neither the order of the
lines in a file nor that of the files changes anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from service.activity.rules import OpenOrder, allot, left_after

ALLOTMENT_REACH = 200
"""An unlinked refund looks back over at most this many of the member's newest orders, as the API does."""


@dataclass(frozen=True, slots=True)
class Purchase:
    """An order of the history; amounts in minor units, `order_goods_minor` in its own currency."""

    order_key: int
    order_id: str
    placed_at: datetime
    day: date
    order_goods_minor: int
    goods_minor: int
    spend_minor: int
    is_imported: bool


@dataclass(frozen=True, slots=True)
class GiveBack:
    """A refund or (`refund_key` None) a cancellation; `order_key` None for an unlinked refund.

    `amount_minor` is in the order's currency; `converted_minor` is what is recorded of it in the programme's.
    """

    refund_key: int | None
    source_id: str
    at: datetime
    order_key: int | None
    amount_minor: int
    converted_minor: int
    is_imported: bool


@dataclass(frozen=True, slots=True)
class Kept:
    """What of an order's spend is left after one refund and all before it, and what those came to.

    `seen` are the keys of those refunds, None for a cancellation.
    """

    refund_key: int
    at: datetime
    left_minor: int
    is_imported: bool
    refunded_minor: int = 0
    allotted_minor: int = 0
    seen: tuple[int | None, ...] = ()


Allotments = Mapping[int, Mapping[int, int]]
"""Refund key → order key → amount."""


def allot_unlinked(
    purchases: Sequence[Purchase],
    back: Sequence[GiveBack],
    *,
    lines: Mapping[int, Sequence[tuple[int, int | None]]],
    item_keys: Mapping[int, frozenset[int]],
    fixed: Allotments,
) -> dict[int, dict[int, int]]:
    """Allot one member's imported unlinked refunds, each to what was bought and not given back by its time.

    `lines` are the refunds' (item key, amount), `item_keys` those of each order that any refund names;
    `fixed` are the allotments of refunds that came by the API, which stay as they are.
    """
    events: list[tuple[datetime, int, str, Purchase | GiveBack]] = [
        (one.placed_at, 0, one.order_id, one) for one in purchases
    ]
    events += [(one.at, 1, one.source_id, one) for one in back]
    events.sort(key=lambda event: event[:3])
    opened: list[Purchase] = []
    refunded: dict[int, int] = {}
    gone: dict[int, int] = {}
    allotted: dict[int, dict[int, int]] = {}
    for _, _, _, event in events:
        if isinstance(event, Purchase):
            opened.append(event)
        elif event.order_key is not None:
            refunded[event.order_key] = refunded.get(event.order_key, 0) + event.amount_minor
        elif event.refund_key is not None:
            parts = dict(fixed.get(event.refund_key, {}))
            if event.is_imported:
                parts = allot(
                    event.amount_minor,
                    lines=lines.get(event.refund_key, ()),
                    orders=list(_list_open(opened, refunded, gone, item_keys)),
                )
                allotted[event.refund_key] = parts
            for order_key, amount in parts.items():
                gone[order_key] = gone.get(order_key, 0) + amount
    return allotted


def _list_open(
    opened: Sequence[Purchase],
    refunded: Mapping[int, int],
    gone: Mapping[int, int],
    item_keys: Mapping[int, frozenset[int]],
) -> Iterator[OpenOrder]:
    nothing: frozenset[int] = frozenset()
    for one in reversed(opened[-ALLOTMENT_REACH:]):
        left = left_after(
            one.goods_minor, refunded_minor=refunded.get(one.order_key, 0), goods_minor=one.order_goods_minor
        )
        left -= gone.get(one.order_key, 0)
        if left > 0:
            yield OpenOrder(one.order_key, left, item_keys.get(one.order_key, nothing))


def keep_track(
    purchase: Purchase, linked: Iterable[GiveBack], allotted: Iterable[tuple[GiveBack, int]]
) -> list[Kept]:
    """Return what is left of an order's spend after each of its refunds, in order of time.

    `allotted` are the unlinked refunds with what each takes from this order (programme minor units).
    """
    steps = [(one, one.amount_minor, 0) for one in linked]
    steps += [(one, 0, amount) for one, amount in allotted]
    steps.sort(key=lambda step: (step[0].at, step[0].source_id))
    refunded = gone = 0
    kept = []
    seen: tuple[int | None, ...] = ()
    for one, amount, part in steps:
        seen = (*seen, one.refund_key)
        refunded += amount
        gone += part
        if one.refund_key is not None:
            left = left_of(purchase, refunded_minor=refunded, allotted_minor=gone)
            kept.append(Kept(one.refund_key, one.at, left, one.is_imported, refunded, gone, seen))
    return kept


def left_of(purchase: Purchase, *, refunded_minor: int, allotted_minor: int) -> int:
    """Return what is left of an order's spend: the same figure that a live refund takes points back by."""
    spend = purchase.spend_minor
    left = left_after(spend, refunded_minor=refunded_minor, goods_minor=purchase.order_goods_minor)
    if allotted_minor == 0 or purchase.goods_minor == 0:
        return left
    taken = spend - left_after(spend, refunded_minor=allotted_minor, goods_minor=purchase.goods_minor)
    return max(0, left - taken)


def convert_refunds(purchase: Purchase, linked: Iterable[GiveBack]) -> dict[int, int]:
    """Return refund key → amount in the programme's currency, where it is recorded otherwise.

    In order of time each refund gets what the order loses by it, so that rounding never depends on which
    refund came first.
    """
    refunded, wrong = 0, {}
    for one in sorted(linked, key=lambda one: (one.at, one.source_id)):
        before, refunded = refunded, refunded + one.amount_minor
        amount = left_after(
            purchase.goods_minor, refunded_minor=before, goods_minor=purchase.order_goods_minor
        ) - left_after(purchase.goods_minor, refunded_minor=refunded, goods_minor=purchase.order_goods_minor)
        if one.refund_key is not None and amount != one.converted_minor:
            wrong[one.refund_key] = amount
    return wrong
