"""A chapter of the story: marketing tries a harder Silver on everybody before anybody feels it."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from typing import Any

from service.kit.db import transaction
from service.programme.operations import get_programme
from service.tiers.defaults import default_ruleset
from service.tiers.population.operations import run_simulation
from tests.clients.recording import Recorder
from tests.clients.story_rules import RULESETS, post


def try_rules(recorder: Recorder) -> None:
    """Simulate a draft, look at what it would do, and call off one that nobody needs."""
    definition: Any = copy.deepcopy(default_ruleset(currency="TWD"))
    for part in ("enter", "keep"):
        definition["tiers"][1][part]["all"][0]["value"] = "90000.00"
    text = {"en": "A little more", "zh-Hant": "多一點"}
    definition["tiers"][0]["benefits"] = [
        {"kind": "points_multiplier", "multiplier_bp": 10_500, "text": text}
    ]
    made = post(recorder, RULESETS, {"title": "A harder Silver", "definition": definition}, "harder-silver")
    simulations = f"{RULESETS}/{made['version']}/simulations"
    tried = post(recorder, simulations, {"against": 1}, "try-harder-silver")
    path = f"{simulations}/{tried['simulation_id']}"
    recorder.call("GET", path, query_string={"format": "csv"}, role="marketing")
    _work(recorder, tried["simulation_id"])
    recorder.call("GET", path, role="marketing")
    recorder.call("GET", simulations, query_string={"limit": 2}, role="marketing")
    needless = post(recorder, simulations, {"as_of": "2020-01-01"}, "try-long-ago")
    post(recorder, f"{simulations}/{needless['simulation_id']}/cancel", {}, "never-mind")
    post(recorder, f"{path}/cancel", {}, "too-late-to-mind")
    recorder.call("GET", f"{simulations}/tsim_never-asked", role="marketing")
    post(recorder, simulations, {"as_of": "2999-01-01"}, "try-the-future")


def _work(recorder: Recorder, simulation_id: str) -> None:
    engine = recorder.client.engine
    with transaction(engine) as conn:
        programme = get_programme(conn)
    run_simulation(engine, simulation_id=simulation_id, programme=programme, now=datetime.now(UTC))
