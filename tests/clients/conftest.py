"""One running service with a shop in it, for clients that public generators make of openapi.yaml."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pytest

from service.kit.auth import Role
from tests.clients import story
from tests.clients.told import SECRET, shop_told
from tests.serving import serve_web

OPENAPI = Path(__file__).parents[2] / "openapi.yaml"


@dataclass(frozen=True, slots=True)
class Service:
    """A running service and a key of every role."""

    url: str
    keys: Mapping[Role, str]


@pytest.fixture(scope="package")
def service(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service behind gunicorn: twelve teas, eleven members with orders, a trained model in force."""
    var = tmp_path_factory.mktemp("clients")
    chapters = (story.fill_catalogue, story.enrol_members, story.sell, story.train)
    environment = {"TIDEMARK_SECRET_KEY": SECRET}
    with (
        shop_told(server_url, var=var, label="clients", chapters=chapters) as (database_url, keys, _),
        serve_web(database_url=database_url, var=var, workers=1, environment=environment) as server,
    ):
        yield Service(server.url, keys)
    shutil.rmtree(var)


def skip_loudly(request: pytest.FixtureRequest, reason: str) -> NoReturn:
    """Skip, and say so even where reasons of skipped tests are not shown."""
    reporter = request.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None:
        reporter.write_line(f"\nNOT TESTED: {reason}", yellow=True, bold=True)
    pytest.skip(reason)
