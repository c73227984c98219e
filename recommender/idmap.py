"""Names outside, small integers inside."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

UNKNOWN = -1


@dataclass(frozen=True, slots=True, eq=False)
class IdMap:
    """Map sorted string ids to their positions 0 … n-1 and back.

    Sorted by code point, so that two maps of the same ids are the same map whatever order they came in; only
    `extended` adds behind.
    """

    ids: tuple[str, ...]
    _positions: dict[str, int] = field(repr=False)

    @classmethod
    def from_ids(cls, ids: Iterable[str]) -> Self:
        """Build the map of these ids; repeats are welcome, empty ids and other types are a ValueError."""
        unique = set(ids)
        for one in unique:
            if not isinstance(one, str) or not one:
                raise ValueError(f"an id is a non-empty string, not {one!r}")
        return cls._from_sorted(tuple(sorted(unique)))

    @classmethod
    def _from_sorted(cls, ids: tuple[str, ...]) -> Self:
        return cls(ids, {one: position for position, one in enumerate(ids)})

    def extended(self, ids: Iterable[str]) -> Self:
        """Give a map in which those of these ids that are not here follow, sorted among themselves."""
        more = tuple(sorted({one for one in ids if one not in self._positions}))
        added = {one: position for position, one in enumerate(more, start=len(self.ids))}
        return type(self)(self.ids + more, self._positions | added)

    def __len__(self) -> int:
        return len(self.ids)

    def __contains__(self, one: object) -> bool:
        return one in self._positions

    def __eq__(self, other: object) -> bool:
        return isinstance(other, IdMap) and self.ids == other.ids

    def __hash__(self) -> int:
        return hash(self.ids)

    def get(self, one: str) -> int:
        """Give the position of an id; KeyError if it is not here."""
        return self._positions[one]

    def find(self, one: str) -> int | None:
        """Give the position of an id, or None."""
        return self._positions.get(one)

    def positions(self, ids: Sequence[str]) -> NDArray[np.int32]:
        """Give int32 positions (len(ids),), -1 where an id is not here."""
        look = self._positions.get
        return np.fromiter((look(one, UNKNOWN) for one in ids), dtype=np.int32, count=len(ids))

    def known(self, ids: Iterable[str]) -> NDArray[np.int32]:
        """Give the int32 positions of those ids that are here, in the order given, each once."""
        look = self._positions
        return np.array(list(dict.fromkeys(look[one] for one in ids if one in look)), dtype=np.int32)

    def to_arrays(self) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Give the ids as UTF-8 bytes (total,) and offsets (n + 1,)."""
        encoded = [one.encode("utf-8") for one in self.ids]
        offsets = np.zeros(len(encoded) + 1, dtype=np.int64)
        np.cumsum([len(one) for one in encoded], out=offsets[1:])
        return np.frombuffer(b"".join(encoded), dtype=np.uint8), offsets

    @classmethod
    def from_arrays(cls, text: NDArray[Any], offsets: NDArray[Any]) -> Self:
        """Read back what `to_arrays` gave; ValueError if it is not a sorted list of distinct ids."""
        raw = np.asarray(text, dtype=np.uint8).tobytes()
        bounds = np.asarray(offsets).tolist()
        if not bounds or bounds[0] != 0 or bounds[-1] != len(raw):
            raise ValueError("id offsets do not span the id text")
        ids = tuple(raw[start:end].decode("utf-8") for start, end in pairwise(bounds))
        if any(not low < high for low, high in pairwise(ids)):
            raise ValueError("ids are not sorted and distinct")
        return cls._from_sorted(ids)
