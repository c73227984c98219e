"""Training: read, build, fit and write, against one fit of the same matrix by the library alone."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from statistics import median
from typing import TypeVar

from sqlalchemy import text

from benchmarks import cpu
from benchmarks.baselines import bare_als
from benchmarks.results import Row, ratio_of
from benchmarks.world import Database, World, tell
from recommender.config import TrainingConfig
from recommender.engines.local import to_scipy
from recommender.evaluation import evaluate
from recommender.interactions import Csr, Interactions
from recommender.training import train
from service.recommendations.training import read_interactions

_CONFIG = TrainingConfig()
T = TypeVar("T")


def measure(world: World, *, rounds: int) -> list[Row]:
    """Measure CPU time, the database's included; one thread on both sides."""
    import numpy as np

    database = world.learned
    stages: dict[str, list[float]] = {"read": [], "fit": [], "write": []}
    whole, bare = [], []
    for round_no in range(1, rounds + 1):
        tell(f"training, round {round_no} of {rounds}")
        seconds, interactions = _train(world, database)
        for stage, spent in seconds.items():
            stages[stage].append(spent)
        whole.append(sum(seconds.values()))
        weighted = interactions.weighted(half_life_days=_CONFIG.als.half_life_days)
        data = 1 + np.float32(_CONFIG.als.confidence_scale) * weighted.data
        matrix = to_scipy(Csr(weighted.indptr, weighted.indices, data, weighted.shape), np.float32)
        bare.append(_cpu(lambda matrix=matrix: bare_als.fit(matrix, _CONFIG.als))[0])  # type: ignore[misc]
    parts = ", ".join(f"{stage} {median(spent):.1f}" for stage, spent in stages.items())
    return [
        Row(
            "models train: read, build, fit, write",
            f"{median(whole):.1f} s CPU",
            f"B3 {median(bare):.1f} s CPU",
            ratio_of(whole, bare),
            1.5,
            note=f"{world.sizes.learned_lines:,} lines, {world.sizes.items:,} items; {parts} s",
        )
    ]


def measure_evaluation(world: World, *, rounds: int) -> list[Row]:
    """Measure training and evaluation on the shop's own orders: context, on a line of its own."""
    del rounds
    _, interactions = _read(world.shop)
    tell("evaluating")
    spent, _ = _cpu(
        lambda: evaluate(interactions, _CONFIG, seed=1, horizon_days=28, origins=3, max_users=2_000)
    )
    fit, _ = _cpu(lambda: train(interactions, _CONFIG, seed=1))
    return [
        Row(
            "models train: evaluation and gate",
            f"{spent:.1f} s CPU",
            f"its fit {fit:.1f} s CPU",
            spent / fit,
            note=f"{len(interactions):,} purchases, three origins, 2,000 members",
        )
    ]


def _train(world: World, database: Database) -> tuple[dict[str, float], Interactions]:
    place = world.folder / "learned"
    read, interactions = _read(database)
    fit, trained = _cpu(lambda: train(interactions, _CONFIG, seed=1))
    write, _ = _cpu(lambda: trained.write(place, version="bench"))
    shutil.rmtree(place)
    return {"read": read, "fit": fit, "write": write}, interactions


def _read(database: Database) -> tuple[float, Interactions]:
    """Return the CPU seconds of reading, here and in PostgreSQL, and what was read."""
    with database.engine.connect() as conn:
        backend = conn.execute(text("SELECT pg_backend_pid()")).scalar_one()
        before = cpu.seconds_of(backend)
        spent, interactions = _cpu(lambda: read_interactions(conn, timezone=database.programme.timezone))
        return spent + cpu.seconds_of(backend) - before, interactions


def _cpu(work: Callable[[], T]) -> tuple[float, T]:
    started = time.process_time()
    done = work()
    return time.process_time() - started, done
