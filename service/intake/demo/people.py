"""Who shops at the demo shop: kinds of customers, their names and their days of visit."""

import random
from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from typing import Final

from service.intake.demo.calendar import Occasion

TAIPEI: Final = timezone(timedelta(hours=8))  # no daylight saving since 1979

Record = dict[str, object]


@dataclass(frozen=True, slots=True)
class Kind:
    """Describe one kind of customer; `gap_days` is the usual time between visits (low, high)."""

    name: str
    share: float
    gap_days: tuple[int, int]
    lines: float
    quantity: float
    pull: float = 0.25  # how often an occasion moves a visit that was near it
    taste_for: float = 0.0  # leaning to dear (above zero) or cheap (below zero) products
    returns: float = 0.05


KINDS: Final = (
    Kind("regular", 0.140, (22, 44), 1.7, 1.25),
    Kind("heavy", 0.060, (8, 18), 2.9, 1.5, taste_for=0.35, returns=0.07),
    Kind("occasional", 0.120, (62, 125), 1.4, 1.25),
    Kind("growing", 0.080, (70, 110), 1.9, 1.3, taste_for=0.15),
    Kind("lapsing", 0.125, (20, 45), 1.6, 1.2),
    Kind("one_timer", 0.310, (1, 1), 1.2, 1.15),
    Kind("festival", 0.070, (1, 1), 1.2, 1.5, taste_for=0.15),
    Kind("bargain", 0.060, (1, 1), 1.6, 1.3, taste_for=-0.35, returns=0.12),
    Kind("browser", 0.035, (1, 1), 1.0, 1.0),
)

THEMES: Final = ("tea", "coffee", "sweet", "savoury", "cook", "skin", "body", "home", "cat", "dog", "gift")
_CITIES: Final = ("臺北市", "新北市", "桃園市", "新竹市", "臺中市", "臺南市", "高雄市", "花蓮縣")
_CITY_WEIGHTS: Final = (26, 24, 12, 6, 14, 8, 8, 2)
_SURNAMES: Final = (
    ("陳", "Chen"), ("林", "Lin"), ("黃", "Huang"), ("張", "Chang"), ("李", "Lee"), ("王", "Wang"),
    ("吳", "Wu"), ("劉", "Liu"), ("蔡", "Tsai"), ("楊", "Yang"), ("許", "Hsu"), ("鄭", "Cheng"),
    ("謝", "Hsieh"), ("郭", "Kuo"), ("洪", "Hung"), ("邱", "Chiu"), ("曾", "Tseng"), ("廖", "Liao"),
    ("賴", "Lai"), ("周", "Chou"),
)  # fmt: skip
_GIVEN: Final = (
    ("雅婷", "Ya-Ting"), ("怡君", "Yi-Chun"), ("家豪", "Chia-Hao"), ("志明", "Chih-Ming"),
    ("淑芬", "Shu-Fen"), ("欣怡", "Hsin-Yi"), ("俊傑", "Chun-Chieh"), ("宗翰", "Tsung-Han"),
    ("佩珊", "Pei-Shan"), ("美玲", "Mei-Ling"), ("建宏", "Chien-Hung"), ("詩涵", "Shih-Han"),
    ("冠宇", "Kuan-Yu"), ("郁雯", "Yu-Wen"), ("承恩", "Cheng-En"), ("品妤", "Pin-Yu"),
    ("柏翰", "Po-Han"), ("思妤", "Szu-Yu"), ("惠雯", "Hui-Wen"), ("明哲", "Ming-Che"),
    ("曉薇", "Hsiao-Wei"), ("哲瑋", "Che-Wei"), ("靜宜", "Ching-Yi"), ("子軒", "Tzu-Hsuan"),
)  # fmt: skip
_SOURCES: Final = (("search", 30, ""), ("line", 22, ""), ("instagram", 16, "95"), ("friend", 14, ""),
                   ("store", 10, ""), ("google_ads", 8, "140"))  # fmt: skip


@dataclass(frozen=True, slots=True)
class Shopper:
    """Hold one customer of the demo shop: who, of which kind, joined when, with which tastes."""

    member_id: str
    kind: Kind
    joined_at: datetime
    gap_days: float
    tastes: dict[str, float]
    channel: str


def draw_shopper(stream: random.Random, *, number: int, first: date, today: date) -> Shopper:
    """Draw customer `number` (from 1), joined on a day from `first` to the day before `today`."""
    (kind,) = stream.choices(KINDS, weights=[kind.share for kind in KINDS])
    span_days = (today - first).days
    # The programme opened with a crowd; those who are now lapsing or growing have been here for a while.
    longest = 0.6 if kind.name in ("lapsing", "growing", "festival") else 1.0
    joined = first + timedelta(days=int(span_days * longest * stream.random() ** 1.35))
    at = time(stream.randint(8, 21), stream.randint(0, 59), stream.randint(0, 59))
    low, high = kind.gap_days
    loved = stream.sample(THEMES, k=stream.choice((1, 2, 2, 3)))
    tastes = {theme: (8.0 if theme in loved else 0.6) for theme in THEMES}
    for animal in ("cat", "dog"):  # nobody buys a little dog food
        tastes[animal] = 14.0 if animal in loved else 0.0
    return Shopper(
        member_id=f"M{number:05d}",
        kind=kind,
        joined_at=datetime.combine(joined, at, TAIPEI),
        gap_days=stream.uniform(low, high),
        tastes=tastes,
        channel=stream.choices(("web", "app", "store"), weights=(50, 36, 14))[0],
    )


