"""What an experiment found, over REST: what is refused, what is left out, and what is never told."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from service.experiments.operations import keep_results
from service.recommendations.attribution import sign_token
from tests.api.conftest import Client, an_order, enrol

PLAN: dict[str, Any] = {
    "title": "A text",
    "arms": [{"arm": "control", "weight_bp": 5000}, {"arm": "new", "weight_bp": 5000}],
}
# Everything an answer about outcomes would have to hold.
OUTCOMES = ("difference", "relative", "mean", "total", "worth_a_year", "primary", "clicked", "revenue")


def post(client: Client, path: str, body: Any = None, *, key: str | None = None) -> Any:
    options = {} if body is None else {"json": body}
    said = hashlib.sha256(f"{path}{json.dumps(body)}".encode()).hexdigest()
    headers = {"Idempotency-Key": key or said}
    return client.post(f"/v1/experiments{path}", headers=headers, role="marketing", **options)


def start(client: Client, name: str = "text", **plan: Any) -> None:
    assert post(client, "", PLAN | {"key": name} | plan).status_code == 201
    assert post(client, f"/{name}/start").status_code == 200


def expose(client: Client, name: str = "text", **visitor: Any) -> dict[str, Any]:
    response = client.post(f"/v1/experiments/{name}/exposures", json=visitor)
    assert response.status_code == 200, response.data
    body: dict[str, Any] = response.json or {}
    return body


def test_a_hundred_thousand_with_lost_exposures_get_a_verdict_and_no_number(client: Client) -> None:
    """One in twenty of one arm's exposures is lost: those who are left no longer compare."""
    with client.engine.begin() as conn:
        conn.execute(text("UPDATE experiments SET started_at = now() - interval '300 days'"))
        for statement in (
            "INSERT INTO members (member_id, joined_at, created_at, updated_at) "
            "SELECT 'm' || n, now(), now(), now() FROM generate_series(1, 100000) AS n",
            "INSERT INTO assignments (experiment, member_key, experiment_key, arm, bucket, reason, "
            "assigned_at) SELECT e.experiment, member_key, e.experiment_key, "
            "CASE WHEN right(member_id, 1) = '0' THEN 'holdout' ELSE 'treatment' END, 0, 'split', "
            "now() - interval '200 days' "
            "FROM members, experiments e",
            "INSERT INTO exposures (exposure_id, issued_at, member_key, experiment_key, arm, policy, "
            "placement, item_keys, decision) SELECT gen_random_uuid(), assigned_at, member_key, "
            "experiment_key, arm, 'hybrid', 'home', '{}', '{}' "
            "FROM assignments JOIN members USING (member_key) "
            # By the name and not by the key: keys go on counting over whatever ran before.
            "WHERE arm = 'holdout' OR substr(member_id, 2)::int % 20 <> 3",
            # As autovacuum does after so many rows.
            "ANALYZE members, assignments, exposures",
        ):
            conn.execute(text(statement))
    key = (client.get("/v1/experiments").json or {})["data"][0]["key"]
    answer = client.get(f"/v1/experiments/{key}/uplift?anchor=first_exposure")
    assert answer.status_code == 200, answer.data
    lost = (answer.json or {})["comparisons"][0]
    assert lost["verdict"] == "invalid_srm"
    assert (lost["results"], lost["attributed"]) == (None, None)
    assert not any(f'"{name}"' in json.dumps(lost) for name in OUTCOMES)
    assert not any(letter.isdigit() for letter in lost["explanation"])
    assert {one["reason"]: one["members"] for one in lost["left_out"]} == {"unexposed": 5_000}
    whole = (client.get(f"/v1/experiments/{key}/uplift").json or {})["comparisons"][0]
    assert whole["verdict"] != "invalid_srm"
    assert whole["results"]["primary"]["tried"]["members"] == 90_000


def test_what_chance_did_not_make_is_not_told_as_uplift(client: Client) -> None:
    start(client)
    for compare in ("exposed", "clicked"):
        refused = client.get(f"/v1/experiments/text/uplift?compare={compare}")
        assert (refused.status_code, (refused.json or {})["code"]) == (422, "not-randomised")


