"""A chapter of the story: marketing writes another rule set, schedules it and thinks better of it."""

from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta
from typing import Any

from service.kit.clock import local_day
from service.kit.db import transaction
from service.tiers.defaults import default_ruleset
from tests.clients.recording import Recorder
from tests.integration.tiers.evidence import leave_simulation

RULESETS = "/v1/tier-rulesets"


def write_rules(recorder: Recorder) -> None:
    """Draft a harder Gold, look at it, schedule it, and withdraw it again."""
    definition: Any = copy.deepcopy(default_ruleset(currency="TWD"))
    definition["tiers"][2]["enter"]["all"][0]["value"] = "15000.00"
    definition["tiers"][3]["benefits"].append(
        {
            "kind": "early_access",
            "hours": 48,
            "text": {"en": "New teas two days earlier", "zh-Hant": "新茶提早兩天"},
        }
    )
    body = {"title": "A harder Gold", "definition": definition}
    made = post(recorder, RULESETS, body, "harder-gold")
    draft = f"{RULESETS}/{made['version']}"
    definition["tiers"][2]["benefits"][0]["multiplier_bp"] = 10_500
    recorder.call("PUT", draft, json=body, role="marketing")
    recorder.call("GET", draft)
    recorder.call("GET", RULESETS, query_string={"limit": 2})
    recorder.call("GET", f"{draft}/diff", query_string={"against": 1})
    recorder.call("GET", f"{draft}/export")
    now = datetime.now(UTC)
    today = local_day(now, timezone="Asia/Taipei")
    with transaction(recorder.client.engine) as conn:
        tried = leave_simulation(conn, version=made["version"], now=now, as_of=today, demoted=1)
    asked = {
        "effective_from": (today + timedelta(days=30)).isoformat(),
        "reason": "Gold had become the rule rather than the exception",
        "simulation_id": tried,
    }
    post(recorder, f"{draft}/publish", asked, "publish-harder-gold")
    post(recorder, f"{draft}/withdraw", {"reason": "not before the holidays"}, "withdraw-harder-gold")
    _refuse(recorder, draft, definition, tried)
    recorder.call("DELETE", draft, role="marketing")


def _refuse(recorder: Recorder, draft: str, definition: Any, tried: str) -> None:
    asked = {"reason": "spring", "simulation_id": tried}
    post(recorder, f"{draft}/publish", {"reason": "spring"}, "blind")
    post(recorder, f"{draft}/publish", asked | {"effective_from": "2020-01-01"}, "past")
    post(recorder, f"{RULESETS}/1/withdraw", {"reason": "too late"}, "late")
    post(recorder, f"{RULESETS}/1/publish", asked, "again")
    recorder.call("GET", f"{RULESETS}/999")
    wrong = copy.deepcopy(definition)
    wrong["tiers"][1]["enter"]["all"][0]["metric"] = "net_spent"
    post(recorder, RULESETS, {"title": "A slip", "definition": wrong}, "slip")
    easier = copy.deepcopy(definition)
    easier["tiers"][2]["enter"] = easier["tiers"][1]["enter"]
    recorder.call("PUT", draft, json={"title": "Easier", "definition": easier}, role="marketing")
    post(recorder, f"{draft}/publish", asked, "easier")


def post(recorder: Recorder, path: str, body: dict[str, Any], key: str) -> dict[str, Any]:
    """Send a POST as marketing does."""
    return recorder.call("POST", path, json=body, headers={"Idempotency-Key": key}, role="marketing")
