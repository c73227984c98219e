"""The block that every influencing answer carries: one shape in both arms, for empties and fallbacks. Pure.

Whoever holds one answer can say which side it was on, until when its outcome counts, and what rate it must
beat. Where a thing does not apply the name is still there, with null.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, NamedTuple

from service.experiments.operations import Baseline, Subject, window_of
from service.kit.clock import format_time

SCHEMA_VERSION = 1
METRIC = "repurchase"
EVENTS_URL = "/v1/events"

SPLIT = "split"
NOT_A_MEMBER = "not_a_member"
NO_EXPERIMENT = "no_experiment"
UNASSIGNED = "not_assigned"
ASSIGNMENT_UNAVAILABLE = "assignment_unavailable"


class Policy(NamedTuple):
    """What decided the answer: by name and version, the model behind it, and the fallback it needed.

    `refreshed_through`: statistics made after the training hold everything committed by then.
    """

    name: str
    version: str | None = None
    model_name: str | None = None
    model_version: str | None = None
    trained_through: date | None = None
    fallback: str | None = None
    refreshed_through: datetime | None = None


class Surface(NamedTuple):
    """Where the answer is shown."""

    placement: str
    channel: str


def build_measurement(
    *,
    subject: Subject | None,
    reason: str | None,
    policy: Policy,
    surface: Surface,
    attribution_token: str,
    issued_at: datetime,
    traceparent: str | None,
) -> dict[str, Any]:
    """Return the measurement block.

    `subject` is None when the assignment store could not be asked. `reason` says why there is no arm, and
    is None when there is one: then the assignment's own is given.
    """
    through, refreshed = policy.trained_through, policy.refreshed_through
    return {
        "schema_version": SCHEMA_VERSION,
        "issued_at": format_time(issued_at),
        "attribution_token": attribution_token,
        "assignment": _assignment(subject, reason),
        "nested": _nested(subject),
        "policy": {
            "name": policy.name,
            "version": policy.version,
            "model": {
                "name": policy.model_name,
                "version": policy.model_version,
                "trained_through": None if through is None else through.isoformat(),
            },
            "fallback": policy.fallback,
            "refreshed_through": None if refreshed is None else format_time(refreshed),
        },
        "surface": {"placement": surface.placement, "channel": surface.channel},
        "outcome": _outcome(subject),
        "report_back": {"echo": ["recommendation_id", "impression_id"], "url": EVENTS_URL},
        "trace": {"traceparent": traceparent},
    }


def reason_without_arm(subject: Subject) -> str | None:
    """Return why a subject has no arm, or None when it has one."""
    if subject.assignment is not None:
        return None
    if subject.member_key is None:
        return NOT_A_MEMBER
    return NO_EXPERIMENT if subject.running is None else UNASSIGNED


def _assignment(subject: Subject | None, reason: str | None) -> dict[str, Any]:
    assignment = None if subject is None else subject.assignment
    if assignment is not None:
        return {
            "experiment": assignment.experiment.experiment,
            "version": assignment.experiment.version,
            "arm": assignment.arm,
            "is_holdout": assignment.is_holdout,
            "reason": reason or assignment.reason,
        }
    version = None if subject is None else subject.running
    return {
        "experiment": None if version is None else version.experiment,
        "version": None if version is None else version.version,
        "arm": None,
        "is_holdout": False,
        "reason": reason or SPLIT,
    }


def _nested(subject: Subject | None) -> list[dict[str, Any]]:
    """Return the member's arms in the other experiments that run."""
    if subject is None or not subject.places:
        return []
    return [
        {
            "experiment": place.experiment.experiment,
            "version": place.experiment.version,
            "arm": place.arm,
        }
        for place in subject.places
        if place.arm is not None
    ]


def _outcome(subject: Subject | None) -> dict[str, Any]:
    """Return the window of the experiment's own anchor; without an arm there is none to speak of."""
    assignment = None if subject is None else subject.assignment
    baseline = _baseline(None if subject is None else subject.baseline)
    if assignment is not None:
        version = assignment.experiment
        start, end, matures_at = window_of(version, anchor=assignment.assigned_at)
        return {
            "metric": METRIC,
            "window_days": version.window_days,
            "refund_grace_days": version.refund_grace_days,
            "window_start": format_time(start),
            "window_end": format_time(end),
            "matures_at": format_time(matures_at),
            "baseline": baseline,
        }
    running = None if subject is None else subject.running
    return {
        "metric": METRIC,
        "window_days": None if running is None else running.window_days,
        "refund_grace_days": None if running is None else running.refund_grace_days,
        "window_start": None,
        "window_end": None,
        "matures_at": None,
        "baseline": baseline,
    }


def _baseline(baseline: Baseline | None) -> dict[str, Any]:
    if baseline is None:
        return {"repurchase_rate": None, "numerator": None, "denominator": None, "as_of": None}
    rate = baseline.repurchase_rate
    return {
        "repurchase_rate": None if rate is None else round(rate, 6),
        "numerator": baseline.numerator,
        "denominator": baseline.denominator,
        "as_of": baseline.as_of.isoformat(),
    }
