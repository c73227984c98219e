"""A catalogue ten times as large: what recommending costs beside numpy alone, and what a worker holds."""

from __future__ import annotations

from contextlib import ExitStack
from statistics import median

from benchmarks import cpu
from benchmarks.baselines.numpy_ranking import BareRanking
from benchmarks.hot_routes import TITLES, Spent, serve_bare, serve_service
from benchmarks.results import Row, milliseconds
from benchmarks.world import World, tell

_KIND = "recommendations"
_BUDGET_B0, _BUDGET_B5 = 5.0, 1.5


def measure(world: World, *, rounds: int, requests: int) -> list[Row]:
    """Measure the route turn by turn with the bare route and the bare ranking, then the workers' memory."""
    database, items = world.wide, world.wide_items
    spent, bare, ranked = Spent(), [], []
    with ExitStack() as stack:
        _, spend_bare = stack.enter_context(serve_bare())
        subject = stack.enter_context(serve_service(world, database))
        ranking = BareRanking(items)
        ranking.spend(10)
        for round_no in range(1, rounds + 1):
            tell(f"recommendations of {items:,} items, round {round_no} of {rounds}")
            bare.append(spend_bare(2 * requests))
            ranked.append(ranking.spend(max(20, requests // 10)))
            subject.spend(_KIND, requests, spent)
        private = max(map(cpu.private_bytes, subject.server.workers())) / 2**20
    left = [_left(*figures) for figures in zip(spent.web, ranked, bare, strict=True)]
    quietest = _left(min(spent.web), min(ranked), min(bare))
    return [
        Row(
            f"{TITLES[_KIND]}, {items:,} items, less 1.5 × B5",
            f"{milliseconds(spent.web)} CPU",
            f"B0 {milliseconds(bare)}, B5 {milliseconds(ranked)}",
            median(left),
            _BUDGET_B0,
            note=f"a drawn model; quietest rounds {quietest:.2f}",
        ),
        Row(
            "web worker, private memory (MB)",
            f"{private:.0f} MB",
            "",
            note=f"a drawn model of {items:,} items loaded, after requests; the budget is for 20,000",
        ),
    ]


def _left(whole: float, numpy_alone: float, route: float) -> float:
    """Return what is left after one and a half B5, which the budget grants a large catalogue, ÷ B0."""
    return (whole - _BUDGET_B5 * numpy_alone) / route
