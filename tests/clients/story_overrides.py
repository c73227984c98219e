"""A chapter of the story: marketing holds a member at a tier for a while."""

from __future__ import annotations

from datetime import timedelta

from service.kit.clock import local_day, read_clock
from tests.clients.recording import Recorder

OVERRIDE = "/v1/members/ya-ting/tier/override"


def hold_at_a_tier(recorder: Recorder) -> None:
    """Ya-Ting's parcel was lost twice: Gold for three months, and no longer when it is found."""
    recorder.call("PUT", "/v1/members/ya-ting", json={"locale": "zh-Hant"})
    until = local_day(read_clock(), timezone="Asia/Taipei") + timedelta(days=92)
    body = {"tier": "gold", "until": until.isoformat(), "reason": "parcel lost twice, case 1207"}
    recorder.call("PUT", OVERRIDE, json=body, role="marketing")
    recorder.call("PUT", OVERRIDE, json=body | {"tier": "diamond"}, role="marketing")
    recorder.call("PUT", OVERRIDE, json=body | {"until": "2024-01-01"}, role="marketing")
    recorder.call("DELETE", OVERRIDE, role="marketing")
    recorder.call("DELETE", OVERRIDE, role="marketing")
