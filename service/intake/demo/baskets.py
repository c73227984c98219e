"""What goes into one basket of the demo shop: staples that ran out, tastes, the season, companions."""

import random
from dataclasses import dataclass
from datetime import date
from typing import Final

from service.intake.demo.calendar import Occasion, soft_season
from service.intake.demo.catalogue import COMPANIONS, PRODUCTS, Product
from service.intake.demo.people import Shopper

_BY_SKU: Final = {product.sku: product for product in PRODUCTS}
_MIDDLE_PRICE: Final = 400
_LARGEST_BASKET: Final = 8
_MOST_OF_ONE: Final = 6
_FESTIVE: Final = frozenset({"mid_autumn", "lunar_new_year", "mothers_day"})
# Given away, so bought again although they are no consumables.
_GIFTS: Final = frozenset({"mooncake", "pomelo", "new-year", "mothers-day", "all-year"})


@dataclass(frozen=True, slots=True)
class Line:
    """Hold one line of a basket; `amount` in whole dollars after the line's own discount."""

    product: Product
    quantity: int
    amount: int


def is_in_season(product: Product, *, occasion: Occasion | None) -> bool:
    """Tell whether a product is sold now: festive ones only while their festival is near."""
    return product.season not in _FESTIVE or (occasion is not None and occasion.name == product.season)


class Shelf:
    """Remember what one shopper bought when, and fill the next basket from it."""

    def __init__(self, shopper: Shopper) -> None:
        self._shopper = shopper
        self._bought_on: dict[str, date] = {}
        self._liking = {product.sku: _liking(shopper, product) for product in PRODUCTS}

    def fill_basket(self, stream: random.Random, *, day: date, occasion: Occasion | None) -> list[Line]:
        """Fill one basket of at least one line, and remember it."""
        weights = {product.sku: self._weigh(product, day, occasion) for product in PRODUCTS}
        chosen = [sku for sku in self._list_running_out(day) if stream.random() < 0.55][:4]
        wanted = max(len(chosen), self._count_lines(stream))
        for sku in stream.choices(list(weights), weights=list(weights.values()), k=wanted - len(chosen)):
            chosen.append(sku)
            companion = COMPANIONS.get(sku)
            if companion and weights[companion] > 0 and stream.random() < 0.35:
                chosen.append(companion)
        basket = [_BY_SKU[sku] for sku in dict.fromkeys(chosen)]
        self._bought_on.update((product.sku, day) for product in basket)
        on_sale = occasion is not None and occasion.kind == "sale"
        return [self._write_line(stream, product, on_sale) for product in basket]

    def _list_running_out(self, day: date) -> list[str]:
        return [
            sku
            for sku, bought_on in self._bought_on.items()
            if _BY_SKU[sku].lasts_days
            and 0.75 * _BY_SKU[sku].lasts_days <= (day - bought_on).days <= 3 * _BY_SKU[sku].lasts_days
        ]

    def _count_lines(self, stream: random.Random) -> int:
        more = stream.expovariate(1 / self._shopper.kind.lines) + 0.3
        return min(1 + int(more), _LARGEST_BASKET)

    def _weigh(self, product: Product, day: date, occasion: Occasion | None) -> float:
        owned = not product.lasts_days and product.kind not in _GIFTS and product.sku in self._bought_on
        if owned or not is_in_season(product, occasion=occasion):
            return 0.0
        if product.season in _FESTIVE:
            return 6.0 * self._liking[product.sku]
        if product.season and product.season == soft_season(day):
            return 2.2 * self._liking[product.sku]
        return self._liking[product.sku]

    def _write_line(self, stream: random.Random, product: Product, on_sale: bool) -> Line:
        gift = product.kind in _GIFTS
        chance = (self._shopper.kind.quantity - 1) * (1.6 if gift else 1.0)
        quantity = 1
        while (gift or product.lasts_days) and quantity < _MOST_OF_ONE and stream.random() < chance:
            quantity += 1
            chance *= 0.75
        amount = product.price * quantity
        if on_sale and stream.random() < 0.6:
            amount = amount * stream.choice((80, 85, 90)) // 100
        return Line(product, quantity, amount)


def _liking(shopper: Shopper, product: Product) -> float:
    taste = sum(shopper.tastes[theme] for theme in product.themes.split())
    dearness = (product.price / _MIDDLE_PRICE) ** shopper.kind.taste_for
    return float(taste * product.appeal * dearness / len(product.themes.split()) ** 0.7)
