"""Drafts come into force: published on evidence, now or at a midnight to come; everybody is rated by them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from service.kit.audit import Actor
from service.kit.clock import local_day
from service.kit.jobs import defer
from service.programme.operations import Programme
from service.tiers.publishing import store
from service.tiers.publishing.drafts import RULESETS, Ruleset, read_or_refuse
from service.tiers.publishing.findings import look_through
from service.tiers.publishing.rules import Evidence, check_demotions, check_evidence


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
    draft = RULESETS.lock_draft(conn, version=version, now=now)
    rules = read_or_refuse(draft.definition, version=version, programme=programme, locale=locale)
    RULESETS.refuse_errors(look_through(rules, definition=draft.definition), locale=locale)
    opening = RULESETS.choose_opening(
        conn, effective_from=asked.effective_from, timezone=programme.timezone, now=now
    )
    if opening.replaces is not None:
        _check_evidence(conn, draft, asked, replaces=opening.replaces, programme=programme, now=now)
    published = RULESETS.publish(
        conn,
        version=version,
        opening=opening,
        reason=asked.reason,
        actor=actor,
        now=now,
        evidence={"simulation_id": asked.simulation_id},
        noted={"confirm_demotions": asked.confirm_demotions},
    )
    if opening.is_now:
        _review_everyone(conn, now)
    return published


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


def _review_everyone(conn: Connection, now: datetime) -> None:
    """Have the due reviewed: whoever was not rated under the set in force is due."""
    defer(
        conn,
        task="tiers.review",
        arguments={"timestamp": int(now.timestamp())},
        queueing_lock="tiers.review",
    )


def settle_states(conn: Connection, *, now: datetime) -> dict[int, str]:
    """Mark the sets that came into force or were replaced by now; return version and state of each.

    Reads go by the clock and do not wait for it. Of a set that came into force others are told, and everybody
    is reviewed.
    """
    settled = RULESETS.settle_states(conn, now=now)
    if "active" in settled.values():
        _review_everyone(conn, now)
    return settled
