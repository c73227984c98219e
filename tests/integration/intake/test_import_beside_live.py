"""Imported refunds reach orders of the API, and live refunds reach imported orders, each once."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from service.activity.rules import NewLine, NewOrder, NewRefund
from service.intake import operations as stories
from service.kit.db import transaction
from service.ledger.operations import adjust_points, get_points, hold_points
from service.members.operations import get_member
from service.programme.operations import Programme
from tests.integration.intake.business import NOW, assert_lawful, bring_in, count, dump, write_ndjson

PLACED = NOW - timedelta(days=30)


@pytest.fixture
def shop(engine: Engine, programme: Programme, tmp_path: Path) -> Shop:
    shop = Shop(engine, programme, tmp_path)
    shop.bring("members", {"member_id": "M1", "joined_at": (PLACED - timedelta(days=9)).isoformat()})
    return shop


class Shop:
    """One member, who buys by both doors."""

    def __init__(self, engine: Engine, programme: Programme, folder: Path) -> None:
        self.engine, self.programme, self.folder = engine, programme, folder

    def bring(self, kind: str, *records: dict[str, Any]) -> None:
        path = write_ndjson(self.folder / f"{kind}.ndjson", records)
        report = bring_in(self.engine, self.programme, kind, path)
        assert report.lines_rejected == 0

    def bring_order(self, order_id: str, amount: str, *, at: datetime = PLACED) -> None:
        lines = [{"sku": "TEA", "quantity": 1, "amount": amount}]
        order = {"order_id": order_id, "member_id": "M1", "placed_at": at.isoformat(), "currency": "TWD"}
        self.bring("orders", order | {"lines": lines})

    def bring_refund(self, refund_id: str, amount: str, *, order_id: str | None = None) -> dict[str, Any]:
        refund = {
            "refund_id": refund_id,
            "order_id": order_id,
            "member_id": "M1",
            "refunded_at": (PLACED + timedelta(days=2)).isoformat(),
            "amount": amount,
        }
        self.bring("refunds", refund)
        return refund

    def place(self, order_id: str, amount_minor: int, *, at: datetime = PLACED) -> None:
        order = NewOrder(order_id, at, "TWD", (NewLine("TEA", 1, amount_minor, None),))
        with transaction(self.engine) as conn:
            stories.place_order(
                conn, member_id="M1", order=order, programme=self.programme, locale="en", now=NOW
            )

    def refund(self, refund_id: str, amount_minor: int, *, order_id: str | None) -> None:
        at = PLACED + timedelta(days=3)
        refund = NewRefund(refund_id, order_id, at, None, "return", None, amount_minor, "TWD")
        with transaction(self.engine) as conn:
            stories.take_refund(
                conn, member_id="M1", refund=refund, programme=self.programme, locale="en", now=NOW
            )

    def points(self) -> int:
        with self.engine.connect() as conn:
            member = get_member(conn, member_id="M1")
            points = get_points(conn, member_key=member.member_key, now=NOW)
            return points.available + points.pending


def test_an_imported_refund_takes_back_what_a_live_order_earned(shop: Shop) -> None:
    shop.place("L1", 300_000)
    assert shop.points() == 100
    refund = shop.bring_refund("R1", "1500", order_id="L1")
    assert shop.points() == 50
    rows = count(shop.engine)
    shop.bring("refunds", refund)
    assert count(shop.engine) == rows
    shop.bring_refund("R2", "1500", order_id="L1")
    assert shop.points() == 0
    assert_lawful(shop.engine)


def test_an_imported_unlinked_refund_takes_from_live_and_imported_orders_newest_first(shop: Shop) -> None:
    shop.bring_order("I1", "3000", at=PLACED - timedelta(days=1))
    shop.place("L1", 300_000)
    assert shop.points() == 200
    shop.bring_refund("R1", "4500")
    assert dump(shop.engine)["allotments"] == ["('R1', 'I1', 150000)", "('R1', 'L1', 300000)"]
    assert shop.points() == 50
    assert_lawful(shop.engine)


def test_a_live_refund_of_an_imported_order_stands_when_more_is_imported(shop: Shop) -> None:
    shop.bring_order("I1", "3000")
    shop.refund("R1", 150_000, order_id="I1")
    assert shop.points() == 50
    shop.bring_order("I2", "3000", at=PLACED - timedelta(days=1))
    assert shop.points() == 150
    shop.bring_refund("R2", "1500", order_id="I1")
    assert shop.points() == 100
    assert_lawful(shop.engine)


def test_a_live_unlinked_refund_keeps_its_allotment(shop: Shop) -> None:
    shop.bring_order("I1", "3000")
    shop.refund("R1", 150_000, order_id=None)
    before = dump(shop.engine)["allotments"]
    shop.bring_order("I2", "3000", at=PLACED + timedelta(days=1))
    shop.bring_refund("R2", "3000")
    allotments = dump(shop.engine)["allotments"]
    assert set(before) < set(allotments)
    assert len(allotments) == 2
    assert shop.points() == 50
    assert_lawful(shop.engine)


def test_an_order_known_from_the_api_is_passed_over_by_an_import_and_the_other_way_round(shop: Shop) -> None:
    shop.place("O1", 300_000)
    shop.bring_order("O1", "3000")
    shop.bring_order("O2", "3000")
    shop.place("O2", 300_000)
    assert len(dump(shop.engine)["orders"]) == 2
    assert shop.points() == 200


def test_the_order_of_a_refunds_lines_changes_no_points(shop: Shop) -> None:
    order = {"member_id": "M1", "currency": "TWD"}
    lines = [{"sku": sku, "quantity": 1, "amount": "50"} for sku in ("A", "B")]
    found = []
    for number in (0, 1):
        at = [(PLACED + timedelta(days=number, hours=hours)).isoformat() for hours in range(3)]
        first = order | {"order_id": f"A{number}", "placed_at": at[0]}
        second = order | {"order_id": f"B{number}", "placed_at": at[1]}
        shop.bring("orders", first | {"lines": lines[:1] * 2}, second | {"lines": lines})
        refund = {"refund_id": f"R{number}", "member_id": "M1", "amount": "150", "refunded_at": at[2]}
        back = [{"sku": "A", "quantity": 1, "amount": "100"}, {"sku": "B", "quantity": 1, "amount": "50"}]
        shop.bring("refunds", refund | {"lines": back[::-1] if number else back})
        found.append(
            [row.split("'")[3][0] + row.split(",")[-1] for row in dump(shop.engine)["allotments"][-2:]]
        )
    assert found[0] == found[1] == ["A 5000)", "B 10000)"]


def test_an_imported_refund_gives_back_what_points_paid_for_a_live_order(shop: Shop) -> None:
    with transaction(shop.engine) as conn:
        key = get_member(conn, member_id="M1").member_key
        adjust_points(
            conn, member_key=key, points=1000, reason="start", actor="ada", expires_at=None, now=NOW
        )
        hold = hold_points(conn, member_key=key, points=1000, ttl=timedelta(hours=1), now=NOW)
        order = NewOrder(
            "L1", PLACED, "TWD", (NewLine("TEA", 1, 300_000, None),), points_hold_id=hold.hold_id
        )
        stories.place_order(conn, member_id="M1", order=order, programme=shop.programme, locale="en", now=NOW)
    assert shop.points() == 90
    refund = shop.bring_refund("R1", "1500", order_id="L1")
    assert shop.points() == 45 + 500
    rows = count(shop.engine)
    shop.bring("refunds", refund)
    assert count(shop.engine) == rows
    shop.bring_refund("R2", "1500", order_id="L1")
    assert shop.points() == 1000
    assert_lawful(shop.engine)
