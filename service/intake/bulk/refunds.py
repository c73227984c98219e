"""Bring one chunk of refunds in: linked ones against what is left of their orders, the others as they are.

A refund whose order has not come is parked, and taken in by the import that brings the order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row

from service.activity.errors import OrderConflict, RefundAboveLeft, RefundBeforeOrder, RefundOfOtherMember
from service.activity.operations import refuse_future
from service.activity.rules import (
    NewRefund,
    OrderValue,
    RefundStep,
    TierFact,
    refund_content_hash,
    refund_fact,
)
from service.intake.bulk import store
from service.intake.bulk.fields import load_refund
from service.intake.bulk.files import Record
from service.intake.bulk.loading import Run, Tally, whom_to_rate
from service.intake.reading import read_refund
from service.kit.clock import local_day
from service.kit.errors import CurrencyMismatch, FieldError, Invalid, Problem
from service.kit.money import show_money
from service.members import operations as members
from service.members.errors import MemberNotEnrolled
from service.members.operations import Owner

_PARKED_AT_ONCE = 2_000


class Taken(NamedTuple):
    """A refund that is taken in; `order` None for an unlinked one, `before_minor` given back before it."""

    line_nos: Sequence[int]
    refund: NewRefund
    member_key: int
    origin_key: int | None
    content_hash: bytes
    order: Row[Any] | None
    before_minor: int


@dataclass(slots=True)
class Surroundings:
    """What the database knows around a chunk of refunds, kept up to date while it is gone through."""

    orders: Mapping[str, Row[Any]]
    owners: Mapping[str, Owner]
    known: dict[str, bytes]
    parked: dict[str, dict[str, Any]]
    refunded: dict[int, int] = field(default_factory=dict)


def load_refunds(conn: Connection, *, records: Sequence[Record], run: Run) -> Tally:
    """Record refunds that are not known yet, and park those whose order has not come."""
    members.keep_owners(conn)
    tally, taken, to_park = Tally(), [], []
    around = _look_around(conn, records)
    for record in records:
        line_nos, body = record
        try:
            refuse_future(body["refunded_at"], now=run.now, pointer="/refunded_at")
            if body.get("order_id") is not None and body["order_id"] not in around.orders:
                row = _to_park(record, around)
                to_park += row
                tally.parked += len(row)
                tally.known += not row
                continue
            one = _judge(record, around, run)
        except Problem as problem:
            tally.refuse_problem(line_nos, problem)
            continue
        if one is None:
            tally.known += 1
        else:
            taken.append(one)
    store.park(conn, refunds=to_park, import_key=run.import_key, now=run.now)
    if taken:
        _write_refunds(conn, taken, around, run, tally)
    return tally


def take_parked(conn: Connection, *, run: Run) -> tuple[int, dict[int, Tally]]:
    """Take in parked refunds whose orders have come; return how many, and what became of them by import."""
    rows = store.list_unparkable(conn, limit=_PARKED_AT_ONCE)
    tallies: dict[int, Tally] = {}
    store.unpark(conn, refund_ids=[row.refund_id for row in rows])
    for import_key in sorted({row.import_key for row in rows}):
        records = [
            Record((row.line_no,), load_refund(row.body)) for row in rows if row.import_key == import_key
        ]
        tallies[import_key] = load_refunds(conn, records=records, run=run)
    return len(rows), tallies


def _look_around(conn: Connection, records: Sequence[Record]) -> Surroundings:
    bodies = [record.body for record in records]
    refund_ids = [body["refund_id"] for body in bodies]
    order_ids = [body["order_id"] for body in bodies if body.get("order_id") is not None]
    member_ids = [body["member_id"] for body in bodies if body.get("member_id") is not None]
    owners = members.find_owners(conn, member_ids=member_ids)
    placed_by = store.find_members_of_orders(conn, order_ids=order_ids)
    # Nobody else gives back of these orders while what is left of them is being counted.
    store.lock_accounts(
        conn, member_keys=[*(owner.member_key for owner in owners.values()), *placed_by.values()]
    )
    return Surroundings(
        orders=store.find_refundable(conn, order_ids=list(placed_by)),
        owners=owners,
        known=store.find_known_refunds(conn, refund_ids=refund_ids),
        parked=store.find_parked(conn, refund_ids=refund_ids),
    )


def _to_park(record: Record, around: Surroundings) -> list[dict[str, Any]]:
    """Return the refund as it is parked, nothing when it is parked already."""
    body = record.body
    refund_id, plain = body["refund_id"], plain_body(body)
    if refund_id in around.known or around.parked.get(refund_id, plain) != plain:
        raise OrderConflict(f"the refund {refund_id} is recorded with other content")
    if refund_id in around.parked:
        return []
    around.parked[refund_id] = plain
    return [
        {"refund_id": refund_id, "order_id": body["order_id"], "body": plain, "line_no": record.line_nos[0]}
    ]


def plain_body(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return a loaded body as JSON that `RefundBody` loads again, the same for the same content."""
    return {name: _plain(value) for name, value in sorted(body.items()) if value is not None}


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, Decimal):
        return format(value.normalize(), "f")
    if isinstance(value, list):
        return [plain_body(inner) for inner in value]
    return value


