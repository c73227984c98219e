"""What users of other loyalty systems suffered with time, people and money, and what happens here.

Numbers go on from `test_points_complaints.py`; docs/complaints.md has all of them.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import text

from tests.api.conftest import Client, an_order, enrol
from tests.api.test_points import adjust, points_of
from tests.api.test_points_complaints import buy, holdings
from tests.api.test_points_holds import hold, with_points
from tests.api.test_points_paid import pay, refund
from tests.days import today


def ago(days: float) -> str:
    return (datetime.now(UTC) - timedelta(days=days)).isoformat()


def test_a_retry_with_the_callers_own_key_gets_the_first_answer_and_no_second_effect(client: Client) -> None:
    """28. Key made on the server defeats itself on retry: the client must make it.

    https://github.com/Ixotic27/The-Leetcode-City/pull/724
    """
    with_points(client, 100)
    first, again = (hold(client, 40, key="checkout-7") for _ in range(2))
    assert (again.status_code, again.data) == (first.status_code, first.data)
    assert again.headers["Idempotent-Replayed"] == "true"
    other = hold(client, 41, key="checkout-7")
    assert (other.status_code, other.json["code"]) == (422, "idempotency-key-reused")
    assert holdings(client) == (60, 0, 40)


def test_points_cannot_be_used_before_the_return_period_is_over(client: Client) -> None:
    """35. Delay use until the return window closes (14 days by German law); validity in days.

    https://github.com/nopSolutions/nopCommerce/issues/576 and
    https://github.com/nopSolutions/nopCommerce/issues/1912
    """
    enrol(client, joined_at=ago(60))
    buy(client, "young", placed_at=ago(5))
    assert holdings(client) == (0, 100, 0)
    refused = hold(client, 1)
    assert (refused.status_code, refused.json["code"]) == (409, "insufficient-points")
    buy(client, "old", placed_at=ago(9))
    assert holdings(client) == (100, 100, 0)
    assert hold(client, 100).status_code == 201


def test_an_expiry_is_the_day_that_staff_gave_in_the_shops_zone(client: Client) -> None:
    """36. Expiry shifts by a day or hours through the time zone.

    https://github.com/Kademi/kademi-dev/issues/4759
    """
    enrol(client)
    on = (today() + timedelta(days=1)).isoformat()
    adjust(client, 10, expires_on=on)
    assert points_of(client)["expiring"] == [{"points": 10, "on": on}]
    with client.engine.connect() as conn:
        at: datetime = conn.scalar(text("SELECT expires_at FROM lots")) or datetime.now(UTC)
    # Midnight in Taipei, eight hours ahead of UTC all year.
    assert at == datetime.fromisoformat(f"{on}T00:00:00+08:00")


def test_two_accounts_that_become_one_keep_every_point(client: Client) -> None:
    """38. Merging two contacts loses or strands points.

    https://github.com/odoo/odoo/pull/171706 , https://github.com/mautic/mautic/pull/5964
    """
    for number, member in enumerate(("m1", "m2"), start=1):
        with_points(client, 100 * number, member=member)
        client.post("/v1/orders", json=an_order(f"o-{member}", member, "3000"))
        hold(client, 10 * number, member=member)
    merged = client.post(
        "/v1/members/m2/merge",
        json={"into": "m1", "reason": "the same person"},
        headers={"Idempotency-Key": "merge"},
    )
    assert merged.status_code == 200
    assert holdings(client) == (270, 200, 30)
    # What comes late for the account that is gone goes where its points went.
    refund(client, "3000", "r2", "o-m2")
    assert holdings(client) == (270, 100, 30)


def test_an_order_in_another_currency_earns_what_it_is_worth_at_its_own_rate(client: Client) -> None:
    """40. Currency arbitrage on points; programmes loaded in the wrong currency.

    https://github.com/Automattic/woocommerce-payments/issues/2848 and https://github.com/odoo/odoo/pull/238491
    """
    enrol(client)
    refused: Any = client.post("/v1/orders", json=an_order("usd", amount="100", currency="USD"))
    assert (refused.status_code, refused.json["errors"][0]["pointer"]) == (422, "/exchange_rate")
    assert holdings(client) == (0, 0, 0)
    earned = buy(client, "usd", "100", currency="USD", exchange_rate="30")["points"]["earned"]
    assert earned == buy(client, "twd", "3000")["points"]["earned"] == 100
    refund(client, "50", "r1", "usd")
    assert holdings(client) == (0, 150, 0)


def test_reading_one_members_points_changes_nobodys(client: Client) -> None:
    """41. A read query had a side effect and wrote one customer's balance from another's.

    https://github.com/nopSolutions/nopCommerce/issues/6752
    """
    with_points(client, 100)
    with_points(client, 7, member="m2")
    buy(client, placed_at=ago(0))
    hold_id = hold(client, 40).json["hold_id"]
    before = read_everything(client)
    for path in (
        "points",
        "points/transactions",
        "points/statement",
        "card",
        "tier",
        f"points?as_of={today()}",
    ):
        assert client.get(f"/v1/members/m1/{path}").status_code == 200
    assert client.get(f"/v1/points/holds/{hold_id}").status_code == 200
    assert client.get("/v1/points/liability").status_code == 200
    assert read_everything(client) == before


def read_everything(client: Client) -> list[list[Any]]:
    """Every row of the ledger."""
    tables = ("balances", "lots", "ledger_transactions", "postings", "point_holds", "lot_expiries")
    with client.engine.connect() as conn:
        return [
            [tuple(row) for row in conn.execute(text(f"SELECT * FROM {one} ORDER BY 1, 2"))] for one in tables
        ]


def test_points_of_an_old_system_come_over_without_faking_orders(client: Client) -> None:
    """42. Bring points over from an old system without faking invoices.

    https://github.com/frappe/erpnext/issues/12790
    """
    enrol(client)
    on = (today() + timedelta(days=200)).isoformat()
    moved = adjust(client, 1234, expires_on=on, reason="brought over from the old system")
    assert (moved.status_code, moved.json["expires_on"]) == (201, on)
    assert holdings(client) == (1234, 0, 0)
    with client.engine.connect() as conn:
        assert conn.scalar(text("SELECT count(*) FROM orders")) == 0
    tier: Any = client.get("/v1/members/m1/tier").json
    assert tier["tier"] == "member", "points that were moved are no spend"


def test_a_manual_change_says_who_and_why_and_a_mistaken_redemption_can_be_undone(client: Client) -> None:
    """43. Manual changes need a type, a reason, who did it, and a log row; undo of a mistaken redemption.

    https://github.com/ChrisASearles/CompLinks/issues/159 and
    https://github.com/wpswings/points-and-rewards-for-woocommerce/issues/155
    """
    enrol(client)
    nameless = adjust(client, 50, reason="")
    assert (nameless.status_code, nameless.json["errors"][0]["pointer"]) == (422, "/reason")
    adjust(client, 50, reason="sorry for the delay")
    entry = (client.get("/v1/members/m1/points/transactions").json or {})["data"][0]
    assert (entry["kind"], entry["reason"]) == ("adjust", "sorry for the delay")
    assert entry["actor"]
    row = (client.get("/v1/audit-log", role="admin").json or {})["data"][0]
    assert (row["action"], row["actor"]) == ("points.adjusted", entry["actor"])
    pay(client, 50)
    assert holdings(client)[0] == 0
    undone = refund(client, "1000").json["points"]
    assert undone["returned"] == 50
    assert holdings(client) == (50, 0, 0)


def test_no_more_is_redeemed_than_the_shop_set_aside(client: Client) -> None:
    """44. Cap on how much may be redeemed: the hold is the cap, and nothing gets past it.

    https://github.com/frappe/erpnext/issues/14847
    """
    with_points(client, 1000)
    hold_id = hold(client, 300).json["hold_id"]
    capture = f"/v1/points/holds/{hold_id}/capture"
    above: Any = client.post(capture, json={"order_id": "o1", "points": 301})
    assert (above.status_code, above.json["code"]) == (422, "capture-above-hold")
    assert holdings(client) == (700, 0, 300)
    assert (client.post(capture, json={"order_id": "o1", "points": 120}).json or {})["captured"] == 120
    assert holdings(client) == (880, 0, 0)
