"""Drafts come into force: published on evidence, scheduled, withdrawn, retired by the next one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from service.kit import outbox
from service.kit.audit import Actor
from service.kit.clock import format_time, local_day
from service.kit.errors import FieldError
from service.kit.jobs import defer
from service.kit.versioned import choose_moment, version_before
from service.programme.operations import Programme
from service.tiers.errors import RulesetHasErrors, RulesetNotScheduled
from service.tiers.publishing import store
from service.tiers.publishing.drafts import Ruleset, get_ruleset, lock_draft, read_or_refuse, record
from service.tiers.publishing.findings import Finding, look_through
from service.tiers.publishing.rules import Evidence, check_demotions, check_evidence
from service.tiers.publishing.store import SHELF


@dataclass(frozen=True, slots=True)
class Publishing:
    """What is asked for: `effective_from` None is now, otherwise a day or a midnight to come."""

    reason: str
    effective_from: str | None = None
    simulation_id: str | None = None
    confirm_demotions: bool = False


def publish_ruleset(
    conn: Connection,
    *,
    version: int,
    asked: Publishing,
    programme: Programme,
    actor: Actor,
    locale: str,
    now: datetime,
) -> Ruleset:
    """Let a draft come into force, now or at a midnight to come; everybody is then rated by it.

    Raises:
        UnknownRuleset, RulesetNotADraft, RulesetNotReadable, RulesetHasErrors: about the draft.
        NotAFutureMidnight, ScheduleTaken: about the moment.
        SimulationNeeded, SimulationNotDone, SimulationStale, TooManyDemotions: about the evidence.
    """
    draft = lock_draft(conn, version=version, now=now)
    rules = read_or_refuse(draft.definition, version=version, programme=programme, locale=locale)
    _refuse_errors(look_through(rules, definition=draft.definition), locale=locale)
    timeline = SHELF.list_published(conn)
    at = choose_moment(asked.effective_from, timeline=timeline, now=now, timezone=programme.timezone)
    replaces = version_before(timeline, at=at)
    if replaces is not None:
        _check_evidence(conn, draft, asked, replaces=replaces, programme=programme, now=now)
    is_now = asked.effective_from is None
    SHELF.publish(
        conn,
        version=version,
        state="active" if is_now else "scheduled",
        effective_from=at,
        actor=actor.name,
        reason=asked.reason,
        simulation_id=asked.simulation_id,
        now=now,
    )
    seen_at = at if is_now else now
    SHELF.settle_states(conn, now=seen_at)
    _tell_published(conn, version, at, replaces, asked, actor, now)
    return get_ruleset(conn, version=version, now=seen_at)


def _refuse_errors(findings: Sequence[Finding], *, locale: str) -> None:
    errors = [finding for finding in findings if finding.severity == "error"]
    if errors:
        raise RulesetHasErrors(
            "correct what is found first",
            errors=[
                FieldError(f"{finding.name}: {finding.text[locale]}", pointer=finding.pointers[0])
                for finding in errors
            ],
        )


def _check_evidence(
    conn: Connection,
    draft: Ruleset,
    asked: Publishing,
    *,
    replaces: int,
    programme: Programme,
    now: datetime,
) -> None:
    row = None
    if asked.simulation_id is not None:
        row = store.find_evidence(conn, version=draft.version, simulation_id=asked.simulation_id)
    evidence = check_evidence(
        None if row is None else Evidence.of(row._asdict()),
        definition_hash=draft.definition_hash,
        replaces=replaces,
        today=local_day(now, timezone=programme.timezone),
        now=now,
    )
    check_demotions(evidence, confirmed=asked.confirm_demotions)


def _tell_published(
    conn: Connection,
    version: int,
    at: datetime,
    replaces: int | None,
    asked: Publishing,
    actor: Actor,
    now: datetime,
) -> None:
    after = {
        "state": "active" if asked.effective_from is None else "scheduled",
        "effective_from": format_time(at),
        "simulation_id": asked.simulation_id,
        "confirm_demotions": asked.confirm_demotions,
    }
    record(conn, "published", version, {"state": "draft"}, after, actor, now, reason=asked.reason)
    payload = {
        "version": version,
        "effective_from": format_time(at),
        "replaces": replaces,
        "simulation_id": asked.simulation_id,
    }
    outbox.emit(conn, topic="tier.ruleset.published", member_key=None, payload=payload, occurred_at=now)
    if asked.effective_from is None:
        _review_everyone(conn, now)


def _review_everyone(conn: Connection, now: datetime) -> None:
    """Have the due reviewed: whoever was not rated under the set in force is due."""
    defer(
        conn,
        task="tiers.review",
        arguments={"timestamp": int(now.timestamp())},
        queueing_lock="tiers.review",
    )


def withdraw_ruleset(conn: Connection, *, version: int, reason: str, actor: Actor, now: datetime) -> Ruleset:
    """Make a scheduled set a draft again, and its day free.

    Raises:
        UnknownRuleset: there is none. RulesetNotScheduled: it is a draft, or came into force.
    """
    SHELF.lock(conn)
    old = get_ruleset(conn, version=version, now=now)
    if old.state != "scheduled" or old.effective_from is None:
        raise RulesetNotScheduled(f"version {version} is {old.state}")
    SHELF.withdraw(conn, version=version)
    before = {"state": "scheduled", "effective_from": format_time(old.effective_from)}
    record(conn, "withdrawn", version, before, {"state": "draft"}, actor, now, reason=reason)
    payload = {"version": version, "effective_from": format_time(old.effective_from)}
    outbox.emit(conn, topic="tier.ruleset.withdrawn", member_key=None, payload=payload, occurred_at=now)
    return get_ruleset(conn, version=version, now=now)


def settle_states(conn: Connection, *, now: datetime) -> dict[int, str]:
    """Mark the sets that came into force or were replaced by now; return version and state of each.

    Reads go by the clock and do not wait for it. Of a set that came into force others are told, and everybody
    is reviewed.
    """
    SHELF.lock(conn)
    settled = {row.version: row.state for row in SHELF.settle_states(conn, now=now)}
    for version, state in sorted(settled.items()):
        if state == "active":
            payload = {"version": version}
            outbox.emit(
                conn, topic="tier.ruleset.activated", member_key=None, payload=payload, occurred_at=now
            )
            _review_everyone(conn, now)
    return settled
