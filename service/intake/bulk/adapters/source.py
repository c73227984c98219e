"""The shape in which every adapter hands its file over."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from service.kit.errors import Invalid


class SourceUnreadable(Invalid):
    """The file is not one that this adapter can read."""

    code = "source-unreadable"


class OrderRow(NamedTuple):
    """One line of an order; lines with the same `order_id` are one order and share one batch."""

    line_no: int
    order_id: str
    member_id: str
    placed_at: datetime
    sku: str
    quantity: int
    amount_minor: int
    currency: str


class RefundRow(NamedTuple):
    """One line of a refund that names no order; lines with the same `refund_id` are one refund."""

    line_no: int
    refund_id: str
    member_id: str
    refunded_at: datetime
    sku: str
    quantity: int
    amount_minor: int
    currency: str


class ItemRow(NamedTuple):
    """One product; `price_minor` is None where the file names no price above zero."""

    sku: str
    name: str
    price_minor: int | None


class MemberRow(NamedTuple):
    """One customer, joined with the first thing known of them."""

    member_id: str
    joined_at: datetime


class Reject(NamedTuple):
    """One line that is not taken, and why."""

    line_no: int
    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class AdapterResult:
    """Hold one file as the import stages it.

    `orders` yields lists of rows, whole orders together, and can be walked once; the rest are lists.
    Quantities are above zero, amounts are minor units of `currency` and never negative, times carry their
    offset. `line_no` counts the rows of the file from 1. `lines` is how many rows the file has: each is in
    `orders`, `refunds` or `rejects`, once. `not_goods` are the skus among `items` that are charges, not
    things to recommend.
    """

    lines: int
    currency: str
    timezone: str
    orders: Iterator[list[OrderRow]]
    refunds: list[RefundRow]
    items: list[ItemRow]
    members: list[MemberRow]
    rejects: list[Reject]
    not_goods: frozenset[str]
