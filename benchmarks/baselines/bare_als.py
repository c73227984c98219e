"""B3: one fit of the same matrix by `implicit` alone, one thread."""

from __future__ import annotations

from typing import Any

from implicit.cpu.als import AlternatingLeastSquares
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from recommender.models.als import AlsConfig


def fit(confidence: Any, config: AlsConfig) -> None:
    """Factorise a scipy matrix of confidences."""
    with threadpool_limits(limits=1, user_api="blas"):
        model = AlternatingLeastSquares(
            factors=config.factors,
            regularization=config.regularization,
            iterations=config.iterations,
            num_threads=1,
            random_state=1,
        )
        model.fit(confidence, show_progress=False)
