"""Routes of movement."""

from __future__ import annotations

from typing import Any

from service.kit.errors import FieldError, Invalid
from service.kit.http import STAFF, Blueprint, Door
from service.programme.operations import get_programme
from service.tiers.api import read_as_of
from service.tiers.errors import AsOfInFuture, NoActiveRuleset, NoForecast, UnknownTier
from service.tiers.movement import at_risk, forecast, operations, reporting
from service.tiers.movement.schemas import (
    AtRiskQuery,
    AtRiskSchema,
    DistributionQuery,
    DistributionSchema,
    ForecastAskedSchema,
    ForecastBody,
    ForecastQuery,
    ForecastSchema,
    MovementsQuery,
    MovementsSchema,
)

blueprint = Blueprint("movement", __name__, url_prefix="/v1", description="How members move between tiers.")


@blueprint.door(
    "GET",
    "/tier-movements",
    roles=STAFF,
    query=MovementsQuery(),
    answers={200: MovementsSchema()},
    refusals=(AsOfInFuture, NoActiveRuleset),
    store_scope=True,
    csv=True,
    localised=True,
)
def get_tier_movements(door: Door, query: dict[str, Any]) -> object:
    """Tell how members moved between the starts of two days, with the reconciliation of the figures.

    A key held to stores sees their members alone.
    """
    report = operations.see_movements(
        door.conn,
        start=query["from_"],
        end=query["to"],
        view=query["view"],
        basis=query["basis"],
        split=query.get("by"),
        store_ids=door.caller.store_ids,
        now=door.now,
        programme=get_programme(door.conn),
    )
    if door.wants_csv:
        return reporting.movement_table(report)
    return reporting.movement_json(report, locale=door.locale)


@blueprint.door(
    "GET",
    "/tier-distribution",
    roles=STAFF,
    query=DistributionQuery(),
    answers={200: DistributionSchema()},
    refusals=(AsOfInFuture, NoActiveRuleset),
    store_scope=True,
    csv=True,
    localised=True,
)
def get_tier_distribution(door: Door, query: dict[str, Any]) -> object:
    """Tell how many members hold each tier: at one moment, or at the starts of days over time.

    As last written: what is due is applied by the review, every hour.
    """
    timezone = get_programme(door.conn).timezone
    if "from_" in query or "to" in query or "step" in query:
        _check_series(query)
        moments = operations.moments_between(
            query["from_"], query["to"], step=query.get("step", "day"), now=door.now, timezone=timezone
        )
    else:
        as_of = read_as_of(query.get("as_of"), FieldError("", parameter="as_of"))
        moments = [operations.moment_of(as_of, now=door.now, timezone=timezone)]
    report = operations.see_distribution(
        door.conn, moments=moments, basis=query["basis"], store_ids=door.caller.store_ids
    )
    if door.wants_csv:
        return reporting.distribution_table(report)
    return reporting.distribution_json(report, locale=door.locale)


def _check_series(query: dict[str, Any]) -> None:
    if "as_of" in query:
        wrong = FieldError("either this, or `from` and `to`", parameter="as_of")
        raise Invalid("one moment or several", errors=[wrong])
    for name in ("from", "to"):
        if "from_" not in query if name == "from" else "to" not in query:
            raise Invalid(
                "both ends are needed", errors=[FieldError("`from` and `to` go together", parameter=name)]
            )


@blueprint.door(
    "GET",
    "/tier-forecast",
    roles=STAFF,
    query=ForecastQuery(),
    answers={200: ForecastSchema()},
    refusals=(NoForecast, NoActiveRuleset),
    store_scope=True,
    csv=True,
)
def get_tier_forecast(door: Door, query: dict[str, Any]) -> object:
    """Tell who falls when if nothing more is bought.

    A small membership is folded forward in the request. For a large one the last forecast kept is told, with
    the day it is of; the worker makes one every night.
    """
    found = forecast.see_forecast(
        door.conn,
        days=query["days"],
        store_ids=door.caller.store_ids,
        now=door.now,
        programme=get_programme(door.conn),
    )
    return forecast.forecast_table(found) if door.wants_csv else forecast.forecast_json(found)


@blueprint.door(
    "POST",
    "/tier-forecast",
    roles=("marketing", "operations", "admin"),
    body=ForecastBody(),
    answers={202: ForecastAskedSchema()},
    refusals=(NoActiveRuleset,),
    idempotency_key="required",
)
def ask_tier_forecast(door: Door, body: dict[str, Any]) -> object:
    """Have the worker make today's forecast, unless there is one already."""
    report = forecast.ask_forecast(
        door.conn, days=body["days"], now=door.now, programme=get_programme(door.conn)
    )
    return {
        "report_id": report.report_id,
        "days": body["days"],
        "as_of": report.as_of.isoformat(),
        "state": report.state,
    }, 202


@blueprint.door(
    "GET",
    "/tier-at-risk",
    roles=STAFF,
    query=AtRiskQuery(),
    answers={200: AtRiskSchema()},
    refusals=(NoActiveRuleset, UnknownTier),
    store_scope=True,
    csv=True,
)
def list_members_at_risk(door: Door, query: dict[str, Any]) -> object:
    """List members whose grace before a fall is running, with the day of the fall and what each lacks.

    A page may be short although more follow: go on until `next_cursor` (`X-Next-Cursor` of a table) is null.
    """
    page = at_risk.list_at_risk(
        door.conn,
        tier=query.get("tier"),
        within_days=query.get("within_days"),
        limit=query["limit"],
        cursor=query.get("cursor"),
        store_ids=door.caller.store_ids,
        now=door.now,
        programme=get_programme(door.conn),
    )
    return at_risk.page_table(page) if door.wants_csv else at_risk.page_json(page)
