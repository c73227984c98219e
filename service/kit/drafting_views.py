"""Versions and findings as answers and the command line show them. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from service.kit.clock import format_time
from service.kit.drafting import Version
from service.kit.findings import Finding


def version_json(version: Version) -> dict[str, Any]:
    """Return a version without what it says."""
    return {
        "version": version.version,
        "title": version.title,
        "state": version.state,
        "effective_from": _time(version.effective_from),
        "effective_to": _time(version.effective_to),
        "created_at": _time(version.created_at),
        "created_by": version.created_by,
        "updated_at": _time(version.updated_at),
        "published_at": _time(version.published_at),
        "published_by": version.published_by,
        "reason": version.reason,
    }


def finding_json(finding: Finding) -> dict[str, Any]:
    """Return one finding."""
    return {
        "name": finding.name,
        "severity": finding.severity,
        "pointers": list(finding.pointers),
        "text": dict(finding.text),
    }


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else format_time(moment)
