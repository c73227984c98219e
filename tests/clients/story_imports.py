"""A chapter of the story: last year's members come in as a file, and one of two files is called off."""

from __future__ import annotations

import io
from datetime import UTC, datetime

from service.intake.bulk import staging
from service.kit.db import transaction
from service.programme.operations import get_programme
from tests.clients.recording import Recorder

IMPORTS = "/v1/imports"
MEMBERS = b'{"member_id":"M90001","joined_at":"2025-03-01T10:00:00+08:00"}\n{"member_id":""}\n'


def bring_files(recorder: Recorder) -> None:
    """Upload a file and let the worker read it; look at what it refused; call another one off."""
    import_id = _upload(recorder, "members-2025")
    _work(recorder, import_id)
    recorder.call("GET", f"{IMPORTS}/{import_id}", role="operations")
    recorder.call("GET", f"{IMPORTS}/{import_id}/rejects", role="operations")
    recorder.call("GET", IMPORTS, role="operations")
    recorder.call("POST", f"{IMPORTS}/{import_id}/cancel", role="operations")
    recorder.call("GET", f"{IMPORTS}/imp_unknown", role="operations")
    other = _upload(recorder, "members-2025-again")
    recorder.call("POST", f"{IMPORTS}/{other}/cancel", role="operations")


def _upload(recorder: Recorder, key: str) -> str:
    headers = {"Idempotency-Key": key, "Content-Type": "application/x-ndjson"}
    started = recorder.call(
        "POST",
        IMPORTS,
        role="operations",
        query_string={"kind": "members", "source": "members-2025.ndjson"},
        headers=headers,
        input_stream=io.BytesIO(MEMBERS),
        content_length=len(MEMBERS),
    )
    return str(started["import_id"])


def _work(recorder: Recorder, import_id: str) -> None:
    desk = recorder.client.app.extensions["tidemark"]
    with transaction(recorder.client.engine) as conn:
        programme = get_programme(conn)
    staging.run_staged(
        recorder.client.engine,
        import_id=import_id,
        programme=programme,
        sealer=desk.sealer,
        now=datetime.now(UTC),
    )
