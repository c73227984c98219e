"""Bulk imports over HTTP: the file is taken at once, the worker does the rest."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, text

from service.intake.bulk import run as import_run
from service.intake.bulk import staging
from service.kit.db import transaction
from service.kit.sealing import Sealer
from service.programme.operations import get_programme
from tests.api.conftest import Client

NDJSON = "application/x-ndjson"
MEMBERS = [{"member_id": f"m{number}", "name": f"王小明{number}"} for number in range(30)]
ORDERS = [
    {
        "order_id": f"o{number}",
        "member_id": f"m{number % 30}",
        "placed_at": f"2026-0{1 + number % 9}-10T10:00:00+08:00",
        "currency": "TWD",
        "lines": [{"sku": "tea", "quantity": 1, "amount": "900"}],
    }
    for number in range(120)
]


def lines(records: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def send(client: Client, kind: str, body: bytes, *, key: str = "k1", **options: Any) -> Any:
    headers = {"Idempotency-Key": key, "Content-Type": options.pop("content_type", NDJSON)}
    return client.post(f"/v1/imports?kind={kind}", data=body, headers=headers, **options)


def see(client: Client, path: str) -> Any:
    return client.get(path).json


def cancel(client: Client, import_id: str) -> Any:
    return client.post(f"/v1/imports/{import_id}/cancel")


@pytest.fixture
def work(client: Client) -> Callable[[str], Any]:
    """Do what the worker would do with an import."""

    def run(import_id: str) -> Any:
        desk = client.app.extensions["tidemark"]
        with transaction(client.engine) as conn:
            programme = get_programme(conn)
        return staging.run_staged(
            client.engine,
            import_id=import_id,
            programme=programme,
            sealer=desk.sealer,
            now=datetime.now(UTC),
        )

    return run


def count(engine: Engine, table: str) -> int:
    with engine.connect() as conn:
        return int(conn.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())


def test_members_and_orders_are_uploaded_imported_and_rated(
    client: Client, work: Callable[[str], Any]
) -> None:
    for kind, records in (("members", MEMBERS), ("orders", ORDERS)):
        answer = send(client, kind, lines(records), key=kind)
        assert answer.status_code == 202
        import_id = answer.json["import_id"]
        assert (answer.json["status"], answer.json["progress"]) == ("staging", None)
        work(import_id)
        done = see(client, f"/v1/imports/{import_id}")
        assert (done["status"], done["records_new"], done["lines_rejected"]) == ("done", len(records), 0)
        assert done["progress"]["stage"] == "tiers and points"
    assert see(client, "/v1/members/m3/points")["lifetime_earned"] > 0
    assert count(client.engine, "import_parts") == 0, "an upload holds personal data: it goes when it is done"
    listed = see(client, "/v1/imports")["data"]
    assert [one["kind"] for one in listed] == ["orders", "members"]


def test_the_job_is_enqueued_with_the_upload_and_names_nobody(client: Client) -> None:
    import_id = send(client, "members", lines(MEMBERS)).json["import_id"]
    with client.engine.connect() as conn:
        jobs = conn.execute(
            text("SELECT task_name, args FROM procrastinate_jobs WHERE task_name = 'imports.run'")
        ).all()
        parts = b"".join(bytes(part) for part in conn.scalars(text("SELECT content FROM import_parts")))
    assert [(job.task_name, job.args) for job in jobs] == [("imports.run", {"import_id": import_id})]
    assert "王小明".encode() not in parts
    assert b"member_id" not in parts


def test_the_same_upload_with_its_key_is_one_import_and_another_body_is_refused(client: Client) -> None:
    first = send(client, "members", lines(MEMBERS))
    again = send(client, "members", lines(MEMBERS))
    assert again.json == first.json
    assert again.headers["Idempotent-Replayed"] == "true"
    other = send(client, "members", lines(MEMBERS[:-1]))
    assert (other.status_code, other.json["code"]) == (422, "idempotency-key-reused")
    assert count(client.engine, "imports") == 1


def test_csv_is_read_as_csv(client: Client, work: Callable[[str], Any]) -> None:
    send_members = send(client, "members", lines(MEMBERS), key="m").json
    work(send_members["import_id"])
    body = "event_id,type,occurred_at,member_id,page_depth\ne1,page_view,2026-05-01T10:00:00Z,m1,3\n" * 1
    body += "e2,custom:quiz,2026-05-01T10:00:00Z,nobody,\ne3,page_view,2026-05-01T10:00:00Z,m2,x\n"
    started = send(client, "events", body.encode(), key="e", content_type="text/csv; charset=utf-8").json
    work(started["import_id"])
    done = see(client, f"/v1/imports/{started['import_id']}")
    assert (done["records_new"], done["lines_rejected"]) == (1, 2)
    rejects = see(client, f"/v1/imports/{started['import_id']}/rejects")["data"]
    assert [(one["line"], one["code"]) for one in rejects] == [(3, "member-not-enrolled"), (4, "invalid")]


def test_rejects_are_paged_without_losing_any(client: Client, work: Callable[[str], Any]) -> None:
    body = b"".join(b'{"member_id": ""}\n' for _ in range(25))
    import_id = send(client, "members", body).json["import_id"]
    work(import_id)
    found: list[int] = []
    cursor: Any = ""
    while cursor is not None:
        page = see(client, f"/v1/imports/{import_id}/rejects?limit=10{cursor and '&cursor='}{cursor}")
        found += [one["line"] for one in page["data"]]
        cursor = page["next_cursor"]
    assert found == list(range(1, 26))


def test_an_import_that_waits_is_cancelled_at_once(client: Client, work: Callable[[str], Any]) -> None:
    import_id = send(client, "members", lines(MEMBERS)).json["import_id"]
    cancelled = cancel(client, import_id)
    assert cancelled.json["status"] == "cancelled"
    assert cancel(client, import_id).json["status"] == "cancelled"
    assert work(import_id) is None
    assert (count(client.engine, "members"), count(client.engine, "import_parts")) == (0, 0)


def test_an_import_that_runs_stops_before_its_next_chunk_and_rates_what_is_in(
    client: Client, work: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    work(send(client, "members", lines(MEMBERS), key="m").json["import_id"])
    monkeypatch.setattr(import_run, "_CHUNK_RECORDS", 20)
    import_id = send(client, "orders", lines(ORDERS), key="o").json["import_id"]
    load_orders: Any = vars(import_run)["load_orders"]

    def cancel_after_first(*args: Any, **kwargs: Any) -> Any:
        if count(client.engine, "orders") == 20:
            assert cancel(client, import_id).json["status"] == "loading"
        return load_orders(*args, **kwargs)

    monkeypatch.setattr(import_run, "load_orders", cancel_after_first)
    work(import_id)
    done = see(client, f"/v1/imports/{import_id}")
    assert done["status"] == "cancelled"
    assert 20 <= done["records_new"] == count(client.engine, "orders") < len(ORDERS)
    assert count(client.engine, "import_backlog") == 0
    ended = cancel(client, import_id)
    assert ended.json["status"] == "cancelled"


def test_an_import_that_is_done_cannot_be_cancelled(client: Client, work: Callable[[str], Any]) -> None:
    import_id = send(client, "members", lines(MEMBERS)).json["import_id"]
    work(import_id)
    refused = cancel(client, import_id)
    assert (refused.status_code, refused.json["code"]) == (409, "import-ended")


def test_a_worker_that_died_leaves_an_import_that_runs_again_without_doubles(
    client: Client, work: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    work(send(client, "members", lines(MEMBERS), key="m").json["import_id"])
    monkeypatch.setattr(import_run, "_CHUNK_RECORDS", 20)
    import_id = send(client, "orders", lines(ORDERS) + b"{}\n", key="o").json["import_id"]
    rate = vars(import_run)["rate_members"]

    def die(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("the machine went away")

    monkeypatch.setattr(import_run, "rate_members", die)
    with pytest.raises(RuntimeError):
        work(import_id)
    monkeypatch.setattr(import_run, "rate_members", rate)
    work(import_id)
    done = see(client, f"/v1/imports/{import_id}")
    assert (done["status"], done["error"]) == ("done", None)
    assert (done["records_known"], done["records_new"], done["lines_rejected"]) == (len(ORDERS), 0, 1)
    assert count(client.engine, "orders") == len(ORDERS)
    assert count(client.engine, "import_backlog") == 0


def test_a_file_without_its_header_fails_and_says_why(client: Client, work: Callable[[str], Any]) -> None:
    import_id = send(client, "members", b"id;name\n1;x\n", content_type="text/csv").json["import_id"]
    with pytest.raises(Exception, match="header"):
        work(import_id)
    failed = see(client, f"/v1/imports/{import_id}")
    assert failed["status"] == "failed"
    assert "member_id" in failed["error"]


@pytest.mark.parametrize(
    ("body", "content_type", "query", "status", "code"),
    [
        (b"{}\n", "application/json", "kind=orders", 415, "not-json"),
        (b"", NDJSON, "kind=orders", 400, "malformed-request"),
        (b"{}\n", NDJSON, "kind=uci-online-retail", 422, "invalid"),
        (b"{}\n", NDJSON, "", 422, "invalid"),
        (b"x" * 5000, NDJSON, "kind=orders", 413, "too-large"),
    ],
)
def test_what_cannot_be_an_upload_is_refused_and_nothing_is_kept(
    client: Client, body: bytes, content_type: str, query: str, status: int, code: str
) -> None:
    settings = client.app.extensions["tidemark"].settings
    object.__setattr__(settings, "max_upload_bytes", 4096)
    headers = {"Idempotency-Key": "k", "Content-Type": content_type}
    refused: Any = client.post(f"/v1/imports?{query}", data=body, headers=headers)
    assert (refused.status_code, refused.json["code"]) == (status, code)
    assert (count(client.engine, "imports"), count(client.engine, "import_parts")) == (0, 0)


def test_a_body_of_unknown_length_is_held_to_the_limit_too(client: Client) -> None:
    settings = client.app.extensions["tidemark"].settings
    object.__setattr__(settings, "max_upload_bytes", 4096)
    refused = client.post(
        "/v1/imports?kind=orders",
        input_stream=io.BytesIO(b"y" * 9000),
        headers={"Idempotency-Key": "k", "Content-Type": NDJSON, "Transfer-Encoding": "chunked"},
        environ_overrides={"wsgi.input_terminated": True},
    )
    assert refused.status_code == 413


def test_files_that_nobody_came_for_are_thrown_away(client: Client) -> None:
    send(client, "members", lines(MEMBERS))
    with transaction(client.engine) as conn:
        assert staging.forget_uploads(conn, now=datetime.now(UTC)) == 0
        assert staging.forget_uploads(conn, now=datetime.now(UTC) + timedelta(days=8)) == 1


def test_parts_are_sealed_one_by_one_and_read_as_one_file(
    client: Client, work: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staging, "PART_BYTES", 37)
    import_id = send(client, "members", lines(MEMBERS)).json["import_id"]
    assert count(client.engine, "import_parts") > 30
    work(import_id)
    assert count(client.engine, "members") == len(MEMBERS)
    assert Sealer(b"k").open_bytes(Sealer(b"k").seal_bytes(b"\x00\xff")) == b"\x00\xff"
