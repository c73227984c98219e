"""Whatever is wrong with a line, it alone is refused, by number and code, and nothing is half-written."""

from __future__ import annotations

import io
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from service.intake.bulk.adapters.source import SourceUnreadable
from service.intake.bulk.operations import (
    ImportReport,
    find_import,
    list_rejects,
    register_import,
    run_import,
)
from service.intake.errors import ImportRunning
from service.kit.db import transaction
from service.programme.operations import Programme
from tests.integration.intake.business import NOW, SEALER, assert_lawful, bring_in, dump, write_ndjson

ORDER: dict[str, Any] = {
    "order_id": "T1",
    "member_id": "M1",
    "placed_at": "2026-03-24T14:02:11+08:00",
    "currency": "TWD",
    "lines": [{"sku": "TEA", "quantity": 1, "amount": "680"}],
}
LINE = ORDER["lines"][0]
REFUND: dict[str, Any] = {
    "refund_id": "R1",
    "order_id": "T1",
    "member_id": "M1",
    "refunded_at": "2026-04-01T10:00:00+08:00",
    "amount": "80",
}
LATER = (NOW + timedelta(minutes=6)).isoformat()
SOON = (NOW + timedelta(minutes=4)).isoformat()


@pytest.fixture
def shop(engine: Engine, programme: Programme, tmp_path: Path) -> Shop:
    """A shop with two members and nothing sold."""
    shop = Shop(engine, programme, tmp_path)
    shop.bring("members", {"member_id": "M1", "joined_at": "2026-01-01T00:00:00+08:00"}, {"member_id": "M2"})
    return shop


class Shop:
    """Brings in a few lines at a time."""

    def __init__(self, engine: Engine, programme: Programme, folder: Path) -> None:
        self.engine, self.programme, self.folder = engine, programme, folder

    def bring(self, kind: str, *records: dict[str, Any]) -> ImportReport:
        path = write_ndjson(self.folder / f"{kind}.ndjson", records)
        return bring_in(self.engine, self.programme, kind, path)

    def raw(self, kind: str, data: bytes, fmt: str = "ndjson") -> ImportReport:
        return run_import(
            self.engine,
            kind=kind,
            source=io.BytesIO(data),
            programme=self.programme,
            sealer=SEALER,
            now=NOW,
            fmt=fmt,  # type: ignore[arg-type]
        )

    def rejects(self, report: ImportReport) -> list[tuple[int, str]]:
        with self.engine.connect() as conn:
            found = list_rejects(conn, import_id=report.import_id, after_line=0, limit=100)
        return [(one["line"], one["code"]) for one in found]

    def number_of(self, table: str) -> int:
        with self.engine.connect() as conn:
            return int(conn.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"placed_at": "2026-03-24T14:02:11"}, "invalid"),
        ({"placed_at": LATER}, "future-time"),
        ({"member_id": "nobody"}, "member-not-enrolled"),
        ({"lines": [LINE | {"amount": "680.001"}]}, "invalid"),
        ({"lines": [LINE | {"amount": "-1"}]}, "invalid"),
        ({"lines": [LINE | {"amount": 12345678901234}]}, "invalid"),
        ({"lines": [LINE | {"quantity": "1"}]}, "invalid"),
        ({"lines": [LINE | {"sku": "T\x00EA"}]}, "invalid"),
        ({"lines": [LINE] * 2, "discount": "1361"}, "invalid"),
        ({"currency": "USD"}, "currency-mismatch"),
        ({"exchange_rate": "31"}, "currency-mismatch"),
        (
            {"currency": "USD", "exchange_rate": "100000000", "lines": [LINE | {"amount": "10000000000"}]},
            "invalid",
        ),
        ({"colour": "red"}, "invalid"),
    ],
)
def test_an_order_that_cannot_be_is_refused_and_its_neighbours_go_in(
    shop: Shop, change: dict[str, Any], code: str
) -> None:
    good = [ORDER, ORDER | {"order_id": "T3"}]
    report = shop.bring("orders", good[0], ORDER | {"order_id": "T2"} | change, good[1])
    assert shop.rejects(report) == [(2, code)]
    assert (report.records_new, report.lines_rejected, report.lines_read) == (2, 1, 3)
    assert shop.number_of("orders") == shop.number_of("order_keys") == shop.number_of("order_lines") == 2
    assert shop.number_of("items") == 1
    assert_lawful(shop.engine)


def test_a_clock_that_is_a_little_ahead_is_forgiven(shop: Shop) -> None:
    assert shop.bring("orders", ORDER | {"placed_at": SOON}).records_new == 1
    assert_lawful(shop.engine)


