"""The decision record: what is kept of an answer to account for it, and never told to browsers."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

from service.experiments import operations as experiments
from service.kit.clock import format_time
from service.kit.ids import parse_id
from service.recommendations import store
from service.recommendations.annotation import SPLIT, reason_without_arm
from service.recommendations.errors import DecisionNotFound
from service.recommendations.ranking import Question, Ranked, list_reasons

ID_PREFIX = "rec"


def build_decision(question: Question, subject: experiments.Subject, ranked: Ranked) -> dict[str, Any]:
    """Return what is stored with the exposure; `get_decision` unfolds it."""
    asked, taken, assignment = question.asked, question.taken, subject.assignment
    drawn = None if assignment is None else assignment.experiment
    return {
        "assignment": {
            "reason": reason_without_arm(subject) or SPLIT,
            "bucket": None if assignment is None else assignment.bucket,
            "salt_id": None if drawn is None else drawn.salt,
            "arm_probability": None
            if assignment is None
            else experiments.probability_of(assignment.experiment.arms, assignment.arm),
        },
        "candidates": {"count": ranked.answer.candidate_count, "hash": ranked.candidates_hash},
        # A deterministic ranker has no propensity; none is invented.
        "propensity": {"kind": "deterministic", "value": None},
        "context": {
            "tier": subject.tier,
            "days_since_last_order": None
            if taken.last_order_day is None
            else max(0, question.today - taken.last_order_day),
            "purchases_read": len(taken.purchases),
            "looks_read": len(taken.looks),
        },
        "request": {
            "limit": asked.limit,
            "mode": asked.mode,
            "category": asked.category,
            "context_sku": asked.context_sku,
            "excluded": len(asked.exclude),
        },
        "seed": None,
        "config_hash": ranked.config_hash,
        "statistics_version": ranked.statistics_version,
        "ranking": list_reasons(ranked),
    }


def get_decision(conn: Connection, *, recommendation_id: str) -> dict[str, Any]:
    """Return the whole decision record of an answer.

    Raises:
        DecisionNotFound: no answer was given under this id.
    """
    try:
        exposure_id, issued_about = parse_id(ID_PREFIX, recommendation_id)
        saved = experiments.get_exposure(conn, exposure_id=exposure_id, issued_about=issued_about)
    except (ValueError, experiments.ExposureNotFound) as error:
        raise DecisionNotFound(f"no recommendation was given under {recommendation_id}") from error
    exposure = saved.exposure
    kept = dict(exposure.decision)
    ranking, assignment = kept.pop("ranking"), kept.pop("assignment")
    # Answers from before there were any.
    kept.setdefault("statistics_version", None)
    kept["context"] = {"looks_read": 0, **kept["context"]}
    where = {"experiment": saved.experiment, "version": saved.version, "arm": exposure.arm}
    return {
        "recommendation_id": recommendation_id,
        "issued_at": format_time(exposure.issued_at),
        "member_id": saved.member_id,
        "assignment": {**where, **assignment},
        "policy": {
            "name": exposure.policy,
            "model_version": exposure.model_version,
            "fallback": exposure.fallback,
        },
        "surface": {"placement": exposure.placement, "channel": exposure.channel},
        "window_end": None if exposure.window_end is None else format_time(exposure.window_end),
        **kept,
        "items": _list_items(conn, exposure.item_keys, ranking),
    }


def _list_items(conn: Connection, item_keys: Any, ranking: Any) -> list[dict[str, Any]]:
    skus = store.find_skus(conn, item_keys=item_keys)
    return [
        {"sku": skus.get(key), "rank": rank, "score": score, "source": source, "reason_code": code}
        for rank, (key, (score, source, code)) in enumerate(zip(item_keys, ranking, strict=True), start=1)
    ]
