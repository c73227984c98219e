"""A chapter of the story: rewards are offered, taken, used at a checkout and called off."""

from __future__ import annotations

import io
from datetime import timedelta
from typing import Any

from service.kit.clock import local_day, read_clock
from service.kit.db import transaction
from service.rewards.watch.operations import Thresholds, find_patterns
from tests.clients.recording import Recorder

REWARDS = "/v1/rewards"
MEI_LIN = "/v1/members/mei-lin"
FIFTY = {
    "name": {"en": "NT$50 off", "zh-Hant": "50 元折價券"},
    "description": {"en": "For teas, from NT$500 on.", "zh-Hant": "茶葉滿 500 元可用。"},
    "kind": "voucher_amount",
    "points": 20,
    "value": "50",
    "minimum_spend": "500",
    "applies_to": {"categories": ["tea"]},
    "valid_days": 30,
    "stock": 100,
    "per_member_limit": 5,
}


def take_rewards(recorder: Recorder) -> None:
    """Mei-Lin takes three vouchers: one is used, one is called off, and one was somebody else's code."""
    _offer(recorder)
    headers = {"Idempotency-Key": "rewards-start"}
    body = {"points": 200, "reason": "a birthday"}
    recorder.call("POST", f"{MEI_LIN}/points/adjustments", json=body, headers=headers)
    shown = recorder.call("GET", f"{MEI_LIN}/rewards", query_string={"placement": "wallet"})
    used, spare = _take(recorder, "fifty", "used", shown), _take(recorder, "fifty", "spare")
    recorder.call("GET", f"/v1/redemptions/{used['redemption_id']}/attribution")
    _check_out(recorder, used["voucher_code"])
    recorder.call("GET", f"/v1/redemptions/{used['redemption_id']}")
    recorder.call("GET", f"{MEI_LIN}/redemptions", query_string={"limit": 2})
    path = f"/v1/redemptions/{spare['redemption_id']}"
    recorder.call("POST", f"{path}/cancel", json={"reason": "taken by mistake"})
    recorder.call("POST", f"{path}/use")
    cup = _take(recorder, "cup", "cup")
    recorder.call("POST", f"/v1/redemptions/{cup['redemption_id']}/use")
    recorder.call("GET", "/v1/code-pools/cups")
    _refuse(recorder, used["voucher_code"])
    _look_over(recorder)


def _offer(recorder: Recorder) -> None:
    codes = b"CUP-0001\nCUP-0002\nCUP-0002\n"
    recorder.call(
        "POST",
        "/v1/code-pools/cups/codes",
        role="marketing",
        headers={"Content-Type": "text/csv"},
        input_stream=io.BytesIO(codes),
        content_length=len(codes),
    )
    recorder.call("PUT", f"{REWARDS}/fifty", json=FIFTY, role="marketing")
    recorder.call("PUT", f"{REWARDS}/fifty", json=FIFTY | {"stock": 120}, role="marketing")
    cup: dict[str, Any] = {
        "name": {"en": "A cup", "zh-Hant": "茶杯"},
        "kind": "product",
        "points": 15,
        "code_pool": "cups",
    }
    recorder.call("PUT", f"{REWARDS}/cup", json=cup, role="marketing")
    recorder.call("PUT", f"{REWARDS}/pot", json=cup | {"code_pool": "pots"}, role="marketing")
    recorder.call("GET", f"{REWARDS}/fifty")
    recorder.call("GET", REWARDS)


def _take(recorder: Recorder, reward: str, key: str, shown: dict[str, Any] | None = None) -> dict[str, Any]:
    """Take a reward; `shown` is the answer that led to it."""
    headers = {"Idempotency-Key": f"take-{key}"}
    body: dict[str, Any] = {"reward": reward}
    if shown is not None:
        body["recommendation_ids"] = [shown["recommendation_id"]]
        body["attribution_token"] = shown["measurement"]["attribution_token"]
    taken: dict[str, Any] = recorder.call("POST", f"{MEI_LIN}/redemptions", json=body, headers=headers)
    return taken


def _check_out(recorder: Recorder, code: str) -> None:
    voucher = f"/v1/vouchers/{code}"
    day = local_day(read_clock() - timedelta(days=1), timezone="Asia/Taipei").isoformat()
    lines = [{"sku": "TEA-001", "quantity": 1, "amount": "600"}]
    cart = {"order_id": "A-9001", "member_id": "mei-lin", "lines": lines}
    recorder.call("POST", f"{voucher}/reserve", json=cart | {"ttl_seconds": 900})
    recorder.call("GET", voucher)
    recorder.call("POST", f"{voucher}/release", json={"order_id": "A-9001"})
    recorder.call("POST", f"{voucher}/reserve", json=cart | {"ttl_seconds": 900})
    recorder.call("POST", f"{voucher}/reserve", json=cart | {"ttl_seconds": 900, "order_id": "A-9002"})
    recorder.call("POST", f"{voucher}/use", json=cart)
    order = {
        "order_id": "A-9001",
        "member_id": "mei-lin",
        "placed_at": f"{day}T10:00:00+08:00",
        "currency": "TWD",
        "lines": lines,
        "voucher_code": code,
    }
    recorder.call("POST", "/v1/orders", json=order)
    recorder.call("POST", f"{voucher}/use", json=cart | {"order_id": "A-9002"})
    recorder.call("POST", f"{voucher}/release", json={"order_id": "A-9001"})


def _refuse(recorder: Recorder, code: str) -> None:
    recorder.call("GET", f"{REWARDS}/nothing")
    recorder.call("GET", "/v1/code-pools/pots")
    recorder.call("GET", "/v1/redemptions/red_0")
    recorder.call("GET", "/v1/vouchers/NOTHING")
    recorder.call("GET", f"/v1/vouchers/{code[:-1]}{'0' if code[-1] != '0' else '1'}")


def _look_over(recorder: Recorder) -> None:
    """Three redemptions a day are unusual here."""
    thresholds = Thresholds(redemptions=2, adjustments=0, refund_days=0, unwanted_days=0)
    with transaction(recorder.client.engine) as conn:
        find_patterns(conn, thresholds=thresholds, timezone="Asia/Taipei", now=read_clock())
    queue = "/v1/review-queue"
    found = recorder.call("GET", queue, role="marketing")
    entry = f"{queue}/{found['data'][0]['entry_id']}"
    recorder.call("POST", f"{entry}/resolve", json={"note": "her birthday"}, role="marketing")
    recorder.call("POST", f"{entry}/resolve", json={"note": "no"}, role="marketing")
    recorder.call("POST", f"{queue}/rev_0/resolve", json={"note": "no"}, role="marketing")
