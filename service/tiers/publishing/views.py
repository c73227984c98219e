"""Rule sets, findings and differences as answers and the command line show them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from service.kit.clock import format_time
from service.tiers.publishing.diff import Change
from service.tiers.publishing.findings import Finding
from service.tiers.publishing.operations import Evidence, Ruleset


def summary_json(ruleset: Ruleset) -> dict[str, Any]:
    """Return a version without what it says."""
    return {
        "version": ruleset.version,
        "title": ruleset.title,
        "state": ruleset.state,
        "effective_from": _time(ruleset.effective_from),
        "effective_to": _time(ruleset.effective_to),
        "created_at": _time(ruleset.created_at),
        "created_by": ruleset.created_by,
        "updated_at": _time(ruleset.updated_at),
        "published_at": _time(ruleset.published_at),
        "published_by": ruleset.published_by,
        "reason": ruleset.reason,
        "simulation_id": ruleset.simulation_id,
    }


def ruleset_json(
    ruleset: Ruleset, *, findings: Sequence[Finding], evidence: Evidence | None
) -> dict[str, Any]:
    """Return a version whole."""
    return {
        **summary_json(ruleset),
        "definition": ruleset.definition,
        "definition_hash": ruleset.definition_hash.hex(),
        "findings": [finding_json(finding) for finding in findings],
        "simulation": None if evidence is None else _evidence_json(evidence, ruleset),
    }


def finding_json(finding: Finding) -> dict[str, Any]:
    """Return one finding."""
    return {
        "name": finding.name,
        "severity": finding.severity,
        "pointers": list(finding.pointers),
        "text": _texts(finding.text),
    }


def _evidence_json(evidence: Evidence, ruleset: Ruleset) -> dict[str, Any]:
    return {
        "simulation_id": evidence.simulation_id,
        "against": evidence.against_version,
        "as_of": evidence.as_of.isoformat(),
        "finished_at": _time(evidence.finished_at),
        "of_this_definition": evidence.definition_hash == ruleset.definition_hash,
        "demoted_share": {"numerator": evidence.demoted, "denominator": evidence.members},
    }


def diff_json(old: Ruleset, new: Ruleset, *, changes: Sequence[Change]) -> dict[str, Any]:
    """Return the differences from one version to another."""
    tiers = {
        name: [change.tier for change in changes if change.what == what]
        for name, what in (
            ("added", "tier-added"),
            ("removed", "tier-removed"),
            ("renamed", "tier-renamed"),
            ("moved", "tier-moved"),
        )
    }
    return {
        "from_version": old.version,
        "to_version": new.version,
        "tiers": tiers,
        "changes": [
            {
                "what": change.what,
                "tier": change.tier,
                "from_pointer": change.from_pointer,
                "to_pointer": change.to_pointer,
                "from": change.before,
                "to": change.after,
                "text": _texts(change.text),
            }
            for change in changes
        ],
    }


def _texts(text: Mapping[str, str]) -> dict[str, str]:
    return dict(text)


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else format_time(moment)
