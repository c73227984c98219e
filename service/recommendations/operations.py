"""The verbs of the recommendations: answer a member, relate to an item, account for it, choose the model."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row
from sqlalchemy.exc import DBAPIError

from recommender.serving import Recommendation
from service.catalogue.errors import UnknownItem
from service.experiments import operations as experiments
from service.experiments.rules import RECOMMENDATIONS
from service.kit.clock import zone
from service.kit.ids import new_uuid
from service.recommendations import store
from service.recommendations.annotation import (
    ASSIGNMENT_UNAVAILABLE,
    Policy,
    Surface,
    build_measurement,
    reason_without_arm,
)
from service.recommendations.attribution import AttributionKeys, sign_token
from service.recommendations.crediting import read_echo
from service.recommendations.decisions import ID_PREFIX, build_decision, get_decision
from service.recommendations.exploring import rank_or_explore
from service.recommendations.placements import arrange, get_placement, list_placements, set_placement
from service.recommendations.ranking import (
    BASELINE,
    DEFAULT_LIMIT,
    MAX_LIMIT,
    PERSONAL,
    RELATED,
    Asked,
    PolicyName,
    Question,
    Ranked,
    Taken,
    count_taken,
    rank_nothing,
    rank_shelf,
    seen_since,
)
from service.recommendations.register import Registered, get_model, list_models, promote_model
from service.recommendations.rules import explain, pick_name
from service.recommendations.serving import Serving
from service.recommendations.trainings import list_trainings, request_training

__all__ = [
    "DEFAULT_LIMIT",
    "MAX_LIMIT",
    "Asked",
    "AttributionKeys",
    "Policy",
    "Registered",
    "Serving",
    "Surface",
    "get_decision",
    "get_model",
    "get_placement",
    "list_models",
    "list_placements",
    "list_trainings",
    "measure",
    "promote_model",
    "read_echo",
    "recommend",
    "relate",
    "request_training",
    "set_placement",
]

log = logging.getLogger(__name__)

REFRESH_TASK = "models.refresh"

# An echo is taken for as long as an outcome may still come of what was shown.
TOKEN_DAYS = 60
_EPOCH = date(1970, 1, 1)


def recommend(conn: Connection, *, serving: Serving, asked: Asked, now: datetime) -> dict[str, Any]:
    """Recommend items to a member, say on which side of the hold-out, and leave a decision record.

    The first answer enrols the member. The hold-out gets the baseline through the same code. Whatever is
    missing or fails (member, model, assignment store), the answer has the same shape and names it.
    """
    return _answer(conn, serving, asked, now, PERSONAL)


def relate(conn: Connection, *, serving: Serving, sku: str, asked: Asked, now: datetime) -> dict[str, Any]:
    """Recommend what goes with an item; a member may be named, and is then enrolled as by `recommend`.

    Raises:
        UnknownItem: the catalogue has no such sku.
    """
    return _answer(conn, serving, replace(asked, context_sku=sku), now, RELATED)


def measure(
    *,
    serving: Serving,
    subject: experiments.Subject,
    answer_id: str,
    policy: Policy,
    surface: Surface,
    traceparent: str | None,
    now: datetime,
) -> dict[str, Any]:
    """Return the measurement block for another room's answer; reads nothing and enrols nobody."""
    return build_measurement(
        subject=subject,
        reason=reason_without_arm(subject),
        policy=policy,
        surface=surface,
        attribution_token=_sign(serving, answer_id, subject.member_id, now),
        issued_at=now,
        traceparent=traceparent,
    )


def _answer(
    conn: Connection, serving: Serving, asked: Asked, now: datetime, policy: PolicyName
) -> dict[str, Any]:
    moment = local_moment(now, serving.timezone)
    today = int(moment)
    try:
        opening = store.find_opening(
            conn,
            member_id=asked.member_id or "",
            context_sku=asked.context_sku,
            placement=asked.placement,
            timezone=serving.timezone,
            locale=asked.locale,
            now=now,
            looked_since=seen_since(now),
        )
        asked = arrange(asked, opening.placement)
        # Before anybody is enrolled for an answer that is not given.
        if policy == RELATED and opening.context_names is None:
            raise UnknownItem(f"there is no item {asked.context_sku}")
        subject, newly = _enrol(conn, opening, asked, now)
        now = subject.moment_of_answer(now)
    except DBAPIError as error:
        if error.connection_invalidated:
            raise
        log.exception("no assignment could be read; serving the baseline")
        return _answer_unrecorded(serving, Question(asked, Taken(), today), now)
    shelf = serving.current(
        conn,
        active_version=opening.active_model,
        catalogue_mark=opening.catalogue_mark,
        now=now,
        statistics_version=opening.statistics_version,
    )
    closed = serving.closed_to(conn, tier=subject.tier, ruleset_version=opening.ruleset_version, now=now)
    taken = _read_taken(subject, asked, opening)
    tier, tier_name = _name_tier(serving, subject, opening, locale=asked.locale)
    question = Question(asked, taken, today, closed, moment, tier, tier_name)
    policy = _choose_policy(subject, policy)
    exposure_id = new_uuid(now)
    ranked = rank_or_explore(
        conn,
        shelf=shelf,
        policy=policy,
        question=question,
        subject=subject,
        answer_id=f"{ID_PREFIX}_{exposure_id.hex}",
    )
    answer = _annotate(serving, question, ranked, subject=subject, exposure_id=exposure_id, now=now)
    exposure = _expose(question, subject, ranked, now, exposure_id)
    # A first assignment in the same transaction is worth waiting for the disk.
    experiments.record_exposure(conn, exposure=exposure, relaxed=not newly)
    return answer


