"""Read the Online Retail data set of the UCI repository: a UK gift shop, 2010 to 2011, in pounds.

The columns are `invoice_no, stock_code, description, quantity, invoice_ts, unit_price, customer_id`, one row
per invoice line, in Parquet. A sale becomes an order, an invoice whose number begins with C a refund that
names no order. Why each choice was made is told in docs/bring-your-own-data.md.
Source: D. Chen, S. L. Sain and K. Guo, Data mining for the online retail industry, 2012, CC BY 4.0.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from service.intake.bulk.adapters.source import (
    AdapterResult,
    ItemRow,
    MemberRow,
    OrderRow,
    RefundRow,
    Reject,
    SourceUnreadable,
)

CURRENCY: Final = "GBP"
TIMEZONE: Final = "Europe/London"
COLUMNS: Final = (
    "invoice_no",
    "stock_code",
    "description",
    "quantity",
    "invoice_ts",
    "unit_price",
    "customer_id",
)

_BATCH_LINES: Final = 20_000
# Up to here a double still tells thousandths of a pound apart.
_MOST_POUNDS: Final = 1e9
_LONGEST_ID: Final = 128
_LONDON: Final = ZoneInfo(TIMEZONE)
_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001  the file's times carry no zone
_CHARGES: Final = re.compile(
    r"POST|DOT|C2|M|D|S|B|BANK CHARGES|AMAZONFEE|CRUK|PADS|gift_\w+", re.IGNORECASE | re.ASCII
)

# What is wrong with a line, in the order it is asked. Position 0 is "nothing".
REASONS: Final = (
    ("", ""),
    ("member-missing", "The line names no customer."),
    ("value-missing", "The line has no invoice number, stock code, quantity, time or price."),
    ("id-unusable", "An invoice number or stock code is 1 to 128 printable characters."),
    ("invoice-kind-unknown", "The invoice number begins with neither a digit nor C."),
    ("invoice-of-two-members", "The lines of this invoice name different customers."),
    ("time-impossible", "This local time was skipped when the clocks went forward."),
    ("amount-too-large", "The line comes to a thousand million pounds or more."),
    ("price-negative", "The price is below zero."),
    ("price-too-precise", "The price has more than three decimals."),
    ("quantity-not-positive", "A sale needs a quantity above zero."),
    ("quantity-not-negative", "A line of a cancelling invoice needs a quantity below zero."),
    ("refund-without-amount", "The lines of this refund come to nothing."),
    ("invoice-incomplete", "Another line of this invoice cannot be taken, so none of it is."),
)
_CODE: Final = {code: number for number, (code, _) in enumerate(REASONS)}

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Objects = NDArray[np.object_]


@dataclass(frozen=True, slots=True)
class _Column:
    """A column of words: `codes` per row (-1 where there is none) into `words`, in order of first sight."""

    codes: Ints
    words: list[str]


@dataclass(frozen=True, slots=True)
class _Lines:
    """The rows of the file as arrays, sorted so that each invoice is one run, in order of first sight."""

    line_no: Ints
    invoice: _Column
    sku: _Column
    description: _Column
    customer: Ints
    quantity: Ints
    millis: Ints
    thousandths: Ints
    too_precise: Bools
    too_large: Bools
    missing: Bools
    no_customer: Bools
    starts: Ints
    run: Ints


def read(path: Path) -> AdapterResult:
    """Read the file at `path` and say what of it can be taken; amounts in pence, rounded half up per line.

    Raises SourceUnreadable where it is no Parquet file or lacks one of the columns.
    """
    lines = _sort_into_invoices(_open_table(path))
    times, impossible = _place_in_time(lines)
    pence = (np.abs(lines.quantity) * lines.thousandths + 5) // 10
    returns = _flag_words(lines.invoice, lambda word: word.startswith("C"))
    verdict = _judge(lines, pence, returns, impossible)
    taken = verdict == 0
    columns = _list_fields(lines, pence, times)
    items = _list_items(lines, taken)
    return AdapterResult(
        lines=len(verdict),
        currency=CURRENCY,
        timezone=TIMEZONE,
        orders=_batch_orders(columns, lines, taken & ~returns),
        refunds=[RefundRow._make(row) for row in _zip_rows(columns, np.flatnonzero(taken & returns))],
        items=items,
        members=_list_members(lines, times, taken),
        rejects=_list_rejects(lines, verdict),
        not_goods=frozenset(item.sku for item in items if _CHARGES.fullmatch(item.sku)),
    )


def _open_table(path: Path) -> Any:
    try:
        table = pq.read_table(path, columns=list(COLUMNS))
    except (OSError, pa.ArrowException) as problem:
        raise SourceUnreadable(f"{path.name} is no readable Parquet file: {problem}") from problem
    absent = [name for name in COLUMNS if name not in table.column_names]
    if absent:
        raise SourceUnreadable(f"{path.name} has no column {', '.join(absent)}.")
    return table


def _sort_into_invoices(table: Any) -> _Lines:
    """Turn the table into arrays; a stable sort brings the lines of each invoice together."""
    try:
        invoice, sku, description = (_encode(table[name]) for name in COLUMNS[:3])
        quantity = _numbers(table["quantity"], pa.int64(), 0)
        millis = _numbers(_local_millis(table["invoice_ts"]), pa.int64(), 0)
        price = _numbers(table["unit_price"], pa.float64(), float("nan"))
        customer = _numbers(table["customer_id"], pa.int64(), -1)
    except pa.ArrowException as problem:
        raise SourceUnreadable(f"A column has another type than expected: {problem}") from problem
    missing = (invoice.codes < 0) | (sku.codes < 0) | np.isnan(price)
    for name in ("quantity", "invoice_ts"):
        missing |= table[name].is_null().to_numpy()
    thousandths, too_precise, too_large = _count_thousandths(price, quantity)
    order = np.argsort(invoice.codes, kind="stable")
    codes = invoice.codes[order]
    first = np.ones(len(codes), dtype=np.bool_)
    first[1:] = codes[1:] != codes[:-1]
    return _Lines(
        line_no=order + 1,
        invoice=_Column(codes, invoice.words),
        sku=_Column(sku.codes[order], sku.words),
        description=_Column(description.codes[order], description.words),
        customer=customer[order],
        quantity=quantity[order],
        millis=millis[order],
        thousandths=thousandths[order],
        too_precise=too_precise[order],
        too_large=too_large[order],
        missing=missing[order],
        no_customer=table["customer_id"].is_null().to_numpy()[order],
        starts=np.flatnonzero(first),
        run=np.cumsum(first) - 1,
    )


def _count_thousandths(price: NDArray[np.float64], quantity: Ints) -> tuple[Ints, Bools, Bools]:
    """Turn prices into whole thousandths, and flag those with a fourth decimal and lines beyond counting."""
    with np.errstate(over="ignore"):
        worth = np.abs(price) * np.maximum(np.abs(quantity), 1)
    too_large = ~(worth < _MOST_POUNDS)
    scaled = np.where(too_large, 0.0, price) * 1000
    thousandths = np.rint(scaled).astype(np.int64)
    # The double nearest to three decimals lies far closer than this, a fourth decimal far off.
    return thousandths, np.abs(scaled - thousandths) > 1e-3, too_large


def _local_millis(column: Any) -> Any:
    if not pa.types.is_timestamp(column.type) or column.type.tz is not None:
        raise SourceUnreadable("invoice_ts must hold local times without a zone.")
    return pc.cast(column, pa.timestamp("ms"), safe=False)


def _encode(column: Any) -> _Column:
    coded = pc.dictionary_encode(pc.cast(column, pa.string()).combine_chunks())
    codes = pc.fill_null(coded.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    return _Column(codes, coded.dictionary.to_pylist())


def _numbers(column: Any, kind: Any, absent: float) -> NDArray[Any]:
    numbers: NDArray[Any] = pc.fill_null(pc.cast(column, kind), pa.scalar(absent, kind)).to_numpy()
    return numbers


def _flag_words(column: _Column, test: Any) -> Bools:
    """Ask a question once per word, and answer it per row; a row without a word gets False."""
    answers = np.array([bool(test(word)) for word in column.words] + [False])
    return np.asarray(answers[column.codes], dtype=np.bool_)


def _place_in_time(lines: _Lines) -> tuple[Objects, Bools]:
    """Give every row its invoice's first minute, with London's offset, and flag times that never were.

    Of an hour that came twice, the first is meant.
    """
    offsets: dict[timedelta, timezone] = {}
    moments = np.empty(len(lines.starts), dtype=object)
    impossible = np.zeros(len(lines.starts), dtype=np.bool_)
    if len(lines.starts):
        for index, millis in enumerate(np.minimum.reduceat(lines.millis, lines.starts).tolist()):
            try:
                naive = _EPOCH + timedelta(milliseconds=millis)
                local = naive.replace(tzinfo=_LONDON)
                impossible[index] = local.astimezone(UTC).astimezone(_LONDON).replace(tzinfo=None) != naive
            except OverflowError:
                impossible[index] = True
                continue
            offset = local.utcoffset() or timedelta()
            # A fixed offset: subtracting two times of one named zone would count the clock, not the hours.
            moments[index] = naive.replace(tzinfo=offsets.setdefault(offset, timezone(offset)))
    return moments[lines.run], impossible[lines.run]


def _judge(lines: _Lines, pence: Ints, returns: Bools, impossible: Bools) -> NDArray[np.int8]:
    """Name for every row the first reason not to take it; an invoice is taken whole or not at all."""
    verdict = np.zeros(len(lines.run), dtype=np.int8)
    if not len(verdict):
        return verdict
    unusable = _flag_words(lines.invoice, _is_unusable) | _flag_words(lines.sku, _is_unusable)
    strange = ~returns & ~_flag_words(lines.invoice, lambda word: word[:1].isdigit())
    highest = np.maximum.reduceat(lines.customer, lines.starts)[lines.run]
    known = np.where(lines.no_customer, np.iinfo(np.int64).max, lines.customer)
    lowest = np.minimum.reduceat(known, lines.starts)[lines.run]
    nothing = returns & (np.add.reduceat(pence, lines.starts)[lines.run] == 0)
    for code, wrong in (
        ("member-missing", lines.no_customer),
        ("value-missing", lines.missing),
        ("id-unusable", unusable),
        ("invoice-kind-unknown", strange),
        ("invoice-of-two-members", lowest < highest),
        ("time-impossible", impossible),
        ("amount-too-large", lines.too_large),
        ("price-negative", lines.thousandths < 0),
        ("price-too-precise", lines.too_precise),
        ("quantity-not-positive", ~returns & (lines.quantity <= 0)),
        ("quantity-not-negative", returns & (lines.quantity >= 0)),
        ("refund-without-amount", nothing),
    ):
        verdict[wrong & (verdict == 0)] = _CODE[code]
    spoilt = np.maximum.reduceat(verdict, lines.starts)[lines.run] > 0
    verdict[spoilt & (verdict == 0)] = _CODE["invoice-incomplete"]
    return verdict


def _is_unusable(word: str) -> bool:
    return not (0 < len(word) <= _LONGEST_ID and word.isprintable() and word == word.strip())


def _list_fields(lines: _Lines, pence: Ints, times: Objects) -> tuple[NDArray[Any], ...]:
    """Lay the fields of a row side by side, in the order of OrderRow and RefundRow, currency apart."""
    invoices = np.array([*lines.invoice.words, None], dtype=object)
    skus = np.array([*lines.sku.words, None], dtype=object)
    customers, places = np.unique(lines.customer, return_inverse=True)
    members = np.array([str(customer) for customer in customers.tolist()], dtype=object)
    return (
        lines.line_no,
        invoices[lines.invoice.codes],
        members[places],
        times,
        skus[lines.sku.codes],
        np.abs(lines.quantity),
        pence,
    )


def _zip_rows(columns: tuple[NDArray[Any], ...], rows: Ints) -> Iterator[tuple[Any, ...]]:
    fields = [column[rows].tolist() for column in columns]
    return zip(*fields, [CURRENCY] * len(rows), strict=True)


def _batch_orders(columns: tuple[NDArray[Any], ...], lines: _Lines, sold: Bools) -> Iterator[list[OrderRow]]:
    """Cut the sales into batches where an invoice ends."""
    rows = np.flatnonzero(sold)
    runs = lines.run[rows]
    begin = 0
    while begin < len(rows):
        last = min(begin + _BATCH_LINES, len(rows)) - 1
        end = int(np.searchsorted(runs, runs[last], side="right"))
        yield [OrderRow._make(row) for row in _zip_rows(columns, rows[begin:end])]
        begin = end


def _list_items(lines: _Lines, taken: Bools) -> list[ItemRow]:
    """List what the taken lines are about, with the commonest name and the commonest price above zero."""
    skus = lines.sku.codes[taken]
    prices = _commonest(skus, (lines.thousandths[taken] + 5) // 10, lowest=1)
    names = _commonest(skus, lines.description.codes[taken], lowest=0)
    items = []
    for sku in np.unique(skus).tolist():
        word = lines.sku.words[sku]
        name = _clean(lines.description.words[names[sku]]) if sku in names else ""
        items.append(ItemRow(word, name or word, prices.get(sku)))
    return sorted(items)


def _commonest(keys: Ints, values: Ints, *, lowest: int) -> dict[int, int]:
    """Find the commonest value of at least `lowest` for each key; of equally common ones the smallest."""
    wanted = values >= lowest
    span = int(values.max(initial=0)) + 1
    pairs, counts = np.unique(keys[wanted] * span + values[wanted], return_counts=True)
    # Written from the worst to the best, so that the best stays.
    return {pair // span: pair % span for pair in pairs[np.lexsort((-pairs, counts))].tolist()}


def _clean(name: str) -> str:
    return " ".join("".join(sign if sign.isprintable() else " " for sign in name).split())


def _list_members(lines: _Lines, times: Objects, taken: Bools) -> list[MemberRow]:
    firsts = lines.starts[taken[lines.starts]]  # an invoice is taken whole, so its first row speaks for it
    joined: dict[int, datetime] = {}
    for customer, at in zip(lines.customer[firsts].tolist(), times[firsts].tolist(), strict=True):
        joined[customer] = min(at, joined.get(customer, at))
    members = [MemberRow(str(customer), at) for customer, at in joined.items()]
    return sorted(members, key=lambda member: (member.joined_at, member.member_id))


def _list_rejects(lines: _Lines, verdict: NDArray[np.int8]) -> list[Reject]:
    refused = np.flatnonzero(verdict)
    refused = refused[np.argsort(lines.line_no[refused])]
    numbers, reasons = lines.line_no[refused].tolist(), verdict[refused].tolist()
    return [Reject(number, *REASONS[reason]) for number, reason in zip(numbers, reasons, strict=True)]
