"""A believable small shop in Taiwan, made from a seed, to try the service on.

The shop sells tea, snacks, things for the home and for pets. Its customers are of different kinds (regulars,
growing, lapsing, one-timers, festival shoppers, bargain hunters, heavy spenders), so that tiers move, points
expire and recommendations have something to find. Nothing here reads a clock or a database: the same seed
and day give the same bytes, and the shop comes in through the ordinary import.
"""

import json
import os
import random
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Final

from service.intake.demo.baskets import Line, Shelf, is_in_season
from service.intake.demo.calendar import Occasion, list_occasions
from service.intake.demo.catalogue import DISCONTINUED, PRODUCTS
from service.intake.demo.people import (
    TAIPEI,
    Record,
    Shopper,
    describe_member,
    draw_shopper,
    list_visits,
)

CURRENCY: Final = "TWD"
TIMEZONE: Final = "Asia/Taipei"
STORES: Final = ("taipei-yongkang", "tainan-shennong")

_FREE_SHIPPING_FROM: Final = 1200
_SHIPPING: Final = 80
_DAY_MINUTES: Final = 24 * 60
# Orders by hour, from midnight: a lunch-time hump and the long evening on the sofa.
_ONLINE_HOURS: Final = (3, 2, 1, 1, 1, 1, 2, 4, 7, 9, 10, 11, 14, 12, 9, 8, 8, 9, 10, 13, 18, 21, 17, 8)
_STORE_HOURS: Final = (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 6, 9, 8, 9, 10, 9, 9, 10, 10, 6, 0, 0, 0)
_RETURN_REASONS: Final = ("changed_mind", "changed_mind", "damaged", "not_as_described", "wrong_item", "late")


@dataclass(frozen=True, slots=True)
class DemoShop:
    """Hold a whole shop: records in the shape of the API's bodies, each list in a fixed order.

    Items come by sku, members by id, orders by `placed_at`, refunds by `refunded_at`. Money is text in whole
    Taiwan dollars. `stores` are the ids that orders made in a shop carry.
    """

    members: list[Record]
    items: list[Record]
    orders: list[Record]
    refunds: list[Record]
    stores: tuple[str, ...] = STORES
    currency: str = CURRENCY
    timezone: str = TIMEZONE


@dataclass(slots=True)
class _Purchase:
    """One order before it has its number."""

    shopper: Shopper
    placed_at: datetime
    lines: list[Line]
    discount: int
    channel: str
    store_id: str | None
    order_id: str = ""

    @property
    def goods(self) -> int:
        return sum(line.amount for line in self.lines) - self.discount


def generate(*, today: date, seed: int, members: int = 600, months: int = 24) -> DemoShop:
    """Generate the demo shop as it stands at the start of `today`, local time; nothing is dated later.

    `members` join over the `months` before `today`. Raises ValueError where either is below one.
    """
    if members < 1 or months < 1:
        raise ValueError("A demo shop needs at least one member and one month.")
    first = _months_before(today, months)
    occasions = list_occasions(first, today)
    by_day = _lay_out_by_day(occasions)
    people: list[Record] = []
    purchases: list[_Purchase] = []
    for number in range(1, members + 1):
        # A stream for each member: more members leave the first ones as they were.
        stream = random.Random(seed * 1_000_003 + number)
        shopper = draw_shopper(stream, number=number, first=first, today=today)
        people.append(describe_member(stream, shopper=shopper, number=number))
        visits = list_visits(stream, shopper=shopper, today=today, occasions=occasions)
        purchases.extend(_shop(stream, shopper, visits, by_day))
    purchases.sort(key=lambda purchase: (purchase.placed_at, purchase.shopper.member_id))
    for number, purchase in enumerate(purchases, start=1):
        purchase.order_id = f"T{number:06d}"
    return DemoShop(
        members=people,
        items=_list_items(by_day.get(today)),
        orders=[_write_order(purchase) for purchase in purchases],
        refunds=_list_refunds(random.Random(seed * 1_000_003), purchases, today),
    )


