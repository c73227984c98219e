"""What two members took before, while and after they were one: rewards, vouchers, points and limits."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest

from tests.api.conftest import Client, an_order, enrol
from tests.api.test_checkout import cancel, state_of
from tests.api.test_earning_events import EVENTS, an_event, assert_lawful, send
from tests.api.test_earning_rules import publish
from tests.api.test_points_holds import with_points
from tests.api.test_rewards import check_books, code_of, offer, take, taken

_keys = count()


@pytest.fixture
def two(client: Client) -> Client:
    """m1 and m2 with 100 points each, and a reward for 40 that each may take twice."""
    for member in ("m1", "m2"):
        with_points(client, 100, member)
    offer(client, per_member_limit=2)
    return client


def merge(client: Client, source: str = "m1", into: str = "m2") -> None:
    """Make two members one."""
    headers = {"Idempotency-Key": f"merge-{next(_keys)}"}
    body = {"into": into, "reason": "one person"}
    answer = client.post(f"/v1/members/{source}/merge", json=body, headers=headers)
    assert answer.status_code == 200, answer.data


def undo(client: Client, source: str = "m1") -> None:
    """Make them two again."""
    headers = {"Idempotency-Key": f"undo-{next(_keys)}"}
    answer = client.post(f"/v1/members/{source}/merge/undo", json={"reason": "two"}, headers=headers)
    assert answer.status_code == 200, answer.data


def call_off(client: Client, redemption: Any) -> Any:
    """Call a redemption off."""
    return client.post(f"/v1/redemptions/{redemption['redemption_id']}/cancel", json={"reason": "mistaken"})


def available(client: Client, member: str) -> int:
    """Return the points that a member can spend."""
    points: Any = client.get(f"/v1/members/{member}/points").json
    return int(points["available"])


def listed(client: Client, member: str) -> set[str]:
    """Return the ids of what a member has taken."""
    page: Any = client.get(f"/v1/members/{member}/redemptions").json
    return {one["redemption_id"] for one in page["data"]}


def test_the_survivor_uses_and_calls_off_what_the_merged_member_took(two: Client) -> None:
    first, second = taken(two), taken(two)
    merge(two)
    assert listed(two, "m1") == listed(two, "m2") == {first["redemption_id"], second["redemption_id"]}
    shown: Any = two.get(f"/v1/redemptions/{first['redemption_id']}").json
    assert shown["member_id"] == "m2"
    code = first["voucher_code"]
    body = {"order_id": "o1", "member_id": "m2", "ttl_seconds": 60}
    assert two.post(f"/v1/vouchers/{code}/reserve", json=body).status_code == 200
    placed: Any = two.post("/v1/orders", json=an_order(member_id="m2", voucher_code=code))
    assert (placed.status_code, placed.json["order"]["voucher_paid"]) == (201, "50.00")
    assert call_off(two, second).status_code == 200
    assert available(two, "m2") == 20 + 40 + 100
    check_books(two)


def test_a_limit_counts_what_both_took_while_they_are_one(two: Client) -> None:
    taken(two)
    taken(two, member="m2")
    merge(two)
    for member in ("m1", "m2"):
        assert code_of(take(two, member=member)) == (409, "reward-limit-reached")
    undo(two)
    assert take(two).status_code == take(two, member="m2").status_code == 201
    check_books(two)


def test_undoing_gives_each_what_was_taken_under_its_id(two: Client) -> None:
    before, own = taken(two), taken(two, member="m2")
    offer(two, "ten", points=10)
    merge(two)
    since, of_survivor = taken(two, "ten"), taken(two, "ten", member="m2")
    undo(two)
    assert listed(two, "m1") == {before["redemption_id"], since["redemption_id"]}
    assert listed(two, "m2") == {own["redemption_id"], of_survivor["redemption_id"]}
    order = an_order(member_id="m2", voucher_code=before["voucher_code"])
    assert code_of(two.post("/v1/orders", json=order)) == (409, "voucher-of-other-member")
    check_books(two)
    merge(two)
    assert two.post("/v1/orders", json=order).status_code == 201
    undo(two)
    # The order is the survivor's, and the voucher whose it was.
    assert cancel(two).json["points"]["voucher_returned"] == "50.00"
    assert state_of(two, before["voucher_code"]) == "issued"
    assert listed(two, "m1") == {before["redemption_id"], since["redemption_id"]}
    check_books(two)


def test_points_of_what_is_called_off_go_back_to_whose_they_were(two: Client) -> None:
    """What cost points of both gives each its own back, whichever way the two have gone since."""
    offer(two, "all", points=150)
    merge(two)
    paid_by_both = taken(two, "all", member="m2")
    undo(two)
    assert available(two, "m1") + available(two, "m2") == 50
    assert call_off(two, paid_by_both).status_code == 200
    assert (available(two, "m1"), available(two, "m2")) == (100, 100)
    assert call_off(two, paid_by_both).status_code == 200
    assert (available(two, "m1"), available(two, "m2")) == (100, 100)
    check_books(two)


def test_what_was_taken_before_a_merge_is_called_off_after_its_undoing(two: Client) -> None:
    redemption = taken(two)
    merge(two)
    undo(two)
    assert call_off(two, redemption).status_code == 200
    assert (available(two, "m1"), available(two, "m2")) == (100, 100)
    check_books(two)


def test_a_redemption_goes_along_a_chain_of_merges_and_back(two: Client) -> None:
    enrol(two, "m3")
    redemption = taken(two)
    merge(two)
    merge(two, "m2", "m3")
    assert listed(two, "m3") == {redemption["redemption_id"]}
    undo(two, "m2")
    assert (listed(two, "m2"), listed(two, "m3")) == ({redemption["redemption_id"]}, set())
    undo(two)
    assert (listed(two, "m1"), listed(two, "m2")) == ({redemption["redemption_id"]}, set())
    check_books(two)


def test_limits_of_events_count_what_both_sent_while_they_are_one(client: Client) -> None:
    publish(client, EVENTS)
    for member in ("m1", "m2"):
        enrol(client, member)
    completed = "custom:profile-completed"
    assert send(client, an_event("e1", completed), an_event("e2")) == [100, 50]
    merge(client)
    again = [an_event("e3", completed, member_id="m2"), an_event("e4", member_id="m2")]
    assert send(client, *again) == [0, 0]
    # A second review is the last one of both today.
    assert send(client, an_event("e5", sku="cup"), an_event("e6", sku="pot", member_id="m2")) == [50, 0]
    undo(client)
    assert send(client, an_event("e7", completed)) == [0]
    assert send(client, an_event("e8", completed, member_id="m2")) == [100]
    assert send(client, an_event("e9", sku="can", member_id="m2")) == [50]
    assert_lawful(client)


def test_a_limit_of_the_day_counts_orders_of_both(client: Client) -> None:
    rules = {"currency": "TWD", "base": {"points": 1, "per": "1"}, "caps": {"per_member_day": 1500}}
    publish(client, rules)
    for member in ("m1", "m2"):
        enrol(client, member)
    earned = [client.post("/v1/orders", json=an_order("o1")).json["points"]["earned"]]  # type: ignore[index]
    merge(client)
    for order_id, member in (("o2", "m2"), ("o3", "m1")):
        body: Any = client.post("/v1/orders", json=an_order(order_id, member)).json
        earned.append(body["points"]["earned"])
    assert earned == [1000, 500, 0]
    assert_lawful(client)
