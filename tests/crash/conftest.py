"""What the tests that kill workers share besides a database."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from service.kit.db import open_engine
from tests.conftest import create_database, drop_database


@pytest.fixture
def database(server_url: str) -> Iterator[tuple[str, Engine]]:
    """A database of the test's own, which other processes can reach."""
    url = create_database(server_url)
    engine = open_engine(url, pool_size=4)
    yield url, engine
    engine.dispose()
    drop_database(server_url, url)
