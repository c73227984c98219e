"""The checkout end to end: vouchers reserved, used, freed and given back; holds and vouchers on one order."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event, text

from tests.api.conftest import Client, an_order, enrol
from tests.api.test_earning_rules import publish
from tests.api.test_points import points_of
from tests.api.test_points_holds import hold, with_points
from tests.api.test_rewards import check_books, code_of, import_file, offer, taken


def with_voucher(client: Client, *, member: str = "m1", **fields: Any) -> str:
    """Give a member with 100 points a voucher for 10 of them, and return its code."""
    with_points(client, 100, member)
    offer(client, **({"points": 10} | fields))
    code: str = taken(client, member=member)["voucher_code"]
    return code


def reserve(client: Client, code: str, order_id: str = "o1", **fields: Any) -> Any:
    """Keep a voucher for an order."""
    body = {"order_id": order_id, "member_id": "m1", "ttl_seconds": 900} | fields
    return client.post(f"/v1/vouchers/{code}/reserve", json=body)


def let_reservations_pass(client: Client) -> None:
    """Move every reservation into the past."""
    with client.engine.begin() as conn:
        conn.execute(text("UPDATE redemptions SET reserved_until = reserved_until - interval '1 hour'"))


def refund(client: Client, refund_id: str, amount: str, order_id: str = "o1", at: str | None = None) -> Any:
    """Give money back for an order."""
    return client.post(
        "/v1/refunds",
        json={
            "refund_id": refund_id,
            "order_id": order_id,
            "refunded_at": at or datetime.now(UTC).isoformat(),
            "amount": amount,
        },
    )


def cancel(client: Client, order_id: str = "o1", at: str | None = None) -> Any:
    """Call an order off."""
    return client.post(
        f"/v1/orders/{order_id}/cancel",
        json={"cancelled_at": at or datetime.now(UTC).isoformat(), "reason": "unpaid"},
    )


def state_of(client: Client, code: str) -> str:
    """Return how a voucher stands."""
    state: str = (client.get(f"/v1/vouchers/{code}").json or {})["state"]
    return state


def test_the_checkout_story_from_reservation_to_full_refund(client: Client) -> None:
    """Hold and voucher reserved, the order captures both, a part is refunded, then all of it."""
    code = with_voucher(client)
    hold_id = hold(client, 50).json["hold_id"]
    kept = reserve(client, code, lines=[{"sku": "tea", "quantity": 1, "amount": "1000"}])
    assert (kept.status_code, kept.json["state"], kept.json["pays"]) == (200, "reserved", "50.00")
    order = an_order(points_hold_id=hold_id, voucher_code=code)
    response: Any = client.post("/v1/orders", json=order)
    assert response.status_code == 201
    body = response.json
    # 50 points pay NT$15; what points and the voucher paid earns nothing and is no net spend.
    assert (body["order"]["points_paid"], body["order"]["voucher_paid"]) == ("15.00", "50.00")
    assert body["points"]["spent"] == 50
    assert any("NT$50 " in sentence and "oucher" in sentence for sentence in body["explanation"])
    tier: Any = client.get("/v1/members/m1/tier").json
    assert tier["metrics"]["net_spend"] == "935.00"
    assert state_of(client, code) == "used"
    again = client.post("/v1/orders", json=order)
    assert (again.status_code, again.json["order"]["voucher_paid"]) == (200, "50.00")  # type: ignore[index]
    part: Any = refund(client, "r1", "400").json
    assert (part["points"]["returned"], part["points"]["voucher_returned"]) == (20, "0.00")
    assert state_of(client, code) == "used"
    rest: Any = refund(client, "r2", "600").json
    assert (rest["points"]["returned"], rest["points"]["voucher_returned"]) == (30, "50.00")
    at = rest["refund"]["refunded_at"]
    assert refund(client, "r2", "600", at=at).json["points"]["voucher_returned"] == "50.00"
    assert state_of(client, code) == "issued"
    assert points_of(client)["available"] == 90
    assert (client.get("/v1/members/m1/tier").json or {})["metrics"]["net_spend"] == "0.00"
    check_books(client)


def test_an_abandoned_cart_frees_its_voucher_and_its_points_of_itself(client: Client) -> None:
    code = with_voucher(client)
    reserve(client, code, ttl_seconds=1)
    hold(client, 90, ttl_seconds=1)
    assert (state_of(client, code), points_of(client)["available"]) == ("reserved", 0)
    time.sleep(1.1)
    assert (state_of(client, code), points_of(client)["available"]) == ("issued", 90)
    assert reserve(client, code, "o2").status_code == 200
    check_books(client)


def test_a_failing_payment_loses_nothing(client: Client) -> None:
    """Complaint 29: the coupon was consumed when the buyer clicked pay. https://github.com/thelia/thelia/issues/2195"""
    code = with_voucher(client)
    reserve(client, code)
    released = client.post(f"/v1/vouchers/{code}/release", json={"order_id": "o1"})
    assert (released.status_code, (released.json or {})["state"]) == (200, "issued")
    assert client.post(f"/v1/vouchers/{code}/release", json={"order_id": "o1"}).data == released.data
    assert client.post("/v1/orders", json=an_order("o2", voucher_code=code)).status_code == 201
    refused = client.post(f"/v1/vouchers/{code}/release", json={"order_id": "o2"})
    assert code_of(refused) == (409, "voucher-not-reserved")


