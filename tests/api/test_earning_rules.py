"""Earning rules through HTTP: drafted, looked through, compared, published, withdrawn; and what they do."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import event, text
from sqlalchemy.exc import DBAPIError

from service.cli.main import tidemark
from service.kit.clock import local_day
from tests.api.conftest import Client, an_order, enrol

RULES = "/v1/earning-rules"
BY_CATEGORY: dict[str, Any] = {
    "currency": "TWD",
    "base": {"points": 1, "per": "100"},
    "exclude": {"categories": ["gift-cards"], "skus": ["bag"]},
    "rates": [{"categories": ["tea"], "multiplier_bp": 20_000}, {"skus": ["cup"], "points": 5, "per": "50"}],
    "minimum_order": "200",
    "caps": {"per_order": 50, "per_member_day": 60},
}


def post(client: Client, path: str, body: Any, *, role: Any = "marketing", **headers: str) -> Any:
    """Send a POST with a key of its own."""
    return client.post(path, json=body, role=role, headers={"Idempotency-Key": str(uuid.uuid4())} | headers)


def draft(client: Client, definition: Any = None, **fields: Any) -> Any:
    """Make a draft and return it."""
    response = post(
        client, RULES, {"title": "Tea counts twice", "definition": definition or BY_CATEGORY} | fields
    )
    assert response.status_code == 201, response.data
    return response.json


def publish(client: Client, definition: Any = None, **fields: Any) -> Any:
    """Draft and publish rules, and return them."""
    version = draft(client, definition)["version"]
    response = post(client, f"{RULES}/{version}/publish", {"reason": "spring"} | fields)
    assert response.status_code == 200, response.data
    return response.json


def get(client: Client, path: str, **options: Any) -> Any:
    response = client.get(path, **options)
    assert response.status_code == 200, response.data
    return response.json


def code_of(response: Any) -> tuple[int, str]:
    return response.status_code, (response.json or {})["code"]


def in_days(days: int) -> str:
    return (local_day(datetime.now(UTC), timezone="Asia/Taipei") + timedelta(days=days)).isoformat()


def line(sku: str, amount: str, category: str | None = None, quantity: int = 1) -> dict[str, Any]:
    return {"sku": sku, "quantity": quantity, "amount": amount, "category": category}


def place(client: Client, order_id: str, *lines: dict[str, Any], **fields: Any) -> Any:
    """Place an order and return the answer."""
    body = an_order(order_id, lines=list(lines), **fields)
    response = client.post("/v1/orders", json=body)
    assert response.status_code == 201, response.data
    return response.json


def test_the_first_start_s_rules_are_there_and_say_that_settings_decide(client: Client) -> None:
    (only,) = get(client, RULES)["data"]
    assert (only["version"], only["state"], only["published_by"]) == (1, "active", "tidemark")
    whole = get(client, f"{RULES}/1", role="server")
    assert (whole["definition"], whole["findings"]) == ({"currency": "TWD"}, [])
    enrol(client)
    answer = place(client, "o1", line("tea", "3059.99"))
    assert answer["points"]["earned"] == 101


def test_a_draft_lives_until_it_is_published_and_then_never_changes(client: Client) -> None:
    made = draft(client)
    assert (made["version"], made["state"], made["findings"]) == (2, "draft", [])
    changed = client.put(
        f"{RULES}/2", json={"title": "T", "definition": BY_CATEGORY | {"minimum_order": "300"}}, role="admin"
    )
    assert (changed.json or {})["definition"]["minimum_order"] == "300"
    published = post(client, f"{RULES}/2/publish", {"reason": "spring"})
    assert (published.status_code, published.json["state"], published.json["reason"]) == (
        200,
        "active",
        "spring",
    )
    assert get(client, f"{RULES}/1")["state"] == "retired"
    late = client.put(f"{RULES}/2", json={"title": "T", "definition": BY_CATEGORY}, role="admin")
    assert code_of(late) == (409, "earning-rules-not-a-draft")
    assert code_of(client.call("DELETE", f"{RULES}/2", role="admin")) == (409, "earning-rules-not-a-draft")
    with client.engine.connect() as conn, pytest.raises(DBAPIError, match="published and never change"):
        conn.execute(text("UPDATE earning_rules SET definition = '{}' WHERE version = 2"))
    with client.engine.connect() as conn, pytest.raises(DBAPIError, match="published and never change"):
        conn.execute(text("DELETE FROM earning_rules WHERE version = 1"))


def test_rules_for_a_day_to_come_can_be_withdrawn_and_the_day_is_taken_meanwhile(client: Client) -> None:
    first = publish(client, effective_from=in_days(3))
    assert (first["state"], get(client, f"{RULES}/1")["effective_to"]) == (
        "scheduled",
        first["effective_from"],
    )
    enrol(client)
    assert place(client, "o1", line("cup", "3000"))["points"]["earned"] == 100
    second = draft(client)["version"]
    taken = post(client, f"{RULES}/{second}/publish", {"reason": "r", "effective_from": in_days(3)})
    assert code_of(taken) == (409, "schedule-taken")
    past = post(client, f"{RULES}/{second}/publish", {"reason": "r", "effective_from": in_days(-3)})
    assert code_of(past) == (422, "not-a-future-midnight")
    back = post(client, f"{RULES}/2/withdraw", {"reason": "not yet"})
    assert (back.status_code, back.json["state"], back.json["effective_from"]) == (200, "draft", None)
    again = post(client, f"{RULES}/2/withdraw", {"reason": "not yet"})
    assert code_of(again) == (409, "earning-rules-not-scheduled")
    topics = [one["topic"] for one in get(client, "/v1/changes?limit=100")["data"]]
    assert [topic for topic in topics if topic.startswith("earning.")] == [
        "earning.rules.published",
        "earning.rules.withdrawn",
    ]
    actions = [
        one["action"] for one in get(client, "/v1/audit-log?subject=earning-rules:2", role="admin")["data"]
    ]
    assert set(actions) == {"earning_rules.drafted", "earning_rules.published", "earning_rules.withdrawn"}


def test_what_is_exported_comes_back_the_same_and_differences_have_pointers(client: Client) -> None:
    draft(client)
    exported = get(client, f"{RULES}/2/export")
    assert exported == BY_CATEGORY
    again = draft(client, exported)
    assert get(client, f"{RULES}/{again['version']}/diff?against=2")["changes"] == []
    changes = get(client, f"{RULES}/2/diff")["changes"]
    assert {change["pointer"] for change in changes} == {
        "/base", "/exclude", "/rates", "/minimum_order", "/caps",
    }  # fmt: skip
    other = draft(client, BY_CATEGORY | {"caps": {"per_order": 70}})["version"]
    changes = get(client, f"{RULES}/{other}/diff?against=2")["changes"]
    assert [(change["pointer"], change["from"], change["to"]) for change in changes] == [
        ("/caps/per_member_day", 60, None),
        ("/caps/per_order", 50, 70),
    ]
    copied = post(client, RULES, {"title": "C", "copy_of": 2}).json
    assert copied["definition"] == BY_CATEGORY
    assert code_of(post(client, RULES, {"title": "C", "copy_of": 99})) == (422, "invalid")
    for path in ("/99", "/99/diff", "/99/export", "/abc"):
        assert code_of(client.get(f"{RULES}{path}")) == (404, "unknown-earning-rules")


WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"currency": "USD"}, "another-currency", "/currency"),
    ({"base": {"points": 1.5, "per": "100"}}, "not-readable", "/base/points"),
    ({"base": {"points": 1, "per": "0"}}, "not-readable", "/base/per"),
    ({"base": {"points": 1, "per": "0.001"}}, "not-readable", "/base/per"),
    ({"bonus": 1}, "unknown-field", "/bonus"),
    ({"caps": {"per_order": 0}}, "not-readable", "/caps/per_order"),
    ({"counts": {"tax": "yes"}}, "not-readable", "/counts/tax"),
    ({"include": {}}, "not-readable", "/include"),
    ({"rates": [{"skus": ["a"]}]}, "not-readable", "/rates/0"),
    ({"rates": [{"multiplier_bp": 1}]}, "not-readable", "/rates/0"),
    ({"rates": {}}, "not-readable", "/rates"),
    ({"tiers": {"bonus_bp": {"Gold!": 1}}}, "not-readable", "/tiers/bonus_bp/Gold!"),
    ({"events": [{"type": "order", "points": 1}]}, "not-readable", "/events/0/type"),
    ({"events": [{"type": "custom:a", "points": 1}] * 2}, "event-twice", "/events/1/type"),
    ({"exclude": {"skus": ["x"] * 1_001}}, "too-many", "/exclude/skus"),
    ({"minimum_order": "-1"}, "not-readable", "/minimum_order"),
]


@pytest.mark.parametrize(("part", "name", "pointer"), WRONG)
def test_what_cannot_be_read_is_refused_with_its_name_and_place(
    client: Client, part: dict[str, Any], name: str, pointer: str
) -> None:
    for language in ("en", "zh-Hant"):
        body = {"title": "t", "definition": {"currency": "TWD"} | part}
        response = post(client, RULES, body, **{"Accept-Language": language})
        assert code_of(response) == (422, "earning-rules-not-readable")
        errors = [(one["pointer"], one["detail"].split(":")[0]) for one in response.json["errors"]]
        assert (f"/definition{pointer}", name) in errors
    assert len(get(client, RULES)["data"]) == 1


DOUBTFUL: list[tuple[dict[str, Any], str, str]] = [
    ({"base": {"points": 0, "per": "1"}}, "nothing-earns", "error"),
    ({"rates": [{"skus": ["a"], "multiplier_bp": 1}, {"skus": ["a"], "points": 1, "per": "1"}]},
     "rate-never-reached", "error"),
    ({"rates": [{"skus": ["a"], "multiplier_bp": 0}]}, "rate-of-nothing", "warning"),
    ({"counts": {"points_paid": True}}, "points-earn-points", "warning"),
    ({"include": {"skus": ["a"]}, "exclude": {"skus": ["a"]}}, "included-and-excluded", "warning"),
    ({"caps": {"per_order": 9, "per_member_day": 8}}, "order-cap-above-day-cap", "warning"),
    ({"events": [{"type": "custom:a", "points": 1}]}, "event-without-limit", "warning"),
    (
        {"events": [{"type": "custom:a", "points": 1, "from_storefront": True}]},
        "event-without-limit", "error",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("part", "name", "severity"), DOUBTFUL)
def test_what_is_doubtful_is_found_and_errors_stop_publishing(
    client: Client, part: dict[str, Any], name: str, severity: str
) -> None:
    made = draft(client, {"currency": "TWD"} | part)
    (finding,) = made["findings"]
    assert (finding["name"], finding["severity"]) == (name, severity)
    assert set(finding["text"]) == {"en", "zh-Hant"}
    published = post(client, f"{RULES}/2/publish", {"reason": "r"})
    if severity == "error":
        assert code_of(published) == (422, "earning-rules-have-errors")
        assert published.json["errors"][0]["pointer"] == finding["pointers"][0]
    else:
        assert published.status_code == 200


def test_lines_earn_by_category_and_sku_and_what_is_excluded_earns_nothing(client: Client) -> None:
    """Complaint 16: gift cards out; complaint 14: what was given free earns nothing."""
    enrol(client)
    publish(client)
    answer = place(
        client,
        "o1",
        line("oolong", "450", "tea"),
        line("cup", "100", "tea"),
        line("voucher", "1000", "gift-cards"),
        line("bag", "100"),
        line("sample", "0"),
        line("spoon", "150"),
        shipping="80",
        tax="10",
    )
    # 1810 counts (tax does, shipping does not); every line has its share of the 10 of tax.
    exact = (450 * 2 / 100 + 150 * 1 / 100 + 100 * 2 / 100) * 1810 / 1800
    assert answer["points"]["earned"] == int(exact) == 12
    told = " ".join(answer["explanation"])
    assert "(category:gift-cards) is excluded" in told
    assert "(sku:bag) is excluded" in told
    entry = get(client, "/v1/members/m1/points/transactions")["data"][0]["rule"]
    assert entry["rules_version"] == 2
    assert entry["terms"]["cap_per_order"] == 50
    assert {rate["by"] for rate in entry["terms"]["rates"]} == {
        "category:tea", "category:gift-cards", "sku:bag", None,
    }  # fmt: skip


def test_an_order_below_the_minimum_earns_nothing_and_neither_does_one_refunded_below_it(
    client: Client,
) -> None:
    """Complaints 18 and 44: an amount below the first threshold still earned; a minimum nobody enforced."""
    enrol(client)
    publish(client, BY_CATEGORY | {"exclude": None})
    assert place(client, "o1", line("spoon", "199.99"))["points"]["earned"] == 0
    assert place(client, "o2", line("spoon", "200"))["points"]["earned"] == 2
    assert place(client, "o3", line("spoon", "1000"))["points"]["earned"] == 10
    refund = {
        "refund_id": "r1",
        "order_id": "o3",
        "refunded_at": datetime.now(UTC).isoformat(),
        "amount": "801",
    }
    taken = client.post("/v1/refunds", json=refund).json or {}
    assert taken["points"]["reversed"] == 10
    assert taken["points"]["shortfall"] == 0


def test_what_a_limit_cuts_off_is_cut_off_for_good(client: Client) -> None:
    """Ruling 16: the day's limit is used up by what was earned, and a refund gives none of it to others."""
    enrol(client)
    publish(client)
    first = place(client, "o1", line("spoon", "9000"))
    assert first["points"]["earned"] == 50
    second = place(client, "o2", line("spoon", "3000"))
    assert second["points"]["earned"] == 10
    assert "of them were left" in " ".join(second["explanation"])
    refund = {"order_id": "o1", "refunded_at": datetime.now(UTC).isoformat()}
    part = client.post("/v1/refunds", json=refund | {"refund_id": "r1", "amount": "4000"}).json or {}
    # 5,000 are left, which is 50 points: within the limit of an order.
    assert part["points"]["reversed"] == 0
    more = client.post("/v1/refunds", json=refund | {"refund_id": "r2", "amount": "1000"}).json or {}
    assert more["points"]["reversed"] == 10
    assert place(client, "o3", line("spoon", "3000"))["points"]["earned"] == 0
    assert (client.get("/v1/orders/o2").json or {})["points"]["earned"] == 10


