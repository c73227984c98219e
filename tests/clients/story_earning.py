"""A chapter of the story: marketing writes what earns points; a storefront asks what a basket earns."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from service.kit.clock import local_day
from tests.clients.recording import Recorder

RULES = "/v1/earning-rules"
DEFINITION: dict[str, Any] = {
    "currency": "TWD",
    "base": {"points": 1, "per": "30"},
    "exclude": {"categories": ["gift-cards"]},
    "rates": [{"categories": ["tea"], "multiplier_bp": 20_000}],
    "minimum_order": "100",
    "caps": {"per_order": 2_000, "per_member_day": 3_000},
    "events": [{"type": "custom:review", "points": 50, "once_per_sku": True, "per_member_day": 3}],
}


def write_earning_rules(recorder: Recorder, *, member_id: str) -> None:
    """Draft, look through, schedule and withdraw rules; quote a basket under those in force."""
    made = _post(recorder, RULES, {"title": "Tea counts twice", "definition": DEFINITION}, "tea-twice")
    draft = f"{RULES}/{made['version']}"
    recorder.call("PUT", draft, json={"title": "Tea twice", "definition": DEFINITION}, role="marketing")
    recorder.call("GET", draft)
    recorder.call("GET", RULES, query_string={"limit": 2})
    recorder.call("GET", f"{draft}/diff", query_string={"against": 1})
    recorder.call("GET", f"{draft}/export")
    today = local_day(datetime.now(UTC), timezone="Asia/Taipei")
    asked = {"effective_from": (today + timedelta(days=30)).isoformat(), "reason": "the season of new tea"}
    _post(recorder, f"{draft}/publish", asked, "publish-tea-twice")
    _post(recorder, f"{draft}/withdraw", {"reason": "after the holidays"}, "withdraw-tea-twice")
    _refuse(recorder, draft)
    recorder.call("DELETE", draft, role="marketing")
    basket = {
        "member_id": member_id,
        "currency": "TWD",
        "lines": [
            {"sku": "oolong-150", "quantity": 2, "amount": "900", "category": "tea"},
            {"sku": "gift-card", "quantity": 1, "amount": "500", "category": "gift-cards"},
        ],
        "shipping": "60",
    }
    recorder.call("POST", "/v1/points/quotes", json=basket, role="server")
    recorder.call("POST", "/v1/points/quotes", json=basket | {"member_id": "nobody"}, role="server")


def _refuse(recorder: Recorder, draft: str) -> None:
    recorder.call("GET", f"{RULES}/999")
    _post(recorder, f"{RULES}/1/publish", {"reason": "again"}, "publish-again")
    _post(recorder, f"{RULES}/1/withdraw", {"reason": "too late"}, "withdraw-late")
    wrong = DEFINITION | {"base": {"points": 1.5, "per": "30"}}
    _post(recorder, RULES, {"title": "A slip", "definition": wrong}, "half-a-point")
    idle = DEFINITION | {"base": {"points": 0, "per": "30"}, "rates": [], "events": []}
    recorder.call("PUT", draft, json={"title": "Nothing", "definition": idle}, role="marketing")
    _post(recorder, f"{draft}/publish", {"reason": "a mistake"}, "publish-nothing")


def _post(recorder: Recorder, path: str, body: dict[str, Any], key: str) -> dict[str, Any]:
    return recorder.call("POST", path, json=body, headers={"Idempotency-Key": key}, role="marketing")
