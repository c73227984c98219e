"""The command line of the library: files in, a table or an artefact out."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from recommender.config import TrainingConfig
from recommender.engines import ENGINES, using_engine
from recommender.errors import InvalidConfig, RecommenderError
from recommender.evaluation import CANDIDATE, Evaluation, beats, evaluate
from recommender.files import EPOCH, read_interactions
from recommender.interactions import Interactions
from recommender.training import train


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 when done, 2 when the input is refused."""
    options = _parser().parse_args(arguments)
    try:
        with using_engine(options.engine):
            code: int = options.run(options)
    except RecommenderError as refused:
        title = " ".join((type(refused).__doc__ or "").split())
        sys.stderr.write(f"error: {title} {refused}\n")
        return 2
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="recommender", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument(
        "file", metavar="FILE", help="CSV or Parquet: user_id, item_id, day or date, quantity"
    )
    shared.add_argument("--seed", type=int, default=0)
    shared.add_argument("--engine", choices=ENGINES, default="local", help="what fits: this machine or Spark")
    shared.add_argument("--config", metavar="JSON", help="settings by section; what is left out is default")
    shared.add_argument("--horizon-days", type=int, default=28)
    shared.add_argument("--origins", type=int, default=3)
    shared.add_argument("--max-users", type=int, help="measure on a seeded sample of users per origin")

    training = commands.add_parser("train", parents=[shared], help="fit, measure and write an artefact")
    training.add_argument("--out", required=True, metavar="DIR", help="a new directory for the artefact")
    training.add_argument("--version", help="the model's name (default: through-YYYY-MM-DD)")
    training.add_argument("--no-evaluation", action="store_true", help="write without measuring")
    training.set_defaults(run=_train)

    measuring = commands.add_parser("evaluate", parents=[shared], help="print the table of all methods")
    measuring.add_argument("--json", action="store_true", help="print JSON instead of a table")
    measuring.set_defaults(run=_evaluate)
    return parser


def _train(options: argparse.Namespace) -> int:
    interactions, config = _inputs(options)
    metrics: dict[str, Any] = {}
    if not options.no_evaluation:
        table = _measure(options, interactions, config)
        metrics = table.as_dict()
        decision = beats(table.candidate, table.baselines, None)
        sys.stdout.write(f"{as_text(table)}\n{decision.reason}\n")
    trained = train(interactions, config, seed=options.seed, progress=_tell)
    version = options.version or f"through-{EPOCH + timedelta(days=trained.trained_through)}"
    content_hash = trained.write(options.out, version=version, metrics=metrics)
    sys.stdout.write(f"{version} {content_hash} {options.out}\n")
    return 0


def _evaluate(options: argparse.Namespace) -> int:
    interactions, config = _inputs(options)
    table = _measure(options, interactions, config)
    sys.stdout.write(json.dumps(table.as_dict(), indent=2) if options.json else as_text(table))
    sys.stdout.write("\n")
    return 0


def _inputs(options: argparse.Namespace) -> tuple[Interactions, TrainingConfig]:
    config = TrainingConfig()
    if options.config:
        try:
            config = TrainingConfig.from_dict(json.loads(Path(options.config).read_text("utf-8")))
        except (OSError, ValueError) as unreadable:
            raise InvalidConfig(f"{options.config}: {unreadable}") from unreadable
    return read_interactions(options.file), config


def _measure(options: argparse.Namespace, interactions: Interactions, config: TrainingConfig) -> Evaluation:
    return evaluate(
        interactions,
        config,
        seed=options.seed,
        horizon_days=options.horizon_days,
        origins=options.origins,
        max_users=options.max_users,
        progress=_tell,
    )


def _tell(stage: str, done: int, total: int) -> None:
    sys.stderr.write(f"{stage} {done}/{total}\n")


def as_text(table: Evaluation) -> str:
    """Lay the evaluation out in columns, best recall first, the served list marked."""
    lines = []
    for title, methods in (("everything taken", table.methods), ("new items only", table.discover)):
        lines.append(f"{title:<24}{'recall@' + str(table.k):>12}{'ndcg':>10}{'hit rate':>10}{'coverage':>10}")
        for name, one in sorted(methods.items(), key=lambda entry: -entry[1]["recall"]):
            mark = "*" if name in (CANDIDATE, "discover") else " "
            lines.append(
                f"{mark} {name:<22}{one['recall']:>12.4f}{one['ndcg']:>10.4f}"
                f"{one['hit_rate']:>10.4f}{one['coverage']:>10.4f}"
            )
        lines.append("")
    users = ", ".join(str(origin["users"]) for origin in table.origins)
    lines.append(f"horizon {table.horizon_days} days; users per origin, latest first: {users}; * as served")
    return "\n".join(lines)
