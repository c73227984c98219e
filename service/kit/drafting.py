"""The verbs of what staff write in versions: draft, change, discard, publish, withdraw, settle.

A room says what its versions are called (`Drafting`), reads its own definitions and says what is found in
them. Every write holds the one lock of the table: of two publishes at once one sees what the other did.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Generic, Literal, TypeVar

from sqlalchemy import Connection

from service.kit import audit, outbox
from service.kit.audit import Actor
from service.kit.clock import format_time
from service.kit.errors import Conflict, FieldError, Invalid, NotFound
from service.kit.findings import Finding, finding_errors
from service.kit.versioned import VersionShelf, choose_moment, has_begun, version_before


@dataclass(frozen=True, slots=True)
class Version:
    """One version: `definition` as it is kept, `effective_to` the moment the next one comes into force."""

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


V = TypeVar("V", bound=Version)


@dataclass(frozen=True, slots=True)
class Draft:
    """What is given of a draft; `definition` is JSON as it came."""

    title: str
    definition: Mapping[str, Any]

    @property
    def content(self) -> dict[str, Any]:
        """What the audit log keeps of it."""
        return {"title": self.title, "definition": self.definition}


@dataclass(frozen=True, slots=True)
class Opening:
    """When a version comes into force, and which one it replaces; `is_now` where no day was named."""

    at: datetime
    is_now: bool
    replaces: int | None


@dataclass(frozen=True, slots=True)
class Topics:
    """What others are told, each under a public name."""

    published: str
    withdrawn: str
    activated: str


@dataclass(frozen=True, slots=True)
class Refusals:
    """How a room refuses, each under a public code of its own."""

    unknown: type[NotFound]
    not_a_draft: type[Conflict]
    not_scheduled: type[Conflict]
    has_errors: type[Invalid]


@dataclass(frozen=True, slots=True)
class Drafting(Generic[V]):
    """Every verb of one table's versions.

    `kind` is the class of a version, its fields the columns; `missing` how one says that there is none, as
    "there is no rule set"; `action` and `subject` are what the audit log calls them.
    """

    shelf: VersionShelf
    kind: type[V]
    missing: str
    action: str
    subject: str
    topics: Topics
    refusals: Refusals

    def get(self, conn: Connection, *, version: int, now: datetime) -> V:
        """Return a version in its state of `now`.

        Raises:
            NotFound: there is none.
        """
        row = self.shelf.find(conn, version=version, now=now)
        if row is None:
            raise self.refusals.unknown(f"{self.missing} of version {version}")
        return self.kind(**row._mapping)

    def list_versions(
        self, conn: Connection, *, state: str | None, before: int | None, limit: int, now: datetime
    ) -> list[V]:
        """Return up to `limit` versions below one (None: from the newest), the newest first."""
        rows = self.shelf.list_versions(conn, state=state, before=before, limit=limit, now=now)
        return [self.kind(**row._mapping) for row in rows]

    def find_sides(
        self, conn: Connection, *, version: int, against: int | None, now: datetime
    ) -> tuple[V, V]:
        """Return what a version is compared with (None: the one in force), and the version.

        Raises:
            NotFound: one of them is not there.
        """
        new = self.get(conn, version=version, now=now)
        if against is None:
            begun = [row.version for row in self.shelf.list_published(conn) if has_begun(row, now=now)]
            against = begun[-1] if begun else version
        return self.get(conn, version=against, now=now), new

    def add_draft(self, conn: Connection, *, draft: Draft, actor: Actor, now: datetime) -> V:
        """Add a draft whose definition can be read."""
        self.shelf.lock(conn)
        version = self.shelf.add_draft(
            conn, title=draft.title, definition=draft.definition, actor=actor.name, now=now
        )
        self._record(conn, "drafted", version, None, draft.content, actor, now)
        return self.get(conn, version=version, now=now)

    def copy_of(self, conn: Connection, *, version: int, now: datetime) -> Mapping[str, Any]:
        """Return the definition of a version that a new draft begins with.

        Raises:
            Invalid: there is no such version.
        """
        row = self.shelf.find(conn, version=version, now=now)
        if row is None:
            detail = f"{self.missing} of this version"
            raise Invalid(detail, errors=[FieldError(detail, pointer="/copy_of")])
        definition: Mapping[str, Any] = row.definition
        return definition

    def change_draft(self, conn: Connection, *, version: int, draft: Draft, actor: Actor, now: datetime) -> V:
        """Give a draft another title and definition.

        Raises:
            NotFound: there is none. Conflict: it was published.
        """
        before = _content(self.lock_draft(conn, version=version, now=now))
        if before != draft.content:
            self.shelf.change_draft(
                conn, version=version, title=draft.title, definition=draft.definition, now=now
            )
            self._record(conn, "changed", version, before, draft.content, actor, now)
        return self.get(conn, version=version, now=now)

    def discard_draft(self, conn: Connection, *, version: int, actor: Actor, now: datetime) -> V:
        """Put a draft away for good; its number is never given again.

        Raises:
            NotFound: there is none. Conflict: it was published.
        """
        old = self.lock_draft(conn, version=version, now=now)
        self.shelf.discard_draft(conn, version=version, now=now)
        self._record(conn, "discarded", version, _content(old), None, actor, now)
        return replace(old, state="discarded")

    def lock_draft(self, conn: Connection, *, version: int, now: datetime) -> V:
        """Hold the lock, and return a draft.

        Raises:
            NotFound: there is none. Conflict: it was published.
        """
        self.shelf.lock(conn)
        found = self.get(conn, version=version, now=now)
        if found.state != "draft":
            raise self.refusals.not_a_draft(
                f"version {version} is {found.state} and never changes; "
                f"make a new draft with copy_of {version}"
            )
        return found

    def refuse_errors(self, findings: Sequence[Finding], *, locale: str) -> None:
        """Refuse to publish what has errors.

        Raises:
            Invalid: with each of them at its place.
        """
        errors = finding_errors(findings, locale=locale)
        if errors:
            raise self.refusals.has_errors("correct what is found first", errors=errors)

    def choose_opening(
        self, conn: Connection, *, effective_from: str | None, timezone: str, now: datetime
    ) -> Opening:
        """Return when a draft comes into force: now (None), or at the midnight that a day or a time names.

        Raises:
            NotAFutureMidnight, ScheduleTaken.
        """
        timeline = self.shelf.list_published(conn)
        at = choose_moment(effective_from, timeline=timeline, now=now, timezone=timezone)
        return Opening(at, effective_from is None, version_before(timeline, at=at))

    def publish(
        self,
        conn: Connection,
        *,
        version: int,
        opening: Opening,
        reason: str,
        actor: Actor,
        now: datetime,
        evidence: Mapping[str, object] | None = None,
        noted: Mapping[str, object] | None = None,
    ) -> V:
        """Let a draft, locked and looked through, come into force; tell it, and who did it and why.

        `evidence` are values of the room's own columns, told to others too; `noted` is for the log alone.
        """
        own = evidence or {}
        state, moment = "active" if opening.is_now else "scheduled", format_time(opening.at)
        self.shelf.publish(
            conn,
            version=version,
            state=state,
            effective_from=opening.at,
            actor=actor.name,
            reason=reason,
            now=now,
            **own,
        )
        seen_at = opening.at if opening.is_now else now
        self.shelf.settle_states(conn, now=seen_at)
        after = {"state": state, "effective_from": moment, **own, **(noted or {})}
        self._record(conn, "published", version, {"state": "draft"}, after, actor, now, reason=reason)
        self._tell(
            conn, self.topics.published, version, now, effective_from=moment, replaces=opening.replaces, **own
        )
        return self.get(conn, version=version, now=seen_at)

    def withdraw(self, conn: Connection, *, version: int, reason: str, actor: Actor, now: datetime) -> V:
        """Make a scheduled version a draft again, and its day free.

        Raises:
            NotFound: there is none. Conflict: it is a draft, or came into force.
        """
        self.shelf.lock(conn)
        old = self.get(conn, version=version, now=now)
        if old.state != "scheduled" or old.effective_from is None:
            raise self.refusals.not_scheduled(f"version {version} is {old.state}")
        self.shelf.withdraw(conn, version=version)
        moment = format_time(old.effective_from)
        before = {"state": "scheduled", "effective_from": moment}
        self._record(conn, "withdrawn", version, before, {"state": "draft"}, actor, now, reason=reason)
        self._tell(conn, self.topics.withdrawn, version, now, effective_from=moment)
        return self.get(conn, version=version, now=now)

    def settle_states(self, conn: Connection, *, now: datetime) -> dict[int, str]:
        """Mark the versions that came into force or were replaced by now; return version and state of each.

        Reads go by the clock and do not wait for it; others are told of what came into force.
        """
        self.shelf.lock(conn)
        settled = {row.version: row.state for row in self.shelf.settle_states(conn, now=now)}
        for version, state in sorted(settled.items()):
            if state == "active":
                self._tell(conn, self.topics.activated, version, now)
        return settled

    def _record(
        self,
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
            action=f"{self.action}.{verb}",
            subject=(self.subject, str(version)),
            before=before,
            after=after,
            reason=reason,
            request_id=actor.request_id,
            now=now,
        )

    def _tell(self, conn: Connection, topic: str, version: int, now: datetime, **details: object) -> None:
        payload = {"version": version, **details}
        outbox.emit(conn, topic=topic, member_key=None, payload=payload, occurred_at=now)


def _content(version: Version) -> dict[str, Any]:
    return {"title": version.title, "definition": version.definition}
