"""What integration tests share besides a database."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from service.kit import migrate
from service.kit.db import open_engine
from tests.conftest import create_database, drop_database
from tests.integration.uci import DATA, UciShop, open_shop, read_rows


@pytest.fixture(scope="session")
def uci_shop(server_url: str) -> Iterator[UciShop]:
    """The whole UCI data set in a database of its own; tests may read it, and bring the same in again."""
    if not DATA.exists():
        pytest.skip(f"The UCI data set is not at {DATA}; its twin runs on a generated slice.")
    url = create_database(server_url)
    engine = open_engine(url, pool_size=8)
    migrate.upgrade(engine)
    yield open_shop(engine, DATA, read_rows(DATA))
    engine.dispose()
    drop_database(server_url, url)
