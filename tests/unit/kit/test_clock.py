"""Times carry offsets; a day belongs to a zone."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.kit.clock import format_time, local_day, local_midnight, parse_time, read_clock, zone

ZONES = ("Asia/Taipei", "Europe/London", "America/Sao_Paulo", "America/Havana", "Australia/Lord_Howe", "UTC")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-21T19:03:11+08:00", datetime(2026, 11, 21, 11, 3, 11, tzinfo=UTC)),
        ("2026-11-21T11:03:11Z", datetime(2026, 11, 21, 11, 3, 11, tzinfo=UTC)),
        ("2026-11-21t11:03:11z", datetime(2026, 11, 21, 11, 3, 11, tzinfo=UTC)),
        ("2026-11-21T11:03:11.5-00:30", datetime(2026, 11, 21, 11, 33, 11, 500_000, tzinfo=UTC)),
        ("2026-11-21T11:03:11.123456789Z", datetime(2026, 11, 21, 11, 3, 11, 123_456, tzinfo=UTC)),
        ("2024-02-29T00:00:00Z", datetime(2024, 2, 29, tzinfo=UTC)),
    ],
)
def test_rfc_3339_times_become_utc(text: str, expected: datetime) -> None:
    assert parse_time(text) == expected
    assert parse_time(text).utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-21T19:03:11",  # naive
        "2026-11-21",
        "2026-11-21 19:03:11+08:00",
        "2026-11-21T19:03+08:00",
        "2026-11-21T19:03:11+0800",
        "2026-11-21T19:03:11.+08:00",
        "2026-11-21T19:03:11Z\n",
        " 2026-11-21T19:03:11Z",
        "20261121T190311Z",
        "2026-W47-6T19:03:11Z",
        "٢٠٢٦-11-21T19:03:11Z",
        "",
    ],
)
def test_what_is_not_rfc_3339_with_an_offset_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="RFC 3339"):
        parse_time(text)


@pytest.mark.parametrize(
    "text",
    [
        "2026-02-30T00:00:00Z",
        "2025-02-29T00:00:00Z",
        "2026-01-01T24:00:00Z",
        "2026-01-01T00:60:00Z",
        "2026-12-31T23:59:60Z",
        "2026-01-01T00:00:00+24:00",
        "0001-01-01T00:00:00+10:00",
        "1899-12-31T00:00:00Z",
        "3000-01-01T00:00:00Z",
    ],
)
def test_times_that_do_not_exist_or_lie_out_of_range_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"no such time|between 1900 and 2999"):
        parse_time(text)


@given(
    moment=st.datetimes(datetime(1901, 1, 1), datetime(2998, 1, 1)),
    minutes=st.integers(-14 * 60, 14 * 60),
)
def test_times_survive_the_way_out_and_back(moment: datetime, minutes: int) -> None:
    aware = moment.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    text = format_time(aware)
    assert text.endswith("Z")
    assert parse_time(text) == aware


def test_naive_times_are_never_written() -> None:
    with pytest.raises(ValueError, match="naive"):
        format_time(datetime(2026, 11, 21))


def test_the_clock_is_aware() -> None:
    assert read_clock().utcoffset() == timedelta(0)


@given(day=st.dates(date(1990, 1, 1), date(2037, 12, 31)), name=st.sampled_from(ZONES))
def test_midnight_is_the_first_moment_of_its_day(day: date, name: str) -> None:
    midnight = local_midnight(day, timezone=name)
    assert local_day(midnight, timezone=name) == day
    assert local_day(midnight - timedelta(microseconds=1), timezone=name) == day - timedelta(days=1)


def test_a_midnight_that_clocks_skip_is_the_first_moment_that_exists() -> None:
    # São Paulo went from 00:00 straight to 01:00.
    assert local_midnight(date(2018, 11, 4), timezone="America/Sao_Paulo") == datetime(
        2018, 11, 4, 3, tzinfo=UTC
    )


def test_a_midnight_that_comes_twice_is_the_first_one() -> None:
    # Havana went from 01:00 back to 00:00 of the same day.
    assert local_midnight(date(2023, 11, 5), timezone="America/Havana") == datetime(
        2023, 11, 5, 4, tzinfo=UTC
    )


def test_the_same_moment_is_another_day_elsewhere() -> None:
    moment = datetime(2026, 3, 31, 17, tzinfo=UTC)
    assert local_day(moment, timezone="Asia/Taipei") == date(2026, 4, 1)
    assert local_day(moment, timezone="Europe/London") == date(2026, 3, 31)


@pytest.mark.parametrize("name", ["Asia/Atlantis", "../etc/passwd", ""])
def test_unknown_zones_are_refused(name: str) -> None:
    with pytest.raises((KeyError, ValueError)):
        zone(name)
