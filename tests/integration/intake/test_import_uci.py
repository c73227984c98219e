"""The real shop of the UCI data set, and its made-up twin: every customer's figures counted independently."""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from sqlalchemy import Engine, text

from service.intake.bulk.adapters.source import SourceUnreadable
from service.intake.errors import SourceMismatch
from service.programme.operations import Programme
from service.tiers.operations import get_standing
from tests.conftest import SCALE, wipe
from tests.integration.intake.business import (
    NOW,
    assert_lawful,
    bring_in,
    count,
    differences,
    dump,
    start,
)
from tests.integration.intake.uci_worth import look_at_worth
from tests.integration.uci import DATA, UciShop, open_shop
from tests.unit.intake.uci_slice import Row, make_slice

LAST_DAY = date(2011, 12, 9)
WINDOW_DAYS = 365


@dataclass
class Figures:
    """One customer, counted from the raw rows with decimals alone; days by ordinal."""

    goods: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    refunds: dict[int, int] = field(default_factory=lambda: defaultdict(int))

    def measure(self, *, after: int, until: int) -> tuple[int, int, Fraction | None]:
        """Return net spend in pence, active days, and the visit interval of the days (after, until]."""
        net = sum(pence for day, pence in self.goods.items() if after < day <= until)
        net -= sum(pence for day, pence in self.refunds.items() if after < day <= until)
        active = sorted(day for day, pence in self.goods.items() if after < day <= until and pence > 0)
        interval = Fraction(active[-1] - active[0], len(active) - 1) if len(active) > 1 else None
        return net, len(active), interval


def count_figures(rows: list[Row]) -> dict[str, Figures]:
    firsts: dict[str, datetime] = {}
    for row in rows:
        invoice = row["invoice_no"]
        firsts[invoice] = min(row["invoice_ts"], firsts.get(invoice, row["invoice_ts"]))
    figures: dict[str, Figures] = defaultdict(Figures)
    for row in rows:
        if row["customer_id"] is not None:
            exact = abs(row["quantity"]) * Decimal(f"{row['unit_price']:.3f}")
            pence = int((exact * 100).quantize(Decimal(1), ROUND_HALF_UP))
            customer = figures[str(row["customer_id"])]
            # The file's times are the shop's own clock, so the day is simply theirs.
            day = firsts[row["invoice_no"]].toordinal()
            (customer.refunds if row["invoice_no"].startswith("C") else customer.goods)[day] += pence
    return figures


@pytest.fixture(params=["slice", "full"])
def shop(request: pytest.FixtureRequest, engine: Engine, tmp_path: Path) -> UciShop:
    if request.param == "full":
        whole: UciShop = request.getfixturevalue("uci_shop")
        return whole
    path = tmp_path / "slice.parquet"
    return open_shop(engine, path, make_slice(path, seed=3, customers=60))


def read_days(engine: Engine) -> dict[str, list[Any]]:
    days: dict[str, list[Any]] = defaultdict(list)
    with engine.connect() as conn:
        for row in conn.execute(
            text(
                "SELECT m.member_id, d.* FROM member_days d JOIN members m USING (member_key) ORDER BY d.day"
            )
        ):
            days[row.member_id].append(row)
    return days


def test_every_customer_has_the_figures_of_an_independent_count(shop: UciShop) -> None:
    expected = count_figures(shop.rows)
    days = read_days(shop.engine)
    assert days.keys() == expected.keys()
    for member_id, rows in days.items():
        active = [row.day for row in rows if row.goods_minor > 0]
        net = sum(row.spend_minor - row.unlinked_minor for row in rows)
        span = (active[-1] - active[0]).days if active else 0
        interval = Fraction(span, len(active) - 1) if len(active) > 1 else None
        assert (net, len(active), interval) == expected[member_id].measure(after=0, until=10**6), member_id
    without = [number for number, row in enumerate(shop.rows, start=1) if row["customer_id"] is None]
    assert shop.report.rejected == {"member-missing": len(without)}
    assert shop.report.lines_read == len(shop.rows)
    with shop.engine.connect() as conn:
        numbers = conn.scalars(text("SELECT line_no FROM import_rejects ORDER BY line_no")).all()
    assert numbers == without
    assert_lawful(shop.engine)
    look_at_dates(shop.engine)
    look_at_windows(shop, expected)
    look_at_worth(shop.engine, shop.programme, expected, full=shop.path == DATA)
    bring_in_again(shop)


def look_at_windows(shop: UciShop, expected: dict[str, Figures]) -> None:
    """Compare what the tiers say of a year; at reduced counts of every tenth customer of the full file."""
    until = LAST_DAY.toordinal()
    step = 10 if len(expected) > 1_000 and SCALE == 1 else 1
    with shop.engine.connect() as conn:
        rows = conn.execute(text("SELECT member_id, member_key FROM members ORDER BY member_id")).all()
        for member_id, member_key in rows[::step]:
            standing = get_standing(
                conn, member_key=member_key, as_of=LAST_DAY, now=NOW, programme=shop.programme, locale="en"
            )
            metrics = standing["metrics"]
            found = (metrics["net_spend"], metrics["active_days"], metrics["visit_interval_days"])
            net, active, interval = expected[member_id].measure(after=until - WINDOW_DAYS, until=until)
            assert found == (str(Decimal(net).scaleb(-2)), active, two_decimals(interval)), member_id


