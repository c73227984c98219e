"""A PostgreSQL of its own and the databases in it, each made when it is first asked for."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import Engine, text
from sqlalchemy.engine import make_url

from benchmarks import cpu, grow, shop
from benchmarks.baselines.bare_psycopg import connect
from benchmarks.drawn_model import draw_model
from benchmarks.shop import Sizes
from recommender.artifact import read_manifest
from recommender.training import TrainedModel, train
from service.intake.bulk import operations as imports
from service.kit.auth import create_key
from service.kit.db import dumps, open_engine
from service.kit.embedded import start_embedded
from service.kit.sealing import Sealer
from service.kit.settings import Settings
from service.programme.operations import Programme
from service.recommendations.operations import promote_model
from service.recommendations.training import read_interactions
from service.rewards.operations import put_reward
from service.startup import make_ready

MODEL = "bench.1"


@dataclass(frozen=True, slots=True)
class Database:
    """One database: its address, an engine of ours, and its programme."""

    url: str
    engine: Engine
    programme: Programme

    def backends(self) -> dict[int, float]:
        """Return the CPU seconds of the server processes that work for it, ours left out."""
        with self.engine.connect() as conn:
            found = conn.execute(
                text(
                    "SELECT pid FROM pg_stat_activity WHERE datname = current_database() "
                    "AND backend_type = 'client backend' AND application_name <> 'bench'"
                )
            ).scalars()
            return cpu.read(found)


class World:
    """Everything that rows share: a folder, a server, files, databases."""

    def __init__(self, folder: Path, server_url: str, sizes: Sizes) -> None:
        self.folder = folder
        self.sizes = sizes
        self.now = datetime.now(UTC)
        self._server_url = server_url
        self._names: dict[str, Engine] = {}

    def settings(self, *, currency: str = "TWD", timezone: str = "Asia/Taipei") -> Settings:
        """Return the settings of a service in this world."""
        return Settings.from_environment(
            {"TIDEMARK_VAR": str(self.folder), "TIDEMARK_CURRENCY": currency, "TIDEMARK_TIMEZONE": timezone}
        )

    def create(self, name: str, *, template: str | None = None, settings: Settings | None = None) -> Database:
        """Create a database, ready for use; as a copy of another one where `template` names it."""
        if template is not None:
            self._names[template].dispose()
        source = "" if template is None else f" TEMPLATE {template}"
        self._administer(f"CREATE DATABASE {name}{source}")
        url = make_url(self._server_url).set(database=name).render_as_string(hide_password=False)
        engine = open_engine(f"{url}&application_name=bench", pool_size=4)
        self._names[name] = engine
        return Database(url, engine, make_ready(engine, settings or self.settings(), now=self.now))

    def drop(self, name: str) -> None:
        """Drop a database."""
        self._names.pop(name).dispose()
        self._administer(f"DROP DATABASE {name} WITH (FORCE)")

    def dispose(self) -> None:
        """Close every connection of ours."""
        for engine in self._names.values():
            engine.dispose()

    def _administer(self, statement: str) -> None:
        with psycopg.connect(self._server_url, autocommit=True) as conn:
            conn.execute(statement.encode())

    def bring_in(self, database: Database, kind: str, source: Path) -> float:
        """Import a file and return the seconds it took."""
        started = time.perf_counter()
        imports.run_import(
            database.engine,
            kind=kind,
            source=source,
            programme=database.programme,
            sealer=Sealer(self.settings().secret_key),
            now=datetime.now(UTC),
        )
        return time.perf_counter() - started

    def connect(self, database: Database) -> psycopg.Connection[Any]:
        """Open a bare connection."""
        return connect(database.url)

    def make_key(self, database: Database) -> str:
        """Return a new key that may read and write."""
        with database.engine.begin() as conn:
            return create_key(conn, role="server", label="bench", now=self.now)

    @cached_property
    def orders_file(self) -> Path:
        """A year of orders."""
        path = self.folder / "orders.ndjson"
        shop.write_orders(path, members=self.sizes.members, items=self.sizes.items, now=self.now)
        return path

    @cached_property
    def base(self) -> Database:
        """Members and items, nothing bought yet."""
        tell(f"importing {self.sizes.members:,} members and {self.sizes.items:,} items")
        members, items = self.folder / "members.ndjson", self.folder / "items.ndjson"
        shop.write_members(members, count=self.sizes.members, now=self.now)
        shop.write_items(items, count=self.sizes.items)
        database = self.create("base")
        self.bring_in(database, "items", items)
        self.bring_in(database, "members", members)
        with database.engine.begin() as conn:
            # It has stood for a while: right after an import each process reads it again and again.
            conn.execute(text("UPDATE items SET updated_at = updated_at - interval '1 day'"))
        return database

    @cached_property
    def shop(self) -> Database:
        """A shop with a year of orders, their points and tiers, and a model of every item in force."""
        _ = self.base
        tell("importing a year of orders")
        database = self.create("shop", template="base")
        self.bring_in(database, "orders", self.orders_file)
        tell("training the model that answers")
        self._train(database)
        with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
            conn.execute(text("VACUUM (ANALYZE)"))
        return database

    @cached_property
    def rewarded(self) -> Database:
        """The same shop with rewards, half of them for goods of one category."""
        _ = self.shop
        database = self.create("rewarded", template="shop")
        with database.engine.begin() as conn:
            for number in range(shop.REWARDS):
                put_reward(
                    conn,
                    code=f"reward-{number:02d}",
                    body=shop.reward(number),
                    programme=database.programme,
                    actor="bench",
                    request_id=None,
                    now=self.now,
                )
        return database

    @cached_property
    def grown(self) -> Database:
        """The same shop with many times the members."""
        _ = self.shop
        tell(f"multiplying the shop by {self.sizes.growth}")
        database = self.create("grown", template="shop")
        grow.multiply_members(database.engine, times=self.sizes.growth)
        return database

    @property
    def wide_items(self) -> int:
        """How many items the wide shop has."""
        return 10 * self.sizes.items

    @cached_property
    def wide(self) -> Database:
        """The same shop with ten times the items, and a drawn model of all of them in force."""
        _ = self.shop
        tell(f"importing {self.wide_items:,} items")
        database, file = self.create("wide", template="shop"), self.folder / "wide.ndjson"
        shop.write_items(file, count=self.wide_items)
        self.bring_in(database, "items", file)
        skus = [shop.sku(number) for number in range(self.wide_items)]
        model = draw_model(skus, through_day=(self.now.date() - date(1970, 1, 1)).days)
        self._put_in_force(database, model, version=f"{MODEL}-wide")
        with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
            conn.execute(text("VACUUM (ANALYZE)"))
        return database

    @cached_property
    def learned(self) -> Database:
        """Purchases to learn from."""
        tell(f"making {self.sizes.learned_lines:,} order lines to learn from")
        database = self.create("learned")
        grow.add_purchases(
            database.engine,
            members=self.sizes.learned_members,
            items=self.sizes.items,
            lines=self.sizes.learned_lines,
            now=self.now,
        )
        return database

    def _train(self, database: Database) -> None:
        """Train as the job does, but put the model in force without a trial."""
        with database.engine.connect() as conn:
            interactions = read_interactions(conn, timezone=database.programme.timezone)
        self._put_in_force(database, train(interactions, seed=20), version=MODEL)

    def _put_in_force(self, database: Database, model: TrainedModel, *, version: str) -> None:
        folder = self.settings().var / "models"
        content_hash = model.write(folder / version, version=version)
        with database.engine.begin() as conn:
            conn.execute(
                text(
                    "INSERT INTO recommender_models "
                    "(version, status, location, content_hash, manifest, created_at) "
                    "VALUES (:version, 'candidate', :version, :hash, CAST(:manifest AS jsonb), :now)"
                ),
                {
                    "version": version,
                    "hash": content_hash,
                    "manifest": dumps(read_manifest(folder / version).as_dict()),
                    "now": self.now,
                },
            )
            promote_model(conn, version=version, models_folder=folder, actor="bench", now=self.now)


@contextmanager
def open_world(sizes: Sizes) -> Iterator[World]:
    """Yield a world in a temporary folder; nothing of it stays."""
    folder = Path(tempfile.mkdtemp(prefix="tidemark-bench-"))
    server = start_embedded(folder)
    world = World(folder, server.url, sizes)
    try:
        yield world
    finally:
        world.dispose()
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def tell(text: str) -> None:
    """Say on standard error what is going on."""
    print(f"… {text}", file=sys.stderr, flush=True)