def test_an_order_that_is_refused_uses_nothing_up(client: Client) -> None:
    code = with_voucher(client)
    hold_id = hold(client, 90).json["hold_id"]
    client.post(f"/v1/points/holds/{hold_id}/release")
    response = client.post("/v1/orders", json=an_order(points_hold_id=hold_id, voucher_code=code))
    assert code_of(response) == (409, "hold-ended")
    assert state_of(client, code) == "issued"
    assert client.get("/v1/orders/o1").status_code == 404


def test_a_cancelled_order_gives_its_voucher_back(client: Client) -> None:
    """Complaint 30: usage counts must fall back for unpaid and cancelled orders. https://github.com/Sylius/Sylius/issues/944"""
    code = with_voucher(client)
    client.post("/v1/orders", json=an_order(voucher_code=code))
    answer: Any = cancel(client)
    assert (answer.status_code, answer.json["points"]["voucher_returned"]) == (200, "50.00")
    at = answer.json["order"]["cancelled_at"]
    assert cancel(client, at=at).json["points"]["voucher_returned"] == "50.00"
    assert state_of(client, code) == "issued"
    assert client.post("/v1/orders", json=an_order("o2", voucher_code=code)).status_code == 201
    check_books(client)


def test_the_voucher_of_a_cancelled_order_is_swapped_without_losing_either(client: Client) -> None:
    """Complaint 31: swapping the reward loses track of the first coupon. https://github.com/odoo/odoo/pull/222054"""
    first = with_voucher(client)
    second = taken(client)["voucher_code"]
    client.post("/v1/orders", json=an_order(voucher_code=first))
    cancel(client)
    assert client.post("/v1/orders", json=an_order("o2", voucher_code=second)).status_code == 201
    assert (state_of(client, first), state_of(client, second)) == ("issued", "used")
    check_books(client)


def test_two_stores_cannot_use_one_voucher(client: Client) -> None:
    """Complaint 27: one coupon used by five concurrent orders. https://github.com/macrozheng/mall/issues/1003"""
    code = with_voucher(client)
    assert reserve(client, code, "till-1").status_code == 200
    assert code_of(reserve(client, code, "till-2")) == (409, "voucher-reserved")
    order = an_order("till-2", voucher_code=code)
    assert code_of(client.post("/v1/orders", json=order)) == (409, "voucher-reserved")
    use = {"order_id": "till-1", "member_id": "m1"}
    used = client.post(f"/v1/vouchers/{code}/use", json=use)
    assert (used.status_code, (used.json or {})["state"]) == (200, "used")
    assert client.post(f"/v1/vouchers/{code}/use", json=use).status_code == 200
    other = client.post(f"/v1/vouchers/{code}/use", json=use | {"order_id": "till-2"})
    assert code_of(other) == (409, "voucher-used")
    assert code_of(client.post("/v1/orders", json=order)) == (409, "voucher-used")
    check_books(client)


