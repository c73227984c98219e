"""The route of the liability report."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from service.kit.errors import FieldError
from service.kit.fields import TableQuery
from service.kit.http import STAFF, Blueprint, Door
from service.programme.operations import get_programme
from service.tiers.api import read_as_of
from service.tiers.errors import AsOfInFuture, NoActiveRuleset, ReportNotReady, UnknownReport
from service.tiers.liability import kept, operations
from service.tiers.liability.answers import liability_json, liability_table
from service.tiers.liability.schemas import (
    LiabilityQuery,
    LiabilityReportBody,
    LiabilityReportSchema,
    LiabilitySchema,
)
from service.tiers.movement.operations import moment_of

blueprint = Blueprint(
    "liability", __name__, url_prefix="/v1", description="What outstanding points stand for."
)


@blueprint.door(
    "GET",
    "/points/liability",
    roles=STAFF,
    query=LiabilityQuery(),
    answers={200: LiabilitySchema()},
    refusals=(AsOfInFuture, NoActiveRuleset),
    csv=True,
    localised=True,
)
def get_points_liability(door: Door, query: dict[str, Any]) -> object:
    """Tell how many points are outstanding by age and by tier, what they cost, and how many will lapse.

    As of any past time, from the entries that happened up to it; what was due by then counts as posted. How
    many will lapse is read off the months in which points were earned: what became of those of each month as
    they grew older. Deferred revenue follows IFRS 15: what was put aside for points, less the part that those
    used are of all that are expected to be used.
    """
    programme = get_programme(door.conn)
    as_of = read_as_of(query.get("as_of"), FieldError("", parameter="as_of"))
    moment = moment_of(as_of, now=door.now, timezone=programme.timezone)
    found = operations.see_liability(
        door.conn,
        at=moment - timedelta(microseconds=1),
        allocated_bp=query["allocated_bp"],
        programme=programme,
    )
    return liability_table(found) if door.wants_csv else liability_json(found, locale=door.locale)


@blueprint.door(
    "POST",
    "/points/liability-reports",
    roles=STAFF,
    body=LiabilityReportBody(),
    answers={202: LiabilityReportSchema()},
    refusals=(AsOfInFuture,),
    idempotency_key="required",
    localised=True,
)
def ask_liability_report(door: Door, body: dict[str, Any]) -> object:
    """Have what was outstanding at the end of a day computed by a job, and kept: for large books.

    The same question of the same day is the same report: facts that come in late make another tomorrow. That
    of yesterday is asked for every night.
    """
    report = kept.ask_liability(
        door.conn,
        as_of=body.get("as_of"),
        allocated_bp=body["allocated_bp"],
        programme=get_programme(door.conn),
        now=door.now,
    )
    return kept.kept_json(report, locale=door.locale)


@blueprint.door(
    "GET",
    "/points/liability-reports/<id:report_id>",
    roles=STAFF,
    query=TableQuery(),
    answers={200: LiabilityReportSchema()},
    refusals=(UnknownReport, ReportNotReady),
    csv=True,
    localised=True,
)
def get_liability_report(door: Door, report_id: str, query: dict[str, Any]) -> object:
    """Return a liability report as it stands: ask again until its `state` is `done`."""
    report = kept.get_kept(door.conn, report_id=report_id)
    if not door.wants_csv:
        return kept.kept_json(report, locale=door.locale)
    if report.result is None:
        raise ReportNotReady(f"its state is {report.state}")
    return kept.kept_table(report.result)
