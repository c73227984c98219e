"""From sums to a verdict: collect, keep, and have the statistics judge. No member's row comes up here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection

from service.experiments import outcomes_store, outside_store, results_store
from service.experiments.definitions import Definition, close_experiment, list_open_versions
from service.experiments.errors import ExperimentNotStarted, NotRandomised, UnknownArm
from service.experiments.rules import (
    ANALYSIS,
    BUCKETS,
    FIRST_EXPOSURE,
    HOLDOUT,
    RECOMMENDATIONS,
    SIDE_BY_SIDE,
)
from service.kit.clock import format_time

if TYPE_CHECKING:
    from service.experiments.statistics.plan import Plan
    from service.experiments.statistics.sums import Evidence

METRICS = ("repurchase", "orders", "net_spend", "returned_value", "reward_cost", "net_after_rewards")
"""What can be asked about; each also stands in every answer."""
UNSUBSCRIBED = "unsubscribed"
"""A share that is watched and never decided on."""
GUARDRAILS = ("returned_value", "reward_cost", UNSUBSCRIBED)
"""What must not get worse."""
LEFT_OUT = (
    *outcomes_store.REASONS,
    "merged",
    "not_eligible",
    "held_out",
    "not_a_member",
    "enrolment_ended",
)
"""Why members are not analysed: of an arm, or never drawn into one."""
COMPARISONS = ("arms", "exposed", "clicked")
"""What callers ask to compare; only the first was made by chance."""
LARGE = 200_000
"""From so many members on an answer comes from the sums that the worker added up last."""
_CLICK_DAYS = 7

Sums = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of an experiment; None: as the experiment itself says."""

    metric: str = "repurchase"
    compare: str = "arms"
    anchor: str | None = None
    window_days: int | None = None
    arm: str | None = None


@dataclass(frozen=True, slots=True)
class Counted:
    """Sums with the moment up to which facts were counted; `is_final`: they can no longer change.

    `outside` says who was asked for and is in no arm; None where it was not counted with them.
    """

    rows: Sums
    watermark: datetime
    is_final: bool
    outside: Sums | None = None


def report_uplift(
    conn: Connection, *, definition: Definition, asked: Asked, currency: str, now: datetime
) -> dict[str, Any]:
    """Return what an experiment found: one comparison for each arm that is tried, each with its verdict.

    Raises:
        NotRandomised: something else than the arms is to be compared. ExperimentNotStarted.
        UnknownArm: the experiment has no such arm to try.
    """
    # Loaded when first asked for: a web worker that answers shops never needs it.
    from service.experiments.statistics.verdict import analyse

    if asked.compare != "arms":
        raise NotRandomised(
            f"comparing {asked.compare} members with the others mixes the effect with who they are; "
            "compare the arms, by anchor=first_exposure if only the exposed are of interest"
        )
    if definition.started_at is None:
        raise ExperimentNotStarted(f"{definition.experiment} is a draft")
    tried = _tried_arms(definition, asked.arm)
    anchor = asked.anchor or definition.plan.anchor
    days = asked.window_days or definition.plan.window_days
    counted = count_outcomes(conn, definition=definition, anchor=anchor, window_days=days, now=now)
    windows = {
        other: count_outcomes(conn, definition=definition, anchor=anchor, window_days=other, now=now).rows
        for other in _windows_begun(definition, now)
        if other != days
    }
    outside = counted.outside
    if outside is None:
        outside = count_outside(conn, definition=definition, watermark=counted.watermark)
    members_a_year = results_store.count_members(conn)
    comparisons = []
    for arm in tried:
        plan = _plan(
            definition,
            asked,
            tried=arm,
            tried_arms=len(tried),
            anchor=anchor,
            window_days=days,
            currency=currency,
            members_a_year=members_a_year,
            is_final=counted.is_final,
        )
        credit = _attribute(conn, definition, arm, counted.watermark)
        evidence = _evidence(definition, counted.rows, outside, {days: counted.rows} | windows, credit)
        comparisons.append(analyse(evidence, plan).to_json())
    return {
        "experiment": definition.experiment,
        "version": definition.version,
        "status": definition.status,
        "metric": asked.metric,
        "anchor": anchor,
        "window_days": days,
        "currency": currency,
        "watermark": format_time(counted.watermark),
        "is_final": counted.is_final,
        "comparisons": comparisons,
    }


def count_outcomes(
    conn: Connection, *, definition: Definition, anchor: str, window_days: int, now: datetime
) -> Counted:
    """Return the sums of a version: the frozen ones if they are, those of the worker for a large
    experiment, or added up now."""
    kept = results_store.find_result(
        conn,
        experiment=definition.experiment,
        version=definition.version,
        anchor=anchor,
        window_days=window_days,
    )
    if kept is not None and (
        kept.is_final or results_store.count_assigned(conn, experiment=definition.experiment) > LARGE
    ):
        return Counted(results_store.read_exact(kept.sums), kept.watermark, kept.is_final, kept.outside)
    return add_up(conn, definition=definition, anchor=anchor, window_days=window_days, now=now)


