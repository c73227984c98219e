"""What somebody looked at lately and has not taken since: weaker than a purchase, and soon forgotten.

Signals fade by half-lives of their own, and nothing older than `BROWSED_DAYS` counts. How much they weigh
against everything else is learned on rolling origins (`recommender.leaning`) and may be nothing. numpy only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, Self, get_args

import numpy as np
from numpy.typing import NDArray

from recommender.blending import BlendConfig
from recommender.history import History
from recommender.idmap import IdMap
from recommender.models.item_to_item import ItemToItem, Spread

Kind = Literal["viewed", "carted", "wished"]

KINDS: tuple[Kind, ...] = get_args(Kind)
CODES: Mapping[Kind, str] = {"viewed": "looked_at", "carted": "put_in_cart", "wished": "wished_for"}
"""Why something is shown that was looked at."""
BROWSED_DAYS = 30
"""Nothing older counts."""
_VIEW_HALF_LIFE_DAYS, _WANT_HALF_LIFE_DAYS = 3.0, 10.0
_FLOOR = 0.02
_MUCH_ALIKE = 0.6
_SPAN = np.log(1 + _FLOOR) - np.log(_FLOOR)


class Look(NamedTuple):
    """Say that something was looked at: in days since 1970-01-01, with the fraction of the day."""

    item_id: str
    at: float
    kind: Kind


@dataclass(frozen=True, slots=True, eq=False)
class Browsed:
    """Hold what one person looked at, by item, the latest first.

    `items` (m,) int32 distinct positions; `viewed` and `wanted` (m,) float64 decayed looks, and decayed
    carts and wishes; `kinds` the strongest kind of each item.
    """

    items: NDArray[np.int32]
    viewed: NDArray[np.float64]
    wanted: NDArray[np.float64]
    kinds: tuple[Kind, ...]

    @classmethod
    def encode(
        cls,
        looks: Iterable[tuple[str, float, Kind]],
        *,
        items: IdMap,
        now: float,
        taken: History | None = None,
        today: int = 0,
    ) -> Self:
        """Translate looks; unknown items and what is too old are left out.

        So is what was taken on the same day or later (`taken`, as it stands on `today`): that wish is
        fulfilled. None leaves everything in. Looks after `now` count as of now.
        """
        bought = {} if taken is None else dict(zip(taken.items.tolist(), taken.last_age_days(), strict=True))
        found: dict[int, list[tuple[float, Kind]]] = {}
        for item_id, at, kind in sorted(looks, key=lambda look: (-look[1], look[0])):
            position = items.find(item_id)
            age = max(0.0, now - at)
            if position is None or age >= BROWSED_DAYS:
                continue
            if bought.get(position, np.inf) <= today - int(at):
                continue
            found.setdefault(position, []).append((age, kind))
        return cls(
            items=np.fromiter(found, np.int32, len(found)),
            viewed=_fade(found.values(), ("viewed",), _VIEW_HALF_LIFE_DAYS),
            wanted=_fade(found.values(), ("carted", "wished"), _WANT_HALF_LIFE_DAYS),
            kinds=tuple(_strongest({kind for _, kind in one}) for one in found.values()),
        )

    def __len__(self) -> int:
        return len(self.items)

    def own(self) -> NDArray[np.float32]:
        """Give what speaks for each item itself, (m, 2): looks and wishes, s ÷ (1 + s)."""
        strength = np.stack([self.viewed, self.wanted], axis=1)
        return (strength / (1 + strength)).astype(np.float32)

    def alike(self, near: ItemToItem) -> NDArray[np.float32]:
        """Give how alike every item is to what was looked at, (items,) in [0, 1], on a logarithmic scale."""
        spread = self.spread(near)
        alike = np.zeros(near.count, np.float32)
        if spread is not None:
            alike[spread.near] = likeness(spread, spread.near)
        return alike

    def spread(self, near: ItemToItem) -> Spread | None:
        """Spread what was looked at over what goes with it; None where nothing does."""
        spread = near.spread(self.items, self.viewed + self.wanted)
        return spread if spread.best > 0 else None


def leans(blend: BlendConfig) -> bool:
    """Say whether browsing plays any part in the score."""
    return bool(blend.viewed or blend.wanted or blend.like_viewed)


def likeness(spread: Spread, positions: NDArray[np.intp]) -> NDArray[np.float32]:
    """Give how alike these items are to what was looked at, in [0, 1], on a logarithmic scale."""
    return np.asarray((np.log(spread.share(positions) + _FLOOR) - np.log(_FLOOR)) / _SPAN, np.float32)


def lean(
    scores: NDArray[np.float32], browsed: Browsed, near: ItemToItem, blend: BlendConfig
) -> Spread | None:
    """Add to the discover score of all items, in place, what browsing says; give `alike` where it counts."""
    scores[browsed.items] += browsed.own() @ np.array([blend.viewed, blend.wanted], np.float32)
    spread = browsed.spread(near) if blend.like_viewed else None
    if spread is not None:
        # Positions repeat, each time with the same likeness.
        scores[spread.near] += np.float32(blend.like_viewed) * likeness(spread, spread.near)
    return spread


def explain(
    browsed: Browsed | None, alike: Spread | None, chosen: NDArray[np.intp], blend: BlendConfig
) -> dict[int, tuple[str, int | None]]:
    """Give the reason of each chosen item that browsing spoke for: looked at itself, or like what was."""
    found: dict[int, tuple[str, int | None]] = {}
    if not browsed:
        return found
    if alike is not None:
        close = chosen[likeness(alike, chosen) >= _MUCH_ALIKE]
        found |= {item: ("like_viewed", by) for item, by in alike.strongest(close).items()}
    speaks = {"viewed": blend.viewed, "carted": blend.wanted, "wished": blend.wanted}
    for item, kind in zip(browsed.items.tolist(), browsed.kinds, strict=True):
        if speaks[kind]:
            found[item] = (CODES[kind], None)
    return found


def _fade(
    looks: Iterable[list[tuple[float, Kind]]], kinds: tuple[Kind, ...], half_life_days: float
) -> NDArray[np.float64]:
    return np.array(
        [sum(0.5 ** (age / half_life_days) for age, kind in one if kind in kinds) for one in looks],
        np.float64,
    )


def _strongest(kinds: set[Kind]) -> Kind:
    return next(kind for kind in ("carted", "wished", "viewed") if kind in kinds)