@pytest.mark.parametrize(
    "weights", [(5000, 4999), (5000, 5001), (1, 1), (9999, 9999)], ids=lambda pair: "+".join(map(str, pair))
)
def test_weights_that_do_not_sum_are_refused_with_what_they_sum_to(
    client: Client, weights: tuple[int, int]
) -> None:
    arms = [{"arm": name, "weight_bp": bp} for name, bp in zip(("a", "b"), weights, strict=True)]
    refused = post(client, "", PLAN | {"key": "uneven", "arms": arms})
    assert (refused.status_code, refused.json["code"]) == (422, "arms-unsound")
    assert str(sum(weights)) in refused.json["detail"]


def test_a_running_experiment_is_changed_by_a_new_version_only(client: Client) -> None:
    start(client)
    refused = client.put("/v1/experiments/text", json=PLAN | {"title": "Another"}, role="marketing")
    assert (refused.status_code, (refused.json or {})["code"]) == (409, "experiment-running")
    for number in range(8):
        enrol(client, f"m{number}")
    before = {f"m{number}": expose(client, member_id=f"m{number}")["arm"] for number in range(4)}
    turned = [{"arm": "control", "weight_bp": 1}, {"arm": "new", "weight_bp": 9999}]
    assert post(client, "/text/versions", {"arms": turned}).status_code == 201
    assert post(client, "/text/start", key="second").status_code == 200
    assert {member: expose(client, member_id=member)["arm"] for member in before} == before
    fresh = [expose(client, member_id=f"m{number}") for number in range(4, 8)]
    assert [(one["version"], one["arm"]) for one in fresh] == [(2, "new")] * 4
    told = client.get("/v1/experiments/text/uplift").json or {}
    assert told["version"] == 2
    left = {(one["arm"], one["reason"]): one["members"] for one in told["comparisons"][0]["left_out"]}
    assert sum(members for (_, reason), members in left.items() if reason == "other_version") == 4


def test_a_client_cannot_name_its_own_arm(client: Client) -> None:
    start(client)
    enrol(client)
    response = client.post("/v1/experiments/text/exposures", json={"member_id": "m1", "arm": "new"})
    assert response.status_code == 422
    assert (client.get("/v1/members/m1/assignments").json or {})["data"] == []


def test_an_earlier_assignment_of_a_visitor_stands_when_the_visitor_logs_in(client: Client) -> None:
    start(client)
    enrol(client)
    anonymous = expose(client, anonymous_id="cookie-7")
    assert expose(client, anonymous_id="cookie-7")["arm"] == anonymous["arm"]
    known = expose(client, member_id="m1", anonymous_id="cookie-7")
    assert (known["arm"], known["assigned_at"]) == (anonymous["arm"], anonymous["assigned_at"])
    assert expose(client, anonymous_id="cookie-7")["arm"] == anonymous["arm"]
    with client.engine.connect() as conn:
        shown = conn.execute(text("SELECT count(*) FROM exposures WHERE member_key IS NULL")).scalar_one()
    assert shown == 0, "what the visitor was shown is what the member was shown"


def test_an_assignment_made_before_the_visit_stands(client: Client) -> None:
    start(client)
    enrol(client)
    first = expose(client, member_id="m1")
    for number in range(20):
        expose(client, anonymous_id=f"cookie-{number}")
        again = expose(client, member_id="m1", anonymous_id=f"cookie-{number}")
        assert (again["arm"], again["assigned_at"]) == (first["arm"], first["assigned_at"])


def test_eligibility_is_decided_before_the_arm(client: Client) -> None:
    start(client, eligibility={"consent": "marketing", "tiers": ["member"]})
    enrol(client, "agreed", consent={"marketing": True})
    enrol(client, "declined", consent={"marketing": False})
    enrol(client, "never-asked")
    assert expose(client, member_id="agreed")["arm"] in {"control", "new"}
    for member_id in ("declined", "never-asked"):
        answer = expose(client, member_id=member_id)
        assert (answer["arm"], answer["reason"]) == (None, "not_eligible")
    assert expose(client, anonymous_id="nobody-knows")["reason"] == "not_eligible"
    refused = expose(client, member_id="nobody")
    assert refused["reason"] == "not_a_member"
    # Asked for again and again, each counts once; who was told no arm has a decision record too.
    for visitor in ({"member_id": "declined"}, {"anonymous_id": "nobody-knows"}, {"member_id": "agreed"}):
        expose(client, **visitor)
    kept = client.get(f"/v1/decisions/{refused['recommendation_id']}").json or {}
    assert (kept["assignment"]["arm"], kept["assignment"]["reason"]) == (None, "not_a_member")
    told = client.get("/v1/experiments/text/uplift?anchor=first_exposure").json or {}
    left = {(one["arm"] is None, one["reason"]): one["members"] for one in told["comparisons"][0]["left_out"]}
    assert left == {(False, "immature"): 1, (True, "not_eligible"): 3, (True, "not_a_member"): 1}


