"""A database in which a shop's story was told through the API, for a service that runs on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from service.app import create_app
from service.kit.auth import ROLES, Role, create_key
from service.kit.db import open_engine, transaction
from service.kit.settings import Settings
from service.startup import make_ready
from tests.api.conftest import Client
from tests.clients.recording import Recorder
from tests.conftest import create_database, drop_database

SECRET = "a secret of these tests"


@contextmanager
def shop_told(
    server_url: str, *, var: Path, label: str, chapters: Sequence[Callable[[Recorder], object]]
) -> Iterator[tuple[str, Mapping[Role, str], Recorder]]:
    """Make a database, tell the chapters in it, and yield its address, a key of every role and the recorder.

    Who serves it needs the same secret; the database is dropped when the block ends.
    """
    database_url = create_database(server_url)
    engine = open_engine(database_url, pool_size=4)
    settings = Settings.from_environment({"TIDEMARK_VAR": str(var), "TIDEMARK_SECRET_KEY": SECRET})
    now = datetime.now(UTC)
    make_ready(engine, settings, now=now)
    with transaction(engine) as conn:
        keys = {role: create_key(conn, role=role, label=label, now=now) for role in ROLES}
    recorder = Recorder(Client(create_app(settings, engine), engine, keys))
    for chapter in chapters:
        chapter(recorder)
    yield database_url, keys, recorder
    engine.dispose()
    drop_database(server_url, database_url)
