"""What users of other loyalty systems suffered with tiers, each as a test: the situation, and who told it.

Where other systems chose their semantics rather than erred, the test shows that a shop may have it so here.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from service.kit.settings import Settings
from tests.api.ladders import Ladder, ladder, spend

Open = Callable[..., Ladder]


@pytest.fixture
def open_shop(engine: Engine, settings: Settings) -> Open:
    """Open a shop with a ladder; without one, with the default rule set."""

    def open_with(definition: dict[str, Any] | None = None) -> Ladder:
        return Ladder(engine, settings, definition)

    return open_with


# 18: the wrong tier's rate on an invoice


def test_no_tier_is_given_before_its_minimum_spend_and_none_is_skipped(open_shop: Open) -> None:
    """The second tier was given before its minimum spend: https://github.com/frappe/erpnext/issues/22167

    And the first was skipped: https://github.com/frappe/erpnext/issues/33550
    """
    shop = open_shop(ladder({"enter": spend(1000)}, {"enter": spend(3000)}))
    shop.enrol()
    held = [shop.buy(ago, amount)["tier"]["after"]["tier"] for ago, amount in ((9, 999), (8, 1), (7, 1999))]
    assert held == ["t0", "t1", "t1"]
    assert shop.buy(6, 1)["tier"]["after"]["tier"] == "t2"
    assert [(before, after) for before, after, _, _ in shop.moves()] == [
        (None, "t0"), ("t0", "t1"), ("t1", "t2")
    ]  # fmt: skip


def test_an_amount_below_the_first_threshold_earns_at_the_base_rate_alone(open_shop: Open) -> None:
    """It earned as if the first tier had been reached: https://github.com/frappe/erpnext/issues/24672"""
    shop = open_shop()
    shop.enrol()
    # One point per 30 of currency; Silver (from 3,000 and two days) multiplies by 1.1.
    assert shop.buy(9, 1500)["points"]["earned"] == 50
    assert shop.tier()["tier"] == "member"


def test_an_order_earns_at_the_tier_held_when_it_was_placed(open_shop: Open) -> None:
    """The rate was that of a tier not held at the time: https://github.com/frappe/erpnext/issues/33550"""
    shop = open_shop()
    shop.enrol()
    shop.buy(9, 1500)
    carrying = shop.buy(8, 1500)
    assert (carrying["tier"]["after"]["tier"], carrying["points"]["earned"]) == ("silver", 50)
    assert shop.buy(7, 1500)["points"]["earned"] == 55


# 37: levels driven by the balance


def test_spending_every_point_costs_no_status(open_shop: Open) -> None:
    """Levels followed the balance, so that spending points cost the level.

    https://github.com/DivanteLtd/open-loyalty/issues/131
    """
    shop = open_shop()
    shop.enrol()
    shop.buy(40, 1500)
    shop.buy(30, 1500)
    before = shop.tier()
    points = shop.expect(200, shop.client.get("/v1/members/m1/points"))["available"]
    assert (before["tier"], points) == ("silver", 100)
    shop.post("/v1/members/m1/points/adjustments", {"points": -points, "reason": "spent at the till"})
    assert shop.expect(200, shop.client.get("/v1/members/m1/points"))["available"] == 0
    after = shop.tier()
    assert after | {"as_of": None} == before | {"as_of": None}
    shop.review()
    assert [cause for _, _, cause, _ in shop.moves()] == ["enrol", "order"]


# 46: no expiry date for status in the first tier


LATER = 20
"""An order of ten days ago counts for the last time on the 29th day after it."""


@pytest.mark.parametrize(("amount", "tier"), [(600, "t0"), (1200, "t1")])
def test_even_in_the_lowest_tiers_the_day_on_which_status_runs_out_is_told(
    open_shop: Open, amount: int, tier: str
) -> None:
    """The API gave no expiry date for status points in the first tier.

    https://userapps.support.sap.com/sap/support/knowledge/en/3512034
    """
    shop = open_shop(ladder({"enter": spend(1000)}, {"enter": spend(5000)}, grace_days=10))
    shop.enrol()
    shop.buy(10, amount)
    shop.buy(4, 300)
    standing = shop.tier()
    assert standing["tier"] == tier
    assert standing["next_review_on"] == shop.day(-LATER).isoformat()
    assert standing["window"]["to"] == shop.day(-1).isoformat()
    assert shop.expect(200, shop.client.get("/v1/members/m1/card"))["tier"]["tier"] == tier


