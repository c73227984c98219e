"""What one person's own history says about taking each of its items again.

Counts that fade at several half-lives and by visits, in logarithms, stand beside plain counts, so that the
weights of the blend can follow a shop where lateness says nothing as well as one where it says all:
GP-TopFreq and the own vector of TIFU-KNN (Hu et al., SIGIR 2020) lie within their reach. numpy only.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from recommender.history import History

HALF_LIVES = (14.0, 30.0, 60.0, 120.0, 240.0)
HABIT_SIGNALS = (
    "again_popular_7d",
    "again_popular_28d",
    "again_popular_all",
    "again_repeat",
    "again_soon",
    "again_times",
    "again_14d",
    "again_30d",
    "again_60d",
    "again_120d",
    "again_240d",
    "again_visits",
    "again_small_visits",
    "again_last",
    "again_early",
    "again_late",
    "again_once",
    "again_once_repeat",
    "again_times_repeat",
    "again_breadth",
    "again_habit",
)
_RATES = -1 / np.array(HALF_LIVES)
_FLOOR = 0.02
_VISIT_DECAY = 0.9


def habit_signals(
    history: History,
    *,
    counts: NDArray[np.float32],
    repeat: NDArray[np.float32],
    soon: NDArray[np.float32],
    gap_days: NDArray[np.float32],
    gap_prior: float,
) -> NDArray[np.float64]:
    """Give `HABIT_SIGNALS`, (m, 21), in the order of `history.items`.

    The facts are those of these m items: counts per window (3, m), the chances that a buyer takes the item
    again at all and within a month, the usual days between takings, to which a person's own are shrunk as
    if by `gap_prior` intervals. Logarithms of counts have 0.02 added, those of days 1.
    """
    found = np.empty((len(history), len(HABIT_SIGNALS)))
    if not len(history):
        return found
    starts, times, age = history.starts, history.times, history.age_days
    last = history.last_age_days()
    late = _lateness(last, age[starts], times, gap_days, gap_prior)
    found[:, :3] = np.log1p(counts.T)
    found[:, 3], found[:, 4], found[:, 5] = np.log(repeat), np.log(soon), np.log(times)
    # Visits are numbered back from the latest one; a taking weighs more in a small one.
    _, visit, size = np.unique(age, return_inverse=True, return_counts=True)
    faded = np.empty((len(age), len(HALF_LIVES) + 2))
    faded[:, :-2] = np.exp2(age[:, None] * _RATES)
    faded[:, -2], faded[:, -1] = _VISIT_DECAY**visit, 1 / size[visit]
    found[:, 6:13] = np.log(np.add.reduceat(faded, starts, axis=0) + _FLOOR)
    found[:, 13] = np.log1p(last)
    found[:, 14], found[:, 15] = np.maximum(-late, 0), np.maximum(late, 0)
    found[:, 16] = times == 1
    found[:, 17], found[:, 18] = found[:, 16] * found[:, 3], found[:, 5] * found[:, 3]
    found[:, 19] = math.log(len(times))
    found[:, 20] = math.log((len(age) - len(times) + 1) / (len(age) + 2))
    return found


def _lateness(
    last: NDArray[np.float64],
    first: NDArray[np.float64],
    times: NDArray[np.int64],
    gap_days: NDArray[np.float32],
    prior: float,
) -> NDArray[np.float64]:
    """Give log((days since the last taking + 1) ÷ (usual days between two + 1)), (m,); 0 when taken once.

    Above zero it is late, below early. The usual days are the person's mean, shrunk to the item's.
    """
    usual = (first - last + prior * gap_days) / (times - 1 + prior)
    return np.where(times > 1, np.log((last + 1) / (usual + 1)), 0.0)
