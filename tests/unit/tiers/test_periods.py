"""Windows and their first days; days on which falls are applied."""

from __future__ import annotations

from datetime import date

import pytest

from service.tiers.periods import (
    CalendarYear,
    MembershipYear,
    RollingWindow,
    Window,
    first_day,
    next_cadence_day,
    period_of,
    return_in,
)

JOINED = date(2024, 2, 29).toordinal()
SINCE = date(2024, 6, 15).toordinal()


def begins(window: Window, day: date) -> date:
    return date.fromordinal(first_day(window, day.toordinal(), joined=JOINED, since=SINCE))


def test_a_rolling_window_holds_its_days_and_the_day_itself() -> None:
    assert begins(RollingWindow(1), date(2024, 3, 1)) == date(2024, 3, 1)
    assert begins(RollingWindow(366), date(2025, 2, 28)) == date(2024, 2, 29)


def test_a_calendar_year_begins_on_its_first_of_january() -> None:
    assert begins(CalendarYear(), date(2024, 12, 31)) == date(2024, 1, 1)
    assert begins(CalendarYear(), date(2025, 1, 1)) == date(2025, 1, 1)


def test_a_year_of_membership_begins_when_its_anchor_returns() -> None:
    joining, tier = MembershipYear("joining"), MembershipYear("tier")
    assert begins(tier, date(2025, 6, 14)) == date(2024, 6, 15)
    assert begins(tier, date(2025, 6, 15)) == date(2025, 6, 15)
    assert begins(joining, date(2024, 2, 29)) == date(2024, 2, 29)
    # Before the anchor: the period that ends there.
    assert begins(tier, date(2024, 6, 14)) == date(2023, 6, 15)


def test_who_joined_on_a_leap_day_has_its_return_on_the_28th_in_common_years() -> None:
    joining = MembershipYear("joining")
    assert begins(joining, date(2025, 2, 27)) == date(2024, 2, 29)
    assert begins(joining, date(2025, 2, 28)) == date(2025, 2, 28)
    assert begins(joining, date(2028, 2, 28)) == date(2027, 2, 28)
    assert begins(joining, date(2028, 2, 29)) == date(2028, 2, 29)
    assert date.fromordinal(return_in(date(2024, 2, 29), 2100)) == date(2100, 2, 28)


def test_periods_follow_each_other_without_a_gap() -> None:
    for window in (CalendarYear(), MembershipYear("joining"), MembershipYear("tier")):
        day = date(2023, 1, 1).toordinal()
        while day < date(2030, 1, 1).toordinal():
            first, end = period_of(window, day, joined=JOINED, since=SINCE)
            assert first <= day < end
            assert end - first in (365, 366)
            assert period_of(window, end, joined=JOINED, since=SINCE)[0] == end
            day = end


@pytest.mark.parametrize(
    ("cadence", "day", "expected"),
    [
        ("daily", date(2024, 2, 29), date(2024, 2, 29)),
        ("weekly", date(2024, 2, 26), date(2024, 2, 26)),
        ("weekly", date(2024, 2, 27), date(2024, 3, 4)),
        ("weekly", date(2024, 3, 3), date(2024, 3, 4)),
        ("monthly", date(2024, 2, 1), date(2024, 2, 1)),
        ("monthly", date(2024, 2, 2), date(2024, 3, 1)),
        ("monthly", date(2024, 1, 31), date(2024, 2, 1)),
        ("monthly", date(2024, 12, 2), date(2025, 1, 1)),
    ],
)
def test_falls_are_applied_on_the_first_day_of_the_cadence(cadence: str, day: date, expected: date) -> None:
    found = next_cadence_day(cadence, day.toordinal())  # type: ignore[arg-type]
    assert date.fromordinal(found) == expected
