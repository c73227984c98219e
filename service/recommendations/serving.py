"""The model in force, held ready by each process, joined with what can be had right now.

Which model is in force and whether the catalogue changed come with each request's first statement, so a
promotion or an item going out of stock shows in the next answer; nothing is reloaded unless it changed.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Row

from recommender.errors import ArtifactError, RecommenderError
from recommender.refreshing import Refreshed
from recommender.serving import ServedModel
from recommender.statistics import Figures
from service.recommendations import store, store_statistics
from service.recommendations.artefacts import ModelsFolder, bring_artefact, is_at_hand
from service.recommendations.attribution import AttributionKeys
from service.recommendations.store_taken import HISTORY_LINES
from service.tiers import operations as tiers
from service.tiers.rules import Tier

log = logging.getLogger(__name__)

# A change that was stamped before another but committed after it is caught by looking back this far…
_LOOK_BACK = timedelta(minutes=1)
# …whenever something changed, and this often while changes are fresh; all is read again now and then.
_LOOK_EVERY = timedelta(seconds=5)
_FRESH = timedelta(minutes=2)
_READ_WHOLE_EVERY = timedelta(minutes=10)
_RETRY_REFUSED = timedelta(minutes=1)
# Below this share of known items a model was made for another catalogue.
_LEAST_KNOWN_SHARE = 0.5
_EPOCH = date(1970, 1, 1)


@dataclass(frozen=True, slots=True, eq=False)
class FreshStatistics:
    """Statistics made after the model's training: version, moment, and the model's lists over them."""

    version: int
    refreshed_at: datetime
    joined: Refreshed


@dataclass(frozen=True, slots=True, eq=False)
class Shelf:
    """One model, one set of statistics and the catalogue as of one look; never changed, so nothing is mixed.

    `model` is over the statistics in use, and ranks what of the catalogue came after its training too. Arrays
    are by the model's item position: `item_keys` (n,) int64, 0 where the catalogue has no such item;
    `available` (n,) bool; `categories` n tuples.
    """

    model: ServedModel
    item_keys: NDArray[np.int64]
    available: NDArray[np.bool_]
    categories: list[tuple[str, ...]]
    mark: datetime | None
    looked_at: datetime
    read_whole_at: datetime
    config_hash: str
    # What was looked for in the register of statistics, and what is in use; None: the model's own.
    statistics_sought: int | None = None
    statistics: FreshStatistics | None = None
    _masks: dict[str, NDArray[np.bool_]] = field(default_factory=dict)
    _marks: dict[str | None, hashlib.blake2b] = field(default_factory=dict)
    _groups: list[NDArray[np.int32]] = field(default_factory=list)

    def allowed(self, category: str | None) -> NDArray[np.bool_]:
        """Return the mask of what can be had, in a category if one is named."""
        if category is None:
            return self.available
        mask = self._masks.get(category)
        if mask is None:
            within = np.fromiter((category in names for names in self.categories), bool, len(self.categories))
            mask = self.available & within
            if len(self._masks) < 1_000:
                self._masks[category] = mask
        return mask

    def mark_candidates(self, category: str | None) -> hashlib.blake2b:
        """Return the beginning of a hash of the candidates: the model and what `allowed` lets through."""
        known = self._marks.get(category)
        if known is None:
            known = hashlib.blake2b(self.model.content_hash.encode(), digest_size=8)
            known.update(np.packbits(self.allowed(category)).tobytes())
            if len(self._marks) < 1_000:
                self._marks[category] = known
        return known.copy()

    def groups(self) -> NDArray[np.int32]:
        """Return the number of each item's first category, (n,); -1 where it has none."""
        if not self._groups:
            numbers: dict[str, int] = {}
            of_items = (numbers.setdefault(one[0], len(numbers)) if one else -1 for one in self.categories)
            self._groups.append(np.fromiter(of_items, np.int32, len(self.categories)))
        return self._groups[0]

    @property
    def trained_through(self) -> date:
        """Return the last day of the model's data."""
        return date(1970, 1, 1) + timedelta(days=self.model.trained_through)


