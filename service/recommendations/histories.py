"""Everything that everybody has taken, net of what came back, as columns: read whole, set-based.

The rule is the one that answers use (`rules.net_purchases`), over a member's whole history. numpy only.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from service.recommendations import store_training
from service.recommendations.rules import Bought, Returned, net_purchases


@dataclass(slots=True)
class Columns:
    """Purchases as columns, gathered block by block: keys, days since 1970-01-01, pieces."""

    member_key: list[NDArray[np.int64]] = dataclasses.field(default_factory=list)
    item_key: list[NDArray[np.int64]] = dataclasses.field(default_factory=list)
    day: list[NDArray[np.int32]] = dataclasses.field(default_factory=list)
    quantity: list[NDArray[np.int32]] = dataclasses.field(default_factory=list)

    def add(self, member_key: Any, item_key: Any, day: Any, quantity: Any) -> None:
        """Append one block."""
        self.member_key.append(np.asarray(member_key, np.int64))
        self.item_key.append(np.asarray(item_key, np.int64))
        self.day.append(np.asarray(day, np.int32))
        self.quantity.append(np.asarray(quantity, np.int32))


def read_columns(conn: Connection, *, timezone: str, tell: Callable[[str, int, int | None], None]) -> Columns:
    """Read every purchase that stands, net of refunds and cancellations, streaming."""
    total = store_training.prepare_history(conn)
    columns = Columns()
    read = 0
    for rows in store_training.copy_untouched(conn, timezone=timezone):
        columns.add(*rows)
        read += len(rows.item_key)
        tell("read", read, total)
    _net_touched(conn, columns, timezone)
    tell("read", total, total)
    return columns


def _net_touched(conn: Connection, columns: Columns, timezone: str) -> None:
    """Net the pairs of member and item of which something was given back, and add what is left."""
    blocks = list(store_training.copy_touched(conn, timezone=timezone))
    names = ("member_key", "item_key", "day", "quantity", "order_key", "bought")
    table = {name: np.concatenate([block[name] for block in blocks]) for name in names}
    rows = zip(*(table[name].tolist() for name in names), strict=True)
    left: list[tuple[int, int, int, int]] = []
    for (member_key, item_key), pair in groupby(rows, key=lambda row: row[:2]):
        bought: list[Bought] = []
        returned: list[Returned] = []
        for _, _, day, quantity, order_key, is_purchase in pair:
            if is_purchase:
                bought.append(Bought("", day, quantity, order_key))
            else:
                returned.append(Returned("", day, quantity, order_key or None))
        left += [(member_key, item_key, day, pieces) for _, day, pieces in net_purchases(bought, returned)]
    columns.add(*np.array(left, np.int64).reshape(-1, 4).T)
