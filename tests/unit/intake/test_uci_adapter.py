"""The example adapter reads the whole data set, and a small one with the same traps, to the penny."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from service.intake.bulk.adapters.source import (
    AdapterResult,
    MemberRow,
    OrderRow,
    RefundRow,
    SourceUnreadable,
)
from service.intake.bulk.adapters.uci_online_retail import REASONS, read
from tests.unit.intake.uci_slice import SCHEMA, Row, make_row, make_slice, write_rows

DATA = Path(__file__).resolve().parents[3].parent / "shared" / "data" / "uci_online_retail.parquet"
PAGE = Path(__file__).resolve().parents[3] / "docs" / "bring-your-own-data.md"
LONDON = ZoneInfo("Europe/London")


@dataclass(frozen=True)
class Loaded:
    """A file read once by the adapter, beside its raw rows."""

    result: AdapterResult
    orders: list[OrderRow]
    rows: list[Row]


def load(path: Path, rows: list[Row]) -> Loaded:
    result = read(path)
    return Loaded(result, [row for batch in result.orders for row in batch], rows)


def refused(tmp_path: Path, *rows: Row) -> list[tuple[int, str]]:
    """Read a few rows and return number and code of the rejects."""
    result = read(write_rows(tmp_path / "few.parquet", list(rows)))
    assert sum(len(batch) for batch in result.orders) + len(result.refunds) + len(result.rejects) == len(rows)
    return [(reject.line_no, reject.code) for reject in result.rejects]


@pytest.fixture(scope="module", params=["slice", "full"])
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    if request.param == "slice":
        path = tmp_path_factory.mktemp("uci") / "slice.parquet"
        return load(path, make_slice(path, seed=3, customers=60))
    if not DATA.exists():
        pytest.skip(f"The UCI data set is not at {DATA}; its twin runs on a generated slice.")
    columns = pq.read_table(DATA).to_pydict()
    return load(DATA, [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)])


def pence(row: Row) -> int:
    """Count a line in pence by decimal arithmetic alone: thousandths, then one rounding half up."""
    exact = abs(row["quantity"]) * Decimal(f"{row['unit_price']:.3f}")
    return int((exact * 100).quantize(Decimal(1), ROUND_HALF_UP))


def first_minutes(rows: list[Row]) -> dict[str, datetime]:
    firsts: dict[str, datetime] = {}
    for row in rows:
        invoice = row["invoice_no"]
        firsts[invoice] = min(row["invoice_ts"], firsts.get(invoice, row["invoice_ts"]))
    return {invoice: naive.replace(tzinfo=LONDON) for invoice, naive in firsts.items()}


def test_every_line_is_taken_or_refused_exactly_once(loaded: Loaded) -> None:
    numbers = [row.line_no for row in loaded.orders] + [row.line_no for row in loaded.result.refunds]
    numbers += [reject.line_no for reject in loaded.result.rejects]
    assert loaded.result.lines == len(loaded.rows)
    assert sorted(numbers) == list(range(1, len(loaded.rows) + 1))


def test_lines_without_a_customer_are_refused_with_their_numbers(loaded: Loaded) -> None:
    expected = [number for number, row in enumerate(loaded.rows, start=1) if row["customer_id"] is None]
    assert expected
    assert [reject.line_no for reject in loaded.result.rejects] == expected
    assert {reject.code for reject in loaded.result.rejects} == {"member-missing"}


def test_every_line_keeps_its_customer_code_quantity_and_amount(loaded: Loaded) -> None:
    everything: list[OrderRow | RefundRow] = [*loaded.orders, *loaded.result.refunds]
    for taken in everything:
        row = loaded.rows[taken.line_no - 1]
        assert taken[1] == row["invoice_no"]
        assert taken.member_id == str(row["customer_id"])
        assert taken.sku == row["stock_code"]
        assert taken.quantity == abs(row["quantity"]) > 0
        assert taken.amount_minor == pence(row)
        assert taken.currency == "GBP"
    assert {row.order_id[0] for row in loaded.orders} == {"5"}
    assert {row.refund_id[0] for row in loaded.result.refunds} == {"C"}


def test_an_invoice_has_its_first_minute_in_london_time(loaded: Loaded) -> None:
    firsts = first_minutes(loaded.rows)
    times = [(row.order_id, row.placed_at) for row in loaded.orders]
    times += [(row.refund_id, row.refunded_at) for row in loaded.result.refunds]
    for invoice, at in dict(times).items():
        expected = firsts[invoice]
        assert at.replace(tzinfo=None) == expected.replace(tzinfo=None)
        assert at.utcoffset() == expected.utcoffset()
    assert len(set(times)) == len(dict(times))
    assert {at.utcoffset() for _, at in times} == {timedelta(0), timedelta(hours=1)}


def test_members_join_with_their_first_fact(loaded: Loaded) -> None:
    firsts = first_minutes(loaded.rows)
    joined: dict[str, datetime] = {}
    for row in loaded.rows:
        if row["customer_id"] is not None:
            member, at = str(row["customer_id"]), firsts[row["invoice_no"]]
            joined[member] = min(at, joined.get(member, at))
    assert dict(loaded.result.members) == joined
    assert len(loaded.result.members) == len(joined)


def test_items_carry_the_commonest_price_and_name_of_what_was_taken(loaded: Loaded) -> None:
    prices: dict[str, Counter[int]] = defaultdict(Counter)
    names: dict[str, Counter[str]] = defaultdict(Counter)
    for row in loaded.rows:
        if row["customer_id"] is not None:
            price = pence(row | {"quantity": 1})
            prices[row["stock_code"]][price] += price > 0
            names[row["stock_code"]][" ".join(row["description"].split())] += 1
    assert [item.sku for item in loaded.result.items] == sorted(prices)
    for item in loaded.result.items:
        assert names[item.sku][item.name] == max(names[item.sku].values())
        if item.price_minor is None:
            assert not +prices[item.sku]
        else:
            assert prices[item.sku][item.price_minor] == max(prices[item.sku].values())
    assert {"POST", "M"} <= loaded.result.not_goods <= {item.sku for item in loaded.result.items}
    assert not any(sku[:5].isdigit() for sku in loaded.result.not_goods)


def test_duplicates_and_zero_prices_of_known_customers_are_kept(loaded: Loaded) -> None:
    seen = Counter((row.order_id, row.sku, row.quantity, row.amount_minor) for row in loaded.orders)
    assert max(seen.values()) > 1
    zero = [row for row in loaded.orders if loaded.rows[row.line_no - 1]["unit_price"] == 0]
    assert zero
    assert all(row.amount_minor == 0 for row in zero)


def test_the_lines_of_an_invoice_stay_together_in_one_batch(tmp_path: Path) -> None:
    path = tmp_path / "slice.parquet"
    make_slice(path, seed=5, customers=40)
    flat = [row.order_id for batch in read(path).orders for row in batch]
    runs = [invoice for place, invoice in enumerate(flat) if place == 0 or flat[place - 1] != invoice]
    assert len(runs) == len(set(runs))


def test_batches_of_the_full_file_end_where_an_invoice_ends() -> None:
    if not DATA.exists():
        pytest.skip(f"The UCI data set is not at {DATA}; a slice fits one batch.")
    batches = [{row.order_id for row in batch} for batch in read(DATA).orders]
    assert len(batches) > 10
    assert sum(len(batch) for batch in batches) == len(set().union(*batches)) == 18_536


def test_the_full_file_has_its_known_totals() -> None:
    if not DATA.exists():
        pytest.skip(f"The UCI data set is not at {DATA}; its twin runs on a generated slice.")
    result = read(DATA)
    orders = [row for batch in result.orders for row in batch]
    assert (result.lines, len(orders), len(result.refunds), len(result.rejects)) == (
        541_909, 397_924, 8_905, 135_080,
    )  # fmt: skip
    assert len(result.members) == 4_372
    assert len({row.member_id for row in orders}) == 4_339
    assert len({row.refund_id for row in result.refunds}) == 3_654
    # Known: 8,911,407.904 and 611,342.090; four lines of a tenth of a penny round to nothing.
    assert sum(row.amount_minor for row in orders) == 891_140_790
    assert sum(row.amount_minor for row in result.refunds) == 61_134_209
    assert sum(row.amount_minor == 0 for row in orders) == 40 + 4


def test_a_slice_is_the_same_for_the_same_seed(tmp_path: Path) -> None:
    one = make_slice(tmp_path / "one.parquet", seed=1, customers=5)
    assert one == make_slice(tmp_path / "two.parquet", seed=1, customers=5)
    assert one != make_slice(tmp_path / "three.parquet", seed=2, customers=5)


def test_half_a_penny_is_rounded_up_once_per_line(tmp_path: Path) -> None:
    rows = [make_row("1", unit_price=0.125, quantity=count) for count in (1, 3, 2)]
    (batch,) = read(write_rows(tmp_path / "few.parquet", rows)).orders
    assert [row.amount_minor for row in batch] == [13, 38, 25]


def test_summer_time_is_an_hour_ahead_of_utc(tmp_path: Path) -> None:
    rows = [make_row("1", invoice_ts=datetime(2011, 7, 1, 0, 30))]
    (batch,) = read(write_rows(tmp_path / "few.parquet", rows)).orders
    assert batch[0].placed_at == datetime(2011, 6, 30, 23, 30, tzinfo=UTC)


def test_an_hour_that_came_twice_is_taken_as_the_first(tmp_path: Path) -> None:
    rows = [make_row("1", invoice_ts=datetime(2011, 10, 30, 1, 30))]
    (batch,) = read(write_rows(tmp_path / "few.parquet", rows)).orders
    assert batch[0].placed_at == datetime(2011, 10, 30, 0, 30, tzinfo=UTC)


def test_a_time_that_never_was_is_refused(tmp_path: Path) -> None:
    row = make_row("1", invoice_ts=datetime(2011, 3, 27, 1, 30))
    assert refused(tmp_path, row) == [(1, "time-impossible")]


@pytest.mark.parametrize(
    ("invoice", "fields", "code"),
    [
        ("1", {"stock_code": None}, "value-missing"),
        ("1", {"quantity": None}, "value-missing"),
        ("1", {"unit_price": None}, "value-missing"),
        ("1", {"unit_price": float("nan")}, "value-missing"),
        ("1", {"invoice_ts": None}, "value-missing"),
        ("1", {"stock_code": "with\x00nul"}, "id-unusable"),
        ("1", {"stock_code": ""}, "id-unusable"),
        ("1", {"stock_code": "x" * 129}, "id-unusable"),
        ("A1", {}, "invoice-kind-unknown"),
        ("1", {"unit_price": -0.01}, "price-negative"),
        ("1", {"unit_price": 1.0005}, "price-too-precise"),
        ("1", {"unit_price": float("inf")}, "amount-too-large"),
        ("1", {"unit_price": 1e307}, "amount-too-large"),
        ("1", {"unit_price": 9e8, "quantity": 2}, "amount-too-large"),
        ("1", {"quantity": 0}, "quantity-not-positive"),
        ("1", {"quantity": -3}, "quantity-not-positive"),
        ("C1", {"quantity": 3}, "quantity-not-negative"),
        ("C1", {"quantity": -1, "unit_price": 0.001}, "refund-without-amount"),
    ],
)
def test_a_line_that_cannot_be_taken_says_why(
    tmp_path: Path, invoice: str, fields: dict[str, Any], code: str
) -> None:
    good = make_row("99", customer_id=12347)
    assert refused(tmp_path, good, make_row(invoice, **fields)) == [(2, code)]


def test_an_invoice_without_a_number_is_refused(tmp_path: Path) -> None:
    assert refused(tmp_path, make_row("1") | {"invoice_no": None}) == [(1, "value-missing")]


def test_a_bad_line_takes_its_whole_invoice_with_it(tmp_path: Path) -> None:
    rows = [make_row("1"), make_row("2"), make_row("1", quantity=-1), make_row("1")]
    assert refused(tmp_path, *rows) == [
        (1, "invoice-incomplete"),
        (3, "quantity-not-positive"),
        (4, "invoice-incomplete"),
    ]


def test_an_invoice_of_two_customers_is_refused(tmp_path: Path) -> None:
    rows = [make_row("1"), make_row("1", customer_id=12347)]
    assert refused(tmp_path, *rows) == [(1, "invoice-of-two-members"), (2, "invoice-of-two-members")]


def test_a_line_of_nothing_stays_in_a_refund_that_is_worth_something(tmp_path: Path) -> None:
    rows = [make_row("C1", quantity=-1, unit_price=price) for price in (0.0, 5.0)]
    assert refused(tmp_path, *rows) == []
    refunds = read(tmp_path / "few.parquet").refunds
    assert [(row.quantity, row.amount_minor) for row in refunds] == [(1, 0), (1, 500)]


def test_a_member_known_only_by_a_cancellation_joins_with_it(tmp_path: Path) -> None:
    result = read(write_rows(tmp_path / "few.parquet", [make_row("C1", quantity=-1)]))
    assert list(result.orders) == []
    assert result.members == [MemberRow("12346", datetime(2010, 12, 1, 8, 26, tzinfo=UTC))]


def test_an_item_without_name_or_price_is_still_listed(tmp_path: Path) -> None:
    result = read(write_rows(tmp_path / "few.parquet", [make_row("1", description=None, unit_price=0.0)]))
    assert result.items == [("22423", "22423", None)]


def test_control_characters_are_cleaned_out_of_names(tmp_path: Path) -> None:
    result = read(write_rows(tmp_path / "few.parquet", [make_row("1", description=" RED\x00 MUG\t")]))
    assert result.items == [("22423", "RED MUG", 100)]


def test_an_empty_file_gives_nothing(tmp_path: Path) -> None:
    result = read(write_rows(tmp_path / "none.parquet", []))
    assert (list(result.orders), result.refunds, result.rejects) == ([], [], [])
    assert (result.items, result.members, result.lines) == ([], [], 0)


def test_a_file_cut_in_the_middle_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cut.parquet"
    make_slice(path, seed=1, customers=10)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(SourceUnreadable, match=r"cut\.parquet is no readable Parquet file"):
        read(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceUnreadable):
        read(tmp_path / "nowhere.parquet")


def test_a_file_without_a_column_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "short.parquet"
    pq.write_table(pa.Table.from_pylist([make_row("1")], schema=SCHEMA).drop_columns(["customer_id"]), path)
    with pytest.raises(SourceUnreadable, match="customer_id"):
        read(path)


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("invoice_ts", pa.array(["2011-01-01"])),
        ("invoice_ts", pa.array([0], pa.timestamp("ms", "UTC"))),
        ("quantity", pa.array(["many"])),
        ("customer_id", pa.array([1.5])),
    ],
)
def test_a_column_of_another_type_is_refused(tmp_path: Path, column: str, values: Any) -> None:
    table = pa.Table.from_pylist([make_row("1")], schema=SCHEMA)
    path = tmp_path / "other.parquet"
    pq.write_table(table.set_column(table.column_names.index(column), column, values), path)
    with pytest.raises(SourceUnreadable):
        read(path)


def test_every_reason_to_refuse_a_line_is_on_the_page() -> None:
    section = PAGE.read_text("utf-8").split("### Why a line is refused")[1].split("\n## ")[0]
    assert re.findall(r"^\| `([a-z-]+)` \|", section, re.M) == [code for code, _ in REASONS if code]