def write_files(shop: DemoShop, folder: Path) -> dict[str, Path]:
    """Write members, items, orders and refunds as NDJSON into `folder`; return the path of each kind.

    Each file appears whole or not at all.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kinds = {"items": shop.items, "members": shop.members, "orders": shop.orders, "refunds": shop.refunds}
    return {kind: _write_whole(folder / f"{kind}.ndjson", records) for kind, records in kinds.items()}


def _write_whole(path: Path, records: Iterable[Record]) -> Path:
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as out:
            for record in records:
                out.write(json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n")
            out.flush()
            os.fsync(out.fileno())
        os.chmod(draft, 0o644)  # a private temporary file would stay unreadable to the server's own user
        os.replace(draft, path)
    except BaseException:
        os.unlink(draft)
        raise
    return path


def _months_before(day: date, months: int) -> date:
    index = day.year * 12 + day.month - 1 - months
    return date(index // 12, index % 12 + 1, min(day.day, 28))


def _lay_out_by_day(occasions: Sequence[Occasion]) -> dict[date, Occasion]:
    return {
        occasion.first + timedelta(days=offset): occasion
        for occasion in occasions
        for offset in range((occasion.last - occasion.first).days + 1)
    }


def _list_items(occasion: Occasion | None) -> list[Record]:
    return [
        {
            "sku": product.sku,
            "name": {"en": product.en, "zh-Hant": product.zh},
            "category": [product.category, product.kind],
            "price": str(product.price),
            "currency": CURRENCY,
            "available": product.sku not in DISCONTINUED and is_in_season(product, occasion=occasion),
            "attributes": {"lasts_days": product.lasts_days} if product.lasts_days else {},
        }
        for product in sorted(PRODUCTS, key=lambda product: product.sku)
    ]


def _shop(
    stream: random.Random, shopper: Shopper, visits: Sequence[date], occasions: dict[date, Occasion]
) -> list[_Purchase]:
    shelf = Shelf(shopper)
    purchases = []
    for day in visits:
        channel = shopper.channel if stream.random() < 0.85 else stream.choice(("web", "app"))
        minute = _draw_minute(stream, _STORE_HOURS if channel == "store" else _ONLINE_HOURS)
        if day == shopper.joined_at.date():  # nobody buys before enrolling
            enrolled = shopper.joined_at.hour * 60 + shopper.joined_at.minute
            minute = enrolled + 1 + stream.randint(0, 40)
        minutes = [minute]
        if stream.random() < 0.025:  # something was forgotten: a second order on the same day
            minutes.append(minute + stream.randint(5, 90))
        for at in minutes:
            if at < _DAY_MINUTES:
                lines = shelf.fill_basket(stream, day=day, occasion=occasions.get(day))
                placed_at = datetime.combine(day, time(at // 60, at % 60, stream.randint(0, 59)), TAIPEI)
                discount = _draw_discount(stream, lines, occasions.get(day))
                store_id = STORES[sum(shopper.member_id.encode()) % 2] if channel == "store" else None
                purchases.append(_Purchase(shopper, placed_at, lines, discount, channel, store_id))
    return purchases


def _draw_minute(stream: random.Random, hours: Sequence[int]) -> int:
    return stream.choices(range(24), weights=hours)[0] * 60 + stream.randint(0, 59)


def _draw_discount(stream: random.Random, lines: Sequence[Line], occasion: Occasion | None) -> int:
    """Take 150 dollars off each full 1,500 in a sale, and a welcome-back code now and then."""
    goods = sum(line.amount for line in lines)
    if occasion is not None and occasion.kind == "sale":
        return goods // 1500 * 150
    return 100 if goods >= 1000 and stream.random() < 0.06 else 0


def _write_order(purchase: _Purchase) -> Record:
    picked_up = purchase.store_id is not None
    shipping = 0 if picked_up or purchase.goods >= _FREE_SHIPPING_FROM else _SHIPPING
    order: Record = {
        "order_id": purchase.order_id,
        "member_id": purchase.shopper.member_id,
        "placed_at": purchase.placed_at.isoformat(),
        "currency": CURRENCY,
        "lines": [
            {"sku": line.product.sku, "quantity": line.quantity, "amount": str(line.amount)}
            for line in purchase.lines
        ],
        "shipping": str(shipping),
        "channel": purchase.channel,
    }
    if purchase.discount:
        order["discount"] = str(purchase.discount)
    if purchase.store_id is not None:
        order["store_id"] = purchase.store_id
    return order


def _list_refunds(stream: random.Random, purchases: Sequence[_Purchase], today: date) -> list[Record]:
    drafts: list[tuple[datetime, Record]] = []
    for purchase in purchases:
        draw = stream.random()
        share = purchase.shopper.kind.returns * 1.12  # some come too late to be in the files
        if draw < share:
            drafts.append(_draw_return(stream, purchase))
        elif draw > 0.997:
            drafts.append(_draw_goodwill(stream, purchase))
    midnight = datetime.combine(today, time(), TAIPEI)
    known = [(at, refund) for at, refund in drafts if at < midnight]
    known.sort(key=lambda draft: draft[0])
    return [{"refund_id": f"R{number:05d}", **refund} for number, (_, refund) in enumerate(known, start=1)]


def _draw_return(stream: random.Random, purchase: _Purchase) -> tuple[datetime, Record]:
    """Send back a whole order or one line of it; a share of an order's discount stays with its line."""
    requested_at = purchase.placed_at + timedelta(minutes=stream.randint(1, 9 * _DAY_MINUTES))
    refunded_at = requested_at + timedelta(minutes=stream.randint(60, 5 * _DAY_MINUTES))
    line = stream.choice(purchase.lines)
    quantity = stream.randint(1, line.quantity)
    whole = len(purchase.lines) == 1 or stream.random() < 0.4
    gross = purchase.goods + purchase.discount
    amount = purchase.goods if whole else line.amount * quantity // line.quantity * purchase.goods // gross
    refund: Record = {
        "order_id": purchase.order_id,
        "member_id": purchase.shopper.member_id,
        "requested_at": requested_at.isoformat(),
        "refunded_at": refunded_at.isoformat(),
        "kind": "return",
        "reason": stream.choice(_RETURN_REASONS),
        "amount": str(amount),
    }
    if not whole:
        refund["lines"] = [{"sku": line.product.sku, "quantity": quantity, "amount": str(amount)}]
    elif not purchase.discount:
        refund["lines"] = [
            {"sku": back.product.sku, "quantity": back.quantity, "amount": str(back.amount)}
            for back in purchase.lines
        ]
    return refunded_at, refund


def _draw_goodwill(stream: random.Random, purchase: _Purchase) -> tuple[datetime, Record]:
    """Give something back that names no order, weeks after it: the kind a till writes by hand."""
    refunded_at = purchase.placed_at + timedelta(minutes=stream.randint(3 * _DAY_MINUTES, 25 * _DAY_MINUTES))
    return refunded_at, {
        "member_id": purchase.shopper.member_id,
        "refunded_at": refunded_at.isoformat(),
        "kind": "goodwill",
        "reason": "apology",
        "amount": str(min(300, max(50, purchase.goods // 10))),
    }
