"""One running service with a shop in it, for clients that public generators make of openapi.yaml."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

import pytest

from service.app import create_app
from service.kit.auth import ROLES, Role, create_key
from service.kit.db import open_engine, transaction
from service.kit.settings import Settings
from service.startup import make_ready
from tests.api.conftest import Client
from tests.clients import story
from tests.clients.recording import Recorder
from tests.conftest import create_database, drop_database
from tests.serving import serve_web

OPENAPI = Path(__file__).parents[2] / "openapi.yaml"
SECRET = "a secret of these tests"


@dataclass(frozen=True, slots=True)
class Service:
    """A running service and a key of every role."""

    url: str
    keys: Mapping[Role, str]


@pytest.fixture(scope="package")
def service(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service behind gunicorn: twelve teas, eleven members with orders, a trained model in force."""
    var = tmp_path_factory.mktemp("clients")
    database_url = create_database(server_url)
    engine = open_engine(database_url, pool_size=4)
    settings = Settings.from_environment({"TIDEMARK_VAR": str(var), "TIDEMARK_SECRET_KEY": SECRET})
    now = datetime.now(UTC)
    make_ready(engine, settings, now=now)
    with transaction(engine) as conn:
        keys = {role: create_key(conn, role=role, label="clients", now=now) for role in ROLES}
    recorder = Recorder(Client(create_app(settings, engine), engine, keys))
    for chapter in (story.fill_catalogue, story.enrol_members, story.sell, story.train):
        chapter(recorder)
    engine.dispose()
    environment = {"TIDEMARK_SECRET_KEY": SECRET}
    with serve_web(database_url=database_url, var=var, workers=1, environment=environment) as server:
        yield Service(server.url, keys)
    drop_database(server_url, database_url)
    shutil.rmtree(var)


def skip_loudly(request: pytest.FixtureRequest, reason: str) -> NoReturn:
    """Skip, and say so even where reasons of skipped tests are not shown."""
    reporter = request.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None:
        reporter.write_line(f"\nNOT TESTED: {reason}", yellow=True, bold=True)
    pytest.skip(reason)
