"""Rewards through HTTP: offered, taken, used, called off, and what is refused."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from sqlalchemy import text

from service.laws import check_laws
from service.programme.operations import get_programme
from tests.api.conftest import Client, enrol
from tests.api.test_points import points_of
from tests.api.test_points_holds import with_points

_keys = count()
NAMES = {"en": "NT$50 off", "zh-Hant": "50 元折價券"}


def a_reward(**fields: Any) -> dict[str, Any]:
    """Return the body of a plain reward: NT$50 off for 40 points."""
    return {"name": NAMES, "kind": "voucher_amount", "points": 40, "value": "50"} | fields


def offer(client: Client, code: str = "fifty", **fields: Any) -> Any:
    """Offer a reward."""
    response = client.put(f"/v1/rewards/{code}", json=a_reward(**fields), role="marketing")
    assert response.status_code in {200, 201}, response.data
    return response.json


def take(client: Client, reward: str = "fifty", *, member: str = "m1", key: str | None = None) -> Any:
    """Take a reward for a member."""
    return client.post(
        f"/v1/members/{member}/redemptions",
        json={"reward": reward},
        headers={"Idempotency-Key": key or f"take-{next(_keys)}"},
    )


def taken(client: Client, reward: str = "fifty", **options: Any) -> Any:
    """Take a reward and return the redemption."""
    response = take(client, reward, **options)
    assert response.status_code == 201, response.data
    return response.json


def code_of(response: Any) -> tuple[int, str]:
    """Return the status and the problem's code."""
    return response.status_code, response.json["code"]


def check_books(client: Client) -> None:
    """Hold every law against what is there."""
    with client.engine.connect() as conn:
        report = check_laws(
            conn, programme=get_programme(conn), now=datetime.now(UTC), progress=lambda *_: None
        )
    assert report.violations == []


def age(client: Client, redemption_id: str, *, days: int) -> None:
    """Move the expiry of a redemption into the past."""
    with client.engine.begin() as conn:
        conn.execute(
            text(
                "UPDATE redemptions SET expires_at = expires_at - make_interval(days => :days) "
                "WHERE redemption_id = CAST(:id AS uuid)"
            ),
            {"id": redemption_id.removeprefix("red_"), "days": days},
        )


def test_a_reward_is_offered_replaced_and_listed(client: Client) -> None:
    shown = offer(client, stock=10)
    assert (shown["stock"], shown["taken"], shown["left"], shown["value"]) == (10, 0, 10, "50.00")
    again = client.put("/v1/rewards/fifty", json=a_reward(stock=12, points=30), role="marketing")
    assert again.status_code == 200
    assert client.get("/v1/rewards/fifty").json == again.json
    listed: Any = client.get("/v1/rewards").json
    assert [(one["code"], one["points"], one["left"]) for one in listed["data"]] == [("fifty", 30, 12)]
    log: Any = client.get("/v1/audit-log", role="admin").json
    assert [entry["action"] for entry in log["data"]][:2] == ["reward.changed", "reward.offered"]


def test_taking_a_reward_pays_its_points_and_gives_a_voucher(client: Client) -> None:
    with_points(client, 100)
    offer(client, valid_days=30)
    response = take(client)
    assert response.status_code == 201
    body = response.json
    assert (body["state"], body["points"], body["name"], body["value"]) == (
        "issued",
        40,
        "NT$50 off",
        "50.00",
    )
    assert body["voucher_code"].startswith("TM-")
    assert body["expires_at"] is not None
    assert points_of(client)["available"] == 60
    assert client.get(f"/v1/redemptions/{body['redemption_id']}").json == body
    entry: Any = (client.get("/v1/members/m1/points/transactions").json or {})["data"][0]
    assert entry["kind"] == "redeem"
    assert {posting["account"] for posting in entry["postings"]} == {"available", "redeemed"}
    assert all(posting["lot"] is not None for posting in entry["postings"])
    events: Any = client.get("/v1/changes?topics=reward.redeemed").json
    assert events["data"][0]["payload"]["redemption_id"] == body["redemption_id"]
    check_books(client)


