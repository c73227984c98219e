"""The demo shop is believable, the same for the same seed, and never ahead of its day."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from service.intake.demo import shop as demo_shop
from service.intake.demo.calendar import list_occasions, lunar_new_year, mid_autumn, mothers_day
from service.intake.demo.catalogue import CATEGORIES, COMPANIONS, DISCONTINUED, PRODUCTS
from service.intake.demo.people import KINDS
from service.intake.demo.shop import DemoShop, generate, write_files

TODAY = date(2025, 11, 21)
Records = list[dict[str, Any]]


def records(rows: Iterable[Any]) -> Records:
    return list(rows)


@pytest.fixture(scope="module")
def shop() -> DemoShop:
    return generate(today=TODAY, seed=1)


def goods(order: dict[str, Any]) -> int:
    return sum(int(line["amount"]) for line in order["lines"]) - int(order.get("discount", "0"))


def day_of(text: str) -> date:
    return datetime.fromisoformat(text).date()


def count_tiers(shop: DemoShop, today: date) -> Counter[str]:
    """Rate every member on `today` from the plain records, with nothing of the service."""
    orders, refunds = records(shop.orders), records(shop.refunds)
    back: Counter[str] = Counter()
    loose: Counter[str] = Counter()
    for refund in refunds:
        if "order_id" in refund:
            back[refund["order_id"]] += int(refund["amount"])
        elif (today - day_of(refund["refunded_at"])).days < 365:
            loose[refund["member_id"]] += int(refund["amount"])
    spent: dict[str, Counter[date]] = defaultdict(Counter)
    for order in orders:
        if (today - (day := day_of(order["placed_at"]))).days < 365:
            spent[order["member_id"]][day] += goods(order) - back[order["order_id"]]
    tiers: Counter[str] = Counter()
    for member in records(shop.members):
        days = spent[member["member_id"]]
        net = sum(days.values()) - loose[member["member_id"]]
        active = sorted(day for day, amount in days.items() if amount > 0)
        tiers[tier_for(net, active, today)] += 1
    return tiers


def tier_for(net: int, active: list[date], today: date) -> str:
    if len(active) < 2 or net < 3_000:
        return "base"
    interval = Fraction((active[-1] - active[0]).days, len(active) - 1)
    recency = (today - active[-1]).days
    if net >= 36_000 and len(active) >= 8 and interval <= 30 and recency <= 60:
        return "platinum"
    if net >= 12_000 and len(active) >= 4 and interval <= 60 and recency <= 90:
        return "gold"
    return "silver"


@pytest.mark.parametrize("seed", [1, 2, 7])
@pytest.mark.parametrize("today", [TODAY, date(2026, 3, 1), date(2041, 7, 15)])
def test_the_tiers_are_spread_as_in_a_real_programme(today: date, seed: int) -> None:
    tiers = count_tiers(generate(today=today, seed=seed), today)
    share = {tier: count / 600 for tier, count in tiers.items()}
    assert sum(tiers.values()) == 600
    assert 0.45 <= share["base"] <= 0.65
    assert 0.20 <= share["silver"] <= 0.38
    assert 0.09 <= share["gold"] <= 0.18
    assert 0.02 <= share["platinum"] <= 0.075


def test_the_same_seed_and_day_give_the_same_bytes(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        write_files(generate(today=TODAY, seed=4, members=80), tmp_path / folder)
    for kind in ("members", "items", "orders", "refunds"):
        one, two = ((tmp_path / folder / f"{kind}.ndjson").read_bytes() for folder in ("one", "two"))
        assert one == two
        assert one


def test_another_seed_gives_another_shop(shop: DemoShop) -> None:
    assert generate(today=TODAY, seed=2).orders != shop.orders


def test_a_larger_shop_keeps_its_first_members(shop: DemoShop) -> None:
    assert generate(today=TODAY, seed=1, members=50).members == shop.members[:50]


def test_nothing_happens_on_or_after_today(shop: DemoShop) -> None:
    midnight = datetime.fromisoformat(f"{TODAY}T00:00:00+08:00")
    joined = [member["joined_at"] for member in records(shop.members)]
    placed = [order["placed_at"] for order in records(shop.orders)]
    refunded = [refund["refunded_at"] for refund in records(shop.refunds)]
    for text in joined + placed + refunded:
        assert text.endswith("+08:00")
        assert datetime.fromisoformat(text) < midnight
    # ... and the shop was open until the evening before.
    assert max(map(day_of, placed)) == TODAY - timedelta(days=1)
    assert min(map(day_of, joined)) >= date(2023, 11, 21)


def test_every_order_is_after_its_members_enrolment_and_names_known_things(shop: DemoShop) -> None:
    joined = {member["member_id"]: member["joined_at"] for member in records(shop.members)}
    skus = {item["sku"] for item in records(shop.items)}
    for order in records(shop.orders):
        at = datetime.fromisoformat(order["placed_at"])
        assert at > datetime.fromisoformat(joined[order["member_id"]])
        assert {line["sku"] for line in order["lines"]} <= skus
        assert len({line["sku"] for line in order["lines"]}) == len(order["lines"]) >= 1


def test_records_have_the_fields_of_the_api_and_no_others(shop: DemoShop) -> None:
    def check(rows: Iterable[Any], needed: set[str], allowed: set[str]) -> None:
        for row in rows:
            assert needed <= row.keys() <= needed | allowed

    check(
        shop.members,
        {
            "member_id",
            "joined_at",
            "locale",
            "name",
            "email",
            "phone",
            "consent",
            "attributes",
            "acquisition",
        },
        {"birthday"},
    )
    check(shop.items, {"sku", "name", "category", "price", "currency", "available", "attributes"}, set())
    check(
        shop.orders,
        {"order_id", "member_id", "placed_at", "currency", "lines", "shipping", "channel"},
        {"discount", "store_id"},
    )
    check(
        shop.refunds,
        {"refund_id", "member_id", "refunded_at", "kind", "reason", "amount"},
        {"order_id", "requested_at", "lines"},
    )


def test_money_is_whole_dollars_as_text(shop: DemoShop) -> None:
    for order in records(shop.orders):
        texts = [line["amount"] for line in order["lines"]] + [order["shipping"], order.get("discount", "0")]
        assert all(re.fullmatch(r"0|[1-9]\d*", text) for text in texts)
        assert all(isinstance(line["quantity"], int) and line["quantity"] > 0 for line in order["lines"])
        assert goods(order) > 0
    for row in (*records(shop.items), *records(shop.refunds)):
        assert re.fullmatch(r"[1-9]\d*", row.get("price") or row["amount"])


def test_ids_are_unique_and_lists_in_order(shop: DemoShop) -> None:
    for rows, key in (
        (shop.members, "member_id"),
        (shop.items, "sku"),
        (shop.orders, "order_id"),
        (shop.refunds, "refund_id"),
    ):
        ids = [row[key] for row in records(rows)]
        assert ids == sorted(set(ids))
    assert shop.members[0]["member_id"] == "M00001"
    for rows, key in ((shop.orders, "placed_at"), (shop.refunds, "refunded_at")):
        times = [row[key] for row in records(rows)]
        assert times == sorted(times)


def test_nobody_real_can_be_reached(shop: DemoShop) -> None:
    for member in records(shop.members):
        assert member["email"].endswith("@example.com")
        assert re.fullmatch(r"\+8869000\d{5}", member["phone"])
        assert date(1930, 1, 1) < date.fromisoformat(member.get("birthday", "1990-01-01")) < date(2008, 1, 1)
    assert len({member["email"] for member in records(shop.members)}) == len(shop.members)


def test_a_refund_never_gives_back_more_than_was_paid(shop: DemoShop) -> None:
    orders = {order["order_id"]: order for order in records(shop.orders)}
    back: Counter[str] = Counter()
    for refund in records(shop.refunds):
        if "order_id" not in refund:
            continue
        order = orders[refund["order_id"]]
        bought = {line["sku"]: line for line in order["lines"]}
        assert refund["member_id"] == order["member_id"]
        assert order["placed_at"] < refund["requested_at"] < refund["refunded_at"]
        back[refund["order_id"]] += int(refund["amount"])
        for line in refund.get("lines", []):
            assert line["quantity"] <= bought[line["sku"]]["quantity"]
            assert int(line["amount"]) <= int(bought[line["sku"]]["amount"])
        if "lines" in refund:
            assert sum(int(line["amount"]) for line in refund["lines"]) == int(refund["amount"])
    for order_id, amount in back.items():
        assert amount <= goods(orders[order_id])
    assert any(amount == goods(orders[order_id]) for order_id, amount in back.items())
    assert any(amount < goods(orders[order_id]) for order_id, amount in back.items())


def test_about_six_in_a_hundred_orders_come_back_and_few_refunds_name_no_order(shop: DemoShop) -> None:
    linked = sum("order_id" in refund for refund in records(shop.refunds))
    assert 0.045 <= linked / len(shop.orders) <= 0.08
    assert 3 <= len(shop.refunds) - linked <= 30


def test_the_shop_sells_120_things_in_8_categories_in_two_languages(shop: DemoShop) -> None:
    items = records(shop.items)
    assert len(items) == len({item["name"]["zh-Hant"] for item in items}) == 120
    assert len({item["name"]["en"] for item in items}) == 120
    assert {item["category"][0] for item in items} == set(CATEGORIES.values())
    for item in items:
        assert re.search(r"[\u4e00-\u9fff]", item["name"]["zh-Hant"])
        assert not re.search(r"[\u4e00-\u9fff]", item["name"]["en"])
    everyday = [item for item in items if item["category"][0] != "gifts"]
    assert all(item["available"] is (item["sku"] not in DISCONTINUED) for item in everyday)
    assert set(COMPANIONS) | set(COMPANIONS.values()) <= {product.sku for product in PRODUCTS}


def test_festive_things_are_sold_before_their_festival_only(shop: DemoShop) -> None:
    mooncakes = {product.sku for product in PRODUCTS if product.season == "mid_autumn"}
    sold_on = [
        day_of(order["placed_at"])
        for order in records(shop.orders)
        if mooncakes & {line["sku"] for line in order["lines"]}
    ]
    assert len(sold_on) > 50
    assert all(3 <= (mid_autumn(day.year) - day).days <= 30 for day in sold_on)
    assert not any(item["available"] for item in records(shop.items) if item["sku"] in mooncakes)
    in_season = generate(today=date(2025, 9, 20), seed=1, members=1)
    assert all(item["available"] for item in records(in_season.items) if item["sku"] in mooncakes)


def test_sales_and_evenings_are_busy(shop: DemoShop) -> None:
    days = Counter(day_of(order["placed_at"]) for order in records(shop.orders))
    hours = Counter(int(order["placed_at"][11:13]) for order in records(shop.orders))
    year = [TODAY - timedelta(days=offset) for offset in range(1, 366)]
    usual = sum(days[day] for day in year) / 365
    double_eleven = sum(days[date(2025, 11, day)] for day in (8, 9, 10, 11)) / 4
    assert double_eleven > 1.5 * usual
    assert hours[21] > 2 * hours[9] > 4 * hours[4]
    assert any("discount" in order for order in records(shop.orders))


def test_consumables_are_bought_again_and_durables_are_not(shop: DemoShop) -> None:
    lasts = {product.sku: product.lasts_days for product in PRODUCTS}
    bought: dict[tuple[str, str], list[date]] = defaultdict(list)
    for order in records(shop.orders):
        for line in order["lines"]:
            bought[order["member_id"], line["sku"]].append(day_of(order["placed_at"]))
    gaps = [
        Fraction((later - earlier).days, lasts[sku])
        for (_, sku), days in bought.items()
        if lasts[sku]
        for earlier, later in pairwise(days)
    ]
    assert len(gaps) > 500
    assert 0.6 < sorted(gaps)[len(gaps) // 2] < 2
    durables = {product.sku for product in PRODUCTS if not product.lasts_days and product.category != "gifts"}
    assert all(len(days) == 1 for (_, sku), days in bought.items() if sku in durables)


def test_taste_gives_collaborative_filtering_something_to_find(shop: DemoShop) -> None:
    baskets: dict[str, set[str]] = defaultdict(set)
    for order in records(shop.orders):
        baskets[order["member_id"]] |= {line["sku"] for line in order["lines"]}
    litter = [skus for skus in baskets.values() if "PET-005" in skus]
    others = [skus for skus in baskets.values() if "PET-005" not in skus]

    def share(groups: list[set[str]], sku: str) -> float:
        return sum(sku in skus for skus in groups) / len(groups)

    assert share(litter, "PET-003") > 4 * share(others, "PET-003")


def test_the_kinds_of_customers_add_up_to_everybody() -> None:
    assert sum(kind.share for kind in KINDS) == pytest.approx(1)


def test_festivals_fall_where_the_almanac_has_them() -> None:
    assert lunar_new_year(2026) == date(2026, 2, 17)
    assert mid_autumn(2025) == date(2025, 10, 6)
    assert mothers_day(2025) == date(2025, 5, 11)
    # Outside the table the moon's cycle of 19 years serves: right to a day or so.
    assert abs((lunar_new_year(2018) - date(2018, 2, 16)).days) <= 1
    assert abs((mid_autumn(2040) - date(2040, 9, 20)).days) <= 1


def test_a_new_year_in_january_is_prepared_in_december() -> None:
    names = [occasion.name for occasion in list_occasions(date(2022, 12, 26), date(2022, 12, 31))]
    assert names == ["lunar_new_year"]


def test_files_hold_one_record_a_line_and_replace_what_was_there(tmp_path: Path) -> None:
    shop = generate(today=TODAY, seed=9, members=20, months=6)
    (tmp_path / "orders.ndjson").write_text("old")
    paths = write_files(shop, tmp_path)
    assert {kind: path.name for kind, path in paths.items()} == {
        kind: f"{kind}.ndjson" for kind in ("items", "members", "orders", "refunds")
    }
    assert [json.loads(line) for line in paths["orders"].read_text("utf-8").splitlines()] == shop.orders
    assert "臺" in paths["members"].read_text("utf-8")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in paths.values())


def test_a_write_that_fails_leaves_the_old_file_and_no_draft(tmp_path: Path) -> None:
    (tmp_path / "items.ndjson").write_text("old")
    broken = DemoShop(members=[], items=[{"sku": object()}], orders=[], refunds=[])
    with pytest.raises(TypeError):
        write_files(broken, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["items.ndjson"]
    assert (tmp_path / "items.ndjson").read_text() == "old"


@pytest.mark.parametrize(("members", "months"), [(0, 24), (10, 0), (-1, 24)])
def test_an_empty_shop_is_refused(members: int, months: int) -> None:
    with pytest.raises(ValueError, match="at least one member and one month"):
        generate(today=TODAY, seed=1, members=members, months=months)


def test_a_month_end_does_not_trip_the_start() -> None:
    assert generate(today=date(2024, 3, 31), seed=1, members=3, months=1).currency == demo_shop.CURRENCY
