"""One running service for all contract tests, with a member, an item and an order in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from service.kit.auth import ROLES, Role, create_key
from service.kit.db import open_engine, transaction
from service.kit.settings import Settings
from service.startup import make_ready
from tests.conftest import create_database, drop_database
from tests.serving import serve_web


@dataclass(frozen=True, slots=True)
class Service:
    """A running service and a key of every role."""

    url: str
    port: int
    keys: Mapping[Role, str]
    log: Path


@pytest.fixture(scope="module")
def service(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service behind gunicorn, on a database of its own."""
    folder = tmp_path_factory.mktemp("contract")
    database_url = create_database(server_url)
    engine = open_engine(database_url, pool_size=2)
    settings = Settings.from_environment({"TIDEMARK_VAR": str(folder)})
    now = datetime.now(UTC)
    make_ready(engine, settings, now=now)
    with transaction(engine) as conn:
        keys = {role: create_key(conn, role=role, label="contract", now=now) for role in ROLES}
    engine.dispose()
    with serve_web(database_url=database_url, var=folder, workers=1) as server:
        yield Service(server.url, server.port, keys, server.log)
    drop_database(server_url, database_url)
