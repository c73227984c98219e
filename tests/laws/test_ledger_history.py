"""Imported history is the same in one piece or many, and the same as a plain computation in Python."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from fractions import Fraction
from math import floor

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection

from service.ledger import operations as ledger
from tests.conftest import SCALE
from tests.integration.ledger.books import Books
from tests.integration.ledger.histories import PastOrder, balance_as_of, post
from tests.laws.test_ledger_books import rolled_back

NOW = 120
MEMBERS = (1, 2)
REFUNDS = st.lists(st.tuples(st.integers(0, NOW - 1), st.integers(1, 4_000)), max_size=4)


@st.composite
def past_orders(draw: st.DrawFn) -> list[PastOrder]:
    """Orders with refunds, each refund's left computed over all refunds before it."""
    orders = []
    for key in range(1, draw(st.integers(1, 5)) + 1):
        at = draw(st.integers(0, NOW - 1))
        minor = draw(st.integers(0, 10_000))
        order = PastOrder(
            order=key,
            minor=minor,
            at=at,
            member=MEMBERS[key % 2],
            pending_days=draw(st.sampled_from([0, 7, 30])),
            expires=draw(st.none() | st.integers(at, at + 90)),
            multiplier_bp=draw(st.sampled_from([10_000, 12_500, 33_333])),
        )
        orders.append(with_refunds(order, draw(REFUNDS)))
    return orders


def with_refunds(order: PastOrder, refunds: list[tuple[int, int]]) -> PastOrder:
    """Return the order with refunds (days after it, minor units), none after NOW, in order of time."""
    keyed = sorted(
        (min(order.at + days, NOW), order.order * 10 + number, minor)
        for number, (days, minor) in enumerate(refunds)
    )
    left, listed = order.minor, []
    for at, key, minor in keyed:
        left = max(0, left - minor)
        listed.append((key, at, left))
    return replace(order, refunds=tuple(listed))


def without_some_refunds(order: PastOrder, keep: set[int | None]) -> PastOrder:
    """Return the order as it was known when only the refunds `keep` had come."""
    before, amounts = order.minor, []
    for key, at, left in order.refunds:
        amounts.append((key, at, before - left))
        before = left
    left, listed = order.minor, []
    for key, at, minor in amounts:
        if key in keep:
            left -= minor
            listed.append((key, at, left))
    return replace(order, refunds=tuple(listed))


def expected_accounts(orders: list[PastOrder], day: float) -> dict[str, int]:
    """Return each account on a day, computed order by order."""
    totals: Counter[str] = Counter()
    for order in orders:
        if order.at > day:
            continue
        earned = _points(order.minor, order)
        released_at = order.at + order.pending_days
        taken, before = 0, earned
        expired = 0
        expires_at = None if order.expires is None else max(order.expires, released_at)
        is_expired = expires_at is not None and expires_at <= day
        for _, at, left in order.refunds:
            if at > day:
                continue
            points = before - _points(left, order)
            before -= points
            taken += points
            if is_expired and expires_at is not None and at >= expires_at:
                expired -= points
        totals["issued"] -= earned
        totals["reversed"] += taken
        if is_expired:
            late = -expired
            totals["expired"] += earned - (taken - late) - late
        else:
            totals["pending" if released_at > day else "available"] += earned - taken
    return {account: points for account, points in totals.items() if points}


def _points(minor: int, order: PastOrder) -> int:
    return floor(Fraction(minor, 100) * Fraction(order.multiplier_bp, 10_000))


@settings(max_examples=25 * SCALE)
@given(past_orders(), st.data())
def test_history_in_pieces_equals_history_at_once(
    conn: Connection, orders: list[PastOrder], data: st.DataObject
) -> None:
    days = sorted({float(data.draw(st.integers(0, NOW))) for _ in range(6)} | {float(NOW)})
    with rolled_back(conn):
        post(conn, orders, now=NOW)
        assert ledger.check_laws(conn) == []
        for day in days:
            assert balance_as_of(conn, day) == expected_accounts(orders, day)
    with rolled_back(conn):
        for run in range(1, 4):
            subset = data.draw(st.lists(st.sampled_from(orders), unique_by=lambda order: order.order))
            keys = [key for order in orders for key, _, _ in order.refunds]
            keep = data.draw(st.sets(st.sampled_from(keys))) if keys else set()
            piece = [
                replace(
                    without_some_refunds(order, keep),
                    multiplier_bp=data.draw(st.sampled_from([order.multiplier_bp, 15_000])),
                )
                for order in subset
            ]
            post(conn, piece, now=data.draw(st.integers(NOW - 60, NOW)) if run == 1 else NOW, import_key=run)
            if data.draw(st.booleans()):
                ledger.release_due(conn, now=Books(conn).when(NOW), limit=100)
                ledger.expire_due(conn, now=Books(conn).when(NOW), limit=100)
            assert ledger.check_laws(conn) == []
        post(conn, orders, now=NOW, import_key=9)
        assert ledger.check_laws(conn) == []
        for day in days:
            assert balance_as_of(conn, day) == expected_accounts(orders, day)
        assert post(conn, orders, now=NOW, import_key=10) == ledger.HistoryPosted(0, 0)