class Serving:
    """What this process needs to answer: where models lie, the keys of tokens, the zone of days."""

    def __init__(self, *, models_folder: ModelsFolder, keys: AttributionKeys, timezone: str) -> None:
        self.models_folder = models_folder
        self.keys = keys
        self.timezone = timezone
        self._shelf: Shelf | None = None
        self._refused: dict[str, datetime] = {}
        self._rules: tuple[int, dict[str, frozenset[str]], dict[str, Mapping[str, str]]] | None = None
        self._lock = threading.Lock()
        self._fetching: threading.Thread | None = None

    def last(self) -> Shelf | None:
        """Return what was held ready last, without looking whether it is still in force."""
        return self._shelf

    def closed_to(
        self, conn: Connection, *, tier: str | None, ruleset_version: int | None, now: datetime
    ) -> tuple[str, ...]:
        """Return the skus that a benefit keeps for other tiers than this; read anew with each rule set."""
        if ruleset_version is None:
            return ()
        known = self._rules
        if known is None or known[0] != ruleset_version:
            rules = tiers.get_active_ruleset(conn, now=now)
            names = {tier.code: tier.names for tier in rules.tiers}
            self._rules = known = (ruleset_version, list_exclusive(rules.tiers), names)
        return tuple(sku for sku, codes in known[1].items() if tier not in codes)

    def names_of(self, tier: str) -> Mapping[str, str]:
        """Return the names of a tier by locale, as of the rule set read last."""
        known = self._rules
        return {} if known is None else known[2].get(tier, {})

    def current(
        self,
        conn: Connection,
        *,
        active_version: str | None,
        catalogue_mark: datetime | None,
        now: datetime,
        statistics_version: int | None = None,
    ) -> Shelf | None:
        """Return the model in force with the catalogue as it is, or None when there is no usable model.

        A model that cannot be opened is refused and logged, and the last good one goes on serving; likewise
        statistics.
        """
        shelf = self._shelf
        if (
            shelf is not None
            and self._is_current(shelf, active_version, catalogue_mark, now)
            and shelf.statistics_sought == statistics_version
        ):
            return shelf
        if active_version is None:
            return None
        with self._lock:
            shelf = self._shelf
            if shelf is None or not self._is_current(shelf, active_version, catalogue_mark, now):
                shelf = self._renew(conn, shelf, active_version, catalogue_mark, now)
            if shelf is not None and shelf.statistics_sought != statistics_version:
                shelf = _read_statistics(conn, shelf, sought=statistics_version)
            self._shelf = shelf
        return shelf

    def _is_current(
        self, shelf: Shelf, active_version: str | None, catalogue_mark: datetime | None, now: datetime
    ) -> bool:
        if shelf.model.version != active_version and not self._is_refused(active_version, now):
            return False
        if catalogue_mark is not None and (shelf.mark is None or catalogue_mark > shelf.mark):
            return False
        if catalogue_mark is not None and now - catalogue_mark < _FRESH:
            return now - shelf.looked_at < _LOOK_EVERY
        return now - shelf.read_whole_at < _READ_WHOLE_EVERY

    def _is_refused(self, version: str | None, now: datetime) -> bool:
        refused_at = None if version is None else self._refused.get(version)
        return refused_at is not None and now - refused_at < _RETRY_REFUSED

    def _renew(
        self,
        conn: Connection,
        shelf: Shelf | None,
        active_version: str,
        mark: datetime | None,
        now: datetime,
    ) -> Shelf | None:
        held = shelf is not None and shelf.model.version == active_version
        if not held and not self._is_refused(active_version, now):
            fresh = self._open(conn, active_version, mark, now)
            if fresh is not None:
                return fresh
        if shelf is None:
            return self._open_former(conn, mark, now)
        if now - shelf.read_whole_at >= _READ_WHOLE_EVERY or shelf.mark is None:
            return _read_whole(conn, shelf.model, mark=mark, now=now)
        return _read_changes(conn, shelf, mark=mark, now=now)

    def _open(self, conn: Connection, version: str, mark: datetime | None, now: datetime) -> Shelf | None:
        """Open a version of the register and join it with the catalogue; None when it is not usable."""
        row = store.find_model(conn, version=version)
        try:
            if row is None:
                raise ArtifactError(f"{version} is not in the register")
            if self._shelf is not None and not is_at_hand(self.models_folder, row.location):
                # No request waits for a store that may not answer: the last good model serves meanwhile.
                self._fetch(row.location)
                self._refused[version] = now - _RETRY_REFUSED + _LOOK_EVERY
                return None
            shelf = _read_whole(conn, open_model(self.models_folder, row), mark=mark, now=now)
            learned = shelf.item_keys[: len(shelf.model.als.item_factors)]
            known = float(np.count_nonzero(learned)) / max(1, len(learned))
            if known < _LEAST_KNOWN_SHARE:
                raise ArtifactError(f"{version} knows another catalogue ({known:.0%} of its items are ours)")
        except ArtifactError as error:
            log.error("model refused", extra={"model": version, "problem": str(error), "code": error.code})
            self._refused[version] = now
            return None
        self._refused.pop(version, None)
        log.info("model loaded", extra={"model": version, "items": len(shelf.item_keys)})
        return shelf

    def _fetch(self, location: str) -> None:
        """Have a model fetched in the background, once at a time."""
        if self._fetching is not None and self._fetching.is_alive():
            return

        def fetch() -> None:
            try:
                bring_artefact(self.models_folder, location)
            except ArtifactError as error:
                log.error("model not fetched", extra={"model": location, "problem": str(error)})

        self._fetching = threading.Thread(target=fetch, name="fetch-model", daemon=True)
        self._fetching.start()

    def _open_former(self, conn: Connection, mark: datetime | None, now: datetime) -> Shelf | None:
        """Open the latest usable model among those that were in force before."""
        for row in store.list_former_models(conn):
            if not self._is_refused(row.version, now):
                shelf = self._open(conn, row.version, mark, now)
                if shelf is not None:
                    return shelf
        return None


