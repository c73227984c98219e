"""The review queue and the flags of rewards: found set-based, entered once, resolved with a note."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import text

from service.rewards.watch.operations import Thresholds, appraise_rewards, find_patterns
from tests.api.conftest import Client, an_order, enrol
from tests.api.test_points import adjust
from tests.api.test_points_holds import with_points
from tests.api.test_rewards import code_of, offer, taken

THRESHOLDS = Thresholds(redemptions=3, adjustments=3, refund_days=14, unwanted_days=90)


def look(client: Client, thresholds: Thresholds = THRESHOLDS) -> int:
    """Look for patterns as the hourly job does."""
    with client.engine.begin() as conn:
        return find_patterns(conn, thresholds=thresholds, timezone="Asia/Taipei", now=datetime.now(UTC))


def queue(client: Client, state: str = "open") -> list[dict[str, Any]]:
    """Return the review queue."""
    entries: Any = client.get(f"/v1/review-queue?state={state}", role="marketing").json
    found: list[dict[str, Any]] = entries["data"]
    return found


def test_many_redemptions_by_one_member_are_entered_once_and_grow(client: Client) -> None:
    with_points(client, 100)
    with_points(client, 100, "m2")
    offer(client, points=5)
    for _ in range(3):
        taken(client)
    taken(client, member="m2")
    assert look(client) == 1
    assert look(client) == 0
    taken(client)
    assert look(client) == 1
    (entry,) = queue(client)
    assert (entry["kind"], entry["member_id"], entry["actor"]) == ("many_redemptions", "m1", None)
    assert entry["figures"] == {"redemptions": 4, "points": 20}


def test_an_entry_about_a_member_that_was_merged_names_whom_it_goes_by(client: Client) -> None:
    with_points(client, 100)
    enrol(client, "m2")
    offer(client, points=5)
    for _ in range(3):
        taken(client)
    look(client)
    for path, body, named in (("merge", {"into": "m2"}, "m2"), ("merge/undo", {}, "m1")):
        merged = client.post(
            f"/v1/members/m1/{path}",
            json=body | {"reason": "one person"},
            role="admin",
            headers={"Idempotency-Key": path.replace("/", "-")},
        )
        assert merged.status_code in {200, 201}, merged.data
        assert [entry["member_id"] for entry in queue(client)] == [named]


def test_many_adjustments_by_one_actor_are_entered(client: Client) -> None:
    enrol(client)
    for number in range(3):
        adjust(client, 10, key=f"adjust-{number}")
    assert look(client) == 1
    (entry,) = queue(client)
    assert (entry["kind"], entry["member_id"]) == ("many_adjustments", None)
    assert entry["actor"].startswith("server:key_")
    assert entry["figures"] == {"adjustments": 3, "members": 1, "given": 30}


def test_a_refund_whose_points_were_spent_on_a_reward_is_entered(client: Client) -> None:
    enrol(client)
    values = {"return_period_days": 0}
    changed = client.put("/v1/settings", json={"values": values, "reason": "at once"}, role="marketing")
    assert changed.status_code == 200
    earned: Any = client.post("/v1/orders", json=an_order(amount="10000")).json
    offer(client, points=earned["points"]["earned"])
    taken(client)
    refund = {
        "refund_id": "r1",
        "order_id": "o1",
        "refunded_at": datetime.now(UTC).isoformat(),
        "amount": "10000",
    }
    answer: Any = client.post("/v1/refunds", json=refund).json
    assert answer["points"]["shortfall"] == earned["points"]["earned"]
    assert look(client) == 1
    assert look(client) == 0
    (entry,) = queue(client)
    assert (entry["kind"], entry["member_id"]) == ("refund_after_redeem", "m1")
    assert entry["figures"]["missing"] == earned["points"]["earned"]


def test_an_entry_is_resolved_once_with_a_note(client: Client) -> None:
    with_points(client, 100)
    offer(client, points=5)
    for _ in range(3):
        taken(client)
    look(client)
    entry_id = queue(client)[0]["entry_id"]
    path = f"/v1/review-queue/{entry_id}/resolve"
    resolved: Any = client.post(path, json={"note": "a party"}, role="marketing")
    assert (resolved.status_code, resolved.json["state"], resolved.json["note"]) == (
        200,
        "resolved",
        "a party",
    )
    assert client.post(path, json={"note": "a party"}, role="operations").json == resolved.json
    refused = client.post(path, json={"note": "fraud"}, role="marketing")
    assert code_of(refused) == (409, "review-entry-resolved")
    unknown = client.post("/v1/review-queue/rev_0/resolve", json={"note": "x"}, role="marketing")
    assert code_of(unknown) == (404, "unknown-review-entry")
    assert (queue(client), len(queue(client, "resolved"))) == ([], 1)
    taken(client)
    assert look(client) == 0
    log: Any = client.get("/v1/audit-log", role="admin").json
    assert log["data"][0]["action"] == "review.resolved"


def test_a_threshold_of_zero_looks_for_none_of_it(client: Client) -> None:
    with_points(client, 100)
    offer(client, points=5)
    for _ in range(3):
        taken(client)
    assert look(client, Thresholds(0, 0, 0, 0)) == 0


def test_a_reward_out_of_reach_and_one_that_nobody_takes_are_flagged(client: Client) -> None:
    for number, amount in enumerate(("1000", "2000", "50000")):
        enrol(client, f"m{number}")
        client.post("/v1/orders", json=an_order(f"o{number}", f"m{number}", amount))
    with client.engine.connect() as conn:
        points = sorted(conn.scalars(text("SELECT earned FROM lots")))
    offer(client, "dear", points=points[1] + 1)
    offer(client, "fair", points=points[1])
    assert client.get("/v1/rewards/dear").json["appraised_at"] is None  # type: ignore[index]
    with client.engine.begin() as conn:
        assert appraise_rewards(conn, thresholds=THRESHOLDS, now=datetime.now(UTC)) == 2
    shown: Any = client.get("/v1/rewards").json
    assert [one["flags"] for one in shown["data"]] == [["out_of_reach"], []]
    with_points(client, 10**6, "rich")
    taken(client, "dear", member="rich")
    with client.engine.begin() as conn:
        conn.execute(text("UPDATE rewards SET created_at = created_at - interval '91 days'"))
        appraise_rewards(conn, thresholds=THRESHOLDS, now=datetime.now(UTC))
    shown = client.get("/v1/rewards").json
    assert [one["flags"] for one in shown["data"]] == [["out_of_reach"], ["unwanted"]]
