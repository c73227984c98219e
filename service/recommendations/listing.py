"""Lists of their own and named steps of the fallback: trending, recently viewed, popular in a segment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from recommender.lists import list_by, list_looks
from recommender.serving import Answer
from service.recommendations.serving import Shelf

if TYPE_CHECKING:
    from service.recommendations.ranking import Question

OWN_LISTS = ("trending", "recently_viewed")
"""Modes that rank by something of their own."""
# So often must an item have been taken in four weeks to be called popular in its category, and all together.
_LEAST_TAKINGS, _LEAST_IN_CATEGORY = 5.0, 20.0
_EMPTY = Answer((), "empty", 0)


def list_own(shelf: Shelf, question: Question, allowed: NDArray[np.bool_], *, held_out: bool) -> Answer:
    """Answer a mode that is a list of its own.

    Recently viewed holds what was looked at and nothing else: who looked at nothing, or is held out, gets
    an empty list. Trending is filled by what is popular, which is all that the hold-out gets.
    """
    asked = question.asked
    barred = (*question.barred, *question.context)
    if asked.mode == "recently_viewed":
        if held_out or not question.taken.looks or question.moment is None:
            return _EMPTY
        looks, now = question.taken.looks, question.moment
        return list_looks(shelf.model, looks, now=now, limit=asked.limit, exclude=barred, allowed=allowed)
    fresh = shelf.statistics
    nothing = np.zeros(len(shelf.item_keys), np.float32)
    answer = list_by(
        shelf.model,
        nothing if fresh is None or held_out else fresh.joined.trend,
        source="trending",
        codes="trending_now",
        limit=asked.limit,
        exclude=barred,
        allowed=allowed,
        groups=None if asked.category_cap is None else shelf.groups(),
        cap=asked.category_cap,
    )
    if held_out and answer.fallback == "popular":
        # To the hold-out the baseline is no fallback.
        return Answer(answer.items, None, answer.candidate_count)
    return answer


def list_segment(shelf: Shelf, question: Question, allowed: NDArray[np.bool_]) -> tuple[Answer, str] | None:
    """Answer by what is popular in the member's tier, else in the category asked for, and name which.

    None where so few bought that this says nothing.
    """
    asked, fresh = question.asked, shelf.statistics
    scores, name, code = None, "", ""
    params: dict[str, int | str] = {}
    if fresh is not None and question.tier in fresh.joined.segments:
        scores = fresh.joined.segments[question.tier]
        name = code = "popular_in_tier"
        params = {"tier": question.tier_name}
    if (scores is None or not (scores[allowed] > 0).any()) and asked.category is not None:
        counts = shelf.model.blend.facts.counts[1]
        scores = np.where(counts >= _LEAST_TAKINGS, counts, 0).astype(np.float32)
        name = code = "popular_in_category"
        params = {"category": asked.category}
        if counts[allowed].sum() < _LEAST_IN_CATEGORY:
            return None
    if scores is None:
        return None
    answer = list_by(
        shelf.model,
        scores,
        source="popular",
        codes=code,
        params=params,
        limit=asked.limit,
        exclude=(*question.barred, *question.context),
        allowed=allowed,
        groups=None if asked.category_cap is None else shelf.groups(),
        cap=asked.category_cap,
    )
    return None if answer.fallback is not None else (answer, name)
