"""One job over the whole membership in a process of its own, so that its memory and time can be told.

Prints a line of JSON: seconds, CPU seconds (its own and those of its connections in PostgreSQL), megabytes.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, text

from benchmarks import cpu
from service.kit.clock import local_day
from service.kit.db import open_engine
from service.programme.operations import Programme, get_programme
from service.tiers import reviews
from service.tiers.defaults import default_ruleset
from service.tiers.population.operations import ask_simulation
from service.tiers.population.simulation import simulate

_NAME = "bench-job"


def harder_gold() -> dict[str, Any]:
    """Return the default rules with a Gold that asks for a quarter more."""
    definition: dict[str, Any] = default_ruleset(currency="TWD")
    definition["tiers"][2]["enter"]["all"][0]["value"] = "15000"
    definition["tiers"][2]["keep"]["all"][0]["value"] = "14000"
    return definition


def run_simulation(
    engine: Engine, programme: Programme, now: datetime, *, days_ago: int = 0
) -> dict[str, Any]:
    """Try a harder Gold on everybody."""
    with engine.connect() as conn:
        question = ask_simulation(
            conn,
            definition=harder_gold(),
            version=2,
            day=local_day(now, timezone=programme.timezone) - timedelta(days=days_ago),
            against=None,
            programme=programme,
            now=now,
        )
    result = simulate(engine, question=question, programme=programme, watch=lambda _done: True)
    assert result is not None
    return {name: result[name] for name in ("members", "demoted", "points_cost_change")}


def run_review(engine: Engine, programme: Programme, now: datetime, *, everyone: bool) -> dict[str, Any]:
    """Review everybody, or those who are due."""
    summary = reviews.review_members(engine, programme=programme, now=now, everyone=everyone)
    return {"reviewed": summary.reviewed, "changed": summary.changed}


def run_past_simulation(engine: Engine, programme: Programme, now: datetime) -> dict[str, Any]:
    """Try the same on everybody as of a quarter ago."""
    return run_simulation(engine, programme, now, days_ago=90)


_JOBS: dict[str, Callable[[Engine, Programme, datetime], dict[str, Any]]] = {
    "simulation": run_simulation,
    "simulation-past": run_past_simulation,
    "review-all": lambda engine, programme, now: run_review(engine, programme, now, everyone=True),
    "review-due": lambda engine, programme, now: run_review(engine, programme, now, everyone=False),
}


def _peak_megabytes() -> float:
    """Return the most memory this process ever held; `ru_maxrss` would begin with its parent's."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def main() -> None:
    """Run the job that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("job", choices=sorted(_JOBS))
    parser.add_argument("url")
    parser.add_argument("now", type=datetime.fromisoformat)
    asked = parser.parse_args()
    engine = open_engine(f"{asked.url}&application_name={_NAME}", pool_size=4)
    with engine.connect() as conn:
        programme = get_programme(conn)
    started, own = time.perf_counter(), time.process_time()
    outcome = _JOBS[asked.job](engine, programme, asked.now)
    seconds, used = time.perf_counter() - started, time.process_time() - own
    with engine.connect() as conn:
        pids = conn.execute(
            text(
                "SELECT pid FROM pg_stat_activity "
                "WHERE application_name = :name AND datname = current_database()"
            ),
            {"name": _NAME},
        ).scalars()
        backends = sum(cpu.read(pids).values())
    megabytes = _peak_megabytes()
    print(
        json.dumps(
            {"seconds": seconds, "cpu": used + backends, "own_cpu": used, "megabytes": megabytes, **outcome}
        )
    )


if __name__ == "__main__":
    main()