def two_decimals(interval: Fraction | None) -> str | None:
    if interval is None:
        return None
    exact = Decimal(interval.numerator) / Decimal(interval.denominator)
    return str(exact.quantize(Decimal("0.01"), ROUND_HALF_UP))


def look_at_dates(engine: Engine) -> None:
    """History is dated when it would have happened, and stands in the partitions of its months."""
    with engine.connect() as conn:
        rises = conn.execute(
            text(
                "SELECT count(*) AS number, min(effective_at) AS first, max(effective_at) AS last "
                "FROM tier_changes WHERE cause = 'order' AND superseded_at IS NULL"
            )
        ).one()
        assert rises.number > 0
        assert rises.first < rises.last < datetime(2011, 12, 10, tzinfo=UTC)
        for statement in (
            "SELECT count(*) FROM ledger_transactions t JOIN order_keys o USING (order_key) "
            "WHERE t.kind = 'earn' AND t.occurred_at <> o.placed_at",
            "SELECT count(*) FROM ledger_transactions t JOIN refund_keys r USING (refund_key) "
            "WHERE t.kind = 'reverse' AND t.occurred_at <> r.refunded_at",
            "SELECT count(*) FROM orders_default",
            "SELECT count(*) FROM refund_lines_default",
        ):
            assert conn.execute(text(statement)).scalar_one() == 0, statement


def bring_in_again(shop: UciShop) -> None:
    """The same file once more: nothing is new, nothing moves."""
    rows, state = count(shop.engine), dump(shop.engine)
    again = bring_in(shop.engine, shop.programme, "uci-online-retail", shop.path)
    assert (again.records_new, again.members_rated) == (0, 0)
    assert again.records_known == shop.report.records_new
    assert again.rejected == shop.report.rejected
    assert count(shop.engine) == rows
    assert differences(state, dump(shop.engine)) == {}


@pytest.mark.parametrize("size", ["slice", "full"])
def test_shuffled_and_in_overlapping_pieces_the_file_ends_where_it_does_as_it_is(
    size: str, engine: Engine, tmp_path: Path
) -> None:
    if size == "full" and (SCALE == 1 or not DATA.exists()):
        pytest.skip(f"The full file ({DATA}) is taken to pieces at full counts only: `make test-all`.")
    whole = DATA if size == "full" else tmp_path / "whole.parquet"
    if size == "slice":
        make_slice(whole, seed=8, customers=40)
    table = pq.read_table(whole)
    order = list(range(table.num_rows))
    random.Random(4).shuffle(order)
    states = []
    for parts in ([table], [table.take(order)], cut_into_pieces(table)):
        wipe(engine)
        programme = start(engine, currency="GBP", timezone="Europe/London")
        for part in parts:
            pq.write_table(part, tmp_path / "part.parquet")
            bring_in(engine, programme, "uci-online-retail", tmp_path / "part.parquet")
        # What a piece makes of an item is the commonest name and price in it, and the lines of an invoice are
        # numbered as they come: facts, tiers and points are what counts.
        states.append(dump(engine, without={"items", "order lines", "refund lines"}) | count_lines(engine))
        assert_lawful(engine)
    assert differences(states[0], states[1]) == {}
    assert differences(states[0], states[2]) == {}


def cut_into_pieces(table: Any) -> list[Any]:
    """Cut a file into three pieces of whole invoices that overlap, the last one first."""
    invoices = table["invoice_no"].to_pylist()
    ranks = {invoice: rank for rank, invoice in enumerate(dict.fromkeys(invoices))}
    pieces = []
    for low, high in ((60, 100), (0, 50), (30, 80)):
        within = range(len(ranks) * low // 100, len(ranks) * high // 100)
        pieces.append(table.filter([ranks[invoice] in within for invoice in invoices]))
    return pieces


def count_lines(engine: Engine) -> dict[str, list[str]]:
    """Return what stands on orders and refunds, whatever the order of their lines."""
    statements = {
        "ordered": "SELECT k.order_id, i.sku, l.quantity, l.amount_minor, count(*) FROM order_lines l "
        "JOIN order_keys k USING (order_key) JOIN items i USING (item_key) GROUP BY 1, 2, 3, 4",
        "given back": "SELECT k.refund_id, i.sku, l.quantity, l.amount_minor, count(*) FROM refund_lines l "
        "JOIN refund_keys k USING (refund_key) JOIN items i USING (item_key) GROUP BY 1, 2, 3, 4",
    }
    with engine.connect() as conn:
        return {name: sorted(map(str, conn.execute(text(sql)))) for name, sql in statements.items()}


def test_a_programme_in_another_currency_or_zone_refuses_the_file_before_anything_is_written(
    engine: Engine, programme: Programme, tmp_path: Path
) -> None:
    path = tmp_path / "slice.parquet"
    make_slice(path, seed=3, customers=2)
    with pytest.raises(SourceMismatch, match="GBP and Europe/London"):
        bring_in(engine, programme, "uci-online-retail", path)
    (tmp_path / "cut.parquet").write_bytes(path.read_bytes()[:-20])
    with pytest.raises(SourceUnreadable):
        bring_in(engine, programme, "uci-online-retail", tmp_path / "cut.parquet")
    with engine.connect() as conn:
        assert conn.execute(text("SELECT count(*) FROM items")).scalar_one() == 0
        assert conn.scalars(text("SELECT status FROM imports")).all() == ["failed", "failed"]
