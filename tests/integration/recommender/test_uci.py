"""The library on a real shop's orders: UCI Online Retail, known customers, net of cancellations."""

from __future__ import annotations

from collections import defaultdict
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from recommender.evaluation import evaluate
from recommender.interactions import Interactions
from recommender.training import train
from tests.unit.recommender.shop import repository_root

FILE = repository_root().parent / "shared" / "data" / "uci_online_retail.parquet"

pytestmark = pytest.mark.skipif(not FILE.exists(), reason=f"the data folder is not here: {FILE}")


@cache
def net_purchases() -> Interactions:
    """Read the file; a cancellation takes from the same customer's latest purchases of that item."""
    table = pq.read_table(
        FILE, columns=["stock_code", "quantity", "invoice_ts", "customer_id", "is_cancel"]
    ).drop_null()
    order = np.argsort(table["invoice_ts"].to_numpy(), kind="stable")
    day = table["invoice_ts"].to_numpy().astype("datetime64[D]").astype(np.int64)
    customer, item = table["customer_id"].to_pylist(), table["stock_code"].to_pylist()
    quantity, cancelled = table["quantity"].to_pylist(), table["is_cancel"].to_pylist()
    left: dict[tuple[int, str], list[list[int]]] = defaultdict(list)
    for row in order.tolist():
        purchases = left[customer[row], item[row]]
        if not cancelled[row] and quantity[row] > 0:
            purchases.append([int(day[row]), quantity[row]])
            continue
        back = -quantity[row]
        while purchases and back > 0:
            taken = min(purchases[-1][1], back)
            purchases[-1][1] -= taken
            back -= taken
            if not purchases[-1][1]:
                purchases.pop()
    flat = [(who, what, when, pieces) for (who, what), bought in left.items() for when, pieces in bought]
    who, what, when, pieces = zip(*flat, strict=True)
    return Interactions.from_columns(user_id=who, item_id=what, day=when, quantity=pieces)


def test_the_served_lists_stand_up_to_the_strongest_baselines() -> None:
    """Last origin, 28 days, k = 10. Reference points: GP-TopFreq .1773, P-TopFreq .1860, blend .1871;
    discover only: EASE and popularity .0716."""
    table = evaluate(net_purchases(), seed=20, origins=1)
    assert table.origins[0]["users"] == pytest.approx(1300, abs=40)
    assert table.methods["gp_topfreq"]["recall"] == pytest.approx(0.1773, abs=0.01)
    assert table.methods["popularity_all"]["recall"] == pytest.approx(0.0319, abs=0.005)
    assert table.methods["mixed"]["recall"] > 0.186
    assert table.methods["mixed"]["recall"] > table.methods["gp_topfreq"]["recall"]
    assert table.methods["mixed"]["recall"] > 0.99 * table.methods["personal_frequency"]["recall"]
    assert table.discover["discover"]["recall"] > 0.07


def test_two_trainings_on_the_real_shop_have_the_same_hash(tmp_path: Path) -> None:
    one = train(net_purchases(), seed=20).write(tmp_path / "one", version="one")
    other = train(net_purchases(), seed=20).write(tmp_path / "other", version="other")
    assert one == other


def test_every_customer_of_the_real_shop_gets_a_clean_list() -> None:
    data = net_purchases()
    model = train(data, seed=20).serve()
    today = data.last_day + 1
    starts = np.searchsorted(data.user_index, np.arange(len(data.users) + 1))
    for user in range(0, len(data.users), 20):
        rows = slice(int(starts[user]), int(starts[user + 1]))
        history = [
            (data.items.ids[item], day, quantity)
            for item, day, quantity in zip(
                data.item_index[rows].tolist(),
                data.day[rows].tolist(),
                data.quantity[rows].tolist(),
                strict=True,
            )
        ]
        answer = model.recommend(history, today=today, limit=20)
        assert len({one.item_id for one in answer.items}) == 20
        assert answer.fallback is None
