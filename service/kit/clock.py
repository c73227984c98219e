"""Times with offsets, and days of a zone. Only a door reads the wall clock."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

FUTURE_TOLERANCE = timedelta(minutes=5)
"""How far ahead of our clock a caller's clock may be."""

_RFC3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?([Zz]|[+-]\d\d:\d\d)\Z", re.ASCII
)

YEARS = range(1900, 3000)
"""Of which times are; everything between can be converted from zone to zone, and days added to it."""

_DAY = re.compile(r"\d{4}-\d\d-\d\d\Z", re.ASCII)


def read_clock() -> datetime:
    """Return the present moment in UTC; called by doors alone, which pass it down as `now`."""
    return datetime.now(UTC)


def parse_time(value: str) -> datetime:
    """Return an RFC 3339 time as an aware datetime in UTC, to the microsecond.

    Raises:
        ValueError: not RFC 3339, or without an offset.
    """
    match = _RFC3339.match(value)
    if match is None:
        raise ValueError("not an RFC 3339 time with an offset, such as 2026-11-21T19:03:11+08:00")
    try:
        moment = datetime.fromisoformat(value[:19].replace("t", "T") + _offset(match[8]))
        if match[7]:
            moment = moment.replace(microsecond=int(match[7][:6].ljust(6, "0")))
        moment = moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"no such time: {value}") from error
    _check_year(moment.year, YEARS)
    return moment


def parse_day(value: str, *, years: range = YEARS) -> date:
    """Return the calendar day that YYYY-MM-DD names, of the years that times are of, or of others.

    Raises:
        ValueError: not a day in this form, no such day, or too far off to convert between zones.
    """
    if _DAY.match(value) is None:
        raise ValueError("must be a calendar day such as 2026-11-21")
    try:
        day = date.fromisoformat(value)
    except ValueError as error:
        raise ValueError("no such day") from error
    _check_year(day.year, years)
    return day


def _check_year(year: int, years: range) -> None:
    if year not in years:
        raise ValueError(f"the year must lie between {years[0]} and {years[-1]}")


def _offset(text: str) -> str:
    return "+00:00" if text in "Zz" else text


def format_time(value: datetime) -> str:
    """Return an aware datetime as RFC 3339 in UTC, ending in Z."""
    if value.tzinfo is None:
        raise ValueError("naive time")
    if value.tzinfo is not UTC:
        value = value.astimezone(UTC)
    return f"{value.isoformat()[:-6]}Z"


@lru_cache(maxsize=64)
def zone(name: str) -> ZoneInfo:
    """Return the IANA zone of that name.

    Raises:
        zoneinfo.ZoneInfoNotFoundError: there is none.
    """
    return ZoneInfo(name)


def local_day(moment: datetime, *, timezone: str) -> date:
    """Return the calendar day of `moment` in a zone."""
    return moment.astimezone(zone(timezone)).date()


def local_midnight(day: date, *, timezone: str) -> datetime:
    """Return the first moment of `day` in a zone, in UTC.

    Where clocks skip midnight, the day starts at the first moment that exists.
    """
    naive = datetime.combine(day, time.min)
    return naive.replace(tzinfo=zone(timezone)).astimezone(UTC)


def last_moment(day: date, *, timezone: str) -> datetime:
    """Return the last moment of `day` in a zone, in UTC."""
    return local_midnight(day + timedelta(days=1), timezone=timezone) - timedelta(microseconds=1)
