"""A chapter of the story: a place left to the lot, and what another ranker would have earned there."""

from __future__ import annotations

from service.kit.clock import read_clock
from service.recommendations.off_policy.operations import run_evaluation
from tests.clients.recording import Recorder


def judge_a_ranker(recorder: Recorder) -> None:
    """Explore a placement, ask about its logs, let the worker work it out; and what is refused."""
    exploration = {"candidates": 8, "share_bp": 5_000}
    body = {"mode": "mixed", "limit": 4, "exploration": exploration}
    recorder.call("PUT", "/v1/placements/home_row_2", json=body, role="marketing")
    version = recorder.call("GET", "/v1/models")["data"][0]["version"]
    asked = f"/v1/models/{version}/off-policy-evaluations"
    question = {"placement": "home_row_2", "since": "2026-01-01", "metric": "click", "window_days": 3}
    headers = {"Idempotency-Key": "judge-the-new-ranker"}
    told = recorder.call("POST", asked, json=question, role="marketing", headers=headers)
    desk = recorder.client.app.extensions["tidemark"]
    serving = desk.tools["serving"]
    run_evaluation(
        recorder.client.engine,
        evaluation_id=told["evaluation_id"],
        models_folder=serving.models_folder,
        timezone=serving.timezone,
        now=read_clock(),
    )
    recorder.call("GET", f"{asked}/{told['evaluation_id']}")
    recorder.call("GET", f"{asked}/ope_unknown")
    recorder.call(
        "POST",
        "/v1/models/nothing/off-policy-evaluations",
        json=question,
        role="marketing",
        headers={"Idempotency-Key": "judge-nothing"},
    )
    backwards = question | {"until": "2025-12-31"}
    recorder.call(
        "POST", asked, json=backwards, role="marketing", headers={"Idempotency-Key": "judge-backwards"}
    )
