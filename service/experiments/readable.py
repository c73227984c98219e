"""What later rooms may join: a member id with its tier, its sides of the experiments and the baseline."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    ColumnElement,
    Float,
    Integer,
    Select,
    Text,
    and_,
    bindparam,
    case,
    cast,
    func,
    literal,
    or_,
    select,
)
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP, aggregate_order_by

from service.experiments.models import assignments, experiments, exposures, holdout_baselines
from service.experiments.rules import ANALYSIS, POLICIES, RUNNING
from service.members.readable import consent_rows, joining_rows, known_rows
from service.tiers.readable import standing_rows

# One by one: a list would be sent with every call.
_ONGOING = [literal(status) for status in (RUNNING, ANALYSIS)]
_ANSWERED = [literal(surface) for surface in POLICIES]
# One runs at a time; one in analysis keeps its members' arms while no other draws new ones.
_running = (
    select(experiments.c.experiment_key, experiments.c.experiment)
    .where(experiments.c.is_global_holdout, experiments.c.status.in_(_ONGOING))
    .order_by((experiments.c.status == "running").desc(), experiments.c.started_at.desc())
    .limit(1)
    .subquery("running")
)
_one_row = select(literal(1).label("one")).subquery("one_row")
# A member keeps the version drawn under; one not yet drawn would be drawn under the running one.
_version = experiments.alias("version")
_stratum = func.coalesce(
    case(
        (assignments.c.member_key.is_not(None), assignments.c.tier_at_assignment), else_=standing_rows.c.tier
    ),
    "",
)


def is_eligible(wanted: ColumnElement[Any], *, member_key: ColumnElement[Any]) -> ColumnElement[bool]:
    """Return whether a member meets an experiment's `eligibility`: decided before any arm is known.

    `{"tiers": […], "consent": "profiling", "joined_from": …, "joined_before": …}`, each left out at will.
    """
    rules = cast(wanted, JSONB)

    def met(name: str, condition: ColumnElement[bool]) -> ColumnElement[bool]:
        return or_(~rules.has_key(name), func.coalesce(condition, False))

    def moment(name: str) -> ColumnElement[Any]:
        return cast(rules[name].astext, TIMESTAMP(timezone=True))

    # Whoever is asked about may stand two selects further out, where correlation does not reach by itself.
    standing = standing_rows.alias("standing_for_rules")
    tier = (
        select(standing.c.tier)
        .where(standing.c.member_key == member_key)
        .correlate_except(standing)
        .scalar_subquery()
    )
    joined = (
        select(joining_rows.c.joined_at)
        .where(joining_rows.c.member_key == member_key)
        .correlate_except(joining_rows)
        .scalar_subquery()
    )
    agreed = (
        select(
            case(
                (rules["consent"].astext == "marketing", consent_rows.c.marketing),
                else_=consent_rows.c.profiling,
            )
        )
        .where(consent_rows.c.member_key == member_key)
        .correlate_except(consent_rows)
        .scalar_subquery()
    )
    return and_(
        met("tiers", rules["tiers"].has_key(cast(tier, Text))),
        met("consent", agreed),
        met("joined_from", joined >= moment("joined_from")),
        met("joined_before", joined < moment("joined_before")),
    )


def _places() -> Any:
    """The other experiments that run, as JSON: the member's arm in each, or whether one may be drawn."""
    open_one, drawn = experiments.alias("open_one"), experiments.alias("drawn")
    theirs = assignments.alias("theirs")
    # Of whoever was drawn, the version drawn under.
    under = {
        name: func.coalesce(drawn.c[name], open_one.c[name])
        for name in ("experiment_key", "version", "arms", "window_days", "refund_grace_days")
    }
    told = {
        **under,
        "experiment": open_one.c.experiment,
        "salt": open_one.c.salt,
        "status": open_one.c.status,
        "surface": open_one.c.surface,
        "nested": open_one.c.nested,
        "arm": theirs.c.arm,
        "eligible": is_eligible(open_one.c.eligibility, member_key=known_rows.c.member_key),
    }
    pairs = [part for name, value in told.items() for part in (literal(name, Text), value)]
    return (
        select(
            func.jsonb_agg(
                aggregate_order_by(func.jsonb_build_object(*pairs, type_=JSONB), open_one.c.experiment),
                type_=JSONB,
            )
        )
        .select_from(
            open_one.outerjoin(
                theirs,
                and_(
                    theirs.c.experiment == open_one.c.experiment,
                    theirs.c.member_key == known_rows.c.member_key,
                ),
            ).outerjoin(drawn, drawn.c.experiment_key == theirs.c.experiment_key)
        )
        .where(
            ~open_one.c.is_global_holdout,
            open_one.c.status.in_(_ONGOING),
            or_(open_one.c.surface.in_(_ANSWERED), theirs.c.arm.is_not(None)),
        )
        .correlate(known_rows)
        .scalar_subquery()
    )


