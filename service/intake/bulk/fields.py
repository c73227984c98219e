"""Load the records of a file: by the API's own schemas, and ordinary orders by a short cut.

A schema takes most of the time of an import. The short cut loads only what it is sure of and leaves
everything else to the schema, so that what is taken, and what is said of what is not, stays the schema's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final

from marshmallow import ValidationError

from service.activity.schemas import EventBody
from service.catalogue.schemas import ItemBody
from service.intake.schemas import MAX_LINES, MemberBody, OrderBody, RefundBody
from service.kit.clock import parse_time
from service.kit.fields import MerchantId, is_storable, is_visible, read_decimal
from service.kit.money import EXPONENTS

_ITEM, _MEMBER, _ORDER, _REFUND, _EVENT = ItemBody(), MemberBody(), OrderBody(), RefundBody(), EventBody()
_ID: Final = MerchantId(required=True)
_ORDER_NEEDS: Final = frozenset({"order_id", "member_id", "placed_at", "currency", "lines"})
_ORDER_MAY: Final = _ORDER_NEEDS | {"shipping", "tax", "discount", "store_id", "channel"}
_LINE_NEEDS: Final = frozenset({"sku", "quantity", "amount"})
_LINE_MAY: Final = _LINE_NEEDS | {"category"}
_MOST_PIECES: Final = 10_000_000


def load_order(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body of an order.

    Raises:
        ValidationError: as `OrderBody` says it.
    """
    body = load_plain_order(raw)
    if body is None:
        body = _ORDER.load(raw)
    return body


def load_refund(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body of a refund."""
    body: dict[str, Any] = _REFUND.load(raw)
    return body


def load_event(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body of an event."""
    body: dict[str, Any] = _EVENT.load(raw)
    return body


def load_member(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body of a member, its id in `member_id`."""
    return _load_named(_MEMBER, raw, "member_id")


def load_item(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body of an item, its id in `sku`."""
    return _load_named(_ITEM, raw, "sku")


def _load_named(schema: MemberBody | ItemBody, raw: Mapping[str, Any], name: str) -> dict[str, Any]:
    rest = dict(raw)
    wrong: dict[str, Any] = {}
    body: dict[str, Any] = {}
    try:
        identity = _ID.deserialize(rest.pop(name)) if name in rest else _ID.deserialize(None)
    except ValidationError as error:
        wrong[name] = error.messages
    try:
        body = schema.load(rest)
    except ValidationError as error:
        wrong |= error.messages if isinstance(error.messages, dict) else {"_schema": error.messages}
    if wrong:
        raise ValidationError(wrong)
    return {name: identity, **body}


LOADERS: Final[Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]]] = {
    "items": load_item,
    "members": load_member,
    "orders": load_order,
    "refunds": load_refund,
    "events": load_event,
}


def load_plain_order(raw: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what `OrderBody` would make of an order without rarer fields, or None to have it asked."""
    keys = raw.keys()
    if not (keys >= _ORDER_NEEDS and keys <= _ORDER_MAY):
        return None
    body = dict(raw)
    try:
        lines, words = raw["lines"], (raw["order_id"], raw["member_id"])
        if type(lines) is not list or not 0 < len(lines) <= MAX_LINES or not all(map(_is_id, words)):
            return None
        if raw["currency"] not in EXPONENTS:
            return None
        body["placed_at"] = parse_time(raw["placed_at"])
        for name in ("shipping", "tax", "discount"):
            if raw.get(name) is not None:
                body[name] = _amount(raw[name])
        body["lines"] = [_plain_line(line) for line in lines]
    except (ValueError, TypeError, ValidationError):
        return None
    store_id, channel = raw.get("store_id"), raw.get("channel")
    if (store_id is not None and not _is_id(store_id)) or (channel is not None and not _is_word(channel)):
        return None
    return body


def _plain_line(line: Any) -> dict[str, Any]:
    if type(line) is not dict or not (line.keys() >= _LINE_NEEDS and line.keys() <= _LINE_MAY):
        raise TypeError
    quantity, category = line["quantity"], line.get("category")
    if type(quantity) is not int or not 1 <= quantity <= _MOST_PIECES or not _is_id(line["sku"]):
        raise TypeError
    if category is not None and not _is_word(category):
        raise TypeError
    return {**line, "amount": _amount(line["amount"])}


def _amount(value: Any) -> Decimal:
    amount = read_decimal(value)
    if amount < 0:
        raise ValueError
    return amount


def _is_id(value: Any) -> bool:
    return type(value) is str and 0 < len(value) <= 128 and is_visible(value)


def _is_word(value: Any) -> bool:
    return type(value) is str and 0 < len(value) <= 100 and is_storable(value)
