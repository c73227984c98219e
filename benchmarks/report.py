"""The table: on the terminal, in Markdown, and as a picture of how much of each budget is used."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path

from benchmarks.results import Row

_HEADINGS = ("what", "figure", "baseline", "ratio", "budget", "verdict")


def _cells(row: Row) -> tuple[str, ...]:
    sign = "≥" if row.at_least else "≤"
    return (
        row.what,
        row.figure,
        row.baseline,
        "" if row.ratio is None else f"{row.ratio:.2f}",
        "" if row.budget is None else f"{sign} {row.budget:g}",
        row.verdict,
    )


def to_text(rows: Sequence[Row]) -> str:
    """Return the table for a terminal, notes below their lines."""
    table = [_HEADINGS, *map(_cells, rows)]
    widths = [max(len(line[column]) for line in table) for column in range(len(_HEADINGS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(table[0], widths, strict=True))]
    lines.append("  ".join("-" * width for width in widths))
    for row, cells in zip(rows, table[1:], strict=True):
        lines.append("  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip())
        if row.note:
            lines.append(f"    {row.note}")
    return "\n".join(lines)


def write(rows: Sequence[Row], folder: Path, *, settings: str) -> None:
    """Write `latest.md` and `latest.svg`."""
    folder.mkdir(parents=True, exist_ok=True)
    head = (
        "# Benchmarks\n\n"
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, {platform.machine()}, "
        f"Python {platform.python_version()}; {settings}.\n"
        "Ratios are medians over rounds that alternate with their baseline; absolute figures are context.\n\n"
        "![Share of each budget used](latest.svg)\n\n"
    )
    body = [f"| {' | '.join((*_HEADINGS, 'note'))} |", "| --- | --- | --- | ---: | ---: | --- | --- |"]
    body += [f"| {' | '.join((*_cells(row), row.note))} |" for row in rows]
    (folder / "latest.md").write_text(head + "\n".join(body) + "\n")
    (folder / "latest.svg").write_text(to_svg([row for row in rows if row.used is not None]))


def to_svg(rows: Sequence[Row]) -> str:
    """Return one bar a row, as long as the share of its budget; the line is the budget."""
    step, left, whole = 22, 330, 300
    height = step * len(rows) + 30
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + whole * 2}" height="{height}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{left + whole * 2}" height="{height}" fill="#fff"/>',
    ]
    for number, row in enumerate(rows):
        used, top = row.used or 0.0, step * number + 8
        colour = "#2a7f62" if used <= 1 else "#b3402a"
        width = min(used, 1.8) * whole
        parts.append(f'<text x="{left - 8}" y="{top + 12}" text-anchor="end">{escape(row.what)}</text>')
        parts.append(f'<rect x="{left}" y="{top}" width="{width:.0f}" height="16" fill="{colour}"/>')
        parts.append(f'<text x="{left + width + 6:.0f}" y="{top + 12}">{used:.0%}</text>')
    end = left + whole
    parts.append(f'<path d="M{end} 2V{height - 16}" stroke="#333" stroke-dasharray="4 3"/>')
    parts.append(f'<text x="{end}" y="{height - 4}" text-anchor="middle">budget</text></svg>')
    return "\n".join(parts) + "\n"
