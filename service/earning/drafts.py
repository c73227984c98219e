"""Earning rules as they are kept: what the verbs of versions need to know of them, and publishing."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from service.earning.definition import read_rules
from service.earning.errors import (
    EarningRulesHaveErrors,
    EarningRulesNotADraft,
    EarningRulesNotReadable,
    EarningRulesNotScheduled,
    UnknownEarningRules,
)
from service.earning.findings import Change, compare, look_through
from service.earning.rules import EarningRules
from service.earning.store import SHELF
from service.earning.timeline import compile_rules
from service.kit.audit import Actor
from service.kit.drafting import Drafting, Refusals, Topics, Version
from service.kit.findings import Finding, fault_errors
from service.programme.operations import Programme

RULES = Drafting(
    shelf=SHELF,
    kind=Version,
    missing="there are no earning rules",
    action="earning_rules",
    subject="earning-rules",
    topics=Topics(
        published="earning.rules.published",
        withdrawn="earning.rules.withdrawn",
        activated="earning.rules.activated",
    ),
    refusals=Refusals(
        unknown=UnknownEarningRules,
        not_a_draft=EarningRulesNotADraft,
        not_scheduled=EarningRulesNotScheduled,
        has_errors=EarningRulesHaveErrors,
    ),
)
"""Earning goes by the clock, and does not wait for states to be settled."""


def read_or_refuse(
    definition: Mapping[str, Any], *, version: int, programme: Programme, locale: str, at: str = ""
) -> EarningRules:
    """Return the rules that a definition says; `at` is the pointer of the definition in the request.

    Raises:
        EarningRulesNotReadable: with every fault that can be seen, named, at its place in the definition.
    """
    rules, faults = read_rules(definition, version=version, currency=programme.currency)
    if rules is None:
        raise EarningRulesNotReadable(
            "correct what is listed", errors=fault_errors(faults, locale=locale, at=at)
        )
    return rules


def list_findings(rules: Version, *, currency: str) -> list[Finding]:
    """Return what is found in a version, errors first."""
    return look_through(compile_rules(rules.definition, version=rules.version, currency=currency))


def compare_versions(
    conn: Connection, *, version: int, against: int | None, now: datetime
) -> tuple[Version, Version, list[Change]]:
    """Return another version (None: the one in force), this one, and what differs between them.

    Raises:
        UnknownEarningRules: one of them is not there.
    """
    old, new = RULES.find_sides(conn, version=version, against=against, now=now)
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
) -> Version:
    """Let a draft come into force, now or at a midnight to come; what was placed before earns as it did.

    Raises:
        UnknownEarningRules, EarningRulesNotADraft, EarningRulesNotReadable, EarningRulesHaveErrors.
        NotAFutureMidnight, ScheduleTaken: about the moment.
    """
    draft = RULES.lock_draft(conn, version=version, now=now)
    rules = read_or_refuse(draft.definition, version=version, programme=programme, locale=locale)
    RULES.refuse_errors(look_through(rules), locale=locale)
    opening = RULES.choose_opening(conn, effective_from=effective_from, timezone=programme.timezone, now=now)
    return RULES.publish(conn, version=version, opening=opening, reason=reason, actor=actor, now=now)
