"""The training job: purchases out of PostgreSQL, a model into a folder, a line into the register.

Imported by the command line and the worker only: it brings in the libraries that web workers never load.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime, timedelta
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Engine

from recommender.artifact import Manifest, read_manifest
from recommender.browsing import BROWSED_DAYS
from recommender.card import write_card
from recommender.engines import using_engine
from recommender.errors import ArtifactError, ArtifactExists, EmptyInteractions
from recommender.interactions import Interactions
from recommender.leaning import LookLog
from recommender.training import TrainedModel, TrainingConfig, train
from service.kit.clock import local_day, local_midnight
from service.programme.operations import Programme
from service.recommendations import register, store, store_looks, store_training
from service.recommendations.artefacts import ModelsFolder, share_artefact
from service.recommendations.errors import NothingToLearn
from service.recommendations.histories import Columns, read_columns
from service.recommendations.judging import Judge, Measuring, settle_blend
from service.recommendations.register import Registered
from service.recommendations.trainings import Report

_EPOCH = date(1970, 1, 1)
_DAY_SECONDS = 86_400
# Four origins of 28 days, and what was looked at before the first.
_LOOKED_BACK_DAYS = 4 * 28 + BROWSED_DAYS
_MOST_LOOKERS = 20_000


def train_model(
    engine: Engine,
    *,
    models_folder: ModelsFolder,
    programme: Programme,
    now: datetime,
    seed: int = 20,
    config: TrainingConfig | None = None,
    engine_name: str = "local",
    kept: int = 5,
    measuring: Measuring | None = None,
    progress: Report | None = None,
) -> Registered:
    """Train on everything bought so far, measure it, write it, register it, and promote it if it earned it.

    The blend is learned on earlier origins. A model goes live when it beats every baseline and does not
    lose to the model in force, all measured on the same days; where a baseline found more than the blend,
    the new version serves that baseline. The first one goes live in any case, since something must. The
    same data and seed give the same content hash. `engine_name` says what fits: this machine, or Spark. Of
    the artefacts besides the one in force the last `kept` stay, and so does what was in force before it.

    Raises:
        NothingToLearn: nobody has bought anything that was not given back.
    """
    with using_engine(engine_name):
        trained = _train_model(
            engine,
            models_folder=models_folder,
            programme=programme,
            now=now,
            seed=seed,
            config=config or TrainingConfig(),
            measuring=measuring or Measuring(),
            tell=progress or _silent,
        )
    with engine.connect() as conn:
        register.drop_artefacts(conn, models_folder=models_folder, kept=kept, now=now)
    return trained


def _train_model(
    engine: Engine,
    *,
    models_folder: ModelsFolder,
    programme: Programme,
    now: datetime,
    seed: int,
    config: TrainingConfig,
    measuring: Measuring,
    tell: Report,
) -> Registered:
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as conn, conn.begin():
        interactions = read_interactions(conn, timezone=programme.timezone, progress=tell)
        tiers = store_training.map_tiers(conn)
        log = read_looks(conn, interactions, timezone=programme.timezone) if measuring.search else None
    trained = train(interactions, config, seed=seed, progress=_named(tell, "train"))
    judge = Judge(interactions, config, seed, measuring, tiers, tell)
    searched, browsing = judge.lean(judge.search(), log)
    table = judge.evaluate()
    served, metrics = settle_blend(table, searched, searched=measuring.search, browsing=browsing)
    day = local_day(now, timezone=programme.timezone)
    folder = models_folder
    version, manifest = _write(engine, replace(trained, config=served), metrics, folder=folder, day=day)
    tell("write", 1, 1)
    with engine.connect() as conn:
        in_force = next((one for one in register.list_models(conn) if one.status == "active"), None)
    promote, decision = judge.decide(table, served.blend, in_force)
    with engine.begin() as conn:
        store.insert_model(
            conn,
            version=version,
            location=version,
            content_hash=manifest.content_hash,
            manifest=manifest.as_dict(),
            trained_through=_EPOCH + timedelta(days=trained.trained_through),
            decision=decision,
            now=now,
        )
        if promote:
            return register.promote_model(
                conn, version=version, models_folder=models_folder, actor="training", reason=decision, now=now
            )
        return register.get_model(conn, version=version)


def measure_shop(
    engine: Engine, *, timezone: str, seed: int, measuring: Measuring, progress: Report | None = None
) -> dict[str, Any] | None:
    """Measure on the shop's own orders without training for use; None when the history is too short.

    Raises:
        NothingToLearn: nobody has bought anything that was not given back.
    """
    tell = progress or _silent
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as conn, conn.begin():
        interactions = read_interactions(conn, timezone=timezone, progress=tell)
        tiers = store_training.map_tiers(conn)
    table = Judge(interactions, TrainingConfig(), seed, measuring, tiers, tell).evaluate()
    return None if table is None else table.as_dict()


def read_interactions(conn: Connection, *, timezone: str, progress: Report | None = None) -> Interactions:
    """Read every purchase that stands, net of refunds and cancellations, streaming.

    The rule is the one that answers use (`rules.net_purchases`), over a member's whole history.

    Raises:
        NothingToLearn: there is none.
    """
    return _to_interactions(conn, read_columns(conn, timezone=timezone, tell=progress or _silent))


def read_looks(conn: Connection, interactions: Interactions, *, timezone: str) -> LookLog:
    """Read what members looked at before the origins that the search learns from.

    Of very many members some are drawn, always the same ones.
    """
    since = _EPOCH + timedelta(days=max(interactions.first_day, interactions.last_day - _LOOKED_BACK_DAYS))
    until = _EPOCH + timedelta(days=interactions.last_day + 1)
    begin, end = (local_midnight(day, timezone=timezone) for day in (since, until))
    blocks = list(store_looks.copy_looks(conn, timezone=timezone, since=begin, until=end))
    if not blocks:
        return LookLog({})
    member_key, item_key, seconds, kind = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    members = np.unique(member_key)
    if len(members) > _MOST_LOOKERS:
        members = np.random.default_rng(0).choice(members, size=_MOST_LOOKERS, replace=False)
    kept = np.isin(member_key, members)
    ids, skus = store_training.map_member_ids(conn), store_training.map_skus(conn)
    return LookLog.of(
        users=[ids[key] for key in member_key[kept].tolist()],
        items=[skus[key] for key in item_key[kept].tolist()],
        moments=(seconds[kept] / _DAY_SECONDS).tolist(),
        kinds=kind[kept].tolist(),
    )


def _to_interactions(conn: Connection, columns: Columns) -> Interactions:
    """Name members and items as the merchant does, so that the order of arrival cannot change a model."""
    member_keys, user_index = _number(np.concatenate(columns.member_key))
    item_keys, item_index = _number(np.concatenate(columns.item_key))
    ids, skus = store_training.map_member_ids(conn), store_training.map_skus(conn)
    try:
        return Interactions.from_indices(
            users=[ids[key] for key in member_keys.tolist()],
            items=[skus[key] for key in item_keys.tolist()],
            user_index=user_index,
            item_index=item_index,
            day=np.concatenate(columns.day),
            quantity=np.concatenate(columns.quantity),
        )
    except EmptyInteractions as error:
        raise NothingToLearn("no member has bought anything that was not given back") from error


def _number(keys: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the distinct keys, ascending, and the position of each row's among them."""
    if not len(keys):
        return keys, keys
    least, span = int(keys.min()), int(keys.max() - keys.min()) + 1
    if span > 4 * len(keys) + 1_000_000:
        return np.unique(keys, return_inverse=True)
    # Keys are handed out one by one, so they lie close together: looking up is far cheaper than sorting.
    present = np.zeros(span, bool)
    present[keys - least] = True
    distinct = np.flatnonzero(present)
    position = np.zeros(span, np.int64)
    position[distinct] = np.arange(len(distinct))
    return distinct + least, position[keys - least]


def _write(
    engine: Engine, trained: TrainedModel, metrics: dict[str, Any], *, folder: ModelsFolder, day: date
) -> tuple[str, Manifest]:
    """Write artefact and card under the first free version of the day; return version and manifest."""
    with engine.connect() as conn:
        taken = set(store_training.list_versions(conn, prefix=f"{day}."))
    for number in count(1):
        version = f"{day}.{number}"
        if version in taken:
            continue
        try:
            trained.write(folder / version, version=version, metrics=metrics)
        except ArtifactExists:
            continue
        manifest = read_manifest(folder / version)
        write_card(folder / version, manifest, metrics)
        try:
            share_artefact(folder, version)
        except ArtifactError as error:
            shutil.rmtree(folder / version)
            # Another machine was faster.
            if not isinstance(error, ArtifactExists):
                raise
            continue
        return version, manifest
    raise AssertionError("unreachable")


def _named(tell: Report, name: str) -> Callable[[str, int, int], None]:
    return lambda stage, done, total: tell(name if stage == name else f"{name}: {stage}", done, total)


def _silent(stage: str, done: int, total: int | None) -> None:
    """Tell nobody."""
