"""`tidemark points verify`: what was changed behind the books' back is found, with the postings behind it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import text

from service.cli.main import tidemark
from service.kit.clock import read_clock
from service.ledger import operations as ledger
from tests.api.conftest import Client, an_order, enrol
from tests.api.test_points_holds import hold, with_points


def verify(client: Client, folder: Path) -> tuple[int, list[dict[str, Any]]]:
    """Run the command; return its exit status and the rows it lists."""
    environment = {
        "DATABASE_URL": client.engine.url.render_as_string(hide_password=False),
        "TIDEMARK_VAR": str(folder),
        "TIDEMARK_SECRET_KEY": "a test's own",
    }
    result = CliRunner().invoke(tidemark, ["points", "verify"], env=environment)
    lines = [json.loads(line) for line in result.output.splitlines() if line.startswith("{")]
    return result.exit_code, [line for line in lines if "law" in line]


@pytest.fixture
def shop(client: Client) -> Client:
    """A member with an order, a hold and a capture."""
    with_points(client, 500)
    with_points(client, 70, member="m2")
    client.post("/v1/orders", json=an_order())
    hold(client, 100)
    hold_id = hold(client, 50).json["hold_id"]
    client.post("/v1/orders", json=an_order("o2", points_hold_id=hold_id))
    return client


def damage(client: Client, statement: str) -> None:
    """Change something as only somebody with the database's own keys can."""
    with client.engine.begin() as conn:
        conn.execute(text("SET LOCAL session_replication_role = replica"))
        assert conn.execute(text(statement)).rowcount > 0


def test_books_that_are_right_are_found_right(shop: Client, tmp_path: Path) -> None:
    assert verify(shop, tmp_path) == (0, [])


@pytest.mark.parametrize(
    ("statement", "kind", "points"),
    [
        ("UPDATE postings SET points = points + 1 WHERE from_account = 'issued' AND to_account = 'pending' "
         "AND points = 33", "earn", 34),
        ("UPDATE postings SET points = points - 1 WHERE to_account = 'redeemed'", "capture", 49),
        ("UPDATE postings SET points = points + 1 WHERE to_account = 'held' AND points = 100", "hold", 101),
    ],
)  # fmt: skip
def test_a_posting_changed_behind_the_triggers_back_is_found_and_shown(
    shop: Client, tmp_path: Path, statement: str, kind: str, points: int
) -> None:
    damage(shop, statement)
    status, rows = verify(shop, tmp_path)
    assert status == 1
    assert {row["law"] for row in rows} <= {"P1", "P4"}
    shown = [posting for row in rows for posting in row["postings"]]
    assert (kind, points) in {(posting["kind"], posting["points"]) for posting in shown}
    with shop.engine.connect() as conn:
        m1 = conn.scalar(text("SELECT member_key FROM members WHERE member_id = 'm1'"))
    assert {row["member_key"] for row in rows} == {m1}


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM postings WHERE to_account = 'redeemed'",
        "DELETE FROM ledger_transactions WHERE kind = 'capture'",
        "UPDATE ledger_transactions SET member_key = member_key + 1 WHERE kind = 'capture'",
        "UPDATE point_holds SET captured = captured - 1 WHERE state = 'captured'",
        "DELETE FROM point_hold_lots",
        "UPDATE lots SET held = held - 1 WHERE held > 0",
        "UPDATE balances SET held = held + 1",
        "UPDATE balances SET available = available + 1 WHERE available > 100",
        "UPDATE balances SET pending = pending + 1 WHERE pending > 0",
        "UPDATE balances SET debt = 5, available = 0 WHERE available > 100",
        "UPDATE balances SET lifetime_earned = lifetime_earned - 1 WHERE available > 100",
        "UPDATE balances SET next_due_at = NULL WHERE held > 0",
        "UPDATE lots SET remaining = remaining - 1 WHERE remaining > 100",
        "UPDATE lots SET earned = earned + 1",
        "UPDATE lots SET pending = NOT pending WHERE pending",
        "UPDATE lots SET member_key = member_key + 1 WHERE pending",
        "DELETE FROM lots WHERE pending",
        "DELETE FROM postings WHERE from_account = 'issued' AND to_account = 'pending'",
        "UPDATE postings SET from_account = 'reversed' WHERE from_account = 'issued' AND points = 70",
        "UPDATE postings SET lot_key = lot_key + 1 WHERE to_account = 'redeemed'",
        "UPDATE point_holds SET state = 'released', ended_at = created_at WHERE state = 'open'",
        "INSERT INTO postings SELECT transaction_key, 9, member_key, 'issued', 'available', 7, lot_key "
        "FROM postings WHERE to_account = 'redeemed'",
    ],
)
def test_whatever_else_is_changed_behind_the_books_back_is_found_with_its_postings(
    shop: Client, tmp_path: Path, statement: str
) -> None:
    damage(shop, statement)
    status, rows = verify(shop, tmp_path)
    assert status == 1
    for row in rows:
        assert row["member_key"] is not None
        assert row["postings"] or "DELETE FROM" in statement


def test_a_balance_read_for_a_lot_that_is_due_is_no_drift(shop: Client, tmp_path: Path) -> None:
    enrol(shop, "m3")
    with shop.engine.begin() as conn:
        key = conn.scalar(text("SELECT member_key FROM members WHERE member_id = 'm3'")) or 0
        ledger.lock_account(conn, member_key=key, now=read_clock())
    assert verify(shop, tmp_path) == (0, [])


def test_a_shelf_that_was_changed_behind_its_back_is_found_by_verify(shop: Client, tmp_path: Path) -> None:
    body = {"name": {"en": "A cup"}, "kind": "product", "points": 10, "stock": 5}
    assert shop.put("/v1/rewards/cup", json=body, role="marketing").status_code == 201
    taken = shop.post(
        "/v1/members/m1/redemptions", json={"reward": "cup"}, headers={"Idempotency-Key": "cup"}
    )
    assert taken.status_code == 201
    assert verify(shop, tmp_path) == (0, [])
    with shop.engine.begin() as conn:
        conn.execute(text("UPDATE reward_shelves SET taken = 0"))
    status, rows = verify(shop, tmp_path)
    assert (status, [(row["law"], row["reward"]) for row in rows]) == (1, [("R1", "cup")])