def test_a_returned_line_takes_back_what_that_line_earned(client: Client) -> None:
    """Complaint 11: voided line items still earn. Complaint 6: clawed back by today's settings."""
    enrol(client)
    publish(client, {"currency": "TWD", "base": {"points": 1, "per": "100"}, "exclude": {"skus": ["gift"]},
                     "rates": [{"skus": ["cup"], "points": 10, "per": "100"}]})  # fmt: skip
    answer = place(client, "o1", line("cup", "200", quantity=2), line("spoon", "300"), line("gift", "500"))
    assert answer["points"]["earned"] == 23
    publish(client, {"currency": "TWD", "base": {"points": 99, "per": "1"}})
    refund = {"order_id": "o1", "refunded_at": datetime.now(UTC).isoformat()}

    def give_back(refund_id: str, amount: str, *named: dict[str, Any]) -> int:
        body = refund | {"refund_id": refund_id, "amount": amount, "lines": list(named)}
        taken = client.post("/v1/refunds", json=body).json or {}
        return int(taken["points"]["reversed"])

    assert give_back("r1", "500", {"sku": "gift", "quantity": 1}) == 0
    assert give_back("r2", "100", {"sku": "cup", "quantity": 1}) == 10
    assert give_back("r3", "150", {"sku": "spoon", "quantity": 1, "amount": "150"}) == 2
    # What is left: a cup at 100 and a spoon at 150, and a refund that names neither.
    assert give_back("r4", "125") == 6
    called_off = {"cancelled_at": datetime.now(UTC).isoformat(), "reason": "x"}
    cancelled = post(client, "/v1/orders/o1/cancel", called_off, role="server")
    assert cancelled.json["points"]["reversed"] == 5


