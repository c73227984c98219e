"""A shop's month, told through the API: every operation answers at least once, and much is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from service.kit.clock import read_clock
from service.programme.operations import get_programme
from tests.clients.recording import Recorder
from tests.clients.story_earning import write_earning_rules
from tests.clients.story_experiments import try_a_text
from tests.clients.story_exports import export_for_a_mailing
from tests.clients.story_imports import bring_files
from tests.clients.story_merges import merge_two_members
from tests.clients.story_movement import watch_movement
from tests.clients.story_off_policy import judge_a_ranker
from tests.clients.story_overrides import hold_at_a_tier
from tests.clients.story_reports import ask_for_reports
from tests.clients.story_rewards import take_rewards
from tests.clients.story_rules import write_rules
from tests.clients.story_simulations import try_rules

NOW = datetime.now(UTC).replace(microsecond=0)
TEAS = [f"TEA-{number:03}" for number in range(1, 13)]
MEI_LIN = "/v1/members/mei-lin"


def ago(days: float) -> str:
    """Return a time of some days ago, as a shop in Taipei would send it."""
    moment = NOW - timedelta(days=days) + timedelta(hours=8)
    return moment.replace(tzinfo=None).isoformat() + "+08:00"


def tell_story(recorder: Recorder) -> None:
    """Play the whole month."""
    fill_catalogue(recorder)
    enrol_members(recorder)
    sell(recorder)
    take_back(recorder)
    look(recorder)
    set_aside(recorder)
    take_rewards(recorder)
    train(recorder)
    recommend(recorder)
    export_for_a_mailing(recorder)
    judge_a_ranker(recorder)
    run_programme(recorder)
    write_rules(recorder)
    write_earning_rules(recorder, member_id="mei-lin")
    try_rules(recorder)
    try_a_text(recorder)
    watch_movement(recorder)
    hold_at_a_tier(recorder)
    merge_two_members(recorder)
    ask_for_reports(recorder)
    bring_files(recorder)
    give_access(recorder)
    refuse(recorder)
    refuse_facts(recorder)
    refuse_keys(recorder)


def fill_catalogue(recorder: Recorder) -> None:
    """Twelve teas; one is put again."""
    for number, sku in enumerate(TEAS):
        item = {
            "name": {"en": f"Oolong no. {number + 1}", "zh-Hant": f"烏龍茶 {number + 1} 號"},
            "category": ["tea", "oolong"],
            "price": str(600 + 50 * number),
            "currency": "TWD",
            "available": True,
            "attributes": {"grams": 150},
        }
        recorder.call("PUT", f"/v1/items/{sku}", json=item)
    recorder.call("PUT", "/v1/items/TEA-001", json=item | {"price": "1200"})
    recorder.call("GET", "/v1/items/TEA-001")


def enrol_members(recorder: Recorder) -> None:
    """Mei-Lin, who is then changed, and ten others with their baskets."""
    recorder.call(
        "PUT",
        MEI_LIN,
        json={
            "joined_at": ago(120),
            "locale": "zh-Hant",
            "name": "林美玲",
            "email": "mei-lin@example.com",
            "birthday": "1990-05-17",
            "consent": {"marketing": True, "profiling": True, "text_version": "2026-01"},
            "attributes": {"newsletter": "weekly"},
            "acquisition": {"source": "friend", "cost": "120"},
        },
    )
    recorder.call("PUT", MEI_LIN, json={"consent": {"marketing": False, "profiling": True}})
    for member in range(10):
        recorder.call("PUT", f"/v1/members/guest-{member}", json={"joined_at": ago(100)})


def an_order(order_id: str, days_ago: float, **fields: Any) -> dict[str, Any]:
    """Return the body of one of Mei-Lin's orders."""
    return {
        "order_id": order_id,
        "member_id": "mei-lin",
        "currency": "TWD",
        "placed_at": ago(days_ago),
        "lines": [
            {"sku": "TEA-001", "quantity": 2, "amount": "2400", "category": "tea"},
            {"sku": "TEA-004", "quantity": 1, "amount": "350"},
        ],
        "shipping": "80",
        "channel": "web",
    } | fields


