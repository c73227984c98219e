"""Recommendations, decisions, models and assignments, through HTTP, held against the document."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from service.kit.clock import read_clock
from service.kit.db import transaction
from service.programme.operations import get_programme
from service.recommendations.attribution import AttributionKeys, verify_token
from service.recommendations.errors import TokenForged
from tests.api.conftest import Client, an_order, enrol

TEAS = [f"tea-{number}" for number in range(12)]


def order(client: Client, member_id: str, number: int, skus: list[str], days_ago: int) -> None:
    placed_at = (datetime.now(UTC) - timedelta(days=days_ago)).isoformat()
    lines = [{"sku": sku, "quantity": 1, "amount": "100"} for sku in skus]
    response = client.post(
        "/v1/orders",
        json=an_order(f"{member_id}-{number}", member_id, placed_at=placed_at, lines=lines),
    )
    assert response.status_code == 201, response.data


@pytest.fixture
def trained(client: Client) -> Client:
    """A shop of twelve teas and ten members, with a model in force."""
    from service.recommendations.training import train_model

    for sku in TEAS:
        client.put(f"/v1/items/{sku}", json={"name": {"en": sku.title()}, "category": ["tea"]})
    for member in range(10):
        enrol(client, f"m{member}")
        for visit in range(3):
            skus = [TEAS[member], TEAS[(member + visit) % 12]]
            order(client, f"m{member}", visit, list(dict.fromkeys(skus)), 40 - visit * 10)
    with client.engine.connect() as conn:
        programme = get_programme(conn)
    train_model(client.engine, models_folder=folder_of(client), programme=programme, now=read_clock())
    return client


def folder_of(client: Client) -> Path:
    folder: Path = client.app.extensions["tidemark"].tools["serving"].models_folder
    return folder


def ask(client: Client, member_id: str, **parameters: Any) -> dict[str, Any]:
    response = client.get(f"/v1/members/{member_id}/recommendations", query_string=parameters)
    assert response.status_code == 200, response.data
    body: dict[str, Any] = response.json or {}
    return body


def test_members_of_both_arms_get_the_annotation(trained: Client) -> None:
    answers = [ask(trained, f"m{number}", placement="home_row_1", limit=5) for number in range(10)]
    assert all(len(answer["items"]) == 5 for answer in answers)
    first = answers[0]["measurement"]
    assert first["surface"] == {"placement": "home_row_1", "channel": "web"}
    assert first["report_back"]["url"] == "/v1/events"
    assert {answer["measurement"]["assignment"]["arm"] for answer in answers} <= {"holdout", "treatment"}


def test_an_unknown_member_is_answered_and_not_enrolled(trained: Client) -> None:
    answer = ask(trained, "nobody")
    assert answer["measurement"]["assignment"]["reason"] == "not_a_member"
    assert len(answer["items"]) == 10
    assert trained.get("/v1/members/nobody/assignments").status_code == 404


def test_an_empty_catalogue_is_an_empty_list(client: Client) -> None:
    enrol(client)
    answer = ask(client, "m1")
    assert answer["items"] == []
    assert answer["measurement"]["policy"]["fallback"] == "empty"


def test_reading_assignments_does_not_enrol(trained: Client) -> None:
    assert (trained.get("/v1/members/m1/assignments").json or {})["data"] == []
    ask(trained, "m1")
    data = (trained.get("/v1/members/m1/assignments").json or {})["data"]
    assert [one["reason"] for one in data] == ["split"]


def test_the_trace_is_handed_on(trained: Client) -> None:
    trace = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
    response = trained.get("/v1/members/m1/recommendations", headers={"traceparent": trace})
    assert (response.json or {})["measurement"]["trace"]["traceparent"] == trace


def test_sentences_follow_accept_language(trained: Client) -> None:
    response = trained.get("/v1/members/m1/recommendations", headers={"Accept-Language": "zh-TW"})
    assert not (response.json or {})["items"][0]["reason"]["text"].isascii()


def test_exclusions_are_kept_out(trained: Client) -> None:
    answer = ask(trained, "m1", exclude="tea-0,tea-1, tea-2", limit=100)
    assert {item["sku"] for item in answer["items"]} == set(TEAS[3:])


def test_an_item_that_cannot_be_had_disappears_at_once(trained: Client) -> None:
    sku = ask(trained, "m1")["items"][0]["sku"]
    trained.put(f"/v1/items/{sku}", json={"available": False})
    assert sku not in {item["sku"] for item in ask(trained, "m1", limit=100)["items"]}


def test_the_next_order_changes_the_next_answer(trained: Client) -> None:
    enrol(trained, "new")
    before = ask(trained, "new")
    assert {item["source"] for item in before["items"]} == {"popular"}
    order(trained, "new", 1, ["tea-7"], 0)
    after = ask(trained, "new")
    if after["measurement"]["assignment"]["arm"] == "treatment":
        assert "buy_again" in {item["source"] for item in after["items"]}


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("limit=0", 422),
        ("limit=101", 422),
        ("limit=ten", 422),
        ("mode=random", 422),
        ("channel=carrier%20pigeon", 422),
        ("exclude=a%00b", 422),
        ("placment=home", 400),
        ("limit=5&limit=6", 400),
    ],
)
def test_bad_parameters_are_refused(trained: Client, query: str, status: int) -> None:
    assert trained.get(f"/v1/members/m1/recommendations?{query}").status_code == status


def test_related_items_go_with_an_item(trained: Client) -> None:
    response = trained.get("/v1/items/tea-3/related", query_string={"limit": 3, "member_id": "m1"})
    assert response.status_code == 200
    assert "tea-3" not in {item["sku"] for item in (response.json or {})["items"]}
    problem = trained.get("/v1/items/no-such/related")
    assert (problem.status_code, (problem.json or {})["code"]) == (404, "unknown-item")


def test_a_decision_is_for_staff_alone(trained: Client) -> None:
    recommendation_id = ask(trained, "m1")["recommendation_id"]
    decision = trained.get(f"/v1/decisions/{recommendation_id}").json or {}
    assert decision["assignment"]["bucket"] is not None
    assert trained.get(f"/v1/decisions/{recommendation_id}", role="storefront").status_code == 403
    assert trained.get("/v1/decisions/rec_nothing").status_code == 404


def test_a_token_is_signed_with_the_application_key(trained: Client) -> None:
    token = ask(trained, "m1")["measurement"]["attribution_token"]
    keys = AttributionKeys.derive(trained.app.extensions["tidemark"].settings.secret_key)
    assert verify_token(keys, token, member_id="m1", now=read_clock())
    with pytest.raises(TokenForged):
        verify_token(AttributionKeys.derive(b"another"), token, member_id="m1", now=read_clock())


def test_models_are_listed_shown_and_promoted(trained: Client) -> None:
    from service.recommendations.training import train_model

    with trained.engine.connect() as conn:
        programme = get_programme(conn)
    for _ in range(2):
        train_model(trained.engine, models_folder=folder_of(trained), programme=programme, now=read_clock())
    page = trained.get("/v1/models?limit=2").json or {}
    rest = trained.get("/v1/models", query_string={"cursor": page["next_cursor"]}).json or {}
    versions = [model["version"] for model in (*page["data"], *rest["data"])]
    assert (len(versions), len(set(versions)), rest["next_cursor"]) == (3, 3, None)
    oldest = versions[-1]
    assert (trained.get(f"/v1/models/{oldest}").json or {})["counts"]["users"] == 10
    card = trained.get(f"/v1/models/{oldest}/card").json or {}
    assert card["markdown"].startswith(f"# Model {oldest}\n")
    assert card["data"]["users"] == 10
    assert card["markdown"] == (folder_of(trained) / oldest / "card.md").read_text()
    assert trained.get("/v1/models/1999-01-01.1/card").status_code == 404
    promoted = trained.post(f"/v1/models/{oldest}/promote", role="admin")
    assert (promoted.status_code, (promoted.json or {})["status"]) == (200, "active")
    assert ask(trained, "m1")["measurement"]["policy"]["version"] == oldest
    assert trained.post(f"/v1/models/{oldest}/promote", role="server").status_code == 403
    assert trained.get("/v1/models/1999-01-01.1").status_code == 404
    assert trained.get("/v1/models?cursor=rubbish").status_code == 400


def test_a_placement_is_set_by_marketing_and_holds_for_what_is_left_open(trained: Client) -> None:
    path = "/v1/placements/home_row_1"
    assert trained.put(path, json={"limit": 3}, role="server").status_code == 403
    assert trained.put(path, json={"limit": 101}, role="marketing").status_code == 422
    made = trained.put(path, json={"limit": 3, "category_cap": 2}, role="marketing").json or {}
    assert (made["version"], made["limit"], made["category_cap"], made["mode"]) == (1, 3, 2, "mixed")
    assert (trained.get("/v1/placements").json or {})["data"] == [made]
    assert len(ask(trained, "m1", placement="home_row_1")["items"]) <= 3
    assert len(ask(trained, "m1", placement="elsewhere")["items"]) == 10


def test_a_damaged_model_is_not_promoted(trained: Client) -> None:
    from service.recommendations.training import train_model

    with trained.engine.connect() as conn:
        programme = get_programme(conn)
    first = ask(trained, "m1")["measurement"]["policy"]["version"]
    second = train_model(
        trained.engine, models_folder=folder_of(trained), programme=programme, now=read_clock()
    ).version
    with transaction(trained.engine) as conn:
        from service.recommendations import operations

        operations.promote_model(
            conn, version=first, models_folder=folder_of(trained), actor="test", now=read_clock()
        )
    (folder_of(trained) / second / "manifest.json").unlink()
    problem = trained.post(f"/v1/models/{second}/promote", role="admin")
    assert (problem.status_code, (problem.json or {})["code"]) == (409, "model-unusable")
    assert ask(trained, "m1")["measurement"]["policy"]["version"] == first


def test_a_word_of_the_path_is_no_version_of_a_model(client: Client) -> None:
    answer = client.get("/v1/models/retrain", role="marketing")
    assert (answer.status_code, answer.json) == (200, {"waiting": False, "data": []})
    refused = client.call("PUT", "/v1/models/retrain")
    assert refused.status_code == 405
    offered = client.app.test_client().options("/v1/models/retrain")
    for told in (refused, offered):
        assert set(told.headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS", "POST"}
