"""Two members become one, and two again, through HTTP: facts, tiers, points, reports, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, text

from service import laws
from service.kit.clock import local_day
from service.kit.db import transaction
from service.kit.settings import Settings
from service.programme.operations import get_programme
from service.tiers.population.operations import run_simulation
from tests.api.conftest import Client, an_order, enrol
from tests.api.ladders import Ladder, ladder, spend

NOTHING = {"available": 0, "pending": 0, "held": 0}


@pytest.fixture
def shop(engine: Engine, settings: Settings) -> Ladder:
    """t1 from 1000, t2 from 3000 within thirty days; nothing holds and nothing waits."""
    return Ladder(engine, settings, ladder({"enter": spend(1000)}, {"enter": spend(3000)}))


def merge(shop: Ladder, source: str = "m1", into: str = "m2", *, status: int = 200) -> dict[str, Any]:
    """Merge two members."""
    return shop.post(f"/v1/members/{source}/merge", {"into": into, "reason": "one person"}, status=status)


def undo(shop: Ladder, source: str = "m1", *, status: int = 200) -> dict[str, Any]:
    """Undo a merge."""
    return shop.post(f"/v1/members/{source}/merge/undo", {"reason": "two after all"}, status=status)


def points(shop: Ladder, member_id: str) -> tuple[int, int, int]:
    """Available, pending and held points."""
    found = shop.expect(200, shop.client.get(f"/v1/members/{member_id}/points"))
    return found["available"], found["pending"], found["held"]


def read(shop: Ladder, path: str, **options: Any) -> dict[str, Any]:
    """GET."""
    return shop.expect(200, shop.client.get(f"/v1/{path}", **options))


def give(shop: Ladder, member_id: str, amount: int) -> None:
    """Give or take points by hand."""
    shop.post(f"/v1/members/{member_id}/points/adjustments", {"points": amount, "reason": "goodwill"})


def obeyed(shop: Ladder) -> None:
    """Every law that can be checked on live data holds, for everybody."""
    with shop.client.engine.connect() as conn:
        now = datetime.now(UTC)
        report = laws.check_laws(conn, programme=get_programme(conn), now=now, progress=lambda *_: None)
    assert report.violations == []


def test_what_both_bought_counts_for_the_survivor_from_the_merge_on(shop: Ladder) -> None:
    for member_id in ("m1", "m2"):
        shop.enrol(member_id)
        shop.buy(10, 2000, member_id)
    answer = merge(shop)
    assert (answer["member_id"], answer["merged_id"], answer["tier"]["tier"]) == ("m2", "m1", "t2")
    assert shop.moves("m2") == [
        (None, "t0", "enrol", 200),
        ("t0", "t1", "order", 10),
        ("t1", "t2", "merge", 0),
    ]
    assert shop.tier("m2")["metrics"]["net_spend"] == "4000.00"
    assert shop.tier("m2", ago=1)["tier"] == "t1"
    assert shop.told("member.merged") == [{"merged_id": "m1", "into": "m2"}]
    assert [told["cause"] for told in shop.told("member.tier.changed")][-1] == "merge"
    obeyed(shop)


def test_complaint_38_a_merge_loses_and_strands_no_point(shop: Ladder) -> None:
    """Merging two contacts loses or strands points.

    https://github.com/odoo/odoo/pull/171706 , https://github.com/mautic/mautic/pull/5964 ,
    https://github.com/erxes/erxes/pull/6957
    """
    for member_id in ("m1", "m2"):
        shop.enrol(member_id)
    first = shop.buy(0, 2000, "m1")
    give(shop, "m1", 40)
    give(shop, "m2", 7)
    held = shop.post("/v1/members/m1/points/holds", {"points": 25, "ttl_seconds": 600}, role="server")
    before = [sum(points(shop, member_id)) for member_id in ("m1", "m2")]
    answer = merge(shop)
    assert sum(answer["points"].values()) == sum(before)
    assert points(shop, "m2") == points(shop, "m1") == tuple(answer["points"].values())
    # What was on its way arrives: the hold is captured, the order is refunded, more is given, all to one.
    shop.post(f"/v1/points/holds/{held['hold_id']}/capture", {"order_id": "elsewhere"}, role="server")
    shop.refund(first, 0, 2000)
    give(shop, "m1", 5)
    assert points(shop, "m2") == (before[0] + before[1] - 25 - answer["points"]["pending"] + 5, 0, 0)
    obeyed(shop)


def test_the_old_id_stands_for_the_survivor_in_everything(shop: Ladder) -> None:
    for member_id in ("m1", "m2"):
        shop.enrol(member_id)
    old = shop.buy(10, 500, "m1")
    merge(shop)
    order = shop.buy(1, 700, "m1")
    assert (order["order"]["member_id"], order["tier"]["after"]["tier"]) == ("m2", "t1")
    assert read(shop, f"orders/{old['order']['order_id']}")["order"]["member_id"] == "m2"
    # Sent again as it was, it is known.
    again = an_order(order["order"]["order_id"], "m1", "700", placed_at=shop.noon(1))
    assert shop.client.post("/v1/orders", json=again).status_code == 200
    refunded = shop.refund(old, 0, 500)
    assert (refunded["refund"]["member_id"], refunded["tier"]["after"]["tier"]) == ("m2", "t0")
    for path in ("", "/card", "/tier", "/points", "/tier/changes", "/points/transactions", "/assignments"):
        one, other = (read(shop, f"members/{name}{path}") for name in ("m1", "m2"))
        for answer in (one, other):
            answer.pop("measurement", None)
            answer.pop("as_of", None)
        assert one == other, path
    assert read(shop, "members/m1")["merged_ids"] == ["m1"]
    rows = read(shop, "members")["data"]
    assert [(row["member_id"], row["merged_into"]) for row in rows] == [("m1", "m2"), ("m2", None)]
    event = {"event_id": "e1", "type": "page_view", "member_id": "m1", "occurred_at": shop.noon(0)}
    assert (shop.client.post("/v1/events", json={"events": [event]}).json or {})["data"][0][
        "status"
    ] == "accepted"
    obeyed(shop)


def test_a_refund_sent_again_after_the_merge_is_known_and_gets_its_first_answer(shop: Ladder) -> None:
    for member_id in ("m1", "m2"):
        shop.enrol(member_id)
    order = shop.buy(1, 2000, "m1")
    body = {
        "refund_id": "r-again",
        "order_id": order["order"]["order_id"],
        "refunded_at": shop.noon(0),
        "amount": "1000",
    }
    first = shop.expect(201, shop.client.post("/v1/refunds", json=body))
    merge(shop)
    again = shop.expect(200, shop.client.post("/v1/refunds", json=body))
    assert again["points"] == first["points"]
    assert again["points"]["reversed"] > 0


def test_a_chain_of_merges_ends_with_the_last_survivor(shop: Ladder) -> None:
    for number, member_id in enumerate(("m1", "m2", "m3")):
        shop.enrol(member_id, ago=200 - number)
        shop.buy(9 - number, 1000, member_id)
        give(shop, member_id, 10)
    merge(shop, "m1", "m2")
    merge(shop, "m2", "m3")
    shop.buy(0, 100, "m1")
    shop.buy(8, 50, "m2")
    assert shop.tier("m1")["metrics"]["net_spend"] == "3150.00"
    assert points(shop, "m1")[0] >= 30
    assert read(shop, "members/m3")["merged_ids"] == ["m1", "m2"]
    obeyed(shop)
    undo(shop, "m1", status=409)
    undo(shop, "m2")
    assert shop.tier("m2")["metrics"]["net_spend"] == "2150.00"
    assert shop.tier("m3")["metrics"]["net_spend"] == "1000.00"
    assert read(shop, "members/m1")["member_id"] == "m2"
    obeyed(shop)
    undo(shop, "m1")
    assert [shop.tier(name)["metrics"]["net_spend"] for name in ("m1", "m2", "m3")] == [
        "1100.00",
        "1050.00",
        "1000.00",
    ]
    obeyed(shop)


def test_an_undone_merge_leaves_both_as_they_would_have_been(shop: Ladder) -> None:
    for member_id in ("m1", "m2"):
        shop.enrol(member_id)
        shop.buy(10, 2000, member_id)
        give(shop, member_id, 50)
    before = [points(shop, member_id) for member_id in ("m1", "m2")]
    merge(shop)
    since = shop.buy(0, 1500, "m1")
    answer = undo(shop)
    assert [(one["member_id"], one["tier"]["tier"]) for one in answer["members"]] == [
        ("m1", "t2"),
        ("m2", "t1"),
    ]
    earned = since["points"]["earned"]
    assert points(shop, "m2") == before[1]
    assert points(shop, "m1") == (before[0][0], before[0][1] + earned, 0)
    assert "merge" not in {cause for _, _, cause, _ in [*shop.moves("m1"), *shop.moves("m2")]}
    assert read(shop, f"orders/{since['order']['order_id']}")["order"]["member_id"] == "m1"
    assert shop.told("member.merge_undone") == [{"merged_id": "m1", "into": "m2"}]
    obeyed(shop)
    # And once more, for good.
    assert merge(shop)["tier"]["tier"] == "t2"
    obeyed(shop)


def test_what_was_spent_meanwhile_stays_spent_and_comes_back_to_whose_it_was(shop: Ladder) -> None:
    for member_id in ("m1", "m2"):
        shop.enrol(member_id)
    give(shop, "m1", 100)
    give(shop, "m2", 30)
    merge(shop)
    held = shop.post("/v1/members/m2/points/holds", {"points": 110, "ttl_seconds": 600}, role="server")
    undo(shop, status=409)
    order = shop.buy(0, 2000, "m2", points_hold_id=held["hold_id"])
    parted = undo(shop)["members"]
    assert [one["points"]["available"] for one in parted] == [0, 20]
    shop.refund(order, 0, 2000)
    assert [points(shop, member_id) for member_id in ("m1", "m2")] == [(100, 0, 0), (30, 0, 0)]
    obeyed(shop)


def test_late_facts_of_a_merged_member_correct_its_past_and_the_survivors_present(shop: Ladder) -> None:
    for member_id in ("m1", "m2"):
        shop.enrol(member_id)
        shop.buy(5, 900, member_id)
    merge(shop)
    assert shop.tier("m2")["tier"] == "t1"
    shop.buy(8, 2000, "m1")
    assert shop.tier("m2")["tier"] == "t2"
    assert shop.tier("m2", ago=1)["tier"] == "t0"
    with shop.client.engine.connect() as conn:
        rows = conn.execute(
            text(
                "SELECT to_tier, cause FROM tier_changes JOIN members USING (member_key) "
                "WHERE member_id = 'm1' AND superseded_at IS NULL ORDER BY effective_at"
            )
        ).all()
    assert [tuple(row) for row in rows] == [("t0", "enrol"), ("t1", "late_fact")]
    obeyed(shop)


def test_movement_reconciles_over_a_merge_and_names_it_as_the_way_out(shop: Ladder) -> None:
    for member_id, amount in (("m1", 1500), ("m2", 2000), ("m3", 100)):
        shop.enrol(member_id)
        shop.buy(10, amount, member_id)
    merge(shop)
    window = f"from={shop.day(20)}&to={shop.day(-1)}"
    for view in ("cohort", "event"):
        report = shop.expect(
            200, shop.client.get(f"/v1/tier-movements?{window}&view={view}&by=cause", role="marketing")
        )
        assert {total["difference"] for total in report["totals"]} == {0}, report["totals"]
        gone = {group["group"]: group for group in report["groups"]}
        assert [flow["to"] for flow in gone["merge"]["matrix"]] == ["t2", None]
    for query, members in ((f"?as_of={shop.day(1)}", 3), ("", 2)):
        (point,) = read(shop, f"tier-distribution{query}", role="marketing")["points"]
        assert (point["members"], sum(tier["members"] for tier in point["tiers"])) == (members, members)
    obeyed(shop)


def test_an_override_goes_on_for_a_survivor_who_has_none(shop: Ladder) -> None:
    for member_id in ("m1", "m2"):
        shop.enrol(member_id)
    until = shop.day(-60).isoformat()
    body = {"tier": "t2", "until": until, "reason": "a promise"}
    answer = shop.client.put("/v1/members/m1/tier/override", role="marketing", json=body)
    assert answer.status_code == 200
    assert merge(shop)["tier"]["tier"] == "t2"
    assert shop.tier("m2")["override"]["until"] == until
    obeyed(shop)
    undo(shop)
    assert (shop.tier("m1")["tier"], shop.tier("m2")["tier"]) == ("t2", "t0")
    assert shop.tier("m2")["override"] is None
    obeyed(shop)


def test_the_day_of_joining_is_the_earlier_of_both(engine: Engine, settings: Settings) -> None:
    rules = ladder({"enter": {"metric": "member_days", "op": ">=", "value": 100}})
    shop = Ladder(engine, settings, rules)
    shop.enrol("m1", ago=300)
    shop.enrol("m2", ago=20)
    assert merge(shop)["tier"]["tier"] == "t1"
    shop.review()
    shop.post("/v1/tier-reviews", {"scope": "all"}, role="operations")
    assert shop.tier("m2")["tier"] == "t1"
    obeyed(shop)
    undo(shop)
    assert shop.tier("m2")["tier"] == "t0"
    obeyed(shop)


def test_a_simulation_of_a_past_day_sees_two_members_and_of_today_one(shop: Ladder) -> None:
    for member_id in ("m1", "m2"):
        shop.enrol(member_id)
        shop.buy(10, 2000, member_id)
    merge(shop)
    version = shop.draft(ladder({"enter": spend(1000)}, {"enter": spend(3500)}))
    now = shop.simulate(version)
    assert now["result"]["members"] == 1
    asked = shop.post(
        f"/v1/tier-rulesets/{version}/simulations", {"as_of": shop.day(1).isoformat()}, role="marketing"
    )
    with transaction(shop.client.engine) as conn:
        programme = get_programme(conn)
    simulation_id = asked["simulation_id"]
    run_simulation(
        shop.client.engine, simulation_id=simulation_id, programme=programme, now=datetime.now(UTC)
    )
    past = read(shop, f"tier-rulesets/{version}/simulations/{simulation_id}")
    assert (past["result"]["members"], past["result"]["moved"]) == (2, {"up": 0, "down": 0})


def test_who_is_in_an_experiment_keeps_the_earlier_arm_and_is_counted(shop: Ladder) -> None:
    for member_id in ("m1", "m2"):
        shop.enrol(member_id)
        path = f"/v1/members/{member_id}/recommendations?placement=home"
        shop.expect(200, shop.client.get(path))
    first = read(shop, "members/m1/assignments")["data"]
    merge(shop)
    kept = read(shop, "members/m2/assignments")["data"]
    assert [one["assigned_at"] for one in kept] == [one["assigned_at"] for one in first]
    assert _set_aside(shop.client) == 1
    undo(shop)
    assert read(shop, "members/m1/assignments")["data"] == first
    assert _set_aside(shop.client) == 0


def _set_aside(client: Client) -> int:
    with client.engine.connect() as conn:
        query = "SELECT count(*) FROM assignments WHERE merged_into IS NOT NULL"
        return int(conn.execute(text(query)).scalar_one())


def _erase(shop: Ladder) -> None:
    with shop.client.engine.begin() as conn:
        conn.execute(text("UPDATE members SET erased_at = now() WHERE member_id = 'm2'"))


def _merge_away(shop: Ladder) -> None:
    merge(shop, "m2", "m3")


def _merge_first(shop: Ladder) -> None:
    merge(shop, "m1", "m3")


@pytest.mark.parametrize(
    ("source", "into", "before", "status", "code"),
    [
        ("m1", "m1", None, 422, "merge-into-self"),
        ("nobody", "m2", None, 404, "unknown-member"),
        ("m1", "nobody", None, 422, "member-not-enrolled"),
        ("m1", "m2", _erase, 409, "member-erased"),
        ("m1", "m2", _merge_first, 409, "already-merged"),
        ("m1", "m2", _merge_away, 409, "survivor-merged"),
    ],
)
def test_a_merge_that_cannot_be_is_refused_and_changes_nothing(
    shop: Ladder,
    source: str,
    into: str,
    before: Callable[[Ladder], None] | None,
    status: int,
    code: str,
) -> None:
    for member_id in ("m1", "m2", "m3"):
        shop.enrol(member_id)
        give(shop, member_id, 10)
    if before is not None:
        before(shop)
    held = [points(shop, member_id) for member_id in ("m1", "m2", "m3")]
    assert merge(shop, source, into, status=status)["code"] == code
    assert [points(shop, member_id) for member_id in ("m1", "m2", "m3")] == held
    obeyed(shop)


def test_what_was_never_merged_or_too_long_ago_cannot_be_undone(shop: Ladder) -> None:
    for member_id in ("m1", "m2"):
        shop.enrol(member_id)
    assert undo(shop, status=409)["code"] == "not-merged"
    assert undo(shop, "nobody", status=404)["code"] == "unknown-member"
    merge(shop)
    give(shop, "m2", 10)
    shop.post("/v1/members/m2/points/holds", {"points": 10, "ttl_seconds": 600}, role="server")
    assert undo(shop, status=409)["code"] == "merged-points-held"
    with shop.client.engine.begin() as conn:
        conn.execute(text("UPDATE member_merges SET merged_at = merged_at - interval '31 days'"))
    assert undo(shop, status=409)["code"] == "undo-too-late"


def test_a_merged_members_own_row_is_changed_no_more(shop: Ladder) -> None:
    for member_id in ("m1", "m2"):
        shop.enrol(member_id)
    merge(shop)
    answer = shop.client.put("/v1/members/m1", json={"locale": "en"})
    assert (answer.status_code, (answer.json or {})["code"]) == (409, "member-merged")
    assert "m2" in (answer.json or {})["detail"]


def test_a_merge_is_in_the_audit_log_of_both_and_repeated_with_its_key_happens_once(shop: Ladder) -> None:
    for member_id in ("m1", "m2"):
        shop.enrol(member_id)
    for _ in range(2):
        answer = shop.client.post(
            "/v1/members/m1/merge",
            role="marketing",
            json={"into": "m2", "reason": "one person"},
            headers={"Idempotency-Key": "once"},
        )
        assert answer.status_code == 200
    for member_id in ("m1", "m2"):
        path = f"/v1/audit-log?subject=member:{member_id}&action=member.merged"
        (entry,) = read(shop, path.removeprefix("/v1/"), role="admin")["data"]
        told = {change["field"]: change["after"] for change in entry["changes"]}
        assert (entry["reason"], told) == ("one person", {"merged_id": "m1", "into": "m2"})
    bare = shop.client.post("/v1/members/m1/merge", role="admin", json={"into": "m2", "reason": "x"})
    assert (bare.status_code, (bare.json or {})["code"]) == (400, "idempotency-key-required")


def test_who_joined_later_than_today_is_unchanged_by_a_merge_of_others(shop: Ladder) -> None:
    for member_id in ("m1", "m2", "m3"):
        shop.enrol(member_id)
        shop.buy(3, 1200, member_id)
    seen = shop.tier("m3") | {"as_of": None}
    merge(shop)
    assert shop.tier("m3") | {"as_of": None} == seen
    today = local_day(datetime.now(UTC), timezone="Asia/Taipei")
    assert shop.today in {today, today - timedelta(days=1)}


def test_a_new_member_may_be_merged_into_one_that_has_bought(client: Client) -> None:
    enrol(client, "old")
    enrol(client, "new")
    body = {"into": "old", "reason": "signed up twice"}
    for role, status in (("storefront", 403), ("server", 200)):
        answer = client.post("/v1/members/new/merge", role=role, json=body, headers={"Idempotency-Key": role})
        assert answer.status_code == status
    assert (client.get("/v1/members/new").json or {})["points"] == NOTHING
