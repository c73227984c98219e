"""Fit everything, for batch jobs: interactions in, a model that can be written or served out."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version as installed_version
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from recommender.artifact import Manifest, write_artifact
from recommender.blending import ItemFacts
from recommender.config import TrainingConfig
from recommender.engines import Engine, engine_in_force, local
from recommender.interactions import Interactions
from recommender.models.als import Als
from recommender.models.ease import Ease
from recommender.models.item_to_item import ItemToItem
from recommender.models.personal_frequency import PersonalFrequency
from recommender.models.popularity import Popularity
from recommender.serving import ServedModel

__all__ = ["Progress", "TrainedModel", "TrainingConfig", "train"]

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """Hold what a training run learned, before it is written."""

    config: TrainingConfig
    seed: int
    trained_from: int
    trained_through: int
    counts: Mapping[str, int]
    arrays: Mapping[str, NDArray[Any]]
    libraries: Mapping[str, str] = field(default_factory=dict)

    def write(
        self,
        path: str | os.PathLike[str],
        *,
        version: str,
        metrics: Mapping[str, Any] | None = None,
        notes: Mapping[str, Any] | None = None,
    ) -> str:
        """Write the artefact under a name of the caller's and give its content hash.

        `metrics` (what `evaluate` found) is part of the hash, `notes` (when, by whom) is not.
        ArtifactExists when the place is taken.
        """
        return write_artifact(
            path,
            self.arrays,
            version=version,
            parameters=self.config.as_dict(),
            seed=self.seed,
            trained_from=self.trained_from,
            trained_through=self.trained_through,
            counts=self.counts,
            metrics=metrics or {},
            libraries=self.libraries,
            notes=notes,
        ).content_hash

    def serve(self) -> ServedModel:
        """Give the model ready to rank, straight from memory, exactly as it would be after writing."""
        manifest = Manifest(
            version="in-memory",
            content_hash="",
            parameters=self.config.as_dict(),
            seed=self.seed,
            trained_from=self.trained_from,
            trained_through=self.trained_through,
            counts=self.counts,
            metrics={},
            libraries={},
            files={},
            notes={},
        )
        return ServedModel(manifest, self.arrays)


def train(
    interactions: Interactions,
    config: TrainingConfig | None = None,
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> TrainedModel:
    """Fit every model on the interactions; the same data, settings and seed give the same bytes.

    `progress` is told (stage, done, total) as stages finish. One thread throughout; the engine is the one
    in force (`recommender.engines.using_engine`), the local one otherwise.
    """
    engine = engine_in_force()
    # The number of BLAS threads changes the last bits of a product, and with them the hash.
    with threadpool_limits(limits=1, user_api="blas"):
        arrays = _fit(
            interactions,
            config or TrainingConfig(),
            seed,
            engine,
            progress or (lambda stage, done, total: None),
        )
    return TrainedModel(
        config=config or TrainingConfig(),
        seed=seed,
        trained_from=interactions.first_day,
        trained_through=interactions.last_day,
        counts={
            "users": len(interactions.users),
            "items": len(interactions.items),
            "interactions": len(interactions),
        },
        arrays=arrays,
        libraries=library_versions(engine),
    )


def _fit(
    interactions: Interactions, config: TrainingConfig, seed: int, engine: Engine, tell: Progress
) -> dict[str, NDArray[Any]]:
    text, offsets = interactions.items.to_arrays()
    arrays: dict[str, NDArray[Any]] = {"items_text": text, "items_offsets": offsets}

    popularity = Popularity.fit(interactions, config.popularity)
    arrays.update(popularity.arrays())
    facts = ItemFacts.fit(interactions, prior_buyers=config.personal_frequency.repeat_prior_buyers)
    arrays.update(facts.arrays())
    tell("popularity", 1, 5)
    personal = PersonalFrequency.fit(interactions, config.personal_frequency, popularity=popularity.scores)
    arrays.update(personal.arrays())
    tell("personal_frequency", 2, 5)
    near = ItemToItem.fit(interactions, config.item_to_item, find=engine.find_neighbours)
    arrays.update(near.arrays())
    tell("item_to_item", 3, 5)
    als = Als.fit(interactions, config.als, factorise=engine.factorise, seed=seed)
    arrays.update(als.arrays())
    tell("als", 4, 5)
    ease = Ease.fit(interactions, config.ease, solve=local.solve_ease)
    arrays.update(ease.arrays())
    tell("ease", 5, 5)
    return arrays


def library_versions(engine: Engine) -> dict[str, str]:
    """Name what the numbers were computed with."""
    return {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": installed_version("scipy"),
        **engine.libraries,
    }
