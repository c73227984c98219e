"""Rank one question, translated into positions: from the few items that can reach the list, or from all.

Both give the same list; the tests hold either to the plain definition. numpy only.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from recommender.arms import plain_scores, same_order
from recommender.blending import Blend, DiscoverArm, MixedArm, Near
from recommender.browsing import Browsed, lean
from recommender.history import History
from recommender.models.item_to_item import Spread
from recommender.ranking import OUT, Arrangement, choose
from recommender.shortlist import Front, Said, shortlist

Mode = Literal["mixed", "buy_again", "discover"]


class Asked(NamedTuple):
    """Keep one question; `allowed` is a mask (items,) or None, `out` are positions never given back.

    `linked` is the spread of the history and the cart.
    """

    taken: History
    linked: Spread
    browsed: Browsed | None
    mode: Mode
    how: Arrangement
    allowed: NDArray[np.bool_] | None
    out: NDArray[np.int32]


class Listed(NamedTuple):
    """Keep a list and what put it together: `totals` (p,) and `shares` (3, p) of the items `chosen` (p,).

    `highest` is the best total of all items, whether they may be shown or not; `alike` what goes with that
    which was looked at.
    """

    chosen: NDArray[np.intp]
    totals: NDArray[np.float32]
    shares: NDArray[np.float32]
    highest: np.float32
    candidate_count: int
    alike: Spread | None


@dataclass(frozen=True, slots=True, eq=False)
class Ranker:
    """Hold a blend and what is the same for everybody: base scores and popularity (items,), and the front."""

    blend: Blend
    popularity: NDArray[np.float32]
    base: NDArray[np.float32]
    front: Front | None

    @classmethod
    def of(cls, blend: Blend, popularity: NDArray[np.float32]) -> Self:
        """Compute what is the same for everybody."""
        base = blend.base()
        # Where EASE plays a part it speaks for many, and the catalogue is small.
        front = None
        if not blend.asks_ease:
            front = Front.of(base, blend.als, weight=blend.config.als)
        return cls(blend, popularity, base, front)

    def rank(self, asked: Asked) -> Listed:
        """Rank for a mode; the blend's logarithmic scale."""
        person = self.blend.person(asked.taken)
        return self._rank_few(asked, person) or self._rank_all(asked, person)

    def score(self, asked: Asked, near: Near) -> tuple[NDArray[np.float32], Spread | None]:
        """Score all items for a mode, (items,); what the mode does not give is out. No masks."""
        taken, mode, blend = asked.taken, asked.mode, self.blend
        arm, alike = self._arm(mode, taken), None
        if arm == "learned":
            total = blend.discover(near, self.base)
            if asked.browsed:
                alike = lean(total, asked.browsed, blend.item_to_item, blend.config)
        else:
            total = same_order(plain_scores(arm, blend, self.popularity, taken))
            if asked.browsed and blend.config.like_viewed:
                alike = asked.browsed.spread(blend.item_to_item)
        if mode == "discover":
            total[taken.items] = OUT
        else:
            kept = total[taken.items]
            if arm == "learned":
                kept = blend.again(taken, near.ease, kept)
            if mode == "buy_again":
                total[:] = OUT
            total[taken.items] = kept
        return total, alike

    def _rank_all(self, asked: Asked, person: NDArray[np.float32] | None) -> Listed:
        near = self.blend.near(asked.linked, person)
        total, alike = self.score(asked, near)
        highest = total.max(initial=OUT)
        vectors = self.blend.als.vectors
        chosen, count = choose(total, asked.how, asked.allowed, asked.out, vectors=vectors)
        return Listed(chosen, total[chosen], near.shares(chosen), highest, count, alike)

    def _rank_few(self, asked: Asked, person: NDArray[np.float32] | None) -> Listed | None:
        """Rank what can reach the list; None where there is no telling, or it is no shortcut."""
        front, how, mode, taken = self.front, asked.how, asked.mode, asked.taken
        if front is None or person is None or mode == "buy_again" or how.diversity or how.cap is not None:
            return None
        if self._arm(mode, taken) != "learned" or (tastes := front.taste(person)) is None:
            return None
        barred = np.concatenate([asked.out, taken.items]) if mode == "discover" else asked.out
        count = self._count(asked.allowed, barred)
        said, alike = self._say(asked)
        found = shortlist(
            front,
            self.blend,
            self.base,
            person=person,
            tastes=tastes,
            said=said,
            taken=taken,
            allowed=asked.allowed,
            barred=barred,
            number=min(how.limit, count),
        )
        if found is None:
            return None
        total, own = found.scores, found.taken
        total[own] = OUT if mode == "discover" else self.blend.again(taken, None, total[own])
        at = ((total >= found.cut) & found.candidates).nonzero()[0]
        # Equal scores go to the lower position, as from all items.
        at = at[np.lexsort((found.positions[at], -total[at]))[: how.limit]]
        chosen = found.positions[at]
        shares = Near(None, None, self.blend.spoken(asked.linked)).shares(chosen)
        shares[1] = found.tastes[at]
        return Listed(chosen, total[at], shares, total.max(), count, alike)

    def _count(self, allowed: NDArray[np.bool_] | None, barred: NDArray[np.int32]) -> int:
        """Count what may be on the list."""
        gone = list(set(barred.tolist()))
        if allowed is None:
            return len(self.base) - len(gone)
        return int(np.count_nonzero(allowed)) - int(np.count_nonzero(allowed[gone]) if gone else 0)

    def _say(self, asked: Asked) -> tuple[Said, Spread | None]:
        """Give what is said of items besides their tastes, and what is like that which was looked at."""
        blend, linked, alike = self.blend, self.blend.spoken(asked.linked), None
        silence = 0.0 if linked is None else float(blend.silence)
        near = np.zeros(0, np.intp) if linked is None else linked.near.ravel()
        if not asked.browsed:
            tell = self._tell_nothing if linked is None else partial(blend.tell, linked)
            return Said(tell, silence, near), None
        scores = np.full(len(self.base), silence, np.float32)
        if linked is not None:
            blend.link(scores, linked)
        alike = lean(scores, asked.browsed, blend.item_to_item, blend.config)
        touched = [near, asked.browsed.items.astype(np.intp)]
        touched += [] if alike is None else [alike.near.ravel()]
        return Said(scores.__getitem__, silence, np.concatenate(touched)), alike

    @staticmethod
    def _tell_nothing(positions: NDArray[np.intp]) -> NDArray[np.float32]:
        return np.zeros(len(positions), np.float32)

    def _arm(self, mode: Mode, taken: History) -> MixedArm | DiscoverArm:
        """Say which ranking is in force; with nothing taken the baselines have nothing to go by."""
        config = self.blend.config
        if not len(taken):
            return "learned"
        if mode == "discover":
            return config.discover
        if mode == "buy_again" and config.mixed.startswith("popularity"):
            return "top_frequency"
        return config.mixed
