"""Statistics between trainings: moved along by what changed, the same as from the beginning."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recommender.blending import WINDOWS
from recommender.errors import StatisticsBroken
from recommender.interactions import Interactions
from recommender.models.personal_frequency import repeat_probability, usual_gap_days
from recommender.models.popularity import window_counts
from recommender.refreshing import Refreshed
from recommender.serving import Purchase
from recommender.statistics import NOTHING, Figures, Statistics, Takings, trend
from tests.unit.recommender import shop

Row = tuple[int, int, int]
rows = st.sets(st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(100, 190)), max_size=25)


def takings(found: set[Row]) -> Takings:
    user, item, day = zip(*found, strict=True) if found else ((), (), ())
    return Takings.of(user, item, day)


def of_pairs(found: set[Row], pairs: set[tuple[int, int]]) -> Takings:
    return takings({row for row in found if row[:2] in pairs})


def assert_same(one: Statistics | Figures, other: Statistics | Figures) -> None:
    for field in fields(one):
        mine, theirs = np.asarray(getattr(one, field.name)), np.asarray(getattr(other, field.name))
        assert mine.dtype == theirs.dtype, field.name
        np.testing.assert_array_equal(mine, theirs, err_msg=field.name)


@given(
    histories=st.lists(rows, min_size=1, max_size=5),
    segments=st.dictionaries(st.integers(1, 4), st.just("g")),
)
def test_step_after_step_gives_the_figures_computed_from_the_beginning(
    histories: list[set[Row]], segments: dict[int, str]
) -> None:
    known: set[Row] = set()
    moved = Statistics.of(NOTHING, through_day=150)
    for step, history in enumerate(histories):
        pairs = {row[:2] for row in known ^ history}
        moved = Statistics.from_bytes(moved.to_bytes()).moved(
            before=of_pairs(known, pairs), after=of_pairs(history, pairs), through_day=150 + 9 * step
        )
        known = history
        whole = Statistics.of(takings(known), through_day=150 + 9 * step)
        assert_same(moved, whole)
        assert_same(moved.figures(segments), whole.figures(segments))


@given(rows.filter(bool))
def test_the_figures_are_those_of_training(found: set[Row]) -> None:
    user, item, day = zip(*sorted(found), strict=True)
    past = Interactions.from_columns(user_id=user, item_id=[f"{one:03}" for one in item], day=day)
    figures = Statistics.of(takings(found), through_day=past.last_day).figures()
    for row, days in zip(figures.counts, WINDOWS, strict=True):
        np.testing.assert_array_equal(row, window_counts(past, days))
    probability, average = repeat_probability(past, prior_buyers=20)
    assert figures.repeaters.sum() / figures.buyers.sum() == pytest.approx(average)
    np.testing.assert_allclose((figures.repeaters + 20 * average) / (figures.buyers + 20), probability)
    if figures.overall_doubled:
        gaps = (figures.gaps * figures.gaps_doubled / 2 + 4 * figures.overall_doubled / 2) / (
            figures.gaps + 4
        )
        np.testing.assert_allclose(gaps, usual_gap_days(past, prior_intervals=4))


def test_what_was_never_counted_cannot_be_taken_away() -> None:
    with pytest.raises(StatisticsBroken):
        Statistics.of(NOTHING, through_day=1).moved(
            before=Takings.of([1], [1], [1]), after=NOTHING, through_day=1
        )


@pytest.mark.parametrize("raw", [b"", b"PK\x03\x04 half", Statistics.of(NOTHING, through_day=1).to_bytes()])
def test_other_bytes_are_refused(raw: bytes) -> None:
    with pytest.raises(StatisticsBroken):
        Figures.from_bytes(raw)


def test_figures_survive_being_packed() -> None:
    found = {(user, user % 3, 180 + user % 20) for user in range(60)}
    figures = Statistics.of(takings(found), through_day=199).figures(dict.fromkeys(range(60), "gold"))
    assert figures.segment_names == ("gold",)
    assert_same(Figures.from_bytes(figures.to_bytes()), figures)


def _sold(item: int, per_day: dict[int, int]) -> set[Row]:
    return {(1_000 * item + 100 * day + n, item, day) for day, count in per_day.items() for n in range(count)}


def test_a_constant_best_seller_is_not_trending_and_what_took_off_is() -> None:
    sold = _sold(1, dict.fromkeys(range(37, 101), 20)) | _sold(2, dict.fromkeys(range(94, 101), 3))
    sold |= _sold(3, {40: 1, 70: 2, 98: 2}) | {(5, 4, day) for day in range(94, 101)}
    found = trend(takings(sold), np.arange(1, 5), through_day=100)
    assert np.flatnonzero(found).tolist() == [1]


def test_a_busy_week_of_the_whole_shop_makes_nothing_trend() -> None:
    usual = {item: {day: 5 if day < 94 else 20 for day in range(37, 101)} for item in (1, 2, 3)}
    sold = set().union(*(_sold(item, days) for item, days in usual.items()))
    assert not trend(takings(sold), np.arange(1, 4), through_day=100).any()


def test_a_shop_of_one_week_has_no_trends() -> None:
    sold = _sold(1, dict.fromkeys(range(95, 101), 20))
    assert not trend(takings(sold), np.array([1]), through_day=100).any()


def test_three_people_define_no_segment() -> None:
    bought = {(user, 1 + user % 2, 100) for user in range(40)}
    whole = Statistics.of(takings(bought), through_day=100)
    assert whole.figures(dict.fromkeys(range(3), "gold")).segment_names == ()
    segment_of = {user: "gold" if user < 25 else "base" for user in range(40)}
    figures = whole.figures(segment_of)
    assert figures.segment_names == ("gold",)
    assert figures.segments.tolist() == [[13, 12]]


def test_a_refreshed_model_is_the_one_that_a_training_would_have_made() -> None:
    past = shop.interactions()
    model = shop.trained().serve()
    whole = Statistics.of(
        Takings.of(past.user_index, past.item_index + 1, past.day), through_day=past.last_day
    )
    ids = np.arange(1, len(model.items) + 1)
    fresh = Refreshed.of(model, Figures.from_bytes(whole.figures().to_bytes()), ids).model
    np.testing.assert_array_equal(fresh.blend.facts.counts, model.blend.facts.counts)
    np.testing.assert_array_equal(fresh.popularity.scores, model.popularity.scores)
    facts = fresh.blend.facts
    np.testing.assert_allclose(facts.repeat_probability, model.blend.facts.repeat_probability, rtol=1e-6)
    np.testing.assert_allclose(fresh.personal_frequency.gate, model.personal_frequency.gate, rtol=1e-6)
    np.testing.assert_allclose(
        fresh.personal_frequency.gap_days, model.personal_frequency.gap_days, rtol=1e-6
    )
    history = [Purchase("sku-021", past.last_day - 30), Purchase("sku-022", past.last_day - 9)]
    mine, theirs = (one.recommend(history, today=past.last_day + 1, limit=20) for one in (fresh, model))
    assert [one.item_id for one in mine.items] == [one.item_id for one in theirs.items]


def test_figures_of_before_without_a_fortnight_leave_that_of_the_training() -> None:
    model = shop.trained().serve()
    whole = Statistics.of(Takings.of([1], [7], [shop.FIRST_DAY]), through_day=shop.FIRST_DAY)
    older = replace(whole.figures(), fortnight=None)
    assert_same(older, Figures.from_bytes(older.to_bytes()))
    ids = np.zeros(len(model.items), np.int64)
    fresh = Refreshed.of(model, Figures.from_bytes(older.to_bytes()), ids).model
    assert fresh.blend.facts.fortnight is model.blend.facts.fortnight
    assert fresh.blend.facts.counts.sum() == 0


def test_a_shop_that_took_everything_back_is_still_ranked() -> None:
    model = shop.trained().serve()
    figures = Statistics.of(NOTHING, through_day=shop.FIRST_DAY + 300).figures()
    ids = np.arange(len(model.items))
    refreshed = Refreshed.of(model, Figures.from_bytes(figures.to_bytes()), ids)
    answer = refreshed.model.recommend([], today=shop.FIRST_DAY + 300, limit=3)
    assert [one.reason_code for one in answer.items] == ["also_available"] * 3
    again = [Purchase("sku-021", shop.FIRST_DAY + 250)]
    assert len(refreshed.model.recommend(again, today=shop.FIRST_DAY + 300, limit=80).items) == 80
    assert not refreshed.trend.any()


def test_what_the_figures_do_not_know_was_taken_by_nobody() -> None:
    model = shop.trained().serve()
    whole = Statistics.of(Takings.of([1], [7], [shop.FIRST_DAY]), through_day=shop.FIRST_DAY)
    ids = np.zeros(len(model.items), np.int64)
    ids[3] = 7
    fresh = Refreshed.of(model, whole.figures(), ids).model
    assert fresh.blend.facts.counts.sum(axis=1).tolist() == [1, 1, 1]
    assert fresh.blend.facts.counts[:, 3].tolist() == [1, 1, 1]
