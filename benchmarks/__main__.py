"""Run the measurements and print one table."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchmarks import (
    bulk,
    checkouts,
    conventions,
    hot_routes,
    learning,
    population,
    postings,
    report,
    uplift,
    wide,
)
from benchmarks.results import Row
from benchmarks.shop import Sizes
from benchmarks.world import World, open_world
from service.kit.garbage import collect_less_often

RESULTS = Path(__file__).resolve().parent / "results"
_ROUTES = tuple(hot_routes.BUDGETS)
_OTHERS: dict[str, Callable[[World, argparse.Namespace], list[Row]]] = {
    "posting": lambda world, asked: postings.measure(world, rounds=asked.rounds),
    "checkout": lambda world, asked: checkouts.measure(world, rounds=asked.rounds),
    "hot-account": lambda world, asked: checkouts.measure_hot(world, rounds=asked.rounds),
    "import": lambda world, asked: bulk.measure(world, rounds=min(asked.rounds, 3)),
    "import-uci": lambda world, asked: bulk.measure_uci(world, rounds=1),
    "import-rules": lambda world, asked: bulk.measure_rules(world, rounds=min(asked.rounds, 3)),
    "population": lambda world, asked: population.measure(world, rounds=min(asked.rounds, 3)),
    "past": lambda world, asked: population.measure_past(world, rounds=min(asked.rounds, 3)),
    "write-back": lambda world, asked: population.measure_write_back(world, rounds=asked.rounds),
    "uplift": lambda world, asked: uplift.measure(world, rounds=min(asked.rounds, 3)),
    "train": lambda world, asked: learning.measure(world, rounds=min(asked.rounds, 3)),
    "evaluation": lambda world, asked: learning.measure_evaluation(world, rounds=1),
    "worker": lambda world, asked: hot_routes.measure_worker(
        world, rounds=asked.rounds, requests=asked.requests
    ),
    "rewards": lambda world, asked: hot_routes.measure_rewards(
        world, rounds=asked.rounds, requests=asked.requests
    ),
    "wide": lambda world, asked: wide.measure(world, rounds=asked.rounds, requests=asked.requests),
    "conventions": lambda world, asked: conventions.measure(
        world, rounds=asked.rounds, requests=asked.requests
    ),
    "growth": lambda world, asked: hot_routes.measure_growth(
        world, rounds=asked.rounds, requests=asked.requests
    ),
}
NAMES = (*_ROUTES, *_OTHERS)


def main() -> int:
    """Measure what was asked for; 1 when a budget is missed."""
    asked = _arguments()
    # As the command does that imports and trains.
    collect_less_often()
    # Servers and databases of ours end with us, however we are ended.
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    scale = float(os.environ.get("TIDEMARK_BENCH_SCALE", "1"))
    names = asked.names or list(NAMES)
    rows: list[Row] = []
    with open_world(Sizes.of_scale(scale)) as world:
        for some in _measure(world, names, asked):
            rows += some
            # What is known is known, whatever becomes of the rest.
            print(report.to_text(some), file=sys.stderr, flush=True)
    print(report.to_text(rows))
    if set(names) == set(NAMES):
        settings = f"scale {scale:g}, {asked.rounds} rounds of {asked.requests:,} requests"
        report.write(rows, asked.results, settings=settings)
    return int(any(row.verdict == "MISSED" for row in rows))


def _measure(world: World, names: Sequence[str], asked: argparse.Namespace) -> Iterator[list[Row]]:
    routes = [name for name in _ROUTES if name in names]
    if routes:
        yield hot_routes.measure(world, routes, rounds=asked.rounds, requests=asked.requests)
    for name, measure in _OTHERS.items():
        if name in names:
            yield measure(world, asked)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"what to measure: {', '.join(NAMES)} (all)")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each against its baseline (5)")
    parser.add_argument("--requests", type=int, default=1000, help="requests a turn (1000)")
    parser.add_argument(
        "--results", type=Path, default=RESULTS, help="folder of latest.md, if all is measured"
    )
    asked = parser.parse_args()
    unknown = sorted(set(asked.names) - set(NAMES))
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}")
    if not 1 <= asked.rounds <= 50 or not 1 <= asked.requests <= 100_000:
        parser.error("1 to 50 rounds of 1 to 100,000 requests")
    return asked


if __name__ == "__main__":
    sys.exit(main())
