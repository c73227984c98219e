"""The verbs of what tiers are worth: ask for a report, and compute its answer."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from service.kit.clock import local_day
from service.kit.errors import Conflict
from service.programme.operations import Programme
from service.tiers import reports
from service.tiers.conditions import METRICS, MetricName
from service.tiers.errors import AsOfInFuture, MonthsNotOver, RulesetNotReadable, UnknownRuleset
from service.tiers.population.anchors import find_anchors
from service.tiers.population.rules import definition_hash
from service.tiers.population.store_metrics import Anchors
from service.tiers.reports import Report, ask_report
from service.tiers.rules import RuleSet, parse_ruleset
from service.tiers.rulesets import get_active_ruleset
from service.tiers.worth import store
from service.tiers.worth.answers import (
    DRAWN_UP_TO,
    QUANTILES,
    edges_for,
    list_thresholds,
    show_metric,
    show_worth,
)
from service.tiers.worth.rules import Cell, follow_up, months_before
from service.tiers.worth.statistics import Sums

DEFAULT_MONTHS = 3


def ask_worth(
    conn: Connection,
    *,
    version: int | None,
    as_of: date | None,
    months: int,
    programme: Programme,
    now: datetime,
) -> Report:
    """Ask what members, rated by a rule set on a past day, bought in the months that followed.

    Without `as_of`, of the latest day after which that many months are over.

    Raises:
        UnknownRuleset, RulesetNotReadable, AsOfInFuture. MonthsNotOver: the months reach beyond yesterday.
    """
    today = local_day(now, timezone=programme.timezone)
    latest = months_before(today - timedelta(days=1), months=months)
    day = as_of or latest
    if day > today:
        raise AsOfInFuture
    if follow_up(day, months=months)[1] > today:
        raise MonthsNotOver(f"{latest} is the latest day after which months={months} are over")
    parameters = _name_rules(conn, version=version, now=now) | {"months": months}
    return ask_report(conn, kind="worth", parameters=parameters, as_of=day, today=today, now=now)


def ask_histogram(
    conn: Connection, *, version: int | None, as_of: date | None, programme: Programme, now: datetime
) -> Report:
    """Ask how the metrics are spread over the membership on a day, with a rule set's thresholds.

    Raises:
        UnknownRuleset, RulesetNotReadable, AsOfInFuture.
    """
    today = local_day(now, timezone=programme.timezone)
    day = as_of or today
    if day > today:
        raise AsOfInFuture
    parameters = _name_rules(conn, version=version, now=now) | {"past": day < today}
    return ask_report(conn, kind="histogram", parameters=parameters, as_of=day, today=today, now=now)


def answer_worth(
    conn: Connection, *, parameters: Mapping[str, Any], as_of: date, programme: Programme
) -> dict[str, Any]:
    """Compute the report `worth`."""
    rules, months = _read_rules(conn, parameters), parameters["months"]
    following = follow_up(as_of, months=months)
    cells = [
        Cell(row.tier, row.group, Sums(row.members, row.buyers, int(row.net_minor), int(row.net_squares)))
        for row in store.sum_cells(
            conn,
            rules=rules,
            as_of=as_of,
            following=following,
            timezone=programme.timezone,
            anchors=_find_anchors(conn, rules, as_of, programme, past=True),
        )
    ]
    return show_worth(cells, rules=rules, as_of=as_of, months=months, following=following)


def answer_histogram(
    conn: Connection, *, parameters: Mapping[str, Any], as_of: date, programme: Programme
) -> dict[str, Any]:
    """Compute the report `histogram`."""
    rules = _read_rules(conn, parameters)
    past = parameters["past"]
    members = store.stage_metrics(
        conn,
        rules=rules,
        as_of=as_of,
        timezone=programme.timezone,
        past=past,
        anchors=_find_anchors(conn, rules, as_of, programme, past=past),
    )
    return {
        "ruleset_version": rules.version,
        "as_of": as_of.isoformat(),
        "currency": rules.currency,
        "members": members,
        "metrics": [_spread(conn, metric, rules=rules, members=members) for metric in METRICS],
    }


def _find_anchors(
    conn: Connection, rules: RuleSet, as_of: date, programme: Programme, *, past: bool
) -> Anchors:
    return find_anchors(conn, windows=[rules.window], day=as_of, programme=programme, past=past)


def show_report(report: Report) -> dict[str, Any]:
    """Return a report as the API shows it: its answer stands under the name of its kind."""
    shown = reports.show_report(report)
    parameters, result = shown.pop("parameters"), shown.pop("result")
    answer: dict[str, Any] = {"worth": None, "histogram": None} | {report.kind: result}
    return {
        **shown,
        "version": parameters["version"],
        "months": parameters.get("months"),
        **answer,
    }


def _spread(conn: Connection, metric: MetricName, *, rules: RuleSet, members: int) -> dict[str, Any]:
    summary = store.summarise(conn, metric=metric, shares=QUANTILES)
    quantiles = summary.quantiles or [None] * len(QUANTILES)
    edges = edges_for(metric, highest=int(quantiles[DRAWN_UP_TO] or 0), rules=rules)
    drawn = [threshold for threshold in list_thresholds(rules) if threshold[2].metric == metric]
    meeting = store.count_meeting(conn, leaves=[leaf for _, _, leaf in drawn])
    return show_metric(
        metric,
        members=members,
        defined=summary.defined,
        range_and_quantiles={
            "least": summary.least,
            "largest": summary.largest,
            "quantiles": quantiles,
        },
        edges=edges,
        counted=store.count_bins(conn, metric=metric, edges=edges),
        thresholds=[(*threshold, count) for threshold, count in zip(drawn, meeting, strict=True)],
        currency=rules.currency,
    )


def _name_rules(conn: Connection, *, version: int | None, now: datetime) -> dict[str, Any]:
    """Return a rule set's version and the hash of what it says: an edited draft is another question."""
    wanted = get_active_ruleset(conn, now=now).version if version is None else version
    definition = _get_definition(conn, wanted)
    try:
        parse_ruleset(definition, version=wanted)
    except ValueError as error:
        raise RulesetNotReadable(str(error)) from error
    return {"version": wanted, "definition_hash": definition_hash(definition).hex()}


def _read_rules(conn: Connection, parameters: Mapping[str, Any]) -> RuleSet:
    definition = _get_definition(conn, parameters["version"])
    if definition_hash(definition).hex() != parameters["definition_hash"]:
        raise Conflict("the draft was changed after this was asked; ask again")
    return parse_ruleset(definition, version=parameters["version"])


def _get_definition(conn: Connection, version: int) -> Mapping[str, Any]:
    definition = store.find_definition(conn, version=version)
    if definition is None:
        raise UnknownRuleset(f"there is no rule set of version {version}")
    return definition
