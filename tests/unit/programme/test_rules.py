"""Settings over time: which stands when, and what a change does to those scheduled for later."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.programme.rules import (
    Programme,
    SettingsRow,
    complete,
    default_values,
    differences,
    find_row_in_force,
    list_standing,
    plan_change,
    read_settings,
)

START = datetime(2026, 1, 1, tzinfo=UTC)
DEFAULTS = default_values("TWD")


def day(number: int) -> datetime:
    """Return a moment so many days after the start."""
    return START + timedelta(days=number)


def row(version: int, effective_from: datetime, **changes: Any) -> SettingsRow:
    """Return a version of the defaults with some values changed."""
    return SettingsRow(version, DEFAULTS | changes, effective_from, START, "test", "a test", list(changes))


def values_at(rows: list[SettingsRow], at: datetime) -> dict[str, Any]:
    """Return the values in force at a moment."""
    found = find_row_in_force(rows, at=at)
    assert found is not None
    return dict(found.values)


def add(rows: list[SettingsRow], *, at: datetime, **changes: Any) -> list[SettingsRow]:
    """Return the versions after a change."""
    added = list(rows)
    for one in plan_change(rows, changes=changes, at=at):
        number = len(added) + 1
        added.append(SettingsRow(number, one.values, one.effective_from, START, "test", "a test", one.fields))
    return added


def test_of_two_versions_from_the_same_moment_the_later_one_stands() -> None:
    rows = [row(1, day(0)), row(2, day(3), earn_points=2), row(3, day(3), earn_points=3)]
    assert [one.version for one in list_standing(rows)] == [1, 3]
    assert values_at(rows, day(2))["earn_points"] == 1
    assert values_at(rows, day(3))["earn_points"] == 3


def test_a_change_that_changes_nothing_plans_nothing() -> None:
    assert plan_change([row(1, day(0))], changes={"earn_points": 1}, at=day(1)) == []


def test_a_change_now_holds_beyond_one_scheduled_for_later() -> None:
    rows = add([row(1, day(0))], at=day(10), return_period_days=30)
    rows = add(rows, at=day(1), earn_points=5)
    assert values_at(rows, day(1)) == DEFAULTS | {"earn_points": 5}
    assert values_at(rows, day(10)) == DEFAULTS | {"earn_points": 5, "return_period_days": 30}


def test_what_a_later_version_changes_itself_stays_its_own() -> None:
    rows = add([row(1, day(0))], at=day(10), return_period_days=30)
    rows = add(rows, at=day(1), return_period_days=1)
    assert values_at(rows, day(1))["return_period_days"] == 1
    assert values_at(rows, day(10))["return_period_days"] == 30


CHANGES = st.lists(
    st.tuples(
        st.integers(0, 9),
        st.sampled_from(["return_period_days", "earn_points", "point_value_minor"]),
        st.integers(0, 300),
    ),
    max_size=8,
)


@given(changes=CHANGES)
def test_each_change_holds_from_its_day_until_another_changes_the_same_setting(
    changes: list[tuple[int, str, int]],
) -> None:
    """The plan equals the plain reading: per setting, the last change by day, then by arrival."""
    rows = [row(1, day(0) - timedelta(days=1))]
    told: list[tuple[int, int, str, int]] = []
    for turn, (number, name, value) in enumerate(changes):
        before = values_at(rows, day(number))
        rows = add(rows, at=day(number), **{name: value})
        if before[name] != value:
            told.append((number, turn, name, value))
    for number in range(10):
        expected = dict(DEFAULTS)
        for _, _, name, value in sorted(one for one in told if one[0] <= number):
            expected[name] = value
        assert values_at(rows, day(number)) == expected


def test_versions_from_before_a_setting_existed_mean_what_was_done_then() -> None:
    old = {name: value for name, value in DEFAULTS.items() if name != "tax_counts"}
    assert read_settings(1, old).tax_counts is True
    assert differences(complete(old), DEFAULTS) == {}


@pytest.mark.parametrize(
    "wrong",
    [
        {"colour": "red"},
        {"return_period_days": 400},
        {"points_expiry": {"model": "rolling_months"}},
        {"points_expiry": {"model": "none", "months": 3}},
        {"points_expiry": {"model": "end_of_period", "period": "year"}},
        {"points_expiry": {"model": "end_of_period", "period": "week", "periods": 1}},
        {"points_expiry": {"model": "end_of_period", "period": "year", "periods": 11}},
        {"points_expiry": {"model": "after_inactivity", "months": 0}},
        {"points_expiry": {"model": "none", "notice_days": -1}},
        {"points_expiry": {"model": "none", "colour": "red"}},
        {"shortfall_policy": "forgive"},
        {"tax_counts": "yes"},
        {"earn_per_minor": 0},
    ],
)
def test_values_out_of_range_are_no_settings(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"settings|points_expiry|shortfall|tax_counts|whole number"):
        read_settings(1, DEFAULTS | wrong)


def test_what_happened_is_judged_by_the_settings_of_then() -> None:
    versions = tuple(
        (moment, read_settings(number, DEFAULTS | {"earn_points": number}))
        for number, moment in ((1, day(0)), (2, day(5)))
    )
    programme = Programme("TWD", "Asia/Taipei", versions[1][1], versions)
    assert programme.settings_at(day(-3)).version == 1
    assert programme.settings_at(day(5) - timedelta(microseconds=1)).version == 1
    assert programme.settings_at(day(5)).version == 2
