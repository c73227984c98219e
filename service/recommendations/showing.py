"""A shop's own test of a page, a text, a flow or a message: drawn, exposed and annotated by one call.

Whoever is asked for and cannot be drawn is answered in the same shape, with no arm and the reason, and is
recorded so too: that is how a result can say whom it leaves out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from service.activity import operations as activity
from service.experiments import operations as experiments
from service.experiments.operations import Enrolled, Visitor
from service.kit.clock import format_time
from service.kit.ids import new_uuid
from service.recommendations.annotation import Policy, Surface, build_measurement
from service.recommendations.attribution import sign_token
from service.recommendations.decisions import ID_PREFIX
from service.recommendations.serving import Serving

TOKEN_DAYS = 60
"""An echo is taken for as long as an outcome may still come of what was shown."""


def expose_visitor(
    conn: Connection,
    *,
    serving: Serving,
    experiment: str,
    visitor: Visitor,
    surface: Surface,
    traceparent: str | None,
    now: datetime,
) -> dict[str, Any]:
    """Draw a visitor's arm if that was not done before, and record that it is shown now.

    Raises:
        UnknownExperiment, SurfaceNotServed, ExperimentNotRunning: see `enrol_visitor`.
    """
    drawn_by, enrolled = experiments.enrol_visitor(conn, experiment=experiment, visitor=visitor, now=now)
    exposure, answer = _show(
        serving, enrolled, visitor, drawn_by=drawn_by, surface=surface, traceparent=traceparent, now=now
    )
    if enrolled.member_key is not None and visitor.anonymous_id is not None:
        activity.link_visitors(conn, links={visitor.anonymous_id: enrolled.member_key}, now=now)
    # The first assignment is worth waiting for the disk, and those of a test are few.
    experiments.record_exposure(conn, exposure=exposure, relaxed=False)
    return answer


def expose_crowd(
    conn: Connection,
    *,
    serving: Serving,
    experiment: str,
    member_ids: Sequence[str],
    surface: Surface,
    traceparent: str | None,
    now: datetime,
) -> list[dict[str, Any]]:
    """Draw the arms of many members, and record that each is shown its own now; in the order given.

    Raises:
        UnknownExperiment, SurfaceNotServed, ExperimentNotRunning: see `enrol_crowd`.
    """
    drawn_by, crowd = experiments.enrol_crowd(conn, experiment=experiment, member_ids=member_ids, now=now)
    shown = [
        _show(
            serving,
            enrolled,
            Visitor(member_id, None),
            drawn_by=drawn_by,
            surface=surface,
            traceparent=traceparent,
            now=now,
        )
        for member_id, enrolled in crowd
    ]
    experiments.record_exposures(conn, exposures=[exposure for exposure, _ in shown])
    return [
        {"member_id": member_id, **answer} for (member_id, _), (_, answer) in zip(crowd, shown, strict=True)
    ]


def _show(
    serving: Serving,
    enrolled: Enrolled,
    visitor: Visitor,
    *,
    drawn_by: str,
    surface: Surface,
    traceparent: str | None,
    now: datetime,
) -> tuple[experiments.Exposure, dict[str, Any]]:
    """Return what is recorded of showing somebody an arm, or none, and what is answered."""
    assignment = enrolled.assignment
    subject = experiments.Subject(
        member_id=visitor.member_id or "",
        member_key=enrolled.member_key,
        tier=enrolled.tier,
        assignment=assignment,
        running=enrolled.experiment,
        baseline=None,
    )
    now = subject.moment_of_answer(now)
    version = enrolled.experiment if assignment is None else assignment.experiment
    exposure = experiments.Exposure(
        exposure_id=new_uuid(now),
        issued_at=now,
        member_key=enrolled.member_key,
        experiment_key=version.experiment_key,
        arm=None if assignment is None else assignment.arm,
        policy=drawn_by,
        model_version=None,
        fallback=None,
        placement=surface.placement,
        channel=surface.channel,
        window_end=now + timedelta(days=TOKEN_DAYS),
        item_keys=(),
        decision=_decide(enrolled),
        anonymous_id=visitor.anonymous_id,
    )
    answer = _answer(
        serving,
        enrolled,
        subject,
        exposure,
        policy=Policy(drawn_by, version=str(enrolled.experiment.version)),
        surface=surface,
        traceparent=traceparent,
    )
    return exposure, answer


def _answer(
    serving: Serving,
    enrolled: Enrolled,
    subject: experiments.Subject,
    exposure: experiments.Exposure,
    *,
    policy: Policy,
    surface: Surface,
    traceparent: str | None,
) -> dict[str, Any]:
    assignment, now = enrolled.assignment, exposure.issued_at
    recommendation_id = f"{ID_PREFIX}_{exposure.exposure_id.hex}"
    return {
        "recommendation_id": recommendation_id,
        "experiment": enrolled.experiment.experiment,
        "version": (assignment.experiment if assignment else enrolled.experiment).version,
        "arm": None if assignment is None else assignment.arm,
        "reason": enrolled.reason,
        "assigned_at": None if assignment is None else format_time(assignment.assigned_at),
        "measurement": build_measurement(
            subject=subject,
            reason=enrolled.reason if assignment is None else None,
            policy=policy,
            surface=surface,
            # An anonymous visitor's echo is nobody's own: whoever they turn out to be may send it.
            attribution_token=sign_token(
                serving.keys,
                recommendation_id=recommendation_id,
                member_id=subject.member_id or None,
                issued_at=now,
                window_end=now + timedelta(days=TOKEN_DAYS),
            ),
            issued_at=now,
            traceparent=traceparent,
        ),
    }


def _decide(enrolled: Enrolled) -> Mapping[str, Any]:
    """Return the decision record of an answer that ranked nothing."""
    assignment = enrolled.assignment
    drawn = None if assignment is None else assignment.experiment
    return {
        "assignment": {
            "reason": enrolled.reason if assignment is None else assignment.reason,
            "bucket": None if assignment is None else assignment.bucket,
            "salt_id": None if drawn is None else drawn.salt,
            "arm_probability": None
            if assignment is None or drawn is None
            else experiments.probability_of(drawn.arms, assignment.arm),
        },
        "candidates": {"count": 0, "hash": None},
        "propensity": {"kind": "deterministic", "value": None},
        "context": {
            "tier": enrolled.tier,
            "days_since_last_order": None,
            "purchases_read": 0,
            "looks_read": 0,
        },
        "request": {"limit": 0, "mode": "none", "category": None, "context_sku": None, "excluded": 0},
        "seed": None,
        "config_hash": None,
        "statistics_version": None,
        "ranking": [],
    }
