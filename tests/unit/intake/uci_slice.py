"""A small file with the columns and the traps of the UCI data set, for machines that do not have it."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

Row = dict[str, Any]

SCHEMA = pa.schema(
    [
        ("invoice_no", pa.string()),
        ("stock_code", pa.string()),
        ("description", pa.string()),
        ("quantity", pa.int32()),
        ("invoice_ts", pa.timestamp("ms")),
        ("unit_price", pa.float64()),
        ("customer_id", pa.int32()),
        ("country", pa.string()),
        ("is_cancel", pa.bool_()),
    ]
)
FIRST_MINUTE = datetime(2010, 12, 1, 8, 26)
PRICES = (0.42, 0.85, 1.25, 2.55, 4.95, 12.75, 0.165, 1.095, 0.001)
CHARGES = (("POST", "POSTAGE"), ("M", "Manual"), ("BANK CHARGES", "Bank Charges"), ("C2", "CARRIAGE"))


def make_row(invoice: str, **fields: Any) -> Row:
    """Make one line: a mug for one pound by customer 12346, but for the fields given."""
    row: Row = {
        "invoice_no": invoice,
        "stock_code": "22423",
        "description": "ENAMEL MUG",
        "quantity": 1,
        "invoice_ts": FIRST_MINUTE,
        "unit_price": 1.0,
        "customer_id": 12346,
        "country": "United Kingdom",
        "is_cancel": invoice.startswith("C"),
    }
    return row | fields


def write_rows(path: Path, rows: list[Row]) -> Path:
    """Write lines as a file of the data set."""
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), path)
    return path


def make_slice(path: Path, *, seed: int, customers: int) -> list[Row]:
    """Write a file of `customers` customers with every trap of the real one; return its rows in order."""
    stream = random.Random(seed)
    invoices = [
        invoice for customer in range(12346, 12346 + customers) for invoice in _history(stream, customer)
    ]
    invoices += [_anonymous(stream) for _ in range(customers)]
    invoices.sort(key=lambda lines: lines[0]["invoice_ts"])
    rows: list[Row] = []
    for number, lines in enumerate([*invoices, *_traps()], start=536365):
        for line in lines:
            rows.append(line | {"invoice_no": f"{line['invoice_no']}{number}"})
    # One invoice is torn apart, as a single one of the real file is.
    rows.insert(3, rows.pop())
    write_rows(path, rows)
    return rows


def _history(stream: random.Random, customer: int) -> list[list[Row]]:
    """Invent a few invoices; about one in six has a cancellation later, which nothing links to it."""
    invoices = []
    at = FIRST_MINUTE + timedelta(minutes=stream.randint(0, 200_000))
    for _ in range(stream.randint(1, 6)):
        lines = [_line(stream, customer, at) for _ in range(stream.randint(1, 6))]
        if stream.random() < 0.2:
            lines.append(dict(lines[0]))  # an exact duplicate is real
        if stream.random() < 0.1:
            lines[-1]["invoice_ts"] = at + timedelta(minutes=1)
            lines.reverse()  # the later minute may come first
        invoices.append(lines)
        if stream.random() < 0.17:
            back = stream.choice(lines)
            worth = back if back["unit_price"] >= 0.01 else back | {"unit_price": 3.75, "stock_code": "D"}
            later = at + timedelta(days=stream.randint(0, 20), minutes=stream.randint(5, 90))
            change = {
                "invoice_no": "C",
                "quantity": -back["quantity"],
                "invoice_ts": later,
                "is_cancel": True,
            }
            invoices.append([worth | change])
        at += timedelta(minutes=stream.randint(1000, 90_000))
    return invoices


def _line(stream: random.Random, customer: int, at: datetime) -> Row:
    code, name = f"2{stream.randint(1, 40):04d}", "GIFT"
    if stream.random() < 0.05:
        code, name = stream.choice(CHARGES)
    return make_row(
        "",
        stock_code=code + stream.choice(("", "", "A", "b")) if name == "GIFT" else code,
        description=f"{name} {code}",
        quantity=stream.choice((1, 2, 3, 6, 12, 25)),
        unit_price=0.0 if stream.random() < 0.02 else stream.choice(PRICES),
        customer_id=customer,
        invoice_ts=at,
    )


def _anonymous(stream: random.Random) -> list[Row]:
    """Lines without a customer: sales, stock corrections, cancellations, bad debt."""
    at = FIRST_MINUTE + timedelta(minutes=stream.randint(0, 500_000))
    nobody = {"customer_id": None, "invoice_ts": at}
    return stream.choice(
        (
            [make_row("", unit_price=2.51, **nobody), make_row("", stock_code="DOT", **nobody)],
            [make_row("", quantity=-20, unit_price=0.0, description=None, **nobody)],
            [make_row("C", quantity=-1, stock_code="AMAZONFEE", unit_price=13.5, **nobody)],
            [make_row("A", stock_code="B", unit_price=-11062.06, **nobody)],
        )
    )


def _traps() -> list[list[Row]]:
    """The rarer traps, one of each, so that the smallest slice has them all."""
    nothing = {"unit_price": 0.0, "customer_id": 12346}
    giant = {"unit_price": 2.08, "invoice_ts": datetime(2011, 12, 9, 9, 15)}
    summer = {"invoice_ts": datetime(2011, 7, 1, 0, 30)}
    return [
        [make_row("", **nothing)],
        [make_row("", quantity=80995, **giant)],
        [make_row("C", quantity=-80995, **giant)],
        [make_row("", **summer)],
        [make_row("", unit_price=0.125, quantity=1), make_row("", unit_price=0.125, quantity=3)],
    ]