def add_up(
    conn: Connection, *, definition: Definition, anchor: str, window_days: int, now: datetime
) -> Counted:
    """Run the outcome join with `now` as the watermark.

    Raises:
        ExperimentNotStarted: it was never started.
    """
    if definition.started_at is None:
        raise ExperimentNotStarted
    rows = outcomes_store.read_sums(
        conn,
        experiment=definition.experiment,
        experiment_key=definition.experiment_key,
        started_at=definition.started_at,
        by_exposure=anchor == FIRST_EXPOSURE,
        window=timedelta(days=window_days),
        grace=timedelta(days=definition.plan.refund_grace_days),
        watermark=now,
    )
    plain = [{str(name): _plain(value) for name, value in row._mapping.items()} for row in rows]
    final_from = definition.final_from(window_days=window_days)
    return Counted(plain, now, final_from is not None and final_from <= now)


def count_outside(conn: Connection, *, definition: Definition, watermark: datetime) -> Sums:
    """Return who was asked for by then and is in no arm: arm (None for none), reason, members.

    Raises:
        ExperimentNotStarted: it was never started.
    """
    if definition.started_at is None:
        raise ExperimentNotStarted
    rows = outside_store.count_outside(
        conn,
        experiment=definition.experiment,
        experiment_key=definition.experiment_key,
        by_recommendations=definition.plan.surface == RECOMMENDATIONS,
        nested=definition.plan.nested,
        started_at=definition.started_at,
        frozen_at=definition.frozen_at,
        watermark=watermark,
        holdout=HOLDOUT,
    )
    return [dict(row._mapping) for row in rows]


def keep_results(conn: Connection, *, now: datetime) -> int:
    """Add up what staff may ask for, freeze what can no longer change, and close what is over.

    For the worker. Returns how many results were written.
    """
    written = 0
    for definition in list_open_versions(conn):
        large = results_store.count_assigned(conn, experiment=definition.experiment) > LARGE
        for window_days in _windows_begun(definition, now):
            final_from = definition.final_from(window_days=window_days)
            is_final = final_from is not None and final_from <= now
            for anchor in {definition.plan.anchor, FIRST_EXPOSURE}:
                if is_final or large:
                    written += _keep(conn, definition, anchor, window_days, now)
        ends = definition.final_from(window_days=definition.plan.window_days)
        if definition.status == ANALYSIS and ends is not None and ends <= now:
            close_experiment(conn, definition=definition, now=now)
    return written


def _keep(conn: Connection, definition: Definition, anchor: str, window_days: int, now: datetime) -> int:
    kept = results_store.find_result(
        conn,
        experiment=definition.experiment,
        version=definition.version,
        anchor=anchor,
        window_days=window_days,
    )
    if kept is not None and kept.is_final:
        return 0
    counted = add_up(conn, definition=definition, anchor=anchor, window_days=window_days, now=now)
    results_store.keep_result(
        conn,
        experiment=definition.experiment,
        version=definition.version,
        anchor=anchor,
        window_days=window_days,
        watermark=counted.watermark,
        is_final=counted.is_final,
        sums=counted.rows,
        outside=count_outside(conn, definition=definition, watermark=counted.watermark),
        now=now,
    )
    return 1


def _plain(value: Any) -> Any:
    if isinstance(value, date):
        return value.isoformat()
    return int(value) if isinstance(value, int | Decimal) else value


def _tried_arms(definition: Definition, wanted: str | None) -> list[str]:
    """Return the arms that are compared with the first one, which shows what happens without them."""
    tried = [arm.arm for arm in definition.plan.arms[1:]]
    if wanted is None:
        return tried
    if wanted not in tried:
        raise UnknownArm(f"{definition.experiment} tries {', '.join(tried)} against {_baseline(definition)}")
    return [wanted]


def _baseline(definition: Definition) -> str:
    return definition.plan.arms[0].arm


def _windows_begun(definition: Definition, now: datetime) -> list[int]:
    """Return the windows in which somebody may be mature: those side by side, and the experiment's own."""
    if definition.started_at is None:
        return []
    own = definition.plan.window_days
    grace = definition.plan.refund_grace_days
    return [
        days
        for days in sorted({own, *SIDE_BY_SIDE})
        if days == own or definition.started_at + timedelta(days=days + grace) <= now
    ]


