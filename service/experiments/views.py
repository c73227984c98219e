"""Experiments as the API reads and shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from service.experiments.definitions import Definition, Plan, list_versions
from service.experiments.errors import ArmsUnsound
from service.experiments.outlook import look_ahead
from service.experiments.rules import POLICIES, Arm, Assignment, check_arms, check_policies
from service.experiments.uplift import UNSUBSCRIBED
from service.kit.clock import format_time
from service.kit.errors import FieldError, Invalid
from service.kit.money import to_minor, to_text


def read_split(arms: Sequence[Mapping[str, Any]], *, surface: str) -> list[Arm]:
    """Return arms as given.

    Raises:
        ArmsUnsound: they do not share all members between them, or name what does not answer there.
    """
    split = [Arm(one["arm"], one["weight_bp"], one.get("policy")) for one in arms]
    fault = check_arms(split) or check_policies(split, surface)
    if fault is not None:
        raise ArmsUnsound(fault, errors=[FieldError(fault, pointer="/arms")])
    return split


def read_plan(body: Mapping[str, Any], *, currency: str) -> Plan:
    """Return what a body says of an experiment.

    Raises:
        ArmsUnsound: see `read_split`.
    """
    nested = body["nested"]
    return Plan(
        title=body["title"],
        surface=body["surface"],
        nested=body["surface"] in POLICIES if nested is None else nested,
        arms=read_split(body["arms"], surface=body["surface"]),
        eligibility={
            name: format_time(value) if isinstance(value, datetime) else value
            for name, value in body["eligibility"].items()
        },
        anchor=body["anchor"],
        window_days=body["window_days"],
        refund_grace_days=body["refund_grace_days"],
        guardrails=_read_guardrails(body["guardrails"], currency),
        salt=body["salt"],
    )


def _read_guardrails(given: Sequence[Mapping[str, Any]], currency: str) -> list[dict[str, Any]]:
    metrics = [one["metric"] for one in given]
    read = []
    for number, one in enumerate(given):
        pointer = f"/guardrails/{number}"
        if one["metric"] in metrics[:number]:
            raise _refuse("a metric is guarded once", f"{pointer}/metric")
        wanted, other = ("margin_bp", "margin") if one["metric"] == UNSUBSCRIBED else ("margin", "margin_bp")
        if one[wanted] is None or one[other] is not None:
            raise _refuse(f"{one['metric']} is guarded by {wanted}", f"{pointer}/{wanted}")
        read.append({"metric": one["metric"], **_margin(one, currency, f"{pointer}/margin")})
    return read


def _margin(given: Mapping[str, Any], currency: str, pointer: str) -> dict[str, Any]:
    if given["margin"] is None:
        return {"margin_bp": given["margin_bp"]}
    try:
        return {"margin_minor": to_minor(given["margin"], currency=currency), "currency": currency}
    except ValueError as error:
        raise _refuse(str(error), pointer) from error


def _refuse(fault: str, pointer: str) -> Invalid:
    return Invalid("a guardrail is not acceptable", errors=[FieldError(fault, pointer=pointer)])


def _guardrail_json(one: Mapping[str, Any]) -> dict[str, Any]:
    minor = one.get("margin_minor")
    return {
        "metric": one["metric"],
        "margin": None if minor is None else to_text(minor, currency=one["currency"]),
        "margin_bp": one.get("margin_bp"),
    }


def assignment_json(assignment: Assignment) -> dict[str, object]:
    """Return a member's side of an experiment."""
    return {
        "experiment": assignment.experiment.experiment,
        "version": assignment.experiment.version,
        "arm": assignment.arm,
        "is_holdout": assignment.is_holdout,
        "reason": assignment.reason,
        "assigned_at": format_time(assignment.assigned_at),
        "tier_at_assignment": assignment.tier_at_assignment,
    }


def row_json(definition: Definition) -> dict[str, Any]:
    """Return an experiment as a list shows it."""
    return {
        "key": definition.experiment,
        "version": definition.version,
        "status": definition.status,
        "title": definition.plan.title,
        "surface": definition.plan.surface,
        "is_global_holdout": definition.is_global_holdout,
        "nested": definition.plan.nested,
        "arms": [
            {"arm": arm.arm, "weight_bp": arm.weight_bp, "policy": arm.policy} for arm in definition.plan.arms
        ],
        "created_at": format_time(definition.created_at),
        "started_at": _time(definition.started_at),
        "frozen_at": _time(definition.frozen_at),
        "stopped_at": _time(definition.stopped_at),
    }


def experiment_json(
    conn: Connection, definition: Definition, *, locale: str, now: datetime
) -> dict[str, Any]:
    """Return a version with everything fixed of it, and what it can show."""
    plan = definition.plan
    outlook = definition.outlook
    if outlook is None and definition.stopped_at is None:
        outlook = look_ahead(conn, plan=plan, now=now)
    if outlook is not None:
        outlook = {**outlook, "suggestion": (outlook["suggestion"] or {}).get(locale)}
    return row_json(definition) | {
        "eligibility": plan.eligibility,
        "anchor": plan.anchor,
        "window_days": plan.window_days,
        "refund_grace_days": plan.refund_grace_days,
        "guardrails": [_guardrail_json(one) for one in plan.guardrails],
        "planned_members": definition.planned_members,
        "outlook": outlook,
        "versions": [one.version for one in list_versions(conn, experiment=definition.experiment)],
    }


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else format_time(moment)
