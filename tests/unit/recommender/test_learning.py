"""What is learned from sets of things that came back: which ones do, however many it is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from recommender.blending import AGAIN_SIGNALS, BlendConfig
from recommender.learning import Examples, learn

TRUE = {"again_recent": 0.6, "again_steady": 1.4, "again_repeat": 0.8}
PEOPLE, ITEMS, NEW = 400, 40, 30


def people(*, seed: int = 3, none_back: bool = False) -> Examples:
    """Give people of whose 40 items each comes back by `TRUE` and a level of the person's own.

    Whoever comes back to more also has more of everything in their history, as real people have.
    """
    rng = np.random.default_rng(seed)
    own = rng.normal(scale=1.5, size=PEOPLE)
    signals = np.zeros((PEOPLE * ITEMS, len(AGAIN_SIGNALS)))
    signals[:, 0] = 1
    person = np.repeat(np.arange(PEOPLE), ITEMS)
    for name in TRUE:
        signals[:, AGAIN_SIGNALS.index(name)] = rng.gamma(2.0, 1.0, PEOPLE * ITEMS) - 0.5 * own[person]
    score = sum(weight * signals[:, AGAIN_SIGNALS.index(name)] for name, weight in TRUE.items())
    back = rng.random(PEOPLE * ITEMS) < 1 / (1 + np.exp(-(score - 4.0 + 2 * own[person])))
    back &= not none_back
    taken = np.bincount(person, back, PEOPLE) + 1
    new = np.zeros((PEOPLE, NEW), np.float32)
    new[:, 0] = 1
    return Examples(
        people=PEOPLE,
        person=np.repeat(np.arange(PEOPLE), NEW),
        signals=rng.normal(size=(PEOPLE * NEW, 7)).astype(np.float32),
        log_weight=np.zeros(PEOPLE * NEW, np.float32),
        share_of_new=new.ravel(),
        again_person=person,
        again_signals=signals,
        again_near=np.zeros((PEOPLE * ITEMS, 7), np.float32),
        again_offset=np.zeros(PEOPLE * ITEMS),
        again_share=back / taken[person],
    )


def flat() -> BlendConfig:
    """Give a start that knows nothing of what comes back."""
    weights: dict[str, Any] = dict.fromkeys(AGAIN_SIGNALS, 0.0)
    return BlendConfig(**weights)


def test_what_tells_items_apart_is_found_again_whatever_people_s_levels_are() -> None:
    found = learn([people(), people(seed=4)], flat())
    slope = sum(getattr(found, name) for name in TRUE) / sum(TRUE.values())
    assert slope > 0.05
    for name, weight in TRUE.items():
        assert getattr(found, name) / slope == pytest.approx(weight, rel=0.12), name
    for name in ("again_times", "again_due", "again_ease", "again_discover"):
        assert getattr(found, name) == 0


def test_the_level_among_new_items_follows_how_much_comes_back() -> None:
    rich, poor = learn([people()], flat()), learn([people(none_back=True)], flat())
    assert rich.again > poor.again + 1


def test_where_nothing_ever_comes_back_the_signals_stay_at_their_start() -> None:
    start = BlendConfig()
    found = learn([people(none_back=True)], start)
    ratio = found.again_steady / start.again_steady
    for name in ("again_recent", "again_steady", "again_repeat", "again_times", "again_due"):
        assert getattr(found, name) == pytest.approx(ratio * getattr(start, name), abs=1e-5)
    assert np.isfinite(found.weights(AGAIN_SIGNALS)).all()


def test_people_all_of_whose_things_came_back_say_nothing_of_which() -> None:
    one = people()
    share = one.again_share.copy()
    whole = np.arange(PEOPLE) % 2 == 0
    share[whole[one.again_person]] = 1 / (ITEMS + 1)
    found = learn([replace(one, again_share=share)], flat())
    slope = sum(getattr(found, name) for name in TRUE) / sum(TRUE.values())
    for name, weight in TRUE.items():
        assert getattr(found, name) / slope == pytest.approx(weight, rel=0.15), name
