"""Rule sets as they are kept: what the verbs of versions need to know of them, and their evidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from service.kit.drafting import Drafting, Refusals, Topics, Version
from service.kit.findings import Finding, fault_errors
from service.programme.operations import Programme
from service.tiers.errors import (
    RulesetHasErrors,
    RulesetNotADraft,
    RulesetNotReadable,
    RulesetNotScheduled,
    UnknownRuleset,
)
from service.tiers.population.rules import definition_hash
from service.tiers.publishing import store
from service.tiers.publishing.faults import read_definition
from service.tiers.publishing.findings import look_through
from service.tiers.publishing.rules import Evidence
from service.tiers.publishing.store import SHELF
from service.tiers.rules import RuleSet, parse_ruleset


@dataclass(frozen=True, slots=True)
class Ruleset(Version):
    """One version; `simulation_id` names the evidence it was published on."""

    simulation_id: str | None

    @property
    def definition_hash(self) -> bytes:
        """What a simulation remembers of the definition it tried."""
        return definition_hash(self.definition)


RULESETS = Drafting(
    shelf=SHELF,
    kind=Ruleset,
    missing="there is no rule set",
    action="ruleset",
    subject="tier-ruleset",
    topics=Topics(
        published="tier.ruleset.published",
        withdrawn="tier.ruleset.withdrawn",
        activated="tier.ruleset.activated",
    ),
    refusals=Refusals(
        unknown=UnknownRuleset,
        not_a_draft=RulesetNotADraft,
        not_scheduled=RulesetNotScheduled,
        has_errors=RulesetHasErrors,
    ),
)


def read_or_refuse(
    definition: Mapping[str, Any], *, version: int, programme: Programme, locale: str, at: str = ""
) -> RuleSet:
    """Return the rule set that a definition says; `at` is the pointer of the definition in the request.

    Raises:
        RulesetNotReadable: with every fault that can be seen, named, at its place in the definition.
    """
    rules, faults = read_definition(definition, version=version, currency=programme.currency)
    if rules is None:
        raise RulesetNotReadable("correct what is listed", errors=fault_errors(faults, locale=locale, at=at))
    return rules


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
