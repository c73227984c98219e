"""Rule sets, findings and differences as answers and the command line show them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from service.kit.clock import format_time
from service.kit.drafting_views import finding_json, version_json
from service.kit.findings import Finding
from service.tiers.publishing.diff import Change
from service.tiers.publishing.operations import Evidence, Ruleset


def summary_json(ruleset: Ruleset) -> dict[str, Any]:
    """Return a version without what it says."""
    return version_json(ruleset) | {"simulation_id": ruleset.simulation_id}


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


def _evidence_json(evidence: Evidence, ruleset: Ruleset) -> dict[str, Any]:
    return {
        "simulation_id": evidence.simulation_id,
        "against": evidence.against_version,
        "as_of": evidence.as_of.isoformat(),
        "finished_at": None if evidence.finished_at is None else format_time(evidence.finished_at),
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
                "text": dict(change.text),
            }
            for change in changes
        ],
    }
