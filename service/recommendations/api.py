"""Routes of the recommendations."""

from __future__ import annotations

from typing import Any

from service.activity import operations as activity
from service.activity.errors import UnknownOrder
from service.catalogue.errors import UnknownItem
from service.experiments.errors import ExperimentNotRunning, SurfaceNotServed, UnknownExperiment
from service.experiments.operations import Visitor
from service.kit.audit import actor_of
from service.kit.clock import format_time, parse_time
from service.kit.errors import FieldError, Malformed
from service.kit.http import STAFF, Blueprint, Door
from service.kit.pagination import decode_cursor, encode_cursor, page
from service.kit.tables import Download
from service.kit.web import traceparent
from service.recommendations import exports, operations
from service.recommendations.crediting import trace_order
from service.recommendations.errors import (
    DecisionNotFound,
    ExportEnded,
    ExportNotReady,
    ModelUnusable,
    UnknownExport,
    UnknownModel,
    UnknownPlacement,
    UnknownSegment,
)
from service.recommendations.operations import Asked, Surface
from service.recommendations.schemas import RecommendationsQuery, RecommendationsSchema, RelatedQuery
from service.recommendations.schemas_attribution import OrderAttributionSchema
from service.recommendations.schemas_decisions import DecisionSchema
from service.recommendations.schemas_exports import (
    ExportLineSchema,
    ExportRequestSchema,
    ExportSchema,
    ExportsQuery,
    ExportsSchema,
)
from service.recommendations.schemas_exposures import CrowdBody, CrowdSchema, ExposureBody, ExposureSchema
from service.recommendations.schemas_models import (
    ModelCardSchema,
    ModelSchema,
    ModelsQuery,
    ModelsSchema,
    RetrainingSchema,
    TrainingsSchema,
)
from service.recommendations.schemas_placements import PlacementBody, PlacementSchema, PlacementsSchema
from service.recommendations.showing import expose_crowd as expose_many
from service.recommendations.showing import expose_visitor as expose

# Answers are given without a transaction around them, which would cost two more round trips: the exposure
# is one statement, the last, and a first assignment stands whether or not an exposure follows.
blueprint = Blueprint(
    "recommendations", __name__, url_prefix="/v1", description="What to show, and what it led to."
)


@blueprint.door(
    "GET",
    "/members/<id:member_id>/recommendations",
    roles=(*STAFF, "storefront"),
    query=RecommendationsQuery(),
    answers={200: RecommendationsSchema()},
    localised=True,
)
def get_recommendations(door: Door, member_id: str, query: dict[str, Any]) -> object:
    """Recommend items to a member.

    An unknown member gets popular items, no arm, and is not enrolled. The answer has the same shape for
    everybody and in every failure; `measurement` says what happened.
    """
    asked = _ask(member_id=member_id, **query, locale=door.locale, traceparent=traceparent())
    return operations.recommend(door.conn, serving=door.desk.tools["serving"], asked=asked, now=door.now)


@blueprint.door(
    "GET",
    "/items/<id:sku>/related",
    roles=(*STAFF, "storefront"),
    query=RelatedQuery(),
    answers={200: RecommendationsSchema()},
    refusals=(UnknownItem,),
    localised=True,
)
def get_related(door: Door, sku: str, query: dict[str, Any]) -> object:
    """Recommend what goes with an item, for a member if one is named."""
    asked = _ask(**query, locale=door.locale, traceparent=traceparent())
    return operations.relate(
        door.conn, serving=door.desk.tools["serving"], sku=sku, asked=asked, now=door.now
    )


def _ask(**wishes: Any) -> Asked:
    left_open = frozenset(name for name in ("mode", "limit") if wishes.get(name, "") is None)
    given = {name: value for name, value in wishes.items() if name not in left_open}
    return Asked(**given, left_open=left_open)


@blueprint.door("GET", "/placements", roles=STAFF, answers={200: PlacementsSchema()})
def list_placements(door: Door) -> object:
    """List the settings of the placements that have their own."""
    return {"data": operations.list_placements(door.conn)}


@blueprint.door(
    "GET",
    "/placements/<id:placement>",
    roles=STAFF,
    answers={200: PlacementSchema()},
    refusals=(UnknownPlacement,),
    tagged=PlacementBody(),
)
def get_placement(door: Door, placement: str) -> object:
    """Return the settings of a placement that has its own."""
    return operations.get_placement(door.conn, placement=placement)