def list_exclusive(ladder: Iterable[Tier]) -> dict[str, frozenset[str]]:
    """Return the codes of the tiers that each exclusive sku is for."""
    codes: dict[str, set[str]] = {}
    for tier in ladder:
        for benefit in tier.benefits:
            for sku in benefit.skus:
                codes.setdefault(sku, set()).add(tier.code)
    return {sku: frozenset(held) for sku, held in codes.items()}


def open_model(models_folder: ModelsFolder, row: Row[Any]) -> ServedModel:
    """Open a registered model's artefact and check that it is the one registered.

    Raises:
        ArtifactError: missing, corrupt, foreign or another one.
    """
    model = ServedModel.open(bring_artefact(models_folder, str(row.location)))
    if model.content_hash != row.content_hash:
        raise ArtifactError(f"{row.version}: the artefact is not the one that was registered")
    return model


def _read_whole(conn: Connection, model: ServedModel, *, mark: datetime | None, now: datetime) -> Shelf:
    count = len(model.items)
    shelf = Shelf(
        model=model,
        item_keys=np.zeros(count, np.int64),
        available=np.zeros(count, bool),
        categories=[()] * count,
        mark=mark,
        looked_at=now,
        read_whole_at=now,
        config_hash=hash_config(model),
    )
    return _add(shelf, _enter(shelf, store.read_catalogue(conn, since=None)))


