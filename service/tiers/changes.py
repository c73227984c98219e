"""The log of tier changes beside what a fold finds: what still stands, what must be corrected. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any, Protocol

from service.tiers.fold import MemberFold
from service.tiers.spans import Change
from service.tiers.standing import metrics_json


class Logged(Protocol):
    """A row of the log that was not superseded."""

    @property
    def change_key(self) -> int: ...
    @property
    def from_tier(self) -> str | None: ...
    @property
    def to_tier(self) -> str: ...
    @property
    def effective_at(self) -> datetime: ...
    @property
    def cause(self) -> str: ...
    @property
    def metrics(self) -> Mapping[str, Any]: ...
    @property
    def order_key(self) -> int | None: ...
    @property
    def refund_key(self) -> int | None: ...
    @property
    def pin_key(self) -> int | None: ...


@dataclass(frozen=True, slots=True)
class Correction:
    """What turns the log into what it should say: rows to supersede and changes to append."""

    superseded: list[int]
    appended: list[Change]


def correct_log(logged: Sequence[Logged], found: Sequence[Change], *, same_metrics: bool) -> Correction:
    """Compare the standing rows of one member with the changes of a fold, both by time.

    A row stands when it tells the same movement; with `same_metrics` also from the same numbers, which
    history brought in by an import must, while a live decision keeps the numbers it was made on. Rows of
    one moment stand or fall together, so that their order in the log stays the order they happened in.
    """
    rows = {at: list(group) for at, group in groupby(logged, key=lambda row: row.effective_at)}
    superseded: list[int] = []
    appended: list[Change] = []
    for at, group in groupby(found, key=lambda change: change.effective_at):
        changes = list(group)
        known = rows.pop(at, [])
        pairs = zip(known, changes, strict=False)
        if len(known) == len(changes) and all(_tells(row, change, same_metrics) for row, change in pairs):
            continue
        superseded += [row.change_key for row in known]
        appended += changes
    superseded += [row.change_key for left in rows.values() for row in left]
    return Correction(superseded, appended)


def _tells(row: Logged, change: Change, same_metrics: bool) -> bool:
    return (
        (row.from_tier, row.to_tier) == (change.from_tier, change.to_tier)
        and (row.order_key, row.refund_key, row.pin_key)
        == (change.order_key, change.refund_key, change.pin_key)
        # What was once learned late keeps saying so.
        and row.cause in (change.cause, "late_fact")
        and (not same_metrics or row.metrics == metrics_json(change.metrics, currency=change.rules.currency))
    )


def causes_of(appended: Iterable[Change], *, learned_late_until: datetime | None) -> list[tuple[Change, str]]:
    """Pair changes with the causes to log.

    Whatever turns out to have happened by `learned_late_until` was not known then: its cause is
    `late_fact`. None where nothing came late. A membership's beginning stays what it is.
    """
    return [
        (
            change,
            "late_fact"
            if learned_late_until is not None
            and change.effective_at <= learned_late_until
            and change.cause != "enrol"
            else change.cause,
        )
        for change in appended
    ]


def change_values(
    change: Change, *, cause: str, member_key: int, now: datetime, import_key: int | None
) -> dict[str, object]:
    """Return the row that logs a change; `metrics` JSON-able."""
    return {
        "member_key": member_key,
        "from_tier": change.from_tier,
        "to_tier": change.to_tier,
        "effective_at": change.effective_at,
        "recorded_at": now,
        "cause": cause,
        "ruleset_version": change.rules.version,
        "metrics": metrics_json(change.metrics, currency=change.rules.currency),
        "order_key": change.order_key,
        "refund_key": change.refund_key,
        "import_key": import_key,
        "pin_key": change.pin_key,
    }


def state_values(member: MemberFold, *, member_key: int) -> dict[str, object]:
    """Return the row that stores where a member stands."""
    state = member.state()
    return {
        "member_key": member_key,
        "tier": member.tier.code,
        "rank": state.rank,
        "since": state.since,
        "ruleset_version": state.ruleset_version,
        "unqualified_since": state.unqualified_since,
        "carrier_order_key": state.carrier_order_key,
        "through": state.through,
        "next_review_on": state.next_review_on,
        "stands_until": state.stands_until,
        "rated_rank": state.rated_rank,
        "rated_since": state.rated_since,
        "pinned_until": state.pinned_until,
    }
