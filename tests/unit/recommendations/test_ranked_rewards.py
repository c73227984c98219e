"""Rewards in order: every part of the score to the digit, every reason true, the same order each time."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.recommendations.rewards import rules, wording
from service.recommendations.rewards.rules import (
    NO_TASTES,
    Offering,
    Placed,
    RunningOut,
    Taster,
    Tastes,
    Why,
    affordability_of,
    likeness_of,
    rank_offerings,
    rank_plainly,
    value_of,
    worth_of,
)
from service.rewards.rules import KINDS, REASONS, Kind, Offer, Reason, Taker, Terms, reasons_against
from tests.laws.sound import assert_sound_english

NOW = datetime(2026, 11, 22, 4, tzinfo=UTC)
ZONE = "Asia/Taipei"
TODAY = date(2026, 11, 22)
TEA = ("tea-1", ("tea",))
CUP = ("cup-1", ("cups", "china"))
NOBODY = Taster(available=0, point_value_minor=100, tastes=NO_TASTES, running_out=None)
OWNER = replace(NOBODY, available=100)


def offering(
    code: str = "a",
    *,
    points: int = 100,
    available: int = 0,
    tier: str = "base",
    taken: int = 0,
    terms: Terms | None = None,
    **asked: Any,
) -> Offering:
    given_: dict[str, Any] = dict.fromkeys(("tiers", "starts_at", "ends_at", "per_member_limit", "left"))
    offer = Offer(points=points, **(given_ | asked))
    against = tuple(reasons_against(offer, Taker(tier, available, taken), now=NOW))
    return Offering(code, offer, terms or Terms("custom"), against)


def place(one: Offering, taster: Taster = NOBODY) -> Placed:
    (placed,) = rank_offerings([one], taster, now=NOW, timezone=ZONE)
    return placed


def codes(placed: list[Placed]) -> list[str]:
    return [one.code for one in placed]


def test_what_can_be_had_is_whole_and_what_is_missing_counts_in_proportion() -> None:
    assert affordability_of(100, available=100) == affordability_of(0, available=0) == 1.0
    assert affordability_of(100, available=80) == pytest.approx(0.4)
    assert affordability_of(100, available=0) == affordability_of(100, available=-30) == 0.0


def test_likeness_is_the_share_of_purchases_that_a_reward_is_for() -> None:
    tea, either = Terms("voucher_amount", 100, categories=("tea",)), Terms("product", skus=("tea-1", "cup-1"))
    assert likeness_of(tea, Tastes.of([TEA, TEA, TEA, CUP])) == 0.5 + 0.5 * 3 / 4
    assert likeness_of(either, Tastes.of([TEA, CUP])) == 1.0
    assert likeness_of(tea, Tastes.of([CUP])) == 0.0
    assert likeness_of(Terms("free_shipping"), Tastes.of([TEA])) == likeness_of(tea, NO_TASTES) == 0.5
    twice = Terms("custom", categories=("cups", "china"), skus=("cup-1",))
    assert likeness_of(twice, Tastes.of([TEA, CUP])) == 0.75, "a purchase counts once"


def test_value_is_one_half_where_it_is_worth_what_its_points_are() -> None:
    assert value_of(50, 5_000, point_value_minor=100) == 0.5
    assert value_of(50, 15_000, point_value_minor=100) == 0.75
    assert value_of(0, None, point_value_minor=100) == 1.0
    assert value_of(50, None, point_value_minor=100) == value_of(50, 1, point_value_minor=0) == 0.5
    # The most that it may be is not what it is worth.
    assert worth_of(Terms("voucher_percent", 9_900, 1_000)) is worth_of(Terms("free_shipping", 60)) is None
    assert worth_of(Terms("gift_certificate", 9_900)) == 9_900


@pytest.mark.parametrize(
    ("ends_at", "expiry"),
    [
        (NOW + timedelta(hours=1), 1.0),
        # The day that begins as it ends is not one of its days.
        (datetime(2026, 11, 29, 16, tzinfo=UTC), 1 - 7 / 14),
        (NOW + timedelta(days=14), 0.0),
        (NOW + timedelta(days=90), 0.0),
        (None, 0.0),
    ],
)
def test_an_offer_is_the_more_urgent_the_nearer_its_last_day(ends_at: datetime | None, expiry: float) -> None:
    assert (place(offering(ends_at=ends_at)).parts or {})["expiry"] == pytest.approx(expiry)


@pytest.mark.parametrize(
    ("points", "days", "expiry"),
    [(300, 0, 1.0), (150, 0, 0.5), (900, 15, 0.5), (150, 15, 0.25), (300, 30, 0.0), (0, 0, 0.0)],
)
def test_points_that_run_out_urge_what_takes_most_of_them(points: int, days: int, expiry: float) -> None:
    taster = replace(NOBODY, available=900, running_out=RunningOut(300, TODAY + timedelta(days=days)))
    assert (place(offering(points=points, available=900), taster).parts or {})["expiry"] == expiry
    far = offering(points=901, available=900)
    assert (place(far, taster).parts or {})["expiry"] == 0.0, "they cannot pay for it"


def test_the_score_is_the_sum_of_the_weighted_parts_and_nothing_else() -> None:
    assert sum(rules.WEIGHTS.values()) == pytest.approx(1.0)
    one = offering(
        points=200,
        available=100,
        ends_at=datetime(2026, 11, 29, 16, tzinfo=UTC),
        terms=Terms("voucher_amount", 60_000, categories=("tea",)),
    )
    placed = place(one, replace(NOBODY, available=100, tastes=Tastes.of([TEA, CUP])))
    assert placed.parts == {"affordability": 0.25, "likeness": 0.75, "expiry": 0.5, "value": 0.75}
    assert placed.score == pytest.approx(0.4 * 0.25 + 0.3 * 0.75 + 0.2 * 0.5 + 0.1 * 0.75)


def test_affordability_likeness_expiry_and_value_each_move_a_reward_up_by_itself() -> None:
    taster = replace(NOBODY, available=100, tastes=Tastes.of([TEA]))
    plain = offering("m", available=100)
    tea = Terms("custom", categories=("tea",))
    better = {
        "likeness": offering("z", available=100, terms=tea),
        "expiry": offering("z", available=100, ends_at=NOW + timedelta(days=2)),
        "value": offering("z", available=100, terms=Terms("gift_certificate", 20_000)),
    }
    for part, one in better.items():
        assert codes(rank_offerings([plain, one], taster, now=NOW, timezone=ZONE)) == ["z", "m"], part
    dearer = offering("a", points=101, available=100)
    assert codes(rank_offerings([dearer, plain], taster, now=NOW, timezone=ZONE)) == ["m", "a"]
    cups = offering("a", available=100, terms=Terms("custom", categories=("cups",)))
    assert codes(rank_offerings([cups, plain], taster, now=NOW, timezone=ZONE)) == ["m", "a"]


def test_what_cannot_be_had_for_any_points_stands_last_and_equals_go_by_code() -> None:
    blocked = [
        offering("d", points=0, tiers=("gold",)),
        offering("b", points=0, left=0),
        offering("c", points=0, starts_at=NOW + timedelta(days=1)),
        offering("a", points=0, per_member_limit=1, taken=1),
    ]
    far = offering("z", points=100_000)
    placed = rank_offerings([*blocked, far], NOBODY, now=NOW, timezone=ZONE)
    assert codes(placed) == ["z", "a", "b", "c", "d"]
    assert [one.source for one in placed] == ["saving", "blocked", "blocked", "blocked", "blocked"]
    assert {one.code: one.why.code for one in placed} == {
        "z": "points_to_go",
        "a": "limit_reached",
        "b": "out_of_stock",
        "c": "not_yet",
        "d": "tier",
    }


@pytest.mark.parametrize(
    ("one", "taster", "english", "chinese"),
    [
        (offering(points=140, available=100), OWNER, "40 points to go", "還差 40 點"),
        (offering(points=101, available=100), OWNER, "1 point to go", "還差 1 點"),
        (offering(available=100), OWNER, "You can have it now", "您現在就可以兌換"),
        (offering(points=0), OWNER, "It costs no points", "免點數兌換"),
        (
            offering(available=100, terms=Terms("custom", categories=("tea",))),
            Taster(100, 100, Tastes.of([TEA, CUP]), None),
            "Goes with what you buy",
            "與您購買的商品相配",
        ),
        (
            offering(available=100, terms=Terms("product", skus=("tea-1",))),
            Taster(100, 100, Tastes.of([TEA]), None),
            "You have bought this before",
            "您曾經買過",
        ),
        (
            offering(points=300, available=300),
            Taster(300, 100, NO_TASTES, RunningOut(300, date(2026, 12, 1))),
            "Your 300 points run out on 2026-12-01",
            "您的 300 點將於 2026-12-01 到期",
        ),
        (
            offering(available=100, ends_at=datetime(2026, 11, 30, 16, tzinfo=UTC)),
            OWNER,
            "Offered until 2026-11-30",
            "兌換至 2026-11-30 止",
        ),
        (
            offering(available=100, terms=Terms("gift_certificate", 10_001)),
            OWNER,
            "Worth more than the points it costs",
            "價值高於所需點數",
        ),
    ],
)
def test_a_reason_is_told_from_the_figures_in_both_languages(
    one: Offering, taster: Taster, english: str, chinese: str
) -> None:
    why = place(one, taster).why
    assert (wording.tell(why, locale="en"), wording.tell(why, locale="zh-Hant")) == (english, chinese)
    assert_sound_english(english)


def test_every_reason_is_one_of_a_closed_list_with_a_sentence() -> None:
    for code in wording.CODES:
        why = Why(code, 3, TODAY)
        assert wording.tell(why, locale="en") != wording.tell(why, locale="zh-Hant")
        assert "{" not in wording.tell(why, locale="fr")


def test_the_plain_order_is_by_points_and_code_and_knows_nothing_of_the_member() -> None:
    dear, cheap = offering("a", points=90), offering("b", points=10, available=50)
    tea = offering("c", points=10, available=50, terms=Terms("product", skus=("tea-1",)))
    placed = rank_plainly([dear, tea, cheap], available=50)
    assert codes(placed) == ["b", "c", "a"]
    assert [one.why.code for one in placed] == ["available_now", "available_now", "points_to_go"]
    assert {one.source for one in placed} == {"plain"}
    assert {one.parts for one in placed} == {None}
    assert [one.score for one in placed] == sorted((one.score for one in placed), reverse=True)


@st.composite
def offerings(draw: st.DrawFn, available: int) -> Offering:
    kind: Kind = draw(st.sampled_from(KINDS))
    optional_days = st.none() | st.integers(min_value=-3, max_value=40)
    days = draw(optional_days)
    return offering(
        draw(st.text("abc", min_size=1, max_size=3)),
        points=draw(st.integers(min_value=0, max_value=2_000)),
        available=available,
        terms=Terms(
            kind,
            draw(st.none() | st.integers(min_value=1, max_value=10**6)),
            categories=draw(st.sampled_from([None, ("tea",), ("cups",)])),
            skus=draw(st.sampled_from([None, ("tea-1",), ("nothing",)])),
        ),
        tiers=draw(st.sampled_from([None, ("base",), ("gold",)])),
        left=draw(st.sampled_from([None, 0, 3])),
        ends_at=None if days is None else NOW + timedelta(days=days),
    )


@given(st.data(), st.integers(min_value=-50, max_value=2_000))
def test_any_rewards_come_in_one_order_each_once_and_with_a_true_reason(
    data: st.DataObject, available: int
) -> None:
    given_ = data.draw(st.lists(offerings(available), max_size=8, unique_by=lambda one: one.code))
    out = data.draw(st.none() | st.builds(RunningOut, st.integers(0, 500), st.just(date(2026, 12, 1))))
    taster = Taster(available, 100, Tastes.of(data.draw(st.sampled_from([[], [TEA], [TEA, CUP]]))), out)
    placed = rank_offerings(given_, taster, now=NOW, timezone=ZONE)
    assert placed == rank_offerings(given_[::-1], taster, now=NOW, timezone=ZONE)
    assert sorted(codes(placed)) == sorted(one.code for one in given_)
    by_code = {one.code: one for one in given_}
    for one in placed:
        asked = by_code[one.code]
        assert 0 <= one.score <= 1
        assert all(0 <= part <= 1 for part in (one.parts or {}).values())
        assert one.why.code in {*wording.CODES, *REASONS}
        if one.why.code in {"available_now", "free", "points_run_out"}:
            assert asked.against == ()
        if one.why.code == "points_to_go":
            assert one.why.points == asked.offer.points - available > 0
        against: tuple[Reason, ...] = asked.against
        if one.why.code in REASONS:
            assert one.why.code in against
    blocked = [by_code[one.code].is_blocked for one in placed]
    assert blocked == sorted(blocked)
