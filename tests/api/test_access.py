"""Keys over REST, tokens for browsers, CORS, and keys that are held to stores."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from werkzeug.test import TestResponse

from service.app import create_app
from service.kit.auth import Caller
from service.kit.member_tokens import MemberClaim, derive_key, sign_token
from tests.api.conftest import Client, an_order, enrol

SHOP = "https://shop.example"
OTHER = "https://other.example"
_numbers: Iterator[int] = iter(range(1_000_000))


def make_key(client: Client, role: str = "server", **fields: Any) -> dict[str, Any]:
    """Make a key over REST."""
    headers = {"Idempotency-Key": f"make-{next(_numbers)}"}
    body = {"role": role, "label": "a test's"} | fields
    response = client.post("/v1/keys", role="admin", headers=headers, json=body)
    assert response.status_code == 201, response.data
    return response.json or {}


def ask_with(
    client: Client, secret: str, method: str = "GET", path: str = "/v1/members", **options: Any
) -> TestResponse:
    """Send a request with some secret."""
    headers = {"Authorization": f"Bearer {secret}"} | options.pop("headers", {})
    return client.call(method, path, role=None, headers=headers, **options)


def code_of(response: TestResponse) -> tuple[int, str]:
    """Return a refusal's status and code."""
    return response.status_code, (response.json or {}).get("code", "")


def make_token(client: Client, member_id: str = "m1", **fields: Any) -> dict[str, Any]:
    """Make a member token as a shop's server does."""
    response = client.post("/v1/member-tokens", json={"member_id": member_id} | fields)
    assert response.status_code == 201, response.data
    return response.json or {}


# --- keys ---------------------------------------------------------------------------------------------


def test_a_new_key_opens_what_its_role_may_and_is_listed_without_its_secret(client: Client) -> None:
    made = make_key(client)
    assert made["secret"].startswith("tm_server_")
    assert ask_with(client, made["secret"]).status_code == 200
    listed = client.get("/v1/keys", role="admin").json or {}
    found = {key["key_id"]: key for key in listed["data"]}[made["key_id"]]
    assert found["label"] == "a test's"
    assert found["last_used_at"] is not None
    assert "secret" not in found
    assert made["secret"] not in str(listed)


