"""From a loaded body to a fact: amounts to minor units, in the order's currency and the programme's."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from service.activity.rules import NewLine, NewOrder, NewRefund, NewRefundLine
from service.kit.errors import CurrencyMismatch, FieldError, Invalid
from service.kit.money import exponent_of, to_minor


def read_order(body: Mapping[str, Any], *, currency: str) -> NewOrder:
    """Return the order of a body loaded by `OrderBody`; `currency` is the programme's.

    Raises:
        Invalid: an amount has more decimals than its currency (with a pointer to it).
        CurrencyMismatch: another currency without an exchange rate, or a rate where none is needed.
    """
    its = body["currency"]
    rate = body.get("exchange_rate")
    if its != currency and rate is None:
        raise CurrencyMismatch(
            f"the programme counts in {currency}; an order in {its} needs its exchange_rate",
            errors=[FieldError("missing", pointer="/exchange_rate")],
        )
    if its == currency and rate is not None and rate != 1:
        raise CurrencyMismatch(
            f"an order in {currency} has no exchange rate",
            errors=[FieldError("not needed", pointer="/exchange_rate")],
        )
    wrong: list[FieldError] = []
    lines = tuple(
        NewLine(
            sku=line["sku"],
            quantity=line["quantity"],
            amount_minor=_minor(line["amount"], its, f"/lines/{index}/amount", wrong),
            category=line.get("category"),
        )
        for index, line in enumerate(body["lines"])
    )
    amounts = {
        name: _minor(body.get(name), its, f"/{name}", wrong) for name in ("shipping", "tax", "discount")
    }
    _refuse(wrong)
    return NewOrder(
        order_id=body["order_id"],
        placed_at=body["placed_at"],
        currency=its,
        lines=lines,
        exchange_rate=None if its == currency else rate,
        rate=None if its == currency else _minor_rate(rate, its, currency),
        store_id=body.get("store_id"),
        channel=body.get("channel"),
        checkout_started_at=body.get("checkout_started_at"),
        recommendation_ids=tuple(body.get("recommendation_ids") or ()),
        attribution_token=body.get("attribution_token"),
        points_hold_id=body.get("points_hold_id"),
        voucher_codes=_read_codes(body),
        shipping_minor=amounts["shipping"],
        tax_minor=amounts["tax"],
        discount_minor=amounts["discount"],
    )


def _read_codes(body: Mapping[str, Any]) -> tuple[str, ...]:
    """Return every voucher that an order names, each once."""
    single = body.get("voucher_code")
    return tuple(dict.fromkeys([*([] if single is None else [single]), *(body.get("voucher_codes") or ())]))


def read_refund(body: Mapping[str, Any], *, order_currency: str) -> NewRefund:
    """Return the refund of a body loaded by `RefundBody`.

    `order_currency` is its order's currency, or the programme's for an unlinked refund.

    Raises:
        Invalid: an amount has more decimals than its currency (with a pointer to it).
    """
    its = body.get("currency") or order_currency
    wrong: list[FieldError] = []
    lines = tuple(
        NewRefundLine(
            sku=line["sku"],
            quantity=line["quantity"],
            amount_minor=None
            if line.get("amount") is None
            else _minor(line["amount"], its, f"/lines/{index}/amount", wrong),
        )
        for index, line in enumerate(body.get("lines") or ())
    )
    amount_minor = _minor(body["amount"], its, "/amount", wrong)
    _refuse(wrong)
    return NewRefund(
        refund_id=body["refund_id"],
        order_id=body.get("order_id"),
        refunded_at=body["refunded_at"],
        requested_at=body.get("requested_at"),
        kind=body.get("kind") or "return",
        reason=body.get("reason"),
        amount_minor=amount_minor,
        currency=its,
        lines=lines,
        store_id=body.get("store_id"),
    )


def _minor_rate(rate: Decimal | None, its: str, currency: str) -> Decimal:
    # Between minor units: a yen has no decimals where a dollar has two.
    return Decimal(rate or 0).scaleb(exponent_of(currency) - exponent_of(its))


def _minor(amount: Decimal | None, currency: str, pointer: str, wrong: list[FieldError]) -> int:
    if amount is None:
        return 0
    try:
        return to_minor(amount, currency=currency)
    except ValueError as error:
        wrong.append(FieldError(str(error), pointer=pointer))
        return 0


def _refuse(wrong: list[FieldError]) -> None:
    if wrong:
        raise Invalid("some amounts are not acceptable", errors=wrong)