def _plan(
    definition: Definition,
    asked: Asked,
    *,
    tried: str,
    tried_arms: int,
    anchor: str,
    window_days: int,
    currency: str,
    members_a_year: int,
    is_final: bool,
) -> Plan:
    from service.experiments.statistics import plan as plans

    known = {
        metric.name: metric
        for metric in (
            plans.REPURCHASE,
            plans.ORDERS,
            plans.NET_SPEND,
            plans.RETURNED_VALUE,
            plans.REWARD_COST,
            plans.NET_AFTER_REWARDS,
            plans.UNSUBSCRIBED,
        )
    }
    primary = known[asked.metric]
    guarded = {one["metric"] for one in definition.plan.guardrails}
    first = tuple(known[name] for name in ("repurchase", "orders", "net_spend", "net_after_rewards"))
    return plans.Plan(
        experiment=definition.experiment,
        version=definition.version,
        baseline=_baseline(definition),
        tried=tried,
        shares_bp={arm.arm: arm.weight_bp for arm in definition.plan.arms},
        window_days=window_days,
        currency=currency,
        members_a_year=members_a_year,
        anchor=anchor,
        primary=primary,
        secondaries=tuple(one for one in first if one != primary and one.name not in guarded),
        ratios=(plans.ORDER_VALUE,),
        guardrails=tuple(
            plans.Guardrail(known[one["metric"]], margin=_margin(one)) for one in definition.plan.guardrails
        ),
        value_metric=plans.NET_AFTER_REWARDS,
        tried_arms=tried_arms,
        planned_members=max(2, definition.planned_members or 20_000),
        looks=plans.Looks.ONCE if is_final else plans.Looks.ANY_TIME,
    )


def _margin(guardrail: Mapping[str, Any]) -> float:
    """Return what is still acceptable in the metric's unit: a share, or minor units per member."""
    if guardrail["metric"] == UNSUBSCRIBED:
        return float(guardrail["margin_bp"]) / BUCKETS
    return float(guardrail["margin_minor"])


def _evidence(
    definition: Definition,
    rows: Sums,
    outside: Sums,
    windows: Mapping[int, Sums],
    credit: Sequence[Mapping[str, Any]],
) -> Evidence:
    from service.experiments.statistics.sums import Attributed, LeftOut, WindowSums
    from service.experiments.statistics.sums import Evidence as Given

    shares = {arm.arm: arm.weight_bp for arm in definition.plan.arms}
    sums = [row for row in rows if row["day"] is None]
    left_out = [
        LeftOut(arm, reason, members)
        for reason in outcomes_store.REASONS
        for arm in shares
        if (members := sum(row[reason] for row in sums if row["arm"] == arm))
    ]
    left_out += [LeftOut(row["arm"], row["reason"], row["members"]) for row in outside]
    return Given(
        arms=_arm_sums(sums),
        draws=_draws(rows, shares),
        left_out=tuple(left_out),
        windows=tuple(
            WindowSums(days, _arm_sums([row for row in found if row["day"] is None]))
            for days, found in sorted(windows.items())
        ),
        attributed=tuple(Attributed(**one) for one in credit),
    )


def _arm_sums(sums: Sums) -> Any:
    from service.experiments.statistics.sums import ArmSums, Moments

    found = []
    for row in sums:
        metrics = {
            name: Moments(
                row["members"],
                row[name],
                row[f"{name}_squares"],
                row["x"],
                row["x_squares"],
                row[f"{name}_by_x"],
            )
            for name in outcomes_store.VALUES
            # Sums that were kept before a metric was there know nothing of it.
            if name in row
        }
        # A ratio's covariate is its denominator.
        metrics["order_value"] = replace(
            metrics["net_spend"],
            covariate_total=row["orders"],
            covariate_squares=row["orders_squares"],
            products=row["net_spend_by_orders"],
        )
        found.append(ArmSums(row["arm"], row["stratum"], metrics))
    return tuple(found)


def _draws(rows: Sums, shares: Mapping[str, int]) -> Any:
    from service.experiments.statistics.sums import Draw

    by_day: dict[tuple[str, str], dict[str, int]] = {}
    for row in rows:
        if row["day"] is not None:
            by_day.setdefault((row["day"], row["stratum"]), {})[row["arm"]] = row["members"]
    return tuple(
        Draw({arm: members.get(arm, 0) for arm in shares}, shares, stratum, date.fromisoformat(day))
        for (day, stratum), members in sorted(by_day.items())
    )


def _attribute(
    conn: Connection, definition: Definition, arm: str, watermark: datetime
) -> list[dict[str, Any]]:
    """Return figures by credit for the tried arm: shown beside the increment, and never called uplift."""
    if definition.started_at is None:
        return []
    row = results_store.read_attributed(
        conn,
        experiment=definition.experiment,
        arm=arm,
        since=definition.started_at,
        until=watermark,
        click_window=timedelta(days=_CLICK_DAYS),
    )
    credit = f"last_click_{_CLICK_DAYS}d"
    return [
        {"name": "viewed", "value": int(row.viewed), "unit": "count", "rule": "reported"},
        {"name": "clicked", "value": int(row.clicked), "unit": "count", "rule": "reported"},
        {"name": "added_to_cart", "value": int(row.added), "unit": "count", "rule": "reported"},
        {"name": "unattributable", "value": int(row.unattributable), "unit": "count", "rule": "reported"},
        {"name": "orders_after_click", "value": int(row.orders), "unit": "count", "rule": credit},
        {"name": "revenue_after_click", "value": int(row.revenue), "unit": "minor", "rule": credit},
    ]