def test_whoever_is_drawn_after_all_is_left_out_no_more(client: Client) -> None:
    start(client, eligibility={"consent": "marketing"})
    enrol(client, "late")
    expose(client, member_id="late")
    enrol(client, "late", consent={"marketing": True})
    assert expose(client, member_id="late")["arm"] is not None
    told = client.get("/v1/experiments/text/uplift?anchor=first_exposure").json or {}
    assert [one["reason"] for one in told["comparisons"][0]["left_out"]] == ["immature"]


def test_eligibility_of_one_member_is_read_among_many(client: Client) -> None:
    start(client, surface="recommendations", eligibility={"tiers": ["member"], "consent": "marketing"})
    for number in range(3):
        enrol(client, f"m{number}", consent={"marketing": number > 0})
    answers = [client.get(f"/v1/members/m{number}/recommendations") for number in range(3)]
    assert [answer.status_code for answer in answers] == [200] * 3
    nested = [(answer.json or {})["measurement"]["nested"] for answer in answers]
    assert nested[0] == []


@pytest.mark.parametrize("margin", ["9999999999999998", "0.001"])
def test_a_margin_beyond_what_the_currency_can_say_is_refused(client: Client, margin: str) -> None:
    guardrails = [{"metric": "reward_cost", "margin": margin}]
    refused = post(client, "", PLAN | {"key": "guarded", "guardrails": guardrails})
    assert (refused.status_code, refused.json["code"]) == (422, "invalid")
    assert refused.json["errors"][0]["pointer"] == "/guardrails/0/margin"


def test_testers_are_left_out_on_both_sides(client: Client) -> None:
    start(client)
    enrol(client, "tester")
    expose(client, member_id="tester")
    for arm in ("new", "control"):
        told = (
            client.put("/v1/experiments/text/overrides/tester", json={"arm": arm}, role="operations").json
            or {}
        )
        assert (told["arm"], told["reason"]) == (arm, "override")
        assert expose(client, member_id="tester")["arm"] == arm
    comparison = (client.get("/v1/experiments/text/uplift").json or {})["comparisons"][0]
    assert comparison["left_out"] == [{"arm": "control", "reason": "override", "members": 1}]


def test_after_enrolment_ended_nobody_is_drawn_and_arms_stay(client: Client) -> None:
    start(client)
    enrol(client, "early")
    enrol(client, "late")
    arm = expose(client, member_id="early")["arm"]
    assert post(client, "/text/stop", {}).json["status"] == "analysis"
    assert expose(client, member_id="early")["arm"] == arm
    answer = expose(client, member_id="late")
    assert (answer["arm"], answer["reason"]) == (None, "enrolment_ended")
    assert post(client, "/text/stop", {"at_once": True}).json["status"] == "stopped"
    gone = client.post("/v1/experiments/text/exposures", json={"member_id": "early"})
    assert (gone.status_code, (gone.json or {})["code"]) == (409, "experiment-not-running")


