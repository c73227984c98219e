"""Statistics between trainings: moved along by what changed since they were made last, exactly.

One transaction takes the changes that the database noted, works out what the pairs of member and item
behind them stood for before and stand for now, and writes the next version. Cut off anywhere, nothing has
happened and the changes still wait; with nothing new, only the day moves. numpy only.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import numpy as np
from sqlalchemy import Connection, Engine, Row

from recommender.errors import StatisticsBroken
from recommender.statistics import Statistics, Takings
from service.activity import operations as activity
from service.activity.operations import TakingChanges
from service.kit.clock import format_time, local_day
from service.recommendations import store_statistics as store
from service.recommendations.histories import read_columns
from service.recommendations.rules import Bought, Returned, net_purchases

log = logging.getLogger(__name__)

MOST_CHANGES = 50_000
"""Above, everything is read from the beginning: that is set-based, and sooner done."""
_EPOCH = date(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class Refreshment:
    """What a refresh did: the version it made, the changes it took in, the lines it read to do so.

    `changes` is None where everything was computed from the beginning.
    """

    version: int
    refreshed_at: datetime
    changes: int | None
    lines_read: int
    items: int

    def to_json(self) -> dict[str, Any]:
        """Return it as it is told."""
        return {
            "version": self.version,
            "refreshed_at": format_time(self.refreshed_at),
            "from_scratch": self.changes is None,
            "changes": self.changes or 0,
            "lines_read": self.lines_read,
            "items": self.items,
        }


def refresh_statistics(
    engine: Engine, *, timezone: str, now: datetime, from_scratch: bool = False
) -> Refreshment:
    """Bring the statistics up to everything committed, and keep them under the next version.

    Two at once do no harm: the second waits, and goes on from what the first has made.
    """
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as conn, conn.begin():
        store.lock_statistics(conn)
        return _refresh(conn, timezone=timezone, now=now, from_scratch=from_scratch)


def _refresh(conn: Connection, *, timezone: str, now: datetime, from_scratch: bool) -> Refreshment:
    row = store.find_state(conn)
    today = (local_day(now, timezone=timezone) - _EPOCH).days
    # Days do not go back, whatever the clock of this machine says.
    through_day = today if row is None else max(today, (row.through_day - _EPOCH).days)
    held = None if row is None or from_scratch else _read_state(row)
    if held is None or activity.count_taking_changes(conn, most=MOST_CHANGES) == MOST_CHANGES:
        activity.forget_taking_changes(conn)
        takings = read_takings(conn, timezone=timezone)
        moved, changes, read = Statistics.of(takings, through_day=through_day), None, len(takings.day)
    else:
        found = activity.take_taking_changes(conn)
        before, after, read = list_changed(conn, changes=found, timezone=timezone)
        moved = held.moved(before=before, after=after, through_day=through_day)
        changes = len(found)
    version = 1 if row is None else row.version + 1
    tiers = store.map_tiers(conn, member_keys=np.unique(moved.recent_user).tolist())
    store.insert_statistics(
        conn,
        version=version,
        through_day=through_day,
        changes=changes or 0,
        figures=moved.figures(tiers).to_bytes(),
        state=moved.to_bytes(),
        now=now,
    )
    return Refreshment(version, now, changes, read, len(moved.items))


def _read_state(row: Row[Any]) -> Statistics | None:
    try:
        return Statistics.from_bytes(row.state)
    except StatisticsBroken as error:
        log.error(
            "statistics unreadable, computed anew", extra={"version": row.version, "problem": str(error)}
        )
        return None


def read_takings(conn: Connection, *, timezone: str) -> Takings:
    """Read everything that was taken and stands; the transaction's temporary tables hold what came back."""
    columns = read_columns(conn, timezone=timezone, tell=lambda stage, done, total: None)
    return Takings.of(
        np.concatenate(columns.member_key), np.concatenate(columns.item_key), np.concatenate(columns.day)
    )


