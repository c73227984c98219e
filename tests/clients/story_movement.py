"""A chapter of the story: how members moved, who is about to fall, and what lies ahead."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from service.kit.clock import local_day
from tests.clients.recording import Recorder

NOW = datetime.now(UTC).replace(microsecond=0)


def watch_movement(recorder: Recorder) -> None:
    """Bo-Hao was Silver for a year and is about to fall; marketing looks at it from every side."""
    recorder.call("PUT", "/v1/members/bo-hao", json={"joined_at": _ago(600), "locale": "zh-Hant"})
    for number, (days, amount) in enumerate(((372, "2000"), (371, "500"), (340, "2500"))):
        order = {
            "order_id": f"bo-hao-{number}",
            "member_id": "bo-hao",
            "placed_at": _ago(days),
            "currency": "TWD",
            "lines": [{"sku": "TEA-001", "quantity": 1, "amount": amount}],
        }
        recorder.call("POST", "/v1/orders", json=order)
    today = local_day(NOW, timezone="Asia/Taipei")
    period = {"from": (today - timedelta(days=400)).isoformat(), "to": today.isoformat()}
    recorder.call("GET", "/v1/tier-movements", query_string=period | {"by": "cohort"})
    recorder.call("GET", "/v1/tier-movements", query_string=period | {"to": "2999-01-01"})
    recorder.call("GET", "/v1/tier-distribution", query_string=period | {"step": "month"})
    recorder.call("GET", "/v1/tier-at-risk", query_string={"tier": "silver", "within_days": 30})
    recorder.call("GET", "/v1/tier-forecast", query_string={"days": 92})
    asked = {"days": 366}
    headers = {"Idempotency-Key": "a-year-ahead"}
    recorder.call("POST", "/v1/tier-forecast", json=asked, headers=headers, role="marketing")


def _ago(days: float) -> str:
    return (NOW - timedelta(days=days)).isoformat()
