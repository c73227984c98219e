"""A chapter of the story: recommendations for a mailing, and a training that staff ask for."""

from __future__ import annotations

from service.kit.clock import read_clock
from service.recommendations import exports
from tests.clients.recording import Recorder

EXPORTS = "/v1/recommendation-exports"


def export_for_a_mailing(recorder: Recorder) -> None:
    """Ask for an export, let the worker compute it, fetch its lines; call another one off."""
    willing = {"consent": {"marketing": True, "profiling": True, "text_version": "2026-01"}}
    recorder.call("PUT", "/v1/members/M70001", json=willing)
    export_id = _ask(recorder, "mailing-of-december")
    recorder.call("GET", f"{EXPORTS}/{export_id}/lines", role="marketing")
    desk = recorder.client.app.extensions["tidemark"]
    exports.run_export(
        recorder.client.engine, export_id=export_id, serving=desk.tools["serving"], clock=read_clock
    )
    recorder.call("GET", f"{EXPORTS}/{export_id}", role="marketing")
    recorder.call("GET", f"{EXPORTS}/{export_id}/lines", role="marketing")
    recorder.call("GET", EXPORTS, role="marketing")
    recorder.call("POST", f"{EXPORTS}/{export_id}/cancel", role="marketing")
    recorder.call("GET", f"{EXPORTS}/rexp_unknown", role="marketing")
    other = _ask(recorder, "mailing-of-january")
    recorder.call("POST", f"{EXPORTS}/{other}/cancel", role="marketing")
    unknown = {"placement": "letter", "segment": "no_such_tier"}
    headers = {"Idempotency-Key": "mailing-of-nobody"}
    recorder.call("POST", EXPORTS, json=unknown, role="marketing", headers=headers)
    recorder.call("POST", "/v1/models/retrain", role="operations")
    recorder.call("GET", "/v1/models/retrain", role="operations")
    body = {"mode": "discover", "diversity_bp": 2_000, "category_cap": 3, "limit": 6}
    recorder.call("PUT", "/v1/placements/basket", json=body, role="marketing")
    recorder.call("GET", "/v1/placements", role="marketing")
    recorder.call("GET", "/v1/placements/basket", role="marketing")
    recorder.call("GET", "/v1/placements/nowhere", role="marketing")
    fresh = {"If-None-Match": "*"}
    recorder.call("PUT", "/v1/placements/basket", json=body, role="marketing", headers=fresh)


def _ask(recorder: Recorder, key: str) -> str:
    body = {"placement": "letter", "limit": 3}
    asked = recorder.call("POST", EXPORTS, json=body, role="marketing", headers={"Idempotency-Key": key})
    return str(asked["export_id"])
