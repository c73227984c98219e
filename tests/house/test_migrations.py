"""Migrations: one line of them, up and down and up again, and the same schema as the models."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

from service.kit import migrate
from service.kit.db import open_engine
from service.shelves import metadata
from tests.conftest import create_database, drop_database
from tests.house.sources import ROOT

# Not in the models: the job queue has its own schema, partitions come and go, alembic keeps its place.
FOREIGN = re.compile(r"procrastinate_|alembic_version|.*_default$|.*_y\d{4}m\d\d$")


@pytest.fixture
def empty(server_url: str) -> Iterator[Engine]:
    """An engine on a database with nothing in it."""
    url = create_database(server_url)
    engine = open_engine(url, pool_size=3)
    yield engine
    engine.dispose()
    drop_database(server_url, url)


SNAPSHOT = {
    "columns": """
        SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity,
               a.attcollation::regcollation::text, pg_get_expr(d.adbin, d.adrelid)
        FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
        LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
          AND a.attnum > 0 AND NOT a.attisdropped""",
    "constraints": """
        SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid)
        FROM pg_constraint
        WHERE connamespace = 'public'::regnamespace AND conrelid <> 0 AND contype <> 'n'""",
    "indexes": """
        SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'""",
    "partitioning": """
        SELECT partrelid::regclass::text, pg_get_partkeydef(partrelid) FROM pg_partitioned_table""",
}
DATABASE_ONLY = {
    "triggers": """
        SELECT tgrelid::regclass::text, tgname, pg_get_triggerdef(oid) FROM pg_trigger
        WHERE NOT tgisinternal""",
    "functions": """
        SELECT proname, prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace""",
    "types": """
        SELECT typname, typtype::text FROM pg_type
        WHERE typnamespace = 'public'::regnamespace AND typtype IN ('e', 'd')""",
    "sequences": """
        SELECT relname, relkind::text FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind IN ('S', 'v', 'm')""",
}


def take_snapshot(conn: Connection, parts: dict[str, str], *, ours: bool) -> dict[str, set[tuple[Any, ...]]]:
    """Everything that PostgreSQL's own catalogue says of the schema."""
    return {
        part: {tuple(row) for row in conn.execute(text(sql)) if not (ours and FOREIGN.match(row[0]))}
        for part, sql in parts.items()
    }


def snapshot_all(engine: Engine) -> dict[str, set[tuple[Any, ...]]]:
    with engine.connect() as conn:
        found = take_snapshot(conn, SNAPSHOT | DATABASE_ONLY, ours=False)
    return {
        part: {row for row in rows if not row[0].startswith("alembic_version")}
        for part, rows in found.items()
    }


def script_directory() -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", str(ROOT / "migrations"))
    return ScriptDirectory.from_config(config)


def test_there_is_one_head_and_one_line_of_migrations() -> None:
    script = script_directory()
    assert script.get_heads() == [migrate.head_revision()]
    assert len(script.get_bases()) == 1
    assert all(not revision.is_merge_point for revision in script.walk_revisions())


def test_migrations_are_numbered_without_gaps_and_named_for_what_they_do() -> None:
    numbers = sorted(revision.revision for revision in script_directory().walk_revisions())
    assert numbers == [f"{number:04}" for number in range(1, len(numbers) + 1)]
    for path in (ROOT / "migrations" / "versions").glob("[!_]*.py"):
        assert re.fullmatch(r"\d{4}_[a-z_]+\.py", path.name)


def test_every_migration_goes_up_down_and_up_again(empty: Engine) -> None:
    for revision in reversed(list(script_directory().walk_revisions())):
        before = snapshot_all(empty)
        migrate.upgrade(empty, revision=revision.revision)
        after = snapshot_all(empty)
        migrate.downgrade(empty, revision=str(revision.down_revision or "base"))
        assert snapshot_all(empty) == before, f"{revision.revision} does not undo itself"
        migrate.upgrade(empty, revision=revision.revision)
        assert snapshot_all(empty) == after
    with empty.connect() as conn:
        assert migrate.current_revision(conn) == migrate.head_revision()


def test_all_the_way_down_leaves_nothing(empty: Engine) -> None:
    migrate.upgrade(empty)
    migrate.downgrade(empty, revision="base")
    assert all(not rows for rows in snapshot_all(empty).values())


def test_upgrading_twice_changes_nothing(empty: Engine) -> None:
    migrate.upgrade(empty)
    before = snapshot_all(empty)
    migrate.upgrade(empty)
    assert snapshot_all(empty) == before


def test_alembic_finds_no_difference_between_models_and_migrations(shared_engine: Engine) -> None:
    def ours(_object: Any, name: str | None, kind: str, _reflected: bool, _other: Any) -> bool:
        return kind != "table" or not FOREIGN.match(name or "")

    with shared_engine.connect() as conn:
        options = {"compare_type": True, "compare_server_default": True, "include_object": ours}
        context = MigrationContext.configure(conn, opts=options)
        assert compare_metadata(context, metadata) == []


@pytest.mark.parametrize("part", sorted(SNAPSHOT))
def test_tables_made_from_the_models_are_those_of_the_migrations(
    shared_engine: Engine, empty: Engine, part: str
) -> None:
    """Reads the catalogue, which also shows checks, collations and partitions that alembic leaves out."""
    with empty.begin() as conn:
        metadata.create_all(conn)
        modelled = take_snapshot(conn, SNAPSHOT, ours=True)
    with shared_engine.connect() as conn:
        migrated = take_snapshot(conn, SNAPSHOT, ours=True)
    assert sorted(map(str, modelled[part] ^ migrated[part])) == []


def test_every_partitioned_table_has_a_default_partition(shared_engine: Engine) -> None:
    with shared_engine.connect() as conn:
        missing = conn.scalars(
            text("SELECT partrelid::regclass::text FROM pg_partitioned_table WHERE partdefid = 0")
        ).all()
    assert missing == []


def test_every_constraint_has_a_name_of_ours(shared_engine: Engine) -> None:
    with shared_engine.connect() as conn:
        found = take_snapshot(conn, {"constraints": SNAPSHOT["constraints"]}, ours=True)["constraints"]
    assert not [row for row in found if not re.match(r"(pk|uq|ck|fk|ux|ex)_", row[1])]
