"""Rule sets as they are kept, and drafts: made, changed, discarded. Every write holds the one lock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, Row

from service.kit import audit
from service.kit.audit import Actor
from service.kit.errors import FieldError, Invalid
from service.programme.operations import Programme
from service.tiers.errors import RulesetNotADraft, RulesetNotReadable, UnknownRuleset
from service.tiers.population.rules import definition_hash
from service.tiers.publishing import store
from service.tiers.publishing.faults import read_definition
from service.tiers.publishing.findings import Finding, look_through
from service.tiers.publishing.rules import Evidence
from service.tiers.publishing.store import SHELF
from service.tiers.rules import RuleSet, parse_ruleset


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
    row = SHELF.find(conn, version=version, now=now)
    if row is None:
        raise UnknownRuleset(f"there is no rule set of version {version}")
    return _read(row)


def list_rulesets(
    conn: Connection, *, state: str | None, before: int | None, limit: int, now: datetime
) -> list[Ruleset]:
    """Return up to `limit` versions below one (None: from the newest), the newest first."""
    rows = SHELF.list_versions(conn, state=state, before=before, limit=limit, now=now)
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
    SHELF.lock(conn)
    version = SHELF.add_draft(conn, title=draft.title, definition=draft.definition, actor=actor.name, now=now)
    record(conn, "drafted", version, None, _content(draft.title, draft.definition), actor, now)
    return get_ruleset(conn, version=version, now=now)


def copy_of(conn: Connection, *, version: int, now: datetime) -> Mapping[str, Any]:
    """Return the definition of a version that a new draft begins with.

    Raises:
        Invalid: there is no such version.
    """
    row = SHELF.find(conn, version=version, now=now)
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
    old = lock_draft(conn, version=version, now=now)
    before, after = _content(old.title, old.definition), _content(draft.title, draft.definition)
    if before != after:
        SHELF.change_draft(conn, version=version, title=draft.title, definition=draft.definition, now=now)
        record(conn, "changed", version, before, after, actor, now)
    return get_ruleset(conn, version=version, now=now)


def discard_draft(conn: Connection, *, version: int, actor: Actor, now: datetime) -> Ruleset:
    """Put a draft away for good; its number is never given again.

    Raises:
        UnknownRuleset: there is none. RulesetNotADraft: it was published.
    """
    old = lock_draft(conn, version=version, now=now)
    SHELF.discard_draft(conn, version=version, now=now)
    record(conn, "discarded", version, _content(old.title, old.definition), None, actor, now)
    return replace(old, state="discarded")


def lock_draft(conn: Connection, *, version: int, now: datetime) -> Ruleset:
    """Hold the lock of rule sets, and return a draft.

    Raises:
        UnknownRuleset: there is none. RulesetNotADraft: it was published.
    """
    SHELF.lock(conn)
    found = get_ruleset(conn, version=version, now=now)
    if found.state != "draft":
        raise RulesetNotADraft(
            f"version {version} is {found.state} and never changes; make a new draft with copy_of {version}"
        )
    return found


def _content(title: str | None, definition: Mapping[str, Any]) -> dict[str, Any]:
    return {"title": title, "definition": definition}


def record(
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