def test_the_first_tier_says_in_words_when_it_is_looked_at_again(open_shop: Open) -> None:
    """The same complaint, for the member to read: status that ends without a date is no use to anybody.

    https://userapps.support.sap.com/sap/support/knowledge/en/3512034
    """
    shop = open_shop(ladder({"enter": spend(1000)}, {"enter": spend(5000)}, grace_days=10))
    shop.enrol()
    shop.buy(10, 1200)
    later = shop.day(-LATER)
    assert f"{later.day} {later:%B} {later.year}" in shop.tier()["explanation"]
    chinese = shop.tier(headers={"Accept-Language": "zh-TW"})["explanation"]
    assert f"{later.year} 年 {later.month} 月 {later.day} 日" in chinese


# Semantics others chose


def test_a_downgrade_may_go_one_tier_down_at_a_time(open_shop: Open) -> None:
    """Talon.One's downgrade policy `one_down`: https://github.com/talon-one/talon_one.js/blob/HEAD/docs/Tier.md"""
    shop = open_shop(three_steps(policy="one_step", grace_days=5))
    shop.enrol()
    shop.buy(60, 3000)
    assert shop.moves() == [
        (None, "t0", "enrol", 200),
        ("t0", "t3", "order", 60),
        ("t3", "t2", "roll_off", 25),
        ("t2", "t1", "roll_off", 20),
        ("t1", "t0", "roll_off", 15),
    ]


def test_a_downgrade_may_go_to_what_is_qualified_for(open_shop: Open) -> None:
    """Talon.One's downgrade policy `balance_based`: https://github.com/talon-one/talon_one.js/blob/HEAD/docs/Tier.md"""
    shop = open_shop(three_steps(policy="to_qualified", grace_days=5))
    shop.enrol()
    shop.buy(60, 3000)
    shop.buy(28, 1000)
    assert shop.moves()[2:] == [("t3", "t1", "roll_off", 25)]


def three_steps(**downgrade: Any) -> dict[str, Any]:
    return ladder({"enter": spend(1000)}, {"enter": spend(2000)}, {"enter": spend(3000)}, **downgrade)


def test_before_a_downgrade_the_member_is_told_with_what_is_short(open_shop: Open) -> None:
    """Talon.One gives notice of a downgrade with the shortfall.

    https://github.com/talon-one/talon_one.js/blob/HEAD/docs/TierWillDowngradeData.md
    """
    shop = open_shop(ladder({"enter": spend(1000)}, grace_days=10))
    shop.enrol()
    shop.buy(32, 900)
    shop.buy(20, 400)
    shop.review()
    (notice,) = shop.told("member.tier.at_risk")
    assert (notice["tier"], notice["at_risk_since"]) == ("t1", shop.day(2).isoformat())
    assert notice["falls_on"] == shop.day(-8).isoformat()
    (short,) = notice["shortfall"]
    assert (short["metric"], short["have"], short["need"]) == ("net_spend", "400.00", "1000.00")
    standing = shop.tier()
    assert (standing["tier"], standing["at_risk"]) == ("t1", True)
    assert standing["falls_on"] == notice["falls_on"]
    saved = shop.buy(0, 600)
    assert saved["tier"]["after"]["tier"] == "t1"
    assert shop.tier()["falls_on"] is None