def test_an_unlinked_return_takes_back_what_its_goods_earned(client: Client) -> None:
    enrol(client)
    publish(client, {"currency": "TWD", "base": {"points": 1, "per": "100"}, "exclude": {"skus": ["gift"]}})
    place(client, "o1", line("cup", "600"), line("gift", "400"))
    body = {"member_id": "m1", "refunded_at": datetime.now(UTC).isoformat()}
    gift = body | {
        "refund_id": "r1",
        "amount": "400",
        "lines": [{"sku": "gift", "quantity": 1, "amount": "400"}],
    }
    assert (client.post("/v1/refunds", json=gift).json or {})["points"]["reversed"] == 0
    cup = body | {
        "refund_id": "r2",
        "amount": "300",
        "lines": [{"sku": "cup", "quantity": 1, "amount": "300"}],
    }
    assert (client.post("/v1/refunds", json=cup).json or {})["points"]["reversed"] == 3


def test_a_foreign_order_earns_on_what_it_is_in_the_programme_s_currency(client: Client) -> None:
    """Complaint 40: currency arbitrage on points."""
    enrol(client)
    publish(client, BY_CATEGORY | {"caps": None})
    answer = place(
        client, "o1", line("spoon", "10.00"), line("cup", "5.00", "tea"), currency="USD", exchange_rate="31.5"
    )
    assert answer["points"]["earned"] == int(315 / 100 + 157.5 * 2 / 100)