def sell(recorder: Recorder) -> None:
    """Mei-Lin's orders, one sent twice; and what the others bought."""
    recorder.call("POST", "/v1/orders", json=an_order("A-1001", 40))
    recorder.call("POST", "/v1/orders", json=an_order("A-1001", 40))
    for number, days_ago in enumerate((25, 12, 3), start=1002):
        lines = [{"sku": TEAS[number % 12], "quantity": 1, "amount": "1200"}]
        recorder.call("POST", "/v1/orders", json=an_order(f"A-{number}", days_ago, lines=lines))
    for member in range(10):
        for visit in range(3):
            skus = dict.fromkeys((TEAS[member], TEAS[(member + visit) % 12]))
            body = an_order(
                f"G-{member}-{visit}",
                40 - visit * 10,
                member_id=f"guest-{member}",
                lines=[{"sku": sku, "quantity": 1, "amount": "100"} for sku in skus],
            )
            recorder.call("POST", "/v1/orders", json=body)


def take_back(recorder: Recorder) -> None:
    """Shipments, refunds and a cancellation."""
    shipment = {
        "shipment_id": "S-1",
        "status": "shipped",
        "occurred_at": ago(39),
        "promised_at": ago(37),
    }
    for _ in range(2):
        recorder.call("POST", "/v1/orders/A-1001/shipments", json=shipment)
    refund = {
        "refund_id": "R-1",
        "order_id": "A-1001",
        "refunded_at": ago(20),
        "requested_at": ago(22),
        "kind": "return",
        "reason": "too strong",
        "amount": "350",
        "lines": [{"sku": "TEA-004", "quantity": 1, "amount": "350"}],
    }
    for _ in range(2):
        recorder.call("POST", "/v1/refunds", json=refund)
    goodwill = {"refund_id": "R-2", "member_id": "mei-lin", "kind": "goodwill", "amount": "50"}
    recorder.call("POST", "/v1/refunds", json=goodwill | {"refunded_at": ago(10)})
    recorder.call("GET", "/v1/orders/A-1001")
    recorder.call("GET", "/v1/orders/A-1001/attribution")
    cancellation = {"cancelled_at": ago(2), "reason": "out of stock"}
    recorder.call("POST", "/v1/orders/A-1004/cancel", json=cancellation)


def look(recorder: Recorder) -> None:
    """What is known of Mei-Lin now."""
    key = {"Idempotency-Key": "sorry-for-the-delay-A-1002"}
    adjustment = {"points": 50, "reason": "sorry for the delay of A-1002"}
    recorder.call("POST", f"{MEI_LIN}/points/adjustments", json=adjustment, headers=key)
    recorder.call("GET", "/v1/members", query_string={"limit": 3})
    recorder.call("GET", MEI_LIN)
    for what in ("card", "tier", "tier/changes", "points", "points/transactions"):
        recorder.call("GET", f"{MEI_LIN}/{what}")
    recorder.call("GET", f"{MEI_LIN}/tier/explanation?audience=staff")
    recorder.call(
        "POST",
        "/v1/tier-reviews",
        json={"scope": "due"},
        headers={"Idempotency-Key": "review-of-today"},
        role="operations",
    )


