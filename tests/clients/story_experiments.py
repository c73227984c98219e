"""A chapter of the story: the shop tries a free-shipping text on its cart page, and reads what it brought."""

from __future__ import annotations

from typing import Any

from tests.clients.recording import Recorder
from tests.clients.story_rules import post

EXPERIMENTS = "/v1/experiments"
TEXT = f"{EXPERIMENTS}/cart-text"
PLAN: dict[str, Any] = {
    "title": "Free shipping said in the cart",
    "surface": "storefront",
    "arms": [{"arm": "control", "weight_bp": 5000}, {"arm": "free-shipping", "weight_bp": 5000}],
    "eligibility": {"consent": "profiling"},
    "window_days": 30,
    "guardrails": [{"metric": "returned_value", "margin": "50"}],
}
MAILING: dict[str, Any] = {
    "key": "subject-line",
    "title": "The subject names the product",
    "surface": "message",
    "arms": [{"arm": "plain", "weight_bp": 5000}, {"arm": "product", "weight_bp": 5000}],
    "eligibility": {"consent": "marketing"},
}


def try_a_text(recorder: Recorder) -> None:
    """Draft, start, expose, read, draft a version, stop; and what is refused on the way."""
    uneven = [{"arm": "control", "weight_bp": 5000}, {"arm": "free-shipping", "weight_bp": 4000}]
    post(recorder, EXPERIMENTS, PLAN | {"key": "cart-text", "arms": uneven}, "uneven-arms")
    post(recorder, EXPERIMENTS, PLAN | {"key": "cart-text"}, "cart-text")
    post(recorder, EXPERIMENTS, PLAN | {"key": "cart-text"}, "cart-text-again")
    recorder.call("PUT", TEXT, json=PLAN | {"title": "Free shipping, in the cart"}, role="marketing")
    recorder.call("GET", f"{TEXT}/uplift", role="marketing")
    expose(recorder, "cart-text", {"member_id": "mei-lin"})
    _start(recorder, "start-cart-text")
    _start(recorder, "start-cart-text-again")
    recorder.call("PUT", TEXT, json=PLAN, role="marketing")
    expose(recorder, "cart-text", {"member_id": "mei-lin", "placement": "cart"})
    recorder.call("GET", EXPERIMENTS, query_string={"limit": 5}, role="marketing")
    recorder.call("GET", TEXT, role="marketing")
    recorder.call("GET", f"{TEXT}/uplift", role="marketing")
    recorder.call("GET", f"{TEXT}/uplift", query_string={"compare": "exposed"}, role="marketing")
    recorder.call("GET", f"{TEXT}/uplift", query_string={"arm": "no-such-arm"}, role="marketing")
    recorder.call("PUT", f"{TEXT}/overrides/mei-lin", json={"arm": "free-shipping"}, role="marketing")
    _watch_the_holdout(recorder)
    more = [{"arm": "control", "weight_bp": 2000}, {"arm": "free-shipping", "weight_bp": 8000}]
    post(recorder, f"{TEXT}/versions", {"arms": more}, "more-of-the-text")
    post(recorder, f"{TEXT}/stop", {"reason": "the season is over"}, "stop-cart-text")
    recorder.call("GET", f"{EXPERIMENTS}/no-such-test", role="marketing")
    _try_a_subject_line(recorder)


def _try_a_subject_line(recorder: Recorder) -> None:
    """A mailing in two wordings: all who get it are drawn at once, and nobody may be driven away."""
    guardrails = [{"metric": "unsubscribed", "margin_bp": 50}]
    post(recorder, EXPERIMENTS, MAILING | {"guardrails": guardrails * 2}, "subject-line-twice-guarded")
    post(recorder, EXPERIMENTS, MAILING | {"guardrails": guardrails}, "subject-line")
    headers = {"Idempotency-Key": "start-subject-line"}
    recorder.call("POST", f"{EXPERIMENTS}/subject-line/start", headers=headers, role="marketing")
    crowd = f"{EXPERIMENTS}/subject-line/exposures/crowd"
    body = {"member_ids": ["mei-lin", "nobody"], "placement": "newsletter-47", "channel": "email"}
    recorder.call("POST", crowd, json=body, role="marketing")
    recorder.call("POST", f"{TEXT}/exposures/crowd", json=body | {"arm": "control"}, role="marketing")
    recorder.call("POST", f"{EXPERIMENTS}/no-such-test/exposures/crowd", json=body, role="marketing")


def expose(recorder: Recorder, key: str, visitor: dict[str, Any]) -> dict[str, Any]:
    """Ask for the arm of a visitor as the shop's own page does."""
    return recorder.call("POST", f"{EXPERIMENTS}/{key}/exposures", json=visitor)


def _start(recorder: Recorder, key: str) -> None:
    recorder.call("POST", f"{TEXT}/start", headers={"Idempotency-Key": key}, role="marketing")


def _watch_the_holdout(recorder: Recorder) -> None:
    """The hold-out is drawn by recommendations, not by pages."""
    found = recorder.call("GET", EXPERIMENTS, query_string={"status": "running"}, role="marketing")
    holdout = next(one["key"] for one in found["data"] if one["is_global_holdout"])
    expose(recorder, holdout, {"member_id": "mei-lin"})
