"""Tell people what a model is worth: a card per version in Markdown, JSON and SVG.

Everything comes from the manifest and from what `evaluate` found, so a card can be written again at any time.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from datetime import timedelta
from html import escape
from pathlib import Path
from typing import Any

from recommender.arms import DISCOVER_AS, SERVED_AS
from recommender.artifact import EPOCH, Manifest

Table = Mapping[str, Mapping[str, Any]]

SERVED = {"methods": "mixed", "discover": "discover", "newcomers": "mixed"}
_TITLES = {
    "methods": "Everything taken",
    "discover": "New items only",
    "newcomers": "Members without a history",
}
_COLUMNS = {
    "recall": "recall",
    "recall_capped": "÷ min(k, truth)",
    "ndcg": "NDCG",
    "hit_rate": "hit rate",
    "repeat_recall": "repeat",
    "explore_recall": "explore",
    "coverage": "coverage",
    "novelty": "novelty",
    "diversity": "diversity",
    "calibration_error": "calibration",
    "fallback_share": "fallback",
}


def card_of(manifest: Manifest, evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """Give the card as JSON-able data."""
    return {
        "version": manifest.version,
        "content_hash": manifest.content_hash,
        "data": {
            "from": str(EPOCH + timedelta(days=manifest.trained_from)),
            "through": str(EPOCH + timedelta(days=manifest.trained_through)),
            **manifest.counts,
        },
        "parameters": manifest.parameters,
        "seed": manifest.seed,
        "libraries": manifest.libraries,
        "evaluation": evaluation,
        "findings": findings(evaluation),
    }


def write_card(
    folder: str | os.PathLike[str], manifest: Manifest, evaluation: Mapping[str, Any]
) -> dict[str, Any]:
    """Write card.json, card.md and card.svg into a folder and give the card; outside the content hash."""
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    card = card_of(manifest, evaluation)
    (place / "card.json").write_text(json.dumps(card, indent=2, sort_keys=True, ensure_ascii=False) + "\n")
    (place / "card.md").write_text(as_markdown(card))
    if evaluation:
        (place / "card.svg").write_text(to_svg([("this model", evaluation)]))
    return card


def as_markdown(card: Mapping[str, Any]) -> str:
    """Give the card as Markdown."""
    data = card["data"]
    head = (
        f"# Model {card['version']}\n\n"
        f"Content hash `{card['content_hash']}`. Learned from {data['from']} to {data['through']}: "
        f"{data['interactions']:,} takings of {data['items']:,} items by {data['users']:,} users; "
        f"seed {card['seed']}.\n\n"
    )
    if not card["evaluation"]:
        return head + "Not measured: the history is too short to hold some of it back.\n"
    return head + "![Recall with its rivals](card.svg)\n\n" + evaluation_markdown(card["evaluation"])


def evaluation_markdown(evaluation: Mapping[str, Any], *, level: int = 2) -> str:
    """Give the tables of an evaluation, what was found, who is served how, and by length of history."""
    sharp = "#" * level
    k, origins = evaluation["k"], evaluation["origins"]
    cuts = ", ".join(
        f"{EPOCH + timedelta(days=one['cut_day'])} ({one['users']} members, {one['newcomers']} new)"
        for one in origins
    )
    parts = [
        f"k = {k}, horizon {evaluation['horizon_days']} days, cuts {cuts}.\n",
        "\n".join(f"- {sentence}" for sentence in findings(evaluation)) + "\n",
    ]
    for table, title in _TITLES.items():
        if evaluation[table]:
            gaps = {} if table == "newcomers" else evaluation["differences"].get(SERVED[table], {})
            parts.append(f"{sharp} {title}\n")
            parts.append(_figures(evaluation[table], gaps, SERVED[table], in_force(evaluation, table)))
    parts.append(f"{sharp} By length of history\n")
    parts.append(_by_history(evaluation))
    if "recall_by_group" in evaluation["methods"]["mixed"]:
        parts.append(f"{sharp} By tier\n")
        parts.append(_by_segment(evaluation, "recall_by_group"))
    return "\n".join(parts)


def findings(evaluation: Mapping[str, Any]) -> list[str]:
    """Say plainly where the served lists win, where they do not, and what is in force."""
    if not evaluation:
        return []
    sentences = []
    for served, gaps in sorted(evaluation["differences"].items(), reverse=True):
        above = [name for name, gap in gaps.items() if gap["low"] > 0]
        below = [name for name, gap in gaps.items() if gap["high"] < 0]
        open_ = sorted(set(gaps) - {*above, *below})
        sentences.append(f"`{served}` is above {len(above)} of {len(gaps)} methods with its whole interval.")
        if below:
            sentences.append(f"`{served}` is **below** {_names(below)}: there the baseline wins.")
        if open_:
            sentences.append(f"Between `{served}` and {_names(open_)} nothing is settled.")
    for served, arm in sorted(evaluation.get("served", {}).items(), reverse=True):
        told = "the learned blend" if arm == "learned" else f"**the baseline `{arm}`**, which found no less"
        sentences.append(f"In force for `{served}`: {told}.")
    for served in ("mixed", "discover"):
        kinds = [one[served] for one in evaluation["chosen"]]
        sentences.append(f"`{served}` as chosen on earlier origins, latest cut first: {', '.join(kinds)}.")
    return sentences


def in_force(evaluation: Mapping[str, Any], table: str) -> str:
    """Give the method of a table that is served: the learned list, or the baseline in its place."""
    arm = evaluation.get("served", {}).get(SERVED[table], "learned")
    named: Mapping[Any, str] = DISCOVER_AS if table == "discover" else SERVED_AS
    return SERVED[table] if arm == "learned" else named[arm]


def _names(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _figures(table: Table, gaps: Mapping[str, Mapping[str, float]], served: str, in_force: str) -> str:
    heads = ["method", *_COLUMNS.values(), "by origin", f"`{served}` minus it (95 %)"]
    lines = [f"| {' | '.join(heads)} |", f"| --- | {' | '.join(['---:'] * (len(heads) - 1))} |"]
    for name, one in sorted(table.items(), key=lambda entry: (-entry[1]["recall"], entry[0])):
        gap = gaps.get(name)
        told = "" if gap is None else f"{gap['difference']:+.4f} [{gap['low']:+.4f}, {gap['high']:+.4f}]"
        label = f"**{name}**" if name in (in_force, "buy_again") else name
        cells = [f"{one[column]:.4f}" for column in _COLUMNS]
        by_origin = " ".join(f"{value:.4f}" for value in one["recall_by_origin"])
        lines.append(f"| {' | '.join([label, *cells, by_origin, told])} |")
    return "\n".join(lines) + "\n"


def _by_segment(evaluation: Mapping[str, Any], kind: str) -> str:
    """Give recall of every method by segment, best method first."""
    users = evaluation["methods"]["mixed"][kind]
    segments = list(users)
    lines = [f"| method | {' | '.join(segments)} |", f"| --- | {' | '.join(['---:'] * len(segments))} |"]
    ranked = sorted(evaluation["methods"].items(), key=lambda entry: (-entry[1]["recall"], entry[0]))
    lines.append(f"| members × origins | {' | '.join(str(users[one]['users']) for one in segments)} |")
    for name, one in ranked:
        cells = [f"{one[kind][segment]['recall']:.4f}" for segment in segments]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _by_history(evaluation: Mapping[str, Any]) -> str:
    """Give recall by days with a purchase, and how those without a history are served."""
    table = _by_segment(evaluation, "recall_by_history")
    fallback = evaluation["methods"]["mixed"]["fallback_share"]
    told = f"\nOf members with a history {1 - fallback:.1%} are served personally, the rest by popularity"
    if evaluation["newcomers"]:
        share = evaluation["newcomers"]["mixed"]["fallback_share"]
        told += f"; of those without, {share:.1%} by popularity"
    return table + told + ".\n"


def _colour(name: str, served: str, learned: str) -> str:
    if name in (served, "buy_again"):
        return "#2a7f62"
    return "#9cc8b6" if name == learned else "#8a94a0"


def to_svg(evaluations: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    """Draw recall of every method, one block per evaluation and table, what is served in green.

    A learned list that is not in force is pale green.
    """
    step, left, whole = 20, 190, 420
    parts: list[str] = []
    top = 10
    for title, evaluation in evaluations:
        for table in ("methods", "discover"):
            ranked = sorted(evaluation[table].items(), key=lambda entry: -entry[1]["recall"])
            longest = max((one["recall"] for _, one in ranked), default=0) or 1
            heading = escape(f"{title}: {_TITLES[table].lower()}, recall@{evaluation['k']}")
            parts.append(f'<text x="8" y="{top + 12}" font-weight="bold">{heading}</text>')
            top += step
            for name, one in ranked:
                colour = _colour(name, in_force(evaluation, table), SERVED[table])
                width = one["recall"] / longest * whole
                parts.append(f'<text x="{left - 8}" y="{top + 12}" text-anchor="end">{escape(name)}</text>')
                parts.append(
                    f'<rect x="{left}" y="{top}" width="{width:.0f}" height="14" fill="{colour}"/>'
                    f'<text x="{left + width + 6:.0f}" y="{top + 12}">{one["recall"]:.4f}</text>'
                )
                top += step
            top += step // 2
    size = f'width="{left + whole + 80}" height="{top}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12">',
            f'<rect {size} fill="#fff"/>',
            *parts,
            "</svg>\n",
        ]
    )