def set_aside(recorder: Recorder) -> None:
    """Points for a checkout: one is paid, one is called off; and a lot that may be used for longer."""
    holds = f"{MEI_LIN}/points/holds"
    body = {"points": 20, "ttl_seconds": 900, "order_id": "A-1005"}
    paid, given_up, left = (
        recorder.call("POST", holds, json=body, headers={"Idempotency-Key": f"checkout-A-1005-{turn}"})
        for turn in range(1, 4)
    )
    recorder.call("GET", f"/v1/points/holds/{paid['hold_id']}")
    capture = {"order_id": "A-1005", "points": 15}
    recorder.call("POST", f"/v1/points/holds/{paid['hold_id']}/capture", json=capture)
    recorder.call("POST", f"/v1/points/holds/{given_up['hold_id']}/release")
    recorder.call("GET", f"{MEI_LIN}/points/statement", query_string={"limit": 3})
    recorder.call("GET", "/v1/points/liability", query_string={"allocated_bp": 9000})
    recorder.call("GET", "/v1/points/liability", query_string={"as_of": "2999-01-01"})
    given = {"points": 5, "reason": "a birthday", "expires_on": "2998-01-01"}
    recorder.call(
        "POST", f"{MEI_LIN}/points/adjustments", json=given, headers={"Idempotency-Key": "birthday"}
    )
    entries = recorder.call("GET", f"{MEI_LIN}/points/transactions", query_string={"limit": 1})["data"]
    lot = f"{MEI_LIN}/points/lots/{entries[0]['postings'][1]['lot']['lot_id']}/extend"
    longer = {"expires_on": "2999-01-01", "reason": "the shop was closed for a month"}
    recorder.call("POST", lot, json=longer, headers={"Idempotency-Key": "closed-for-a-month"})
    refuse_holds(recorder, paid["hold_id"], left["hold_id"])
    # Takes from what expires first, so that nothing is left of that lot.
    taken = {"points": -5, "reason": "not the right birthday"}
    recorder.call("POST", f"{MEI_LIN}/points/adjustments", json=taken, headers={"Idempotency-Key": "no-day"})
    recorder.call("POST", lot, json=longer, headers={"Idempotency-Key": "closed-for-two"})


def refuse_holds(recorder: Recorder, paid: str, left: str) -> None:
    """What cannot be set aside, spent or extended."""
    recorder.call("GET", "/v1/points/holds/nothing")
    recorder.call("POST", f"/v1/points/holds/{paid}/release")
    more = {"order_id": "A-1005", "points": 21}
    recorder.call("POST", f"/v1/points/holds/{left}/capture", json=more)
    recorder.call("POST", "/v1/orders", json=an_order("A-1005", 1, points_hold_id="nothing"))
    body = {"expires_on": None, "reason": "late"}
    extend = f"{MEI_LIN}/points/lots"
    recorder.call("POST", f"{extend}/nothing/extend", json=body, headers={"Idempotency-Key": "no-lot"})


def train(recorder: Recorder) -> None:
    """Train a model on what was sold, twice, so that there is one to go back to."""
    from service.recommendations.training import train_model

    client = recorder.client
    folder: Path = client.app.extensions["tidemark"].tools["serving"].models_folder
    with client.engine.connect() as conn:
        programme = get_programme(conn)
    train_model(client.engine, models_folder=folder, programme=programme, now=read_clock())
    models = recorder.call("GET", "/v1/models")["data"]
    recorder.call("GET", f"/v1/models/{models[0]['version']}")
    recorder.call("GET", f"/v1/models/{models[0]['version']}/card")
    recorder.call("POST", f"/v1/models/{models[0]['version']}/promote", role="operations")


def recommend(recorder: Recorder) -> None:
    """Recommendations, what decided them, and what was seen of them."""
    shown = recorder.call(
        "GET", f"{MEI_LIN}/recommendations", query_string={"placement": "home_row_1", "limit": 3}
    )
    recorder.call("GET", "/v1/items/TEA-001/related", query_string={"member_id": "mei-lin", "limit": 3})
    recorder.call("GET", f"/v1/decisions/{shown['recommendation_id']}")
    recorder.call("GET", f"{MEI_LIN}/assignments")
    viewed = {
        "event_id": "E-1",
        "type": "viewed",
        "occurred_at": ago(0),
        "member_id": "mei-lin",
        "recommendation_id": shown["recommendation_id"],
        "impression_id": shown["items"][0]["impression_id"],
    }
    unknown = {"event_id": "E-2", "type": "view_item", "occurred_at": ago(0), "member_id": "nobody"}
    recorder.call("POST", "/v1/events", json={"events": [viewed, unknown]})


def run_programme(recorder: Recorder) -> None:
    """What operators and administrators do."""
    recorder.call("GET", "/v1/settings")
    changes = {"values": {"return_period_days": 14}, "reason": "as the law of consumer protection has it"}
    recorder.call("PUT", "/v1/settings", json=changes, role="admin")
    recorder.call("GET", "/v1/settings/versions")
    store = {"name": "Yongkang Street", "timezone": "Asia/Taipei"}
    for _ in range(2):
        recorder.call("PUT", "/v1/stores/taipei-1", json=store, role="admin")
    recorder.call("GET", "/v1/stores/taipei-1")
    recorder.call("GET", "/v1/stores")
    recorder.call("GET", "/v1/audit-log", query_string={"limit": 3}, role="admin")
    recorder.call("GET", "/v1/changes", query_string={"limit": 3})
    recorder.call("GET", "/v1/stores/nothing")
    recorder.call("GET", "/v1/changes", query_string={"since": "nothing"})


