"""An uploaded file, a real worker: imported in the background, and again when the first worker died."""

from __future__ import annotations

import asyncio
import io
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from service import worker
from service.intake.bulk import staging
from service.kit.db import transaction
from service.kit.sealing import Sealer
from service.kit.settings import Settings
from service.programme.operations import Programme


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.from_environment({"TIDEMARK_VAR": str(tmp_path), "TIDEMARK_SECRET_KEY": "a test's own"})


def upload(engine: Engine, settings: Settings, *, members: int) -> str:
    body = b"".join(json.dumps({"member_id": f"m{number}"}).encode() + b"\n" for number in range(members))
    with transaction(engine) as conn:
        started = staging.stage_import(
            conn,
            kind="members",
            source_name="members.ndjson",
            fmt="ndjson",
            file=io.BytesIO(body),
            sha256=b"\x00" * 32,
            requested_by="operations:k",
            sealer=Sealer(settings.secret_key),
            now=datetime.now(UTC),
        )
    return str(started["import_id"])


def status_of(engine: Engine, import_id: str) -> str:
    with transaction(engine) as conn:
        return str(staging.get_import(conn, import_id=import_id)["status"])


def work_off(engine: Engine, settings: Settings) -> None:
    """Let a worker do what is waiting, and end."""
    url = engine.url.render_as_string(hide_password=False)
    app = worker.build(settings, engine, url)
    with app.open():
        app.run_worker(wait=False, install_signal_handlers=False)


def test_a_worker_imports_what_was_uploaded_one_file_after_the_other(
    engine: Engine, programme: Programme, settings: Settings
) -> None:
    imports = [upload(engine, settings, members=5), upload(engine, settings, members=8)]
    work_off(engine, settings)
    assert [status_of(engine, import_id) for import_id in imports] == ["done", "done"]
    with engine.connect() as conn:
        assert conn.execute(text("SELECT count(*) FROM members")).scalar_one() == 8


def test_a_job_whose_worker_died_in_the_middle_is_run_again(
    engine: Engine, programme: Programme, settings: Settings
) -> None:
    import_id = upload(engine, settings, members=5)
    with transaction(engine) as conn:
        # What a worker leaves behind that was killed after it had taken the job.
        dead = conn.execute(
            text(
                "INSERT INTO procrastinate_workers (last_heartbeat) VALUES (now() - interval '1 hour') "
                "RETURNING id"
            )
        ).scalar_one()
        conn.execute(
            text("UPDATE procrastinate_jobs SET status = 'doing', worker_id = :dead"), {"dead": dead}
        )
        conn.execute(text("UPDATE imports SET status = 'loading'"))
    app = worker.build(settings, engine, engine.url.render_as_string(hide_password=False))

    async def rescue() -> None:
        async with app.open_async():
            await app.tasks["jobs.rescue"].func(0)

    asyncio.run(rescue())
    work_off(engine, settings)
    assert status_of(engine, import_id) == "done"
