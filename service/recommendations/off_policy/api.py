"""Routes of off-policy evaluation."""

from __future__ import annotations

from typing import Any

from service.kit.audit import actor_of
from service.kit.clock import local_day
from service.kit.http import STAFF, Blueprint, Door
from service.programme.operations import get_programme
from service.recommendations.errors import UnknownEvaluation, UnknownModel
from service.recommendations.off_policy import operations
from service.recommendations.off_policy.operations import WINDOWS, Question
from service.recommendations.off_policy.schemas import OffPolicyBody, OffPolicySchema

blueprint = Blueprint(
    "off_policy", __name__, url_prefix="/v1", description="What another ranker would have earned, from logs."
)


@blueprint.door(
    "POST",
    "/models/<id:version>/off-policy-evaluations",
    roles=("marketing", "operations", "admin"),
    body=OffPolicyBody(),
    answers={202: OffPolicySchema()},
    refusals=(UnknownModel,),
    idempotency_key="required",
    localised=True,
)
def request_off_policy_evaluation(door: Door, version: str, body: dict[str, Any]) -> object:
    """Estimate from logged answers what a model would have earned at the explored place of a placement.

    A job works it out, with what each member had bought by then and nothing later. An estimate on logs, not
    uplift; where too few members would decide it is refused, and no figure is given.
    """
    today = local_day(door.now, timezone=get_programme(door.conn).timezone)
    question = Question(
        **{"version": version, "until": today, "window_days": WINDOWS[body["metric"]], **body}
    )
    return operations.request_evaluation(
        door.conn, question=question, requested_by=actor_of(door.caller), locale=door.locale, now=door.now
    )


@blueprint.door(
    "GET",
    "/models/<id:version>/off-policy-evaluations/<id:evaluation_id>",
    roles=STAFF,
    answers={200: OffPolicySchema()},
    refusals=(UnknownEvaluation,),
    localised=True,
)
def get_off_policy_evaluation(door: Door, version: str, evaluation_id: str) -> object:
    """Return an evaluation as it stands: ask again until its `state` is `done` or `failed`."""
    return operations.get_evaluation(
        door.conn, version=version, evaluation_id=evaluation_id, locale=door.locale
    )
