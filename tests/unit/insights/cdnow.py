"""The CDNOW sample (2,357 customers of a music shop, 1997 to June 1998), as the `lifetimes` package ships it.

Only its files are read: the package itself asks for a setuptools that is gone.
"""

from __future__ import annotations

import csv
from datetime import date, timedelta
from importlib.util import find_spec
from pathlib import Path

from service.insights.lifetime_value import History

UNTIL = date(1998, 6, 30) + timedelta(days=1)
"""The first day without data."""


def find_folder() -> Path:
    """Return where the files are."""
    spec = find_spec("lifetimes")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0]) / "datasets"


def read_order_days() -> list[list[date]]:
    """Return each customer's order days."""
    days: dict[str, list[date]] = {}
    for line in (find_folder() / "CDNOW_sample.txt").read_text().splitlines():
        if fields := line.split():
            days.setdefault(fields[1], []).append(date.fromisoformat(fields[2]))
    return list(days.values())


def read_histories() -> list[History]:
    """Return each customer's history over the first 39 weeks, in weeks."""
    with (find_folder() / "cdnow_customers_summary.csv").open(newline="") as file:
        return [
            History(int(row["frequency"]), float(row["recency"]), float(row["T"]))
            for row in csv.DictReader(file)
        ]


def read_valued_histories() -> list[History]:
    """Return the same with the mean value of the repeat orders, in dollars."""
    with (find_folder() / "cdnow_customers_summary_with_transactions.csv").open(newline="") as file:
        return [
            History(int(row["x"]), float(row["t_x"]), float(row["T"]), float(row["zbar"]))
            for row in csv.DictReader(file)
        ]