def test_keys_are_listed_in_pages_in_the_order_they_were_made(client: Client) -> None:
    made = [make_key(client)["key_id"] for _ in range(3)]
    seen: list[str] = []
    cursor = ""
    while True:
        page = client.get(f"/v1/keys?limit=2{cursor}", role="admin").json or {}
        seen += [key["key_id"] for key in page["data"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert [key for key in seen if key in made] == sorted(made)
    assert len(seen) == len(set(seen))


def test_a_revoked_key_is_refused_at_once_by_every_process_of_the_server(client: Client) -> None:
    made = make_key(client)
    assert ask_with(client, made["secret"]).status_code == 200
    revoked = client.call("DELETE", f"/v1/keys/{made['key_id']}", role="admin").json or {}
    assert revoked["revoked_at"] is not None
    assert code_of(ask_with(client, made["secret"])) == (401, "unauthenticated")
    again = client.call("DELETE", f"/v1/keys/{made['key_id']}", role="admin").json or {}
    assert again == revoked


def test_a_key_that_has_expired_is_refused_and_the_moment_before_it_is_not(client: Client) -> None:
    ends = datetime.now(UTC) + timedelta(hours=1)
    made = make_key(client, expires_at=ends.isoformat())
    authenticator = client.app.extensions["tidemark"].authenticator
    header = f"Bearer {made['secret']}"
    assert authenticator.identify(header, now=ends - timedelta(seconds=1)).role == "server"
    with client.engine.begin() as conn:
        conn.execute(
            text("UPDATE api_keys SET expires_at = now() - interval '1 s' WHERE key_id = :id"),
            {"id": made["key_id"]},
        )
    authenticator.forget()
    assert code_of(ask_with(client, made["secret"])) == (401, "unauthenticated")


def test_a_key_that_ends_in_the_past_is_not_made(client: Client) -> None:
    body = {"role": "server", "label": "late", "expires_at": "2020-01-01T00:00:00Z"}
    response = client.post("/v1/keys", role="admin", headers={"Idempotency-Key": "k"}, json=body)
    assert code_of(response) == (422, "invalid")
    assert (response.json or {})["errors"][0]["pointer"] == "/expires_at"


def rotate(client: Client, key_id: str, **body: Any) -> TestResponse:
    """Give a key another secret."""
    headers = {"Idempotency-Key": f"rotate-{next(_numbers)}"}
    return client.post(f"/v1/keys/{key_id}/rotate", role="admin", headers=headers, json=body)


def test_a_rotated_key_keeps_its_id_and_its_old_secret_for_the_overlap(client: Client) -> None:
    made = make_key(client, store_ids=["s1"])
    rotated = rotate(client, made["key_id"], overlap_seconds=3600).json or {}
    assert (rotated["key_id"], rotated["store_ids"]) == (made["key_id"], ["s1"])
    assert rotated["secret"] != made["secret"]
    assert rotated["previous_until"] is not None
    for secret in (made["secret"], rotated["secret"]):
        assert ask_with(client, secret).status_code == 200
    authenticator = client.app.extensions["tidemark"].authenticator
    later = datetime.now(UTC) + timedelta(seconds=3601)
    assert isinstance(authenticator.identify(f"Bearer {rotated['secret']}", now=later), Caller)
    with pytest.raises(Exception, match="expired"):
        authenticator.identify(f"Bearer {made['secret']}", now=later)


def test_rotating_without_an_overlap_ends_every_older_secret(client: Client) -> None:
    made = make_key(client)
    second = (rotate(client, made["key_id"], overlap_seconds=3600).json or {})["secret"]
    third = (rotate(client, made["key_id"], overlap_seconds=0).json or {})["secret"]
    assert code_of(ask_with(client, made["secret"])) == (401, "unauthenticated")
    assert code_of(ask_with(client, second)) == (401, "unauthenticated")
    assert ask_with(client, third).status_code == 200


def test_a_key_that_is_gone_cannot_be_rotated(client: Client) -> None:
    made = make_key(client)
    client.call("DELETE", f"/v1/keys/{made['key_id']}", role="admin")
    assert code_of(rotate(client, made["key_id"])) == (409, "key-not-live")
    assert code_of(rotate(client, "key_unknown")) == (404, "unknown-key")
    assert code_of(client.call("DELETE", "/v1/keys/key_unknown", role="admin")) == (404, "unknown-key")


def test_a_secret_that_was_rotated_out_does_not_come_back_as_a_key(client: Client) -> None:
    from service.kit.auth import register_key

    made = make_key(client, role="admin")
    rotate(client, made["key_id"], overlap_seconds=0)
    with client.engine.begin() as conn:
        register_key(conn, token=made["secret"], role="admin", label="environment", now=datetime.now(UTC))
    assert code_of(ask_with(client, made["secret"])) == (401, "unauthenticated")


def test_who_made_and_ended_a_key_stands_in_the_audit_log_without_its_secret(client: Client) -> None:
    made = make_key(client)
    rotate(client, made["key_id"])
    client.call("DELETE", f"/v1/keys/{made['key_id']}", role="admin")
    with client.engine.connect() as conn:
        rows = conn.execute(
            text(
                "SELECT action, actor, after::text AS after FROM audit_log "
                "WHERE subject_id = :id ORDER BY audit_key"
            ),
            {"id": made["key_id"]},
        ).all()
    assert [row.action for row in rows] == ["key.created", "key.rotated", "key.revoked"]
    assert all(row.actor.startswith("admin:key_") for row in rows)
    assert made["secret"] not in str(rows)


# --- what is shown ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        "Basic dXNlcjpwYXNz",
        "Bearer tm_server_wrong",
        "tm_server_wrong",
        "Bearer tmt_",
        "Bearer tmt_a.b",
        "Bearer \u00e9",
        "Token abc",
    ],
)
def test_what_is_no_key_is_not_let_in(client: Client, header: str) -> None:
    response = client.get("/v1/members", role=None, headers={"Authorization": header})
    assert code_of(response) == (401, "unauthenticated")
    assert response.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    "joined", ["Bearer {0},Bearer {1}", "Bearer {0}, Bearer {1}", "Bearer {0}, Basic {1}"]
)
def test_two_authorizations_are_refused_whoever_they_are(client: Client, joined: str) -> None:
    header = joined.format(client.keys["admin"], client.keys["server"])
    response = client.get("/v1/members", role=None, headers={"Authorization": header})
    assert code_of(response) == (400, "malformed-request")


# --- member tokens ------------------------------------------------------------------------------------

OWN = ("card", "tier", "tier/explanation", "points", "recommendations")