@blueprint.door(
    "PUT",
    "/placements/<id:placement>",
    roles=("marketing", "admin"),
    body=PlacementBody(),
    answers={200: PlacementSchema()},
    tagged_by=get_placement,
)
def set_placement(door: Door, placement: str, body: dict[str, Any]) -> object:
    """Set what a placement shows, from the next answer on; every version is kept."""
    return operations.set_placement(
        door.conn,
        placement=placement,
        values=body,
        actor=actor_of(door.caller),
        request_id=door.request_id,
        now=door.now,
    )


@blueprint.door(
    "GET",
    "/decisions/<id:recommendation_id>",
    roles=STAFF,
    answers={200: DecisionSchema()},
    refusals=(DecisionNotFound,),
)
def get_decision(door: Door, recommendation_id: str) -> object:
    """Return the decision record of an answer."""
    return operations.get_decision(door.conn, recommendation_id=recommendation_id)


@blueprint.door(
    "POST",
    "/experiments/<id:key>/exposures",
    roles=("server", "operations", "admin", "storefront"),
    body=ExposureBody(),
    answers={200: ExposureSchema()},
    refusals=(UnknownExperiment, ExperimentNotRunning, SurfaceNotServed),
    idempotency_key="optional",
)
def expose_visitor(door: Door, key: str, body: dict[str, Any]) -> object:
    """Draw an arm of the shop's own test for a member or an anonymous visitor, and record that it is shown.

    Ask before showing and show the arm of the answer: asking again gives the same. With both ids, when
    somebody logs in, the earlier of the two assignments stands. For a mailing ask for many members at once,
    under `/exposures/crowd`.
    """
    if door.caller.role == "storefront" and body["member_id"] is not None:
        door.caller.check_member(body["member_id"])
    return expose(
        door.conn,
        serving=door.desk.tools["serving"],
        experiment=key,
        visitor=Visitor(body["member_id"], body["anonymous_id"]),
        surface=Surface(body["placement"], body["channel"]),
        traceparent=traceparent(),
        now=door.now,
    )


@blueprint.door(
    "POST",
    "/experiments/<id:key>/exposures/crowd",
    roles=("server", "marketing", "operations", "admin"),
    body=CrowdBody(),
    answers={200: CrowdSchema()},
    refusals=(UnknownExperiment, ExperimentNotRunning, SurfaceNotServed),
    idempotency_key="optional",
)
def expose_crowd(door: Door, key: str, body: dict[str, Any]) -> object:
    """Draw the arms of up to 1,000 members whom a message goes to, and record that it does.

    Ask just before sending, and send each member the text of the arm of the answer. All are enrolled and
    recorded, or none; asking again gives the same arms.
    """
    shown = expose_many(
        door.conn,
        serving=door.desk.tools["serving"],
        experiment=key,
        member_ids=body["member_ids"],
        surface=Surface(body["placement"], body["channel"]),
        traceparent=traceparent(),
        now=door.now,
    )
    return {"data": shown}


@blueprint.door(
    "GET",
    "/orders/<id:order_id>/attribution",
    roles=STAFF,
    answers={200: OrderAttributionSchema()},
    refusals=(UnknownOrder,),
    store_scope=True,
)
def get_order_attribution(door: Door, order_id: str) -> object:
    """Return the answers an order names, each with the rule set, the model and the arm behind it.

    A forged, foreign or expired token, and an answer nobody gave, are told as unattributable.
    """
    order = activity.find_order(door.conn, order_id=order_id)
    if order is None or not door.caller.sees_store(order.store_id):
        raise UnknownOrder(f"there is no order {order_id}")
    return trace_order(door.conn, keys=door.desk.tools["serving"].keys, order_id=order_id)


@blueprint.door("GET", "/models", roles=STAFF, query=ModelsQuery(), answers={200: ModelsSchema()})
def list_models(door: Door, query: dict[str, Any]) -> object:
    """List trained models, the newest first."""
    limit = query["limit"]
    found = operations.list_models(door.conn, before=_read_cursor(query.get("cursor")), limit=limit + 1)
    cursors = [encode_cursor(format_time(model.created_at), model.version) for model in found]
    return page([model.summary() for model in found], limit=limit, cursors=cursors)


def _read_cursor(cursor: str | None) -> tuple[Any, str] | None:
    key = decode_cursor(cursor, types=(str, str))
    try:
        return None if key is None else (parse_time(key[0]), key[1])
    except ValueError as error:
        raise Malformed(errors=[FieldError("not a cursor of this list", parameter="cursor")]) from error