def test_one_voucher_on_thirty_orders_at_once_pays_for_one(client: Client) -> None:
    code = with_voucher(client)

    def place(number: int) -> Any:
        own = Client(client.app, client.engine, client.keys)
        return own.post("/v1/orders", json=an_order(f"o{number}", voucher_code=code))

    with ThreadPoolExecutor(30) as pool:
        answers = list(pool.map(place, range(30)))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 29
    assert {answer.json["code"] for answer in answers if answer.status_code == 409} == {"voucher-used"}
    check_books(client)


def test_an_order_that_comes_after_its_voucher_was_used_takes_it_as_paid(client: Client) -> None:
    code = with_voucher(client)
    use = {"order_id": "o1", "member_id": "m1", "amount": "40"}
    assert client.post(f"/v1/vouchers/{code}/use", json=use).json["pays"] == "40.00"  # type: ignore[index]
    body: Any = client.post("/v1/orders", json=an_order(voucher_code=code)).json
    assert body["order"]["voucher_paid"] == "40.00"
    assert cancel(client).json["points"]["voucher_returned"] == "40.00"
    check_books(client)


@pytest.mark.parametrize(
    ("fields", "amount", "code"),
    [
        ({"minimum_spend": "1500"}, "1000", "voucher-below-minimum"),
        ({"applies_to": {"skus": ["coffee"]}}, "1000", "voucher-not-applicable"),
        ({"applies_to": {"categories": ["cups"]}}, "1000", "voucher-not-applicable"),
    ],
)
def test_a_voucher_that_is_not_for_these_goods_is_refused(
    client: Client, fields: dict[str, Any], amount: str, code: str
) -> None:
    """Complaint 44: the minimum spend was not enforced. https://github.com/frappe/erpnext/issues/14847"""
    voucher = with_voucher(client, **fields)
    lines = [{"sku": "tea", "quantity": 1, "amount": amount}]
    assert code_of(reserve(client, voucher, lines=lines)) == (409, code)
    order = an_order(amount=amount, voucher_code=voucher)
    assert code_of(client.post("/v1/orders", json=order)) == (409, code)
    assert client.get("/v1/orders/o1").status_code == 404
    assert state_of(client, voucher) == "issued"


def test_a_percentage_is_of_the_goods_that_it_is_for_and_capped(client: Client) -> None:
    voucher = with_voucher(
        client,
        kind="voucher_percent",
        value="60",
        percent_bp=1250,
        applies_to={"categories": ["tea"], "skus": ["cup"]},
    )
    client.put("/v1/items/oolong", json={"name": {"en": "Oolong"}, "category": ["tea"]})
    lines = [
        {"sku": "oolong", "quantity": 1, "amount": "100"},
        {"sku": "cup", "quantity": 1, "amount": "101"},
        {"sku": "plate", "quantity": 1, "amount": "999"},
    ]
    # 12.5 % of 201 is 25.125.
    assert reserve(client, voucher, lines=lines).json["pays"] == "25.13"
    lines[1]["amount"] = "901"
    assert reserve(client, voucher, lines=lines).json["pays"] == "60.00"


def test_free_shipping_pays_shipping_and_leaves_net_spend_alone(client: Client) -> None:
    voucher = with_voucher(client, kind="free_shipping", value="60")
    body: Any = client.post("/v1/orders", json=an_order(voucher_code=voucher, shipping="80")).json
    assert body["order"]["voucher_paid"] == "60.00"
    assert (client.get("/v1/members/m1/tier").json or {})["metrics"]["net_spend"] == "1000.00"


def test_a_reward_line_that_costs_nothing_earns_nothing(client: Client) -> None:
    """Complaint 14: the reward line itself earned a point. https://github.com/odoo/odoo/issues/150833"""
    enrol(client, "m2")
    plain: Any = client.post("/v1/orders", json=an_order("o0", "m2")).json
    import_file(client, b"CUP-1")
    voucher = with_voucher(client, kind="product", value=None, code_pool="spring")
    lines = [
        {"sku": "tea", "quantity": 1, "amount": "1000"},
        {"sku": "cup", "quantity": 1, "amount": "0"},
    ]
    body: Any = client.post("/v1/orders", json=an_order(lines=lines, voucher_code=voucher)).json
    assert (body["order"]["voucher_paid"], state_of(client, voucher)) == ("0.00", "used")
    assert body["points"]["earned"] == plain["points"]["earned"]
    refund(client, "r1", "1000")
    assert state_of(client, voucher) == "used"
    check_books(client)


