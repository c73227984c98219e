"""Turn what an adapter hands over into the records that the import loads."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from service.activity.rules import NewLine, NewOrder
from service.intake.bulk.adapters.source import AdapterResult, OrderRow, Reject, SourceUnreadable
from service.intake.bulk.files import Record
from service.intake.bulk.loading import Incoming, Tally, value_incoming
from service.intake.errors import SourceMismatch
from service.kit.errors import Problem
from service.kit.money import exponent_of
from service.programme.operations import Programme

# Loaded by name when one is asked for: they need libraries that web workers do without.
ADAPTERS: Final = {"uci-online-retail": "service.intake.bulk.adapters.uci_online_retail"}


@dataclass(frozen=True, slots=True)
class AdapterParts:
    """One file as records; `orders` is walked once, in batches of whole orders."""

    lines: int
    items: Sequence[Record]
    members: Sequence[Record]
    refunds: Sequence[Record]
    rejects: Sequence[Reject]
    orders: Iterator[list[OrderRow]]

    def value_orders(self, rows: Sequence[OrderRow], *, now: datetime) -> tuple[list[Incoming], Tally]:
        """Return the orders of a batch, valued, and those that cannot be taken."""
        incoming, refused = [], Tally()
        for order_id, group in groupby(rows, key=lambda row: row.order_id):
            lines = list(group)
            first = lines[0]
            order = NewOrder(
                order_id=order_id,
                placed_at=first.placed_at,
                currency=first.currency,
                lines=tuple(NewLine(row.sku, row.quantity, row.amount_minor, None) for row in lines),
            )
            line_nos = [row.line_no for row in lines]
            try:
                incoming.append(value_incoming(order, member_id=first.member_id, line_nos=line_nos, now=now))
            except Problem as problem:
                refused.refuse_problem(line_nos, problem)
        return incoming, refused


def open_adapter(kind: str, path: Path, *, programme: Programme) -> AdapterParts:
    """Read a file through its adapter.

    Raises:
        SourceUnreadable: it cannot, or a library it needs is not installed.
        SourceMismatch: the file is in another currency or zone than the programme.
    """
    try:
        adapter: Any = importlib.import_module(ADAPTERS[kind])
    except ModuleNotFoundError as error:
        raise SourceUnreadable(f"{kind} needs {error.name}: pip install 'tidemark[files]'") from error
    result: AdapterResult = adapter.read(path)
    if (result.currency, result.timezone) != (programme.currency, programme.timezone):
        raise SourceMismatch(
            f"{path.name} is in {result.currency} and {result.timezone}, the programme in "
            f"{programme.currency} and {programme.timezone}; start a database of its own for it "
            "(TIDEMARK_VAR or DATABASE_URL, with TIDEMARK_CURRENCY and TIDEMARK_TIMEZONE)"
        )
    exponent = exponent_of(result.currency)
    return AdapterParts(
        lines=result.lines,
        items=_items(result, exponent),
        members=[
            Record((0,), {"member_id": row.member_id, "joined_at": row.joined_at}) for row in result.members
        ],
        refunds=_refunds(result, exponent),
        rejects=result.rejects,
        orders=result.orders,
    )


def _items(result: AdapterResult, exponent: int) -> list[Record]:
    return [
        Record(
            (0,),
            {
                "sku": row.sku,
                "name": {"en": row.name},
                "price": None if row.price_minor is None else Decimal(row.price_minor).scaleb(-exponent),
                "available": row.sku not in result.not_goods,
            },
        )
        for row in result.items
    ]


def _refunds(result: AdapterResult, exponent: int) -> list[Record]:
    records = []
    for refund_id, group in groupby(result.refunds, key=lambda row: row.refund_id):
        rows = list(group)
        lines = [
            {"sku": row.sku, "quantity": row.quantity, "amount": Decimal(row.amount_minor).scaleb(-exponent)}
            for row in rows
        ]
        body = {
            "refund_id": refund_id,
            "member_id": rows[0].member_id,
            "refunded_at": rows[0].refunded_at,
            "amount": Decimal(sum(row.amount_minor for row in rows)).scaleb(-exponent),
            "lines": lines,
        }
        records.append(Record(tuple(row.line_no for row in rows), body))
    return records
