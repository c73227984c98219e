"""What lies ahead: who falls when if nothing more is bought, and who is about to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from service.kit.db import dumps, transaction
from service.kit.errors import Malformed
from service.tiers.errors import NoForecast
from service.tiers.movement import forecast
from service.tiers.movement.at_risk import Page, list_at_risk, page_json, page_table
from service.tiers.movement.forecast import (
    Move,
    answer_forecast,
    ask_forecast,
    ask_nightly,
    forecast_json,
    forecast_table,
    list_moves,
    see_forecast,
)
from service.tiers.reports import compute_report
from tests.integration.tiers.shop import Shop, spend_ladder

SPEND = spend_ladder(100, 300, window_days=30, grace_days=10, min_hold_days=5)
TODAY = 40
AHEAD = 60


def compare(metric: str, op: str, value: object) -> dict[str, object]:
    return {"metric": metric, "op": op, "value": value}


def rhythm_ladder() -> dict[str, Any]:
    """Return a ladder on which time alone makes members rise as well as fall."""
    ladder = spend_ladder(1, 1, window_days=30, grace_days=3)
    # An interval shrinks when an old visit leaves the window.
    ladder["tiers"][1]["enter"] = {
        "all": [compare("visit_interval_days", "<=", 6), compare("days_since_last_visit", "<=", 20)]
    }
    ladder["tiers"][2]["enter"] = {
        "all": [compare("visit_interval_days", "<=", 4), compare("days_since_last_visit", "between", [5, 18])]
    }
    return ladder


def fill(shop: Shop) -> None:
    """Make twelve members who bought more or less, sooner or later, the even ones in the north."""
    shop.conn.execute(
        text("INSERT INTO stores (store_id, created_at) VALUES ('north', now()), ('south', now())")
    )
    for number in range(12):
        shop.enrol(f"m{number}")
    shop.conn.execute(
        text(
            "UPDATE members SET store_key = (SELECT min(store_key) FROM stores) WHERE member_id = ANY(:even)"
        ),
        {"even": [f"m{number}" for number in range(0, 12, 2)]},
    )
    orders = [
        (10 + number + order * gap, number, 60 + 45 * number)
        for number in range(12)
        for order, gap in enumerate((0, 9, 6, 4)[: 2 + number % 3])
    ]
    for place, (day, number, amount) in enumerate(sorted(orders)):
        if day < TODAY:
            shop.order(f"o{place}", day, amount, member_id=f"m{number}")
    shop.review(TODAY)


def ahead(shop: Shop, days: int = AHEAD) -> list[Move]:
    return list_moves(shop.conn, as_of=shop.on(TODAY), days=days, programme=shop.programme)


def lived(shop: Shop, days: int = AHEAD) -> Counter[tuple[str, str, str, str]]:
    """Review every day to come, buying nothing; return what moved."""
    for day in range(TODAY + 1, TODAY + days + 1):
        shop.review(day)
    rows = shop.conn.execute(
        text(
            "SELECT effective_at, from_tier, to_tier, cause FROM tier_changes "
            "WHERE superseded_at IS NULL AND effective_at >= :after"
        ),
        {"after": shop.at(TODAY + 1).replace(hour=0)},
    )
    return Counter(
        (row.effective_at.date().isoformat(), row.from_tier, row.to_tier, row.cause) for row in rows
    )


def count(moves: list[Move]) -> Counter[tuple[str, str, str, str]]:
    found = Counter[tuple[str, str, str, str]]()
    for move in moves:
        found[move.on, move.from_tier, move.to_tier, move.cause] += move.members
    return found


@pytest.mark.parametrize("ladder", [SPEND, rhythm_ladder()], ids=["spend", "rhythm"])
def test_the_forecast_is_what_living_through_it_brings(conn: Connection, ladder: Mapping[str, Any]) -> None:
    shop = Shop(conn, ladder)
    fill(shop)
    before = conn.execute(text("SELECT *, xmin FROM tier_states ORDER BY member_key")).all()
    moves = ahead(shop)
    assert conn.execute(text("SELECT *, xmin FROM tier_states ORDER BY member_key")).all() == before
    assert {move.direction for move in moves} >= {"down"}
    assert ("up" in {move.direction for move in moves}) == (ladder is not SPEND)
    assert count(moves) == lived(shop)
    assert shop.violations() == []


def test_the_first_days_of_a_long_forecast_are_the_short_forecast(conn: Connection) -> None:
    shop = Shop(conn, SPEND)
    fill(shop)
    last = shop.on(TODAY + 9).isoformat()
    assert ahead(shop, 9) == [move for move in ahead(shop) if move.on <= last]


def test_what_was_due_already_is_the_reviews_and_not_the_forecasts(conn: Connection) -> None:
    shop = Shop(conn, SPEND)
    fill(shop)
    late = list_moves(conn, as_of=shop.on(TODAY + 20), days=AHEAD - 20, programme=shop.programme)
    middle = shop.on(TODAY + 20).isoformat()
    assert late == [move for move in ahead(shop) if move.on > middle]


def test_a_rule_set_that_is_scheduled_moves_whoever_it_will_move(conn: Connection) -> None:
    shop = Shop(conn, SPEND)
    fill(shop)
    without = count(ahead(shop))
    conn.execute(
        text(
            "INSERT INTO tier_rulesets (version, state, definition, effective_from, created_at, "
            "published_at, published_by, reason) "
            "VALUES (2, 'scheduled', CAST(:definition AS jsonb), :at, :at, :at, 'x', 'x')"
        ),
        {
            "definition": dumps(spend_ladder(50, 900, window_days=60, grace_days=2)),
            "at": shop.at(TODAY + 7).replace(hour=0),
        },
    )
    found = count(ahead(shop))
    assert found != without
    assert any(cause == "rule_change" for *_, cause in found)
    assert found == lived(shop)


def test_a_small_membership_is_forecast_at_once_and_a_key_sees_its_stores(conn: Connection) -> None:
    shop = Shop(conn, SPEND)
    fill(shop)
    options: dict[str, Any] = {"days": AHEAD, "now": shop.now, "programme": shop.programme}
    everybody = see_forecast(conn, store_ids=None, **options)
    assert list(everybody.moves) == ahead(shop)
    assert (everybody.as_of, everybody.until) == (shop.on(TODAY), shop.on(TODAY + AHEAD))
    north = see_forecast(conn, store_ids=("north",), **options)
    assert {move.store_id for move in everybody.moves} == {"north", None}
    assert north.moves == tuple(move for move in everybody.moves if move.store_id == "north")
    told = forecast_json(everybody)
    assert told["falls"] == sum(move.members for move in everybody.moves)
    assert [row[-1] for row in forecast_table(everybody).rows] == [move["members"] for move in told["moves"]]
    assert sum(move["members"] for move in told["moves"]) == told["falls"] + told["rises"]


def test_every_night_a_large_membership_is_forecast_and_a_small_one_is_not(
    conn: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop(conn, SPEND)
    fill(shop)
    assert ask_nightly(conn, now=shop.now, programme=shop.programme) is None
    monkeypatch.setattr(forecast, "FOLDED_AT_ONCE", 3)
    asked = ask_nightly(conn, now=shop.now, programme=shop.programme)
    assert asked is not None
    assert (asked.state, dict(asked.parameters)) == ("queued", {"days": forecast.NIGHTLY_DAYS})
    assert ask_nightly(conn, now=shop.now, programme=shop.programme) == asked


def test_a_large_membership_is_told_the_last_forecast_that_was_kept(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forecast, "FOLDED_AT_ONCE", 3)
    monkeypatch.setattr(forecast, "_CHUNK", 5)
    with transaction(engine) as conn:
        shop = Shop(conn, SPEND)
        fill(shop)
        options: dict[str, Any] = {"store_ids": None, "programme": shop.programme}
        with pytest.raises(NoForecast, match="POST"):
            see_forecast(conn, days=AHEAD, now=shop.now, **options)
        asked = ask_forecast(conn, days=AHEAD, now=shop.now, programme=shop.programme)
        assert asked.state == "queued"
        assert ask_forecast(conn, days=AHEAD, now=shop.now, programme=shop.programme) == asked
        expected = ahead(shop)
    compute_report(
        engine,
        report_id=asked.report_id,
        answers={forecast.KIND: answer_forecast},
        programme=shop.programme,
        now=shop.now,
    )
    with engine.connect() as conn:
        tomorrow = shop.now + timedelta(days=1)
        kept = see_forecast(conn, days=AHEAD, now=tomorrow, **options)
        assert (kept.as_of, kept.computed_at) == (shop.on(TODAY), shop.now)
        assert list(kept.moves) == expected
        short = see_forecast(conn, days=10, now=tomorrow, **options)
        assert list(short.moves) == [move for move in expected if move.on <= short.until.isoformat()]
        with pytest.raises(NoForecast):
            see_forecast(conn, days=AHEAD + 1, now=tomorrow, **options)


def list_all(shop: Shop, *, limit: int = 500, **asked: Any) -> list[Page]:
    """Return every page of the list."""
    options = {"tier": None, "within_days": None, "store_ids": None} | asked
    pages: list[Page] = []
    while not pages or pages[-1].next_cursor is not None:
        pages.append(
            list_at_risk(
                shop.conn,
                limit=limit,
                cursor=pages[-1].next_cursor if pages else None,
                now=shop.now,
                programme=shop.programme,
                **options,
            )
        )
    return pages


def ids(pages: list[Page]) -> list[str]:
    return [member_id for page in pages for member_id, _ in page.members]


@pytest.fixture
def slipping(conn: Connection) -> Shop:
    """The same shop on a day on which some are at risk and some are not."""
    shop = Shop(conn, SPEND)
    fill(shop)
    shop.review(TODAY + 12)
    return shop


def test_those_at_risk_are_whom_their_own_standing_says(slipping: Shop) -> None:
    standings = {
        member_id: slipping.standing(member_key=slipping.keys[member_id]) for member_id in slipping.keys
    }
    expected = {member_id: told for member_id, told in standings.items() if told["at_risk"]}
    assert 0 < len(expected) < 12
    listed = {row["member_id"]: row for page in list_all(slipping) for row in page_json(page)["data"]}
    assert listed.keys() == expected.keys()
    for member_id, row in listed.items():
        told = expected[member_id]
        shared = ("tier", "since", "at_risk_since", "falls_on", "to_stay")
        assert [row[name] for name in shared] == [told[name] for name in shared]
        assert not all(need["met"] for need in row["to_stay"])


def test_those_at_risk_come_in_pages_longest_first(slipping: Shop) -> None:
    whole = ids(list_all(slipping))
    assert ids(list_all(slipping, limit=1)) == whole
    assert len(set(whole)) == len(whole)
    lost = [slipping.state(member_id).unqualified_since for member_id in whole]
    assert lost == sorted(lost)
    with pytest.raises(Malformed):
        list_at_risk(
            slipping.conn,
            tier=None,
            within_days=None,
            limit=5,
            cursor="WyJ4IiwxXQ",
            store_ids=None,
            now=slipping.now,
            programme=slipping.programme,
        )


def test_those_at_risk_are_picked_by_tier_by_nearness_and_by_store(slipping: Shop) -> None:
    pages = list_all(slipping)
    known = {member_id: standing for page in pages for member_id, standing in page.members}
    tiers = {standing.tier.code for standing in known.values()}
    assert sum(len(ids(list_all(slipping, tier=tier))) for tier in tiers) == len(known)
    for days in range(11):
        last = slipping.on(TODAY + 12 + days)
        near = [key for key, standing in known.items() if standing.falls_on and standing.falls_on <= last]
        assert ids(list_all(slipping, within_days=days)) == near
    north = [member_id for member_id in known if int(member_id[1:]) % 2 == 0]
    assert ids(list_all(slipping, store_ids=("north",))) == north
    assert ids(list_all(slipping, store_ids=())) == []


def test_those_at_risk_as_a_table_say_what_they_lack(slipping: Shop) -> None:
    page = list_all(slipping)[0]
    rows = list(page_table(page).rows)
    assert [row[0] for row in rows] == ids([page])
    assert all(str(row[5]).startswith("net_spend ") and "needs >= " in str(row[5]) for row in rows)
