"""A store's zone against the first fact that is counted by it, at the same moment."""

from __future__ import annotations

import threading
from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine

from service.kit.db import transaction
from service.programme.errors import StoreZoneFixed
from service.programme.operations import Programme, ensure_stores, put_store
from service.programme.rules import default_values, read_settings

NOW = datetime(2026, 3, 1, tzinfo=UTC)
PROGRAMME = Programme("TWD", "Asia/Taipei", read_settings(1, default_values("TWD")))


def set_zone(engine: Engine, timezone: str) -> None:
    """Give the store a zone."""
    with transaction(engine) as conn:
        put_store(
            conn, store_id="s1", given={"timezone": timezone}, programme=PROGRAMME, actor="test", now=NOW
        )


def test_a_first_fact_waits_for_a_change_of_the_zone_and_is_counted_in_the_new_one(engine: Engine) -> None:
    set_zone(engine, "Asia/Taipei")
    counted: list[str] = []

    def use() -> None:
        with transaction(engine) as conn:
            refs = ensure_stores(conn, store_ids=["s1"], programme=PROGRAMME, now=NOW)
            counted.append(refs["s1"].timezone)

    with engine.connect() as changing:
        put_store(
            changing,
            store_id="s1",
            given={"timezone": "Asia/Tokyo"},
            programme=PROGRAMME,
            actor="test",
            now=NOW,
        )
        thread = threading.Thread(target=use)
        thread.start()
        thread.join(0.3)
        assert counted == []
        changing.commit()
        thread.join()
    assert counted == ["Asia/Tokyo"]


def test_a_change_of_the_zone_waits_for_a_first_fact_and_is_refused(engine: Engine) -> None:
    set_zone(engine, "Asia/Taipei")
    refused: list[Exception] = []

    def change() -> None:
        try:
            set_zone(engine, "Asia/Tokyo")
        except StoreZoneFixed as error:
            refused.append(error)

    with engine.connect() as using:
        ensure_stores(using, store_ids=["s1"], programme=PROGRAMME, now=NOW)
        thread = threading.Thread(target=change)
        thread.start()
        thread.join(0.3)
        assert refused == []
        using.commit()
        thread.join()
    assert len(refused) == 1


def test_a_store_without_facts_changes_its_zone_as_often_as_wanted(engine: Engine) -> None:
    for timezone in ("Asia/Tokyo", "Europe/London", "Asia/Tokyo"):
        set_zone(engine, timezone)
    with transaction(engine) as conn:
        refs = ensure_stores(conn, store_ids=["s1"], programme=PROGRAMME, now=NOW)
    assert refs["s1"].timezone == "Asia/Tokyo"
    with pytest.raises(StoreZoneFixed):
        set_zone(engine, "Europe/London")
