"""Put items in order for one question: by the model in force, by the baseline, or without a model."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from recommender.browsing import BROWSED_DAYS, Look
from recommender.serving import Answer, Mode, Recommendation
from service.recommendations import store, store_taken
from service.recommendations.annotation import Policy
from service.recommendations.exploration import Exploration, Explored
from service.recommendations.listing import OWN_LISTS, list_own, list_segment
from service.recommendations.rules import Bought, Purchase, Returned, net_purchases, was_at_fault
from service.recommendations.serving import Shelf

log = logging.getLogger(__name__)

DEFAULT_LIMIT = 10
MAX_LIMIT = 100

ListMode = Literal["mixed", "buy_again", "discover", "trending", "recently_viewed"]
PolicyName = Literal["hybrid", "popularity", "related"]
PERSONAL: PolicyName = "hybrid"
BASELINE: PolicyName = "popularity"
RELATED: PolicyName = "related"
_LEARNED = "als+item_to_item+frequency"
_DAY_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class Asked:
    """What the caller wants: for whom (None: nobody named), where, how many, of what, and without what.

    `left_open` names what the caller did not say; the placement's settings do. `diversity` (0 to 1),
    `category_cap` and `exploration` are theirs alone.
    """

    member_id: str | None
    placement: str
    channel: str
    limit: int = DEFAULT_LIMIT
    mode: ListMode = "mixed"
    exclude: Sequence[str] = ()
    category: str | None = None
    context_sku: str | None = None
    basket: Sequence[str] = ()
    locale: str = "en"
    traceparent: str | None = None
    diversity: float = 0.0
    category_cap: int | None = None
    exploration: Exploration | None = None
    left_open: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Taken:
    """A member's latest purchases net of what came back, names by sku, and whether that is all there is.

    `spoiled` came back with a fault; `last_basket` is what the latest order held; `looks` what was looked at
    lately. `categories` of what was bought are read for those who need them.
    """

    purchases: Sequence[Purchase] = ()
    names: Mapping[str, str] | None = None
    whole: bool = True
    last_order_day: int | None = None
    spoiled: frozenset[str] = frozenset()
    last_basket: tuple[str, ...] = ()
    categories: Mapping[str, Sequence[str]] = field(default_factory=dict)
    looks: Sequence[Look] = ()


@dataclass(frozen=True, slots=True)
class Question:
    """Everything personal that a ranking depends on; `today` in days since 1970-01-01.

    `moment` is the same with the fraction of the day. `closed` are for other tiers only. `tier` and its name
    are those of a member who may be told of as one of them.
    """

    asked: Asked
    taken: Taken
    today: int
    closed: tuple[str, ...] = ()
    moment: float | None = None
    tier: str | None = None
    tier_name: str = ""

    @property
    def barred(self) -> tuple[str, ...]:
        """Return what is never shown for this question, whatever is asked for."""
        return (*self.asked.exclude, *self.closed, *self.taken.spoiled)

    @property
    def context(self) -> tuple[str, ...]:
        """Return the items on the page and in the basket, which are never given back."""
        page = () if self.asked.context_sku is None else (self.asked.context_sku,)
        return (*page, *self.asked.basket)


@dataclass(frozen=True, slots=True)
class Ranked:
    """Items in order, their keys, what put them there, and marks of the candidates and the settings.

    `explored` where a lot decided one place.
    """

    answer: Answer
    item_keys: Sequence[int]
    policy: Policy
    candidates_hash: str | None = None
    config_hash: str | None = None
    explored: Explored | None = None
    statistics_version: int | None = None


def seen_since(now: datetime) -> datetime:
    """Return from when on it matters what somebody looked at."""
    return now - timedelta(days=BROWSED_DAYS)


def count_taken(rows: Sequence[Sequence[Any]], *, with_categories: bool = False) -> Taken:
    """Return what a member has taken and looked at, from the rows of `store_taken.packed_history`."""
    categories = {row[1]: row[7] for row in rows if row[0]} if with_categories else {}
    names: dict[str, str] = {}
    bought: list[Bought] = []
    returned: list[Returned] = []
    looks: list[Look] = []
    spoiled = set()
    for was_bought, sku, name, day, quantity, order_key, reason, *_ in rows:
        if name:
            names[sku] = name
        if was_bought:
            bought.append(Bought(sku, day, quantity, order_key))
        elif was_bought is None:
            looks.append(Look(sku, order_key / _DAY_SECONDS, store_taken.LOOK_KINDS[reason]))
        else:
            returned.append(Returned(sku, day, quantity, order_key))
            if was_at_fault(reason):
                spoiled.add(sku)
    return Taken(
        purchases=net_purchases(bought, returned),
        names=names,
        whole=len(bought) < store_taken.HISTORY_LINES,
        last_order_day=max((line.day for line in bought), default=None),
        spoiled=frozenset(spoiled),
        # Lines come latest order first.
        last_basket=tuple(line.item for line in bought if line.order_key == bought[0].order_key),
        categories=categories,
        looks=looks,
    )


def rank(conn: Connection, *, shelf: Shelf | None, policy: PolicyName, question: Question) -> Ranked:
    """Rank by a policy; without a usable model, by what the newest orders hold."""
    if shelf is None:
        # What was looked at is all that may stand in its list.
        only_own = question.asked.mode == "recently_viewed" and policy != RELATED
        return rank_nothing() if only_own else _rank_untrained(conn, question)
    return rank_shelf(shelf, policy=policy, question=question)


def rank_shelf(shelf: Shelf, *, policy: PolicyName, question: Question) -> Ranked:
    """Rank by the model in force; where that fails the baseline is served and named as a fallback."""
    allowed = shelf.allowed(question.asked.category)
    try:
        answer = _ask_model(shelf, policy, question, allowed)
    except Exception:
        log.exception("ranking failed", extra={"model": shelf.model.version, "policy": policy})
        if policy == BASELINE:
            return rank_nothing()
        return _fall_back(shelf, policy, question, allowed)
    fallback: str | None = answer.fallback
    if fallback == "popular" and policy == PERSONAL:
        segment = list_segment(shelf, question, allowed)
        if segment is not None:
            answer, fallback = segment
    return _rank_answer(shelf, answer, policy, question, fallback=fallback)


def _rank_answer(
    shelf: Shelf,
    answer: Answer,
    policy: PolicyName,
    question: Question,
    *,
    fallback: str | None,
) -> Ranked:
    version, statistics = shelf.model.version, shelf.statistics
    positions = [shelf.model.items.get(item.item_id) for item in answer.items]
    return Ranked(
        answer=answer,
        item_keys=shelf.item_keys[positions].tolist() if positions else [],
        policy=Policy(
            policy,
            version,
            _name_model(shelf, policy, question),
            version,
            shelf.trained_through,
            fallback,
            None if statistics is None else statistics.refreshed_at,
        ),
        statistics_version=None if statistics is None else statistics.version,
        candidates_hash=_hash_candidates(shelf, question),
        config_hash=shelf.config_hash,
    )


def _name_model(shelf: Shelf, policy: PolicyName, question: Question) -> str:
    """Return what put the items in order: the learned blend, or the baseline in force in its place."""
    if policy == BASELINE:
        return "popularity"
    if policy == RELATED:
        return "item_to_item"
    if question.asked.mode in OWN_LISTS:
        return question.asked.mode
    blend = shelf.model.blend.config
    arm = blend.discover if question.asked.mode == "discover" else blend.mixed
    return _LEARNED if arm == "learned" else arm


def _fall_back(shelf: Shelf, policy: PolicyName, question: Question, allowed: NDArray[np.bool_]) -> Ranked:
    """Serve what goes with the last basket, else what is popular in the segment or at all, by that name."""
    basket = question.taken.last_basket
    if policy == PERSONAL and basket and question.asked.mode == "mixed":
        try:
            answer = shelf.model.related(
                basket, limit=question.asked.limit, exclude=question.barred, allowed=allowed
            )
        except Exception:
            log.exception("relating to the last basket failed", extra={"model": shelf.model.version})
        else:
            if answer.fallback is None and answer.items:
                return _rank_answer(shelf, answer, policy, question, fallback="last_basket")
    try:
        segment = None if question.asked.mode in OWN_LISTS else list_segment(shelf, question, allowed)
    except Exception:
        log.exception("listing a segment failed", extra={"model": shelf.model.version})
    else:
        if segment is not None and policy == PERSONAL:
            return _rank_answer(shelf, segment[0], policy, question, fallback=segment[1])
    served = rank_shelf(shelf, policy=BASELINE, question=question)
    fallback = served.policy.fallback or "popular"
    return replace(served, policy=served.policy._replace(name=policy, fallback=fallback))


def _ask_model(shelf: Shelf, policy: PolicyName, question: Question, allowed: NDArray[np.bool_]) -> Answer:
    asked = question.asked
    if asked.mode in OWN_LISTS and policy != RELATED:
        return list_own(shelf, question, allowed, held_out=policy == BASELINE)
    if policy == RELATED:
        return shelf.model.related(
            question.context, limit=asked.limit, exclude=question.barred, allowed=allowed
        )
    return shelf.model.recommend(
        question.taken.purchases,
        today=question.today,
        limit=asked.limit,
        mode=cast(Mode, asked.mode),
        exclude=question.barred,
        allowed=allowed,
        looks=question.taken.looks,
        now=question.moment,
        context_items=question.context,
        policy="baseline" if policy == BASELINE else "model",
        diversity=asked.diversity,
        groups=None if asked.category_cap is None else shelf.groups(),
        cap=asked.category_cap,
    )


def _hash_candidates(shelf: Shelf, question: Question) -> str:
    """Return a mark of the set of items that were in the running."""
    digest = shelf.mark_candidates(question.asked.category)
    digest.update("\x1f".join(sorted({*question.barred, *question.context})).encode())
    return digest.hexdigest()


def _rank_untrained(conn: Connection, question: Question) -> Ranked:
    """Rank by what the newest orders hold, while there is no model that could be served."""
    asked = question.asked
    rows = store.list_recently_sold(
        conn, exclude=[*question.barred, *question.context], category=asked.category, limit=asked.limit
    )
    if not rows:
        return rank_nothing()
    most = max(1, rows[0].orders)
    items = tuple(_recently_sold(row.sku, row.orders, most) for row in rows)
    return Ranked(
        answer=Answer(items, "popular", len(rows)),
        item_keys=[row.item_key for row in rows],
        policy=Policy(BASELINE, fallback="popular"),
    )


def _recently_sold(sku: str, orders: int, most: int) -> Recommendation:
    return Recommendation(sku, orders / most, "popular", "popular_now" if orders else "also_available", {})


def rank_nothing() -> Ranked:
    """Return an empty list that says so."""
    return Ranked(Answer((), "empty", 0), (), Policy(BASELINE, fallback="empty"))


def list_reasons(ranked: Ranked) -> list[list[Any]]:
    """Return score, source and reason code by rank, as compact as the record keeps them."""
    return [[round(item.score, 6), item.source, item.reason_code] for item in ranked.answer.items]
