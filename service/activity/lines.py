"""Orders line by line: what they were worth, and what was given back of which line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction

from sqlalchemy import Connection

from service.activity import remainders_store as store
from service.activity.remainders import GivenBack, OrderedLine, left_of_lines


@dataclass(slots=True)
class OrderInLines:
    """An order with its lines in their order, and by refund (None: the cancellation) what was given back."""

    order_key: int
    currency: str
    exchange_rate: Decimal | None
    goods_minor: int
    tax_minor: int
    shipping_minor: int
    points_paid_minor: int
    voucher_paid_minor: int
    lines: list[OrderedLine] = field(default_factory=list)
    skus: list[str] = field(default_factory=list)
    categories: list[str | None] = field(default_factory=list)
    back: dict[int | None, GivenBack] = field(default_factory=dict)

    def left(self, refund_keys: Sequence[int | None] | None = None) -> list[Fraction]:
        """Return what part of each line is left after some of what was given back (None: all of it)."""
        keys = self.back if refund_keys is None else refund_keys
        return left_of_lines(self.lines, [self.back[key] for key in keys if key in self.back])


def read_in_lines(conn: Connection, *, order_keys: Sequence[int]) -> Mapping[int, OrderInLines]:
    """Return orders line by line with all that was given back of them; amounts in each order's currency."""
    found: dict[int, OrderInLines] = {}
    ratios: dict[int, Fraction] = {}
    for row in store.list_heads(conn, order_keys=order_keys):
        found[row.order_key] = OrderInLines(
            order_key=row.order_key,
            currency=row.currency,
            exchange_rate=row.exchange_rate,
            goods_minor=row.order_goods_minor,
            tax_minor=row.order_tax_minor,
            shipping_minor=row.order_shipping_minor,
            points_paid_minor=row.order_points_paid_minor,
            voucher_paid_minor=row.order_voucher_paid_minor,
        )
        # An unlinked refund is in the programme's currency.
        ratios[row.order_key] = (
            Fraction(row.order_goods_minor, row.goods_minor) if row.goods_minor else Fraction(1)
        )
    # A history has millions of lines: fields by place take half as long as by name.
    rows = store.list_lines(conn, order_keys=order_keys)
    for order_key, _, item_key, sku, category, quantity, amount_minor in map(tuple, rows):
        order = found[order_key]
        order.lines.append(OrderedLine(item_key, quantity, amount_minor))
        order.skus.append(sku)
        order.categories.append(category)
    _add_given_back(conn, found, ratios)
    return found


def _add_given_back(
    conn: Connection, found: Mapping[int, OrderInLines], ratios: Mapping[int, Fraction]
) -> None:
    rows = store.list_given_back(conn, order_keys=list(found))
    refund_keys = sorted({row.refund_key for row in rows if row.refund_key is not None})
    named: dict[int, list[tuple[int, int, int | None]]] = {}
    for line in store.list_lines_back(conn, refund_keys=refund_keys) if refund_keys else ():
        named.setdefault(line.refund_key, []).append((line.item_key, line.quantity, line.amount_minor))
    for row in rows:
        ratio = ratios[row.order_key] if row.is_allotted else Fraction(1)
        lines = tuple(
            (item_key, quantity, None if amount is None else amount * ratio)
            for item_key, quantity, amount in named.get(row.refund_key, ())
        )
        found[row.order_key].back[row.refund_key] = GivenBack(
            row.amount * ratio, lines, is_cancellation=row.refund_key is None
        )