@pytest.mark.parametrize("what", OWN)
def test_a_token_opens_its_own_member_and_nobody_else(client: Client, what: str) -> None:
    for member_id in ("m1", "m2"):
        enrol(client, member_id)
    token = make_token(client)["token"]
    assert ask_with(client, token, path=f"/v1/members/m1/{what}").status_code == 200
    assert code_of(ask_with(client, token, path=f"/v1/members/m2/{what}")) == (403, "forbidden")
    assert code_of(ask_with(client, token, path=f"/v1/members/nobody/{what}")) == (403, "forbidden")


@pytest.mark.parametrize("what", OWN)
def test_a_storefront_key_alone_does_not_even_learn_who_is_a_member(client: Client, what: str) -> None:
    enrol(client)
    answers = {
        client.get(f"/v1/members/{member_id}/{what}", role="storefront").data.split(b'"instance"')[0]
        for member_id in ("m1", "nobody")
    }
    assert len(answers) == 1
    assert b"member-token-needed" in answers.pop()


def test_a_token_opens_no_staff_data_even_of_its_own_member(client: Client) -> None:
    enrol(client)
    token = make_token(client)["token"]
    for path in (
        "/v1/members/m1",
        "/v1/members/m1/points/transactions",
        "/v1/members",
        "/v1/models",
        "/v1/keys",
    ):
        assert code_of(ask_with(client, token, path=path)) == (403, "forbidden"), path
    made = ask_with(client, token, "POST", "/v1/member-tokens", json={"member_id": "m1"})
    assert code_of(made) == (403, "forbidden")


def an_event(event_id: str = "e1", **fields: Any) -> dict[str, Any]:
    return {"event_id": event_id, "type": "page_view", "occurred_at": datetime.now(UTC).isoformat()} | fields


def test_a_browser_sends_its_own_events_and_anonymous_ones(client: Client) -> None:
    enrol(client)
    enrol(client, "m2")
    token = make_token(client)["token"]
    good = {"events": [an_event("e1", member_id="m1"), an_event("e2", anonymous_id="a1")]}
    assert (ask_with(client, token, "POST", "/v1/events", json=good).json or {})["accepted"] == 2
    mixed = {"events": [an_event("e3", member_id="m1"), an_event("e4", member_id="m2")]}
    assert code_of(ask_with(client, token, "POST", "/v1/events", json=mixed)) == (403, "forbidden")
    with client.engine.connect() as conn:
        assert conn.scalar(text("SELECT count(*) FROM event_keys")) == 2


def test_a_storefront_without_a_token_does_what_concerns_nobody(client: Client) -> None:
    enrol(client)
    item = {"name": {"en": "Tea"}, "category": ["tea"], "price": "100", "currency": "TWD", "available": True}
    assert client.put("/v1/items/tea", json=item).status_code == 201
    assert client.get("/v1/items/tea", role="storefront").status_code == 200
    assert client.get("/v1/items/tea/related", role="storefront").status_code == 200
    named = client.get("/v1/items/tea/related?member_id=m1", role="storefront")
    assert code_of(named) == (403, "member-token-needed")
    anonymous = {"events": [an_event(anonymous_id="a1")]}
    assert client.post("/v1/events", role="storefront", json=anonymous).status_code == 200
    named = client.post("/v1/events", role="storefront", json={"events": [an_event(member_id="m1")]})
    assert code_of(named) == (403, "member-token-needed")
    token = make_token(client)["token"]
    assert ask_with(client, token, path="/v1/items/tea/related?member_id=m1").status_code == 200
    assert code_of(ask_with(client, token, path="/v1/items/tea/related?member_id=m2")) == (403, "forbidden")


def test_a_token_ends_when_it_says(client: Client) -> None:
    enrol(client)
    made = make_token(client, ttl_seconds=60)
    ends = datetime.fromisoformat(made["expires_at"])
    assert timedelta(seconds=55) < ends - datetime.now(UTC) <= timedelta(seconds=60)
    key = derive_key(client.app.extensions["tidemark"].settings.secret_key)
    late = sign_token(MemberClaim(made["storefront_key_id"], "m1", datetime.now(UTC)), key=key)
    response = ask_with(client, late, path="/v1/members/m1/card")
    assert code_of(response) == (401, "member-token-expired")


@pytest.mark.parametrize("ttl", [0, -1, 3601, "60", True, 1.5])
def test_a_token_lives_an_hour_at_most(client: Client, ttl: Any) -> None:
    response = client.post("/v1/member-tokens", json={"member_id": "m1", "ttl_seconds": ttl})
    assert code_of(response) == (422, "invalid")