def test_a_nested_experiment_draws_among_those_whom_the_holdout_leaves(client: Client) -> None:
    arms = [
        {"arm": "model", "weight_bp": 5000},
        {"arm": "popular", "weight_bp": 5000, "policy": "popularity"},
    ]
    start(client, "ranker-ab", surface="recommendations", arms=arms)
    client.put("/v1/items/tea", json={"name": {"en": "Tea"}})
    seen = set()
    for number in range(60):
        enrol(client, f"m{number}")
        block = (client.get(f"/v1/members/m{number}/recommendations").json or {})["measurement"]
        nested = {one["experiment"]: one["arm"] for one in block["nested"]}
        if block["assignment"]["is_holdout"]:
            assert nested == {}
        else:
            assert nested["ranker-ab"] in {"model", "popular"}
            again = (client.get(f"/v1/members/m{number}/recommendations").json or {})["measurement"]
            assert again["nested"] == block["nested"]
        card = (client.get(f"/v1/members/m{number}/card").json or {})["measurement"]
        assert card["nested"] == block["nested"]
        assert card["assignment"] == block["assignment"]
        seen |= set(nested.values())
    assert seen == {"model", "popular"}
    with client.engine.connect() as conn:
        shown = conn.execute(
            text("SELECT count(*), count(DISTINCT member_key) FROM exposures WHERE nested IS NOT NULL")
        ).one()
    assert shown[0] == 2 * shown[1], "every answer in the nested experiment says so; the card is none"
    told = client.get("/v1/experiments/ranker-ab/uplift?anchor=first_exposure").json or {}
    left = told["comparisons"][0]["left_out"]
    assert {one["reason"] for one in left} == {"immature", "held_out"}
    held_out = {"arm": None, "reason": "held_out", "members": 60 - shown[1]}
    assert held_out in left, "whoever the hold-out keeps was asked for, and is told"


def test_an_order_is_traced_back_to_rule_set_model_and_arm(client: Client) -> None:
    client.put("/v1/items/tea", json={"name": {"en": "Tea"}})
    for member_id in ("m1", "m2"):
        enrol(client, member_id)
    mine = client.get("/v1/members/m1/recommendations?placement=home").json or {}
    other = client.get("/v1/members/m2/recommendations").json or {}
    token = mine["measurement"]["attribution_token"]
    named = [mine["recommendation_id"], other["recommendation_id"], "rec_nothing"]
    placed = (datetime.now(UTC) + timedelta(seconds=1)).isoformat()
    orders = {
        "honest": token,
        "forged": token[:-3] + "AAA",
        "foreign": other["measurement"]["attribution_token"],
        "expired": sign_token(
            client.app.extensions["tidemark"].tools["serving"].keys,
            recommendation_id=mine["recommendation_id"],
            member_id="m1",
            issued_at=datetime.now(UTC) - timedelta(days=61),
            window_end=datetime.now(UTC) - timedelta(days=1),
        ),
    }
    for name, given in orders.items():
        body = an_order(name, "m1", placed_at=placed, recommendation_ids=named, attribution_token=given)
        assert client.post("/v1/orders", json=body).status_code == 201
    told = client.get("/v1/orders/honest/attribution").json or {}
    assert told["ruleset_version"] == 1
    assert [(one["source"], one["status"], one["reason"]) for one in told["claims"]] == [
        ("recommendation_ids", "attributed", None),
        ("recommendation_ids", "unattributable", "other-member"),
        ("recommendation_ids", "unattributable", "unknown-recommendation"),
        ("attribution_token", "attributed", None),
    ]
    answer = told["claims"][0]["answer"]
    assert answer["arm"] == mine["measurement"]["assignment"]["arm"]
    assert (answer["ruleset_version"], answer["tier"], answer["policy"]) == (1, "member", "popularity")
    for name in ("forged", "foreign", "expired"):
        last = (client.get(f"/v1/orders/{name}/attribution").json or {})["claims"][-1]
        assert (last["status"], last["reason"]) == ("unattributable", f"attribution-token-{name}")


