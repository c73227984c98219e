"""Hidden tastes, found by alternating least squares.

Hu, Koren and Volinsky, "Collaborative filtering for implicit feedback datasets" (ICDM 2008), with the
regularisation of each row scaled by how many entries it has: Zhou et al. (AAIM 2008, ALS-WR).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from recommender.errors import InvalidConfig, UnfinishedFit
from recommender.history import History
from recommender.interactions import Csr, Interactions


@dataclass(frozen=True, slots=True)
class AlsConfig:
    """Set the factorisation.

    `regularization` is per entry: a user with n items is held back by n × regularization. Confidence in
    an entry of weight r is 1 + confidence_scale × r.
    """

    factors: int = 64
    iterations: int = 15
    regularization: float = 0.3
    confidence_scale: float = 10.0
    half_life_days: float | None = 60.0

    def __post_init__(self) -> None:
        if self.factors < 1 or self.iterations < 1:
            raise InvalidConfig("factors and iterations are at least 1")
        if self.regularization <= 0 or self.confidence_scale <= 0:
            raise InvalidConfig("regularization and confidence_scale are above zero")
        if self.half_life_days is not None and self.half_life_days <= 0:
            raise InvalidConfig("the half-life is above zero days")


class Factorise(Protocol):
    """Promise item factors for a matrix of confidences."""

    def __call__(self, confidence: Csr, config: AlsConfig, *, seed: int) -> NDArray[np.float32]:
        """Give item factors, (items, factors); the same for the same input and seed."""
        ...


@dataclass(frozen=True, slots=True)
class Als:
    """Score items by hidden tastes; the person's own tastes are solved for when asked.

    `item_factors` Y (learned, f) float32, C-ordered; `gram` YᵀY (f, f) float32. `unlearned` items follow,
    for which nobody has a taste.
    """

    config: AlsConfig
    item_factors: NDArray[np.float32]
    gram: NDArray[np.float32]
    unlearned: int = 0
    # YᵀY = V·diag(e)·Vᵀ: e (f,) and V (f, f), worked out once.
    _energies: NDArray[np.float64] = field(init=False, repr=False)
    _axes: NDArray[np.float64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        energies, axes = np.linalg.eigh(self.gram.astype(np.float64))
        object.__setattr__(self, "_energies", energies)
        object.__setattr__(self, "_axes", axes)

    @classmethod
    def fit(cls, interactions: Interactions, config: AlsConfig, *, factorise: Factorise, seed: int) -> Self:
        """Factorise users × items; users' factors are thrown away. UnfinishedFit if it diverged."""
        weighted = interactions.weighted(half_life_days=config.half_life_days)
        data = 1 + np.float32(config.confidence_scale) * weighted.data
        confidence = Csr(weighted.indptr, weighted.indices, data, weighted.shape)
        factors = np.ascontiguousarray(factorise(confidence, config, seed=seed), dtype=np.float32)
        if factors.shape[0] != weighted.shape[1] or not np.isfinite(factors).all():
            raise UnfinishedFit(f"item factors {factors.shape} for {weighted.shape[1]} items, or not finite")
        double = factors.astype(np.float64)
        return cls(config, factors, (double.T @ double).astype(np.float32))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], config: AlsConfig) -> Self:
        """Read back what `arrays` gave."""
        return cls(config, arrays["als_item_factors"], arrays["als_gram"])

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Give the fitted arrays by name."""
        return {"als_item_factors": self.item_factors, "als_gram": self.gram}

    def fold_in(self, history: History) -> NDArray[np.float32]:
        """Solve for the person's factors, (f,): equation 4 of the paper, (YᵀCY + λnI)⁻¹ YᵀC1.

        Only what was taken enters, of what was learned: YᵀCY = YᵀY + TᵀET, T (m, f) the factors of what was
        taken and E = C - 1. Few items make a system of m equations out of that of f, since YᵀY + λnI turned
        onto its own axes is diagonal: x = D⁻¹Tᵀz with (I + E·T·D⁻¹Tᵀ)z = C1 (Sherman, Morrison and
        Woodbury).
        """
        held = self.config.regularization * len(history)
        history = history.among(len(self.item_factors))
        extra = self.config.confidence_scale * history.weights(half_life_days=self.config.half_life_days)
        taken = self.item_factors[history.items].astype(np.float64)
        solved: NDArray[Any]
        if len(taken) < len(self.gram):
            turned = taken @ self._axes
            spread = turned / (self._energies + held)
            few = (spread @ turned.T) * extra[:, None]
            few.flat[:: len(few) + 1] += 1
            solved = self._axes @ (np.linalg.solve(few, 1 + extra) @ spread)
        else:
            system = self.gram + (taken.T * extra) @ taken
            system.flat[:: len(system) + 1] += held
            solved = np.linalg.solve(system, (1 + extra) @ taken)
        person: NDArray[np.float32] = solved.astype(np.float32)
        return person

    def vectors(self, positions: NDArray[np.integer]) -> NDArray[np.float32]:
        """Give the factors of items by position, (p, f)."""
        if not self.unlearned:
            own: NDArray[np.float32] = self.item_factors[positions]
            return own
        learned = positions < len(self.item_factors)
        found = np.zeros((len(positions), self.item_factors.shape[1]), np.float32)
        found[learned] = self.item_factors[positions[learned]]
        return found

    def tastes(self, person: NDArray[np.float32]) -> NDArray[np.float32]:
        """Give a person's tastes for all items, (items,); the least there is for what was not learned."""
        learned = len(self.item_factors)
        tastes = np.empty(learned + self.unlearned, np.float32)
        np.matmul(self.item_factors, person, out=tastes[:learned])
        if self.unlearned:
            tastes[learned:] = tastes[:learned].min(initial=0)
        return tastes

    def score(self, history: History) -> NDArray[np.float32]:
        """Score all items, (items,): the predicted preference, about 0 to 1."""
        if not len(history):
            return np.zeros(len(self.item_factors) + self.unlearned, dtype=np.float32)
        return self.tastes(self.fold_in(history))
