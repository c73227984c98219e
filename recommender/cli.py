"""The command line of the library: files in, a table or an artefact out."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args

from recommender.artifact import EPOCH, read_manifest
from recommender.card import evaluation_markdown, to_svg, write_card
from recommender.config import TrainingConfig
from recommender.datasets import read_source
from recommender.engines import ENGINES, using_engine
from recommender.errors import InvalidConfig, RecommenderError
from recommender.evaluation import CANDIDATE, Evaluation, evaluate
from recommender.files import day_number
from recommender.gate import decide, settle
from recommender.interactions import Interactions
from recommender.remote import is_url, local_copy, put_artifact
from recommender.search import search
from recommender.serving import Mode, ServedModel
from recommender.tables import list_for, write_lists
from recommender.training import TrainedModel, train

_COLUMNS = ("user_id", "item_id", "day", "date", "quantity")
# As in the service: a model that knows fewer of the items is of another shop.
_LEAST_KNOWN = 0.5
_HOW_MEASURED = """Learned up to a day, judged by what the same people took in the days after it.
Global time cut, rolling origins, the catalogue as of the cut, every item in the
running; settings come from earlier origins only. Recall, NDCG and hit rate are at
k; `repeat` and `explore` are recall of what had and had not been taken before, by
the same list; coverage is the share of the catalogue that was shown; novelty is the
mean surprise in bits; diversity is 1 minus the mean cosine of item factors;
calibration is how far the share of repeats in the list is from that in what was
taken (0 is best). Differences are paired by member, with bootstrap intervals over
members. The served lists are bold.
"""


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
        "file",
        metavar="FILE",
        help="CSV or Parquet: user_id, item_id, day or date, quantity; or uci:PARQUET, or completejourney",
    )
    shared.add_argument(
        "--columns",
        metavar="NAME=COLUMN,…",
        help="what the file calls user_id, item_id, day or date, and quantity",
    )
    _add_listing(commands, shared)
    settings = argparse.ArgumentParser(add_help=False)
    _add_settings(settings)
    both = [shared, settings]
    training = commands.add_parser("train", parents=both, help="fit, measure and write an artefact")
    training.add_argument(
        "--out", required=True, metavar="DIR", help="a new directory or URL for the artefact"
    )
    training.add_argument("--version", help="the model's name (default: through-YYYY-MM-DD)")
    training.add_argument("--no-evaluation", action="store_true", help="write without measuring")
    training.set_defaults(run=_train)

    measuring = commands.add_parser("evaluate", parents=both, help="print the table of all methods")
    measuring.add_argument("--json", action="store_true", help="print JSON instead of a table")
    measuring.set_defaults(run=_evaluate)

    reporting = commands.add_parser("report", help="evaluate several files into one Markdown page and plot")
    reporting.add_argument("page", metavar="OUT.md")
    reporting.add_argument("sources", nargs="+", metavar="NAME=FILE")
    _add_settings(reporting)
    reporting.set_defaults(run=_report)
    return parser


def _add_listing(commands: Any, shared: argparse.ArgumentParser) -> None:
    listing = commands.add_parser("recommend", parents=[shared], help="write everybody's list, by a model")
    listing.add_argument("model", metavar="DIR", help="an artefact: a directory or a URL")
    listing.add_argument("--out", required=True, metavar="FILE", help="CSV, or Parquet by its name")
    listing.add_argument("--limit", type=int, default=10)
    listing.add_argument("--mode", choices=get_args(Mode), default="mixed")
    listing.add_argument("--user", action="append", metavar="ID", help="only this one; may be repeated")
    listing.add_argument("--today", metavar="YYYY-MM-DD", help="day of asking (default: after the last)")
    listing.set_defaults(run=_recommend, engine="local")


def _add_settings(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--engine", choices=ENGINES, default="local", help="what fits: this machine or Spark")
    parser.add_argument("--config", metavar="JSON", help="settings by section; what is left out is default")
    parser.add_argument("--horizon-days", type=int, default=28)
    parser.add_argument("--origins", type=int, default=3)
    parser.add_argument("--max-users", type=int, help="measure on a seeded sample of users per origin")
    parser.add_argument(
        "--search-origins", type=int, default=4, help="how many earlier origins to learn from"
    )
    parser.add_argument(
        "--search",
        action="store_true",
        help="learn the blend on earlier time origins instead of its defaults",
    )


def _train(options: argparse.Namespace) -> int:
    interactions, config = _read(options), _config(options)
    metrics: dict[str, Any] = {}
    table = None if options.no_evaluation else _measure(options, interactions, config)
    if options.search:
        config = search(
            interactions,
            config,
            seed=options.seed,
            horizon_days=options.horizon_days,
            origins=options.search_origins,
            progress=_tell,
        )
    if table is not None:
        config = replace(config, blend=settle(table, config.blend))
        served = {"mixed": config.blend.mixed, "discover": config.blend.discover}
        metrics = {**table.as_dict(), "search": options.search, "served": served}
        sys.stdout.write(f"{as_text(table)}\n{decide(table, config.blend, None).reason}\n")
    trained = train(interactions, config, seed=options.seed, progress=_tell)
    version = options.version or f"through-{EPOCH + timedelta(days=trained.trained_through)}"
    content_hash = _write(trained, options.out, version, metrics)
    sys.stdout.write(f"{version} {content_hash} {options.out}\n")
    return 0


def _write(trained: TrainedModel, out: str, version: str, metrics: dict[str, Any]) -> str:
    """Write artefact and card to a directory or a URL, and give the content hash."""
    with TemporaryDirectory(prefix="recommender-") as folder:
        place = Path(folder) / "model" if is_url(out) else Path(out)
        content_hash = trained.write(place, version=version, metrics=metrics)
        write_card(place, read_manifest(place), metrics)
        if is_url(out):
            put_artifact(place, out)
    return content_hash


def _recommend(options: argparse.Namespace) -> int:
    """Write a table of lists; all of the file is history."""
    # Mapped files stay open although the copy of what lies in a store is gone.
    with local_copy(options.model) as place:
        model = ServedModel.open(place)
    interactions = _read(options)
    known = model.known_share(interactions.items.ids)
    if known < _LEAST_KNOWN:
        raise InvalidConfig(
            f"{options.model} knows {known:.0%} of the items of {options.file}: another catalogue"
        )
    lines = list_for(
        model,
        interactions,
        today=interactions.last_day + 1 if options.today is None else _day(options.today),
        limit=options.limit,
        mode=options.mode,
        users=options.user,
    )
    sys.stdout.write(f"{options.out} {write_lists(lines, options.out)} lines\n")
    return 0


def _read(options: argparse.Namespace) -> Interactions:
    """Read the file that was named, under the columns that were."""
    pairs = [one.partition("=") for one in options.columns.split(",")] if options.columns else []
    wrong = [name for name, _, column in pairs if name not in _COLUMNS or not column]
    if wrong:
        raise InvalidConfig(f"--columns takes {', '.join(_COLUMNS)}, each =COLUMN; not {wrong[0]!r}")
    return read_source(options.file, columns={name: column for name, _, column in pairs})


def _day(text: str) -> int:
    try:
        return day_number(date.fromisoformat(text))
    except ValueError as wrong:
        raise InvalidConfig(f"{text!r} is not a day as YYYY-MM-DD") from wrong


def _evaluate(options: argparse.Namespace) -> int:
    table = _measure(options, _read(options), _config(options))
    sys.stdout.write(json.dumps(table.as_dict(), indent=2) if options.json else as_text(table))
    sys.stdout.write("\n")
    return 0


def _report(options: argparse.Namespace) -> int:
    """Write one page with a section per source, and the plot beside it."""
    page = Path(options.page)
    found: list[tuple[str, dict[str, Any]]] = []
    for named in options.sources:
        name, _, source = named.partition("=")
        if not source:
            raise InvalidConfig(f"{named!r} is not NAME=FILE")
        found.append((name, _evaluated(options, source)))
    plot = page.with_suffix(".svg")
    parts = [
        "# How good the recommendations are\n",
        _HOW_MEASURED,
        _how_made(options, page),
        f"![Recall by method]({plot.name})\n",
    ]
    for name, evaluation in found:
        parts += [f"## {name}\n", evaluation_markdown(evaluation, level=3)]
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text("\n".join(parts))
    plot.write_text(to_svg(found))
    sys.stdout.write(f"{page} {plot}\n")
    return 0


def _how_made(options: argparse.Namespace, page: Path) -> str:
    """Give the command that makes the page again."""
    learned = f" --search --search-origins {options.search_origins}" if options.search else ""
    sampled = "" if options.max_users is None else f" --max-users {options.max_users}"
    settings = f"--origins {options.origins} --horizon-days {options.horizon_days} --seed {options.seed}"
    sources = " ".join(shlex.quote(one) for one in options.sources)
    return (
        "EASE is fitted where the active catalogue is small enough for it. Made by one command:\n\n"
        f"```\npython -m recommender report {page} {sources} \\\n  {settings}{learned}{sampled}\n```\n"
    )


def _evaluated(options: argparse.Namespace, source: str) -> dict[str, Any]:
    """Measure a source, or take what `evaluate --json` printed."""
    if not source.endswith(".json"):
        return _measure(options, read_source(source), _config(options)).as_dict()
    try:
        read: dict[str, Any] = json.loads(Path(source).read_text("utf-8"))
    except (OSError, ValueError) as unreadable:
        raise InvalidConfig(f"{source}: {unreadable}") from unreadable
    return read


def _config(options: argparse.Namespace) -> TrainingConfig:
    if not options.config:
        return TrainingConfig()
    try:
        return TrainingConfig.from_dict(json.loads(Path(options.config).read_text("utf-8")))
    except (OSError, ValueError) as unreadable:
        raise InvalidConfig(f"{options.config}: {unreadable}") from unreadable


def _measure(options: argparse.Namespace, interactions: Interactions, config: TrainingConfig) -> Evaluation:
    return evaluate(
        interactions,
        config,
        seed=options.seed,
        horizon_days=options.horizon_days,
        origins=options.origins,
        max_users=options.max_users,
        search=options.search,
        search_origins=options.search_origins,
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