def test_calling_a_redemption_off_gives_back_points_to_the_same_lots_and_one_to_the_shelf(
    client: Client,
) -> None:
    with_points(client, 100)
    offer(client, stock=1)
    redemption_id = taken(client)["redemption_id"]
    assert code_of(take(client)) == (409, "reward-out-of-stock")
    path = f"/v1/redemptions/{redemption_id}/cancel"
    response: Any = client.post(path, json={"reason": "a mistake"})
    assert (response.status_code, response.json["state"]) == (200, "cancelled")
    assert client.post(path, json={"reason": "a mistake"}).json == response.json
    assert points_of(client)["available"] == 100
    given, paid = (client.get("/v1/members/m1/points/transactions").json or {})["data"][:2]
    assert (given["kind"], given["reason"]) == ("unredeem", "a mistake")
    assert {one["lot"]["lot_id"] for one in given["postings"]} == {
        one["lot"]["lot_id"] for one in paid["postings"]
    }
    assert client.get("/v1/rewards/fifty").json["left"] == 1  # type: ignore[index]
    assert take(client).status_code == 201
    log: Any = client.get("/v1/audit-log", role="admin").json
    assert "redemption.cancelled" in {entry["action"] for entry in log["data"]}
    check_books(client)


def test_points_of_a_lot_that_expired_meanwhile_come_back_for_thirty_days(client: Client) -> None:
    with_points(client, 100)
    offer(client)
    redemption_id = taken(client)["redemption_id"]
    with client.engine.begin() as conn:
        conn.execute(text("UPDATE lots SET expires_at = now() - interval '1 hour'"))
        conn.execute(text("UPDATE balances SET next_due_at = now() - interval '1 hour'"))
    assert points_of(client)["available"] == 0
    client.post(f"/v1/redemptions/{redemption_id}/cancel", json={"reason": "a mistake"})
    points = points_of(client)
    assert points["available"] == 40
    days = (datetime.fromisoformat(points["expiring"][0]["on"]).date() - datetime.now(UTC).date()).days
    assert 29 <= days <= 31
    check_books(client)


def test_a_redemption_repeated_with_its_key_takes_once(client: Client) -> None:
    with_points(client, 100)
    offer(client)
    first, again = take(client, key="once"), take(client, key="once")
    assert again.data == first.data
    assert points_of(client)["available"] == 60


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"starts_at": "2999-01-01T00:00:00Z"}, "reward-not-offered"),
        ({"ends_at": "2020-01-01T00:00:00Z"}, "reward-not-offered"),
        ({"stock": 0}, "reward-out-of-stock"),
        ({"tiers": ["gold"]}, "reward-not-for-tier"),
        ({"points": 101}, "insufficient-points"),
    ],
)
def test_a_reward_that_cannot_be_had_is_refused_and_the_ledger_untouched(
    client: Client, fields: dict[str, Any], code: str
) -> None:
    with_points(client, 100)
    offer(client, **fields)
    before = client.get("/v1/members/m1/points/transactions").json
    assert code_of(take(client)) == (409, code)
    assert client.get("/v1/members/m1/points/transactions").json == before
    shown: Any = client.get("/v1/members/m1/rewards").json
    if code != "reward-not-offered" or "starts_at" in fields:
        assert [one["affordable"] for one in shown["data"]] == [False]
        assert all(reason["text"] for reason in shown["data"][0]["reasons"])
    else:
        assert shown["data"] == []
    check_books(client)


def test_a_member_takes_a_reward_as_often_as_one_may(client: Client) -> None:
    with_points(client, 100)
    offer(client, per_member_limit=1, points=10)
    redemption = taken(client)
    assert code_of(take(client)) == (409, "reward-limit-reached")
    client.post(f"/v1/redemptions/{redemption['redemption_id']}/cancel", json={"reason": "x"})
    assert take(client).status_code == 201