subject: Select[Any] = select(
    known_rows.c.member_key,
    known_rows.c.member_id,
    standing_rows.c.tier,
    _version.c.experiment_key,
    _version.c.experiment,
    _version.c.version,
    _version.c.salt,
    # As text: the same version's need not be taken apart for everybody.
    cast(_version.c.arms, Text).label("arms"),
    _version.c.window_days,
    _version.c.refund_grace_days,
    _version.c.status,
    assignments.c.arm,
    assignments.c.bucket,
    assignments.c.reason,
    assignments.c.assigned_at,
    assignments.c.tier_at_assignment,
    holdout_baselines.c.numerator,
    holdout_baselines.c.denominator,
    holdout_baselines.c.as_of,
    _places().label("places"),
).select_from(
    _one_row.outerjoin(known_rows, known_rows.c.asked_id == bindparam("member_id"))
    .outerjoin(standing_rows, standing_rows.c.member_key == known_rows.c.member_key)
    .outerjoin(_running, literal(True))
    .outerjoin(
        assignments,
        and_(
            assignments.c.experiment == _running.c.experiment,
            assignments.c.member_key == known_rows.c.member_key,
        ),
    )
    .outerjoin(
        _version,
        _version.c.experiment_key == func.coalesce(assignments.c.experiment_key, _running.c.experiment_key),
    )
    .outerjoin(
        holdout_baselines,
        and_(holdout_baselines.c.experiment == _version.c.experiment, holdout_baselines.c.tier == _stratum),
    )
)
"""Exactly one row for `:member_id`, whoever it is; add columns to it rather than asking twice.

`service.experiments.operations.read_subject` reads it.
"""


def _exposure_rows() -> Any:
    version, theirs = experiments.alias("shown_version"), assignments.alias("shown_to")
    nested, arm = experiments.alias("nested_version"), assignments.alias("nested_arm")
    places = (
        select(
            func.jsonb_agg(
                func.jsonb_build_object(
                    literal("experiment", Text),
                    nested.c.experiment,
                    literal("version", Text),
                    nested.c.version,
                    literal("arm", Text),
                    arm.c.arm,
                    type_=JSONB,
                ),
                type_=JSONB,
            )
        )
        .select_from(
            nested.join(
                arm,
                and_(arm.c.experiment == nested.c.experiment, arm.c.member_key == exposures.c.member_key),
            )
        )
        .where(nested.c.experiment_key == func.any(exposures.c.nested))
        .correlate(exposures)
        .scalar_subquery()
    )
    return (
        select(
            exposures.c.exposure_id,
            exposures.c.issued_at,
            exposures.c.member_key,
            exposures.c.anonymous_id,
            exposures.c.arm,
            exposures.c.policy,
            exposures.c.model_version,
            exposures.c.fallback,
            exposures.c.placement,
            exposures.c.channel,
            exposures.c.decision["context"]["tier"].astext.label("tier"),
            version.c.experiment,
            version.c.version,
            theirs.c.merged_into,
            places.label("nested"),
        )
        .select_from(
            exposures.outerjoin(version, version.c.experiment_key == exposures.c.experiment_key).outerjoin(
                theirs,
                and_(
                    theirs.c.experiment == version.c.experiment,
                    theirs.c.member_key == exposures.c.member_key,
                ),
            )
        )
        .subquery("exposure_rows")
    )


exposure_rows = _exposure_rows()
"""What was sent: to whom, on which side of which experiments, by which policy and model.

Ask with `issued_at`, so that only its months are read.
"""

explored_rows = (
    select(
        exposures.c.exposure_id,
        exposures.c.issued_at,
        exposures.c.member_key,
        exposures.c.placement,
        exposures.c.item_keys,
        exposures.c.decision["request"]["mode"].astext.label("mode"),
        exposures.c.decision["propensity"]["value"].astext.cast(Float).label("propensity"),
        exposures.c.decision["exploration"]["position"].astext.cast(Integer).label("position"),
        exposures.c.decision["exploration"]["candidates"].label("candidates"),
        exposures.c.decision["exploration"]["steered_by"].label("steered_by"),
    )
    .where(exposures.c.decision.has_key("exploration"))
    .subquery("explored_rows")
)
"""Answers with a place that a lot decided: which, among what, and how likely what was shown was.

`candidates` are pairs of item key and chance. Ask with `issued_at`, so that only its months are read.
"""