def test_a_token_of_another_installation_is_foreign(client: Client) -> None:
    enrol(client)
    made = make_token(client)
    claim = MemberClaim(made["storefront_key_id"], "m1", datetime.now(UTC) + timedelta(hours=1))
    foreign = sign_token(claim, key=derive_key(b"another installation's"))
    assert code_of(ask_with(client, foreign, path="/v1/members/m1/card")) == (401, "unauthenticated")


def test_revoking_the_storefront_key_ends_its_tokens(client: Client) -> None:
    enrol(client)
    storefront = make_key(client, "storefront")
    made = make_token(client, storefront_key_id=storefront["key_id"])
    assert ask_with(client, made["token"], path="/v1/members/m1/card").status_code == 200
    client.call("DELETE", f"/v1/keys/{storefront['key_id']}", role="admin")
    assert code_of(ask_with(client, made["token"], path="/v1/members/m1/card")) == (401, "unauthenticated")


def test_a_token_needs_a_storefront_key_that_stands(client: Client) -> None:
    listed = (client.get("/v1/keys", role="admin").json or {})["data"]
    oldest = next(key["key_id"] for key in listed if key["role"] == "storefront")
    newer = make_key(client, "storefront")["key_id"]
    assert make_token(client)["storefront_key_id"] == oldest, (
        "a second key changes nothing for the first shop"
    )
    server = next(key["key_id"] for key in listed if key["role"] == "server")
    refused = client.post("/v1/member-tokens", json={"member_id": "m1", "storefront_key_id": server})
    assert code_of(refused) == (422, "storefront-key-needed")
    for key_id in (oldest, newer):
        client.call("DELETE", f"/v1/keys/{key_id}", role="admin")
    refused = client.post("/v1/member-tokens", json={"member_id": "m1"})
    assert code_of(refused) == (422, "storefront-key-needed")


def test_members_behind_one_storefront_key_do_not_share_idempotency_keys(client: Client) -> None:
    for member_id in ("m1", "m2"):
        enrol(client, member_id)
    headers = {"Idempotency-Key": "page-1"}
    for number, member_id in enumerate(("m1", "m2")):
        token = make_token(client, member_id)["token"]
        body = {"events": [an_event(f"e{number}", member_id=member_id)]}
        response = ask_with(client, token, "POST", "/v1/events", headers=headers, json=body)
        assert response.status_code == 200, response.data
        assert "Idempotent-Replayed" not in response.headers


# --- browsers of other origins ------------------------------------------------------------------------


def preflight(client: Client, origin: str, path: str = "/v1/events", method: str = "POST") -> TestResponse:
    """Ask as a browser does before it sends."""
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    return client.app.test_client().options(path, headers=headers)


def test_a_preflight_is_answered_for_every_registered_origin_and_no_other(client: Client) -> None:
    assert "Access-Control-Allow-Origin" not in preflight(client, SHOP).headers
    made = make_key(client, "storefront", origins=[SHOP])
    allowed = preflight(client, SHOP)
    assert allowed.status_code == 204
    assert allowed.headers["Access-Control-Allow-Origin"] == SHOP
    assert allowed.headers["Access-Control-Allow-Methods"] == "POST"
    assert "Authorization" in allowed.headers["Access-Control-Allow-Headers"]
    assert "Access-Control-Allow-Credentials" not in allowed.headers
    assert "Origin" in allowed.headers["Vary"]
    for origin in (OTHER, "null", SHOP + ":8443", "http://shop.example", SHOP.upper()):
        assert "Access-Control-Allow-Origin" not in preflight(client, origin).headers, origin
    client.call("DELETE", f"/v1/keys/{made['key_id']}", role="admin")
    assert "Access-Control-Allow-Origin" not in preflight(client, SHOP).headers


def test_a_preflight_opens_only_what_storefronts_may_use(client: Client) -> None:
    make_key(client, "storefront", origins=[SHOP])
    assert (
        preflight(client, SHOP, "/v1/members/m1/card", "GET").headers["Access-Control-Allow-Origin"] == SHOP
    )
    for path, method in (("/v1/orders", "POST"), ("/v1/keys", "GET"), ("/v1/members/m1", "PUT")):
        assert "Access-Control-Allow-Origin" not in preflight(client, SHOP, path, method).headers, path


