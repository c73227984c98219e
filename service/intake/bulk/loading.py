"""Bring one chunk of records in, in one transaction: what is new, what is known, what is refused."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import count
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row

from service.activity.operations import refuse_future
from service.activity.rules import NewOrder, OrderAmounts, order_content_hash, value_order
from service.catalogue import operations as catalogue
from service.intake.bulk import store
from service.intake.bulk.adapters.source import Reject
from service.intake.bulk.files import Record, reject
from service.intake.events.operations import take_events
from service.intake.reading import read_order
from service.kit.clock import local_day
from service.kit.errors import FieldError, Invalid, Problem
from service.kit.sealing import Sealer
from service.ledger import operations as ledger
from service.members import operations as members
from service.members.errors import JoinedInFuture, MemberMerged
from service.members.operations import Owner
from service.programme.operations import Programme, StoreRef, ensure_stores
from service.tiers import operations as tiers

_MOST_REMEMBERED = 500_000


@dataclass(slots=True)
class Run:
    """What every chunk of one import shares; `item_keys` and `stores` are remembered from chunk to chunk."""

    import_key: int
    programme: Programme
    sealer: Sealer
    now: datetime
    # An adapter derives when somebody joined from the facts of its file: an earlier one known stays.
    keeps_earliest_joining: bool = False
    item_keys: dict[str, int] = field(default_factory=dict)
    stores: dict[str, StoreRef] = field(default_factory=dict)

    def store_of(self, store_id: str | None) -> StoreRef:
        """Return a store that `remember_stores` has seen, or the programme's own zone."""
        return StoreRef(None, self.programme.timezone) if store_id is None else self.stores[store_id]

    def remember_stores(self, conn: Connection, store_ids: Iterable[str | None]) -> None:
        """Look up stores, adding those seen for the first time."""
        wanted = {store_id for store_id in store_ids if store_id is not None} - self.stores.keys()
        self.stores |= ensure_stores(conn, store_ids=wanted, programme=self.programme, now=self.now)

    def remember_items(self, conn: Connection, skus: Iterable[str]) -> None:
        """Look up items, remembering unknown ones as stubs."""
        wanted = set(skus)
        missing = wanted - self.item_keys.keys()
        if len(self.item_keys) + len(missing) > _MOST_REMEMBERED:
            self.item_keys, missing = {}, wanted
        if missing:
            self.item_keys |= catalogue.ensure_items(conn, skus=missing, now=self.now)


@dataclass(slots=True)
class Tally:
    """What became of a chunk: records by fate, lines refused."""

    new: int = 0
    known: int = 0
    parked: int = 0
    rejects: list[Reject] = field(default_factory=list)

    def refuse(self, line_nos: Sequence[int], code: str, detail: str) -> None:
        """Refuse each line of a record."""
        self.rejects += [reject(line_no, code, detail) for line_no in line_nos]

    def refuse_problem(self, line_nos: Sequence[int], problem: Problem) -> None:
        """Refuse each line of a record for a problem that the API would have answered with."""
        self.refuse(line_nos, problem.code, describe(problem))


def describe(problem: Problem) -> str:
    """Return a problem and its places as one line of text."""
    places = "; ".join(f"{error.pointer or ''}: {error.detail}".lstrip(": ") for error in problem.errors)
    return f"{problem.detail} ({places})" if places else problem.detail


# --- items ----------------------------------------------------------------------------------------------


def load_items(conn: Connection, *, records: Sequence[Record], run: Run) -> Tally:
    """Add or replace items; the last of a sku stands."""
    tally, rows = Tally(), list[tuple[Any, ...]]()
    for line_nos, body in records:
        try:
            values = catalogue.item_values(body, sku=body["sku"], currency=run.programme.currency)
        except Invalid as problem:
            tally.refuse_problem(line_nos, problem)
        else:
            rows.append((len(rows), *values.values()))
    tally.new = store.upsert_items(conn, rows=rows, now=run.now)
    tally.known = len(rows) - tally.new
    return tally


# --- events ---------------------------------------------------------------------------------------------


def load_events(conn: Connection, *, records: Sequence[Record], run: Run) -> Tally:
    """Record events that are new, by the verdicts that the API gives; those that earn are awarded."""
    tally = Tally()
    bodies = [body for _, body in records]
    verdicts = take_events(
        conn, events=bodies, by_storefront=False, programme=run.programme, now=run.now, tells=False
    )
    for (line_nos, _), verdict in zip(records, verdicts, strict=True):
        if verdict["status"] == "rejected":
            tally.refuse(line_nos, verdict["code"], verdict["detail"])
        elif verdict["status"] == "accepted":
            tally.new += 1
        else:
            tally.known += 1
    return tally


# --- members --------------------------------------------------------------------------------------------


