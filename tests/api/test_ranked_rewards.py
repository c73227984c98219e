"""A member's rewards in order, through HTTP: measured in both arms, traced, and never without a page."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event, text

from service.experiments.rules import bucket_of
from tests.api.conftest import Client, an_order, enrol
from tests.api.test_points_holds import with_points
from tests.api.test_rewards import check_books, offer, take
from tests.api.test_uplift import post, start


def ask(client: Client, member: str = "m1", **parameters: Any) -> dict[str, Any]:
    """Ask for a member's rewards; the client holds the answer against the document."""
    response = client.get(f"/v1/members/{member}/rewards", query_string=parameters)
    assert response.status_code == 200, response.data
    body: dict[str, Any] = response.json or {}
    assert [one["reward"] for one in body["items"]] == codes(body)
    return body


def codes(answer: dict[str, Any]) -> list[str]:
    return [one["code"] for one in answer["data"]]


def shape(value: Any) -> Any:
    """Return the names of everything in a block, without its values."""
    return {name: shape(inner) for name, inner in value.items()} if isinstance(value, dict) else "value"


def find_member(client: Client, *, in_holdout: bool) -> str:
    """Return an id that the global hold-out keeps, or leaves."""
    with client.engine.connect() as conn:
        name, salt = conn.execute(
            text("SELECT experiment, salt FROM experiments WHERE is_global_holdout")
        ).one()
    ids = (f"m{number}" for number in range(1_000))
    return next(one for one in ids if (bucket_of(name, salt, one) < 1_000) is in_holdout)


def tea_shop(client: Client, member: str, points: int = 100) -> None:
    """A member with points who bought tea, and rewards of which each is best in its own way."""
    client.put("/v1/items/tea", json={"name": {"en": "Tea"}, "category": ["leaf"]})
    client.put("/v1/items/cup", json={"name": {"en": "Cup"}, "category": ["china"]})
    with_points(client, points, member)
    placed_at = (datetime.now(UTC) - timedelta(days=40)).isoformat()
    order = an_order(f"o-{member}", member, placed_at=placed_at, recommendation_ids=[])
    assert client.post("/v1/orders", json=order).status_code == 201
    soon = (datetime.now(UTC) + timedelta(days=10)).isoformat()
    plain = {"kind": "custom", "value": None}
    offer(client, "any", points=30, **plain)
    offer(client, "cups", points=10, **plain, applies_to={"categories": ["china"]})
    offer(client, "far", points=90_000, **plain)
    offer(client, "gone", points=1, **plain, stock=0)
    offer(client, "leaf", points=40, **plain, applies_to={"categories": ["leaf"]})
    offer(client, "soon", points=30, **plain, ends_at=soon)


