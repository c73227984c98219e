"""Bring the database's schema to the newest numbered migration, or back."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

import migrations

# Two deployments that start at once must not migrate at once.
_MIGRATION_LOCK = 7_446_235_201


def _config(conn: Connection | None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    config.attributes["connection"] = conn
    return config


def upgrade(engine: Engine, *, revision: str = "head") -> None:
    """Apply every migration up to `revision`; safe to run from several processes at once."""
    with engine.connect() as conn:
        conn.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": _MIGRATION_LOCK})
        conn.commit()
        try:
            command.upgrade(_config(conn), revision)
            conn.commit()
        finally:
            conn.rollback()
            conn.execute(text("SELECT pg_advisory_unlock(:lock)"), {"lock": _MIGRATION_LOCK})
            conn.commit()


def downgrade(engine: Engine, *, revision: str) -> None:
    """Undo migrations down to `revision` (`base` for all)."""
    with engine.connect() as conn:
        command.downgrade(_config(conn), revision)
        conn.commit()


def current_revision(conn: Connection) -> str | None:
    """Return the revision the database stands at, or None when it is empty."""
    return MigrationContext.configure(conn).get_current_revision()


def head_revision() -> str:
    """Return the newest revision this code knows."""
    head = ScriptDirectory.from_config(_config(None)).get_current_head()
    if head is None:
        raise RuntimeError("there are no migrations")
    return head
