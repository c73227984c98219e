"""The verbs: ask what another ranker would have earned, work it out, and say so or say why not."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import date, datetime, timedelta
from itertools import groupby
from typing import Any, Literal

import numpy as np
from sqlalchemy import Connection, Engine, Row

from recommender.errors import ArtifactError
from recommender.serving import ServedModel
from service.experiments import operations as experiments
from service.experiments.rules import REFUND_GRACE_DAYS, REPURCHASE_WINDOW_DAYS
from service.kit.clock import format_time, local_day, local_midnight
from service.kit.db import transaction
from service.kit.errors import Problem
from service.kit.ids import new_id
from service.kit.jobs import defer
from service.recommendations import store as models
from service.recommendations.artefacts import ModelsFolder
from service.recommendations.errors import ModelUnusable, UnknownEvaluation, UnknownModel
from service.recommendations.off_policy import store
from service.recommendations.off_policy.replaying import pick
from service.recommendations.off_policy.rules import Fact, Shown, expect, place_of, purchases_before
from service.recommendations.off_policy.sentences import LABEL, tell_evaluation
from service.recommendations.serving import open_model
from service.recommendations.store_taken import HISTORY_LINES

log = logging.getLogger(__name__)

TASK = "models.off_policy"
METRICS = (store.REPURCHASE, store.CLICK)
POLICIES = ("model", "popularity")
WINDOWS = {store.REPURCHASE: REPURCHASE_WINDOW_DAYS, store.CLICK: 7}
"""Days in which a reward counts, unless the question says otherwise."""
NOTHING_LOGGED = "nothing_logged"
UNEXPECTED = "it broke off for a reason that the worker's log tells under this evaluation's id; ask again"

_LEFT_OUT = (store.OBJECTED, store.IMMATURE, "seen_in_training", "unknown_to_model")
_ESTIMATES = ("ips", "snips", "doubly_robust")
_EPOCH = date(1970, 1, 1)

Metric = Literal["repurchase", "click"]
Ranking = Literal["model", "popularity"]


@dataclass(frozen=True, slots=True)
class Question:
    """Which ranker, on the logs of which placement and days [since, until), by which reward.

    `policy` is the version's own list, or the popularity that its baseline ranks by. Days are the
    programme's; `window_days` follow each answer.
    """

    version: str
    placement: str
    since: date
    until: date
    metric: Metric = "repurchase"
    policy: Ranking = "model"
    window_days: int = REPURCHASE_WINDOW_DAYS

    @property
    def grace_days(self) -> int:
        """Return how long after its window a purchase may still be undone; a click cannot be."""
        return REFUND_GRACE_DAYS if self.metric == store.REPURCHASE else 0

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {**asdict(self), "since": self.since.isoformat(), "until": self.until.isoformat()}


@dataclass(slots=True)
class _Choices:
    """The explored answers that can be judged, a column each; `left_out` counts the others by reason."""

    rows: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    member: list[int] = field(default_factory=list)
    item: list[int] = field(default_factory=list)
    place: list[int] = field(default_factory=list)
    reward: list[float] = field(default_factory=list)
    propensity: list[float] = field(default_factory=list)
    picked: list[int] = field(default_factory=list)
    picked_place: list[int] = field(default_factory=list)


def evaluate_model(
    conn: Connection, *, models_folder: ModelsFolder, timezone: str, question: Question, now: datetime
) -> dict[str, Any]:
    """Return what a ranker would have earned at the explored place, or the refusal; JSON-able.

    An answer of a day that the model has learned from is left out: it would be judged by what it has seen.
    So is one whose window and grace are not over, one of a member who objected to profiling, and one whose
    candidates the model does not know.

    Raises:
        UnknownModel: there is none of this version.
        ModelUnusable: its artefact is missing, damaged or not the one registered.
    """
    model = _open(conn, models_folder, question.version)
    choices = _Choices()
    since, until = (local_midnight(day, timezone=timezone) for day in (question.since, question.until))
    log_of = store.read_log(
        conn,
        placement=question.placement,
        since=since,
        until=until,
        metric=question.metric,
        window=timedelta(days=question.window_days),
        grace=timedelta(days=question.grace_days),
        watermark=now,
    )
    skus: dict[int, str] = {}
    for rows in log_of:
        _learn_names(conn, rows, skus)
        keys = sorted({row.owner_key for row in rows if row.left_out is None})
        histories = _read_histories(conn, keys, timezone=timezone, until=until)
        for row in rows:
            choices.rows += 1
            day = (local_day(row.issued_at, timezone=timezone) - _EPOCH).days
            reason = row.left_out or ("seen_in_training" if day <= model.trained_through else None)
            if reason is None:
                reason = _choose(choices, row, model, question, skus, histories.get(row.owner_key, []), day)
            if reason is not None:
                choices.left_out[reason] += 1
    return _judge(choices)


def request_evaluation(
    conn: Connection, *, question: Question, requested_by: str, now: datetime, locale: str = "en"
) -> dict[str, Any]:
    """Leave an evaluation to the worker and return it as it stands.

    Raises:
        UnknownModel: there is none of this version.
    """
    if models.find_model(conn, version=question.version) is None:
        raise UnknownModel(f"there is no model {question.version}")
    evaluation_id = new_id("ope", now)
    store.add_evaluation(
        conn,
        values={
            "evaluation_id": evaluation_id,
            "version": question.version,
            "question": question.to_json(),
            "requested_by": requested_by,
            "requested_at": now,
        },
    )
    defer(conn, task=TASK, arguments={"evaluation_id": evaluation_id})
    return get_evaluation(conn, version=question.version, evaluation_id=evaluation_id, locale=locale)


def get_evaluation(
    conn: Connection, *, version: str, evaluation_id: str, locale: str = "en"
) -> dict[str, Any]:
    """Return an evaluation as it stands, with what it says in the caller's language.

    Raises:
        UnknownEvaluation: there is none of this id for this version.
    """
    row = store.find_evaluation(conn, evaluation_id=evaluation_id)
    if row is None or row.version != version:
        raise UnknownEvaluation(f"model {version} has no evaluation {evaluation_id}")
    told = None if row.result is None else tell_evaluation(row.result, row.question)
    return {
        "evaluation_id": row.evaluation_id,
        "state": row.state,
        **row.question,
        "requested_by": row.requested_by,
        "requested_at": format_time(row.requested_at),
        "computed_at": None if row.computed_at is None else format_time(row.computed_at),
        "failure": row.failure,
        "result": None
        if told is None
        else {**row.result, "label": _in(LABEL, locale), "sentence": _in(told, locale)},
    }


def run_evaluation(
    engine: Engine, *, evaluation_id: str, models_folder: ModelsFolder, timezone: str, now: datetime
) -> None:
    """Work an evaluation out and keep what it found, or why it found nothing.

    The row is held meanwhile: a second job finds it held and goes home, a worker that dies lets go of it.
    """
    try:
        with transaction(engine) as conn:
            row = store.hold_evaluation(conn, evaluation_id=evaluation_id)
            if row is None:
                return
            found = evaluate_model(
                conn,
                models_folder=models_folder,
                timezone=timezone,
                question=read_question(row.question),
                now=now,
            )
            store.set_evaluation(
                conn, evaluation_id=evaluation_id, state="done", result=found, computed_at=now
            )
    except Problem as problem:
        _fail(engine, evaluation_id, problem.detail or UNEXPECTED, now)
    except Exception:
        log.exception("off-policy evaluation failed", extra={"evaluation": evaluation_id})
        _fail(engine, evaluation_id, UNEXPECTED, now)


def read_question(kept: Mapping[str, Any]) -> Question:
    """Return a question as it was kept."""
    days = {name: date.fromisoformat(kept[name]) for name in ("since", "until")}
    return replace(Question(**{**kept, **days}))


def _fail(engine: Engine, evaluation_id: str, failure: str, now: datetime) -> None:
    with transaction(engine) as conn:
        store.set_evaluation(
            conn, evaluation_id=evaluation_id, state="failed", failure=failure, computed_at=now
        )


def _in(texts: Mapping[str, str], locale: str) -> str:
    return texts.get(locale, texts["en"])


def _open(conn: Connection, models_folder: ModelsFolder, version: str) -> ServedModel:
    row = models.find_model(conn, version=version)
    if row is None:
        raise UnknownModel(f"there is no model {version}")
    try:
        return open_model(models_folder, row)
    except ArtifactError as error:
        raise ModelUnusable(f"{version} cannot be asked: {type(error).__doc__} ({error})") from error


def _learn_names(conn: Connection, rows: Sequence[Row[Any]], skus: dict[int, str]) -> None:
    """Add the names of candidates that have not come up before."""
    new = {key for row in rows for key, _ in row.candidates} - skus.keys()
    if new:
        skus.update(models.find_skus(conn, item_keys=sorted(new)))


def _read_histories(
    conn: Connection, keys: Sequence[int], *, timezone: str, until: datetime
) -> dict[int, list[Fact]]:
    def by_member() -> Iterator[tuple[int, list[Fact]]]:
        rows = store.list_histories(conn, member_keys=keys, timezone=timezone, until=until)
        ordered = sorted(rows, key=lambda row: row.member_key)
        for key, facts in groupby(ordered, key=lambda row: int(row.member_key)):
            yield key, [_read_fact(row) for row in facts]

    return dict(by_member()) if keys else {}


def _read_fact(row: Row[Any]) -> Fact:
    return Fact(
        row.bought, row.sku, row.day, row.quantity, row.order_key, row.at, row.known_at, row.undone_at
    )


def _choose(
    choices: _Choices,
    row: Row[Any],
    model: ServedModel,
    question: Question,
    skus: Mapping[int, str],
    facts: Sequence[Fact],
    today: int,
) -> str | None:
    """Add one answer with what the model would have shown instead, or return why it cannot be judged."""
    keys = [key for key, _ in row.candidates]
    picked = pick(
        model,
        candidates=[skus[key] for key in keys],
        purchases=purchases_before(facts, row.issued_at, most=HISTORY_LINES),
        today=today,
        mode=row.mode,
        steered_by=row.steered_by,
        policy="baseline" if question.policy == "popularity" else "model",
    )
    if picked is None:
        return "unknown_to_model"
    choices.member.append(row.owner_key)
    choices.item.append(row.item_key)
    choices.place.append(place_of(row.position, keys.index(row.item_key)))
    choices.reward.append(float(row.rewarded))
    choices.propensity.append(row.propensity)
    choices.picked.append(keys[picked])
    choices.picked_place.append(place_of(row.position, picked))
    return None


def _judge(choices: _Choices) -> dict[str, Any]:
    """Return the estimates with what they stand on, or the refusal with the figures behind it."""
    shown = Shown(
        member=np.array(choices.member, np.int64),
        item=np.array(choices.item, np.int64),
        place=np.array(choices.place, np.int64),
        reward=np.array(choices.reward),
    )
    picked = np.array(choices.picked, np.int64)
    agrees = shown.item == picked
    columns = (
        choices.reward,
        choices.propensity,
        agrees.astype(float).tolist(),
        expect(shown, shown.item, shown.place).tolist(),
        expect(shown, picked, np.array(choices.picked_place, np.int64)).tolist(),
        choices.member,
    )
    rows = [experiments.Logged(*values) for values in zip(*columns, strict=True)]
    found = experiments.evaluate_logged(rows).to_json()
    for estimate in (found[name] for name in _ESTIMATES if found[name] is not None):
        del estimate["p_value"]
    refused = found["refused"] if rows else NOTHING_LOGGED
    return {
        "status": "estimated" if refused is None else "refused",
        "refused": refused,
        "logged": choices.rows,
        "left_out": {reason: choices.left_out[reason] for reason in _LEFT_OUT},
        "rows": found["rows"],
        "agreeing": int(agrees.sum()),
        "members": found["groups"],
        "effective_members": round(found["effective_rows"], 1),
        "largest_weight_share": round(found["largest_weight_share"], 6),
        **{name: found[name] for name in ("logged_mean", *_ESTIMATES)},
    }
