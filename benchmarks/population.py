"""Reviews and simulations over the whole membership, against DuckDB computing the same metrics."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import membership, write_back
from benchmarks.baselines import duckdb_metrics
from benchmarks.results import Row, ratio_of
from benchmarks.world import Database, World, tell
from service.kit.clock import local_day
from service.kit.partitions import ensure_months
from service.tiers.defaults import default_ruleset
from service.tiers.rules import parse_ruleset

_HISTORY_DAYS = 1_200
_ROOT = Path(__file__).resolve().parents[1]
DAYS_OFF = (1, 3, 7)
"""How many days the due-only reviews come after the one before: few and many members are due."""
MOST_MEGABYTES = 500


@dataclass(frozen=True, slots=True)
class Turn:
    """One job or baseline: seconds by the clock, CPU seconds with PostgreSQL's, and what the job told."""

    seconds: float
    cpu: float
    told: dict[str, Any]


def measure(world: World, *, rounds: int) -> list[Row]:
    """Measure a full review, a full simulation and due-only reviews of a membership made for it."""
    database = world.create("membership")
    tell(f"making {world.sizes.population:,} members with {membership.ORDERS_PER_MEMBER} orders each")
    with world.connect(database) as conn:
        made = membership.make(conn, world.folder, members=world.sizes.population, now=world.now)
    day = local_day(world.now, timezone=database.programme.timezone)
    rules = parse_ruleset(default_ruleset(currency=database.programme.currency), version=1)
    membership.stand(database.engine, rules=rules, day=day, timezone=database.programme.timezone)
    return compare(database, made, now=world.now, rounds=rounds)


def measure_past(world: World, *, rounds: int) -> list[Row]:
    """Measure a simulation of a day a quarter ago, from the facts themselves, beside one of today."""
    database = world.create("past")
    tell(f"making {world.sizes.population:,} members with their orders")
    with database.engine.begin() as conn:
        first = (world.now - timedelta(days=_HISTORY_DAYS)).date()
        ensure_months(conn, table="orders", first=first, last=world.now.date())
    with world.connect(database) as conn:
        made = membership.make(
            conn, world.folder, members=world.sizes.population, now=world.now, with_facts=True
        )
    day = local_day(world.now, timezone=database.programme.timezone)
    rules = parse_ruleset(default_ruleset(currency=database.programme.currency), version=1)
    membership.stand(database.engine, rules=rules, day=day, timezone=database.programme.timezone)
    past, today = [], []
    for _ in range(rounds):
        past.append(_run(database, "simulation-past", world.now))
        today.append(_run(database, "simulation", world.now))
    return [
        Row(
            f"simulation as of a quarter ago, {made.members:,} members, {made.orders:,} orders",
            f"{median(turn.seconds for turn in past):.1f} s",
            f"as of today {median(turn.seconds for turn in today):.1f} s",
            ratio=ratio_of([turn.seconds for turn in past], [turn.seconds for turn in today]),
            note=f"{max(turn.told['megabytes'] for turn in past):.0f} MB; from orders and refunds, who was "
            "merged by then or since included",
        )
    ]


def measure_write_back(world: World, *, rounds: int) -> list[Row]:
    """Measure what a review writes alone: members with few orders each, which it does not look at."""
    database = world.create("write_back")
    tell(f"making {world.sizes.population:,} members")
    with world.connect(database) as conn:
        made = membership.make(
            conn, world.folder, members=world.sizes.population, now=world.now, orders_each=2
        )
    return [write_back.measure(database, made, rounds=rounds)]


def compare(database: Database, made: membership.Membership, *, now: datetime, rounds: int) -> list[Row]:
    """Alternate the baseline with each job, day after day, so that every review has a day's work to do."""
    turns: dict[str, list[Turn]] = {name: [] for name in ("duckdb", "review-all", "simulation")}
    for round_no in range(1, rounds + 1):
        tell(f"population, round {round_no} of {rounds}")
        now += timedelta(days=1)
        day = local_day(now, timezone=database.programme.timezone)
        seconds, cpu, bought = duckdb_metrics.measure(made.parquet, day=day)
        turns["duckdb"].append(Turn(seconds, cpu, {"members": bought}))
        for job in ("simulation", "review-all"):
            turns[job].append(_run(database, job, now))
    due = []
    for days in DAYS_OFF:
        now += timedelta(days=days)
        due.append(_run(database, "review-due", now))
    return [
        _row(made, "full tier review", turns["review-all"], turns["duckdb"]),
        _row(made, "full simulation of a draft", turns["simulation"], turns["duckdb"]),
        *(_memory(name, turns[name]) for name in ("review-all", "simulation")),
        _due_only(made, due, turns["review-all"]),
        write_back.measure(database, made, rounds=max(3, rounds)),
    ]


def _run(database: Database, job: str, now: datetime) -> Turn:
    command = [sys.executable, "-m", "benchmarks.population_job", job, database.url, now.isoformat()]
    done = subprocess.run(command, cwd=_ROOT, check=True, capture_output=True, text=True)
    told = json.loads(done.stdout)
    tell(f"{job}: {done.stdout.strip()}")
    return Turn(told["seconds"], told["cpu"], told)


def _row(made: membership.Membership, what: str, ours: list[Turn], base: list[Turn]) -> Row:
    by_cpu = ratio_of([turn.cpu for turn in ours], [turn.cpu for turn in base])
    shown = {name: value for name, value in ours[-1].told.items() if name not in _MEASURES}
    return Row(
        f"{what}, {made.members:,} members, {made.orders:,} orders",
        f"{median(turn.seconds for turn in ours):.1f} s",
        f"DuckDB {median(turn.seconds for turn in base):.1f} s",
        ratio=ratio_of([turn.seconds for turn in ours], [turn.seconds for turn in base]),
        budget=3,
        note=f"by CPU time {by_cpu:.1f} × ({median(turn.cpu for turn in ours):.1f} s); "
        + ", ".join(f"{name} {value}" for name, value in shown.items()),
    )


_MEASURES = {"seconds", "cpu", "own_cpu", "megabytes", "points_cost_change"}


def _memory(job: str, turns: list[Turn]) -> Row:
    most = max(turn.told["megabytes"] for turn in turns)
    return Row(f"peak memory of {job} (MB)", f"{most:.0f} MB", "", ratio=most, budget=MOST_MEGABYTES)


def _due_only(made: membership.Membership, due: list[Turn], whole: list[Turn]) -> Row:
    """Held by what each member more costs, between the fewest due and the most: starting costs the same."""
    fewest, most = due[0], due[-1]
    more = max(1, most.told["reviewed"] - fewest.told["reviewed"])
    each = (most.cpu - fewest.cpu) / more
    of_whole = median(turn.cpu for turn in whole) / made.members
    points = "; ".join(f"{turn.told['reviewed']:,} due: {turn.cpu:.2f} s" for turn in due)
    return Row(
        "due-only review, CPU for each member due",
        f"{each * 1e6:.0f} µs",
        f"full review {of_whole * 1e6:.1f} µs",
        ratio=each / of_whole,
        budget=20,
        note=points,
    )