def _judge(record: Record, around: Surroundings, run: Run) -> Taken | None:
    """Return a refund to be taken in, None when it is known.

    Raises:
        Problem: what the API would refuse it for.
    """
    body = record.body
    order = None if body.get("order_id") is None else around.orders[body["order_id"]]
    member_id = body.get("member_id") or (order.member_id if order is not None else "")
    currency = run.programme.currency if order is None else order.currency
    refund = read_refund(body, order_currency=currency)
    content_hash = refund_content_hash(refund, member_id=member_id)
    known = around.known.get(refund.refund_id)
    if known == content_hash:
        return None
    plain = plain_body(body)
    if known is not None or around.parked.get(refund.refund_id, plain) != plain:
        raise OrderConflict(f"the refund {refund.refund_id} is recorded with other content")
    owner = around.owners.get(member_id)
    if order is not None and member_id == order.member_id:
        owner = Owner(order.member_key, order.origin_key)
    if owner is None:
        raise MemberNotEnrolled(f"no member has the id {member_id}")
    if refund.currency != currency:
        detail = FieldError(f"amounts are in {currency} here", pointer="/currency")
        raise (CurrencyMismatch if order is None else Invalid)("another currency", errors=[detail])
    before = 0 if order is None else _count_refunded(refund, order, owner.member_key, around)
    # A refund goes with its order, whoever it was sent for.
    origin_key = owner.origin_key if order is None else order.origin_key
    around.known[refund.refund_id] = content_hash
    return Taken(record.line_nos, refund, owner.member_key, origin_key, content_hash, order, before)


def _count_refunded(refund: NewRefund, order: Row[Any], member_key: int, around: Surroundings) -> int:
    """Return what was refunded of the order before, and add this refund to it."""
    if order.member_key != member_key:
        raise RefundOfOtherMember(errors=[FieldError("did not place the order", pointer="/member_id")])
    if refund.refunded_at < order.placed_at:
        raise RefundBeforeOrder(errors=[FieldError("before the order was placed", pointer="/refunded_at")])
    before: int = around.refunded.get(order.order_key, order.refunded_minor)
    left = order.order_goods_minor - before - order.cancelled_minor
    if refund.amount_minor > left:
        raise RefundAboveLeft(
            f"{show_money(left, currency=order.currency, locale='en')} is left of the order",
            errors=[FieldError("larger than what is left", pointer="/amount")],
        )
    around.refunded[order.order_key] = before + refund.amount_minor
    return before