def test_points_are_whole_and_never_lose_one_to_rounding(client: Client) -> None:
    """Complaints 20 to 23: residues of floats, a point rounded to nothing, a point too many."""
    enrol(client)
    publish(client, {"currency": "TWD", "base": {"points": 1, "per": "3"}, "minimum_order": "1",
                     "rates": [{"skus": ["a"], "points": 1, "per": "3"}]})  # fmt: skip
    answer = place(
        client, "o1", *[line("a", "0.10") for _ in range(10)], *[line("b", "0.20") for _ in range(10)]
    )
    assert answer["points"]["earned"] == 1
    assert "Together 1 points, rounded down once to 1." in answer["explanation"]
    answer = place(client, "o2", line("a", "2.99"))
    assert answer["points"]["earned"] == 0


def test_points_paid_and_shipping_count_only_where_the_rules_say_so(client: Client) -> None:
    """Complaints 13, 15 and 17: what paid with points earns, shipping, tax, each by rule."""
    enrol(client)
    counted = []
    for number, counts in enumerate(
        ({"tax": False}, {"tax": True, "shipping": True}, {"points_paid": True, "tax": False})
    ):
        publish(client, {"currency": "TWD", "base": {"points": 1, "per": "1"}, "counts": counts})
        give = {"points": 100, "reason": "a gift"}
        post(client, "/v1/members/m1/points/adjustments", give, role="operations")
        hold = post(
            client, "/v1/members/m1/points/holds", {"points": 100, "ttl_seconds": 600}, role="server"
        ).json
        body = {"lines": [line("cup", "1000")], "shipping": "70", "tax": "50", "currency": "TWD",
                "points_hold_id": hold["hold_id"]}  # fmt: skip
        quote = client.post("/v1/points/quotes", json=body | {"member_id": "m1"}).json or {}
        answer = place(client, f"o{number}", *body.pop("lines"), **body)
        counted.append(answer["points"]["earned"])
        assert quote["points"] == counted[-1]
    paid = 1000 - counted[0]
    assert paid > 0
    assert counted == [1000 - paid, 1120 - paid, 1000]


