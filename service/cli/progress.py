"""Show how far a long command is: a bar on a terminal, JSON lines otherwise."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import orjson
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

_LINE_EVERY_SECONDS = 2.0


class Report(Protocol):
    """Called with the stage, how much is done, and how much there is (None: unknown)."""

    def __call__(self, stage: str, done: int, total: int | None) -> None:
        """Show it."""


@contextmanager
def show_progress() -> Iterator[Report]:
    """Yield a function that shows progress on standard error."""
    if sys.stderr.isatty():
        with _bars() as report:
            yield report
        return
    yield _Lines()


@contextmanager
def _bars() -> Iterator[Report]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        tasks: dict[str, object] = {}

        def report(stage: str, done: int, total: int | None) -> None:
            if stage not in tasks:
                tasks[stage] = progress.add_task(stage, total=total)
            progress.update(tasks[stage], completed=done, total=total)  # type: ignore[arg-type]

        yield report


class _Lines:
    """One JSON object every few seconds, and one whenever a stage begins or ends."""

    def __init__(self) -> None:
        self._stage = ""
        self._next = 0.0

    def __call__(self, stage: str, done: int, total: int | None) -> None:
        now = time.monotonic()
        if stage == self._stage and now < self._next and done != total:
            return
        self._stage, self._next = stage, now + _LINE_EVERY_SECONDS
        line = orjson.dumps({"stage": stage, "done": done, "total": total})
        sys.stderr.write(line.decode() + "\n")
        sys.stderr.flush()
