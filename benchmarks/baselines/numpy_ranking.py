"""B5: one user vector against all item factors, a mask, and the best two hundred, by numpy alone."""

from __future__ import annotations

import time

import numpy as np

_FACTORS, _BEST = 64, 200


class BareRanking:
    """Item factors (items, 64) float32, of which one in twenty cannot be had."""

    def __init__(self, items: int) -> None:
        chance = np.random.default_rng(5)
        self._factors = chance.standard_normal((items, _FACTORS), dtype=np.float32)
        self._person = chance.standard_normal(_FACTORS, dtype=np.float32)
        self._out = chance.random(items) < 0.05

    def rank(self) -> object:
        """Return the positions of the best, best first."""
        scores = self._factors @ self._person
        scores[self._out] = -np.inf
        best = np.argpartition(scores, len(scores) - _BEST)[-_BEST:]
        return best[np.argsort(-scores[best])]

    def spend(self, times: int) -> float:
        """Return the CPU seconds of ranking once, over so many times."""
        started = time.process_time()
        for _ in range(times):
            self.rank()
        return (time.process_time() - started) / times
