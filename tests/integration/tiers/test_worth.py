"""What tiers are worth, against a count of the raw facts by plain Python."""

from __future__ import annotations

import hashlib
import random
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import pytest
from sqlalchemy import Connection, text

from service.kit.db import dumps
from service.kit.errors import Conflict
from service.tiers.errors import AsOfInFuture, MonthsNotOver, UnknownRuleset
from service.tiers.worth import operations as worth
from tests.integration.tiers.shop import Shop, spend_ladder

AS_OF = 60
"""1 March 2024, in days after the start."""
LADDER = spend_ladder(300, 700, 1500, window_days=45)


@dataclass
class Facts:
    """One member's orders (day, amount) by id, and what was given back of them (day, amount)."""

    orders: dict[str, tuple[int, int]] = field(default_factory=dict)
    refunds: dict[str, list[tuple[int, int]]] = field(default_factory=lambda: defaultdict(list))

    def net(self, first: int, last: int, *, known_on: int) -> int:
        """Return what the orders of some days are worth, net of refunds known by a day."""
        return sum(
            self.left(order, known_on) for order, (day, _) in self.orders.items() if first <= day <= last
        )

    def left(self, order: str, known_on: int) -> int:
        """Return what is left of an order on a day."""
        return self.orders[order][1] - sum(amount for day, amount in self.refunds[order] if day <= known_on)