def test_days_are_those_of_the_programmes_own_zone(open_shop: Open) -> None:
    """Talon.One has a zone per programme; without one, two evenings are a single day of UTC.

    https://docs.talon.one/docs/product/loyalty-programs/managing-loyalty-programs
    """
    shop = open_shop(ladder({"enter": {"metric": "active_days", "op": ">=", "value": 2}}))
    shop.enrol()
    late, early = f"{shop.day(9)}T23:30:00+08:00", f"{shop.day(8)}T00:30:00+08:00"
    shop.buy(9, 100, placed_at=late)
    assert shop.buy(8, 100, placed_at=early)["tier"]["after"]["tier"] == "t1"
    assert shop.tier()["metrics"]["visit_interval_days"] == "1.00"


def test_entering_and_keeping_a_tier_have_thresholds_of_their_own(open_shop: Open) -> None:
    """Yotpo: other thresholds to enter, to keep and to come back.

    https://support.yotpo.com/docs/loyalty-referrals-vip-tiers
    """
    shop = open_shop(ladder({"enter": spend(1000), "keep": spend(500)}))
    shop.enrol()
    for ago, amount in ((60, 600), (50, 500), (10, 500), (5, 500)):
        shop.buy(ago, amount)
    # From 30 days ago on 500 are left, enough to keep; from 20 on nothing is, and 500 do not enter.
    assert shop.tier(ago=30)["tier"] == "t1"
    assert shop.tier(ago=8)["tier"] == "t0"
    assert shop.moves()[1:] == [
        ("t0", "t1", "order", 50), ("t1", "t0", "roll_off", 20), ("t0", "t1", "order", 5)
    ]  # fmt: skip


def test_within_the_hold_period_a_tier_cannot_fall(open_shop: Open) -> None:
    """Annex Cloud: an earn period, then a hold period in which no tier falls.

    https://annex-cloud.helpjuice.com/en_US/2021-release-notes/q1-2021-release-notes
    """
    shop = open_shop(ladder({"enter": spend(1000)}, min_hold_days=40))
    shop.enrol()
    shop.buy(60, 1000)
    held = shop.tier(ago=25)
    assert (held["tier"], held["metrics"]["net_spend"]) == ("t1", "0.00")
    assert held["protected_until"] == shop.day(20).isoformat()
    assert shop.moves()[2:] == [("t1", "t0", "roll_off", 20)]


def test_a_return_takes_back_the_tier_that_the_order_had_carried_the_member_to(open_shop: Open) -> None:
    """Open Loyalty: a return reverts neither tier nor status; buy, rise, return, keep.

    https://help.openloyalty.io/tiers
    """
    shop = open_shop(ladder({"enter": spend(1000)}, grace_days=30, min_hold_days=90))
    shop.enrol()
    shop.buy(9, 400)
    order = shop.buy(8, 700)
    assert order["tier"]["after"]["tier"] == "t1"
    assert shop.refund(order, 6, 50)["tier"]["after"]["tier"] == "t1"
    undone = shop.refund(order, 5, 650)
    assert undone["tier"]["after"]["tier"] == "t0"
    assert shop.moves()[1:] == [("t0", "t1", "order", 8), ("t1", "t0", "refund", 5)]


def test_rules_that_are_edited_rate_everybody_anew_and_nobody_before(open_shop: Open) -> None:
    """Open Loyalty: editing tiers re-rates nobody. BON re-rates everyone, without showing it first.

    https://help.openloyalty.io/tiers and https://bonloyalty.com/docs/vip-program/infos
    """
    shop = open_shop(ladder({"enter": spend(1000)}))
    for member_id, amount in (("low", 300), ("middle", 700), ("high", 1500)):
        shop.enrol(member_id)
        shop.buy(5, amount, member_id)
    easier = shop.draft(ladder({"enter": spend(500)}))
    shop.simulate(easier)
    assert tiers_of(shop) == ["t0", "t0", "t1"]
    shop.publish(easier)
    assert tiers_of(shop) == ["t0", "t1", "t1"]
    assert shop.moves("middle")[1:] == [("t0", "t1", "rule_change", 0)]
    assert len(shop.moves("high")) == 2


def tiers_of(shop: Ladder) -> list[str]:
    return [shop.tier(member_id)["tier"] for member_id in ("low", "middle", "high")]