def test_what_a_member_can_have_is_told_in_their_language(client: Client) -> None:
    with_points(client, 30)
    offer(client)
    offer(client, "tea", points=5, kind="product", value=None, name={"en": "A tin of tea", "zh-Hant": "茶罐"})
    english: Any = client.get("/v1/members/m1/rewards", headers={"Accept-Language": "en"}).json
    chinese: Any = client.get("/v1/members/m1/rewards", headers={"Accept-Language": "zh-Hant"}).json
    # Whichever arm the member is in, the tea stands first.
    assert [one["reasons"] for one in english["data"]] == [
        [],
        [{"reason": "points", "text": "10 points more needed."}],
    ]
    assert chinese["data"][1]["reasons"][0]["text"] == "還差 10 點。"
    assert [one["reason"]["text"] for one in chinese["items"]] == ["您現在就可以兌換", "還差 10 點"]
    assert [one["name"] for one in chinese["data"]] == ["茶罐", "50 元折價券"]
    card: Any = client.get("/v1/members/m1/card", headers={"Accept-Language": "zh-Hant"}).json
    assert card["rewards"] == [{"code": "tea", "name": "茶罐", "kind": "product", "points": 5}]


def test_a_reward_may_be_free_for_a_tier(client: Client) -> None:
    enrol(client)
    tier = (client.get("/v1/members/m1/tier").json or {})["tier"]
    offer(client, "gift", points=0, kind="sample", value=None, tiers=[tier], per_member_limit=1)
    body = taken(client, "gift")
    assert (body["points"], body["voucher_code"]) == (0, None)
    used: Any = client.post(f"/v1/redemptions/{body['redemption_id']}/use")
    assert (used.status_code, used.json["state"]) == (200, "used")
    assert client.post(f"/v1/redemptions/{body['redemption_id']}/use").json == used.json
    refused = client.post(f"/v1/redemptions/{body['redemption_id']}/cancel", json={"reason": "late"})
    assert code_of(refused) == (409, "redemption-ended")
    check_books(client)


def test_a_redemption_has_expired_at_once_and_the_sweep_posts_it(client: Client) -> None:
    from service.rewards import operations as rewards

    with_points(client, 100)
    offer(client, valid_days=1)
    redemption_id = taken(client)["redemption_id"]
    age(client, redemption_id, days=3)
    shown: Any = client.get(f"/v1/redemptions/{redemption_id}").json
    assert (shown["state"], shown["ended_at"]) == ("expired", shown["expires_at"])
    refused = client.post(f"/v1/redemptions/{redemption_id}/use")
    assert code_of(refused) == (409, "redemption-ended")
    with client.engine.begin() as conn:
        assert rewards.expire_due(conn, now=datetime.now(UTC), limit=10) == 1
        assert rewards.expire_due(conn, now=datetime.now(UTC), limit=10) == 0
    assert client.get(f"/v1/redemptions/{redemption_id}").json == shown
    check_books(client)


@pytest.mark.parametrize("points", [0, 3])
def test_fifty_at_once_take_exactly_what_is_in_stock(client: Client, points: int) -> None:
    """Complaint 25: two redemptions at once spend the same points. https://github.com/Nova-reward/Nova-Rewards/issues/190"""
    members = [f"m{number}" for number in range(10)]
    for member in members:
        with_points(client, 100, member)
    offer(client, stock=13, points=points)

    def ask(number: int) -> Any:
        return take(
            Client(client.app, client.engine, client.keys), member=members[number % 10], key=f"k{number}"
        )

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(ask, range(50)))
    assert Counter(answer.status_code for answer in answers) == {201: 13, 409: 37}
    assert {answer.json["code"] for answer in answers if answer.status_code == 409} == {"reward-out-of-stock"}
    codes = [answer.json["voucher_code"] for answer in answers if answer.status_code == 201]
    assert len(set(codes)) == 13
    assert client.get("/v1/rewards/fifty").json["left"] == 0  # type: ignore[index]
    check_books(client)


def test_fifty_at_once_by_one_member_spend_no_point_twice(client: Client) -> None:
    with_points(client, 100)
    offer(client, points=30)

    def ask(number: int) -> Any:
        return take(Client(client.app, client.engine, client.keys), key=f"k{number}")

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(ask, range(50)))
    assert Counter(answer.status_code for answer in answers) == {201: 3, 409: 47}
    assert points_of(client)["available"] == 10
    check_books(client)