def test_a_file_cut_in_the_middle_leaves_what_stands_before_the_cut(shop: Shop) -> None:
    data = b"".join(json.dumps(ORDER | {"order_id": f"T{n}"}).encode() + b"\n" for n in range(3))
    report = shop.raw("orders", data[:-40])
    assert shop.rejects(report) == [(3, "malformed-request")]
    assert report.records_new == 2
    assert shop.raw("orders", data).records_new == 1
    assert shop.number_of("orders") == 3
    assert_lawful(shop.engine)


def test_lines_that_are_no_text_are_refused_by_number(shop: Shop) -> None:
    good = json.dumps(ORDER).encode() + b"\n"
    report = shop.raw("orders", b"\xff\xfe\n" + b"\x00" * 50 + b"\n" + good + b"{\n")
    assert shop.rejects(report) == [
        (1, "malformed-request"),
        (2, "malformed-request"),
        (4, "malformed-request"),
    ]
    assert report.records_new == 1


def test_an_unknown_sku_becomes_a_stub_until_the_item_comes(shop: Shop) -> None:
    shop.bring("orders", ORDER)
    assert dump(shop.engine)["items"] == ["('TEA', '{}', '[]', None, None, True, '{}', True)"]
    report = shop.bring("items", {"sku": "TEA", "name": {"en": "Tea"}, "price": "680"})
    assert report.records_new == 1
    assert shop.bring("items", {"sku": "TEA", "name": {"en": "Tea"}, "price": "680"}).records_known == 1
    (item,) = dump(shop.engine)["items"]
    assert item.endswith("False)")


def test_the_last_of_two_lines_about_an_item_stands_and_a_bad_price_is_refused(shop: Shop) -> None:
    report = shop.bring(
        "items", {"sku": "A", "price": "1"}, {"sku": "A", "price": "2"}, {"sku": "B", "price": "1.234"}
    )
    assert shop.rejects(report) == [(3, "invalid")]
    assert dump(shop.engine)["items"] == ["('A', '{}', '[]', 200, 'TWD', True, '{}', False)"]


def test_the_same_order_again_is_known_and_other_content_is_a_conflict(shop: Shop) -> None:
    other = ORDER | {"lines": [LINE | {"amount": "681"}]}
    report = shop.bring("orders", ORDER, ORDER, other)
    assert (report.records_new, report.records_known) == (1, 1)
    assert shop.rejects(report) == [(3, "order-conflict")]
    again = shop.bring("orders", other, ORDER)
    assert (again.records_new, again.records_known) == (0, 1)
    assert shop.rejects(again) == [(1, "order-conflict")]
    moved = shop.bring("orders", ORDER | {"member_id": "M2"})
    assert shop.rejects(moved) == [(1, "order-conflict")]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"amount": "601"}, "refund-above-left"),
        ({"amount": "0"}, "invalid"),
        ({"amount": "1.001"}, "invalid"),
        ({"member_id": "M2"}, "refund-of-other-member"),
        ({"refunded_at": "2026-03-24T14:02:10+08:00"}, "before-order"),
        ({"refunded_at": LATER}, "future-time"),
        ({"currency": "USD"}, "invalid"),
        ({"order_id": None, "currency": "USD"}, "currency-mismatch"),
        ({"order_id": None, "member_id": "nobody"}, "member-not-enrolled"),
        ({"order_id": None, "member_id": None}, "invalid"),
        ({"refund_id": "R1"}, "order-conflict"),
    ],
)
def test_a_refund_that_cannot_be_is_refused(shop: Shop, change: dict[str, Any], code: str) -> None:
    shop.bring("orders", ORDER)
    report = shop.bring("refunds", REFUND, REFUND | {"refund_id": "R2", "amount": "20"} | change)
    assert shop.rejects(report) == [(2, code)]
    assert report.records_new == 1
    assert shop.number_of("refunds") == 1
    assert_lawful(shop.engine)


def test_what_is_left_is_counted_within_a_file_and_across_files(shop: Shop) -> None:
    shop.bring("orders", ORDER)
    refunds = [REFUND | {"refund_id": f"R{n}", "amount": "200"} for n in range(4)]
    report = shop.bring("refunds", *refunds)
    assert shop.rejects(report) == [(4, "refund-above-left")]
    last = shop.bring("refunds", REFUND | {"refund_id": "R9"}, REFUND | {"refund_id": "R8", "amount": "1"})
    assert shop.rejects(last) == [(2, "refund-above-left")]
    (day,) = dump(shop.engine)["days"]
    assert day.endswith("0, 0, 0, 0)")
    assert_lawful(shop.engine)


