"""Lists of their own: what is trending, what a segment buys, what somebody looked at. numpy only.

The masks are those of every other list, and act on all items before the best are cut out.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from recommender.browsing import CODES, Browsed, Kind
from recommender.ranking import OUT, arrange, best
from recommender.serving import Answer, Recommendation, ServedModel, Source


def list_by(
    model: ServedModel,
    scores: NDArray[np.float32],
    *,
    source: Source,
    codes: Mapping[int, str] | str,
    limit: int,
    exclude: Collection[str] = (),
    allowed: NDArray[np.bool_] | None = None,
    params: Mapping[str, int | str] | None = None,
    fill: bool = True,
    groups: NDArray[np.int32] | None = None,
    cap: int | None = None,
) -> Answer:
    """List items by scores of their own, (items,) none below zero; popularity fills the end.

    What has a score is given `source` and its reason (`codes`, one for all or by position, with `params`);
    what only fills says that it is popular, and where nothing else is left the answer says so too. Without
    `fill` there is nothing else in it. `groups` and `cap` are those of `ServedModel.recommend`.
    """
    own = np.asarray(scores, np.float32)
    rest = model.popularity.scores if fill else np.full(len(own), OUT)
    total = np.where(own > 0, 1 + own / max(float(own.max(initial=0)), 1e-9), rest).astype(np.float32)
    chosen, candidate_count = best(total, limit, allowed, model.items.known(exclude))
    if cap is not None:
        chosen = arrange(total, limit, groups=groups, cap=cap)
    listed = []
    for item in chosen.tolist():
        if own[item] > 0:
            code = codes if isinstance(codes, str) else codes[item]
            given = Recommendation(
                model.items.ids[item], float(total[item]), source, code, dict(params or {})
            )
        else:
            given = model.by_popularity(item, float(total[item]))
        listed.append(given)
    if not listed:
        return Answer((), "empty", candidate_count)
    return Answer(tuple(listed), None if (own[chosen] > 0).any() else "popular", candidate_count)


def list_looks(
    model: ServedModel,
    looks: Sequence[tuple[str, float, Kind]],
    *,
    now: float,
    limit: int,
    exclude: Collection[str] = (),
    allowed: NDArray[np.bool_] | None = None,
) -> Answer:
    """List what was looked at, the latest first, and nothing else; an empty list says so."""
    browsed = Browsed.encode(looks, items=model.items, now=now)
    scores = np.zeros(len(model.items), np.float32)
    scores[browsed.items] = np.arange(len(browsed), 0, -1)
    codes = {item: CODES[kind] for item, kind in zip(browsed.items.tolist(), browsed.kinds, strict=True)}
    return list_by(
        model,
        scores,
        source="recently_viewed",
        codes=codes,
        limit=limit,
        exclude=exclude,
        allowed=allowed,
        fill=False,
    )
