"""A simulation as rows for a spreadsheet. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from service.kit.tables import Table

_COLUMNS = ("part", "group", "from", "to", "members", "up", "down", "demoted", "reason")


def simulation_table(simulation_id: str, result: Mapping[str, Any], *, locale: str) -> Table:
    """Return a row for every cell of the matrix, cohort, store and sampled member, which `part` tells apart.

    Of a sampled member, `group` is their id and `reason` what they lack or have reached.
    """
    return Table(simulation_id, _COLUMNS, list(_rows(result, locale)))


def _rows(result: Mapping[str, Any], locale: str) -> Iterator[tuple[object, ...]]:
    for cell in result["matrix"]:
        yield "matrix", None, cell["from"], cell["to"], cell["members"], None, None, None, None
    for part, parts, name in (("cohort", "by_cohort", "cohort"), ("store", "by_store", "store_id")):
        for group in result[parts]:
            movers = (group[column] for column in ("members", "up", "down", "demoted"))
            yield part, group[name], None, None, *movers, None
    for sample in result["samples"]:
        for member in sample["members"]:
            reason = None if member["reason"] is None else member["reason"][locale]
            yield "sample", member["member_id"], sample["from"], sample["to"], 1, None, None, None, reason