def count_statements(client: Client, member: str) -> int:
    """Return how many statements an answer takes, the caller's key apart."""
    statements: list[str] = []

    def note(_conn: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    event.listen(client.engine, "before_cursor_execute", note)
    try:
        ask(client, member)
    finally:
        event.remove(client.engine, "before_cursor_execute", note)
    return len(statements)


def test_rewards_stand_in_the_order_that_suits_the_member_and_say_why(client: Client) -> None:
    member = find_member(client, in_holdout=False)
    tea_shop(client, member)
    answer = ask(client, member, placement="wallet")
    assert codes(answer) == ["leaf", "soon", "any", "cups", "far", "gone"]
    items = answer["items"]
    assert [(one["rank"], one["index"]) for one in items] == [(n + 1, n) for n in range(6)]
    assert [one["impression_id"] for one in items] == [
        f"{answer['recommendation_id']}#{n}" for n in range(1, 7)
    ]
    assert [one["reason"]["code"] for one in items] == [
        "goes_with_purchases",
        "ends_soon",
        "available_now",
        "available_now",
        "points_to_go",
        "out_of_stock",
    ]
    assert [one["source"] for one in items] == ["affordable"] * 4 + ["saving", "blocked"]
    assert items[5]["reason"]["text"] == answer["data"][5]["reasons"][0]["text"] == "Nothing is left of it."
    assert answer["measurement"]["policy"] == {
        "name": "ranked",
        "version": "1",
        "model": {"name": None, "version": None, "trained_through": None},
        "fallback": None,
        "refreshed_through": None,
    }
    assert answer["measurement"]["surface"] == {"placement": "wallet", "channel": "web"}
    assert answer["measurement"]["assignment"]["arm"] == "treatment"
    kept: Any = client.get(f"/v1/decisions/{answer['recommendation_id']}").json
    assert [(one["rank"], one["reward"], one["sku"]) for one in kept["items"]] == [
        (place, code, None) for place, code in enumerate(codes(answer), start=1)
    ]
    assert kept["items"][0]["parts"]["likeness"] == 1.0
    assert (kept["candidates"]["count"], kept["context"]["purchases_read"]) == (6, 1)
    assert kept["assignment"]["arm_probability"] == 0.9
    assert count_statements(client, member) == 3
    # What was bought went back: nothing is known to suit them any more.
    refund = {
        "refund_id": "r1",
        "order_id": f"o-{member}",
        "refunded_at": datetime.now(UTC).isoformat(),
        "amount": "1000",
        "lines": [{"sku": "tea", "quantity": 1}],
    }
    assert client.post("/v1/refunds", json=refund).status_code == 201
    assert codes(ask(client, member)) == ["soon", "any", "cups", "leaf", "far", "gone"]
    check_books(client)


def test_the_holdout_gets_the_plain_order_in_the_same_shape(client: Client) -> None:
    held, treated = find_member(client, in_holdout=True), find_member(client, in_holdout=False)
    tea_shop(client, held)
    enrol(client, treated)
    with_points(client, 10, treated)
    answer, other = ask(client, held), ask(client, treated)
    assert codes(answer) == ["gone", "cups", "any", "soon", "leaf", "far"]
    assert {one["source"] for one in answer["items"]} == {"plain"}
    assert {one["reason"]["code"] for one in answer["items"]} == {
        "available_now",
        "points_to_go",
        "out_of_stock",
    }
    assert answer["measurement"]["assignment"]["is_holdout"] is True
    assert answer["measurement"]["policy"]["name"] == "plain"
    assert answer["measurement"]["policy"]["fallback"] is None
    assert shape(answer["measurement"]) == shape(other["measurement"])
    # The card shows the same to both, enrols nobody, and is no exposure.
    client.get(f"/v1/members/{held}/card")
    with client.engine.connect() as conn:
        shown = conn.execute(text("SELECT reward_keys, item_keys FROM exposures ORDER BY issued_at")).all()
    assert [(len(rewards), items) for rewards, items in shown] == [(6, []), (6, [])]
    check_books(client)


def test_a_shop_without_rewards_answers_an_empty_list_to_its_own_members(client: Client) -> None:
    enrol(client)
    answer = ask(client)
    assert (answer["data"], answer["items"], answer["next_cursor"]) == ([], [], None)
    assert answer["measurement"]["policy"]["fallback"] == "empty"
    assert answer["measurement"]["assignment"]["arm"] in {"holdout", "treatment"}
    kept: Any = client.get(f"/v1/decisions/{answer['recommendation_id']}").json
    assert kept["items"] == []
    unknown: Any = client.get("/v1/members/nobody/rewards")
    assert (unknown.status_code, unknown.json["code"]) == (404, "unknown-member")
    minted: Any = client.post("/v1/member-tokens", json={"member_id": "m1"}).json
    page = {"Authorization": f"Bearer {minted['token']}"}
    assert client.get("/v1/members/m1/rewards", role=None, headers=page).status_code == 200
    assert client.get("/v1/members/m2/rewards", role=None, headers=page).status_code == 403


def test_who_objects_to_profiling_is_not_asked_what_they_bought(client: Client) -> None:
    member = find_member(client, in_holdout=False)
    tea_shop(client, member)
    consent = {"profiling": False, "text_version": "1"}
    assert client.put(f"/v1/members/{member}", json={"consent": consent}).status_code == 200
    answer = ask(client, member)
    assert codes(answer) == ["soon", "any", "cups", "leaf", "far", "gone"]
    kept: Any = client.get(f"/v1/decisions/{answer['recommendation_id']}").json
    assert kept["context"]["purchases_read"] == 0
    assert {one["parts"]["likeness"] for one in kept["items"]} == {0.5}
    assert answer["measurement"]["assignment"]["arm"] == "treatment"


def test_five_hundred_rewards_are_paged_in_one_order_and_each_page_is_an_answer(client: Client) -> None:
    member = find_member(client, in_holdout=False)
    with_points(client, 250, member)
    with client.engine.begin() as conn:
        conn.execute(
            text(
                "INSERT INTO rewards (code, names, kind, points, created_at, updated_at) SELECT "
                "'r' || lpad(n::text, 3, '0'), '{}', 'custom', n, now(), now() FROM generate_series(1, 500) n"
            )
        )
        conn.execute(
            text(
                "INSERT INTO reward_shelves (reward_key, shelf_no) "
                "SELECT reward_key, n FROM rewards, generate_series(1, 8) n"
            )
        )
    whole = ask(client, member, limit=500)
    assert len(whole["data"]) == 500
    assert whole["next_cursor"] is None
    assert codes(whole)[:2] == ["r001", "r002"]
    pages: list[dict[str, Any]] = []
    cursor = None
    while cursor or not pages:
        pages.append(ask(client, member, limit=200, **({"cursor": cursor} if cursor else {})))
        cursor = pages[-1]["next_cursor"]
    assert [code for one in pages for code in codes(one)] == codes(whole)
    assert [item["rank"] for one in pages for item in one["items"]] == list(range(1, 501))
    assert len({one["recommendation_id"] for one in pages}) == 3
    kept: Any = client.get(f"/v1/decisions/{pages[1]['recommendation_id']}").json
    assert (kept["items"][0]["rank"], kept["items"][0]["reward"]) == (201, codes(whole)[200])
    assert kept["request"]["excluded"] == 200
    bad = client.get(f"/v1/members/{member}/rewards?cursor=WzAsMCwwLCJhIl0")
    assert (bad.status_code, (bad.json or {})["code"]) == (400, "malformed-request")
    check_books(client)


def test_points_that_run_out_are_told_of_what_they_pay_for(client: Client) -> None:
    member = find_member(client, in_holdout=False)
    enrol(client, member)
    on = (datetime.now(UTC) + timedelta(days=5)).date().isoformat()
    given = client.post(
        f"/v1/members/{member}/points/adjustments",
        json={"points": 300, "reason": "gift", "expires_on": on},
        headers={"Idempotency-Key": "gift"},
    )
    assert given.status_code == 201, given.data
    told: Any = client.get(f"/v1/members/{member}/points").json
    offer(client, "all", points=300, kind="custom", value=None)
    offer(client, "bit", points=3, kind="custom", value=None)
    answer = ask(client, member)
    assert codes(answer) == ["all", "bit"]
    day = told["expiring"][0]["on"]
    assert answer["items"][0]["reason"] == {
        "code": "points_run_out",
        "text": f"Your 300 points run out on {day}",
    }


def test_what_fails_is_named_and_the_plain_order_is_served(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    member = find_member(client, in_holdout=False)
    tea_shop(client, member)
    whole = ask(client, member)

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("broken")

    with monkeypatch.context() as broken:
        broken.setattr("service.recommendations.rewards.rules.rank_offerings", fail)
        unranked = ask(client, member)
    with client.engine.begin() as conn:
        conn.execute(text("ALTER TABLE assignments RENAME TO assignments_away"))
    try:
        unassigned = ask(client, member)
    finally:
        with client.engine.begin() as conn:
            conn.execute(text("ALTER TABLE assignments_away RENAME TO assignments"))
    for answer in (unranked, unassigned):
        assert codes(answer) == ["gone", "cups", "any", "soon", "leaf", "far"]
        assert shape(answer["measurement"]) == shape(whole["measurement"])
        assert answer["measurement"]["policy"]["fallback"] == "plain"
    assert unranked["measurement"]["policy"]["name"] == "ranked"
    assert unranked["measurement"]["assignment"]["arm"] == "treatment"
    assert unassigned["measurement"]["policy"]["name"] == "plain"
    assert unassigned["measurement"]["assignment"]["arm"] is None
    assert unassigned["measurement"]["assignment"]["reason"] == "assignment_unavailable"
    with client.engine.connect() as conn:
        kept = conn.execute(text("SELECT fallback FROM exposures ORDER BY issued_at")).scalars().all()
    assert kept == [None, "plain"], "what nobody is enrolled for is not recorded"


def test_a_merged_member_is_answered_as_the_one_they_are_now(client: Client) -> None:
    member = find_member(client, in_holdout=False)
    tea_shop(client, member)
    enrol(client, "old")
    ask(client, "old")
    merged = client.post(
        "/v1/members/old/merge",
        json={"into": member, "reason": "one person"},
        headers={"Idempotency-Key": "merge"},
    )
    assert merged.status_code == 200, merged.data
    answer, again = ask(client, "old"), ask(client, member)
    assert codes(answer) == codes(again)
    assert answer["measurement"]["assignment"] == again["measurement"]["assignment"]
    kept: Any = client.get(f"/v1/decisions/{answer['recommendation_id']}").json
    assert kept["member_id"] == member
    check_books(client)


def test_orders_of_rewards_are_tried_against_each_other_and_read_like_any_experiment(client: Client) -> None:
    arms = [{"arm": "plain", "weight_bp": 5000, "policy": "plain"}, {"arm": "ranked", "weight_bp": 5000}]
    start(client, "rewards-ab", surface="rewards", arms=arms)
    offer(client, "dear", points=40)
    offer(client, "worth", points=50, kind="gift_certificate", value="90000")
    seen: dict[str, set[str]] = {}
    for number in range(40):
        enrol(client, f"m{number}")
        answer = ask(client, f"m{number}")
        block = answer["measurement"]
        nested = {one["experiment"]: one["arm"] for one in block["nested"]}
        assert bool(nested) is not block["assignment"]["is_holdout"]
        arm = nested.get("rewards-ab", "held out")
        seen.setdefault(arm, set()).add(f"{block['policy']['name']} {codes(answer)[0]}")
    assert seen == {"plain": {"plain dear"}, "ranked": {"ranked worth"}, "held out": {"plain dear"}}
    recommended = (client.get("/v1/members/m1/recommendations").json or {})["measurement"]
    assert recommended["nested"] == (ask(client, "m1")["measurement"])["nested"]
    with client.engine.connect() as conn:
        nested_rows = conn.execute(
            text("SELECT reward_keys IS NULL, nested IS NULL, count(*) FROM exposures GROUP BY 1, 2")
        ).all()
    assert {(row[0], row[1]) for row in nested_rows if row[0]} == {(True, True)}, "no part of that experiment"
    told: Any = client.get("/v1/experiments/rewards-ab/uplift?anchor=first_exposure").json
    assert told["comparisons"][0]["verdict"] in {"immature", "insufficient"}
    wrong = post(
        client,
        "",
        {
            "key": "mixed",
            "title": "x",
            "surface": "rewards",
            "arms": [
                {"arm": "a", "weight_bp": 5000, "policy": "popularity"},
                {"arm": "b", "weight_bp": 5000},
            ],
        },
    )
    assert (wrong.status_code, wrong.json["errors"][0]["pointer"]) == (422, "/arms")
    assert "does not go with" in wrong.json["errors"][0]["detail"]
    check_books(client)


def test_a_redemption_and_an_order_are_traced_back_to_the_answer_that_led_to_them(client: Client) -> None:
    with_points(client, 100)
    with_points(client, 100, "m2")
    offer(client)
    mine, other = ask(client), ask(client, "m2")
    token = mine["measurement"]["attribution_token"]
    named = [mine["recommendation_id"], other["recommendation_id"], "rec_nothing"]
    response = client.post(
        "/v1/members/m1/redemptions",
        json={"reward": "fifty", "recommendation_ids": named, "attribution_token": token},
        headers={"Idempotency-Key": "led"},
    )
    assert response.status_code == 201, response.data
    redemption_id = (response.json or {})["redemption_id"]
    told: Any = client.get(f"/v1/redemptions/{redemption_id}/attribution").json
    assert (told["reward"], told["member_id"]) == ("fifty", "m1")
    assert [(one["source"], one["status"], one["reason"]) for one in told["claims"]] == [
        ("recommendation_ids", "attributed", None),
        ("recommendation_ids", "unattributable", "other-member"),
        ("recommendation_ids", "unattributable", "unknown-recommendation"),
        ("attribution_token", "attributed", None),
    ]
    answer = told["claims"][0]["answer"]
    assert answer["arm"] == mine["measurement"]["assignment"]["arm"]
    assert (answer["policy"], answer["model"], answer["ruleset_version"]) == (
        mine["measurement"]["policy"]["name"],
        None,
        1,
    )
    unsaid: Any = client.get(f"/v1/redemptions/{take(client).json['redemption_id']}/attribution").json
    assert unsaid["claims"] == []
    late: Any = client.post(
        "/v1/members/m2/redemptions",
        json={"reward": "fifty", "attribution_token": token},
        headers={"Idempotency-Key": "foreign"},
    ).json
    foreign: Any = client.get(f"/v1/redemptions/{late['redemption_id']}/attribution").json
    assert foreign["claims"][0]["reason"] == "attribution-token-foreign"
    placed = (datetime.now(UTC) + timedelta(seconds=1)).isoformat()
    order = an_order("o1", placed_at=placed, recommendation_ids=[mine["recommendation_id"]])
    assert client.post("/v1/orders", json=order).status_code == 201
    chain: Any = client.get("/v1/orders/o1/attribution").json
    assert chain["claims"][0]["status"] == "attributed"
    with client.engine.begin() as conn, pytest.raises(Exception, match="what a redemption was never changes"):
        conn.execute(text("UPDATE redemptions SET attribution_token = 'x'"))
    check_books(client)


def test_an_answer_that_shows_what_there_is_not_is_found_by_law_e2(client: Client) -> None:
    with_points(client, 100)
    offer(client)
    ask(client)
    check_books(client)
    with client.engine.begin() as conn:
        conn.execute(text("UPDATE exposures SET reward_keys = ARRAY[99, 98]"))
    from service.recommendations.laws import check_laws

    with client.engine.connect() as conn:
        found = sorted(str(one["detail"]) for one in check_laws(conn))
    assert found == [
        "it shows 2 rewards and tells of 1",
        "it shows the reward 98, which there is not",
        "it shows the reward 99, which there is not",
    ]