@blueprint.door(
    "GET",
    "/models/<id:version>",
    roles=STAFF,
    answers={200: ModelSchema()},
    refusals=(UnknownModel,),
)
def get_model(door: Door, version: str) -> object:
    """Return a model with its figures against the baselines."""
    return operations.get_model(door.conn, version=version).to_json()


@blueprint.door(
    "GET",
    "/models/<id:version>/card",
    roles=STAFF,
    answers={200: ModelCardSchema()},
    refusals=(UnknownModel,),
)
def get_model_card(door: Door, version: str) -> object:
    """Return a model's card, as data and to be read."""
    return operations.get_model(door.conn, version=version).card()


@blueprint.door("GET", "/models/retrain", roles=STAFF, answers={200: TrainingsSchema()})
def list_trainings(door: Door) -> object:
    """Tell whether a training waits or runs, how far it is, and how the last ones ended."""
    return operations.list_trainings(door.conn)


@blueprint.door(
    "POST",
    "/models/<id:version>/promote",
    roles=("operations", "admin"),
    answers={200: ModelSchema()},
    refusals=(UnknownModel, ModelUnusable),
    idempotency_key="optional",
)
def promote_model(door: Door, version: str) -> object:
    """Put a model in force; an older one rolls back."""
    model = operations.promote_model(
        door.conn,
        version=version,
        models_folder=door.desk.tools["serving"].models_folder,
        actor=actor_of(door.caller),
        request_id=door.request_id,
        now=door.now,
    )
    return model.to_json()


@blueprint.door(
    "POST",
    "/models/retrain",
    roles=("operations", "admin"),
    answers={202: RetrainingSchema()},
    idempotency_key="optional",
)
def retrain_model(door: Door) -> object:
    """Have the worker train a new model; the gate decides whether it goes live. `GET` tells how far it is."""
    return {"state": "queued" if operations.request_training(door.conn, now=door.now) else "already_queued"}


@blueprint.door(
    "POST",
    "/recommendation-exports",
    roles=("marketing", "admin"),
    body=ExportRequestSchema(),
    answers={202: ExportSchema()},
    refusals=(UnknownSegment,),
    idempotency_key="required",
    localised=True,
)
def request_export(door: Door, body: dict[str, Any]) -> object:
    """Compute recommendations for a mailing, for everybody who agreed to be written to."""
    return exports.request_export(
        door.conn, **body, locale=door.locale, requested_by=actor_of(door.caller), now=door.now
    )


@blueprint.door(
    "GET",
    "/recommendation-exports",
    roles=("marketing", "admin"),
    query=ExportsQuery(),
    answers={200: ExportsSchema()},
)
def list_exports(door: Door, query: dict[str, Any]) -> object:
    """List exports, the latest first."""
    limit = query["limit"]
    found = exports.list_exports(door.conn, before=_read_cursor(query.get("cursor")), limit=limit + 1)
    cursors = [encode_cursor(format_time(row.requested_at), row.export_id) for row in found]
    return page([exports.show_export(row) for row in found], limit=limit, cursors=cursors)


@blueprint.door(
    "GET",
    "/recommendation-exports/<id:export_id>",
    roles=("marketing", "admin"),
    answers={200: ExportSchema()},
    refusals=(UnknownExport,),
)
def get_export(door: Door, export_id: str) -> object:
    """Return an export and how far it is."""
    return exports.get_export(door.conn, export_id=export_id)


@blueprint.door(
    "GET",
    "/recommendation-exports/<id:export_id>/lines",
    roles=("marketing", "admin"),
    answers={200: ExportLineSchema()},
    refusals=(UnknownExport, ExportNotReady),
    ndjson=True,
)
def get_export_lines(door: Door, export_id: str) -> object:
    """Fetch a finished export: a member a line, each with a measurement block of its own."""
    lines = exports.open_lines(door.conn, engine=door.desk.engine, export_id=export_id)
    return Download(export_id, lines)


@blueprint.door(
    "POST",
    "/recommendation-exports/<id:export_id>/cancel",
    roles=("marketing", "admin"),
    answers={200: ExportSchema()},
    refusals=(UnknownExport, ExportEnded),
    idempotency_key="optional",
)
def cancel_export(door: Door, export_id: str) -> object:
    """Call an export off."""
    return exports.cancel_export(door.conn, export_id=export_id, now=door.now)
