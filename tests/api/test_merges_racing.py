"""Orders, refunds and cancellations for members who are being merged, and parted, at that very moment."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from copy import copy
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from service.kit.clock import read_clock
from service.kit.db import transaction
from service.kit.settings import Settings
from service.laws import check_laws_now
from service.ledger import operations as ledger
from service.profiles import merging
from service.profiles.merging import Asker
from service.programme.operations import get_programme
from tests.api.conftest import Client, an_order
from tests.api.ladders import Ladder, ladder, spend
from tests.api.test_points_deadlock import wait_until_somebody_waits
from tests.conftest import SCALE

CALLERS = 8
TURNS = 6
STORIES = 6 if SCALE == 1 else 40


@pytest.fixture
def shop(engine: Engine, settings: Settings) -> Ladder:
    """Three members; t1 from 3000 on two days, t2 from 9000, and a month before anybody falls."""
    two_days = {"all": [spend(3000), {"metric": "active_days", "op": ">=", "value": 2}]}
    opened = Ladder(
        engine, settings, ladder({"enter": two_days}, {"enter": spend(9000)}, grace_days=30, min_hold_days=90)
    )
    for member_id in ("m1", "m2", "m3"):
        opened.enrol(member_id)
    return opened


def obeyed(shop: Ladder) -> None:
    """Every law holds for everybody."""
    assert check_laws_now(shop.client.engine, clock=read_clock, progress=lambda *_: None).violations == []


def until_done(
    client: Client, path: str, body: Mapping[str, Any], key: str, *, again: set[tuple[int, str]]
) -> dict[str, Any]:
    """Send a request until it is answered otherwise than with what asks for another try."""
    for _ in range(200):
        response = client.post(path, json=dict(body), role="admin", headers={"Idempotency-Key": key})
        answer: Any = response.json
        if response.status_code < 300:
            return dict(answer)
        assert (response.status_code, answer["code"]) in again, response.text
        time.sleep(0.01)
    raise AssertionError(f"{path} is never done: {response.text}")


def tell_stories(client: Client, caller: int, problems: list[BaseException]) -> None:
    """Buy for either member, late or at once, give a part back, and call every third order off."""
    chance = random.Random(caller)
    again = {(503, "unavailable"), (409, "request-in-flight")}
    try:
        for number in range(STORIES):
            order_id, member_id = f"o{caller}-{number}", chance.choice(("m1", "m2"))
            late = timedelta(days=10 * chance.randrange(2))
            placed_at = (datetime.now(UTC) - late).isoformat()
            until_done(
                client,
                "/v1/orders",
                an_order(order_id, member_id, "900", placed_at=placed_at),
                order_id,
                again=again,
            )
            refund = {
                "refund_id": f"r{caller}-{number}",
                "order_id": order_id,
                "refunded_at": datetime.now(UTC).isoformat(),
                "amount": str(chance.randrange(1, 800)),
            }
            until_done(client, "/v1/refunds", refund, refund["refund_id"], again=again)
            if number % 3 == 0:
                # An order that went to another member at that moment has its caller come again.
                moved = again | {(409, "order-conflict")}
                body = {"cancelled_at": datetime.now(UTC).isoformat(), "reason": "out of stock"}
                until_done(client, f"/v1/orders/{order_id}/cancel", body, f"c-{order_id}", again=moved)
    except BaseException as error:
        problems.append(error)


def test_what_comes_in_while_two_members_become_one_counts_for_whoever_its_id_stands_for(
    shop: Ladder,
) -> None:
    problems: list[BaseException] = []
    callers = [
        threading.Thread(target=tell_stories, args=(copy(shop.client), caller, problems))
        for caller in range(CALLERS)
    ]
    for thread in callers:
        thread.start()
    # An odd number of turns: at the end they are one.
    for turn in range(TURNS + 1):
        time.sleep(0.05)
        path, body = ("merge", {"into": "m2"}) if turn % 2 == 0 else ("merge/undo", {})
        again = {(503, "unavailable"), (409, "request-in-flight")}
        until_done(
            shop.client, f"/v1/members/m1/{path}", body | {"reason": "turn"}, f"turn-{turn}", again=again
        )
    for thread in callers:
        thread.join()
    assert problems == []
    obeyed(shop)
    with shop.client.engine.connect() as conn:
        found = conn.execute(
            text(
                "SELECT m.member_id, o.origin_key IS NOT NULL AS was_sent_for_another, count(*) AS orders "
                "FROM orders o JOIN members m USING (member_key) GROUP BY 1, 2"
            )
        ).all()
    counts = Counter({(row.member_id, row.was_sent_for_another): row.orders for row in found})
    assert set(counts) == {("m2", True), ("m2", False)}
    assert counts.total() == CALLERS * STORIES
    shop.post("/v1/members/m1/merge/undo", {"reason": "two after all"})
    obeyed(shop)


def do_merge(conn: Connection, source: str, into: str | None) -> None:
    """Merge two members, or part what was merged, in a transaction that stays open."""
    asker = Asker("ada", "a race", None, datetime.now(UTC))
    programme = get_programme(conn)
    if into is None:
        merging.undo_merge(conn, member_id=source, asker=asker, programme=programme, locale="en")
    else:
        merging.merge_members(
            conn, member_id=source, into_id=into, asker=asker, programme=programme, locale="en"
        )


def test_an_order_that_waits_while_its_member_parts_and_joins_a_third_is_rated_with_the_third(
    shop: Ladder,
) -> None:
    """The member of an order and the account locked for it must be the same one, however often both move."""
    engine = shop.client.engine
    with transaction(engine) as conn:
        do_merge(conn, "m1", "m2")
        keys = {
            row.member_id: row.member_key
            for row in conn.execute(text("SELECT member_id, member_key FROM members"))
        }
    parted = threading.Event()

    def join_third() -> None:
        with transaction(engine) as conn, engine.connect() as watcher:
            ledger.lock_two(conn, member_keys=(keys["m1"], keys["m3"]), now=datetime.now(UTC))
            parted.wait(20)
            # The order holds the account of the second by now, and wants that of the first.
            wait_until_somebody_waits(watcher)
            do_merge(conn, "m1", "m3")

    third = threading.Thread(target=join_third)
    order = threading.Thread(target=lambda: shop.buy(0, 900, "m1"))
    with transaction(engine) as conn, engine.connect() as watcher:
        do_merge(conn, "m1", None)
        third.start()
        wait_until_somebody_waits(watcher)
        order.start()
        wait_until_somebody_waits(watcher, how_many=2)
    parted.set()
    third.join(30)
    order.join(30)
    assert shop.tier("m3")["metrics"]["net_spend"] == "900.00"
    obeyed(shop)


def while_they_change(shop: Ladder, into: str | None, ask: Callable[[], Any]) -> Any:
    """Ask in the middle of a merge of the first member, or of its undoing; return what came of it."""
    found: list[Any] = []
    asking = threading.Thread(target=lambda: found.append(ask()))
    with transaction(shop.client.engine) as conn, shop.client.engine.connect() as watcher:
        do_merge(conn, "m1", into)
        asking.start()
        wait_until_somebody_waits(watcher)
    asking.join(30)
    return found[0]


def test_a_member_whose_row_is_changed_while_it_becomes_another_is_not_changed(shop: Ladder) -> None:
    joined = (datetime.now(UTC) - timedelta(days=700)).isoformat()
    put = partial(copy(shop.client).put, "/v1/members/m1", role="server")
    moved = while_they_change(shop, "m2", lambda: put(json={"joined_at": joined}))
    assert (moved.status_code, moved.json["code"]) == (409, "member-merged")
    obeyed(shop)
    shop.post("/v1/members/m1/merge/undo", {"reason": "two after all"})
    told = while_they_change(shop, "m2", lambda: put(json={"locale": "zh-Hant"}))
    assert (told.status_code, told.json["code"]) == (409, "member-merged")


def test_what_staff_do_to_a_member_that_becomes_another_or_parts_is_done_to_whom_its_id_stands_for(
    shop: Ladder,
) -> None:
    until = (datetime.now(UTC) + timedelta(days=30)).date().isoformat()
    staff = copy(shop.client)
    held = while_they_change(
        shop,
        "m2",
        lambda: staff.put(
            "/v1/members/m1/tier/override",
            json={"tier": "t2", "until": until, "reason": "a friend of the house"},
            role="admin",
        ),
    )
    assert held.status_code == 200, held.text
    assert shop.tier("m2")["tier"] == "t2"
    given = while_they_change(
        shop,
        None,
        lambda: staff.post(
            "/v1/members/m1/points/adjustments",
            json={"points": 5, "reason": "sorry"},
            role="admin",
            headers={"Idempotency-Key": "a-race-of-points"},
        ),
    )
    assert given.status_code == 201
    assert (given.json or {})["balance"]["available"] == 5
    points = [
        (shop.client.get(f"/v1/members/{one}/points", role="admin").json or {})["available"]
        for one in ("m1", "m2")
    ]
    assert points == [5, 0]
    obeyed(shop)


def test_events_sent_while_their_member_becomes_another_count_for_that_one(shop: Ladder) -> None:
    event = {
        "event_id": "e1",
        "type": "page_view",
        "member_id": "m1",
        "occurred_at": datetime.now(UTC).isoformat(),
        "sku": "TEA",
    }
    client = copy(shop.client)
    taken = while_they_change(
        shop, "m2", lambda: client.post("/v1/events", json={"events": [event]}, role="server")
    )
    assert taken.json["accepted"] == 1
    with shop.client.engine.connect() as conn:
        whose = conn.scalar(text("SELECT m.member_id FROM events e JOIN members m USING (member_key)"))
    assert whose == "m2"