def load_members(conn: Connection, *, records: Sequence[Record], run: Run) -> Tally:
    """Enrol members, or change what is given of those known; each id at most once in `records`."""
    members.keep_owners(conn)
    tally = Tally()
    bodies: dict[str, dict[str, Any]] = {}
    lines: dict[str, Sequence[int]] = {}
    for line_nos, body in records:
        joined_at = body.get("joined_at")
        if joined_at is not None and joined_at > run.now:
            problem = JoinedInFuture(errors=[FieldError("in the future", pointer="/joined_at")])
            tally.refuse_problem(line_nos, problem)
        else:
            bodies[body["member_id"]] = body
            lines[body["member_id"]] = line_nos
    known = store.find_members(conn, member_ids=list(bodies))
    for member_id in [name for name, row in known.items() if row.merged_into is not None]:
        del bodies[member_id]
        detail = f"{member_id} was merged into another member; change that one"
        tally.refuse_problem(lines[member_id], MemberMerged(detail))
    run.remember_stores(conn, (body.get("store_id") for body in bodies.values()))
    changes = {
        member_id: members.seal_columns(
            body, store_key=run.store_of(body.get("store_id")).store_key, sealer=run.sealer, now=run.now
        )
        for member_id, body in bodies.items()
        if member_id not in known or _differs(known[member_id], body, run)
    }
    new = store.write_members(conn, values=changes, now=run.now) if changes else {}
    _begin(conn, sorted(new.values()), run)
    moved = [
        known[member_id].member_key
        for member_id, values in changes.items()
        if member_id in known and values.get("joined_at") not in (None, known[member_id].joined_at)
    ]
    store.mark_members(conn, member_keys=moved, import_key=run.import_key)
    tally.new, tally.known = len(changes), len(bodies) - len(changes)
    return tally


def _begin(conn: Connection, member_keys: Sequence[int], run: Run) -> None:
    """Open accounts and begin memberships, so that an order of the API finds both at once."""
    if member_keys:
        ledger.open_accounts(conn, member_keys=member_keys)
        begun = tiers.refold_members(
            conn, member_keys=member_keys, now=run.now, programme=run.programme, import_key=run.import_key
        )
        # Members that are new have no orders; what is yielded is nothing, but the work is done on the way.
        deque(begun, maxlen=0)


def _differs(row: Row[Any], body: dict[str, Any], run: Run) -> bool:
    """Tell whether a body says anything new of a member; sealed values differ each time they are sealed."""
    joined_at = body.get("joined_at")
    if joined_at is not None and run.keeps_earliest_joining and joined_at > row.joined_at:
        joined_at = body["joined_at"] = row.joined_at
    if joined_at is not None and joined_at != row.joined_at:
        return True
    for name in ("locale", "store_id", "referred_by"):
        if name in body and body[name] != getattr(row, name):
            return True
    for name in ("name", "email", "phone", "birthday"):
        if name in body:
            given = body[name].isoformat() if isinstance(body[name], date) else body[name]
            if given != run.sealer.open(getattr(row, f"{name}_sealed")):
                return True
    fresh = members.seal_columns(
        {name: body[name] for name in ("attributes", "acquisition") if name in body},
        store_key=None,
        sealer=run.sealer,
        now=run.now,
    )
    if any((text and json.loads(str(text))) != getattr(row, name) for name, text in fresh.items()):
        return True
    return _consent_differs(row, body.get("consent") or {})


def _consent_differs(row: Row[Any], consent: Mapping[str, Any]) -> bool:
    for purpose in ("marketing", "profiling"):
        if purpose in consent:
            stored = getattr(row, f"consent_{purpose}") or {}
            given = (consent[purpose], consent.get("text_version"))
            if given != (stored.get("granted"), stored.get("text_version")):
                return True
    return False


# --- orders ---------------------------------------------------------------------------------------------


class Incoming(NamedTuple):
    """An order that can be taken: valued, and ready to be claimed."""

    line_nos: Sequence[int]
    member_id: str
    order: NewOrder
    amounts: OrderAmounts
    content_hash: bytes


def prepare_order(record: Record, *, run: Run) -> Incoming:
    """Value an order.

    Raises:
        Problem: what the API would refuse it for.
    """
    order = read_order(record.body, currency=run.programme.currency)
    return value_incoming(
        order,
        member_id=record.body["member_id"],
        line_nos=record.line_nos,
        tax_counts=run.programme.settings_at(order.placed_at).tax_counts,
        now=run.now,
    )


def value_incoming(
    order: NewOrder, *, member_id: str, line_nos: Sequence[int], tax_counts: bool = True, now: datetime
) -> Incoming:
    """Value an order that is read already.

    Raises:
        FutureTime, Invalid: what the API would refuse it for.
    """
    refuse_future(order.placed_at, now=now, pointer="/placed_at")
    try:
        amounts = value_order(
            [line.amount_minor for line in order.lines],
            discount_minor=order.discount_minor,
            tax_minor=order.tax_minor,
            paid_otherwise_minor=0,
            rate=order.rate,
            tax_counts=tax_counts,
        )
    except ValueError as error:
        raise Invalid(str(error), errors=[FieldError("too large", pointer="/discount")]) from error
    return Incoming(line_nos, member_id, order, amounts, order_content_hash(order, member_id=member_id))