def give_access(recorder: Recorder) -> None:
    """Keys for a storefront's server and its pages, and a token for a member's browser."""
    for number, role in enumerate(("server", "storefront")):
        body: dict[str, Any] = {"role": role, "label": f"{role} of the web shop"}
        if role == "storefront":
            body |= {"origins": ["https://shop.example.com"]}
        once = {"Idempotency-Key": f"key-{number}"}
        made = recorder.call("POST", "/v1/keys", json=body, headers=once, role="admin")
    wanted = {"member_id": "mei-lin", "ttl_seconds": 900, "storefront_key_id": made["key_id"]}
    recorder.call("POST", "/v1/member-tokens", json=wanted)
    key = f"/v1/keys/{made['key_id']}"
    once = {"Idempotency-Key": "rotation-of-the-year"}
    recorder.call("POST", f"{key}/rotate", json={"overlap_seconds": 3600}, headers=once, role="admin")
    recorder.call("DELETE", key, role="admin")
    recorder.call("POST", f"{key}/rotate", json={}, headers={"Idempotency-Key": "too-late"}, role="admin")
    recorder.call("GET", "/v1/keys", query_string={"limit": 3}, role="admin")
    recorder.call("DELETE", "/v1/keys/key_none", role="admin")


def refuse(recorder: Recorder) -> None:
    """Reads that are refused."""
    for path in (
        "/v1/members/nobody",
        "/v1/items/nothing",
        "/v1/orders/nothing",
        "/v1/models/nothing",
        "/v1/decisions/rec_00000000000000000000000000000000",
        f"{MEI_LIN}/tier?as_of=2999-01-01",
        f"{MEI_LIN}/tier?as_of=1999-01-01",
        "/v1/members?limit=many",
        "/v1/members?colour=red",
    ):
        recorder.call("GET", path)
    recorder.call("GET", MEI_LIN, role=None)
    recorder.call("GET", MEI_LIN, role="storefront")
    recorder.call("POST", "/v1/orders", data="{", headers={"Content-Type": "application/json"})
    recorder.call("POST", "/v1/orders", data="order_id=1")


def refuse_facts(recorder: Recorder) -> None:
    """Facts that are refused."""
    for body in (
        an_order("A-1001", 39),
        an_order("A-1", 1, member_id="nobody"),
        an_order("A-1", -1),
        an_order("A-1", 1, currency="EUR"),
        an_order("A-1", 1, lines=[{"sku": "TEA-001", "quantity": 0, "amount": "1.5"}]),
    ):
        recorder.call("POST", "/v1/orders", json=body)
    recorder.call("PUT", "/v1/members/late", json={"joined_at": ago(-1)})
    refund = {"refund_id": "R-9", "order_id": "A-1002", "refunded_at": ago(1), "amount": "100"}
    for changes in (
        {"amount": "99999"},
        {"order_id": "nothing"},
        {"refunded_at": ago(30)},
        {"member_id": "guest-1"},
    ):
        recorder.call("POST", "/v1/refunds", json=refund | changes)


def refuse_keys(recorder: Recorder) -> None:
    """Requests that were to be sent once, and points that are not there."""
    path = f"{MEI_LIN}/points/adjustments"
    too_many = {"points": -99999, "reason": "a slip of the hand"}
    expired = {"points": 5, "reason": "late", "expires_on": "2020-01-01"}
    used = {"Idempotency-Key": "sorry-for-the-delay-A-1002"}
    recorder.call("POST", path, json=too_many)
    recorder.call("POST", path, json=too_many, headers={"Idempotency-Key": "x" * 200})
    recorder.call("POST", path, json=too_many, headers=used)
    recorder.call("POST", path, json=too_many, headers={"Idempotency-Key": "too-many"})
    recorder.call("POST", path, json=expired, headers={"Idempotency-Key": "expired"})