def test_the_stock_cannot_be_less_than_was_taken(client: Client) -> None:
    with_points(client, 100)
    offer(client, stock=5, points=1)
    for _ in range(3):
        taken(client)
    refused = client.put("/v1/rewards/fifty", json=a_reward(stock=2), role="marketing")
    assert code_of(refused) == (409, "stock-below-taken")
    assert offer(client, stock=3)["left"] == 0
    assert offer(client, stock=None)["left"] is None
    assert offer(client, stock=4)["left"] == 1
    other = client.put("/v1/rewards/fifty", json=a_reward(kind="product", value=None), role="marketing")
    assert code_of(other) == (409, "reward-kind-fixed")


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"kind": "coupon"}, "/kind"),
        ({"points": -1}, "/points"),
        ({"points": 1.5}, "/points"),
        ({"value": None}, "/value"),
        ({"value": "0"}, "/value"),
        ({"value": "1.005"}, "/value"),
        ({"percent_bp": 1000}, "/percent_bp"),
        ({"kind": "voucher_percent", "value": None}, "/percent_bp"),
        ({"kind": "voucher_percent", "percent_bp": 10_001}, "/percent_bp"),
        ({"stock": -1}, "/stock"),
        ({"name": {}}, "/name"),
        ({"valid_days": 0}, "/valid_days"),
        ({"starts_at": "2026-02-01T00:00:00Z", "ends_at": "2026-01-01T00:00:00Z"}, "/ends_at"),
        ({"code_pool": "nowhere"}, "/code_pool"),
        ({"colour": "red"}, "/colour"),
    ],
)
def test_a_reward_that_is_not_acceptable_is_refused_at_its_place(
    client: Client, fields: dict[str, Any], pointer: str
) -> None:
    response: Any = client.put("/v1/rewards/fifty", json=a_reward(**fields), role="marketing")
    assert response.status_code == 422, response.data
    assert response.json["errors"][0]["pointer"] == pointer


def import_file(client: Client, content: bytes, pool: str = "spring") -> Any:
    """Bring a file of codes into a pool."""
    return client.post(
        f"/v1/code-pools/{pool}/codes", data=content, content_type="text/csv", role="marketing"
    )


def test_codes_of_others_are_imported_line_by_line_and_handed_out_once(client: Client) -> None:
    long, ours = "x" * 65, "TM-000000-000000-000001"
    response = import_file(client, f"\ufeffA1\r\nB2\n\n{long}\nA1\n{ours}\nC3".encode())
    assert response.status_code == 200
    assert (response.json["lines"], response.json["added"], response.json["rejected"]) == (7, 3, 4)
    assert [(one["line"], one["code"]) for one in response.json["rejects"]] == [
        (3, "empty-line"),
        (4, "code-too-long"),
        (5, "duplicate-code"),
        (6, "code-like-ours"),
    ]
    again = import_file(client, b"A1\nB2\nC3\nC3")
    assert (again.json["added"], again.json["known"], again.json["rejected"]) == (0, 3, 1)
    elsewhere = import_file(client, b"A1", pool="summer")
    assert elsewhere.json["rejects"] == [{"line": 1, "code": "code-of-other-pool"}]
    with_points(client, 100)
    offer(client, code_pool="spring", points=1)
    assert [taken(client)["voucher_code"] for _ in range(3)] == ["A1", "B2", "C3"]
    assert code_of(take(client)) == (409, "codes-used-up")
    pool: Any = client.get("/v1/code-pools/spring").json
    assert (pool["codes"], pool["left"]) == (3, 0)
    assert points_of(client)["available"] == 97
    check_books(client)


def test_a_code_of_a_cancelled_redemption_is_never_given_again(client: Client) -> None:
    import_file(client, b"A1\nB2")
    with_points(client, 100)
    offer(client, code_pool="spring", stock=1)
    first = taken(client)
    client.post(f"/v1/redemptions/{first['redemption_id']}/cancel", json={"reason": "x"})
    assert taken(client)["voucher_code"] == "B2"
    refused = client.get("/v1/vouchers/A1").json or {}
    assert refused["state"] == "cancelled"


def test_fifty_at_once_are_given_fifty_codes(client: Client) -> None:
    import_file(client, "\n".join(f"CODE-{number}" for number in range(40)).encode())
    for number in range(10):
        with_points(client, 100, f"m{number}")
    offer(client, code_pool="spring", points=1)

    def ask(number: int) -> Any:
        return take(
            Client(client.app, client.engine, client.keys), member=f"m{number % 10}", key=f"k{number}"
        )

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(ask, range(50)))
    given = [answer.json["voucher_code"] for answer in answers if answer.status_code == 201]
    assert (len(given), len(set(given))) == (40, 40)
    assert {answer.json["code"] for answer in answers if answer.status_code != 201} == {"codes-used-up"}
    check_books(client)


