"""The project's own source files, parsed once for every test of the house."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("service", "recommender", "migrations", "tests", "benchmarks")

ROOMS = (
    "kit",
    "programme",
    "access",
    "members",
    "catalogue",
    "activity",
    "ledger",
    "earning",
    "tiers",
    "experiments",
    "rewards",
    "recommendations",
    "campaigns",
    "feedback",
    "insights",
    "profiles",
    "intake",
    "chronicle",
    "webhooks",
    "console",
)
"""Lowest first; those that do not exist yet are left out by `list_rooms`."""

WIRING = ("app", "cli", "documents", "gunicorn_conf", "laws", "shelves", "startup", "worker", "wsgi")
"""The only modules that may know every room."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Source:
    """One Python file: its path from the root with slashes, its text and its tree."""

    path: str
    text: str
    tree: ast.Module

    @property
    def room(self) -> str | None:
        """The room of `service` this file belongs to, None elsewhere."""
        parts = self.path.split("/")
        return parts[1] if parts[0] == "service" and parts[1] in ROOMS else None

    @cached_property
    def _nodes(self) -> tuple[ast.AST, ...]:
        return tuple(ast.walk(self.tree))

    def list_functions(self) -> Iterator[Function]:
        """Yield every function, inner ones and methods too."""
        for node in self._nodes:
            if isinstance(node, Function):
                yield node

    def list_imports(self) -> Iterator[str]:
        """Yield every imported module, and `module.name` for names imported from one."""
        for node in self._nodes:
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                yield node.module
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


def list_sources(*packages: str) -> tuple[Source, ...]:
    """Return every Python file of the packages (all of ours when none is named)."""
    return tuple(source for package in packages or PACKAGES for source in _sources_of(package))


@cache
def _sources_of(package: str) -> tuple[Source, ...]:
    found = []
    for path in sorted((ROOT / package).rglob("*.py")):
        text = path.read_text()
        found.append(Source(path.relative_to(ROOT).as_posix(), text, ast.parse(text)))
    return tuple(found)


def list_rooms() -> list[str]:
    """Return the rooms that exist, lowest first."""
    return [room for room in ROOMS if (ROOT / "service" / room / "__init__.py").exists()]