def test_a_refund_waits_for_its_order_and_is_told_by_its_own_line_if_it_does_not_fit(shop: Shop) -> None:
    too_much = REFUND | {"refund_id": "R2", "amount": "9999"}
    waiting = shop.bring("refunds", REFUND, too_much, REFUND | {"refund_id": "R3", "order_id": "T7"})
    assert (waiting.records_new, waiting.records_parked) == (0, 3)
    again = shop.bring("refunds", REFUND, REFUND | {"amount": "81"})
    assert (again.records_known, again.records_parked) == (1, 0)
    assert shop.rejects(again) == [(2, "order-conflict")]
    came = shop.bring("orders", ORDER)
    assert (came.records_new, came.records_unparked) == (1, 1)
    assert shop.rejects(waiting) == [(2, "refund-above-left")]
    assert shop.number_of("parked_refunds") == 1
    with shop.engine.connect() as conn:
        told = find_import(conn, import_id=waiting.import_id)
    assert told is not None
    assert (told["records_new"], told["records_parked"], told["lines_rejected"]) == (1, 1, 1)
    assert_lawful(shop.engine)


def test_a_parked_refund_that_comes_again_with_its_order_is_taken_once(shop: Shop) -> None:
    shop.bring("refunds", REFUND)
    with transaction(shop.engine) as conn:
        conn.execute(
            text("UPDATE parked_refunds SET order_id = 'elsewhere'")
        )  # the order came by another door
    shop.bring("orders", ORDER)
    report = shop.bring("refunds", REFUND)
    assert (report.records_new, shop.number_of("parked_refunds"), shop.number_of("refunds")) == (1, 0, 1)


def test_members_are_changed_only_where_something_is_new(shop: Shop) -> None:
    member = {
        "member_id": "M1", "joined_at": "2026-01-01T00:00:00+08:00", "name": "陳怡君",
        "birthday": "1989-09-22", "email": "A@example.com", "phone": "+886900000001",
        "attributes": {"size": 38.5}, "store_id": "S1",
        "consent": {"marketing": True, "text_version": "1"}, "acquisition": {"source": "ad", "cost": "1.50"},
    }  # fmt: skip
    assert shop.bring("members", member).records_new == 1
    with shop.engine.connect() as conn:
        before = conn.execute(text("SELECT * FROM members ORDER BY member_id")).all()
    assert shop.bring("members", member).records_known == 1
    with shop.engine.connect() as conn:
        assert conn.execute(text("SELECT * FROM members ORDER BY member_id")).all() == before
    report = shop.bring("members", member | {"phone": None}, {"member_id": "M1", "locale": "en"})
    assert report.records_new == 2
    with shop.engine.connect() as conn:
        row = conn.execute(text("SELECT * FROM members WHERE member_id = 'M1'")).one()
    assert (row.phone_sealed, row.locale, SEALER.open(bytes(row.email_sealed))) == (
        None,
        "en",
        "A@example.com",
    )
    refused = shop.bring("members", {"member_id": "M9", "joined_at": SOON}, {"member_id": " M9"})
    assert shop.rejects(refused) == [(1, "joined-in-future"), (2, "invalid")]


def test_a_csv_file_without_its_columns_is_refused_whole_and_kept_as_failed(shop: Shop) -> None:
    with pytest.raises(SourceUnreadable, match="lacks"):
        shop.raw("orders", b"order_id,sku\nT1,TEA\n", "csv")
    with shop.engine.connect() as conn:
        row = conn.execute(text("SELECT * FROM imports ORDER BY import_key DESC LIMIT 1")).one()
    assert row.status == "failed"
    assert "lacks" in row.error


def test_one_import_runs_at_a_time(shop: Shop) -> None:
    def start_another(stage: str, done: int, total: int | None) -> None:
        with pytest.raises(ImportRunning):
            shop.raw("items", b"")

    path = write_ndjson(shop.folder / "orders.ndjson", [ORDER])
    bring_in(shop.engine, shop.programme, "orders", path, progress=start_another)
    assert shop.raw("items", b"").lines_read == 0


def test_an_import_can_be_registered_before_it_runs(shop: Shop) -> None:
    with transaction(shop.engine) as conn:
        import_id = register_import(conn, kind="orders", source_name="upload", now=NOW)
    path = write_ndjson(shop.folder / "orders.ndjson", [ORDER])
    report = bring_in(shop.engine, shop.programme, "orders", path, import_id=import_id)
    assert report.import_id == import_id
    with shop.engine.connect() as conn:
        told = find_import(conn, import_id=import_id)
    assert told is not None
    assert (told["status"], told["records_new"], told["lines_read"]) == ("done", 1, 1)