def list_changed(conn: Connection, *, changes: TakingChanges, timezone: str) -> tuple[Takings, Takings, int]:
    """Return what the pairs behind some changes stood for, what they stand for, and the lines read."""
    pairs = _list_pairs(conn, changes)
    lines = store.list_lines(conn, pairs=pairs, timezone=timezone)
    returns = store.list_returns(conn, pairs=pairs, timezone=timezone)
    undone_before, undone_now = _list_undone(conn, lines, changes)
    before = _net(
        (
            (line, changes.was_owner_of_order.get(line.order_key, line.member_key))
            for line in lines
            if line.order_key not in changes.orders and line.order_key not in undone_before
        ),
        (
            (one, changes.was_owner_of_refund.get(one.refund_key, one.member_key))
            for one in returns
            if one.refund_key not in changes.refunds
        ),
    )
    after = _net(
        ((line, line.member_key) for line in lines if line.order_key not in undone_now),
        ((one, one.member_key) for one in returns),
    )
    return before, after, len(lines) + len(returns)


def _list_pairs(conn: Connection, changes: TakingChanges) -> set[store.Pair]:
    """Return the pairs of member and item that changes may have touched, with those of former owners."""
    refund_keys = [*changes.refunds, *changes.was_owner_of_refund]
    refunds = store.list_refunds(conn, refund_keys=refund_keys) if refund_keys else []
    orders = {*changes.orders, *changes.cancelled, *changes.was_owner_of_order}
    orders |= {row.order_key for row in refunds if row.order_key is not None}
    pairs: set[store.Pair] = set()
    for row in store.list_items_ordered(conn, order_keys=orders) if orders else ():
        was = changes.was_owner_of_order.get(row.order_key, row.member_key)
        pairs |= {(row.member_key, row.item_key), (was, row.item_key)}
    owner = {row.refund_key: row.member_key for row in refunds}
    for row in store.list_items_given_back(conn, refund_keys=refund_keys) if refund_keys else ():
        was = changes.was_owner_of_refund.get(row.refund_key, owner[row.refund_key])
        pairs |= {(owner[row.refund_key], row.item_key), (was, row.item_key)}
    return pairs


def _list_undone(
    conn: Connection, lines: Sequence[Row[Any]], changes: TakingChanges
) -> tuple[set[int], set[int]]:
    """Return the orders that were cancelled or refunded to the last cent: before the changes, and now."""
    back_before: dict[int, int] = defaultdict(int)
    back_now: dict[int, int] = defaultdict(int)
    for refund in store.list_refunds_of_orders(conn, order_keys={line.order_key for line in lines}):
        back_now[refund.order_key] += refund.order_amount_minor
        if refund.refund_key not in changes.refunds:
            back_before[refund.order_key] += refund.order_amount_minor
    before, now = set(), set()
    for line in lines:
        key, goods = line.order_key, line.order_goods_minor
        if line.cancelled or (key in back_now and back_now[key] >= goods):
            now.add(key)
        was_cancelled = line.cancelled and key not in changes.cancelled
        if was_cancelled or (key in back_before and back_before[key] >= goods):
            before.add(key)
    return before, now


def _net(lines: Iterable[tuple[Row[Any], int]], returns: Iterable[tuple[Row[Any], int]]) -> Takings:
    """Return what is left of some lines, each with its owner, by the rule that answers use."""
    bought: dict[tuple[int, int], list[Bought]] = defaultdict(list)
    returned: dict[tuple[int, int], list[Returned]] = defaultdict(list)
    for line, owner in lines:
        bought[owner, line.item_key].append(Bought("", line.day, line.quantity, line.order_key))
    for one, owner in returns:
        returned[owner, one.item_key].append(Returned("", one.day, one.quantity, one.order_key))
    left = [
        (owner, item, day)
        for (owner, item), own in bought.items()
        for _, day, _ in net_purchases(own, returned.get((owner, item), ()))
    ]
    return Takings.of(*np.array(left, np.int64).reshape(-1, 3).T)
