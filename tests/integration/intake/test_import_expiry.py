"""Imported history where points expire after inactivity."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from sqlalchemy import Engine, text

from service.programme.operations import Programme
from tests.integration.intake.business import NOW, assert_lawful, bring_in, write_ndjson
from tests.integration.intake.test_import_order_of_arrival import change


def test_imported_orders_keep_earlier_points_that_they_came_in_time_for(
    engine: Engine, programme: Programme, tmp_path: Path
) -> None:
    programme = change(engine, points_expiry={"model": "after_inactivity", "months": 2})
    member = {"member_id": "M1", "joined_at": (NOW - timedelta(days=400)).isoformat()}
    orders = [
        {
            "order_id": f"O{days}",
            "member_id": "M1",
            "placed_at": (NOW - timedelta(days=days)).isoformat(),
            "currency": "TWD",
            "lines": [{"sku": "TEA", "quantity": 1, "amount": "3000"}],
        }
        for days in (300, 260, 100, 50, 10)
    ]
    bring_in(engine, programme, "members", write_ndjson(tmp_path / "members.ndjson", [member]))
    bring_in(engine, programme, "orders", write_ndjson(tmp_path / "orders.ndjson", orders))
    with engine.connect() as conn:
        rows = conn.execute(text("SELECT remaining, rolls, expires_at FROM lots ORDER BY earned_at")).all()
    assert [row.remaining > 0 for row in rows] == [False, False, True, True, True]
    assert all(row.rolls for row in rows)
    assert rows[0].expires_at == rows[1].expires_at
    assert rows[2].expires_at == rows[3].expires_at == rows[4].expires_at > NOW
    assert_lawful(engine)
