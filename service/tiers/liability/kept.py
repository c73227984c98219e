"""The liability report of a day that is over, computed by a job and kept: for large books."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from service.kit.clock import local_day, local_midnight
from service.kit.tables import Table
from service.programme.operations import Programme
from service.tiers import reports
from service.tiers.errors import AsOfInFuture, UnknownReport
from service.tiers.liability.answers import liability_json, liability_table
from service.tiers.liability.operations import see_liability
from service.tiers.reports import Report, ask_report

KIND = "liability"
WHOLE_BP = 10_000
_LOCALES = ("en", "zh-Hant")


def ask_liability(
    conn: Connection, *, as_of: date | None, allocated_bp: int, programme: Programme, now: datetime
) -> Report:
    """Ask what was outstanding at the end of a day, yesterday's unless another is named.

    Raises:
        AsOfInFuture: the day is not over.
    """
    today = local_day(now, timezone=programme.timezone)
    day = as_of or today - timedelta(days=1)
    if day >= today:
        raise AsOfInFuture("a day that is over; GET /v1/points/liability tells of this moment")
    parameters = {"allocated_bp": allocated_bp}
    return ask_report(conn, kind=KIND, parameters=parameters, as_of=day, today=today, now=now)


def ask_nightly(conn: Connection, *, programme: Programme, now: datetime) -> Report:
    """Ask for what was outstanding at the end of yesterday; once a day, however often it is called."""
    return ask_liability(conn, as_of=None, allocated_bp=WHOLE_BP, programme=programme, now=now)


def answer_liability(
    conn: Connection, *, parameters: Mapping[str, Any], as_of: date, programme: Programme
) -> dict[str, Any]:
    """Compute the report: what `GET /v1/points/liability` would tell of the day, in every language."""
    midnight = local_midnight(as_of + timedelta(days=1), timezone=programme.timezone)
    found = see_liability(
        conn,
        at=midnight - timedelta(microseconds=1),
        allocated_bp=parameters["allocated_bp"],
        programme=programme,
    )
    table = liability_table(found)
    return {
        "table": {"columns": list(table.columns), "rows": [list(row) for row in table.rows]},
        **{locale: liability_json(found, locale=locale) for locale in _LOCALES},
    }


def get_kept(conn: Connection, *, report_id: str) -> Report:
    """Return a liability report as it stands.

    Raises:
        UnknownReport: there is none of this id.
    """
    report = reports.get_report(conn, report_id=report_id)
    if report.kind != KIND:
        raise UnknownReport(f"no report has the id {report_id}")
    return report


def kept_json(report: Report, *, locale: str) -> dict[str, Any]:
    """Return a report as the API shows it."""
    shown = reports.show_report(report)
    del shown["kind"], shown["parameters"], shown["result"]
    told = None if report.result is None else report.result[locale]
    return shown | {"allocated_bp": report.parameters["allocated_bp"], "liability": told}


def kept_table(result: Mapping[str, Any]) -> Table:
    """Return the table of a computed report."""
    table = result["table"]
    return Table("points-liability", tuple(table["columns"]), [tuple(row) for row in table["rows"]])
