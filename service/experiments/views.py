"""Experiments as the API reads and shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection

from service.experiments.definitions import Definition, Plan, list_versions
from service.experiments.errors import ArmsUnsound
from service.experiments.outlook import look_ahead
from service.experiments.rules import POLICIES, Arm, Assignment, check_arms, check_policies
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
        guardrails=[
            {
                "metric": one["metric"],
                "margin_minor": _margin(one["margin"], currency, number),
                "currency": currency,
            }
            for number, one in enumerate(body["guardrails"])
        ],
        salt=body["salt"],
    )


def _margin(amount: Decimal, currency: str, number: int) -> int:
    try:
        return to_minor(amount, currency=currency)
    except ValueError as error:
        place = FieldError(str(error), pointer=f"/guardrails/{number}/margin")
        raise Invalid("an amount is not acceptable", errors=[place]) from error


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
        "guardrails": [
            {"metric": one["metric"], "margin": to_text(one["margin_minor"], currency=one["currency"])}
            for one in plan.guardrails
        ],
        "planned_members": definition.planned_members,
        "outlook": outlook,
        "versions": [one.version for one in list_versions(conn, experiment=definition.experiment)],
    }


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else format_time(moment)