def describe_member(stream: random.Random, *, shopper: Shopper, number: int) -> Record:
    """Write the enrolment of a shopper, as the members endpoint and the import take it.

    E-mail addresses use a reserved domain (RFC 2606) and phone numbers a block that is not given out.
    """
    (surname, surname_latin), (given, given_latin) = stream.choice(_SURNAMES), stream.choice(_GIVEN)
    english = stream.random() < 0.12
    source, _, cost = stream.choices(_SOURCES, weights=[weight for _, weight, _ in _SOURCES])[0]
    latin = f"{given_latin} {surname_latin}"
    record: Record = {
        "member_id": shopper.member_id,
        "joined_at": shopper.joined_at.isoformat(),
        "locale": "en" if english else "zh-Hant",
        "name": latin if english else surname + given,
        "email": f"{latin.lower().replace('-', '').replace(' ', '.')}.{number}@example.com",
        "phone": f"+8869000{number:05d}",
        "consent": {
            "marketing": stream.random() < 0.72,
            "profiling": stream.random() < 0.86,
            "text_version": "2024-01",
        },
        "attributes": {"city": stream.choices(_CITIES, weights=_CITY_WEIGHTS)[0]},
        "acquisition": {"source": source, "cost": cost} if cost else {"source": source},
    }
    if stream.random() < 0.8:
        born = date(shopper.joined_at.year - 22, 1, 1) - timedelta(days=int(stream.betavariate(2, 3) * 15000))
        record["birthday"] = born.isoformat()
    return record


def list_visits(
    stream: random.Random, *, shopper: Shopper, today: date, occasions: Sequence[Occasion]
) -> list[date]:
    """List the days on which a shopper buys, ascending, all before `today`."""
    joined = shopper.joined_at.date()
    open_occasions = [occasion for occasion in occasions if occasion.last > joined]
    match shopper.kind.name:
        case "browser":
            visits = []
        case "one_timer":
            visits = [joined + timedelta(days=stream.choice((0, 0, 0, 1, 3, 9)))]
        case "festival":
            visits = _visits_on_occasions(stream, joined, open_occasions, festival=0.85, sale=0.06)
        case "bargain":
            visits = _visits_on_occasions(stream, joined, open_occasions, festival=0.08, sale=0.8)
        case _:
            visits = _visits_by_rhythm(stream, shopper, today, open_occasions)
    return sorted({visit for visit in visits if joined <= visit < today})


def _visits_on_occasions(
    stream: random.Random, joined: date, occasions: Sequence[Occasion], *, festival: float, sale: float
) -> list[date]:
    visits = [joined]
    for occasion in occasions:
        if stream.random() < (festival if occasion.kind == "festival" else sale):
            visits.append(_day_within(stream, occasion))
    return visits


def _visits_by_rhythm(
    stream: random.Random, shopper: Shopper, today: date, occasions: Sequence[Occasion]
) -> list[date]:
    """Follow the usual gap with its scatter; the growing shorten it, the lapsing stretch it, then stop."""
    joined = shopper.joined_at.date()
    firsts = [occasion.first for occasion in occasions]
    stops = _last_day(stream, shopper, today)
    visits, day = [joined], joined
    while True:
        gap = shopper.gap_days * stream.lognormvariate(0.0, 0.28) * _trend(shopper, day, today, stops)
        day += timedelta(days=max(2, round(gap)))
        day = _towards_weekend(stream, day)
        opened = bisect(firsts, day + timedelta(days=8))
        near = occasions[opened - 1] if opened else None
        if near and near.last >= day - timedelta(days=6) and stream.random() < shopper.kind.pull:
            day = max(_day_within(stream, near), visits[-1] + timedelta(days=1))
        if day >= stops:
            return visits
        visits.append(day)


def _last_day(stream: random.Random, shopper: Shopper, today: date) -> date:
    if shopper.kind.name != "lapsing":
        # A few of every kind move away without a word.
        return today - timedelta(days=stream.randint(40, 300)) if stream.random() < 0.05 else today
    here_days = (today - shopper.joined_at.date()).days
    return today - timedelta(days=int(here_days * stream.uniform(0.15, 0.75)))


def _trend(shopper: Shopper, day: date, today: date, stops: date) -> float:
    joined = shopper.joined_at.date()
    if shopper.kind.name == "growing":
        return 1.0 - 0.72 * (day - joined).days / max(1, (today - joined).days)
    if shopper.kind.name == "lapsing":
        return 1.0 + 1.6 * (day - joined).days / max(1, (stops - joined).days)
    return 1.0


def _towards_weekend(stream: random.Random, day: date) -> date:
    """Move some week-day visits to the Sunday after, when a small shop sells most."""
    if day.weekday() in (3, 4, 5) and stream.random() < 0.3:
        return day + timedelta(days=6 - day.weekday())
    return day


def _day_within(stream: random.Random, occasion: Occasion) -> date:
    """Draw a day of an occasion, later days more often: people buy when it presses."""
    length = (occasion.last - occasion.first).days
    return occasion.first + timedelta(days=round(length * stream.random() ** 0.7))
