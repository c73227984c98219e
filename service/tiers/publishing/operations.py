"""The verbs of rule sets: draft, change, discard, publish, withdraw, compare.

Every write holds the one lock of rule sets, so that of two publishes at once one sees what the other did.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import Connection, Row

from service.kit import audit, outbox
from service.kit.clock import format_time, local_day
from service.kit.errors import FieldError, Invalid
from service.kit.jobs import defer
from service.programme.operations import Programme
from service.tiers.errors import (
    NotAFutureMidnight,
    RulesetHasErrors,
    RulesetNotADraft,
    RulesetNotReadable,
    RulesetNotScheduled,
    ScheduleTaken,
    UnknownRuleset,
)
from service.tiers.population.rules import definition_hash
from service.tiers.publishing import store
from service.tiers.publishing.diff import Change, Side, compare_rulesets
from service.tiers.publishing.faults import Fault, read_definition
from service.tiers.publishing.findings import Finding, look_through
from service.tiers.publishing.rules import Evidence, check_demotions, check_evidence, read_effective_from
from service.tiers.rules import RuleSet, parse_ruleset

__all__ = [
    "Actor",
    "Draft",
    "Evidence",
    "Fault",
    "Finding",
    "Publishing",
    "Ruleset",
    "change_draft",
    "compare",
    "copy_of",
    "discard_draft",
    "draft_ruleset",
    "find_evidence",
    "get_ruleset",
    "list_findings",
    "list_rulesets",
    "publish_ruleset",
    "read_or_refuse",
    "settle_states",
    "withdraw_ruleset",
]

_INSTANT = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Actor:
    """Who does it, and in which request."""

    name: str
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Ruleset:
    """One version: `definition` as it is kept, `effective_to` the moment the next one comes into force.

    `simulation_id` names the evidence it was published on.
    """

    version: int
    title: str | None
    state: Literal["draft", "scheduled", "active", "retired", "discarded"]
    definition: Mapping[str, Any]
    effective_from: datetime | None
    effective_to: datetime | None
    created_at: datetime
    created_by: str | None
    updated_at: datetime | None
    published_at: datetime | None
    published_by: str | None
    reason: str | None
    simulation_id: str | None

    @property
    def definition_hash(self) -> bytes:
        """What a simulation remembers of the definition it tried."""
        return definition_hash(self.definition)


@dataclass(frozen=True, slots=True)
class Draft:
    """What is given of a draft; `definition` is JSON as it came."""

    title: str
    definition: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Publishing:
    """What is asked for: `effective_from` None is now, otherwise a day or a midnight to come."""

    reason: str
    effective_from: str | None = None
    simulation_id: str | None = None
    confirm_demotions: bool = False


def read_or_refuse(
    definition: Mapping[str, Any], *, version: int, programme: Programme, locale: str, at: str = ""
) -> RuleSet:
    """Return the rule set that a definition says; `at` is the pointer of the definition in the request.

    Raises:
        RulesetNotReadable: with every fault that can be seen, named, at its place in the definition.
    """
    rules, faults = read_definition(definition, version=version, currency=programme.currency)
    if rules is None:
        errors = [
            FieldError(f"{fault.name}: {fault.text[locale]}", pointer=f"{at}{fault.pointer}")
            for fault in faults
        ]
        raise RulesetNotReadable("correct what is listed", errors=errors)
    return rules


def get_ruleset(conn: Connection, *, version: int, now: datetime) -> Ruleset:
    """Return a version in its state of `now`.

    Raises:
        UnknownRuleset: there is none.
    """
    row = store.find_ruleset(conn, version=version, now=now)
    if row is None:
        raise UnknownRuleset(f"there is no rule set of version {version}")
    return _read(row)


def list_rulesets(
    conn: Connection, *, state: str | None, before: int | None, limit: int, now: datetime
) -> list[Ruleset]:
    """Return up to `limit` versions below one (None: from the newest), the newest first."""
    rows = store.list_rulesets(
        conn, state=state, before=2**31 - 1 if before is None else before, limit=limit, now=now
    )
    return [_read(row) for row in rows]


def find_evidence(conn: Connection, *, ruleset: Ruleset) -> Evidence | None:
    """Return the simulation a set was published on, or of a draft the latest that is done."""
    if ruleset.simulation_id is not None:
        row = store.find_evidence(conn, version=ruleset.version, simulation_id=ruleset.simulation_id)
    elif ruleset.state == "draft":
        row = store.find_latest_evidence(conn, version=ruleset.version)
    else:
        row = None
    return None if row is None else Evidence.of(row._asdict())


def list_findings(ruleset: Ruleset) -> list[Finding]:
    """Return what is found in a version, errors first."""
    rules = parse_ruleset(ruleset.definition, version=ruleset.version)
    return look_through(rules, definition=ruleset.definition)


def draft_ruleset(conn: Connection, *, draft: Draft, actor: Actor, now: datetime) -> Ruleset:
    """Add a draft whose definition can be read."""
    store.lock_rulesets(conn)
    version = store.add_draft(conn, title=draft.title, definition=draft.definition, actor=actor.name, now=now)
    _record(conn, "drafted", version, None, _content(draft.title, draft.definition), actor, now)
    return get_ruleset(conn, version=version, now=now)


def copy_of(conn: Connection, *, version: int, now: datetime) -> Mapping[str, Any]:
    """Return the definition of a version that a new draft begins with.

    Raises:
        Invalid: there is no such version.
    """
    row = store.find_ruleset(conn, version=version, now=now)
    if row is None:
        detail = "there is no rule set of this version"
        raise Invalid(detail, errors=[FieldError(detail, pointer="/copy_of")])
    definition: Mapping[str, Any] = row.definition
    return definition


def change_draft(conn: Connection, *, version: int, draft: Draft, actor: Actor, now: datetime) -> Ruleset:
    """Give a draft another title and definition.

    Raises:
        UnknownRuleset: there is none. RulesetNotADraft: it was published.
    """
    old = _lock_draft(conn, version=version, now=now)
    before, after = _content(old.title, old.definition), _content(draft.title, draft.definition)
    if before != after:
        store.change_draft(conn, version=version, title=draft.title, definition=draft.definition, now=now)
        _record(conn, "changed", version, before, after, actor, now)
    return get_ruleset(conn, version=version, now=now)


def discard_draft(conn: Connection, *, version: int, actor: Actor, now: datetime) -> Ruleset:
    """Put a draft away for good; its number is never given again.

    Raises:
        UnknownRuleset: there is none. RulesetNotADraft: it was published.
    """
    old = _lock_draft(conn, version=version, now=now)
    store.discard_draft(conn, version=version, now=now)
    _record(conn, "discarded", version, _content(old.title, old.definition), None, actor, now)
    return replace(old, state="discarded")


def _lock_draft(conn: Connection, *, version: int, now: datetime) -> Ruleset:
    store.lock_rulesets(conn)
    found = get_ruleset(conn, version=version, now=now)
    if found.state != "draft":
        raise RulesetNotADraft(
            f"version {version} is {found.state} and never changes; make a new draft with copy_of {version}"
        )
    return found


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
    draft = _lock_draft(conn, version=version, now=now)
    rules = read_or_refuse(draft.definition, version=version, programme=programme, locale=locale)
    _refuse_errors(look_through(rules, definition=draft.definition), locale=locale)
    timeline = store.list_published(conn)
    at = _choose_moment(asked.effective_from, timeline, programme=programme, now=now)
    replaces = _version_at(timeline, at)
    if replaces is not None:
        evidence = _find_asked(conn, version=version, simulation_id=asked.simulation_id)
        looked_at = check_evidence(
            evidence,
            definition_hash=draft.definition_hash,
            replaces=replaces,
            today=local_day(now, timezone=programme.timezone),
            now=now,
        )
        check_demotions(looked_at, confirmed=asked.confirm_demotions)
    is_now = asked.effective_from is None
    store.publish(
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
    store.settle_states(conn, now=seen_at)
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


def _find_asked(conn: Connection, *, version: int, simulation_id: str | None) -> Evidence | None:
    if simulation_id is None:
        return None
    row = store.find_evidence(conn, version=version, simulation_id=simulation_id)
    return None if row is None else Evidence.of(row._asdict())


def _choose_moment(
    given: str | None, timeline: Sequence[Row[Any]], *, programme: Programme, now: datetime
) -> datetime:
    if given is None:
        # Of two published at one moment, the one that got the lock later comes later.
        begun: list[datetime] = [row.effective_from for row in timeline if _has_begun(row, now)]
        return max([now, *(moment + _INSTANT for moment in begun)])
    if not timeline:
        detail = "nothing is in force yet: publish the first rule set now"
        raise NotAFutureMidnight(detail, errors=[FieldError(detail, pointer="/effective_from")])
    at = read_effective_from(given, now=now, timezone=programme.timezone)
    taken = next((row for row in timeline if row.effective_from == at), None)
    if taken is not None:
        detail = f"version {taken.version} comes into force then; withdraw it, or choose another day"
        raise ScheduleTaken(detail, errors=[FieldError(detail, pointer="/effective_from")])
    return at


def _has_begun(row: Row[Any], now: datetime) -> bool:
    """Say whether a published set is or was in force, even where the clock that published it was ahead."""
    return bool(row.state != "scheduled" or row.effective_from <= now)


def _version_at(timeline: Sequence[Row[Any]], at: datetime) -> int | None:
    """Return the version in force just before a moment; the first one is since the beginning of time."""
    begun = [row.version for row in timeline if row.effective_from < at]
    if begun:
        return int(begun[-1])
    return int(timeline[0].version) if timeline else None


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
    _record(conn, "published", version, {"state": "draft"}, after, actor, now, reason=asked.reason)
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
    store.lock_rulesets(conn)
    old = get_ruleset(conn, version=version, now=now)
    if old.state != "scheduled" or old.effective_from is None:
        raise RulesetNotScheduled(f"version {version} is {old.state}")
    store.withdraw(conn, version=version)
    before = {"state": "scheduled", "effective_from": format_time(old.effective_from)}
    _record(conn, "withdrawn", version, before, {"state": "draft"}, actor, now, reason=reason)
    payload = {"version": version, "effective_from": format_time(old.effective_from)}
    outbox.emit(conn, topic="tier.ruleset.withdrawn", member_key=None, payload=payload, occurred_at=now)
    return get_ruleset(conn, version=version, now=now)


def settle_states(conn: Connection, *, now: datetime) -> dict[int, str]:
    """Mark the sets that came into force or were replaced by now; return version and state of each.

    Reads go by the clock and do not wait for it. Of a set that came into force others are told, and everybody
    is reviewed.
    """
    store.lock_rulesets(conn)
    settled = {row.version: row.state for row in store.settle_states(conn, now=now)}
    for version, state in sorted(settled.items()):
        if state == "active":
            payload = {"version": version}
            outbox.emit(
                conn, topic="tier.ruleset.activated", member_key=None, payload=payload, occurred_at=now
            )
            _review_everyone(conn, now)
    return settled


def compare(
    conn: Connection, *, version: int, against: int | None, now: datetime
) -> tuple[Ruleset, Ruleset, list[Change]]:
    """Return what differs from another version (None: the one in force) to this one, and both.

    Raises:
        UnknownRuleset: one of them is not there.
    """
    new = get_ruleset(conn, version=version, now=now)
    if against is None:
        begun = [row.version for row in store.list_published(conn) if _has_begun(row, now)]
        against = begun[-1] if begun else version
    old = get_ruleset(conn, version=against, now=now)
    sides = [Side(parse_ruleset(one.definition, version=one.version), one.definition) for one in (old, new)]
    return old, new, compare_rulesets(*sides)


def _content(title: str | None, definition: Mapping[str, Any]) -> dict[str, Any]:
    return {"title": title, "definition": definition}


def _record(
    conn: Connection,
    verb: str,
    version: int,
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any] | None,
    actor: Actor,
    now: datetime,
    *,
    reason: str | None = None,
) -> None:
    audit.record(
        conn,
        actor=actor.name,
        action=f"ruleset.{verb}",
        subject=("tier-ruleset", str(version)),
        before=before,
        after=after,
        reason=reason,
        request_id=actor.request_id,
        now=now,
    )


def _read(row: Row[Any]) -> Ruleset:
    return Ruleset(**row._mapping)
