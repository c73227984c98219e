"""Documents that are drafted, scheduled, in force and retired: one row per version, published ones for ever.

A table of such a kind has the columns version, state, title, definition, effective_from, created_at,
created_by, updated_at, published_at, published_by, reason and retired_at. Where a published version stands is
told by the clock: `state` is brought up to it from time to time. Every write holds the one lock of its table,
so that of two publishes at once one sees what the other did.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, text

from service.kit.clock import format_time, local_day, local_midnight, parse_day, parse_time
from service.kit.db import dumps
from service.kit.errors import FieldError, NotAFutureMidnight, ScheduleTaken

STATES = ("draft", "scheduled", "active", "retired")
"""The states that are listed; a discarded draft keeps its number and is shown no more."""

_NEWEST = 2**31 - 1
_INSTANT = timedelta(microseconds=1)
_FURTHEST = timedelta(days=3_653)


class VersionShelf:
    """Every statement about the life of one table's versions.

    `table` and `evidence` (columns of its own that a publish writes and a withdrawal empties) are the code's
    own words, never a caller's.
    """

    def __init__(self, table: str, *, evidence: Sequence[str] = ()) -> None:
        own = "".join(f", r.{name}" for name in evidence)
        rows = f"""
            WITH published AS (
                SELECT version, lead(effective_from) OVER (ORDER BY effective_from) AS effective_to
                FROM {table} WHERE effective_from IS NOT NULL
            ), rulesets AS (
                SELECT r.version, r.title, r.definition, r.effective_from, p.effective_to, r.created_at,
                    r.created_by, r.updated_at, r.published_at, r.published_by, r.reason{own},
                    CASE WHEN r.effective_from IS NULL THEN r.state
                         WHEN r.state = 'retired' OR p.effective_to <= :now THEN 'retired'
                         WHEN r.state = 'scheduled' AND r.effective_from > :now THEN 'scheduled'
                         ELSE 'active' END AS state
                FROM {table} r LEFT JOIN published p ON p.version = r.version
                WHERE r.state <> 'discarded'
            )"""  # noqa: S608
        self._find = text(f"{rows} SELECT * FROM rulesets WHERE version = :version")  # noqa: S608
        self._list = text(
            f"{rows} SELECT * FROM rulesets WHERE version < :before "  # noqa: S608
            "AND (CAST(:state AS text) IS NULL OR state = :state) ORDER BY version DESC LIMIT :limit"
        )
        self._published = text(
            f"SELECT version, effective_from, state FROM {table} "  # noqa: S608
            "WHERE effective_from IS NOT NULL ORDER BY effective_from"
        )
        # Whoever writes waits for whoever wrote before; readers do not wait.
        self._lock = text(f"LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE")
        self._add = text(
            f"INSERT INTO {table} "  # noqa: S608
            "(version, state, title, definition, created_at, created_by, updated_at) "
            "SELECT coalesce(max(version), 0) + 1, 'draft', :title, CAST(:definition AS jsonb), :now, "
            f":actor, :now FROM {table} RETURNING version"
        )
        self._change = text(
            f"UPDATE {table} SET title = :title, definition = CAST(:definition AS jsonb), "  # noqa: S608
            "updated_at = :now WHERE version = :version"
        )
        self._discard = text(
            f"UPDATE {table} SET state = 'discarded', updated_at = :now WHERE version = :version"  # noqa: S608
        )
        given = "".join(f", {name} = :{name}" for name in evidence)
        self._publish = text(
            f"UPDATE {table} SET state = :state, effective_from = :effective_from, "  # noqa: S608
            f"published_at = :now, published_by = :actor, reason = :reason{given} WHERE version = :version"
        )
        emptied = "".join(f", {name} = NULL" for name in evidence)
        self._withdraw = text(
            f"UPDATE {table} SET state = 'draft', effective_from = NULL, published_at = NULL, "  # noqa: S608
            f"published_by = NULL, reason = NULL{emptied} WHERE version = :version"
        )
        self._settle = text(
            f"""
            WITH published AS (
                SELECT version, effective_from,
                    lead(effective_from) OVER (ORDER BY effective_from) AS effective_to
                FROM {table} WHERE effective_from IS NOT NULL
            ), due AS (
                SELECT version, effective_to,
                    CASE WHEN effective_to <= :now THEN 'retired' ELSE 'active' END AS state
                FROM published WHERE effective_from <= :now
            )
            UPDATE {table} r SET state = d.state,
                retired_at = CASE WHEN d.state = 'retired' THEN d.effective_to END
            FROM due d
            WHERE d.version = r.version AND r.state <> d.state AND r.state IN ('scheduled', 'active')
            RETURNING r.version, r.state
            """  # noqa: S608
        )

    def find(self, conn: Connection, *, version: int, now: datetime) -> Row[Any] | None:
        """Return a version that was not discarded, in its state of `now`."""
        return conn.execute(self._find, {"version": version, "now": now}).one_or_none()

    def list_versions(
        self, conn: Connection, *, state: str | None, before: int | None, limit: int, now: datetime
    ) -> Sequence[Row[Any]]:
        """Return up to `limit` versions below `before` (None: from the newest), the newest first."""
        parameters = {
            "state": state,
            "before": _NEWEST if before is None else before,
            "limit": limit,
            "now": now,
        }
        return conn.execute(self._list, parameters).all()

    def list_published(self, conn: Connection) -> Sequence[Row[Any]]:
        """Return version, first moment and stored state of every published version, in order of time."""
        return conn.execute(self._published).all()

    def lock(self, conn: Connection) -> None:
        """Let one change of this table happen at a time."""
        conn.execute(self._lock)

    def add_draft(
        self, conn: Connection, *, title: str, definition: Mapping[str, Any], actor: str, now: datetime
    ) -> int:
        """Add a draft and return its version; hold the lock."""
        parameters = {"title": title, "definition": dumps(definition), "actor": actor, "now": now}
        version: int = conn.execute(self._add, parameters).scalar_one()
        return version

    def change_draft(
        self, conn: Connection, *, version: int, title: str, definition: Mapping[str, Any], now: datetime
    ) -> None:
        """Overwrite a draft."""
        parameters = {"version": version, "title": title, "definition": dumps(definition), "now": now}
        conn.execute(self._change, parameters)

    def discard_draft(self, conn: Connection, *, version: int, now: datetime) -> None:
        """Put a draft away for good."""
        conn.execute(self._discard, {"version": version, "now": now})

    def publish(
        self,
        conn: Connection,
        *,
        version: int,
        state: str,
        effective_from: datetime,
        actor: str,
        reason: str,
        now: datetime,
        **evidence: object,
    ) -> None:
        """Make a draft part of the timeline."""
        parameters = {
            "version": version,
            "state": state,
            "effective_from": effective_from,
            "actor": actor,
            "reason": reason,
            "now": now,
        }
        conn.execute(self._publish, parameters | evidence)

    def withdraw(self, conn: Connection, *, version: int) -> None:
        """Take a scheduled version out of the timeline again."""
        conn.execute(self._withdraw, {"version": version})

    def settle_states(self, conn: Connection, *, now: datetime) -> Sequence[Row[Any]]:
        """Bring stored states up to the clock; return version and state of those that changed."""
        return conn.execute(self._settle, {"now": now}).all()


def choose_moment(
    given: str | None, *, timeline: Sequence[Row[Any]], now: datetime, timezone: str
) -> datetime:
    """Return when a draft comes into force: now (None), or at the midnight that a day or a time names.

    `timeline` is what `list_published` returns.

    Raises:
        NotAFutureMidnight: it is none, or nothing is in force yet. ScheduleTaken: another begins then.
    """
    if given is None:
        # Of two published at one moment, the one that got the lock later comes later.
        begun: list[datetime] = [row.effective_from for row in timeline if has_begun(row, now=now)]
        return max([now, *(moment + _INSTANT for moment in begun)])
    if not timeline:
        detail = "nothing is in force yet: publish the first rule set now"
        raise NotAFutureMidnight(detail, errors=[FieldError(detail, pointer="/effective_from")])
    at = read_effective_from(given, now=now, timezone=timezone)
    taken = next((row for row in timeline if row.effective_from == at), None)
    if taken is not None:
        detail = f"version {taken.version} comes into force then; withdraw it, or choose another day"
        raise ScheduleTaken(detail, errors=[FieldError(detail, pointer="/effective_from")])
    return at


def has_begun(row: Row[Any], *, now: datetime) -> bool:
    """Say whether a published set is or was in force, even where the clock that published it was ahead."""
    return bool(row.state != "scheduled" or row.effective_from <= now)


def version_before(timeline: Sequence[Row[Any]], *, at: datetime) -> int | None:
    """Return the version in force just before a moment; the first one is since the beginning of time."""
    begun = [row.version for row in timeline if row.effective_from < at]
    if begun:
        return int(begun[-1])
    return int(timeline[0].version) if timeline else None


def read_effective_from(given: str, *, now: datetime, timezone: str) -> datetime:
    """Return the midnight that a day, or a time with an offset, names.

    Raises:
        NotAFutureMidnight: it is none in the programme's zone, or none to come; says which would do.
    """
    tomorrow = local_day(now, timezone=timezone) + timedelta(days=1)
    hint = (
        f"leave it out to publish now; else name a day from {tomorrow.isoformat()} on, or its first moment "
        f"in {timezone} ({format_time(local_midnight(tomorrow, timezone=timezone))} is the first)"
    )
    try:
        if re.fullmatch(r"\d{4}-\d\d-\d\d", given, re.ASCII):
            moment = local_midnight(parse_day(given), timezone=timezone)
        else:
            moment = parse_time(given)
    except (ValueError, OverflowError) as error:
        raise _not_a_midnight("neither a day nor a time with an offset", hint) from error
    if moment <= now:
        raise _not_a_midnight("lies in the past, or has begun already", hint)
    if moment > now + _FURTHEST:
        raise _not_a_midnight("lies more than ten years ahead", hint)
    if moment != local_midnight(local_day(moment, timezone=timezone), timezone=timezone):
        raise _not_a_midnight("lies within a day", hint)
    return moment


def _not_a_midnight(what: str, hint: str) -> NotAFutureMidnight:
    return NotAFutureMidnight(
        f"effective_from {what}: {hint}", errors=[FieldError(what, pointer="/effective_from")]
    )
