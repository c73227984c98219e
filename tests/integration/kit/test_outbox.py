"""An event exists if and only if the transaction that made it commits."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine, text

from service.kit.db import transaction
from service.kit.outbox import emit

NOW = datetime(2026, 11, 21, 11, 3, 11, tzinfo=UTC)
PAYLOAD = {"order_id": "A-1", "points": 12, "name": "金卡"}


def test_an_event_is_written_with_what_it_tells(engine: Engine) -> None:
    with transaction(engine) as conn:
        emit(conn, topic="points.earned", member_key=7, payload=PAYLOAD, occurred_at=NOW)
    with engine.connect() as conn:
        row = conn.execute(text("SELECT topic, member_key, payload, occurred_at FROM outbox")).one()
    assert tuple(row) == ("points.earned", 7, PAYLOAD, NOW)


def test_an_event_of_a_refused_transaction_never_was(engine: Engine) -> None:
    with pytest.raises(RuntimeError), transaction(engine) as conn:
        emit(conn, topic="points.earned", member_key=7, payload=PAYLOAD, occurred_at=NOW)
        raise RuntimeError("refused")
    with engine.connect() as conn:
        assert conn.scalar(text("SELECT count(*) FROM outbox")) == 0
