"""A shop with a trained model, for tests that ask for answers."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine

from service.experiments import operations as experiments
from service.programme.operations import Programme
from service.programme.rules import default_values, read_settings
from service.recommendations.artefacts import ModelsFolder
from service.recommendations.attribution import AttributionKeys
from service.recommendations.judging import Measuring
from service.recommendations.register import Registered
from service.recommendations.serving import Serving
from service.recommendations.training import train_model
from tests.conftest import wipe
from tests.integration.recommendations.shop import NOON, Shop, days_before

ITEMS = 30
PROGRAMME = Programme("TWD", "Asia/Taipei", read_settings(1, default_values("TWD")))


def fill(shop: Shop, *, members: int = 40, seed: int = 7) -> None:
    """Fill a shop with members who come back for their own few things, over two hundred days."""
    random_ = random.Random(seed)
    for number in range(ITEMS):
        names = {"en": f"Tea {number:02}", "zh-Hant": f"茶 {number:02}"}
        shop.item(
            f"sku-{number:02}", names=names, categories=["tea", f"group-{number % 3}"], at=days_before(300)
        )
    for number in range(members):
        key = shop.member(f"member-{number:03}", tier="base")
        own = random_.sample(range(ITEMS), 4)
        for visit in range(6):
            day = 200 - visit * 30 - random_.randrange(10)
            skus = [*random_.sample(own, 2), random_.randrange(ITEMS)]
            shop.order(key, {f"sku-{sku:02}": 1 for sku in skus}, at=days_before(day))


@dataclass(frozen=True)
class Running:
    """A committed shop with a model in force."""

    engine: Engine
    serving: Serving
    models_folder: Path
    model: Registered


def open_serving(folder: ModelsFolder) -> Serving:
    """Return a process's serving state, as a fresh worker has it."""
    return Serving(models_folder=folder, keys=AttributionKeys.derive(b"secret"), timezone=PROGRAMME.timezone)


QUICK = Measuring(search=False, members=10, origins=1)
"""For tests that do not ask how well a model ranks."""


@pytest.fixture
def running(engine: Engine, tmp_path: Path) -> Running:
    """A filled shop, a trained model in force, and the global hold-out."""
    return open_shop(engine, tmp_path, measuring=QUICK)


@pytest.fixture
def judged(engine: Engine, tmp_path: Path) -> Running:
    """The same, its blend learned and its figures measured as a shop's own are."""
    return open_shop(engine, tmp_path, measuring=Measuring())


@pytest.fixture(scope="module")
def standing(shared_engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The same once for a whole file, whose tests leave behind only what the others do not look at."""
    yield open_shop(shared_engine, tmp_path_factory.mktemp("models"), measuring=QUICK)
    wipe(shared_engine)


def open_shop(engine: Engine, folder: Path, *, measuring: Measuring) -> Running:
    """Fill a shop and train its first model."""
    with engine.begin() as conn:
        experiments.ensure_global_holdout(conn, now=days_before(100), today=NOON.date())
        fill(Shop(conn))
    model = train_model(engine, models_folder=folder, programme=PROGRAMME, now=NOON, measuring=measuring)
    return Running(engine, open_serving(folder), folder, model)


@pytest.fixture
def shop(conn: Connection) -> Shop:
    return Shop(conn)
