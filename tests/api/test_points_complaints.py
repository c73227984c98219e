"""What users of other loyalty systems suffered with points, and what happens here in the same situation."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from service.programme.operations import get_programme
from tests.api.conftest import Client, an_order, enrol
from tests.api.test_points import adjust, points_of
from tests.api.test_points_holds import hold, let_time_pass, with_points
from tests.api.test_points_paid import a_refund, pay, refund
from tests.api.test_rewards import check_books
from tests.days import today


def buy(client: Client, order_id: str = "o1", amount: str = "3000", **fields: Any) -> dict[str, Any]:
    """Place an order of m1 and return the answer."""
    response = client.post("/v1/orders", json=an_order(order_id, amount=amount, **fields))
    assert response.status_code == 201, response.data
    return response.json or {}


def cancel(client: Client, order_id: str = "o1") -> Any:
    """Call an order off."""
    body = {"cancelled_at": datetime.now(UTC).isoformat(), "reason": "changed their mind"}
    return client.post(f"/v1/orders/{order_id}/cancel", json=body)


def set_up(client: Client, **values: Any) -> None:
    """Change settings; return periods end at once, so that points can be used."""
    body = {"values": {"return_period_days": 0} | values, "reason": "a test"}
    assert client.put("/v1/settings", role="admin", json=body).status_code == 200
    with client.engine.connect() as conn:
        get_programme(conn, fresh=True)


def holdings(client: Client) -> tuple[int, int, int]:
    """Available, pending and held points of m1."""
    points = points_of(client)
    return points["available"], points["pending"], points["held"]


def kinds(client: Client) -> Counter[str]:
    page = client.get("/v1/members/m1/points/transactions?limit=500").json or {}
    return Counter(entry["kind"] for entry in page["data"])


def test_buying_refunding_and_buying_again_leaves_no_points_behind(client: Client) -> None:
    """1. A refund at the till never took back earned points: buy, refund, keep the points, repeat.

    https://github.com/odoo/odoo/pull/257854 and https://github.com/odoo/odoo/pull/238806
    """
    enrol(client)
    for number in range(5):
        buy(client, f"o{number}")
        refund(client, "3000", f"r{number}", f"o{number}")
    assert holdings(client) == (0, 0, 0)
    assert points_of(client)["lifetime_earned"] == 0


def test_the_refund_of_an_order_paid_with_points_gives_them_back_and_charges_none(client: Client) -> None:
    """2. Refund of an order paid with points charged the points a second time.

    https://github.com/odoo/odoo/pull/212922
    """
    with_points(client, 1000)
    pay(client, 1000)
    assert holdings(client)[0] == 0
    answer = refund(client, "1000").json["points"]
    assert (answer["returned"], answer["reversed"]) == (1000, 23)
    assert holdings(client) == (1000, 0, 0)


def test_refunding_one_product_of_an_order_paid_with_points_gives_back_its_share(client: Client) -> None:
    """3. The same fault again when only a product, not the reward line, is refunded.

    https://github.com/odoo/odoo/pull/221928
    """
    with_points(client, 1000)
    lines = [{"sku": "tea", "quantity": 1, "amount": "750"}, {"sku": "cup", "quantity": 1, "amount": "250"}]
    pay(client, 1000, lines=lines)
    body = a_refund("250") | {"lines": [{"sku": "cup", "quantity": 1, "amount": "250"}]}
    client.post("/v1/refunds", json=body)
    assert holdings(client)[0] == 250
    refund(client, "750", "r2")
    assert holdings(client) == (1000, 0, 0)


def test_a_return_writes_its_own_entry_against_what_was_earned(client: Client) -> None:
    """4. A sales return writes no negative points, so returned goods still pay.

    https://github.com/frappe/erpnext/issues/32951
    """
    enrol(client)
    buy(client)
    refund(client, "3000")
    page = client.get("/v1/members/m1/points/transactions").json or {}
    assert [(entry["kind"], entry["refund_id"]) for entry in page["data"]] == [
        ("reverse", "r1"),
        ("earn", None),
    ]
    assert holdings(client) == (0, 0, 0)


def test_an_order_that_redeemed_points_is_taken_back_to_the_point_when_it_is_returned(client: Client) -> None:
    """5. Wrong points when the returned invoice had itself redeemed points.

    https://github.com/frappe/erpnext/pull/30242
    """
    with_points(client, 2000)
    earned = pay(client, 2000, order_id="o1").json["points"]["earned"]
    assert earned == (1000 - 600) // 30
    first = refund(client, "400", "r1").json["points"]
    second = refund(client, "600", "r2").json["points"]
    assert first["reversed"] + second["reversed"] == earned
    assert first["returned"] + second["returned"] == 2000
    assert holdings(client) == (2000, 0, 0)


def test_a_refund_takes_back_by_the_award_on_record_and_not_by_todays_settings(client: Client) -> None:
    """6. Clawback recomputed with today's settings in place of the award on record.

    https://github.com/nopSolutions/nopCommerce/issues/5757
    """
    enrol(client)
    buy(client, amount="3000")
    set_up(client, earning={"points": 10, "per": "30"}, point_value="3")
    assert refund(client, "1500").json["points"]["reversed"] == 50
    assert holdings(client) == (0, 50, 0)


def test_the_running_balance_is_right_after_a_cancellation_and_a_refund(client: Client) -> None:
    """7. Running balance wrong after cancel followed by refund.

    https://github.com/nopSolutions/nopCommerce/issues/5595
    """
    enrol(client)
    set_up(client)
    buy(client, "o1")
    buy(client, "o2")
    refund(client, "1500", "r1", "o1")
    cancel(client, "o1")
    refused = refund(client, "100", "r2", "o1")
    assert (refused.status_code, refused.json["code"]) == (422, "refund-above-left")
    statement = client.get("/v1/members/m1/points/statement").json or {}
    assert [line["balance"]["available"] for line in statement["data"]] == [100, 200, 150, 100]
    assert statement["closing"]["available"] == holdings(client)[0] == 100


def test_a_returned_quantity_takes_back_its_points_and_gives_back_what_it_cost(client: Client) -> None:
    """8. Order-total points not returned on refund; returned quantity ignored.

    https://github.com/wpswings/points-and-rewards-for-woocommerce/issues/112 and
    https://github.com/PrestaShop/loyalty/pull/23
    """
    with_points(client, 1000)
    pay(client, 1000, lines=[{"sku": "tea", "quantity": 3, "amount": "900"}])
    body = a_refund("300") | {"lines": [{"sku": "tea", "quantity": 1}]}
    answer: Any = client.post("/v1/refunds", json=body)
    assert answer.json["points"]["returned"] == 333
    assert answer.json["points"]["reversed"] == 20 - 400 // 30


def test_an_order_called_off_and_placed_after_all_has_its_points_again(client: Client) -> None:
    """9. Status flips (cancelled, then completed) leave the points gone for good.

    https://github.com/wpswings/points-and-rewards-for-woocommerce/issues/111
    """
    with_points(client, 1000)
    pay(client, 1000)
    cancel(client)
    assert holdings(client) == (1000, 0, 0)
    again = pay(client, 1000, order_id="o1-again").json["points"]
    assert (again["spent"], again["earned"]) == (1000, 23)
    assert holdings(client) == (0, 23, 0)


def test_what_points_paid_is_never_given_back_as_money(client: Client) -> None:
    """10. Refund paid the spent points out in cash.

    https://github.com/mollie/magento2/issues/951
    """
    with_points(client, 1000)
    pay(client, 1000)
    answer = refund(client, "700").json
    assert answer["refund"]["amount"] == "700.00"
    assert answer["points"]["returned"] == 700
    order = client.get("/v1/orders/o1").json or {}
    assert (order["order"]["refunded"], order["order"]["points_paid"]) == ("700.00", "300.00")
    assert holdings(client)[0] == 700


def test_a_line_that_was_voided_earns_nothing(client: Client) -> None:
    """11. Voided line items still earn.

    https://github.com/FreeOpenSourcePOS/FloCafe/issues/720
    """
    enrol(client)
    lines = [{"sku": "tea", "quantity": 1, "amount": "3000"}, {"sku": "cup", "quantity": 2, "amount": "0"}]
    assert buy(client, lines=lines)["points"]["earned"] == 100


def test_one_cancellation_undoes_the_order_and_everything_points_did_for_it(client: Client) -> None:
    """12. One action to cancel an order (or part) and refund its points.

    https://github.com/Kademi/kademi-dev/issues/5655 and
    https://github.com/vinsol-spree-contrib/spree-loyalty-points/issues/8
    """
    with_points(client, 1000)
    before = points_of(client)
    pay(client, 600)
    refund(client, "250")
    answer = cancel(client).json["points"]
    assert (answer["returned"], answer["shortfall"]) == (450, 0)
    assert points_of(client) == before


def test_what_points_paid_lowers_what_the_order_earns(client: Client) -> None:
    """13. Should the reward's value lower the earning base? Users say yes.

    https://github.com/odoo/odoo/issues/114004 and https://github.com/odoo/odoo/pull/124480
    """
    with_points(client, 1000)
    assert pay(client, 1000).json["points"]["earned"] == 700 // 30
    assert buy(client, "o2", "1000")["points"]["earned"] == 1000 // 30


def test_a_reward_line_for_nothing_earns_no_point(client: Client) -> None:
    """14. The reward line itself was counted as a unit bought and earned a point.

    https://github.com/odoo/odoo/issues/150833
    """
    enrol(client)
    assert buy(client, lines=[{"sku": "gift", "quantity": 1, "amount": "0"}])["points"]["earned"] == 0
    assert holdings(client) == (0, 0, 0)


def test_spending_a_point_leaves_the_rest_of_the_order_earning(client: Client) -> None:
    """15. No points earned at all when any points were spent on the order.

    https://github.com/nopSolutions/nopCommerce/issues/3391 and
    https://github.com/nopSolutions/nopCommerce/issues/5764
    """
    with_points(client, 1)
    assert pay(client, 1).json["points"] == {
        "earned": 33,
        "reversed": 0,
        "spent": 1,
        "returned": 0,
        "pending_until": points_pending_until(client),
    }


def points_pending_until(client: Client) -> str:
    order = client.get("/v1/orders/o1").json or {}
    return str(order["points"]["pending_until"])


def test_shipping_earns_nothing_and_points_do_not_earn_points(client: Client) -> None:
    """16. Exclude shipping; stop earn-spend-earn loops.

    https://github.com/nopSolutions/nopCommerce/issues/1917 and
    https://github.com/Repair-DeskPOS/RepairDesk-BUGS-IMPROVEMENTS/issues/1050
    """
    enrol(client)
    set_up(client, earning={"points": 1, "per": "0.30"})
    assert buy(client, amount="300", shipping="300")["points"]["earned"] == 1000
    for number in range(3):
        answer = pay(client, 1000, f"loop{number}", lines=[{"sku": "tea", "quantity": 1, "amount": "300"}])
        assert answer.json["points"]["earned"] == 0
        cancel(client, f"loop{number}")
    assert holdings(client) == (1000, 0, 0)


def test_tax_counts_or_does_not_as_the_settings_say_also_where_points_pay(client: Client) -> None:
    """17. Points should cover the total with tax; tax-inclusive mode then takes the wrong number.

    https://github.com/wpswings/points-and-rewards-for-woocommerce/issues/189
    """
    with_points(client, 2000)
    assert pay(client, 1000, "o1", tax="50").json["points"]["earned"] == (1050 - 300) // 30
    set_up(client, spend_counts={"tax": False})
    assert pay(client, 1000, "o2", tax="50").json["points"]["earned"] == (1000 - 300) // 30


def test_amounts_that_floats_cannot_hold_are_exact(client: Client) -> None:
    """20. Float residue of -1e-14 made a valid coupon invalid.

    https://github.com/odoo/odoo/pull/111670
    """
    with_points(client, 1)
    set_up(client, earning={"points": 1, "per": "0.10"}, point_value="0.10")
    lines = [{"sku": sku, "quantity": 1, "amount": amount} for sku, amount in (("a", "0.1"), ("b", "0.2"))]
    answer = pay(client, 1, lines=lines).json
    assert (answer["order"]["goods"], answer["points"]["earned"]) == ("0.30", 2)
    assert refund(client, "0.30").json["points"] == {
        "reversed": 2,
        "returned": 1,
        "shortfall": 0,
        "unallotted": "0.00",
        "voucher_returned": "0.00",
    }
    assert holdings(client) == (1, 0, 0)


def test_a_single_point_stays_a_point(client: Client) -> None:
    """21. Currency rounding applied to plain points turned 1 point into 0.

    https://github.com/odoo/odoo/pull/259660
    """
    with_points(client, 1)
    assert hold(client, 1).json["points"] == 1
    assert holdings(client) == (0, 0, 1)


def test_exactly_as_many_points_are_taken_as_were_asked_for(client: Client) -> None:
    """22. Slightly too many points taken; all points above the block size taken at once.

    https://github.com/odoo/odoo/pull/219640 and https://github.com/odoo/odoo/pull/169950
    """
    with_points(client, 1000)
    for points in (7, 101, 333):
        before = holdings(client)[0]
        pay(client, points, f"o{points}")
        assert holdings(client)[0] == before - points


def test_an_order_takes_no_more_points_than_it_costs(client: Client) -> None:
    """22. Slightly too many points taken; all points above the block size taken at once.

    https://github.com/odoo/odoo/pull/219640 and https://github.com/odoo/odoo/pull/169950
    """
    with_points(client, 1000)
    body = pay(client, 1000, amount="100").json
    # A point is worth 0.30: 333 would leave 0.10 unpaid.
    assert (body["points"]["spent"], body["order"]["points_paid"]) == (334, "100.00")
    assert holdings(client) == (666, 0, 0)
    assert client.get("/v1/orders/o1").json["points"]["spent"] == 334  # type: ignore[index]
    assert refund(client, "100").json["points"]["returned"] == 334
    assert holdings(client) == (1000, 0, 0)
    check_books(client)


def test_points_are_whole_numbers_wherever_they_are_shown(client: Client) -> None:
    """23. Customers saw 268.28000000000003 points.

    https://github.com/odoo/odoo/pull/153541
    """
    with_points(client, 100)
    for number in range(7):
        buy(client, f"o{number}", "268.28")
    points = points_of(client)
    assert all(type(points[name]) is int for name in ("available", "pending", "held", "lifetime_earned"))
    assert points["value"] == "30.00"


def test_replaying_the_order_event_pays_once(client: Client) -> None:
    """24. Replaying the order event pays again.

    https://github.com/AnthropicBots/compressor/issues/1476
    """
    with_points(client, 100)
    body = an_order(amount="3000", points_hold_id=hold(client, 100).json["hold_id"])
    answers = [client.post("/v1/orders", json=body).status_code for _ in range(4)]
    assert answers == [201, 200, 200, 200]
    assert kinds(client) == {"adjust": 1, "hold": 1, "capture": 1, "earn": 1}


def test_of_fifty_orders_that_spend_the_same_points_one_is_paid(client: Client) -> None:
    """25. Two redemptions at once spend the same points; wants 409 for the loser, and a test with 50 callers.

    https://github.com/Nova-reward/Nova-Rewards/issues/190
    """
    with_points(client, 100)
    hold_id = hold(client, 100).json["hold_id"]

    def place(number: int) -> int:
        body = an_order(f"o{number}", points_hold_id=hold_id)
        return client.post("/v1/orders", json=body).status_code

    with ThreadPoolExecutor(16) as pool:
        assert Counter(pool.map(place, range(50))) == {201: 1, 409: 49}
    assert kinds(client)["capture"] == 1
    with client.engine.connect() as conn:
        assert conn.scalar(text("SELECT count(*) FROM orders")) == 1


def test_two_deliveries_of_one_message_at_once_are_one(client: Client) -> None:
    """26. Two deliveries of one webhook both pass the check before either records the id.

    https://github.com/stellarBank/StellarBank/issues/39 and
    https://github.com/Ixotic27/The-Leetcode-City/issues/377
    """
    with_points(client, 100)
    body = an_order(amount="3000", points_hold_id=hold(client, 100).json["hold_id"])
    back = a_refund("1500")
    with ThreadPoolExecutor(16) as pool:
        orders = Counter(pool.map(lambda _: client.post("/v1/orders", json=body).status_code, range(16)))
        refunds = Counter(pool.map(lambda _: client.post("/v1/refunds", json=back).status_code, range(16)))
    assert orders == refunds == {201: 1, 200: 15}
    assert holdings(client) == (50, 1485 // 30, 0)


def test_points_set_aside_for_a_payment_that_fails_are_not_lost(client: Client) -> None:
    """29. Coupon consumed when the buyer clicks pay, lost if payment fails.

    https://github.com/thelia/thelia/issues/2195
    """
    with_points(client, 100)
    told, abandoned = hold(client, 40).json["hold_id"], hold(client, 60).json["hold_id"]
    assert holdings(client) == (0, 0, 100)
    client.post(f"/v1/points/holds/{told}/release")
    assert holdings(client) == (40, 0, 60)
    let_time_pass(client, abandoned)
    assert holdings(client) == (100, 0, 0)


@pytest.mark.parametrize("how", ["released", "expired", "cancelled", "refunded"])
def test_points_of_orders_that_came_to_nothing_can_be_spent_again(client: Client, how: str) -> None:
    """30. Usage counts must fall back for unpaid and cancelled orders.

    https://github.com/Sylius/Sylius/issues/944 and https://github.com/Sylius/Sylius/issues/10124
    """
    with_points(client, 100)
    if how in {"cancelled", "refunded"}:
        pay(client, 100)
        undo = cancel(client) if how == "cancelled" else refund(client, "1000")
        assert undo.json["points"]["returned"] == 100
    else:
        hold_id = hold(client, 100).json["hold_id"]
        if how == "released":
            client.post(f"/v1/points/holds/{hold_id}/release")
        else:
            let_time_pass(client, hold_id)
    assert pay(client, 100, "o2").json["points"]["spent"] == 100


def test_another_hold_on_a_placed_order_is_refused_and_neither_is_lost(client: Client) -> None:
    """31. Swapping the reward on a confirmed order loses track of the first coupon.

    https://github.com/odoo/odoo/pull/222054
    """
    with_points(client, 100)
    first, second = hold(client, 30).json["hold_id"], hold(client, 50).json["hold_id"]
    body = an_order(points_hold_id=first)
    client.post("/v1/orders", json=body)
    refused: Any = client.post("/v1/orders", json=body | {"points_hold_id": second})
    assert (refused.status_code, refused.json["code"]) == (409, "order-conflict")
    states = [(client.get(f"/v1/points/holds/{one}").json or {})["state"] for one in (first, second)]
    assert states == ["captured", "open"]
    assert holdings(client)[0] == 20


def test_an_expiry_takes_only_what_is_left_after_what_was_spent(client: Client) -> None:
    """32. Expired credits drop out but their spends stay: balances collapse.

    https://github.com/FreeOpenSourcePOS/FloCafe/issues/78
    """
    enrol(client)
    adjust(client, 100, expires_on=(today() + timedelta(days=5)).isoformat())
    adjust(client, 40)
    pay(client, 70)
    with client.engine.begin() as conn:
        conn.execute(text("UPDATE lots SET expires_at = expires_at - interval '30 days'"))
        conn.execute(text("UPDATE balances SET next_due_at = next_due_at - interval '30 days'"))
    assert holdings(client)[0] == 40
    adjust(client, 1)
    assert holdings(client)[0] == 41


def test_every_expiry_is_shown_and_expiry_can_be_turned_off(client: Client) -> None:
    """33. Only the earliest expiry is shown; a dead on/off setting.

    https://github.com/FreeOpenSourcePOS/FloCafe/issues/62
    """
    enrol(client)
    days = [(today() + timedelta(days=days)).isoformat() for days in (3, 30, 300)]
    for points, on in enumerate(days, start=1):
        adjust(client, points, expires_on=on)
    shown = [{"points": points, "on": on} for points, on in enumerate(days, start=1)]
    assert points_of(client)["expiring"] == shown
    set_up(client, points_expiry={"model": "rolling_months", "months": 1})
    buy(client, "on")
    set_up(client, points_expiry={"model": "none"})
    buy(client, "off")
    assert sum(one["points"] for one in points_of(client)["expiring"]) == 6 + 100


def test_what_expires_first_is_spent_first(client: Client) -> None:
    """34. Points that expire, drawn oldest expiry first, and a portal that shows each date.

    https://github.com/odoo/odoo/pull/206048
    """
    enrol(client)
    soon, later = ((today() + timedelta(days=days)).isoformat() for days in (3, 30))
    adjust(client, 10)
    adjust(client, 20, expires_on=later)
    adjust(client, 30, expires_on=soon)
    pay(client, 40)
    assert points_of(client)["expiring"] == [{"points": 10, "on": later}]
    assert holdings(client)[0] == 20
