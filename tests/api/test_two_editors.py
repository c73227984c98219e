"""Two people edit one thing: whoever read what is no longer so hears of it, and nobody's work is lost."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from copy import copy
from typing import Any

from sqlalchemy import text
from werkzeug.test import TestResponse

from service.kit import preconditions
from service.kit.db import transaction
from service.kit.http import ROUTES
from tests.api.conftest import Client, enrol
from tests.api.test_points_deadlock import wait_until_somebody_waits

REWARD: dict[str, Any] = {"name": {"en": "Tea"}, "kind": "product", "points": 0}
PLAN: dict[str, Any] = {
    "title": "Cart",
    "arms": [{"arm": "control", "weight_bp": 5000}, {"arm": "text", "weight_bp": 5000}],
}


def put(client: Client, path: str, body: Mapping[str, Any], **conditions: str) -> TestResponse:
    headers = {name.replace("_", "-"): value for name, value in conditions.items()}
    return client.put(path, json=dict(body), role="admin", headers=headers)


def tag(client: Client, path: str) -> str:
    response = client.get(path, role="admin")
    assert response.status_code == 200, response.data
    return response.headers["ETag"]


def drafts(client: Client) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """Make one draft of each kind; return two changes of each by path."""
    made: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}
    for place in ("/v1/tier-rulesets", "/v1/earning-rules"):
        given = {"title": "One", "copy_of": 1}
        headers = {"Idempotency-Key": f"draft-of{place.replace('/', '-')}"}
        draft = client.post(place, json=given, role="admin", headers=headers).json or {}
        change = {"title": "Two", "definition": draft["definition"]}
        made[f"{place}/{draft['version']}"] = (change, change | {"title": "Three"})
    body = PLAN | {"key": "cart"}
    client.post("/v1/experiments", json=body, role="admin", headers={"Idempotency-Key": "cart"})
    made["/v1/experiments/cart"] = (PLAN | {"title": "Two"}, PLAN | {"window_days": 9})
    put(client, "/v1/rewards/tea", REWARD)
    made["/v1/rewards/tea"] = (REWARD | {"points": 5}, REWARD | {"stock": 7})
    put(client, "/v1/placements/home", {"limit": 3})
    made["/v1/placements/home"] = ({"limit": 4}, {"limit": 3, "mode": "discover"})
    return made


def test_a_change_of_what_was_changed_since_it_was_read_is_refused_and_writes_nothing(client: Client) -> None:
    for path, (ours, theirs) in drafts(client).items():
        seen = tag(client, path)
        assert tag(client, path) == seen
        first = put(client, path, ours, If_Match=seen)
        assert first.status_code == 200, first.data
        assert first.headers["ETag"] == tag(client, path) != seen
        late = put(client, path, theirs, If_Match=seen)
        assert (late.status_code, (late.json or {})["code"]) == (412, "changed-meanwhile"), path
        assert tag(client, path) == first.headers["ETag"]
        # Without the header the last one wins, and a tag that a proxy has made weak is as good as ours.
        assert put(client, path, theirs).status_code == 200
        again = put(client, path, ours, If_Match=f'"another", W/{tag(client, path)}')
        assert again.headers["ETag"] == first.headers["ETag"]


def test_what_is_to_be_made_is_not_put_over_what_is_there_and_what_is_gone_is_not_made_again(
    client: Client,
) -> None:
    for path, body in {"/v1/rewards/tea": REWARD, "/v1/placements/home": {"limit": 3}}.items():
        assert put(client, path, body, If_Match="*").status_code == 412
        assert put(client, path, body, If_None_Match="*").status_code in {200, 201}
        assert put(client, path, body, If_None_Match="*").status_code == 412
        assert put(client, path, body, If_Match="*").status_code == 200


def test_what_a_put_cannot_say_is_no_reason_to_refuse_it(client: Client) -> None:
    put(client, "/v1/rewards/tea", REWARD | {"stock": 5})
    seen = tag(client, "/v1/rewards/tea")
    enrol(client)
    taken = client.post(
        "/v1/members/m1/redemptions", json={"reward": "tea"}, headers={"Idempotency-Key": "t"}
    )
    assert taken.status_code == 201
    assert tag(client, "/v1/rewards/tea") == seen
    assert put(client, "/v1/rewards/tea", REWARD | {"stock": 9}, If_Match=seen).status_code == 200


def test_of_two_who_change_what_both_saw_at_once_one_is_refused(client: Client) -> None:
    path = "/v1/rewards/tea"
    put(client, path, REWARD)
    seen, answers = tag(client, path), list[TestResponse]()

    def change(caller: Client, points: int) -> None:
        answers.append(put(caller, path, REWARD | {"points": points}, If_Match=seen))

    callers = [threading.Thread(target=change, args=(copy(client), points)) for points in (1, 2)]
    with transaction(client.engine) as conn, client.engine.connect() as watcher:
        preconditions.hold(conn, path=path)
        for caller in callers:
            caller.start()
        wait_until_somebody_waits(watcher, how_many=2)
    for caller in callers:
        caller.join(30)
    assert sorted(answer.status_code for answer in answers) == [200, 412]
    with client.engine.connect() as conn:
        changes = conn.scalar(text("SELECT count(*) FROM audit_log WHERE action = 'reward.changed'"))
    assert changes == 1


def test_every_tagged_thing_that_can_be_put_is_guarded() -> None:
    tagged = {name: route for name, route in ROUTES.items() if route.content}
    assert len([route for route in tagged.values() if route.writes]) == 5
    assert {route.content for route in tagged.values() if route.writes} == {
        route.content for route in tagged.values() if not route.writes
    }
