"""The statement as rows for a spreadsheet. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from service.kit.tables import Table

_HEAD = ("transaction_id", "kind", "occurred_at", "order_id", "refund_id", "hold_id", "reason")
_ACCOUNTS = ("available", "pending", "held")


def statement_table(shown: Mapping[str, Any], *, is_first: bool) -> Table:
    """Return a page of a statement: a row per entry, `opening` before the first, `closing` at the end."""
    rows = [
        (
            *(line[name] for name in _HEAD),
            *(line["change"][account] for account in _ACCOUNTS),
            *(line["balance"][account] for account in _ACCOUNTS),
        )
        for line in shown["data"]
    ]
    if is_first:
        rows.insert(0, _bare("opening", shown["opening"]))
    if shown["next_cursor"] is None:
        rows.append(_bare("closing", shown["closing"]))
    columns = (*_HEAD, *(f"{account}_change" for account in _ACCOUNTS), *_ACCOUNTS)
    return Table("points-statement", columns, rows, next_cursor=shown["next_cursor"])


def _bare(kind: str, figures: Mapping[str, int]) -> tuple[object, ...]:
    blank = (None,) * (len(_HEAD) - 2)
    return (None, kind, *blank, *(None for _ in _ACCOUNTS), *(figures[account] for account in _ACCOUNTS))
