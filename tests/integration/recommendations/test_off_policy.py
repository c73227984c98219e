"""Another ranker judged on the shop's own explored answers: what counts, and what cannot leak."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import Connection, text

from service.cli.main import tidemark
from service.experiments.rules import bucket_of
from service.recommendations import operations
from service.recommendations.errors import UnknownEvaluation, UnknownModel
from service.recommendations.off_policy import operations as off_policy
from service.recommendations.off_policy import store
from service.recommendations.off_policy.operations import Question
from service.recommendations.operations import Asked
from tests.integration.recommendations.conftest import PROGRAMME, Running
from tests.integration.recommendations.shop import NOON, Shop, days_before
from tests.integration.recommendations.test_placements import put

ZONE = PROGRAMME.timezone
SHOWN_AT = days_before(38)
WINDOW = 5


ANSWERED = text(
    "SELECT member_id, member_key, sku, "
    "'rec_' || replace(CAST(exposure_id AS text), '-', '') AS recommendation_id, "
    "issued_at AS at, CAST(decision #>> '{exploration,candidates,0,0}' AS bigint) = item_key AS is_best "
    "FROM exposures x JOIN members USING (member_key) "
    "JOIN items ON item_key = x.item_keys[CAST(decision #>> '{exploration,position}' AS integer)] "
    "WHERE placement = :placement"
)
MORE_MEMBERS = (
    "INSERT INTO members (member_id, joined_at, created_at, updated_at) "
    "SELECT 'member-' || n, :at, :at, :at FROM generate_series(100, 549) AS n",
    "INSERT INTO order_keys (order_id, member_key, placed_at, content_hash) "
    "SELECT 'log-' || member_id, member_key, :at, '' FROM members WHERE joined_at = :at",
    "INSERT INTO orders (order_key, placed_at, received_at, member_key, day, currency, order_goods_minor, "
    "goods_minor, spend_minor) "
    "SELECT order_key, :at, :at, member_key, CAST(:at AS date), 'TWD', 200, 200, 200 "
    "FROM order_keys WHERE order_id LIKE 'log-%'",
    "INSERT INTO order_lines (order_key, placed_at, line_no, item_key, quantity, order_amount_minor, "
    "amount_minor) SELECT order_key, :at, line_no, item_key, 1, 100, 100 FROM order_keys "
    "CROSS JOIN (VALUES (1, 1), (2, 7)) AS lines (line_no, step) "
    "JOIN items ON sku = 'sku-' || lpad(CAST(order_key * step % 30 AS text), 2, '0') "
    "WHERE order_id LIKE 'log-%'",
)


@dataclass(frozen=True)
class Answered:
    """An explored answer: to whom, and what stood at the explored place."""

    member_id: str
    member_key: int
    recommendation_id: str
    sku: str
    is_best: bool
    at: datetime


def show(
    standing: Running, wanted: dict[str, datetime], *, placement: str, limit: int = 4
) -> dict[str, Answered]:
    """Answer members at given moments, and return by member what the explored place held."""
    with standing.engine.begin() as conn:
        for member_id, at in wanted.items():
            asked = Asked(member_id, placement=placement, channel="web", limit=limit)
            operations.recommend(conn, serving=standing.serving, asked=asked, now=at)
        return {
            row.member_id: Answered(**row._mapping)
            for row in conn.execute(ANSWERED, {"placement": placement})
        }


def treated(count: int, *, first: int = 0) -> Iterator[str]:
    found = 0
    for number in range(first, 10_000):
        member_id = f"member-{number:03}"
        if bucket_of("global-holdout-2026h2", "s1", member_id) >= 1_000:
            yield member_id
            found += 1
        if found == count:
            return


def ask(standing: Running, **values: Any) -> Question:
    plain: dict[str, Any] = {"placement": "log", "since": date(2026, 10, 1), "until": NOON.date()}
    return Question(version=standing.model.version, window_days=WINDOW, **plain | values)


def evaluate(standing: Running, question: Question, *, now: datetime = NOON) -> dict[str, Any]:
    with standing.engine.begin() as conn:
        return off_policy.evaluate_model(
            conn, models_folder=standing.models_folder, timezone=ZONE, question=question, now=now
        )


def read_rewards(conn: Connection, placement: str, metric: str) -> dict[int, tuple[bool, str | None]]:
    rows = store.read_log(
        conn,
        placement=placement,
        since=days_before(60),
        until=NOON,
        metric=metric,
        window=timedelta(days=WINDOW),
        grace=timedelta(days=30),
        watermark=NOON,
    )
    return {row.owner_key: (row.rewarded, row.left_out) for part in rows for row in part}


def click(
    conn: Connection, shown: Answered, *, days: float, member_key: int | None, position: int = 4
) -> None:
    at = shown.at + timedelta(days=days)
    conn.execute(
        text(
            "INSERT INTO events (event_key, occurred_at, received_at, type, member_key, recommendation_id, "
            "impression_id) "
            "VALUES ((SELECT count(*) FROM events), :at, :at, 'clicked', :key, :id, :impression)"
        ),
        {
            "at": at,
            "key": member_key,
            "id": shown.recommendation_id,
            "impression": f"{shown.recommendation_id}#{position}",
        },
    )


def test_what_counts_as_bought_and_what_is_left_out(standing: Running) -> None:
    put(standing.engine, placement="fates", exploration={"candidates": 3, "share_bp": 9_000})
    fates = (
        "bought",
        "bought at the end",
        "in the basket before",
        "given back in time",
        "given back too late",
        "all given back but this",
        "cancelled",
        "another item",
        "before the answer",
        "objected",
        "immature",
        "learned from",
    )
    moments = {"immature": days_before(20), "learned from": days_before(45)}
    members = dict(zip(treated(len(fates)), fates, strict=True))
    wanted = {member_id: moments.get(fate, SHOWN_AT) for member_id, fate in members.items()}
    found_there = show(standing, wanted, placement="fates")
    shown = {fate: found_there[member_id] for member_id, fate in members.items()}
    with standing.engine.begin() as conn:
        shop = Shop(conn)
        shop._numbers = 1_000

        def buy(fate: str, *, days: float, sku: str | None = None, **values: Any) -> int:
            one = shown[fate]
            return shop.order(one.member_key, {sku or one.sku: 2}, at=one.at + timedelta(days=days), **values)

        for fate in ("bought", "objected", "immature", "learned from"):
            buy(fate, days=1)
        buy("bought at the end", days=WINDOW)
        buy("before the answer", days=-1)
        buy("in the basket before", days=1, checkout_started_at=SHOWN_AT - timedelta(minutes=1))
        buy("another item", days=1, sku="sku-00" if shown["another item"].sku != "sku-00" else "sku-01")
        frozen_at = SHOWN_AT + timedelta(days=WINDOW + 30)
        for fate, at in (
            ("given back in time", frozen_at - timedelta(seconds=1)),
            ("given back too late", frozen_at),
        ):
            one, key = shown[fate], buy(fate, days=1)
            shop.refund(one.member_key, {one.sku: 2}, at=at, order_key=key)
        one = shown["all given back but this"]
        mixed = shop.order(one.member_key, {one.sku: 2, "sku-29": 1}, at=one.at + timedelta(days=2))
        shop.refund(one.member_key, {one.sku: 1}, at=frozen_at - timedelta(days=1), order_key=mixed)
        shop.cancel(buy("cancelled", days=1), at=SHOWN_AT + timedelta(days=3), amount_minor=200)
        conn.execute(
            text("UPDATE members SET consent_profiling = '{\"granted\": false}' WHERE member_key = :key"),
            {"key": shown["objected"].member_key},
        )
    with standing.engine.begin() as conn:
        found = read_rewards(conn, "fates", "repurchase")
        rewarded = {fate for fate, one in shown.items() if found[one.member_key][0]}
        reasons = {fate: found[one.member_key][1] for fate, one in shown.items() if found[one.member_key][1]}
    assert rewarded == {"bought", "given back too late", "all given back but this", "learned from"}
    assert reasons == {"objected": "objected", "immature": "immature"}
    told = evaluate(standing, ask(standing, placement="fates"))
    assert told["left_out"] == {"objected": 1, "immature": 1, "seen_in_training": 1, "unknown_to_model": 0}
    assert (told["logged"], told["rows"], told["members"]) == (12, 9, 9)
    assert told["refused"] in {"too_few_effective_rows", "no_overlap", "one_row_decides"}
    assert [told[name] for name in ("logged_mean", "ips", "snips", "doubly_robust")] == [None] * 4


def test_a_click_is_one_on_just_this_impression_by_just_this_member(standing: Running) -> None:
    put(standing.engine, placement="clicks", exploration={"candidates": 3, "share_bp": 9_000})
    names = ("clicked", "late", "another place", "somebody else", "nobody known")
    members = dict(zip(treated(len(names)), names, strict=True))
    found_there = show(standing, dict.fromkeys(members, SHOWN_AT), placement="clicks")
    shown = {name: found_there[member_id] for member_id, name in members.items()}
    with standing.engine.begin() as conn:
        for name, one in shown.items():
            click(
                conn,
                one,
                days=WINDOW if name == "late" else 1,
                member_key={"somebody else": 1 + one.member_key, "nobody known": None}.get(
                    name, one.member_key
                ),
                position=1 if name == "another place" else 4,
            )
    with standing.engine.begin() as conn:
        found = read_rewards(conn, "clicks", "click")
    assert {name for name, one in shown.items() if found[one.member_key][0]} == {"clicked"}


@pytest.fixture(scope="module")
def logged(standing: Running) -> list[Answered]:
    """Four hundred and fifty more members with a purchase or two, and an explored answer for the treated."""
    with standing.engine.begin() as conn:
        for statement in MORE_MEMBERS:
            conn.execute(text(statement), {"at": days_before(43)})
    put(standing.engine, placement="log", exploration={"candidates": 2, "share_bp": 5_000})
    members = [one for one in treated(450, first=100) if int(one.removeprefix("member-")) < 550]
    found = list(show(standing, dict.fromkeys(members, SHOWN_AT), placement="log", limit=1).values())
    with standing.engine.begin() as conn:
        # The best is clicked on by every other member, what a lot put there by nobody.
        for one in found:
            if one.is_best and one.member_key % 2:
                click(conn, one, days=1, member_key=one.member_key, position=1)
    return found


def test_the_model_in_force_is_judged_by_the_answers_that_showed_its_choice(
    standing: Running, logged: list[Answered]
) -> None:
    told = evaluate(standing, ask(standing, metric="click"))
    assert (told["status"], told["rows"], told["members"]) == ("estimated", len(logged), len(logged))
    assert told["agreeing"] == sum(one.is_best for one in logged)
    odd = sum(one.member_key % 2 for one in logged) / len(logged)
    for name in ("ips", "snips", "doubly_robust"):
        assert told[name]["low"] < odd < told[name]["high"]
    # What was logged on the way is too low: it counts the lots.
    assert told["logged_mean"] < told["doubly_robust"]["low"]
    popular = evaluate(standing, ask(standing, metric="click", policy="popularity"))
    assert popular["agreeing"] < told["agreeing"]


def test_nothing_that_came_later_changes_what_a_model_would_have_shown(
    standing: Running, logged: list[Answered]
) -> None:
    before = evaluate(standing, ask(standing, metric="click"))
    with standing.engine.begin() as conn:
        shop = Shop(conn)
        shop._numbers = 9_000
        for one in logged[::4]:
            # The other candidate, often: known in time it would come first from then on.
            shop.order(one.member_key, {"sku-05": 9, one.sku: 9}, at=SHOWN_AT + timedelta(days=20))
            late = shop.order(one.member_key, {"sku-05": 9, one.sku: 9}, at=SHOWN_AT - timedelta(days=2))
            conn.execute(
                text("UPDATE orders SET received_at = :at WHERE order_key = :key"),
                {"at": SHOWN_AT + timedelta(hours=1), "key": late},
            )
    assert evaluate(standing, ask(standing, metric="click")) == before
    with standing.engine.begin() as conn:
        conn.execute(
            text("UPDATE orders SET received_at = placed_at WHERE placed_at = :at"),
            {"at": SHOWN_AT - timedelta(days=2)},
        )
    assert evaluate(standing, ask(standing, metric="click"))["agreeing"] > before["agreeing"]


def test_a_job_answers_once_and_says_why_it_cannot(standing: Running) -> None:
    question = ask(standing, placement="never explored", metric="click")
    with standing.engine.begin() as conn:
        asked = off_policy.request_evaluation(conn, question=question, requested_by="test", now=NOON)
        lost = off_policy.request_evaluation(conn, question=question, requested_by="test", now=NOON)
        with pytest.raises(UnknownModel):
            off_policy.request_evaluation(
                conn, question=replace(question, version="none"), requested_by="test", now=NOON
            )
        with pytest.raises(UnknownEvaluation):
            off_policy.get_evaluation(conn, version="other", evaluation_id=asked["evaluation_id"])
    assert (asked["state"], asked["result"], asked["computed_at"]) == ("queued", None, None)

    def run(evaluation_id: str, folder: Any, now: datetime) -> dict[str, Any]:
        off_policy.run_evaluation(
            standing.engine, evaluation_id=evaluation_id, models_folder=folder, timezone=ZONE, now=now
        )
        with standing.engine.connect() as conn:
            return off_policy.get_evaluation(
                conn, version=standing.model.version, evaluation_id=evaluation_id, locale="zh-Hant"
            )

    told = run(asked["evaluation_id"], standing.models_folder, NOON)
    assert (told["state"], told["result"]["refused"]) == ("done", "nothing_logged")
    assert told["result"]["sentence"].startswith("沒有可供評估的探索曝光")
    assert "並非增量" in told["result"]["label"]
    # A second run finds nothing to do.
    assert run(asked["evaluation_id"], standing.models_folder, datetime(2027, 1, 1, tzinfo=UTC)) == told
    failed = run(lost["evaluation_id"], standing.models_folder / "nowhere", NOON)
    assert (failed["state"], failed["result"]) == ("failed", None)
    assert "cannot be asked" in failed["failure"]


def test_the_command_tells_a_refusal_with_its_figures_and_no_estimate(
    standing: Running, tmp_path: Path
) -> None:
    (tmp_path / "models").symlink_to(standing.models_folder)
    environment = {
        "DATABASE_URL": standing.engine.url.render_as_string(hide_password=False),
        "TIDEMARK_VAR": str(tmp_path),
        "TIDEMARK_SECRET_KEY": "a test's own",
    }
    asked = ["models", "off-policy", standing.model.version, "--placement", "never explored"]
    result = CliRunner().invoke(tidemark, [*asked, "--since", "2026-10-01"], env=environment)
    assert result.exit_code == 0, result.output
    told = json.loads(next(line for line in result.output.splitlines() if line.startswith("{")))
    assert (told["status"], told["refused"], told["metric"]) == ("refused", "nothing_logged", "repurchase")
    assert (told["window_days"], told["rows"], told["doubly_robust"]) == (60, 0, None)
    assert told["sentence"]["en"] in result.output
    unknown = CliRunner().invoke(
        tidemark, ["models", "off-policy", "none", *asked[3:], "--since", "2026-10-01"], env=environment
    )
    assert unknown.exit_code != 0