def count_statements(client: Client, order_id: str) -> int:
    """Return how many statements an order takes once everything is known to the process."""
    seen: list[str] = []

    def note(_conn: object, _cursor: object, statement: str, *_: object) -> None:
        seen.append(statement)

    event.listen(client.engine, "before_cursor_execute", note)
    try:
        place(client, order_id, line("cup", "1000", "tea"), line("tea", "1000"))
    finally:
        event.remove(client.engine, "before_cursor_execute", note)
    return len(seen)


def test_rules_cost_an_order_no_statement_more_except_for_a_limit_of_the_day(client: Client) -> None:
    enrol(client)
    place(client, "o0", line("cup", "1000", "tea"), line("tea", "1000"))
    plain = count_statements(client, "o1")
    publish(client, BY_CATEGORY | {"caps": {"per_order": 5}})
    place(client, "o2", line("cup", "1000"))
    assert count_statements(client, "o3") == plain
    publish(client, BY_CATEGORY)
    place(client, "o4", line("cup", "1000"))
    assert count_statements(client, "o5") == plain + 1


def test_the_command_lists_shows_exports_and_looks_through_rules_in_a_file(
    client: Client, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    url = client.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    for name, value in {"DATABASE_URL": url, "TIDEMARK_VAR": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)

    def run(*words: str, status: int = 0) -> list[Any]:
        done = CliRunner().invoke(tidemark, ["earning-rules", *words], catch_exceptions=False)
        assert done.exit_code == status, done.output
        return (
            [json.loads(line) for line in done.output.splitlines()] if words[0] != "export" else [done.output]
        )

    version = publish(client)["version"]
    assert [row["version"] for row in run("list", "--state", "active")] == [version]
    (shown,) = run("show", str(version))
    assert (shown["state"], shown["reason"], shown["findings"]) == ("active", "spring", [])
    (definition,) = run("export", str(version))
    assert json.loads(definition) == BY_CATEGORY
    file = tmp_path / "rules.json"
    file.write_text(definition)
    assert run("validate", str(file))[-1]["errors"] == 0
    file.write_text(json.dumps(BY_CATEGORY | {"currency": "EUR", "base": {"points": 0, "per": "100"}}))
    *rows, sums = run("validate", str(file), "--language", "zh-Hant", status=1)
    assert sums["errors"] == len([row for row in rows if row["severity"] == "error"]) > 0