def test_what_a_voucher_pays_never_starts_an_earn_spend_earn_loop(client: Client) -> None:
    """Complaint 16. https://github.com/nopSolutions/nopCommerce/issues/1917"""
    voucher = with_voucher(client, value="5000")
    body: Any = client.post("/v1/orders", json=an_order(voucher_code=voucher)).json
    assert (body["order"]["voucher_paid"], body["points"]["earned"]) == ("1000.00", 0)


def test_a_voucher_of_another_member_is_refused_but_a_gift_certificate_goes_round(client: Client) -> None:
    voucher = with_voucher(client)
    enrol(client, "m2")
    refused = client.post("/v1/orders", json=an_order(member_id="m2", voucher_code=voucher))
    assert code_of(refused) == (409, "voucher-of-other-member")
    assert code_of(reserve(client, voucher, member_id=None)) == (409, "voucher-of-other-member")
    offer(client, "gift", points=10, kind="gift_certificate", value="500")
    gift = taken(client, "gift")["voucher_code"]
    assert client.post("/v1/orders", json=an_order(member_id="m2", voucher_code=gift)).status_code == 201
    check_books(client)


def test_a_gift_certificate_pays_in_parts_and_gets_back_in_proportion(client: Client) -> None:
    with_points(client, 100)
    offer(client, "gift", points=10, kind="gift_certificate", value="500")
    redemption = taken(client, "gift")
    gift = redemption["voucher_code"]
    client.post("/v1/orders", json=an_order("o1", amount="200", shipping="50", voucher_code=gift))
    shown: Any = client.get(f"/v1/vouchers/{gift}").json
    assert (shown["state"], shown["balance"]) == ("issued", "250.00")
    refused = client.post(f"/v1/redemptions/{redemption['redemption_id']}/cancel", json={"reason": "x"})
    assert code_of(refused) == (409, "redemption-ended")
    client.post("/v1/orders", json=an_order("o2", amount="300", voucher_code=gift))
    shown = client.get(f"/v1/vouchers/{gift}").json
    assert (shown["state"], shown["balance"]) == ("used", "0.00")
    back = [refund(client, "r1", "100").json, refund(client, "r2", "33.33").json]
    assert [one["points"]["voucher_returned"] for one in back] == ["125.00", "41.66"]
    assert cancel(client, "o1").json["points"]["voucher_returned"] == "83.34"
    shown = client.get(f"/v1/vouchers/{gift}").json
    assert (shown["state"], shown["balance"]) == ("issued", "250.00")
    too_much = {"order_id": "o9", "amount": "250.01"}
    assert code_of(client.post(f"/v1/vouchers/{gift}/use", json=too_much)) == (409, "balance-too-low")
    check_books(client)


def test_vouchers_that_stand_alone_are_refused_together(client: Client) -> None:
    first = with_voucher(client)
    offer(client, "ten", points=1, value="10", combinable=True)
    second, third = (taken(client, "ten")["voucher_code"] for _ in range(2))
    assert reserve(client, second).status_code == 200
    assert code_of(reserve(client, first)) == (409, "voucher-not-combinable")
    assert reserve(client, third).status_code == 200
    refused = client.post("/v1/orders", json=an_order(voucher_codes=[first, second]))
    assert code_of(refused) == (409, "voucher-not-combinable")
    body: Any = client.post("/v1/orders", json=an_order(voucher_codes=[second, third])).json
    assert body["order"]["voucher_paid"] == "20.00"
    check_books(client)