def test_the_answer_names_the_origin_only_if_the_key_registered_it(client: Client) -> None:
    enrol(client)
    mine = make_key(client, "storefront", origins=[SHOP])
    make_key(client, "storefront", origins=[OTHER])
    token = make_token(client, storefront_key_id=mine["key_id"])["token"]
    for secret in (token, mine["secret"]):
        path = "/v1/members/m1/card"
        response = ask_with(client, secret, path=path, headers={"Origin": SHOP})
        assert response.headers["Access-Control-Allow-Origin"] == SHOP
        assert "X-Request-Id" in response.headers["Access-Control-Expose-Headers"]
        assert "Origin" in response.headers["Vary"]
        refused = ask_with(client, secret, path=path, headers={"Origin": OTHER})
        assert code_of(refused) == (403, "origin-not-allowed")
        assert "Access-Control-Allow-Origin" not in refused.headers
    without = ask_with(client, token, path="/v1/members/m1/card")
    assert without.status_code == 200
    assert "Access-Control-Allow-Origin" not in without.headers


def test_a_page_can_read_that_its_token_expired(client: Client) -> None:
    mine = make_key(client, "storefront", origins=[SHOP])
    key = derive_key(client.app.extensions["tidemark"].settings.secret_key)
    late = sign_token(MemberClaim(mine["key_id"], "m1", datetime.now(UTC)), key=key)
    response = ask_with(client, late, path="/v1/members/m1/card", headers={"Origin": SHOP})
    assert code_of(response) == (401, "member-token-expired")
    assert response.headers["Access-Control-Allow-Origin"] == SHOP


def test_a_server_key_is_never_for_pages(client: Client) -> None:
    make_key(client, "storefront", origins=[SHOP])
    response = client.get("/v1/members", headers={"Origin": SHOP})
    assert response.status_code == 200
    assert "Access-Control-Allow-Origin" not in response.headers
    body = {"role": "server", "label": "x", "origins": [SHOP]}
    refused = client.post("/v1/keys", role="admin", headers={"Idempotency-Key": "k"}, json=body)
    assert code_of(refused) == (422, "invalid")


# --- keys that are held to stores ---------------------------------------------------------------------


def a_refund(**fields: Any) -> dict[str, Any]:
    return {"refund_id": "r1", "refunded_at": datetime.now(UTC).isoformat(), "amount": "10"} | fields


def test_a_key_of_one_store_writes_there_without_saying_so(client: Client) -> None:
    enrol(client)
    secret = make_key(client, store_ids=["s1"])["secret"]
    placed = ask_with(client, secret, "POST", "/v1/orders", json=an_order())
    assert (placed.json or {})["order"]["store_id"] == "s1"
    refused = ask_with(client, secret, "POST", "/v1/orders", json=an_order("o2", store_id="s2"))
    assert code_of(refused) == (403, "store-out-of-scope")
    assert (refused.json or {})["errors"][0]["pointer"] == "/store_id"


def test_a_key_of_several_stores_says_which(client: Client) -> None:
    enrol(client)
    secret = make_key(client, store_ids=["s1", "s2"])["secret"]
    refused = ask_with(client, secret, "POST", "/v1/orders", json=an_order())
    assert code_of(refused) == (403, "store-out-of-scope")
    placed = ask_with(client, secret, "POST", "/v1/orders", json=an_order(store_id="s2"))
    assert placed.status_code == 201


def test_orders_of_other_stores_are_not_there(client: Client) -> None:
    enrol(client)
    secret = make_key(client, store_ids=["s1"])["secret"]
    client.post("/v1/orders", json=an_order("mine", store_id="s1"))
    client.post("/v1/orders", json=an_order("theirs", store_id="s2"))
    client.post("/v1/orders", json=an_order("nobodys"))
    now = datetime.now(UTC).isoformat()
    assert ask_with(client, secret, path="/v1/orders/mine").status_code == 200
    shipped = {"shipment_id": "p1", "status": "shipped", "occurred_at": now}
    assert ask_with(client, secret, "POST", "/v1/orders/mine/shipments", json=shipped).status_code == 201
    for order_id in ("theirs", "nobodys"):
        path = f"/v1/orders/{order_id}"
        assert code_of(ask_with(client, secret, path=path)) == (404, "unknown-order")
        cancelled = {"cancelled_at": now, "reason": "changed my mind"}
        assert code_of(ask_with(client, secret, "POST", f"{path}/cancel", json=cancelled)) == (
            404,
            "unknown-order",
        )
        shipment = ask_with(client, secret, "POST", f"{path}/shipments", json=shipped)
        assert code_of(shipment) == (404, "unknown-order")
        refund = a_refund(order_id=order_id)
        assert code_of(ask_with(client, secret, "POST", "/v1/refunds", json=refund))[1] == "order-not-known"


