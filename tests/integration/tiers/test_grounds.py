"""A tier explained from the shop's own orders and refunds."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection

from service.tiers.defaults import default_ruleset
from service.tiers.errors import AsOfInFuture, NoMembership
from service.tiers.grounds.operations import explain_tier
from tests.integration.tiers.shop import START, Shop, Statements, programme_in


@pytest.fixture
def shop(conn: Connection) -> Shop:
    """Two years in the life of m1, who reached Gold, lost it, and got something back."""
    shop = Shop(conn, default_ruleset(currency="TWD"), programme=programme_in("Asia/Taipei"))
    shop.enrol()
    for order_id, day, amount in (
        ("o1", 0.25, 2000),
        ("o2", 20, 1500),
        ("o3", 40, 4000),
        ("o4", 60, 3000),
        ("o5", 70, 5000),
    ):
        shop.order(order_id, day, amount)
    shop.refund("r1", "o3", 75, 500)
    shop.refund("u1", None, 76, 300)
    shop.order("o6", 77, 900)
    shop.cancel("o6", 78)
    return shop


def explained(shop: Shop, day: float | None = None, **options: Any) -> dict[str, Any]:
    """Return m1's explanation for staff, in English, unless told otherwise."""
    if day is not None:
        shop.now = max(shop.now, shop.at(day))
    given: dict[str, Any] = {"audience": "staff", "as_of": None, "limit": 50, "locale": "en"}
    return explain_tier(
        shop.conn,
        member_key=shop.keys["m1"],
        now=shop.now,
        programme=shop.programme,
        **(given | options),
    )


def test_every_order_and_refund_that_counts_is_listed_with_what_was_given_back(shop: Shop) -> None:
    facts = explained(shop, 80)["facts"]
    assert facts["total"] == 7
    assert [
        (fact["order_id"] or fact["refund_id"], fact["net_left"], fact["counts"], fact["leaves_on"])
        for fact in facts["data"]
    ] == [
        ("o6", "0.00", False, "2025-03-18"),
        ("u1", "-300.00", True, "2025-03-17"),
        ("o5", "5000.00", True, "2025-03-11"),
        ("o4", "3000.00", True, "2025-03-01"),
        ("o3", "3500.00", True, "2025-02-09"),
        ("o2", "1500.00", True, "2025-01-20"),
        ("o1", "2000.00", True, "2024-12-31"),
    ]
    by_id = {fact["order_id"]: fact for fact in facts["data"]}
    assert by_id["o3"]["given_back"] == [
        {
            "kind": "refund",
            "refund_id": "r1",
            "at": "2024-03-16T04:00:00Z",
            "goods": "500.00",
            "net": "500.00",
        }
    ]
    assert [(back["kind"], back["refund_id"]) for back in by_id["o6"]["given_back"]] == [
        ("cancellation", None)
    ]
    assert explained(shop)["metrics"]["net_spend"] == "14700.00"


def test_what_leaves_is_told_day_by_day_with_what_it_changes(shop: Shop) -> None:
    leaving = explained(shop, 80)["leaving"]
    assert leaving["total"] == 6
    assert leaving["data"][0] == {
        "on": "2024-12-31",
        "order_ids": ["o1"],
        "refund_ids": [],
        "net": "2000.00",
        "changes": [
            {"metric": "net_spend", "from": "14700.00", "to": "12700.00"},
            {"metric": "active_days", "from": 5, "to": 4},
            {"metric": "orders", "from": 5, "to": 4},
            {"metric": "visit_interval_days", "from": "17.50", "to": "16.67"},
        ],
        "enough": False,
    }
    assert leaving["data"][-1]["refund_ids"] == ["u1"]


def test_staff_learn_by_which_rule_by_which_order_and_what_comes(shop: Shop) -> None:
    staff = explained(shop, 80)["staff"]
    assert (staff["reason"], staff["qualified_tier"], staff["rated_tier"]) == ("enter", "gold", "gold")
    assert all(need["met"] for need in staff["branch"])
    assert staff["rules"]["keep"] == (
        "net spend of at least NT$9,000, at least 3 days with a purchase, "
        "visits at most 75 days apart on average and a last purchase at most 120 days ago"
    )
    reached = staff["reached"]
    assert (reached["from"], reached["on"], reached["cause"]) == ("silver", "2024-03-11", "order")
    assert (reached["order_id"], reached["metrics"]["net_spend"]) == ("o5", "15500.00")
    assert staff["outlook"] == [
        {"on": "2024-07-10", "kind": "at_risk", "tier": "gold", "falls_on": "2024-08-09"},
        {"on": "2024-08-09", "kind": "tier", "tier": "silver", "falls_on": None},
        {"on": "2025-03-01", "kind": "at_risk", "tier": "silver", "falls_on": "2025-03-31"},
        {"on": "2025-03-31", "kind": "tier", "tier": "member", "falls_on": None},
    ]


