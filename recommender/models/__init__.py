"""One file per model, all behind one small promise.

A model is fitted on `Interactions` and is from then on a handful of arrays plus a few numbers; it turns a
`History` into one score per item. These files import numpy only, so that a web process can hold them;
where fitting needs a compiled engine, the engine is handed in.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from recommender.history import History


class Model(Protocol):
    """Promise scores for a history."""

    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """Give everything the fit learned, by name; together with the configuration it is the model."""
        ...

    def score(self, history: History) -> NDArray[np.float32]:
        """Score all items, (items,); more is better, nothing known is zero. The history is not changed."""
        ...
