"""Figures that follow the takings between two trainings: exact, and moved along by what changed alone.

What a pair of user and item adds to every figure depends on the days of that pair and on nothing else. So
when something changed, what the pair stood for before is taken away and what it stands for now is added;
everything from the beginning is the same step from nothing. Ids are whole numbers, days are counted since
1970-01-01. numpy only.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from recommender.blending import WINDOWS
from recommender.errors import StatisticsBroken

RECENT_DAYS = 63
"""How far back single takings are kept: a week, and the eight before it that a trend is told from."""
_SEGMENT_DAYS = 28
_TREND_DAYS = 7
_Keys = NDArray[np.int64]


class Takings(NamedTuple):
    """Hold distinct (user, item, day) rows in that order, each (n,) int64."""

    user: _Keys
    item: _Keys
    day: _Keys

    @classmethod
    def of(cls, user: ArrayLike, item: ArrayLike, day: ArrayLike) -> Self:
        """Sort rows and leave out those that say the same again."""
        columns = tuple(np.asarray(column, np.int64).ravel() for column in (user, item, day))
        order = np.lexsort((columns[2], columns[1], columns[0]))
        columns = tuple(column[order] for column in columns)
        first = np.ones(len(order), dtype=bool)
        if len(order):
            first[1:] = np.any([np.diff(column) != 0 for column in columns], axis=0)
        return cls(*(column[first] for column in columns))

    def keep(self, rows: NDArray[Any]) -> Self:
        """Give some of the rows, by mask or position."""
        return type(self)(self.user[rows], self.item[rows], self.day[rows])

    def pair_starts(self) -> NDArray[np.intp]:
        """Give the row at which each distinct pair of user and item begins, (pairs,)."""
        first = np.ones(len(self.user), dtype=bool)
        if len(first):
            first[1:] = (np.diff(self.user) != 0) | (np.diff(self.item) != 0)
        return np.flatnonzero(first)


NOTHING = Takings.of((), (), ())


@dataclass(frozen=True, slots=True, eq=False)
class Statistics:
    """Hold what all takings through a day come to.

    `items` (n,) ascending, and of each `takings` (user-days), `buyers` and `repeaters` (on two days or
    more); `gap_item`, `gap_days`, `gap_number` (g,) how often that many days lay between two takings by one
    user, in that order; `recent_…` (r,) the takings of the last `RECENT_DAYS` days. All int64.
    """

    through_day: int
    items: _Keys
    takings: _Keys
    buyers: _Keys
    repeaters: _Keys
    gap_item: _Keys
    gap_days: _Keys
    gap_number: _Keys
    recent_user: _Keys
    recent_item: _Keys
    recent_day: _Keys

    @classmethod
    def of(cls, takings: Takings, *, through_day: int) -> Statistics:
        """Compute everything from the beginning."""
        none = np.zeros(0, np.int64)
        empty = cls(through_day, *(none for _ in range(len(fields(cls)) - 1)))
        return empty.moved(before=NOTHING, after=takings, through_day=through_day)

    @property
    def recent(self) -> Takings:
        """Give the latest takings."""
        return Takings(self.recent_user, self.recent_item, self.recent_day)

    def moved(self, *, before: Takings, after: Takings, through_day: int) -> Statistics:
        """Give the statistics after some pairs of user and item changed: all rows of these, then and now.

        StatisticsBroken when what stood before was never counted.
        """
        items = np.unique(np.concatenate([self.items, before.item, after.item]))
        counts = np.zeros((3, len(items)), np.int64)
        counts[:, np.searchsorted(items, self.items)] = (self.takings, self.buyers, self.repeaters)
        counts += _count(after, items) - _count(before, items)
        gap_item, gap_days, gap_number = _add_up(
            np.concatenate([self.gap_item, *(_gaps(rows)[0] for rows in (before, after))]),
            np.concatenate([self.gap_days, *(_gaps(rows)[1] for rows in (before, after))]),
            np.concatenate([self.gap_number, _ones(before, -1), _ones(after, 1)]),
        )
        if counts.min(initial=0) < 0 or gap_number.min(initial=0) < 0:
            raise StatisticsBroken("something is taken away that was never counted")
        held = counts[0] > 0
        recent = _replace(self.recent, before, after, first_day=through_day - RECENT_DAYS)
        takings, buyers, repeaters = counts[:, held]
        return Statistics(
            through_day=through_day,
            items=items[held],
            takings=takings,
            buyers=buyers,
            repeaters=repeaters,
            gap_item=gap_item,
            gap_days=gap_days,
            gap_number=gap_number,
            recent_user=recent.user,
            recent_item=recent.item,
            recent_day=recent.day,
        )

    def to_bytes(self) -> bytes:
        """Give everything in one piece."""
        return pack({one.name: np.asarray(getattr(self, one.name)) for one in fields(self)})

    @classmethod
    def from_bytes(cls, raw: bytes) -> Statistics:
        """Read back what `to_bytes` gave; StatisticsBroken for anything else."""
        arrays = unpack(raw)
        try:
            through_day = int(arrays.pop("through_day"))
            return cls(through_day=through_day, **arrays)
        except (KeyError, TypeError) as wrong:
            raise StatisticsBroken(f"these are other statistics: {wrong}") from wrong

    def figures(self, segment_of: Mapping[int, str] | None = None) -> Figures:
        """Give what serving needs; `segment_of` names the segment of each recent user, if any."""
        recent = self.recent
        counts = [self.takings if days is None else self._within(days) for days in WINDOWS]
        number, doubled = self._median_gaps()
        overall = _median_twice(*_add_up_one(self.gap_days, self.gap_number))
        names, segments = _segments(
            recent.keep(recent.day > self.through_day - _SEGMENT_DAYS), self.items, segment_of or {}
        )
        return Figures(
            through_day=self.through_day,
            items=self.items,
            counts=np.stack(counts).astype(np.int32),
            fortnight=self._within(14).astype(np.int32),
            buyers=self.buyers.astype(np.int32),
            repeaters=self.repeaters.astype(np.int32),
            gaps=number.astype(np.int32),
            gaps_doubled=doubled.astype(np.int32),
            overall_doubled=overall,
            trend=trend(recent, self.items, through_day=self.through_day),
            segment_names=names,
            segments=segments,
        )

    def _within(self, days: int) -> _Keys:
        """Count the takings of the last so many days by item, (n,)."""
        kept = self.recent_item[self.recent_day > self.through_day - days]
        return np.bincount(np.searchsorted(self.items, kept), minlength=len(self.items))

    def _median_gaps(self) -> tuple[_Keys, _Keys]:
        """Give how many gaps each item has, and twice their median, 0 where there are none; both (n,)."""
        number = np.zeros(len(self.items), np.int64)
        place = np.searchsorted(self.items, self.gap_item)
        np.add.at(number, place, self.gap_number)
        through = np.cumsum(self.gap_number)
        begin = np.cumsum(number) - number
        has = number > 0
        low = np.searchsorted(through, begin[has] + (number[has] - 1) // 2, side="right")
        high = np.searchsorted(through, begin[has] + number[has] // 2, side="right")
        doubled = np.zeros(len(self.items), np.int64)
        doubled[has] = self.gap_days[low] + self.gap_days[high]
        return number, doubled


@dataclass(frozen=True, slots=True, eq=False)
class Figures:
    """Hold what serving needs of `Statistics`, by item.

    `items` (n,) int64 ascending; `counts` (3, n) int32 by `WINDOWS`; `fortnight` (n,) int32 the takings of 14
    days; `buyers`, `repeaters`, `gaps` (n,)
    int32; `gaps_doubled` (n,) int32 twice the median days between takings, `overall_doubled` that over all
    items; `trend` (n,) float32, see `trend`; `segments` (s, n) int32 recent buyers by segment, in the order
    of `segment_names`.
    """

    through_day: int
    items: _Keys
    counts: NDArray[np.int32]
    buyers: NDArray[np.int32]
    repeaters: NDArray[np.int32]
    gaps: NDArray[np.int32]
    gaps_doubled: NDArray[np.int32]
    overall_doubled: int
    trend: NDArray[np.float32]
    segment_names: tuple[str, ...]
    segments: NDArray[np.int32]
    fortnight: NDArray[np.int32] | None = None

    def to_bytes(self) -> bytes:
        """Give everything in one piece."""
        held = {one.name: getattr(self, one.name) for one in fields(self)}
        arrays = {name: np.asarray(one) for name, one in held.items() if one is not None}
        return pack({**arrays, "segment_names": np.array(self.segment_names, dtype=np.str_)})

    @classmethod
    def from_bytes(cls, raw: bytes) -> Figures:
        """Read back what `to_bytes` gave; StatisticsBroken for anything else."""
        arrays = unpack(raw)
        try:
            names = tuple(str(name) for name in arrays.pop("segment_names"))
            through, overall = int(arrays.pop("through_day")), int(arrays.pop("overall_doubled"))
            found = cls(through_day=through, overall_doubled=overall, segment_names=names, **arrays)
        except (KeyError, TypeError) as wrong:
            raise StatisticsBroken(f"these are other figures: {wrong}") from wrong
        if found.counts.shape != (len(WINDOWS), len(found.items)):
            raise StatisticsBroken(f"counts are {found.counts.shape} for {len(found.items)} items")
        return found

    def spread(self, column: NDArray[Any], ids: _Keys) -> NDArray[Any]:
        """Give a column (…, n) for these items instead, (…, len(ids)); 0 for those that are not here."""
        at = np.searchsorted(self.items, ids)
        known = np.flatnonzero(np.append(self.items, -1)[at] == ids)
        spread = np.zeros((*column.shape[:-1], len(ids)), column.dtype)
        spread[..., known] = column[..., at[known]]
        return spread


LEAST_TRENDING = 5
"""Of so many people at least, within the week, must a trend be."""
_TREND_RATIO, _TREND_SIGMAS, _TREND_PRIOR = 1.5, 2.0, 5.0


def trend(recent: Takings, items: _Keys, *, through_day: int) -> NDArray[np.float32]:
    """Give how far each item is above its own longer rate, (n,); 0 where it is not trending.

    log of (takings of the last 7 days + 5) ÷ (takings expected + 5); expected is the item's own rate over
    the 56 days before, times what the whole shop does this week against its own rate. Only where that is
    half more and two standard deviations more than expected, and of five people at least: a constant
    best-seller is not trending, nor is everything in a busy week, nor one person's bulk order.
    """
    found = np.zeros(len(items), np.float32)
    lately = recent.day > through_day - _TREND_DAYS
    if not lately.any() or lately.all():
        return found
    span = min(RECENT_DAYS - _TREND_DAYS, int(through_day - _TREND_DAYS - recent.day.min() + 1))
    if span < _TREND_DAYS:
        return found
    at = np.searchsorted(items, recent.item)
    now = np.bincount(at[lately], minlength=len(items)).astype(np.float64)
    usual = np.bincount(at[~lately], minlength=len(items)) * (_TREND_DAYS / span)
    expected = usual * (now.sum() / usual.sum())
    week = recent.keep(lately)
    people = np.bincount(np.searchsorted(items, week.item[week.pair_starts()]), minlength=len(items))
    ratio = (now + _TREND_PRIOR) / (expected + _TREND_PRIOR)
    above = (now - expected) / np.sqrt(expected + _TREND_PRIOR)
    rising = (people >= LEAST_TRENDING) & (ratio >= _TREND_RATIO) & (above >= _TREND_SIGMAS)
    found[rising] = np.log(ratio[rising])
    return found


LEAST_SEGMENT_BUYERS = 20
"""So many people must have bought lately, or they define no segment."""
LEAST_ITEM_BUYERS = 3
"""So many of a segment must have bought an item lately for it to be popular there."""


def _segments(
    lately: Takings, items: _Keys, segment_of: Mapping[int, str]
) -> tuple[tuple[str, ...], NDArray[np.int32]]:
    """Count the recent buyers of each item by segment; segments of too few people are left out."""
    pairs = lately.keep(lately.pair_starts())
    users, at = np.unique(pairs.user, return_inverse=True)
    of_user = [segment_of.get(user) for user in users.tolist()]
    names = sorted({name for name in of_user if name is not None})
    number = {name: index for index, name in enumerate(names)}
    index = np.array([-1 if name is None else number[name] for name in of_user], np.int64)
    size = np.bincount(index[index >= 0], minlength=len(names))
    kept = np.flatnonzero(size >= LEAST_SEGMENT_BUYERS)
    table = np.zeros((len(kept), len(items)), np.int32)
    of_pair = index[at] if len(pairs.user) else index
    place = np.searchsorted(items, pairs.item)
    for row, segment in enumerate(kept.tolist()):
        table[row] = np.bincount(place[of_pair == segment], minlength=len(items))
    table[table < LEAST_ITEM_BUYERS] = 0
    return tuple(names[segment] for segment in kept.tolist()), table


def _count(rows: Takings, items: _Keys) -> _Keys:
    """Give takings, buyers and repeaters of each item, (3, n)."""
    starts = rows.pair_starts()
    of_pair = np.searchsorted(items, rows.item[starts])
    days = np.diff(starts, append=len(rows.item))
    return np.stack(
        [
            np.bincount(np.searchsorted(items, rows.item), minlength=len(items)),
            np.bincount(of_pair, minlength=len(items)),
            np.bincount(of_pair[days >= 2], minlength=len(items)),
        ]
    )


def _gaps(rows: Takings) -> tuple[_Keys, _Keys]:
    """Give item and days of each gap between two takings of one pair, (gaps,)."""
    same = np.ones(max(0, len(rows.item) - 1), dtype=bool)
    same[rows.pair_starts()[1:] - 1] = False
    return rows.item[1:][same], np.diff(rows.day)[same]


def _ones(rows: Takings, sign: int) -> _Keys:
    return np.full(len(_gaps(rows)[0]), sign, np.int64)


def _add_up(item: _Keys, days: _Keys, number: _Keys) -> tuple[_Keys, _Keys, _Keys]:
    """Add up the numbers of equal items and days, in order, without what comes to nothing."""
    order = np.lexsort((days, item))
    item, days, number = item[order], days[order], number[order]
    first = np.ones(len(item), dtype=bool)
    if len(item):
        first[1:] = (np.diff(item) != 0) | (np.diff(days) != 0)
    starts = np.flatnonzero(first)
    summed = np.add.reduceat(number, starts) if len(starts) else number
    kept = summed != 0
    return item[starts][kept], days[starts][kept], summed[kept]


def _add_up_one(days: _Keys, number: _Keys) -> tuple[_Keys, _Keys]:
    _, distinct, summed = _add_up(np.zeros_like(days), days, number)
    return distinct, summed


def _median_twice(days: _Keys, number: _Keys) -> int:
    """Give twice the median of days that occur so often, 0 of none."""
    total = int(number.sum())
    if not total:
        return 0
    through = np.cumsum(number)
    low, high = np.searchsorted(through, [(total - 1) // 2, total // 2], side="right")
    return int(days[low] + days[high])


def _replace(recent: Takings, before: Takings, after: Takings, *, first_day: int) -> Takings:
    """Put the rows of changed pairs in the place of what they were, and let go of what is too old."""
    kept = recent.day > first_day
    # Most users changed nothing: only the others are looked at pair by pair.
    suspect = np.flatnonzero(kept & np.isin(recent.user, np.concatenate([before.user, after.user])))
    if len(suspect):
        changed = np.concatenate([_packed(before), _packed(after)])
        kept[suspect] = ~np.isin(_packed(recent.keep(suspect)), changed)
    fresh = after.keep(after.day > first_day)
    left = recent.keep(kept)
    return Takings.of(*(np.concatenate(pair) for pair in zip(left, fresh, strict=True)))


def _packed(rows: Takings) -> NDArray[np.void]:
    packed = np.empty(len(rows.user), dtype=[("user", np.int64), ("item", np.int64)])
    packed["user"], packed["item"] = rows.user, rows.item
    return packed


def pack(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Give arrays by name in one compressed piece."""
    sink = io.BytesIO()
    np.savez_compressed(sink, allow_pickle=False, **arrays)
    return sink.getvalue()


def unpack(raw: bytes) -> dict[str, NDArray[Any]]:
    """Read back what `pack` gave; StatisticsBroken for anything else."""
    try:
        with np.load(io.BytesIO(raw), allow_pickle=False) as found:
            return dict(found)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error, KeyError) as broken:
        raise StatisticsBroken("these bytes hold no arrays") from broken