def test_who_would_move_is_shown_before_anything_is_published(open_shop: Open) -> None:
    """No other system shows who would move; LoyaltyLion forbids edits after launch instead.

    https://help.loyaltylion.com/en/articles/5563084-tier-faq-s
    """
    shop = open_shop(ladder({"enter": spend(1000)}))
    for member_id, amount in (("low", 300), ("middle", 1200), ("high", 2500)):
        shop.enrol(member_id)
        shop.buy(5, amount, member_id)
    harder = shop.draft(ladder({"enter": spend(2000)}))
    shown = shop.simulate(harder)["result"]
    assert shown["moved"] == {"up": 0, "down": 1}
    movers = [sample for sample in shown["samples"] if (sample["from"], sample["to"]) == ("t1", "t0")]
    assert [member["member_id"] for sample in movers for member in sample["members"]] == ["middle"]
    assert tiers_of(shop) == ["t0", "t1", "t1"]
    refused = shop.publish(harder, confirm_demotions=False, status=422)
    assert refused["code"] == "too-many-demotions"
    assert tiers_of(shop) == ["t0", "t1", "t1"]
    assert shop.publish(harder)["state"] == "active"
    assert tiers_of(shop) == ["t0", "t0", "t1"]


def test_a_published_rule_set_is_never_edited_but_a_copy_of_it_is(open_shop: Open) -> None:
    """LoyaltyLion: tiers cannot be edited once they are live. Here the next version is a draft of its own.

    https://help.loyaltylion.com/en/articles/5563084-tier-faq-s
    """
    shop = open_shop(ladder({"enter": spend(1000)}))
    body = {"title": "in place", "definition": ladder({"enter": spend(1)})}
    refused = shop.client.put("/v1/tier-rulesets/1", json=body, role="marketing")
    assert (refused.status_code, (refused.json or {})["code"]) == (409, "ruleset-not-a-draft")
    copy = shop.post("/v1/tier-rulesets", {"title": "next", "copy_of": 1}, role="marketing")
    edited = shop.client.put(f"/v1/tier-rulesets/{copy['version']}", json=body, role="marketing")
    assert edited.status_code == 200


def test_a_tier_earned_in_a_year_stands_until_the_end_of_the_next(open_shop: Open) -> None:
    """Voucherify: a tier expires at the end of a period or of the next one.

    https://www.rubydoc.info/gems/voucherify/VoucherifySdk/LoyaltyTiersExpirationAll
    """
    shop = open_shop(ladder({"enter": spend(1000)}, window={"kind": "calendar_year"}))
    year = shop.today.year
    since_new_year = (shop.today - shop.today.replace(month=1, day=1)).days
    shop.enrol(ago=since_new_year + 300)
    shop.buy(since_new_year + 200, 1000)
    standing = shop.tier()
    assert (standing["tier"], standing["metrics"]["net_spend"]) == ("t1", "0.00")
    assert standing["next_review_on"] == f"{year + 1}-01-01"
    assert shop.tier(ago=since_new_year + 1)["tier"] == "t1"
    assert len(shop.moves()) == 2


def test_a_tier_of_which_the_next_year_earned_nothing_falls_when_that_year_is_over(open_shop: Open) -> None:
    """Voucherify: expiry at the end of the next period.

    https://www.rubydoc.info/gems/voucherify/VoucherifySdk/LoyaltyTiersExpirationAll
    """
    shop = open_shop(ladder({"enter": spend(1000)}, window={"kind": "membership_year", "anchor": "joining"}))
    shop.enrol(ago=800)
    shop.buy(700, 1000)
    # Joined 800 days ago: earned in the first year, it stands to the end of the second.
    end = shop.today - timedelta(days=800)
    end = end.replace(year=end.year + 2, day=min(end.day, 28))
    assert shop.tier(ago=(shop.today - end).days + 5)["tier"] == "t1"
    assert shop.tier(ago=60)["tier"] == "t0"
    assert [move[:3] for move in shop.moves()[1:]] == [("t0", "t1", "order"), ("t1", "t0", "roll_off")]