def test_what_was_taken_is_listed_the_newest_first(client: Client) -> None:
    with_points(client, 100)
    offer(client, points=1)
    ids = [taken(client)["redemption_id"] for _ in range(3)]
    first: Any = client.get("/v1/members/m1/redemptions?limit=2").json
    assert [one["redemption_id"] for one in first["data"]] == ids[:0:-1]
    rest: Any = client.get(f"/v1/members/m1/redemptions?limit=2&cursor={first['next_cursor']}").json
    assert [one["redemption_id"] for one in rest["data"]] == ids[:1]


def test_rows_changed_behind_its_back_are_found_by_law_r1(client: Client) -> None:
    with_points(client, 100)
    offer(client, stock=5)
    redemption = taken(client)
    check_books(client)
    with client.engine.begin() as conn:
        conn.execute(text("UPDATE reward_shelves SET taken = taken + 1 WHERE shelf_no = 2"))
        conn.execute(text("SET LOCAL session_replication_role = replica"))
        conn.execute(text("UPDATE redemptions SET points = 41, state = 'used', ended_at = now()"))
    with client.engine.connect() as conn:
        report = check_laws(
            conn, programme=get_programme(conn), now=datetime.now(UTC), progress=lambda *_: None
        )
    assert {one["law"] for one in report.violations} == {"R1"}
    details = sorted(str(one["detail"]) for one in report.violations)
    assert details == [
        "it is used and cost 41 points; the ledger took 40 and gave 0 back",
        "it is used and stands used 0 times",
        "shelf 2 counts 1 taken, 0 redemptions stand",
    ]
    assert {one["redemption_id"] for one in report.violations} == {None, redemption["redemption_id"]}


def test_what_a_redemption_was_is_held_by_the_database(client: Client) -> None:
    from sqlalchemy.exc import DBAPIError

    with_points(client, 100)
    offer(client)
    taken(client)
    for statement in (
        "UPDATE redemptions SET points = 1",
        "UPDATE redemptions SET voucher_code = 'mine'",
        "DELETE FROM redemptions",
        "TRUNCATE redemptions CASCADE",
        "DELETE FROM voucher_uses",
    ):
        with pytest.raises(DBAPIError, match=r"never|append-only"), client.engine.begin() as conn:
            conn.execute(text(statement))


def test_a_day_of_validity_ends_at_the_programmes_midnight(client: Client) -> None:
    with_points(client, 100)
    offer(client, valid_days=1)
    expires_at = datetime.fromisoformat(taken(client)["expires_at"]).astimezone(
        datetime.now().astimezone().tzinfo
    )
    taipei = expires_at.astimezone(UTC) + timedelta(hours=8)
    assert (taipei.hour, taipei.minute, taipei.second) == (0, 0, 0)


def test_what_does_not_exist_is_told_by_its_own_code(client: Client) -> None:
    enrol(client)
    assert code_of(client.get("/v1/rewards/none")) == (404, "unknown-reward")
    assert code_of(take(client, "none")) == (422, "reward-not-known")
    assert code_of(client.get("/v1/redemptions/red_1")) == (404, "unknown-redemption")
    nobody = f"red_{'0' * 12}7000{'8' + '0' * 15}"
    assert code_of(client.post(f"/v1/redemptions/{nobody}/use")) == (404, "unknown-redemption")
    assert code_of(client.get("/v1/code-pools/none")) == (404, "unknown-code-pool")
    refused: Any = client.put("/v1/rewards/fifty", json=a_reward(code_pool="none"), role="marketing")
    assert code_of(refused) == (422, "code-pool-not-known")


def test_a_reward_for_a_tier_that_does_not_exist_is_refused_and_not_offered(client: Client) -> None:
    body = a_reward(tiers=["gold", "golld"])
    refused: Any = client.put("/v1/rewards/fifty", json=body, role="marketing")
    assert code_of(refused) == (422, "unknown-tier")
    assert [error["pointer"] for error in refused.json["errors"]] == ["/tiers/1"]
    assert client.get("/v1/rewards/fifty").status_code == 404