def _read_changes(conn: Connection, shelf: Shelf, *, mark: datetime | None, now: datetime) -> Shelf:
    since = None if shelf.mark is None else shelf.mark - _LOOK_BACK
    changed = Shelf(
        model=shelf.model,
        item_keys=shelf.item_keys.copy(),
        available=shelf.available.copy(),
        categories=list(shelf.categories),
        mark=mark,
        looked_at=now,
        read_whole_at=shelf.read_whole_at,
        config_hash=shelf.config_hash,
        statistics_sought=shelf.statistics_sought,
        statistics=shelf.statistics,
    )
    return _add(changed, _enter(changed, store.read_catalogue(conn, since=since)))


def _add(shelf: Shelf, rows: Sequence[Row[Any]]) -> Shelf:
    """Return a shelf with these items too; statistics are joined anew, since they may know them."""
    if not rows:
        return shelf
    model = shelf.model.with_items(row.sku for row in rows)
    number = len(model.items) - len(shelf.item_keys)
    grown = replace(
        shelf,
        model=model,
        item_keys=np.pad(shelf.item_keys, (0, number)),
        available=np.pad(shelf.available, (0, number)),
        categories=[*shelf.categories, *((),) * number],
        statistics_sought=None,
        statistics=None,
        _masks={},
        _marks={},
        _groups=[],
    )
    _enter(grown, rows)
    return grown


def _enter(shelf: Shelf, rows: Iterable[Row[Any]]) -> list[Row[Any]]:
    """Write catalogue rows into a shelf that nobody has seen yet, and return what it has no place for.

    Of these only what can be had and was described: a stub is named by any visitor's event.
    """
    unknown: list[Row[Any]] = []
    find: Callable[[str], int | None] = shelf.model.items.find
    shared: dict[tuple[str, ...], tuple[str, ...]] = {}
    for row in rows:
        position = find(row.sku)
        if position is not None:
            shelf.item_keys[position] = row.item_key
            shelf.available[position] = row.available
            names = tuple(row.categories)
            shelf.categories[position] = shared.setdefault(names, names)
        elif row.available and not row.stub:
            unknown.append(row)
    return unknown


def _read_statistics(conn: Connection, shelf: Shelf, *, sought: int | None) -> Shelf:
    """Return a shelf over the newest statistics; over those it has where these cannot be used."""
    row = store_statistics.find_figures(conn)
    unchanged = replace(shelf, statistics_sought=sought, _masks=shelf._masks, _groups=shelf._groups)
    if row is None or (row.through_day - _EPOCH).days < shelf.model.manifest.trained_through:
        return unchanged
    try:
        figures = Figures.from_bytes(row.figures)
        shelf = _add(shelf, _list_sold(conn, shelf, figures))
        joined = Refreshed.of(shelf.model, figures, shelf.item_keys)
    except RecommenderError as error:
        problem = {"statistics": row.version, "problem": str(error), "code": error.code}
        log.error("statistics refused", extra=problem)
        return unchanged
    log.info("statistics loaded", extra={"statistics": row.version})
    return replace(
        shelf,
        statistics_sought=sought,
        model=joined.model,
        statistics=FreshStatistics(row.version, row.refreshed_at, joined),
        config_hash=hash_config(joined.model, statistics=row.version),
    )


def _list_sold(conn: Connection, shelf: Shelf, figures: Figures) -> list[Row[Any]]:
    """Return what was bought, can be had and has no place on a shelf: stubs that came after the training."""
    missing = np.setdiff1d(figures.items, shelf.item_keys)
    if not len(missing):
        return []
    return [row for row in store.list_catalogue(conn, item_keys=missing.tolist()) if row.available]


def hash_config(model: ServedModel, *, statistics: int | None = None) -> str:
    """Return a hash of everything that decides a ranking besides member and catalogue."""
    parts = f"{HISTORY_LINES}/{model.content_hash}"
    if statistics is not None:
        parts += f"/{statistics}"
    return hashlib.sha256(parts.encode()).hexdigest()[:16]