def load_orders(conn: Connection, *, incoming: Sequence[Incoming], run: Run) -> Tally:
    """Record orders that are not known yet, with their lines and their part of the day roll-up."""
    members.keep_owners(conn)
    tally = Tally()
    staged = (
        (position, one.order.order_id, one.member_id, one.order.placed_at, one.content_hash)
        for position, one in enumerate(incoming)
    )
    claimed, verdicts = store.claim_orders(conn, rows=staged)
    new: list[tuple[int, Owner, Incoming]] = []
    for verdict in verdicts:
        one = incoming[verdict.position]
        if verdict.member_key is None:
            tally.refuse(one.line_nos, "member-not-enrolled", f"no member has the id {one.member_id}")
        elif verdict.order_key in claimed:
            claimed.remove(verdict.order_key)
            new.append((verdict.order_key, Owner(verdict.member_key, verdict.origin_key), one))
        elif verdict.is_same:
            tally.known += 1
        else:
            detail = f"the order {one.order.order_id} is recorded with other content"
            tally.refuse(one.line_nos, "order-conflict", detail)
    tally.new = len(new)
    if new:
        _write_orders(conn, new, run)
    return tally


_ORDER_COLUMNS = (
    "order_key", "placed_at", "received_at", "member_key", "store_key", "day", "channel", "currency",
    "exchange_rate", "order_goods_minor", "order_discount_minor", "order_shipping_minor", "order_tax_minor",
    "goods_minor", "spend_minor", "checkout_started_at", "recommendation_ids", "attribution_token",
    "import_key", "origin_key",
)  # fmt: skip
_LINE_COLUMNS = (
    "order_key", "placed_at", "line_no", "item_key", "quantity", "order_amount_minor", "amount_minor",
    "category",
)  # fmt: skip


def _write_orders(conn: Connection, new: Sequence[tuple[int, Owner, Incoming]], run: Run) -> None:
    run.remember_stores(conn, (one.order.store_id for _, _, one in new))
    run.remember_items(conn, (line.sku for _, _, one in new for line in one.order.lines))
    days: dict[tuple[int, date], list[int]] = {}
    rows: list[tuple[Any, ...]] = []
    for order_key, owner, one in new:
        order, amounts = one.order, one.amounts
        ref = run.store_of(order.store_id)
        day = local_day(order.placed_at, timezone=ref.timezone)
        total = days.setdefault((owner.member_key, day), [0, 0, 0])
        total[0] += amounts.goods_minor
        total[1] += amounts.spend_minor
        total[2] += amounts.goods_minor > 0
        rows.append(
            (
                order_key, order.placed_at, run.now, owner.member_key, ref.store_key, day, order.channel,
                order.currency, order.exchange_rate, amounts.order_goods_minor, order.discount_minor,
                order.shipping_minor, order.tax_minor, amounts.goods_minor, amounts.spend_minor,
                order.checkout_started_at, list(order.recommendation_ids) or None, order.attribution_token,
                run.import_key, owner.origin_key,
            )
        )  # fmt: skip
    store.copy_rows(conn, table="orders", columns=_ORDER_COLUMNS, rows=rows)
    item_keys = run.item_keys
    # A moment is written out once an order: as text a line costs a third of what it costs with a datetime.
    lines = (
        (
            order_key, placed_at, line_no, item_keys[line.sku], line.quantity, valued.order_amount_minor,
            valued.amount_minor, line.category,
        )
        for order_key, _, one in new
        for placed_at in (str(one.order.placed_at),)
        for line_no, line, valued in zip(count(1), one.order.lines, one.amounts.lines)
    )  # fmt: skip
    store.copy_rows(conn, table="order_lines", columns=_LINE_COLUMNS, rows=lines)
    store.add_days(conn, rows=((*key, *total, 0) for key, total in days.items()))
    owners = [owner for _, owner, _ in new]
    store.mark_members(conn, member_keys=whom_to_rate(owners), import_key=run.import_key)


def whom_to_rate(owners: Iterable[Owner]) -> Iterator[int]:
    """Yield whose tiers and points facts concern: also for whom they were sent, who may be parted by then."""
    for owner in owners:
        yield owner.member_key
        if owner.origin_key is not None:
            yield owner.origin_key


def months_of(moments: Iterable[datetime], *, now: datetime, reach_years: int = 20) -> set[date]:
    """Return the months (UTC) worth a partition of their own: not what a wrong date put far away."""
    oldest = now - timedelta(days=365 * reach_years)
    found = (at.astimezone(UTC) for at in moments if oldest <= at <= now + timedelta(days=1))
    return {date(at.year, at.month, 1) for at in found}