def draw_shop(conn: Connection, seed: int) -> tuple[Shop, dict[str, Facts]]:
    """Open a shop of random members; facts come in by order of time."""
    shop, chance = Shop(conn, LADDER), random.Random(seed)
    facts = {f"m{number}": Facts() for number in range(40)}
    events: list[tuple[float, str, Any]] = []
    for member_id, of in facts.items():
        joined = chance.choice([0, 0, 0, 10, AS_OF, AS_OF + 5])
        events.append((joined, "enrol", member_id))
        for number in range(chance.choice([0, 1, 2, 4, 6])):
            day, amount = chance.randint(joined, AS_OF + 100), chance.choice([100, 200, 450, 900])
            order_id = f"{member_id}-{number}"
            of.orders[order_id] = (day, amount)
            events.append((day + 0.3, "order", (member_id, order_id, amount)))
            if chance.random() < 0.4:
                back, given = chance.choice([amount, amount // 2]), day + chance.choice([0, 3, 40])
                of.refunds[order_id].append((given, back))
                events.append((given + 0.5, "refund", (member_id, order_id, back)))
    for at, what, said in sorted(events, key=lambda event: event[0]):
        if what == "enrol":
            shop.enrol(said, day=at)
        elif what == "order":
            shop.order(said[1], at, said[2], member_id=said[0])
        else:
            shop.refund(f"r-{said[1]}", said[1], at, said[2], member_id=said[0])
    shop.now = max(shop.now, shop.at(AS_OF + 200))
    return shop, facts


def answer(shop: Shop, kind: str, **options: Any) -> dict[str, Any]:
    given: dict[str, Any] = {"version": None, "as_of": shop.on(AS_OF)} | options
    given |= {"programme": shop.programme, "now": shop.now}
    if kind == "worth":
        report = worth.ask_worth(shop.conn, **given)
        compute = worth.answer_worth
    else:
        report = worth.ask_histogram(shop.conn, **given)
        compute = worth.answer_histogram
    return compute(shop.conn, parameters=report.parameters, as_of=report.as_of, programme=shop.programme)


@pytest.mark.parametrize("seed", range(4))
def test_every_figure_is_that_of_an_independent_count(conn: Connection, seed: int) -> None:
    shop, facts = draw_shop(conn, seed)
    report = answer(shop, "worth", months=2)
    # 1 March and two months: the days to 1 May.
    last, today = AS_OF + 61, AS_OF + 200
    members = {
        key: facts[member_id]
        for member_id, key in shop.keys.items()
        if started(shop, key) <= shop.at(AS_OF + 1)
    }
    past = {key: of.net(AS_OF - 44, AS_OF, known_on=AS_OF) for key, of in members.items()}
    ranks = {key: sum(net >= step for step in (300, 700, 1500)) for key, net in past.items()}
    in_order = sorted(members, key=lambda key: (past[key], hashlib.md5(str(key).encode()).hexdigest()))
    groups = dict(zip(in_order, sorted(ranks.values()), strict=True))
    after = {
        key: (
            any(AS_OF < day <= last and of.left(order, today) > 0 for order, (day, _) in of.orders.items()),
            of.net(AS_OF + 1, last, known_on=today),
        )
        for key, of in members.items()
    }
    assert report["everyone"]["members"] == len(members) > 20
    for tier in report["tiers"]:
        for side, places in (("by_tier", ranks), ("by_spend", groups)):
            chosen = [key for key in members if places[key] == tier["rank"]]
            bought = sum(after[key][0] for key in chosen)
            repurchase, spend = tier[side]["repurchase"], tier[side]["net_spend"]
            assert (repurchase["numerator"], repurchase["denominator"]) == (bought, len(chosen))
            assert spend["total"] == f"{sum(after[key][1] for key in chosen)}.00"
        both = sum(ranks[key] == groups[key] == tier["rank"] for key in members)
        assert tier["chosen_by_both"] == both


def started(shop: Shop, key: int) -> Any:
    return shop.conn.execute(
        text("SELECT joined_at FROM members WHERE member_key = :key"), {"key": key}
    ).scalar_one()


def test_a_refund_after_the_day_leaves_the_rating_of_that_day_alone(conn: Connection) -> None:
    """What was known then rates; what is known now tells what the following months brought."""
    shop = Shop(conn, LADDER)
    shop.enrol()
    shop.order("o1", AS_OF - 5, 800)
    shop.order("o2", AS_OF + 10, 500)
    shop.refund("r1", "o1", AS_OF + 20, 800)
    shop.refund("r2", "o2", AS_OF + 20, 200)
    shop.now = shop.at(AS_OF + 200)
    report = answer(shop, "worth", months=3)
    gold = report["tiers"][2]
    assert gold["by_tier"]["members"] == 1
    assert gold["by_tier"]["net_spend"]["total"] == "300.00"
    assert gold["by_tier"]["repurchase"] == {
        "rate": 1.0, "numerator": 1, "denominator": 1, "low": 0.2065, "high": 1.0
    }  # fmt: skip
    assert gold["by_tier"]["net_spend"]["low"] is None
    assert report["above_base"]["verdict"] == "same_members"


def test_a_rhythm_that_spend_does_not_show_puts_the_tiers_ahead(conn: Connection) -> None:
    """Regulars who spend little come back; single large orders do not."""
    names = {"en": "Tier", "zh-Hant": "等級"}
    definition = spend_ladder(window_days=60)
    definition["tiers"].append(
        {"code": "regular", "names": names, "enter": {"metric": "active_days", "op": ">=", "value": 3}}
    )
    shop = Shop(conn, definition)
    for number in range(30):
        regular, whale = f"regular-{number}", f"whale-{number}"
        shop.enrol(regular)
        shop.enrol(whale)
        for visit in range(4):
            shop.order(f"{regular}-{visit}", AS_OF - 40 + visit * 10, 50, member_id=regular)
        shop.order(f"{whale}-0", AS_OF - 20, 5000, member_id=whale)
        if number % 10:
            shop.order(f"{regular}-later", AS_OF + 20, 50, member_id=regular)
    shop.now = shop.at(AS_OF + 200)
    above = answer(shop, "worth", months=1)["above_base"]
    assert above["by_tier"]["repurchase"]["numerator"] == 27
    assert above["by_spend"]["repurchase"]["numerator"] == 0
    assert above["chosen_by_both"] == 0
    assert above["verdict"] == "tiers_ahead"
    assert above["repurchase_difference"]["low"] > 0.7
    assert above["share_of_net_spend"] == {"by_tier": 1.0, "by_spend": 0.0}
    assert "90.0 % of them bought again" in above["explanation"]["en"]
    assert "回購率較高" in above["explanation"]["zh-Hant"]


@pytest.mark.parametrize("as_of", [AS_OF, AS_OF + 200])
def test_a_histogram_holds_every_member_once_and_counts_each_threshold(conn: Connection, as_of: int) -> None:
    shop, facts = draw_shop(conn, 7)
    report = answer(shop, "histogram", as_of=shop.on(as_of))
    joined = [key for key in shop.keys.values() if started(shop, key) <= shop.at(as_of + 1)]
    assert report["members"] == len(joined)
    by_name = {metric["metric"]: metric for metric in report["metrics"]}
    for metric in by_name.values():
        in_bins = sum(part["members"] for part in metric["bins"])
        assert in_bins + metric["undefined"] == report["members"]
        assert len(metric["bins"]) <= 41
    assert by_name["net_spend"]["undefined"] == by_name["orders"]["undefined"] == 0
    spends = [
        of.net(as_of - 44, as_of, known_on=as_of)
        for member_id, of in facts.items()
        if shop.keys[member_id] in joined
    ]
    assert [
        (line["tier"], line["part"], line["op"], line["value"], line["members_meeting"])
        for line in by_name["net_spend"]["thresholds"]
    ] == [
        (f"t{rank}", "enter", ">=", f"{step}.00", sum(spend >= step for spend in spends))
        for rank, step in enumerate((300, 700, 1500), start=1)
    ]
    for part in by_name["net_spend"]["bins"]:
        low = -(10**9) if part["from"] is None else float(part["from"])
        high = 10**9 if part["to"] is None else float(part["to"])
        assert part["members"] == sum(low <= spend < high for spend in spends)
    assert by_name["net_spend"]["least"] == f"{min(spends)}.00"


def test_a_histogram_of_a_past_day_counts_a_year_from_the_stay_that_a_refund_brought_back(
    conn: Connection,
) -> None:
    shop = Shop(conn, spend_ladder(100) | {"window": {"kind": "membership_year", "anchor": "tier"}})
    shop.enrol()
    shop.order("o1", 2, 40)
    shop.order("o2", 5, 80)
    shop.refund("r1", "o2", 9, 80)
    shop.now = shop.at(AS_OF)
    report = answer(shop, "histogram", as_of=shop.on(12))
    by_name = {metric["metric"]: metric for metric in report["metrics"]}
    assert (by_name["net_spend"]["least"], by_name["orders"]["least"]) == ("40.00", 1)


def test_nobody_at_all_makes_empty_reports(conn: Connection) -> None:
    shop = Shop(conn, LADDER)
    shop.now = shop.at(400)
    report = answer(shop, "worth", months=3)
    assert report["everyone"]["repurchase"] == {
        "rate": None, "numerator": 0, "denominator": 0, "low": None, "high": None
    }  # fmt: skip
    assert report["above_base"]["verdict"] == "nobody"
    spread = answer(shop, "histogram")
    assert spread["members"] == 0
    assert all(metric["least"] is None for metric in spread["metrics"])


def add_draft(conn: Connection, version: int, definition: dict[str, Any]) -> None:
    conn.execute(
        text(
            "INSERT INTO tier_rulesets (version, state, definition, created_at) "
            "VALUES (:version, 'draft', CAST(:definition AS jsonb), now()) "
            "ON CONFLICT (version) DO UPDATE SET definition = excluded.definition"
        ),
        {"version": version, "definition": dumps(definition)},
    )


def test_a_draft_is_measured_like_the_rules_in_force(conn: Connection) -> None:
    shop, _ = draw_shop(conn, 3)
    add_draft(conn, 2, spend_ladder(1, window_days=45))
    live, draft = (answer(shop, "worth", months=1, version=version) for version in (1, 2))
    assert [tier["tier"] for tier in draft["tiers"]] == ["t0", "t1"]
    assert draft["everyone"] == live["everyone"]
    assert draft["tiers"][1]["by_tier"]["members"] > live["tiers"][1]["by_tier"]["members"]


def test_an_edited_draft_is_another_question_and_never_answers_the_first(conn: Connection) -> None:
    shop, _ = draw_shop(conn, 3)
    asked = []
    for threshold in (100, 200):
        add_draft(conn, 2, spend_ladder(threshold))
        asked.append(worth.ask_histogram(conn, version=2, as_of=None, programme=shop.programme, now=shop.now))
    assert asked[0].report_id != asked[1].report_id
    with pytest.raises(Conflict, match="changed"):
        worth.answer_histogram(
            conn, parameters=asked[0].parameters, as_of=asked[0].as_of, programme=shop.programme
        )


def test_a_question_about_days_to_come_or_unknown_rules_is_refused(conn: Connection) -> None:
    shop = Shop(conn, LADDER)
    shop.now = shop.at(121.2)
    given: dict[str, Any] = {"programme": shop.programme, "now": shop.now}
    with pytest.raises(AsOfInFuture):
        worth.ask_worth(conn, version=None, as_of=shop.on(122), months=1, **given)
    with pytest.raises(MonthsNotOver, match="2024-03-31 is the latest"):
        worth.ask_worth(conn, version=None, as_of=date(2024, 4, 1), months=1, **given)
    with pytest.raises(UnknownRuleset):
        worth.ask_histogram(conn, version=9, as_of=None, **given)
    latest = worth.ask_worth(conn, version=None, as_of=None, months=1, **given)
    assert latest.as_of == date(2024, 3, 31)
