"""Put newer figures under a trained model: popularity, repeat probability and usual intervals. numpy only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from recommender.models.personal_frequency import gate_of, shrink_gaps, shrink_repeats
from recommender.serving import Repeats, ServedModel
from recommender.statistics import Figures

# As in training: where nobody bought anything twice the logarithm is still needed.
_LEAST_REPEAT = 1e-3


@dataclass(frozen=True, slots=True, eq=False)
class Refreshed:
    """Hold a model over newer figures, and the lists that come of figures alone, by the model's items.

    `trend` (items,) float32, 0 where nothing is trending; `segments` the recent buyers of each item, (items,)
    float32, by segment.
    """

    model: ServedModel
    trend: NDArray[np.float32]
    segments: dict[str, NDArray[np.float32]]

    @classmethod
    def of(cls, model: ServedModel, figures: Figures, ids: NDArray[np.int64]) -> Self:
        """Join a model with figures; `ids` (items,) say what each of its items is called there (0: unknown).

        What the figures do not know was taken by nobody.
        """
        counts, buyers, repeaters, gaps, doubled, trend = (
            figures.spread(column, ids)
            for column in (
                figures.counts,
                figures.buyers,
                figures.repeaters,
                figures.gaps,
                figures.gaps_doubled,
                figures.trend,
            )
        )
        # Figures that were written by an earlier release do not hold it.
        fortnight = None if figures.fortnight is None else figures.spread(figures.fortnight, ids)
        config = model.personal_frequency.config
        average = float(figures.repeaters.sum() / max(1, figures.buyers.sum()))
        probability = shrink_repeats(buyers, repeaters, average, prior_buyers=config.repeat_prior_buyers)
        gap_days = model.personal_frequency.gap_days
        if figures.overall_doubled:
            median, overall = doubled / 2, figures.overall_doubled / 2
            gap_days = shrink_gaps(gaps, median, overall, prior_intervals=config.gap_prior_intervals).astype(
                np.float32
            )
        likely = np.maximum(probability, _LEAST_REPEAT).astype(np.float32)
        repeats = Repeats(likely, gate_of(probability, average, config), gap_days)
        fresh = model.refreshed(counts, through_day=figures.through_day, fortnight=fortnight, repeats=repeats)
        segments = {
            name: figures.spread(row, ids).astype(np.float32)
            for name, row in zip(figures.segment_names, figures.segments, strict=True)
        }
        return cls(fresh, trend, segments)