def test_a_mistyped_code_is_told_from_an_unknown_one_without_a_look_up(client: Client) -> None:
    code = with_voucher(client)
    wrong = code[:-1] + ("0" if code[-1] != "0" else "1")
    statements: list[str] = []

    def note(_conn: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    event.listen(client.engine, "before_cursor_execute", note)
    assert code_of(client.get(f"/v1/vouchers/{wrong}")) == (422, "voucher-mistyped")
    assert code_of(client.get("/v1/vouchers/TM-123")) == (422, "voucher-mistyped")
    event.remove(client.engine, "before_cursor_execute", note)
    assert not [statement for statement in statements if "redemptions" in statement]
    assert code_of(client.get("/v1/vouchers/SPRING")) == (404, "unknown-voucher")
    typed = code.lower().replace("-", " ", 1).replace("0", "o").replace("1", "l")
    assert client.get(f"/v1/vouchers/{typed}").json["voucher_code"] == code  # type: ignore[index]
    order = an_order(voucher_code="SPRING")
    assert code_of(client.post("/v1/orders", json=order)) == (422, "voucher-not-known")
    assert code_of(client.post("/v1/orders", json=an_order(voucher_code=wrong))) == (422, "voucher-mistyped")


def test_an_expired_voucher_is_refused_unless_it_was_reserved_in_time(client: Client) -> None:
    code = with_voucher(client, valid_days=1)
    reserve(client, code)
    with client.engine.begin() as conn:
        conn.execute(text("UPDATE redemptions SET expires_at = now() - interval '1 minute'"))
    assert state_of(client, code) == "reserved"
    let_reservations_pass(client)
    assert state_of(client, code) == "expired"
    refused = client.post("/v1/orders", json=an_order(voucher_code=code))
    assert code_of(refused) == (409, "voucher-expired")


def test_a_voucher_that_expired_while_it_was_used_comes_back_for_thirty_days(client: Client) -> None:
    code = with_voucher(client, valid_days=1)
    client.post("/v1/orders", json=an_order(voucher_code=code))
    with client.engine.begin() as conn:
        conn.execute(text("UPDATE redemptions SET expires_at = now() - interval '1 minute'"))
    cancel(client)
    shown: Any = client.get(f"/v1/vouchers/{code}").json
    left = datetime.fromisoformat(shown["expires_at"]) - datetime.now(UTC)
    assert shown["state"] == "issued"
    assert timedelta(days=28) < left < timedelta(days=31)


def test_an_order_in_another_currency_is_paid_in_its_own(client: Client) -> None:
    voucher = with_voucher(client)
    order = an_order(amount="40", currency="USD", exchange_rate="32", voucher_code=voucher)
    body: Any = client.post("/v1/orders", json=order).json
    # NT$50 at 32 is 1.5625 dollars.
    assert body["order"]["voucher_paid"] == "1.56"


def test_the_refund_of_a_reward_paid_order_charges_no_point_twice(client: Client) -> None:
    """Complaints 2, 3 and 10: points charged again, or paid out, on the refund. https://github.com/odoo/odoo/pull/212922"""
    code = with_voucher(client)
    before = points_of(client)
    client.post("/v1/orders", json=an_order(voucher_code=code))
    refund(client, "r1", "1000")
    after = points_of(client)
    assert (after["available"], after["pending"]) == (before["available"], 0)
    assert state_of(client, code) == "issued"
    check_books(client)


def test_a_voucher_of_a_cancelled_redemption_is_refused(client: Client) -> None:
    with_points(client, 100)
    offer(client)
    redemption = taken(client)
    reserved = reserve(client, redemption["voucher_code"])
    assert reserved.status_code == 200
    path = f"/v1/redemptions/{redemption['redemption_id']}/cancel"
    assert code_of(client.post(path, json={"reason": "x"})) == (409, "voucher-reserved")
    client.post(f"/v1/vouchers/{redemption['voucher_code']}/release", json={"order_id": "o1"})
    assert client.post(path, json={"reason": "x"}).status_code == 200
    assert code_of(reserve(client, redemption["voucher_code"])) == (409, "voucher-cancelled")
    check_books(client)


def quoted(client: Client, order: dict[str, Any]) -> Any:
    """Return what an order would earn."""
    body = {name: value for name, value in order.items() if name not in {"order_id", "placed_at"}}
    response = client.post("/v1/points/quotes", json=body)
    assert response.status_code == 200, response.data
    return response.json


def test_the_voucher_pays_first_and_points_no_more_than_it_leaves(client: Client) -> None:
    code = with_voucher(client, value="90")
    hold_id = hold(client, 90).json["hold_id"]
    order = an_order(amount="80", shipping="25", points_hold_id=hold_id, voucher_code=code)
    told = quoted(client, order)
    body: Any = client.post("/v1/orders", json=order).json
    # The voucher pays all goods; NT$25 of shipping are 84 points at 0.30.
    assert (body["order"]["voucher_paid"], body["order"]["points_paid"]) == ("80.00", "25.00")
    assert (body["points"]["spent"], points_of(client)["available"]) == (84, 6)
    assert (told["voucher_paid"], told["points_paid"], told["points_spent"]) == ("80.00", "25.00", 84)
    assert cancel(client).json["points"]["returned"] == 84
    assert points_of(client)["available"] == 90
    check_books(client)


def test_a_hold_that_the_voucher_leaves_nothing_for_is_free_at_once(client: Client) -> None:
    code = with_voucher(client, value="5000")
    hold_id = hold(client, 90).json["hold_id"]
    order = an_order(points_hold_id=hold_id, voucher_code=code)
    answers: Any = [client.post("/v1/orders", json=order).json for _ in range(2)]
    assert [answer["points"]["spent"] for answer in answers] == [0, 0]
    assert (client.get(f"/v1/points/holds/{hold_id}").json or {})["state"] == "released"
    points = points_of(client)
    assert (points["available"], points["held"]) == (90, 0)
    again = client.post("/v1/orders", json=an_order("o2", points_hold_id=hold_id))
    assert code_of(again) == (409, "hold-ended")
    check_books(client)


def test_points_that_were_captured_before_the_order_pay_first(client: Client) -> None:
    code = with_voucher(client, value="5000")
    hold_id = hold(client, 90).json["hold_id"]
    client.post(f"/v1/points/holds/{hold_id}/capture", json={"order_id": "o1"})
    order = an_order(points_hold_id=hold_id, voucher_code=code)
    body: Any = client.post("/v1/orders", json=order).json
    assert (body["order"]["points_paid"], body["order"]["voucher_paid"]) == ("27.00", "973.00")
    assert cancel(client).json["points"]["returned"] == 90
    check_books(client)


@pytest.mark.parametrize("counts", [{}, {"shipping": True}, {"shipping": True, "vouchers_paid": True}])
def test_a_quote_with_voucher_and_points_is_what_the_order_then_earns(
    client: Client, counts: dict[str, bool]
) -> None:
    publish(client, {"currency": "TWD", "base": {"points": 1, "per": "1"}, "counts": counts})
    code = with_voucher(client, value="60", kind="free_shipping", combinable=True)
    offer(client, "ten", points=1, value="10", combinable=True)
    codes = [code, taken(client, "ten")["voucher_code"]]
    hold_id = hold(client, 50).json["hold_id"]
    order = an_order(shipping="100", tax="50", points_hold_id=hold_id, voucher_codes=codes)
    told = quoted(client, order)
    reserve(client, code)
    assert quoted(client, order) == told
    body: Any = client.post("/v1/orders", json=order).json
    # 1000 and 50 of tax, less 15 by points and 10 by a voucher; of shipping 60 are paid by the other one.
    expected = {(): 1025, ("shipping",): 1065, ("shipping", "vouchers_paid"): 1135}[tuple(counts)]
    assert (told["points"], body["points"]["earned"]) == (expected, expected)
    assert (told["voucher_paid"], told["points_spent"]) == ("70.00", body["points"]["spent"])
    check_books(client)


def test_a_quote_refuses_what_the_order_would_be_refused_for_and_writes_nothing(client: Client) -> None:
    code = with_voucher(client, minimum_spend="1500")
    order = {"currency": "TWD", "lines": [{"sku": "tea", "quantity": 1, "amount": "1000"}]}
    for fields, status, problem in (
        ({"member_id": "m1", "voucher_code": code}, 409, "voucher-below-minimum"),
        ({"voucher_code": code}, 409, "voucher-of-other-member"),
        ({"member_id": "m1", "voucher_codes": ["SPRING"]}, 422, "voucher-not-known"),
    ):
        refused = client.post("/v1/points/quotes", json=order | fields)
        assert code_of(refused) == (status, problem)
    assert state_of(client, code) == "issued"