def test_figures_by_credit_stand_beside_the_increment_and_count_only_what_holds(client: Client) -> None:
    start(client, window_days=1, refund_grace_days=0)
    for number in range(400):
        enrol(client, f"m{number}")
    ids = {f"m{number}": expose(client, member_id=f"m{number}") for number in range(400)}
    tried = next(name for name, one in ids.items() if one["arm"] == "new")
    events = [
        ("e1", tried, ids[tried]["recommendation_id"]),
        ("e2", tried, "rec_nobody-gave-this"),
        ("e3", next(name for name in ids if name != tried), ids[tried]["recommendation_id"]),
    ]
    sent: list[dict[str, Any]] = [
        {
            "event_id": name,
            "type": "clicked",
            "member_id": member_id,
            "occurred_at": datetime.now(UTC).isoformat(),
            "recommendation_id": recommendation_id,
        }
        for name, member_id, recommendation_id in events
    ]
    honest = ids[tried]["measurement"]["attribution_token"]
    other = ids[next(name for name in ids if name != tried)]["measurement"]["attribution_token"]
    # By its token alone; and its own answer by a token that was tampered with, or given to somebody else.
    nameless = {name: value for name, value in sent[0].items() if name != "recommendation_id"}
    sent += [
        nameless | {"event_id": "e4", "attribution_token": honest},
        sent[0] | {"event_id": "e5", "attribution_token": f"{honest[:-3]}AAA"},
        sent[0] | {"event_id": "e6", "attribution_token": other},
        nameless | {"event_id": "e7", "attribution_token": "v1.rubbish"},
    ]
    assert (client.post("/v1/events", json={"events": sent * 2}).json or {})["accepted"] == 7
    order = an_order("o1", tried, placed_at=(datetime.now(UTC) + timedelta(seconds=2)).isoformat())
    assert client.post("/v1/orders", json=order).status_code == 201
    with client.engine.begin() as conn:
        for table, column in (("assignments", "assigned_at"), ("exposures", "issued_at")):
            conn.execute(text(f"UPDATE {table} SET {column} = {column} - interval '2 days'"))
        conn.execute(text("UPDATE experiments SET started_at = started_at - interval '2 days'"))
        conn.execute(text("UPDATE orders SET placed_at = placed_at - interval '1 day'"))
        conn.execute(text("UPDATE events SET occurred_at = occurred_at - interval '1 day 1 minute'"))
    told = client.get("/v1/experiments/text/uplift", headers={"Accept-Language": "zh-Hant"}).json or {}
    comparison = told["comparisons"][0]
    assert not comparison["explanation"].isascii()
    assert set(comparison["attributed"]["label"]) == {"en", "zh-Hant"}
    figures = {one["name"]: one["value"] for one in comparison["attributed"]["figures"]}
    assert (figures["clicked"], figures["unattributable"]) == (2, 5)
    assert (figures["orders_after_click"], figures["revenue_after_click"]) == (1, 100_000)


def test_results_are_frozen_when_nobody_can_become_mature_any_more(client: Client) -> None:
    start(client)
    enrol(client)
    expose(client, member_id="m1")
    post(client, "/text/stop", {})
    assert (client.get("/v1/experiments/text/uplift").json or {})["is_final"] is False
    with client.engine.begin() as conn:
        keep_results(conn, now=datetime.now(UTC) + timedelta(days=91))
    told = client.get("/v1/experiments/text/uplift").json or {}
    assert (told["is_final"], told["status"]) == (True, "stopped")


def test_old_tokens_verify_while_the_keys_are_rotated(client: Client) -> None:
    from service.app import create_app
    from service.kit.clock import read_clock
    from service.kit.settings import Settings, SettingsError
    from service.recommendations.attribution import verify_token
    from service.recommendations.errors import TokenForged

    enrol(client)
    settings = client.app.extensions["tidemark"].settings
    ways = ("", "the-first-of-ours", "the-second-of-ours,the-first-of-ours", "the-second-of-ours")
    tokens, serving = [], []
    for keys in ways:
        given = {"TIDEMARK_VAR": str(settings.var), "TIDEMARK_SECRET_KEY": "a test's own"}
        app = create_app(
            Settings.from_environment(given | {"TIDEMARK_ATTRIBUTION_KEYS": keys}), client.engine
        )
        other = Client(app, client.engine, client.keys)
        block = (other.get("/v1/members/m1/recommendations").json or {})["measurement"]
        tokens.append(block["attribution_token"])
        serving.append(app.extensions["tidemark"].tools["serving"].keys)
    rotated, last = serving[2], serving[3]
    assert all(verify_token(rotated, token, member_id="m1", now=read_clock()) for token in tokens)
    with pytest.raises(TokenForged):
        verify_token(last, tokens[1], member_id="m1", now=read_clock())
    with pytest.raises(SettingsError, match="TIDEMARK_ATTRIBUTION_KEYS"):
        Settings.from_environment({"TIDEMARK_ATTRIBUTION_KEYS": "short"})
