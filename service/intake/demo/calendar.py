"""When the demo shop is busy: lunar festivals, Mother's Day and the sales of the Taiwanese year."""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

# Lunar New Year and Mid-Autumn by year. After 19 years the moon is back on the same date, give or take
# a day (Meton's cycle), so these years serve for every other.
_LUNAR: Final = {
    2020: ((1, 25), (10, 1)),
    2021: ((2, 12), (9, 21)),
    2022: ((2, 1), (9, 10)),
    2023: ((1, 22), (9, 29)),
    2024: ((2, 10), (9, 17)),
    2025: ((1, 29), (10, 6)),
    2026: ((2, 17), (9, 25)),
    2027: ((2, 6), (9, 15)),
    2028: ((1, 26), (10, 3)),
    2029: ((2, 13), (9, 22)),
    2030: ((2, 3), (9, 12)),
    2031: ((1, 23), (10, 1)),
    2032: ((2, 11), (9, 19)),
    2033: ((1, 31), (9, 8)),
    2034: ((2, 19), (9, 27)),
    2035: ((2, 8), (9, 16)),
    2036: ((1, 28), (10, 4)),
    2037: ((2, 15), (9, 24)),
    2038: ((2, 4), (9, 13)),
}


@dataclass(frozen=True, slots=True)
class Occasion:
    """Name days on which people buy: `first` to `last`, both inside; `kind` is festival or sale."""

    name: str
    kind: str
    first: date
    last: date


def lunar_new_year(year: int) -> date:
    """Return the first day of the lunar year that begins in `year`."""
    month, day = _LUNAR[2020 + (year - 2020) % 19][0]
    return date(year, month, day)


def mid_autumn(year: int) -> date:
    """Return the Mid-Autumn festival of `year`."""
    month, day = _LUNAR[2020 + (year - 2020) % 19][1]
    return date(year, month, day)


def mothers_day(year: int) -> date:
    """Return the second Sunday of May."""
    first = date(year, 5, 1)
    return first + timedelta(days=(6 - first.weekday()) % 7 + 7)


def list_occasions(first: date, last: date) -> list[Occasion]:
    """List the occasions that touch the days from `first` to `last`, in order of their first day."""
    found = [
        occasion
        for year in range(first.year, last.year + 2)  # a New Year in January opens in December
        for occasion in _occasions_of(year)
        if occasion.first <= last and occasion.last >= first
    ]
    return sorted(found, key=lambda occasion: occasion.first)


def soft_season(day: date) -> str:
    """Tell whether `day` is in the hot or the cold part of the year, or in neither."""
    if 5 <= day.month <= 9:
        return "summer"
    return "winter" if day.month in (12, 1, 2) else ""


def _occasions_of(year: int) -> tuple[Occasion, ...]:
    def before(name: str, feast: date, opens_days: int, closes_days: int) -> Occasion:
        first, last = feast - timedelta(days=opens_days), feast - timedelta(days=closes_days)
        return Occasion(name, "festival", first, last)

    return (
        before("lunar_new_year", lunar_new_year(year), 28, 4),
        before("mothers_day", mothers_day(year), 18, 2),
        Occasion("mid_year_sale", "sale", date(year, 6, 15), date(year, 6, 18)),
        before("mid_autumn", mid_autumn(year), 30, 3),
        Occasion("double_eleven", "sale", date(year, 11, 8), date(year, 11, 11)),
        Occasion("double_twelve", "sale", date(year, 12, 10), date(year, 12, 12)),
    )
