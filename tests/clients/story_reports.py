"""A chapter of the story: marketing asks whether the tiers find the members who come back."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from service.kit.db import transaction
from service.programme.operations import get_programme
from service.tiers.reports import compute_report
from service.worker import TIER_ANSWERS
from tests.clients.recording import Recorder
from tests.clients.story_rules import post

REPORTS = "/v1/tier-reports"
LIABILITY = "/v1/points/liability-reports"


def ask_for_reports(recorder: Recorder) -> None:
    """Ask what the tiers are worth and how the metrics are spread; be refused what cannot be told."""
    worth = post(recorder, REPORTS, {"kind": "worth", "months": 1}, "what-is-gold-worth")
    _work(recorder, worth)
    recorder.call("GET", f"{REPORTS}/{worth['report_id']}", role="marketing")
    spread = post(recorder, REPORTS, {"kind": "histogram"}, "how-do-they-spread")
    path = f"{REPORTS}/{spread['report_id']}"
    recorder.call("GET", path, query_string={"format": "csv"}, role="marketing")
    _work(recorder, spread)
    recorder.call("GET", path, role="marketing")
    today = datetime.now(UTC).date().isoformat()
    post(recorder, REPORTS, {"kind": "worth", "as_of": today}, "too-early")
    recorder.call("GET", f"{REPORTS}/trep_never-asked", role="marketing")
    kept = post(recorder, LIABILITY, {"allocated_bp": 9000}, "what-do-we-owe")
    _work(recorder, kept)
    recorder.call("GET", f"{LIABILITY}/{kept['report_id']}", role="marketing")
    post(recorder, LIABILITY, {"as_of": today}, "not-over-yet")


def _work(recorder: Recorder, report: dict[str, Any]) -> None:
    engine = recorder.client.engine
    with transaction(engine) as conn:
        programme = get_programme(conn)
    compute_report(
        engine,
        report_id=report["report_id"],
        answers=TIER_ANSWERS,
        programme=programme,
        now=datetime.now(UTC),
    )
