"""Where a member stands, now and in the past, and the log of changes."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import Connection, text

from service.kit.errors import Malformed
from service.tiers import operations as tiers
from service.tiers.defaults import default_ruleset
from service.tiers.errors import AsOfInFuture, NoMembership
from tests.integration.tiers.shop import START, Shop, Statements, programme_in, spend_ladder


@pytest.fixture
def shop(conn: Connection) -> Shop:
    shop = Shop(conn, default_ruleset(currency="TWD"), programme=programme_in("Asia/Taipei"))
    shop.enrol()
    shop.order("o1", 0.25, 2000)
    shop.order("o2", 20, 1500)
    return shop


def test_a_standing_tells_everything_the_tier_rests_on(shop: Shop) -> None:
    told = shop.standing(25)
    explanation = told.pop("explanation")
    assert told == {
        "tier": "silver",
        "name": "Silver",
        "rank": 1,
        "benefits": [
            {
                "kind": "points_multiplier",
                "value": 11_000,
                "multiplier_bp": 11_000,
                "text": "1.1 times the points",
            }
        ],
        "since": "2024-01-21T04:00:00Z",
        "ruleset_version": 1,
        "as_of": "2024-01-26T04:00:00Z",
        "window": {"from": "2023-01-27", "to": "2024-01-27"},
        "metrics": {
            "visit_interval_days": "20.00",
            "days_since_last_visit": 5,
            "active_days": 2,
            "net_spend": "3500.00",
            "orders": 2,
        },
        "at_risk": False,
        "at_risk_since": None,
        "falls_on": None,
        "protected_until": "2024-04-20",
        "stands_until": "2025-01-30",
        "override": None,
        "next_review_on": "2024-03-22",
        "to_stay": [
            {"metric": "net_spend", "op": ">=", "have": "3500.00", "need": "2250.00", "met": True},
            {"metric": "active_days", "op": ">=", "have": 2, "need": 2, "met": True},
        ],
        "to_rise": {
            "tier": "gold",
            "name": "Gold",
            "missing": [
                {"metric": "net_spend", "op": ">=", "have": "3500.00", "need": "12000.00", "met": False},
                {"metric": "active_days", "op": ">=", "have": 2, "need": 4, "met": False},
            ],
            "one_order_is_enough": False,
        },
    }
    assert explanation == (
        "Your tier is Silver, since 21 January 2024. "
        "From 27 January 2023 to 26 January 2024 you shopped on 2 days, 20 days apart on average, "
        "and spent NT$3,500 in all; your last purchase was on 21 January 2024. "
        "That is enough to stay Silver. Your tier is next reviewed by 22 March 2024. "
        "For Gold you still need a total spend of at least NT$12,000 (NT$3,500 so far, NT$8,500 to go) "
        "and at least 4 days with a purchase (2 so far, 2 to go). One order alone cannot reach it."
    )


def test_a_standing_is_explained_in_chinese(shop: Shop) -> None:
    told = shop.standing(25, locale="zh-Hant")
    assert told["name"] == "銀卡會員"
    assert told["explanation"] == (
        "您目前的會員等級是「銀卡會員」，自 2024 年 1 月 21 日起生效。"
        "2023 年 1 月 27 日至 2024 年 1 月 26 日期間，您共有 2 天消費（平均間隔 20 天），"
        "消費總淨額為 3,500 元，最近一次消費是 2024 年 1 月 21 日。"
        "目前已符合「銀卡會員」的續等條件。下次檢視最晚在 2024 年 3 月 22 日。"
        "升等為「金卡會員」還需要：消費總淨額至少 12,000 元（目前 3,500 元，還差 8,500 元）、"
        "實際消費天數至少 4 天（目前 2 天，還差 2 天）。只靠一筆訂單還無法達成。"
    )


def test_a_standing_catches_up_in_memory_and_writes_nothing(shop: Shop) -> None:
    stored = shop.state()
    changes = shop.log(all_rows=True)
    with Statements(shop.conn) as statements:
        told = shop.standing(600)
    # Day 0 left on day 365: two days are needed to stay, hold was over, thirty days of grace.
    assert (told["tier"], told["since"]) == ("member", "2025-01-29T16:00:00Z")
    assert len(statements.seen) == 2, statements.seen
    assert all(statement.lstrip().startswith("SELECT") for statement in statements.seen)
    assert shop.state() == stored
    assert shop.log(all_rows=True) == changes


def test_a_standing_says_since_when_one_is_at_risk_and_when_one_falls(shop: Shop) -> None:
    told = shop.standing(370)
    assert told["at_risk"] is True
    assert (told["at_risk_since"], told["falls_on"]) == ("2024-12-31", "2025-01-30")
    assert told["next_review_on"] == "2025-01-20"
    assert [need["metric"] for need in told["to_stay"] if not need["met"]] == ["net_spend", "active_days"]
    assert "Otherwise your tier falls on 30 January 2025." in told["explanation"]


def test_the_past_is_told_from_the_facts_in_effect_by_then(shop: Shop) -> None:
    shop.refund("r1", "o2", 30, 1500)
    assert shop.standing()["tier"] == "member"
    assert shop.standing(as_of=shop.at(25))["tier"] == "silver"
    assert shop.standing(as_of=shop.at(19))["tier"] == "member"
    assert shop.standing(as_of=shop.on(20))["tier"] == "silver"
    assert shop.standing(as_of=shop.on(20))["as_of"] == "2024-01-21T15:59:59.999999Z"
    assert shop.standing(as_of=shop.on(30))["tier"] == "member"
    assert shop.standing(as_of=shop.on(25))["metrics"]["net_spend"] == "3500.00"


def test_the_future_cannot_be_told(shop: Shop) -> None:
    for as_of in (shop.now + timedelta(seconds=1), shop.on(26)):
        with pytest.raises(AsOfInFuture):
            shop.standing(as_of=as_of)


def test_before_joining_there_is_no_standing(shop: Shop) -> None:
    with pytest.raises(NoMembership):
        shop.standing(as_of=START - timedelta(days=1))
    with pytest.raises(NoMembership):
        shop.standing(member_key=-1)


def test_the_log_is_paged_from_the_latest_and_keeps_what_was_superseded(conn: Connection) -> None:
    shop = Shop(conn, spend_ladder(100, 300))
    shop.enrol()
    shop.order("o1", 10, 120)
    shop.order("o2", 4, 120, arrives=11)

    def page(cursor: str | None, **options: object) -> dict[str, object]:
        return tiers.list_changes(
            conn,
            member_key=shop.keys["m1"],
            limit=2,
            cursor=cursor,
            now=shop.now,
            programme=shop.programme,
            **options,  # type: ignore[arg-type]
        )

    first = page(None)
    assert [(row["order_id"], row["cause"], row["superseded_at"] is None) for row in first["data"]] == [  # type: ignore[attr-defined]
        ("o2", "late_fact", True),
        ("o1", "order", False),
    ]
    second = page(str(first["next_cursor"]))
    assert [row["cause"] for row in second["data"]] == ["enrol"]  # type: ignore[attr-defined]
    assert second["next_cursor"] is None
    with pytest.raises(Malformed):
        page("nonsense")

    replay = page(None, basis="replay")
    assert [(row["order_id"], row["cause"], row["recorded_at"]) for row in replay["data"]] == [  # type: ignore[attr-defined]
        ("o2", "order", None),
        (None, "enrol", None),
    ]


def test_a_rule_set_is_read_once_and_then_known_by_its_version(shop: Shop) -> None:
    shop.standing()
    with Statements(shop.conn) as statements:
        tiers.get_held_tier(shop.conn, member_key=shop.keys["m1"])
    assert len(statements.seen) == 1
    assert "definition" not in statements.seen[0]


def test_a_rule_set_written_anew_under_the_same_version_is_read_anew(shop: Shop) -> None:
    assert shop.standing()["name"] == "Silver"
    # As another database of the same process would: this one keeps what was published.
    shop.conn.execute(text("SET LOCAL session_replication_role = replica"))
    shop.conn.execute(text("DELETE FROM tier_rulesets"))
    renamed = default_ruleset(currency="TWD")
    renamed["tiers"][1]["names"]["en"] = "Argent"  # type: ignore[index]
    savepoint = shop.conn.begin_nested()
    Shop(shop.conn, renamed)
    assert shop.standing()["name"] == "Argent"
    savepoint.rollback()
