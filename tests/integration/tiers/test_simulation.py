"""A draft tried on everybody, on a real database."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from service.kit.db import dumps, transaction
from service.ledger import operations as ledger
from service.ledger.rules import EarningRule
from service.tiers.errors import (
    AsOfInFuture,
    RulesetNotReadable,
    SimulationIsOver,
    UnknownRuleset,
    UnknownSimulation,
)
from service.tiers.population import operations, simulation, store
from service.tiers.population.rules import definition_hash
from tests.integration.tiers.shop import Shop, spend_ladder

DAY = 20
"""The day of every simulation here: all purchases of days 0 to 9 are in the window of thirty days."""


@pytest.fixture
def shop(engine: Engine) -> Shop:
    """Ten members: m0 never bought, the others once on their day, 100 units for each of their number."""
    with transaction(engine) as conn:
        shop = Shop(conn, spend_ladder(300, 600))
        shop.enrol("m0")
        for number in range(1, 10):
            shop.enrol(f"m{number}", day=-31 if number > 5 else 0)
            shop.order(f"o{number}", number, 100 * number, member_id=f"m{number}")
        shop.now = shop.at(DAY)
    return shop


def add_draft(engine: Engine, definition: Mapping[str, Any], *, version: int = 2) -> None:
    with transaction(engine) as conn:
        conn.execute(
            text(
                "INSERT INTO tier_rulesets (version, state, definition, created_at) "
                "VALUES (:version, 'draft', CAST(:definition AS jsonb), now())"
            ),
            {"version": version, "definition": dumps(definition)},
        )


def request(engine: Engine, shop: Shop, **asked: Any) -> str:
    with transaction(engine) as conn:
        given = {"version": 2, "as_of": None, "against": None, "requested_by": "admin:k1"} | asked
        done = operations.request_simulation(conn, **given, programme=shop.programme, now=shop.now)
    simulation_id: str = done["simulation_id"]
    return simulation_id


def run(engine: Engine, shop: Shop, simulation_id: str, *, chunk: int = 4) -> dict[str, Any]:
    assert operations.run_simulation(
        engine, simulation_id=simulation_id, programme=shop.programme, now=shop.now, chunk=chunk
    )
    return look(engine, simulation_id)


def look(engine: Engine, simulation_id: str) -> dict[str, Any]:
    with engine.connect() as conn:
        return operations.get_simulation(conn, simulation_id=simulation_id)


def simulate(engine: Engine, shop: Shop, *, chunk: int = 4, **asked: Any) -> dict[str, Any]:
    done = run(engine, shop, request(engine, shop, **asked), chunk=chunk)
    assert (done["state"], done["failure"]) == ("done", None)
    result: dict[str, Any] = done["result"]
    return result


def cells(result: Mapping[str, Any]) -> dict[tuple[str, str], int]:
    return {(cell["from"], cell["to"]): cell["members"] for cell in result["matrix"]}


def fingerprints(engine: Engine) -> dict[str, str | None]:
    """A hash of every row of every table but simulations and the queue."""
    with engine.connect() as conn:
        tables = conn.scalars(
            text(
                "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND NOT relispartition "
                "AND relnamespace = 'public'::regnamespace"
            )
        ).all()
        return {
            table: conn.scalar(
                text(
                    f"SELECT md5(string_agg(CAST(t AS text), '' ORDER BY CAST(t AS text))) FROM \"{table}\" t"
                )
            )
            for table in tables
            if table != "tier_simulations"
        }


def test_a_harder_draft_tells_who_moves_from_where_to_where(engine: Engine, shop: Shop) -> None:
    add_draft(engine, spend_ladder(500, 600))
    result = simulate(engine, shop)
    assert cells(result) == {("t0", "t0"): 3, ("t1", "t0"): 2, ("t1", "t1"): 1, ("t2", "t2"): 4}
    assert (result["members"], result["moved"]) == (10, {"up": 0, "down": 2})
    assert result["demoted"] == 2
    assert result["demoted_share"] == {"numerator": 2, "denominator": 10, "share": "0.2000"}
    # Under the rules in force nobody would fall.
    assert result["demoted_anyway"] == 0


def test_an_easier_draft_lifts_members_and_demotes_nobody(engine: Engine, shop: Shop) -> None:
    add_draft(engine, spend_ladder(100, 400))
    result = simulate(engine, shop)
    assert cells(result) == {
        ("t0", "t0"): 1, ("t0", "t1"): 2, ("t1", "t1"): 1, ("t1", "t2"): 2, ("t2", "t2"): 4
    }  # fmt: skip
    assert (result["moved"], result["demoted"]) == ({"up": 4, "down": 0}, 0)


def test_a_draft_that_would_demote_everyone_says_so(engine: Engine, shop: Shop) -> None:
    add_draft(engine, spend_ladder(100_000, 200_000))
    result = simulate(engine, shop)
    # One step at a time: whoever is at the top is to be found one tier down.
    assert cells(result) == {("t0", "t0"): 3, ("t1", "t0"): 3, ("t2", "t1"): 4}
    assert result["demoted_share"] == {"numerator": 7, "denominator": 10, "share": "0.7000"}


def test_a_fall_to_the_qualified_tier_skips_the_steps_between(engine: Engine, shop: Shop) -> None:
    draft = spend_ladder(100_000, 200_000)
    draft["downgrade"]["policy"] = "to_qualified"
    add_draft(engine, draft)
    assert cells(simulate(engine, shop)) == {("t0", "t0"): 3, ("t1", "t0"): 3, ("t2", "t0"): 4}


def test_without_hold_and_grace_steps_follow_each_other_at_once(engine: Engine, shop: Shop) -> None:
    add_draft(engine, spend_ladder(100_000, 200_000, grace_days=0))
    assert cells(simulate(engine, shop)) == {("t0", "t0"): 3, ("t1", "t0"): 3, ("t2", "t0"): 4}


def test_whoever_meets_the_condition_to_stay_stays(engine: Engine, shop: Shop) -> None:
    draft = spend_ladder(300, 900)
    draft["tiers"][2]["keep"] = {"metric": "net_spend", "op": ">=", "value": "800"}
    add_draft(engine, draft)
    result = simulate(engine, shop)
    assert cells(result) == {("t0", "t0"): 3, ("t1", "t1"): 3, ("t2", "t1"): 2, ("t2", "t2"): 2}


def test_a_removed_tier_counts_as_lost_by_those_who_land_below_it(engine: Engine, shop: Shop) -> None:
    draft = spend_ladder(300, 700)
    draft["tiers"][1]["code"] = "blue"
    add_draft(engine, draft)
    result = simulate(engine, shop)
    # t1 is gone: its holders begin at t0, and blue stands where t1 stood.
    assert cells(result)["t1", "blue"] == 3
    assert result["moved"] == {"up": 3, "down": 1}
    gone = spend_ladder(100_000)
    gone["tiers"][1]["code"] = "t2"
    add_draft(engine, gone, version=3)
    result = simulate(engine, shop, version=3)
    assert cells(result) == {("t0", "t0"): 3, ("t1", "t0"): 3, ("t2", "t0"): 4}
    assert result["demoted"] == 7


def test_members_held_by_an_override_stay(engine: Engine, shop: Shop) -> None:
    with transaction(engine) as conn:
        conn.execute(
            text(
                "UPDATE tier_states SET rated_rank = rank, rated_since = since, pinned_until = :until "
                "WHERE member_key = :key"
            ),
            {"until": shop.at(400), "key": shop.keys["m9"]},
        )
    add_draft(engine, spend_ladder(100_000, 200_000))
    result = simulate(engine, shop)
    assert cells(result)["t2", "t2"] == 1
    assert (result["pinned"], result["demoted"]) == (1, 6)


def test_parts_by_cohort_and_by_store_add_up_to_the_whole(engine: Engine, shop: Shop) -> None:
    add_draft(engine, spend_ladder(500, 800))
    result = simulate(engine, shop)
    assert [part["cohort"] for part in result["by_cohort"]] == ["2023-12", "2024-01"]
    for parts in (result["by_cohort"], result["by_store"]):
        assert sum(part["members"] for part in parts) == result["members"]
        assert sum(part["demoted"] for part in parts) == result["demoted"]
        assert sum(part["down"] for part in parts) == result["moved"]["down"]
    assert [part["store_id"] for part in result["by_store"]] == [None]


def test_samples_say_what_is_missing_in_numbers_and_in_words(engine: Engine, shop: Shop) -> None:
    add_draft(engine, spend_ladder(500, 600))
    (sample,) = simulate(engine, shop)["samples"]
    assert (sample["from"], sample["to"]) == ("t1", "t0")
    assert sorted(member["member_id"] for member in sample["members"]) == ["m3", "m4"]
    third = next(member for member in sample["members"] if member["member_id"] == "m3")
    assert third["metrics"]["net_spend"] == "300.00"
    assert third["needs"] == [
        {"metric": "net_spend", "op": ">=", "have": "300.00", "need": "500.00", "met": False}
    ]
    assert "500" in third["reason"]["en"]
    assert "500" in third["reason"]["zh-Hant"]


def test_at_most_three_of_each_movement_are_sampled_whatever_the_ranges(engine: Engine, shop: Shop) -> None:
    add_draft(engine, spend_ladder(100_000, 200_000))
    whole, parts = simulate(engine, shop, chunk=100), simulate(engine, shop, chunk=3)
    assert {(one["from"], one["to"]): len(one["members"]) for one in whole["samples"]} == {
        ("t1", "t0"): 3, ("t2", "t1"): 3
    }  # fmt: skip
    for result in (whole, parts):
        del result["evidence"]
    assert whole == parts


def test_multipliers_are_costed_on_the_recorded_awards_of_a_year(engine: Engine, shop: Shop) -> None:
    rule = EarningRule(points=1, per_minor=3000, multiplier_bp=10_000, tier="t0")
    with transaction(engine) as conn:
        for number, days_ago in ((3, 1), (4, 400), (9, 2)):
            ledger.earn_points(
                conn,
                member_key=shop.keys[f"m{number}"],
                order_key=number,
                eligible_minor=100_000,
                rule=rule,
                occurred_at=shop.now - timedelta(days=days_ago),
                available_at=shop.now,
                expires_at=None,
                now=shop.now,
            )
    draft = spend_ladder(300, 600)
    draft["tiers"][1]["benefits"] = [
        {"kind": "points_multiplier", "multiplier_bp": 15_000, "text": {"en": "More", "zh-Hant": "更多"}}
    ]
    add_draft(engine, draft)
    cost = simulate(engine, shop)["points_cost_change"]
    # Only m3 is in t1 and was awarded points within the year: 33 would have been 50. A point is worth 0.30.
    assert cost == {
        "points": 17, "amount": "5.10", "currency": "TWD",
        "margin_points": 0, "members": 3, "members_counted": 3,
    }  # fmt: skip


def test_a_refund_takes_its_share_of_an_award_out_of_the_cost(engine: Engine, shop: Shop) -> None:
    rule = EarningRule(points=1, per_minor=100, multiplier_bp=10_000, tier="t0")
    with transaction(engine) as conn:
        given: dict[str, Any] = {"member_key": shop.keys["m3"], "order_key": 3, "now": shop.now}
        ledger.earn_points(
            conn, **given, eligible_minor=100_000, rule=rule, occurred_at=shop.at(10),
            available_at=shop.at(17), expires_at=None,
        )  # fmt: skip
        ledger.take_back_points(
            conn, **given, refund_key=1, eligible_left_minor=40_000, occurred_at=shop.at(11), policy="clamp"
        )
    draft = spend_ladder(300, 600)
    draft["tiers"][1]["benefits"] = [
        {"kind": "points_multiplier", "multiplier_bp": 20_000, "text": {"en": "Twice", "zh-Hant": "兩倍"}}
    ]
    add_draft(engine, draft)
    assert simulate(engine, shop)["points_cost_change"]["points"] == 400


def test_a_past_day_is_simulated_as_it_was_then(engine: Engine, shop: Shop) -> None:
    with transaction(engine) as conn:
        shop.conn = conn
        shop.refund("r9", "o9", 15, 900, member_id="m9")
        shop.enrol("late", day=16)
        shop.now = shop.at(DAY)
    add_draft(engine, spend_ladder(300, 600))
    then, now = simulate(engine, shop, as_of=shop.on(9)), simulate(engine, shop)
    assert (then["members"], now["members"]) == (10, 11)
    assert cells(then)["t2", "t2"] == 4
    assert cells(now)["t2", "t2"] == 3
    early = simulate(engine, shop, as_of=shop.on(4))
    # o3 and o4 had been placed by then; later ones had not.
    assert cells(early) == {("t0", "t0"): 8, ("t1", "t1"): 2}


def test_a_draft_is_compared_with_another_draft(engine: Engine, shop: Shop) -> None:
    add_draft(engine, spend_ladder(100, 400))
    add_draft(engine, spend_ladder(100, 600), version=3)
    result = simulate(engine, shop, version=3, against=2)
    assert cells(result) == {("t0", "t0"): 1, ("t1", "t1"): 3, ("t2", "t1"): 2, ("t2", "t2"): 4}
    assert result["moved"] == {"up": 0, "down": 2}
    # Nobody is demoted from the tier held: those two never were in t2.
    assert result["demoted"] == 0


def test_a_simulation_writes_nothing_but_its_own_row(engine: Engine, shop: Shop) -> None:
    add_draft(engine, spend_ladder(500, 800))
    simulation_id = request(engine, shop)
    before = fingerprints(engine)
    assert run(engine, shop, simulation_id)["state"] == "done"
    assert fingerprints(engine) == before


def test_a_job_is_enqueued_with_the_request_and_only_then(engine: Engine, shop: Shop) -> None:
    add_draft(engine, spend_ladder(500, 800))
    with pytest.raises(KeyError), transaction(engine) as conn:
        given: dict[str, Any] = {"version": 2, "as_of": None, "against": None, "requested_by": "x"}
        operations.request_simulation(conn, **given, programme=shop.programme, now=shop.now)
        raise KeyError
    waiting = text("SELECT count(*) FROM procrastinate_jobs WHERE task_name = 'tiers.simulate'")
    with engine.connect() as conn:
        assert conn.scalar(waiting) == 0
    request(engine, shop)
    with engine.connect() as conn:
        assert conn.scalar(waiting) == 1


def test_the_evidence_names_the_definition_that_was_tried(engine: Engine, shop: Shop) -> None:
    draft = spend_ladder(500, 800)
    add_draft(engine, draft)
    done = run(engine, shop, request(engine, shop))
    backwards = dict(reversed(draft.items()))
    assert done["definition_hash"] == definition_hash(backwards).hex()
    evidence = done["result"]["evidence"]
    assert evidence["definition_hash"] == done["definition_hash"]
    assert (evidence["as_of"], evidence["in_force_version"]) == ("2024-01-21", 1)
    assert evidence["took_seconds"] >= 0


def test_a_draft_that_changed_meanwhile_is_not_simulated(engine: Engine, shop: Shop) -> None:
    add_draft(engine, spend_ladder(500, 800))
    simulation_id = request(engine, shop)
    with transaction(engine) as conn:
        conn.execute(
            text("UPDATE tier_rulesets SET definition = CAST(:definition AS jsonb) WHERE version = 2"),
            {"definition": dumps(spend_ladder(1, 2))},
        )
    done = run(engine, shop, simulation_id)
    assert (done["state"], done["failure"], done["result"]) == ("failed", operations.CHANGED, None)


def test_one_that_waits_can_be_called_off_and_never_starts(engine: Engine, shop: Shop) -> None:
    add_draft(engine, spend_ladder(500, 800))
    simulation_id = request(engine, shop)
    cancel(engine, shop, simulation_id)
    cancel(engine, shop, simulation_id)
    assert not operations.run_simulation(
        engine, simulation_id=simulation_id, programme=shop.programme, now=shop.now
    )
    assert look(engine, simulation_id)["state"] == "cancelled"


def cancel(engine: Engine, shop: Shop, simulation_id: str) -> None:
    with transaction(engine) as conn:
        done = operations.cancel_simulation(conn, simulation_id=simulation_id, now=shop.now)
    assert done["state"] == "cancelled"


def test_one_that_runs_stops_at_the_end_of_its_range(
    engine: Engine, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_draft(engine, spend_ladder(500, 800))
    simulation_id = request(engine, shop)
    interrupt(monkeypatch, lambda: cancel(engine, shop, simulation_id))
    done = run(engine, shop, simulation_id)
    assert (done["state"], done["result"], done["members_done"]) == ("cancelled", None, 4)


def interrupt(monkeypatch: pytest.MonkeyPatch, then: Any) -> None:
    """Let something happen once, after the second range was read."""
    advance, seen = store.advance, list[int]()

    def watched(conn: Connection, **progress: Any) -> bool:
        seen.append(progress["members_done"])
        if len(seen) == 2:
            then()
        return advance(conn, **progress)

    monkeypatch.setattr(store, "advance", watched)


def test_one_that_is_done_cannot_be_called_off(engine: Engine, shop: Shop) -> None:
    add_draft(engine, spend_ladder(500, 800))
    simulation_id = request(engine, shop)
    run(engine, shop, simulation_id)
    with pytest.raises(SimulationIsOver), transaction(engine) as conn:
        operations.cancel_simulation(conn, simulation_id=simulation_id, now=shop.now)


def test_one_that_was_cut_off_is_run_again_to_the_same_result(
    engine: Engine, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_draft(engine, spend_ladder(500, 800))
    whole = simulate(engine, shop)
    simulation_id = request(engine, shop)

    def die() -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        interrupt(patched, die)
        with pytest.raises(KeyboardInterrupt):
            run(engine, shop, simulation_id)
    cut_off = look(engine, simulation_id)
    assert (cut_off["state"], cut_off["members_done"]) == ("running", 4)
    again = run(engine, shop, simulation_id)
    assert (again["state"], again["members_done"]) == ("done", 10)
    for result in (whole, again["result"]):
        del result["evidence"]
    assert again["result"] == whole


def test_two_jobs_never_run_the_same_one(engine: Engine, shop: Shop) -> None:
    add_draft(engine, spend_ladder(500, 800))
    simulation_id = request(engine, shop)
    with engine.connect() as holder:
        assert store.try_lock(holder, simulation_id=simulation_id)
        assert not operations.run_simulation(
            engine, simulation_id=simulation_id, programme=shop.programme, now=shop.now
        )
        store.unlock(holder, simulation_id=simulation_id)
        holder.rollback()
    assert run(engine, shop, simulation_id)["state"] == "done"


def test_what_cannot_be_simulated_is_refused(engine: Engine, shop: Shop) -> None:
    add_draft(engine, spend_ladder(500, 800))
    add_draft(engine, {"currency": "TWD"}, version=3)
    with pytest.raises(UnknownRuleset):
        request(engine, shop, version=9)
    with pytest.raises(UnknownRuleset):
        request(engine, shop, against=9)
    with pytest.raises(RulesetNotReadable):
        request(engine, shop, version=3)
    with pytest.raises(AsOfInFuture):
        request(engine, shop, as_of=shop.on(DAY + 1))
    with pytest.raises(UnknownSimulation):
        look(engine, "tsim_none")


def test_a_sampled_member_who_is_merged_away_meanwhile_is_left_out(engine: Engine, shop: Shop) -> None:
    def merge_away(*_: object) -> None:
        with transaction(engine) as conn:
            conn.execute(text("DELETE FROM tier_states WHERE member_key = :key"), {"key": shop.keys["m7"]})

    result = operations.simulate_definition(
        engine,
        definition=spend_ladder(500, 750),
        day=shop.on(DAY),
        against=None,
        programme=shop.programme,
        now=shop.now,
        progress=merge_away,
    )
    assert result["members"] == 10
    fallen = [sample["members"] for sample in result["samples"] if sample["from"] == "t2"]
    assert [[member["member_id"] for member in members] for members in fallen] == [["m6"]]


def test_simulations_are_listed_the_latest_first(engine: Engine, shop: Shop) -> None:
    add_draft(engine, spend_ladder(500, 800))
    made = []
    for second in range(3):
        shop.now += timedelta(seconds=second)
        made.append(request(engine, shop))
    with engine.connect() as conn:
        first = operations.list_simulations(conn, version=2, limit=2, cursor=None)
        rest = operations.list_simulations(conn, version=2, limit=2, cursor=first["next_cursor"])
    listed = [row["simulation_id"] for row in (*first["data"], *rest["data"])]
    assert listed == made[::-1]
    assert rest["next_cursor"] is None


def test_where_many_are_concerned_a_few_are_costed_and_the_rest_estimated(
    engine: Engine, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule = EarningRule(points=1, per_minor=100, multiplier_bp=10_000, tier="t0")
    with transaction(engine) as conn:
        for number in range(6, 10):
            ledger.earn_points(
                conn, member_key=shop.keys[f"m{number}"], order_key=number, eligible_minor=10_000 * number,
                rule=rule, occurred_at=shop.at(number), available_at=shop.now, expires_at=None, now=shop.now,
            )  # fmt: skip
    draft = spend_ladder(300, 600)
    draft["tiers"][2]["benefits"] = [
        {"kind": "points_multiplier", "multiplier_bp": 20_000, "text": {"en": "More", "zh-Hant": "更多"}}
    ]
    add_draft(engine, draft)
    whole = simulate(engine, shop, chunk=100)["points_cost_change"]
    assert (whole["points"], whole["margin_points"]) == (600 + 700 + 800 + 900, 0)
    monkeypatch.setattr(simulation, "COSTED", 2)
    monkeypatch.setattr(simulation, "_LEAST_COSTED", 1)
    part = simulate(engine, shop, chunk=100)["points_cost_change"]
    assert (part["members"], part["members_counted"]) == (4, 2)
    assert part["margin_points"] > 0
    assert abs(part["points"] - whole["points"]) <= part["margin_points"] + 600
