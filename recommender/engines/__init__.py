"""Engines that fit, for batch jobs only.

Each fills the same two promises (`Factorise`, `FindNeighbours`), so that what is served does not depend on
where it was trained. Nothing that serves imports from here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from importlib.metadata import version as installed_version
from typing import Literal, get_args

from recommender.errors import InvalidConfig
from recommender.models.als import Factorise
from recommender.models.item_to_item import FindNeighbours

EngineName = Literal["local", "spark"]
ENGINES: tuple[str, ...] = get_args(EngineName)


@dataclass(frozen=True, slots=True)
class Engine:
    """Hold what fits the two models that are too large for plain numpy, and the versions it runs on."""

    name: str
    factorise: Factorise
    find_neighbours: FindNeighbours
    libraries: Mapping[str, str]


_IN_FORCE: ContextVar[Engine | None] = ContextVar("engine", default=None)


def engine_in_force() -> Engine:
    """Give the engine that `using_engine` opened, the local one otherwise."""
    return _IN_FORCE.get() or _local()


@contextmanager
def using_engine(name: str) -> Iterator[Engine]:
    """Open an engine by name; within, everything that trains, evaluation too, trains with it.

    InvalidConfig for an unknown name, EngineMissing when what it needs is not installed.
    """
    if name not in ENGINES:
        raise InvalidConfig(f"unknown engine {name!r}; there are {', '.join(ENGINES)}")
    if name == "spark":
        from recommender.engines.spark import open_spark

        with open_spark() as engine:
            yield from _in_force(engine)
    else:
        yield from _in_force(_local())


def _in_force(engine: Engine) -> Iterator[Engine]:
    token = _IN_FORCE.set(engine)
    try:
        yield engine
    finally:
        _IN_FORCE.reset(token)


def _local() -> Engine:
    from recommender.engines import local

    return Engine(
        "local", local.factorise, local.find_neighbours, {"implicit": installed_version("implicit")}
    )
