"""Facts of a member that is merged: they count for the survivor, and remember for whom they were sent."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from sqlalchemy import Connection

from service.activity import store_merging as store
from service.activity.rules import DayTotals
from service.activity.tier_facts import stream_tier_facts_by_origin


def hand_over(conn: Connection, *, from_key: int, into_key: int) -> None:
    """Let every order, refund, event and day of a member count for another; both are locked by the caller."""
    store.hand_over_facts(conn, from_key=from_key, into_key=into_key)
    store.hand_over_days(conn, from_key=from_key, into_key=into_key)


def hand_back(conn: Connection, *, from_key: int, into_key: int, origins: Sequence[int]) -> None:
    """Let what was sent for some merged members count for one of them again, `from_key`, days included."""
    ((_, by_origin),) = stream_tier_facts_by_origin(conn, member_keys=[into_key])
    days: dict[date, list[int]] = {}
    for origin in origins:
        for fact in by_origin.get(origin, ()):
            total = days.setdefault(fact.day, [0, 0, 0, 0])
            deltas = (fact.goods_delta, fact.spend_delta, fact.orders_delta, fact.unlinked_delta)
            for place, delta in enumerate(deltas):
                total[place] += delta
    totals = [DayTotals(day, *total) for day, total in sorted(days.items())]
    store.hand_back_facts(conn, from_key=from_key, into_key=into_key, origins=origins)
    store.hand_back_days(conn, from_key=from_key, into_key=into_key, days=totals)


def list_orders_sent_for(conn: Connection, *, member_key: int, origins: Sequence[int]) -> list[int]:
    """Return the keys of a member's orders that were sent for some who were merged into it."""
    return store.list_order_keys(conn, member_key=member_key, origins=origins)