def _enrol(
    conn: Connection, opening: Row[Any], asked: Asked, now: datetime
) -> tuple[experiments.Subject, bool]:
    """Return who asks, assigned wherever that can be, and whether an assignment was made just now."""
    subject = experiments.read_subject(opening, member_id=asked.member_id or "")
    return experiments.enrol_subject(conn, subject=subject, surface=RECOMMENDATIONS, now=now)


def _choose_policy(subject: experiments.Subject, policy: PolicyName) -> PolicyName:
    """Return the policy of this member's arms: the hold-out's, or one that a nested experiment tries."""
    if subject.assignment is not None and subject.assignment.is_holdout:
        return BASELINE
    tried = [place.policy for place in subject.places if place.surface == RECOMMENDATIONS]
    return BASELINE if policy == PERSONAL and BASELINE in tried else policy


def _read_taken(subject: experiments.Subject, asked: Asked, opening: Row[Any]) -> Taken:
    taken = Taken()
    # Who objected to profiling is answered as somebody of whom nothing is known.
    if subject.member_key is not None and opening.profiling is not False:
        taken = count_taken(opening.history or ())
    if asked.context_sku is None:
        return taken
    name = pick_name(opening.context_names or {}, locale=asked.locale)
    return replace(taken, names={**(taken.names or {}), asked.context_sku: name or asked.context_sku})


def _name_tier(
    serving: Serving, subject: experiments.Subject, opening: Row[Any], *, locale: str
) -> tuple[str | None, str]:
    """Return the member's tier and its name, or nothing where the member objected to profiling."""
    tier = subject.tier
    if tier is None or subject.member_key is None or opening.profiling is False:
        return None, ""
    return tier, pick_name(serving.names_of(tier), locale=locale) or tier


def local_moment(now: datetime, timezone: str) -> float:
    """Return a moment of a zone's clock in days since 1970-01-01, with the fraction of the day."""
    local = now.astimezone(zone(timezone))
    since_midnight = timedelta(hours=local.hour, minutes=local.minute, seconds=local.second)
    return (local.date() - _EPOCH).days + since_midnight / timedelta(days=1)


def _answer_unrecorded(serving: Serving, question: Question, now: datetime) -> dict[str, Any]:
    """Answer from memory alone when the database does not: the baseline, no arm, nobody enrolled."""
    shelf = serving.last()
    ranked = rank_nothing() if shelf is None else rank_shelf(shelf, policy=BASELINE, question=question)
    if ranked.policy.fallback is None:
        ranked = replace(ranked, policy=ranked.policy._replace(fallback="popular"))
    return _annotate(serving, question, ranked, subject=None, exposure_id=new_uuid(now), now=now)


def _annotate(
    serving: Serving,
    question: Question,
    ranked: Ranked,
    *,
    subject: experiments.Subject | None,
    exposure_id: UUID,
    now: datetime,
) -> dict[str, Any]:
    """Return the answer: items with their reasons, and the measurement block."""
    asked = question.asked
    recommendation_id = f"{ID_PREFIX}_{exposure_id.hex}"
    return {
        "recommendation_id": recommendation_id,
        "items": _describe(ranked.answer.items, question, recommendation_id),
        "measurement": build_measurement(
            subject=subject,
            reason=ASSIGNMENT_UNAVAILABLE if subject is None else reason_without_arm(subject),
            policy=ranked.policy,
            surface=Surface(asked.placement, asked.channel),
            attribution_token=_sign(serving, recommendation_id, asked.member_id, now),
            issued_at=now,
            traceparent=asked.traceparent,
        ),
    }


def _describe(
    items: Sequence[Recommendation], question: Question, recommendation_id: str
) -> list[dict[str, Any]]:
    locale, names, whole = question.asked.locale, question.taken.names or {}, question.taken.whole
    described = []
    for index, item in enumerate(items):
        reason = explain(
            item.reason_code, item.reason_params, locale=locale, names=names, whole_history=whole
        )
        described.append(
            {
                "sku": item.item_id,
                "rank": index + 1,
                "index": index,
                "score": round(item.score, 6),
                "source": item.source,
                "reason": {"code": reason.code, "text": reason.text},
                "impression_id": f"{recommendation_id}#{index + 1}",
            }
        )
    return described


def _expose(
    question: Question, subject: experiments.Subject, ranked: Ranked, now: datetime, exposure_id: UUID
) -> experiments.Exposure:
    assignment = subject.assignment
    return experiments.Exposure(
        exposure_id=exposure_id,
        issued_at=now,
        member_key=subject.member_key,
        experiment_key=None if assignment is None else assignment.experiment.experiment_key,
        arm=None if assignment is None else assignment.arm,
        policy=ranked.policy.name,
        model_version=ranked.policy.model_version,
        fallback=ranked.policy.fallback,
        placement=question.asked.placement,
        channel=question.asked.channel,
        window_end=now + timedelta(days=TOKEN_DAYS),
        item_keys=ranked.item_keys,
        decision=build_decision(question, subject, ranked),
        nested=[
            place.experiment.experiment_key
            for place in subject.places
            if place.arm is not None and place.surface == RECOMMENDATIONS
        ],
    )


def _sign(serving: Serving, answer_id: str, member_id: str | None, now: datetime) -> str:
    return sign_token(
        serving.keys,
        recommendation_id=answer_id,
        member_id=member_id or None,
        issued_at=now,
        window_end=now + timedelta(days=TOKEN_DAYS),
    )
