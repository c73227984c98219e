"""Earning rules as they are kept: drafted, changed, discarded, published, withdrawn.

Every write holds the one lock of the rules.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, Row

from service.earning.definition import read_rules
from service.earning.errors import (
    EarningRulesHaveErrors,
    EarningRulesNotADraft,
    EarningRulesNotReadable,
    EarningRulesNotScheduled,
    UnknownEarningRules,
)
from service.earning.findings import Change, Finding, compare, look_through
from service.earning.rules import EarningRules
from service.earning.store import SHELF
from service.earning.timeline import compile_rules
from service.kit import audit, outbox
from service.kit.audit import Actor
from service.kit.clock import format_time
from service.kit.errors import FieldError, Invalid
from service.kit.versioned import choose_moment, has_begun, version_before
from service.programme.operations import Programme


@dataclass(frozen=True, slots=True)
class RulesVersion:
    """One version as it is kept; `effective_to` is the moment the next one comes into force."""

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


@dataclass(frozen=True, slots=True)
class RulesDraft:
    """What is given of a draft; `definition` is JSON as it came."""

    title: str
    definition: Mapping[str, Any]


def read_or_refuse(
    definition: Mapping[str, Any], *, version: int, programme: Programme, locale: str, at: str = ""
) -> EarningRules:
    """Return the rules that a definition says; `at` is the pointer of the definition in the request.

    Raises:
        EarningRulesNotReadable: with every fault that can be seen, named, at its place in the definition.
    """
    rules, faults = read_rules(definition, version=version, currency=programme.currency)
    if rules is None:
        errors = [
            FieldError(f"{fault.name}: {fault.text[locale]}", pointer=f"{at}{fault.pointer}")
            for fault in faults
        ]
        raise EarningRulesNotReadable("correct what is listed", errors=errors)
    return rules


def get_rules(conn: Connection, *, version: int, now: datetime) -> RulesVersion:
    """Return a version in its state of `now`.

    Raises:
        UnknownEarningRules: there is none.
    """
    row = SHELF.find(conn, version=version, now=now)
    if row is None:
        raise UnknownEarningRules(f"there are no earning rules of version {version}")
    return _read(row)


def list_rules(
    conn: Connection, *, state: str | None, before: int | None, limit: int, now: datetime
) -> list[RulesVersion]:
    """Return up to `limit` versions below one (None: from the newest), the newest first."""
    rows = SHELF.list_versions(conn, state=state, before=before, limit=limit, now=now)
    return [_read(row) for row in rows]


def list_findings(rules: RulesVersion, *, currency: str) -> list[Finding]:
    """Return what is found in a version, errors first."""
    return look_through(compile_rules(rules.definition, version=rules.version, currency=currency))


def draft_rules(conn: Connection, *, draft: RulesDraft, actor: Actor, now: datetime) -> RulesVersion:
    """Add a draft whose definition can be read."""
    SHELF.lock(conn)
    version = SHELF.add_draft(conn, title=draft.title, definition=draft.definition, actor=actor.name, now=now)
    _record(conn, "drafted", version, None, _content(draft.title, draft.definition), actor, now)
    return get_rules(conn, version=version, now=now)


def copy_of(conn: Connection, *, version: int, now: datetime) -> Mapping[str, Any]:
    """Return the definition of a version that a new draft begins with.

    Raises:
        Invalid: there is no such version.
    """
    row = SHELF.find(conn, version=version, now=now)
    if row is None:
        detail = "there are no earning rules of this version"
        raise Invalid(detail, errors=[FieldError(detail, pointer="/copy_of")])
    definition: Mapping[str, Any] = row.definition
    return definition


def change_draft(
    conn: Connection, *, version: int, draft: RulesDraft, actor: Actor, now: datetime
) -> RulesVersion:
    """Give a draft another title and definition.

    Raises:
        UnknownEarningRules: there is none. EarningRulesNotADraft: it was published.
    """
    old = _lock_draft(conn, version=version, now=now)
    before, after = _content(old.title, old.definition), _content(draft.title, draft.definition)
    if before != after:
        SHELF.change_draft(conn, version=version, title=draft.title, definition=draft.definition, now=now)
        _record(conn, "changed", version, before, after, actor, now)
    return get_rules(conn, version=version, now=now)


def discard_draft(conn: Connection, *, version: int, actor: Actor, now: datetime) -> RulesVersion:
    """Put a draft away for good; its number is never given again.

    Raises:
        UnknownEarningRules: there is none. EarningRulesNotADraft: it was published.
    """
    old = _lock_draft(conn, version=version, now=now)
    SHELF.discard_draft(conn, version=version, now=now)
    _record(conn, "discarded", version, _content(old.title, old.definition), None, actor, now)
    return replace(old, state="discarded")


def compare_versions(
    conn: Connection, *, version: int, against: int | None, now: datetime
) -> tuple[RulesVersion, RulesVersion, list[Change]]:
    """Return another version (None: the one in force), this one, and what differs between them.

    Raises:
        UnknownEarningRules: one of them is not there.
    """
    new = get_rules(conn, version=version, now=now)
    if against is None:
        begun = [row.version for row in SHELF.list_published(conn) if has_begun(row, now=now)]
        against = begun[-1] if begun else version
    old = get_rules(conn, version=against, now=now)
    return old, new, compare(old.definition, new.definition)


def publish_rules(
    conn: Connection,
    *,
    version: int,
    reason: str,
    effective_from: str | None,
    programme: Programme,
    actor: Actor,
    locale: str,
    now: datetime,
) -> RulesVersion:
    """Let a draft come into force, now or at a midnight to come; what was placed before earns as it did.

    Raises:
        UnknownEarningRules, EarningRulesNotADraft, EarningRulesNotReadable, EarningRulesHaveErrors.
        NotAFutureMidnight, ScheduleTaken: about the moment.
    """
    draft = _lock_draft(conn, version=version, now=now)
    rules = read_or_refuse(draft.definition, version=version, programme=programme, locale=locale)
    _refuse_errors(rules, locale=locale)
    timeline = SHELF.list_published(conn)
    at = choose_moment(effective_from, timeline=timeline, now=now, timezone=programme.timezone)
    is_now = effective_from is None
    state = "active" if is_now else "scheduled"
    SHELF.publish(
        conn, version=version, state=state, effective_from=at, actor=actor.name, reason=reason, now=now
    )
    seen_at = at if is_now else now
    SHELF.settle_states(conn, now=seen_at)
    moment = format_time(at)
    after = {"state": state, "effective_from": moment}
    _record(conn, "published", version, {"state": "draft"}, after, actor, now, reason=reason)
    payload = {
        "version": version,
        "effective_from": moment,
        "replaces": version_before(timeline, at=at),
    }
    outbox.emit(conn, topic="earning.rules.published", member_key=None, payload=payload, occurred_at=now)
    return get_rules(conn, version=version, now=seen_at)


def _refuse_errors(rules: EarningRules, *, locale: str) -> None:
    errors = [finding for finding in look_through(rules) if finding.severity == "error"]
    if errors:
        raise EarningRulesHaveErrors(
            "correct what is found first",
            errors=[
                FieldError(f"{finding.name}: {finding.text[locale]}", pointer=finding.pointers[0])
                for finding in errors
            ],
        )


def withdraw_rules(
    conn: Connection, *, version: int, reason: str, actor: Actor, now: datetime
) -> RulesVersion:
    """Make scheduled rules a draft again, and their day free.

    Raises:
        UnknownEarningRules: there are none. EarningRulesNotScheduled: a draft, or came into force.
    """
    SHELF.lock(conn)
    old = get_rules(conn, version=version, now=now)
    if old.state != "scheduled" or old.effective_from is None:
        raise EarningRulesNotScheduled(f"version {version} is {old.state}")
    SHELF.withdraw(conn, version=version)
    moment = format_time(old.effective_from)
    before = {"state": "scheduled", "effective_from": moment}
    _record(conn, "withdrawn", version, before, {"state": "draft"}, actor, now, reason=reason)
    payload = {"version": version, "effective_from": moment}
    outbox.emit(conn, topic="earning.rules.withdrawn", member_key=None, payload=payload, occurred_at=now)
    return get_rules(conn, version=version, now=now)


def settle_states(conn: Connection, *, now: datetime) -> dict[int, str]:
    """Mark the versions that came into force or were replaced by now; return version and state of each.

    Earning goes by the clock and does not wait for it; others are told of what came into force.
    """
    SHELF.lock(conn)
    settled = {row.version: row.state for row in SHELF.settle_states(conn, now=now)}
    for version, state in sorted(settled.items()):
        if state == "active":
            payload = {"version": version}
            outbox.emit(
                conn, topic="earning.rules.activated", member_key=None, payload=payload, occurred_at=now
            )
    return settled


def _lock_draft(conn: Connection, *, version: int, now: datetime) -> RulesVersion:
    SHELF.lock(conn)
    found = get_rules(conn, version=version, now=now)
    if found.state != "draft":
        raise EarningRulesNotADraft(
            f"version {version} is {found.state} and never changes; make a new draft with copy_of {version}"
        )
    return found


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
    reason: str | None = None,
) -> None:
    audit.record(
        conn,
        actor=actor.name,
        action=f"earning_rules.{verb}",
        subject=("earning-rules", str(version)),
        before=before,
        after=after,
        reason=reason,
        request_id=actor.request_id,
        now=now,
    )


def _read(row: Row[Any]) -> RulesVersion:
    return RulesVersion(**row._mapping)
