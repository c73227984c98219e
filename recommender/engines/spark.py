"""Fit on Apache Spark: the same numbers' meaning, past one machine's memory.

Interactions are handed over as Parquet in a folder of the session's own (`spark.local.dir` of a cluster
must be able to read it); what comes back are item factors and neighbour lists, as from any engine.

How the two correspond: `implicit` takes confidences c, Spark ratings r with confidence 1 + alpha × r, so
Spark is given r = c - 1 with alpha 1. Spark holds a row with n entries back by n × regParam, which is what
`AlsConfig.regularization` means. `nonnegative=True` is worse and is not used.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recommender.engines import Engine, pairs
from recommender.errors import EngineMissing
from recommender.interactions import Csr
from recommender.models.als import AlsConfig
from recommender.models.item_to_item import ItemToItemConfig

_SETTINGS = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.driver.memory": "1g",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    "spark.sql.shuffle.partitions": "4",
    "spark.default.parallelism": "2",
    "spark.sql.session.timeZone": "UTC",
    "spark.log.level": "ERROR",
}
# What is left of a purchase long faded still says that it was taken: Spark takes 0 for "not wanted".
_LEAST_RATING = np.float32(1e-6)

_PAIRS = """
    SELECT one.item AS item, other.item AS other,
           first(one.item_weight) * first(other.item_weight) * sum(one.user_weight) AS similarity,
           count(*) AS common
    FROM taken one JOIN taken other ON other.user = one.user AND other.item <> one.item
    GROUP BY one.item, other.item HAVING count(*) >= {least}
"""
_BEST = """
    SELECT item, other, shrunk FROM (
        SELECT item, other, shrunk,
               row_number() OVER (PARTITION BY item ORDER BY shrunk DESC, other) AS place
        FROM (SELECT item, other, similarity * common / (common + {shrinkage}) AS shrunk FROM pairs)
        WHERE shrunk > 0
    ) WHERE place <= {keep}
"""


@contextmanager
def open_spark(master: str = "local[2]") -> Iterator[Engine]:
    """Start a session and give the engine on it; everything is stopped and gone afterwards.

    A session that is active already is used as it is, and left running. EngineMissing when PySpark or Java
    is not there.
    """
    try:
        from pyspark.errors import PySparkRuntimeError
        from pyspark.sql import SparkSession
    except ImportError as missing:
        raise EngineMissing("PySpark is not installed: pip install 'tidemark[spark]'") from missing
    folder = Path(tempfile.mkdtemp(prefix="recommender-spark-"))
    held = SparkSession.getActiveSession()
    builder = SparkSession.builder.appName("recommender").master(master)
    for name, value in _SETTINGS.items():
        builder = builder.config(name, value)
    builder = builder.config("spark.local.dir", str(folder / "spark"))
    builder = builder.config("spark.sql.warehouse.dir", str(folder / "warehouse"))
    session = held
    try:
        try:
            session = session or builder.getOrCreate()
        except (PySparkRuntimeError, OSError) as error:
            raise EngineMissing("Spark did not start: install a Java 17 runtime, or set JAVA_HOME") from error
        on_spark = _OnSpark(session, folder)
        libraries = {"pyspark": installed_version("pyspark")}
        yield Engine("spark", on_spark.factorise, on_spark.find_neighbours, libraries)
    finally:
        if session is not None and held is None:
            session.stop()
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class _OnSpark:
    """Fit on one session, handing data over in one folder."""

    session: Any
    folder: Path

    def factorise(self, confidence: Csr, config: AlsConfig, *, seed: int) -> NDArray[np.float32]:
        """Give item factors, (items, factors); rows of items that nobody took are zero."""
        from pyspark.ml.recommendation import ALS

        ratings = np.maximum(confidence.data - np.float32(1), _LEAST_RATING)
        source = self._hand_over(
            "ratings", user=_users_of(confidence), item=confidence.indices, rating=ratings
        )
        als = ALS(
            rank=config.factors,
            maxIter=config.iterations,
            regParam=config.regularization,
            implicitPrefs=True,
            alpha=1.0,
            nonnegative=False,
            userCol="user",
            itemCol="item",
            ratingCol="rating",
            numUserBlocks=2,
            numItemBlocks=2,
            seed=int(seed),
        )
        model = als.fit(source)
        found = self._take_back("factors", model.itemFactors)
        factors = np.zeros((confidence.shape[1], config.factors), np.float32)
        values = found.column("features").combine_chunks().flatten().to_numpy(zero_copy_only=False)
        factors[found.column("id").to_numpy()] = values.reshape(-1, config.factors)
        return factors

    def find_neighbours(
        self, taken: Csr, config: ItemToItemConfig
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Give each item's neighbours and similarities, both (items, neighbours), best first."""
        count = taken.shape[1]
        keep = min(config.neighbours, count)
        users = _users_of(taken)
        g = pairs.item_weights(np.bincount(taken.indices, minlength=count), config)
        weights = pairs.user_weights(np.diff(taken.indptr), count, config)
        self._hand_over(
            "taken",
            user=users,
            item=taken.indices.astype(np.int32),
            user_weight=weights[users],
            item_weight=g[taken.indices],
        ).createOrReplaceTempView("taken")
        counted = self.session.sql(_PAIRS.format(least=config.min_common_users)).persist()
        counted.createOrReplaceTempView("pairs")
        try:
            largest = counted.agg({"similarity": "max"}).first()[0] or 0.0
            best = self.session.sql(_BEST.format(shrinkage=config.shrinkage, keep=keep))
            found = self._take_back("best", best)
        finally:
            counted.unpersist()
        return _lay_out(found, count, keep, float(largest), config)

    def _hand_over(self, name: str, **columns: NDArray[Any]) -> Any:
        """Write columns as Parquet and give them as Spark reads them."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = self.folder / f"{name}.parquet"
        pq.write_table(pa.table(columns), path)
        return self.session.read.parquet(str(path))

    def _take_back(self, name: str, frame: Any) -> Any:
        """Have Spark write a frame as Parquet and give it as an Arrow table."""
        import pyarrow.parquet as pq

        path = self.folder / name
        frame.write.mode("overwrite").parquet(str(path))
        return pq.read_table(path)


def _users_of(matrix: Csr) -> NDArray[np.int32]:
    """Give the user of each entry, (nnz,)."""
    return np.repeat(np.arange(matrix.shape[0], dtype=np.int32), np.diff(matrix.indptr))


def _lay_out(
    found: Any, count: int, keep: int, largest: float, config: ItemToItemConfig
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Lay pairs out as rows of neighbours, filled up with the item itself at 0."""
    item, other = found.column("item").to_numpy(), found.column("other").to_numpy()
    shrunk = found.column("shrunk").to_numpy().astype(np.float32)
    order = np.lexsort((other, -shrunk, item))
    item, other, shrunk = item[order], other[order], shrunk[order]
    place = np.arange(len(item)) - np.searchsorted(item, item)
    neighbours = np.repeat(np.arange(count, dtype=np.int32)[:, None], keep, axis=1)
    similarities = np.zeros((count, keep), dtype=np.float32)
    neighbours[item, place], similarities[item, place] = other, shrunk
    pairs.to_unit(similarities, largest, config)
    return neighbours, similarities
