"""A member's requests cost the same however many others there are: as many statements, by index alone.

Complaint 39: 4,000 cards took a till screen six seconds, and eleven milliseconds after an index
(https://github.com/odoo/odoo/pull/113548); queries for one user timed out
(https://github.com/Meeds-io/meeds/issues/330); one query for each customer of a list
(https://github.com/defendicon/POS-Awesome-V15/pull/3034). `make bench ARGS=growth` measures the time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event, text

from service.kit.settings import Settings
from tests.api.conftest import Client, an_order
from tests.api.ladders import Ladder

CROWD = 4_000
"""As many as the cards that took six seconds."""

GROWING = {
    "members", "member_days", "order_keys", "tier_states", "tier_changes", "tier_pins", "balances", "lots",
}  # fmt: skip

_CROWD = (
    """
    INSERT INTO members (member_id, joined_at, created_at, updated_at)
    SELECT 'crowd-' || n, now() - interval '300 days', now(), now() FROM generate_series(1, :crowd) n
    """,
    "INSERT INTO balances (member_key) SELECT member_key FROM members WHERE member_id LIKE 'crowd-%'",
    """
    INSERT INTO lots (member_key, earned_at, available_at, earned, remaining, pending)
    SELECT member_key, now(), now(), 10, 10, false FROM members WHERE member_id LIKE 'crowd-%'
    """,
    """
    INSERT INTO tier_states (member_key, tier, rank, since, ruleset_version, through, next_review_on)
    SELECT member_key, 'member', 0, joined_at, 1, joined_at, current_date + 100 FROM members
    WHERE member_id LIKE 'crowd-%'
    """,
    """
    INSERT INTO tier_changes (member_key, to_tier, effective_at, recorded_at, cause, ruleset_version,
        metrics)
    SELECT member_key, 'member', joined_at, joined_at, 'enrol', 1, '{}' FROM members
    WHERE member_id LIKE 'crowd-%'
    """,
    """
    INSERT INTO tier_pins (member_key, tier, starts_at, ends_at, reason, actor, recorded_at)
    SELECT member_key, 'silver', now() - interval '9 days', now() - interval '1 day', 'a test', 'test', now()
    FROM members WHERE member_id LIKE 'crowd-%'
    """,
    """
    INSERT INTO member_days (member_key, day, goods_minor, spend_minor, orders, unlinked_minor)
    SELECT member_key, current_date - n, 1000, 1000, 1, 0 FROM members, generate_series(1, 10) n
    WHERE member_id LIKE 'crowd-%'
    """,
    """
    INSERT INTO order_keys (order_id, member_key, placed_at, content_hash)
    SELECT member_id || '-' || n, member_key, now() - n * interval '1 day', '' FROM members,
        generate_series(1, 5) n WHERE member_id LIKE 'crowd-%'
    """,
)


@pytest.fixture
def shop(engine: Engine, settings: Settings) -> Ladder:
    """A shop with one member of some history."""
    shop = Ladder(engine, settings, None)
    shop.enrol()
    for ago in (40, 30, 20):
        shop.buy(ago, 1500)
    return shop


def join_crowd(engine: Engine) -> None:
    with engine.begin() as conn:
        for statement in _CROWD:
            conn.execute(text(statement), {"crowd": CROWD} if ":crowd" in statement else {})
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        conn.execute(text("ANALYZE"))


@contextmanager
def noted(engine: Engine) -> Iterator[list[tuple[str, Any]]]:
    """Note every statement with its parameters."""
    seen: list[tuple[str, Any]] = []

    def note(conn: Connection, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        seen.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", note)
    yield seen
    event.remove(engine, "before_cursor_execute", note)


Ask = Callable[[Client, str], Any]


def read_tier(client: Client, _: str) -> Any:
    return client.get("/v1/members/m1/tier")


def read_card(client: Client, _: str) -> Any:
    return client.get("/v1/members/m1/card")


def list_changes(client: Client, _: str) -> Any:
    return client.get("/v1/members/m1/tier/changes")


def place_order(client: Client, order_id: str) -> Any:
    return client.post("/v1/orders", json=an_order(order_id))


def list_members(client: Client, _: str) -> Any:
    return client.get("/v1/members?limit=50")


@pytest.mark.parametrize("ask", [read_tier, read_card, list_changes, place_order])
def test_four_thousand_others_add_no_statement_and_no_scan(shop: Ladder, ask: Ask) -> None:
    engine = shop.client.engine
    ask(shop.client, "warm")
    with noted(engine) as alone:
        assert ask(shop.client, "alone").status_code in {200, 201}
    join_crowd(engine)
    # What a process remembers for some seconds is not asked again in the middle.
    ask(shop.client, "warm-again")
    with noted(engine) as among_many:
        assert ask(shop.client, "among-many").status_code in {200, 201}
    assert len(among_many) == len(alone)
    assert {table for statement, given in among_many for table in scanned(engine, statement, given)} == set()


def test_a_card_takes_one_statement_where_no_reward_can_be_afforded(shop: Ladder) -> None:
    engine = shop.client.engine
    read_card(shop.client, "warm")
    with noted(engine) as seen:
        assert read_card(shop.client, "").json["rewards"] == []
    assert len(seen) == 1


def test_a_list_of_members_takes_no_statement_for_each(shop: Ladder) -> None:
    engine = shop.client.engine
    list_members(shop.client, "")
    with noted(engine) as alone:
        assert len(list_members(shop.client, "").json["data"]) == 1
    join_crowd(engine)
    # A process remembers keys and settings for some seconds; what that costs is not asked here.
    list_members(shop.client, "")
    with noted(engine) as among_many:
        assert len(list_members(shop.client, "").json["data"]) == 50
    assert len(among_many) == len(alone)


def scanned(engine: Engine, statement: str, parameters: Any) -> set[str]:
    """Return the growing tables that the plan of a statement reads from end to end."""
    if statement.lstrip().split(None, 1)[0].upper() not in {"SELECT", "INSERT", "UPDATE", "WITH"}:
        return set()
    with engine.connect() as conn:
        conn.begin()
        driver: Any = conn.connection.driver_connection
        plan = driver.execute(f"EXPLAIN (FORMAT JSON) {statement}", parameters).fetchone()[0]
        conn.rollback()
    return {
        node["Relation Name"]
        for node in walk(plan[0]["Plan"])
        if node["Node Type"] == "Seq Scan" and node.get("Relation Name") in GROWING
    }


def walk(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for inner in node.get("Plans", ()):
        yield from walk(inner)
