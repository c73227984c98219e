"""One running service for all contract tests, with a shop in it: members, items, orders, a model in force."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from service.kit.auth import Role, create_key
from service.kit.db import transaction
from tests.clients import story
from tests.clients.recording import Recorder
from tests.clients.told import SECRET, shop_told
from tests.serving import serve_web

# What is counted there are refusals that would hide others.
UNLIMITED = {f"TIDEMARK_RATE_LIMIT_PER_{whom}": "0" for whom in ("KEY", "MEMBER", "ADDRESS")}
# Times drawn at random lie in the future as often as not.
TIMES = ("placed_at", "refunded_at", "cancelled_at", "occurred_at", "joined_at")
CHAPTERS = (
    story.fill_catalogue,
    story.enrol_members,
    story.sell,
    story.take_back,
    story.look,
    story.train,
    story.recommend,
    story.run_programme,
)


@dataclass(frozen=True, slots=True)
class Service:
    """A running service, a key of every role, and ids by the name of their parameter that lead somewhere.

    `own_key_ids` are those of `keys`: a run that revoked its own would find everything in order after that.
    """

    url: str
    port: int
    keys: Mapping[Role, str]
    known: Mapping[str, str]
    own_key_ids: tuple[str, ...]
    log: Path


@pytest.fixture(scope="module")
def service(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service behind gunicorn, on a database of its own."""
    folder = tmp_path_factory.mktemp("contract")
    environment = {"TIDEMARK_SECRET_KEY": SECRET} | UNLIMITED
    with shop_told(server_url, var=folder, label="contract", chapters=CHAPTERS) as (url, keys, recorder):
        with transaction(recorder.client.engine) as conn:
            create_key(conn, role="server", label="spare", now=datetime.now(UTC))
        listed = recorder.call("GET", "/v1/keys", query_string={"limit": 100}, role="admin")["data"]
        key_ids = {
            label: tuple(key["key_id"] for key in listed if key["label"] == label)
            for label in ("contract", "spare")
        }
        known = list_known(recorder) | dict.fromkeys(TIMES, story.ago(1)) | {"key_id": key_ids["spare"][0]}
        with serve_web(database_url=url, var=folder, workers=1, environment=environment) as server:
            yield Service(server.url, server.port, keys, known, key_ids["contract"], server.log)
    shutil.rmtree(folder)


def list_known(recorder: Recorder) -> dict[str, str]:
    """Return one id of each kind that the story left behind."""
    decided = recorder.answers["getDecision"]["200"].path["recommendation_id"]
    model = recorder.answers["getModel"]["200"].path["version"]
    return {
        "member_id": "mei-lin",
        "sku": "TEA-001",
        "order_id": "A-1002",
        "store_id": "taipei-1",
        "recommendation_id": str(decided),
        "version": str(model),
        "currency": "TWD",
    }
