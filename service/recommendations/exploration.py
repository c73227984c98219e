"""The explored place: the last of a list, where a lot decides which of the next best stands. Pure.

The lot is drawn from the answer's own id, so whoever holds the decision record can draw it again. What is
logged is the marginal chance of each candidate: that of being drawn, and for the item that would have stood
there anyway also that of no lot being cast.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

MOST_CANDIDATES = 50
_ALL = 10_000
_SEED_BITS = 48


@dataclass(frozen=True, slots=True)
class Exploration:
    """How many candidates a lot is cast among, the one that stands there anyway too, and how often.

    `share_bp` of the answers cast it, in basis points; the others keep the item of the highest score.
    """

    candidates: int
    share_bp: int


@dataclass(frozen=True, slots=True)
class Explored:
    """What a lot decided: `drawn` is an index of `item_keys`, the candidates in order of their scores.

    `position` counts from 1.
    """

    exploration: Exploration
    position: int
    seed: int
    drawn: int
    item_keys: tuple[int, ...]

    @property
    def propensity(self) -> float:
        """Return how likely the item that was shown was to be shown there."""
        return chances(self.exploration, len(self.item_keys))[self.drawn]

    def record(self, *, steered_by: Sequence[str]) -> dict[str, Any]:
        """Return what the decision record keeps; `steered_by` are the items that were on the page."""
        told = chances(self.exploration, len(self.item_keys))
        return {
            "propensity": {"kind": "exploration", "value": self.propensity},
            "seed": self.seed,
            "exploration": {
                "position": self.position,
                "share_bp": self.exploration.share_bp,
                "candidates": [list(pair) for pair in zip(self.item_keys, told, strict=True)],
                "steered_by": list(steered_by),
            },
        }


def seed_of(answer_id: str) -> int:
    """Return the seed of an answer's lot, 48 bits: small enough for every reader of JSON."""
    digest = hashlib.sha256(f"exploration\x1f{answer_id}".encode()).digest()
    return int.from_bytes(digest[: _SEED_BITS // 8], "big")


def chances(exploration: Exploration, count: int) -> list[float]:
    """Return how likely each of `count` candidates is to be shown, best score first; they sum to one."""
    tickets = _ALL * count
    others = exploration.share_bp / tickets
    return [(tickets - exploration.share_bp * (count - 1)) / tickets, *[others] * (count - 1)]


def draw(exploration: Exploration, *, count: int, seed: int) -> int:
    """Return which of `count` candidates is shown, in whole numbers throughout."""
    ticket = seed * _ALL * count >> _SEED_BITS
    # The first tickets are the lots, the same number for each candidate; all others keep the first one.
    return ticket // exploration.share_bp if ticket < exploration.share_bp * count else 0


def explore(
    exploration: Exploration, *, limit: int, item_keys: Sequence[int], answer_id: str
) -> Explored | None:
    """Return what stands at the last place of a list, or None where no lot can be cast.

    `item_keys` are the best `limit - 1 + exploration.candidates` that may be shown, or all there are.
    """
    candidates = tuple(item_keys[limit - 1 :][: exploration.candidates])
    if limit < 1 or len(candidates) < 2:
        return None
    seed = seed_of(answer_id)
    drawn = draw(exploration, count=len(candidates), seed=seed)
    return Explored(exploration, limit, seed, drawn, candidates)
