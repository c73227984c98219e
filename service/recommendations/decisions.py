"""The decision record: what is kept of an answer to account for it, and never told to browsers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection

from service.experiments import operations as experiments
from service.kit.clock import format_time
from service.kit.ids import parse_id
from service.recommendations import store
from service.recommendations.annotation import SPLIT, reason_without_arm
from service.recommendations.errors import DecisionNotFound
from service.recommendations.ranking import Question, Ranked, list_reasons
from service.rewards import operations as rewards

ID_PREFIX = "rec"


def build_decision(question: Question, subject: experiments.Subject, ranked: Ranked) -> dict[str, Any]:
    """Return what is stored with the exposure; `get_decision` unfolds it."""
    asked, taken, assignment = question.asked, question.taken, subject.assignment
    explored = ranked.explored
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
        **({} if explored is None else explored.record(steered_by=question.context)),
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
    exploration = kept.pop("exploration", None)
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
        "exploration": None if exploration is None else _show_exploration(conn, exploration),
        "items": _list_items(conn, exposure, ranking, shown_before=kept["request"]["excluded"]),
    }


def _show_exploration(conn: Connection, kept: Mapping[str, Any]) -> dict[str, Any]:
    """Return the explored place with the candidates' own names."""
    skus = store.find_skus(conn, item_keys=[key for key, _ in kept["candidates"]])
    candidates = [{"sku": skus.get(key), "propensity": chance} for key, chance in kept["candidates"]]
    return {**kept, "candidates": candidates}


def _list_items(
    conn: Connection, exposure: experiments.Exposure, ranking: Any, *, shown_before: int
) -> list[dict[str, Any]]:
    """Return what was sent by rank: items by sku, or rewards by code with the parts of their score.

    Ranks of rewards go on over pages.
    """
    keys = exposure.item_keys
    skus: dict[int, str] = {}
    codes: dict[int, str] = {}
    first = 1
    if exposure.reward_keys is None:
        skus = store.find_skus(conn, item_keys=keys)
    else:
        keys, first = exposure.reward_keys, 1 + shown_before
        codes = rewards.find_codes(conn, reward_keys=keys)
    return [
        {
            "sku": skus.get(key),
            "reward": codes.get(key),
            "rank": rank,
            "score": score,
            "source": source,
            "reason_code": code,
            "parts": parts[0] if parts else None,
        }
        for rank, (key, (score, source, code, *parts)) in enumerate(
            zip(keys, ranking, strict=True), start=first
        )
    ]
