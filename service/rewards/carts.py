"""What stands to be paid at a checkout, as the rule book knows it."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from sqlalchemy import Connection

from service.activity.rules import NewLine, convert, value_order
from service.catalogue import operations as catalogue
from service.kit.errors import FieldError, Invalid
from service.rewards.rules import Cart, CartLine


def read_cart(
    conn: Connection,
    *,
    lines: Sequence[NewLine],
    discount_minor: int = 0,
    tax_minor: int = 0,
    shipping_minor: int = 0,
    points_paid_minor: int = 0,
    rate: Decimal | None = None,
) -> Cart:
    """Return a cart in the programme's currency, the discount spread over its lines as of an order.

    Amounts are minor units of the order's currency, which `rate` converts. A line is of the category that it
    names and of those that the catalogue knows its sku by.

    Raises:
        Invalid: the amounts do not fit together.
    """
    try:
        amounts = value_order(
            [line.amount_minor for line in lines],
            discount_minor=discount_minor,
            tax_minor=tax_minor,
            paid_otherwise_minor=0,
            rate=rate,
        )
    except ValueError as error:
        place = FieldError(str(error), pointer="/discount")
        raise Invalid("the order's amounts do not fit together", errors=[place]) from error
    known = catalogue.find_categories(conn, skus=(line.sku for line in lines))
    return Cart(
        lines=tuple(
            CartLine(
                line.sku,
                known.get(line.sku, frozenset()) | ({line.category} if line.category else set()),
                valued.amount_minor,
            )
            for line, valued in zip(lines, amounts.lines, strict=True)
        ),
        tax_minor=convert(tax_minor, rate=rate),
        shipping_minor=convert(shipping_minor, rate=rate),
        points_paid_minor=convert(points_paid_minor, rate=rate),
    )
