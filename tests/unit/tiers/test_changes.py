"""Correcting the log: what stands is left alone, what differs is superseded and appended anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from dataclasses import replace as with_
from datetime import datetime
from typing import Any

from service.tiers.changes import causes_of, correct_log
from service.tiers.conditions import Metrics
from service.tiers.spans import Change
from service.tiers.standing import metrics_json
from tests.unit.tiers.histories import at, ladder, spend

RULES = ladder(*spend(100, 200))
NUMBERS = Metrics(1, 0, 0, 10_000, 1, None)


@dataclass(frozen=True)
class Row:
    change_key: int
    from_tier: str | None
    to_tier: str
    effective_at: datetime
    cause: str
    metrics: Mapping[str, Any]
    order_key: int | None = None
    refund_key: int | None = None
    pin_key: int | None = None


BEGUN = Change(None, 0, at(0), "enrol", NUMBERS, None, None, None, None, RULES)
RISEN = Change(0, 1, at(5), "order", NUMBERS, 7, None, None, "t0", RULES)
FALLEN = Change(1, 0, at(40), "roll_off", NUMBERS, None, None, None, "t1", RULES)


def logged(changes: Sequence[Change]) -> list[Row]:
    return [
        Row(
            key,
            change.from_tier,
            change.to_tier,
            change.effective_at,
            change.cause,
            metrics_json(change.metrics, currency="TWD"),
            change.order_key,
            change.refund_key,
        )
        for key, change in enumerate(changes, start=1)
    ]


def test_a_log_that_says_the_same_is_left_alone() -> None:
    log = [BEGUN, RISEN, FALLEN]
    correction = correct_log(logged(log), log, same_metrics=True)
    assert (correction.superseded, correction.appended) == ([], [])


def test_only_what_differs_is_corrected() -> None:
    moved = with_(RISEN, effective_at=at(3), order_key=6)
    correction = correct_log(logged([BEGUN, RISEN, FALLEN]), [BEGUN, moved, FALLEN], same_metrics=True)
    assert (correction.superseded, correction.appended) == ([2], [moved])


def test_what_never_happened_is_superseded() -> None:
    correction = correct_log(logged([BEGUN, RISEN, FALLEN]), [BEGUN], same_metrics=False)
    assert (sorted(correction.superseded), correction.appended) == ([2, 3], [])


def test_a_live_decision_keeps_the_numbers_it_was_made_on_and_history_does_not() -> None:
    recounted = with_(RISEN, metrics=NUMBERS._replace(orders=2))
    rows = logged([BEGUN, RISEN])
    live = correct_log(rows, [BEGUN, recounted], same_metrics=False)
    assert (live.superseded, live.appended) == ([], [])
    history = correct_log(rows, [BEGUN, recounted], same_metrics=True)
    assert (history.superseded, history.appended) == ([2], [recounted])


def test_what_was_learned_late_keeps_saying_so() -> None:
    rows = [*logged([BEGUN]), with_(logged([RISEN])[0], change_key=2, cause="late_fact")]
    correction = correct_log(rows, [BEGUN, RISEN], same_metrics=False)
    assert (correction.superseded, correction.appended) == ([], [])


def test_changes_of_one_moment_stand_or_fall_together_in_their_order() -> None:
    first = with_(FALLEN, from_rank=2, from_tier="t2", to_rank=1)
    second = with_(FALLEN, effective_at=at(40))
    other = with_(first, from_rank=1, from_tier="t1", to_rank=1)
    correction = correct_log(logged([first, second]), [other, second], same_metrics=False)
    assert correction.superseded == [1, 2]
    assert correction.appended == [other, second]


def test_only_what_lies_before_the_last_conclusion_was_learned_late() -> None:
    found = causes_of([BEGUN, RISEN, FALLEN], learned_late_until=at(20))
    assert [cause for _, cause in found] == ["enrol", "late_fact", "roll_off"]
    assert [cause for _, cause in causes_of([RISEN], learned_late_until=None)] == ["order"]