def test_refunds_belong_to_the_stores_of_the_key(client: Client) -> None:
    enrol(client)
    secret = make_key(client, store_ids=["s1"])["secret"]
    client.post("/v1/orders", json=an_order("mine", store_id="s1"))
    linked = ask_with(client, secret, "POST", "/v1/refunds", json=a_refund(order_id="mine"))
    assert (linked.json or {})["refund"]["store_id"] == "s1"
    unlinked = ask_with(client, secret, "POST", "/v1/refunds", json=a_refund(refund_id="r2", member_id="m1"))
    assert (unlinked.json or {})["refund"]["store_id"] == "s1"
    elsewhere = a_refund(refund_id="r3", member_id="m1", store_id="s2")
    assert code_of(ask_with(client, secret, "POST", "/v1/refunds", json=elsewhere)) == (
        403,
        "store-out-of-scope",
    )


def test_a_key_of_a_store_enrols_members_there_only(client: Client) -> None:
    secret = make_key(client, store_ids=["s1"])["secret"]
    assert ask_with(client, secret, "PUT", "/v1/members/m1", json={"store_id": "s1"}).status_code == 201
    refused = ask_with(client, secret, "PUT", "/v1/members/m2", json={"store_id": "s2"})
    assert code_of(refused) == (403, "store-out-of-scope")


def test_a_key_of_a_store_sees_and_changes_no_other_store(client: Client) -> None:
    for store_id in ("s1", "s2", "s3"):
        client.put(f"/v1/stores/{store_id}", json={"name": store_id}, role="admin")
    secret = make_key(client, "admin", store_ids=["s1", "s3"])["secret"]
    first = ask_with(client, secret, path="/v1/stores?limit=1").json or {}
    rest = ask_with(client, secret, path=f"/v1/stores?cursor={first['next_cursor']}").json or {}
    assert [row["store_id"] for row in first["data"] + rest["data"]] == ["s1", "s3"]
    assert rest["next_cursor"] is None
    assert len((client.get("/v1/stores").json or {})["data"]) == 3
    assert ask_with(client, secret, path="/v1/stores/s1").status_code == 200
    assert code_of(ask_with(client, secret, path="/v1/stores/s2")) == (404, "unknown-store")
    renamed = {"name": "mine now"}
    assert ask_with(client, secret, "PUT", "/v1/stores/s3", json=renamed).status_code == 200
    for store_id in ("s2", "s9"):
        refused = ask_with(client, secret, "PUT", f"/v1/stores/{store_id}", json=renamed)
        assert code_of(refused) == (403, "store-out-of-scope")


def test_a_key_of_a_store_is_not_for_what_concerns_every_store(client: Client) -> None:
    """An administrator of one store could otherwise make a key for the others."""
    made = make_key(client, "admin", store_ids=["s1"])
    one = {"Idempotency-Key": "k"}
    for method, path, body in (
        ("GET", "/v1/keys", None),
        ("POST", "/v1/keys", {"role": "admin", "label": "mine"}),
        ("POST", f"/v1/keys/{made['key_id']}/rotate", {}),
        ("DELETE", f"/v1/keys/{made['key_id']}", None),
        ("GET", "/v1/changes", None),
        ("GET", "/v1/audit-log", None),
    ):
        options = {"headers": one} if method == "POST" else {}
        refused = ask_with(client, made["secret"], method, path, json=body, **options)
        assert code_of(refused) == (403, "store-out-of-scope"), path


# --- another process ----------------------------------------------------------------------------------


def test_another_machine_sees_a_revoked_key_within_seconds(client: Client) -> None:
    made = make_key(client)
    settings = client.app.extensions["tidemark"].settings
    elsewhere = Client(create_app(settings, client.engine), client.engine, client.keys)
    assert ask_with(elsewhere, made["secret"]).status_code == 200
    client.call("DELETE", f"/v1/keys/{made['key_id']}", role="admin")
    authenticator = elsewhere.app.extensions["tidemark"].authenticator
    with pytest.raises(Exception, match="revoked"):
        authenticator.identify(f"Bearer {made['secret']}", now=datetime.now(UTC) + timedelta(seconds=5))
