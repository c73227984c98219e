"""Routes of the reports on what tiers are worth."""

from __future__ import annotations

from typing import Any

from service.kit.fields import TableQuery
from service.kit.http import STAFF, Blueprint, Door
from service.programme.operations import get_programme
from service.tiers.errors import (
    AsOfInFuture,
    MonthsNotOver,
    NoActiveRuleset,
    ReportNotReady,
    RulesetNotReadable,
    UnknownReport,
    UnknownRuleset,
)
from service.tiers.reports import get_report
from service.tiers.worth import operations
from service.tiers.worth.schemas import KINDS, TierReportBody, TierReportSchema
from service.tiers.worth.tables import histogram_table, worth_table

blueprint = Blueprint(
    "tiers_worth", __name__, url_prefix="/v1", description="Do the tiers find the valuable members?"
)


@blueprint.door(
    "POST",
    "/tier-reports",
    roles=STAFF,
    body=TierReportBody(),
    answers={202: TierReportSchema()},
    refusals=(UnknownRuleset, RulesetNotReadable, AsOfInFuture, MonthsNotOver, NoActiveRuleset),
    idempotency_key="required",
)
def ask_tier_report(door: Door, body: dict[str, Any]) -> object:
    """Ask a question about the whole membership, which a job answers.

    The same question of the same day is the same report: facts that come in late, and a draft that is
    edited, make another. One that failed is tried again.
    """
    given: dict[str, Any] = {
        "version": body.get("version"),
        "as_of": body.get("as_of"),
        "programme": get_programme(door.conn),
        "now": door.now,
    }
    if body["kind"] == "histogram":
        return operations.show_report(operations.ask_histogram(door.conn, **given))
    months = body.get("months", operations.DEFAULT_MONTHS)
    return operations.show_report(operations.ask_worth(door.conn, months=months, **given))


@blueprint.door(
    "GET",
    "/tier-reports/<id:report_id>",
    roles=STAFF,
    query=TableQuery(),
    answers={200: TierReportSchema()},
    refusals=(UnknownReport, ReportNotReady),
    csv=True,
)
def get_tier_report(door: Door, report_id: str, query: dict[str, Any]) -> object:
    """Return a report as it stands: ask again until its `state` is `done`."""
    report = get_report(door.conn, report_id=report_id)
    if report.kind not in KINDS:
        raise UnknownReport(f"no report has the id {report_id}")
    if not door.wants_csv:
        return operations.show_report(report)
    if report.result is None:
        raise ReportNotReady(f"its state is {report.state}")
    make = worth_table if report.kind == "worth" else histogram_table
    return make(report_id, report.result)
