"""Facts as tiers read them: everything that changes a member's days, in order of time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, Row

from service.activity import store
from service.activity.rules import OrderValue, RefundStep, TierFact, order_facts, unlinked_fact

FactsByOrigin = dict[int | None, list[TierFact]]
"""Facts in order of time, by the merged member they were sent for; None: for the member itself."""


def list_tier_facts(conn: Connection, *, member_key: int) -> list[TierFact]:
    """Return everything that changes a member's days, in order of time."""
    (_, facts), *_ = list(stream_tier_facts(conn, member_keys=[member_key]))
    return facts


def stream_tier_facts(
    conn: Connection, *, member_keys: Sequence[int]
) -> Iterator[tuple[int, list[TierFact]]]:
    """Yield each member's facts in order of time, by ascending key; members without facts have none."""
    for key, by_origin in stream_tier_facts_by_origin(conn, member_keys=member_keys):
        facts = [fact for some in by_origin.values() for fact in some]
        if len(by_origin) > 1:
            facts.sort(key=TierFact.sort_key)
        yield key, facts


def stream_tier_facts_by_origin(
    conn: Connection, *, member_keys: Sequence[int]
) -> Iterator[tuple[int, FactsByOrigin]]:
    """Yield each member's facts apart by whom they were sent for, by ascending key."""
    waiting = iter(sorted(set(member_keys)))
    for key, rows in groupby(
        store.stream_facts(conn, member_keys=member_keys), key=lambda row: row.member_key
    ):
        for without in waiting:
            if without == key:
                break
            yield without, {}
        yield key, _apart(list(rows))
    for without in waiting:
        yield without, {}


def _apart(rows: Sequence[Row[Any]]) -> FactsByOrigin:
    origins = {row.order_key: row.origin_key for row in rows if row.what == "order"}
    groups: dict[int | None, list[Row[Any]]] = {}
    for row in rows:
        origin = row.origin_key if row.what == "unlinked" else origins[row.order_key]
        groups.setdefault(origin, []).append(row)
    return {origin: _facts_of(group) for origin, group in groups.items()}


def _facts_of(rows: Sequence[Row[Any]]) -> list[TierFact]:
    orders = {row.order_key: row for row in rows if row.what == "order"}
    steps: dict[int, list[RefundStep]] = {key: [] for key in orders}
    facts: list[TierFact] = []
    for row in rows:
        if row.what == "order":
            continue
        step = RefundStep(row.at, row.source_id, row.refund_key, row.order_goods_minor)
        if row.what == "unlinked":
            facts.append(unlinked_fact(step, day=row.day))
        else:
            steps[row.order_key].append(step)
    for key, row in orders.items():
        value = OrderValue(
            key, row.source_id, row.at, row.day, row.order_goods_minor, row.goods_minor, row.spend_minor
        )
        facts += order_facts(value, steps[key])
    facts.sort(key=TierFact.sort_key)
    return facts