def _write_refunds(
    conn: Connection, taken: Sequence[Taken], around: Surroundings, run: Run, tally: Tally
) -> None:
    staged = (
        (
            position, one.refund.refund_id, one.member_key,
            None if one.order is None else one.order.order_key, one.refund.refunded_at,
            one.refund.amount_minor, one.content_hash,
        )
        for position, one in enumerate(taken)
    )  # fmt: skip
    keys = store.claim_refunds(conn, rows=staged)
    new = [one for one in taken if one.refund.refund_id in keys]
    for one in taken:
        if one.refund.refund_id not in keys:
            # Somebody recorded this id a moment ago, for another member: the one lock that does not cover it.
            detail = f"the refund {one.refund.refund_id} is recorded with other content"
            tally.refuse(one.line_nos, "order-conflict", detail)
    store.unpark(conn, refund_ids=[name for name in keys if name in around.parked])
    run.remember_stores(conn, (one.refund.store_id for one in new))
    run.remember_items(conn, (line.sku for one in new for line in one.refund.lines))
    _write_facts(conn, new, keys, run)
    owners = (Owner(one.member_key, one.origin_key) for one in new)
    store.mark_members(conn, member_keys=whom_to_rate(owners), import_key=run.import_key)
    tally.new += len(new)


_REFUND_COLUMNS = (
    "refund_key", "refunded_at", "requested_at", "received_at", "member_key", "order_key", "store_key", "day",
    "kind", "reason", "currency", "order_amount_minor", "amount_minor", "import_key", "origin_key",
)  # fmt: skip
_LINE_COLUMNS = ("refund_key", "refunded_at", "line_no", "item_key", "quantity", "amount_minor")


def _write_facts(conn: Connection, new: Sequence[Taken], keys: Mapping[str, int], run: Run) -> None:
    rows, lines = [], []
    added: dict[tuple[int, date], int] = {}
    taken: dict[tuple[int, date], list[int]] = {}
    for one in new:
        refund, order, key = one.refund, one.order, keys[one.refund.refund_id]
        ref = run.store_of(refund.store_id)
        day = local_day(refund.refunded_at, timezone=ref.timezone)
        store_key, amount_minor = ref.store_key, refund.amount_minor
        if order is None:
            added[one.member_key, day] = added.get((one.member_key, day), 0) + amount_minor
        else:
            store_key = ref.store_key if refund.store_id else order.store_key
            fact = _linked_fact(one, key)
            amount_minor = -fact.goods_delta
            total = taken.setdefault((one.member_key, order.day), [0, 0, 0])
            total[0] += fact.goods_delta
            total[1] += fact.spend_delta
            total[2] += fact.orders_delta
        rows.append(
            (
                key, refund.refunded_at, refund.requested_at, run.now, one.member_key,
                None if order is None else order.order_key, store_key, day, refund.kind, refund.reason,
                refund.currency, refund.amount_minor, amount_minor, run.import_key, one.origin_key,
            )
        )  # fmt: skip
        lines += [
            (key, refund.refunded_at, line_no, run.item_keys[line.sku], line.quantity, line.amount_minor)
            for line_no, line in enumerate(refund.lines, start=1)
        ]
    store.copy_rows(conn, table="refunds", columns=_REFUND_COLUMNS, rows=rows)
    store.copy_rows(conn, table="refund_lines", columns=_LINE_COLUMNS, rows=lines)
    store.add_days(conn, rows=((*key, 0, 0, 0, amount) for key, amount in added.items()))
    store.take_from_days(conn, rows=((*key, *total, 0) for key, total in taken.items()))


def _linked_fact(one: Taken, refund_key: int) -> TierFact:
    order = one.order
    if order is None:
        raise ValueError("the refund names no order")
    value = OrderValue(
        order.order_key, order.order_id, order.placed_at, order.day, order.order_goods_minor,
        order.goods_minor, order.spend_minor,
    )  # fmt: skip
    step = RefundStep(one.refund.refunded_at, one.refund.refund_id, refund_key, one.refund.amount_minor)
    return refund_fact(value, step, refunded_before_minor=one.before_minor)