def test_the_account_in_words_is_the_one_in_numbers(shop: Shop) -> None:
    told = explained(shop, 300)["explanation"]
    assert told.startswith(
        "The member has been Silver since 9 August 2024, under rule set 1. "
        "It was reached on 9 August 2024 from Gold, because days left the window or too much time passed. "
        "It stands because its condition to enter holds: net spend of at least NT$3,000 (now NT$14,700) "
        "and at least 2 days with a purchase (now 5). "
        "5 orders count from 29 October 2023 on: net spend of NT$14,700 and 5 days with a purchase. "
        "2 refunds and 1 cancellation took NT$1,700 off. "
        "On 31 December 2024 the order o1 of 1 January 2024 leaves: net spend becomes NT$12,700, "
    )
    chinese = explained(shop, locale="zh-Hant")["explanation"]
    assert chinese.startswith(
        "此會員自 2024 年 8 月 9 日起為「銀卡會員」（等級規則第 1 版）。"
        "於 2024 年 8 月 9 日由「金卡會員」異動至此等級，原因：消費日離開計算期間或久未消費。"
        "目前符合升等條件：消費總淨額至少 3,000 元（目前 14,700 元）、實際消費天數至少 2 天（目前 5 天）。"
        "自 2023 年 10 月 29 日起列入計算的訂單有 5 筆：消費總淨額 14,700 元，實際消費天數 5 天。"
        "已扣除退款 2 筆、取消 1 筆，共 1,700 元。"
    )
    assert "訂單 o1（2024 年 1 月 1 日）離開計算期間" in chinese


def test_a_member_is_told_of_purchases_and_of_no_rule_set(shop: Shop) -> None:
    answer = explained(shop, 80, audience="member")
    assert answer["staff"] is None
    assert answer["explanation"].endswith(
        "On 31 December 2024 what you bought on 1 January 2024 (NT$2,000) stops counting."
    )
    assert "rule set" not in answer["explanation"]
    chinese = explained(shop, audience="member", locale="zh-Hant")["explanation"]
    assert chinese.endswith("2024 年 12 月 31 日起，您在 2024 年 1 月 1 日的消費（2,000 元）將不再列入計算。")


def test_an_override_is_explained_with_who_set_it_and_why(shop: Shop) -> None:
    shop.pin("platinum", 390.5, until=420, reason="an apology")
    answer = explained(shop, 391)
    staff = answer["staff"]
    assert (answer["tier"], staff["reason"], staff["rated_tier"]) == ("platinum", "override", "silver")
    assert (staff["override"]["tier"], staff["override"]["reason"]) == ("platinum", "an apology")
    assert staff["override"]["actor"]
    assert '("an apology"); the rating underneath is Silver.' in answer["explanation"]
    member = explained(shop, audience="member")["explanation"]
    assert "apology" not in member
    assert "whatever you buy; after that your purchases decide." in member


def test_a_refund_that_undid_a_rise_and_a_grace_are_named(shop: Shop) -> None:
    shop.refund("r2", "o5", 79, 5000)
    shop.refund("r3", "o4", 79.1, 3000)
    staff = explained(shop, 80)["staff"]
    assert (staff["reason"], staff["reached"]["cause"], staff["reached"]["refund_id"]) == (
        "enter",
        "refund",
        "r2",
    )
    silver = explained(shop, 400)
    assert (silver["staff"]["reason"], silver["staff"]["at_risk"]) == ("grace", True)
    assert "the grace period runs until" in silver["explanation"]


def test_the_list_is_bounded_and_says_how_many_there_are(shop: Shop) -> None:
    answer = explained(shop, 80, limit=2)
    assert ([fact["order_id"] for fact in answer["facts"]["data"]], answer["facts"]["total"]) == (
        ["o6", None],
        7,
    )
    assert (len(answer["leaving"]["data"]), answer["leaving"]["total"]) == (2, 6)


def test_the_past_is_explained_from_the_facts_in_effect_by_then(shop: Shop) -> None:
    then = explained(shop, 80, as_of=shop.on(74))
    assert {fact["refund_id"] for fact in then["facts"]["data"]} == {None}
    assert then["metrics"]["net_spend"] == "15500.00"
    with pytest.raises(AsOfInFuture):
        explained(shop, as_of=shop.on(81))
    with pytest.raises(NoMembership):
        explained(shop, as_of=START - timedelta(days=1))


@pytest.mark.parametrize("day", [80, 150, 210, 300, 391, 430, 460])
def test_the_explanation_and_the_tier_say_the_same(shop: Shop, day: int) -> None:
    answer, standing = explained(shop, day), shop.standing(day)
    for name in ("tier", "rank", "since", "window", "metrics", "to_stay", "to_rise"):
        assert answer[name] == standing[name]
    for name in ("at_risk", "at_risk_since", "falls_on", "protected_until"):
        assert answer["staff"][name] == standing[name]
    assert explained(shop, audience="member")["explanation"].startswith(standing["explanation"])


def test_an_explanation_reads_a_handful_of_sets_and_writes_nothing(shop: Shop) -> None:
    explained(shop, 80)
    with Statements(shop.conn) as statements:
        explained(shop)
    assert len(statements.seen) <= 5, statements.seen
    assert all(statement.lstrip().upper().startswith("SELECT") for statement in statements.seen)


@pytest.mark.parametrize("window", ["calendar_year", "membership_year"])
def test_a_period_is_explained_by_when_it_is_judged(conn: Connection, window: str) -> None:
    kind: dict[str, object] = {"kind": window}
    if window == "membership_year":
        kind["anchor"] = "joining"
    definition = default_ruleset(currency="TWD") | {"window": kind}
    shop = Shop(conn, definition, programme=programme_in("Asia/Taipei"))
    shop.enrol(joined_at=datetime.fromisoformat("2023-01-01T04:00:00+00:00"))
    shop.order("o1", 0.25, 2000)
    shop.order("o2", 20, 1500)
    answer = explained(shop, 500)
    staff = answer["staff"]
    assert (staff["reason"], staff["stands_until"], staff["judged_from"]) == (
        "period",
        date(2026, 1, 1).isoformat(),
        date(2025, 1, 1).isoformat(),
    )
    assert answer["facts"] == {"data": [], "total": 0}
    assert "Silver stands until 31 December 2025, when its period is judged." in answer["explanation"]
