"""Rank with an explored place: a little further down the list than asked, and one of the rest by lot."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import Connection

from service.experiments.operations import Subject
from service.recommendations.exploration import Exploration, explore
from service.recommendations.listing import OWN_LISTS
from service.recommendations.ranking import PERSONAL, PolicyName, Question, Ranked, rank
from service.recommendations.serving import Shelf


def rank_or_explore(
    conn: Connection,
    *,
    shelf: Shelf | None,
    policy: PolicyName,
    question: Question,
    subject: Subject,
    answer_id: str,
) -> Ranked:
    """Rank, and where the placement explores let a lot decide the last place of a treated member's list.

    The hold-out, who has no arm, who is given a baseline, lists that nobody ranks, and whatever had to fall
    back are left alone.
    """
    how = question.asked.exploration
    treated = subject.assignment is not None and not subject.assignment.is_holdout
    if how is None or not treated or policy != PERSONAL or question.asked.mode in OWN_LISTS:
        return rank(conn, shelf=shelf, policy=policy, question=question)
    limit = question.asked.limit
    further = replace(question, asked=replace(question.asked, limit=limit + how.candidates - 1))
    return _cut(rank(conn, shelf=shelf, policy=policy, question=further), how, limit, answer_id)


def _cut(ranked: Ranked, how: Exploration, limit: int, answer_id: str) -> Ranked:
    """Cut a list to what was asked for, its last place as the lot falls."""
    items, keys = ranked.answer.items, ranked.item_keys
    explored = None
    if ranked.policy.fallback is None:
        explored = explore(how, limit=limit, item_keys=keys, answer_id=answer_id)
    last = limit - 1 if explored is None else limit - 1 + explored.drawn
    return replace(
        ranked,
        answer=replace(ranked.answer, items=(*items[: limit - 1], *items[last : last + 1])),
        item_keys=[*keys[: limit - 1], *keys[last : last + 1]],
        explored=explored,
    )
