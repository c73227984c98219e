"""Every SQL statement about what lies ahead: who is at risk, who may move, and the forecasts kept."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Connection,
    Date,
    Integer,
    Row,
    Select,
    Text,
    any_,
    bindparam,
    func,
    or_,
    select,
    tuple_,
)

from service.members.readable import joining_rows, member_rows
from service.programme.readable import store_rows
from service.tiers.models import tier_reports, tier_states
from service.tiers.movement.store_stays import in_scope


def list_unqualified(
    conn: Connection,
    *,
    tier: str | None,
    until: date,
    after: tuple[date, int],
    limit: int,
    store_ids: Sequence[str] | None,
) -> Sequence[Row[Any]]:
    """Return states that stopped qualifying by a day, with the member's id: the longest ago first.

    Pinned members are left out: nothing moves them while the pin holds.
    """
    parameters = {
        "until": until,
        "after_day": after[0],
        "after_key": after[1],
        "limit": limit,
        "tier": tier,
        "store_ids": None if store_ids is None else list(store_ids),
    }
    statement = _list_unqualified(tier is not None, store_ids is not None)
    return conn.execute(statement, parameters).all()


def find_forecast(conn: Connection, *, days: int) -> Row[Any] | None:
    """Return (as_of, computed_at, result) of the latest forecast that looks this many days ahead or more."""
    return conn.execute(_FIND_FORECAST, {"days": days}).one_or_none()


def count_due(conn: Connection, *, until: date, versions: Sequence[int], most: int) -> int:
    """Return how many members time alone may move by a day, or were rated under these rule sets.

    Counts no further than `most`.
    """
    parameters = {"until": until, "versions": list(versions), "most": most}
    return int(conn.execute(_COUNT_DUE, parameters).scalar_one())


def list_stores_of(conn: Connection, *, member_keys: Sequence[int]) -> dict[int, str]:
    """Return the store of each member that has one."""
    rows = conn.execute(_STORES_OF, {"member_keys": list(member_keys)})
    return {row.member_key: row.store_id for row in rows}


@lru_cache(maxsize=4)
def _list_unqualified(by_tier: bool, scoped: bool) -> Select[Any]:
    key = tuple_(tier_states.c.unqualified_since, tier_states.c.member_key)
    after = tuple_(
        bindparam("after_day", type_=Date), bindparam("after_key", type_=BigInteger), types=[Date, BigInteger]
    )
    source = tier_states.join(member_rows, member_rows.c.member_key == tier_states.c.member_key)
    wanted = [
        tier_states.c.unqualified_since <= bindparam("until", type_=Date),
        tier_states.c.pinned_until.is_(None),
        key > after,
    ]
    if by_tier:
        wanted.append(tier_states.c.tier == bindparam("tier", type_=Text))
    if scoped:
        source = source.join(joining_rows, joining_rows.c.member_key == tier_states.c.member_key).join(
            store_rows, store_rows.c.store_key == joining_rows.c.store_key
        )
        wanted.append(in_scope())
    return (
        select(tier_states, member_rows.c.member_id)
        .select_from(source)
        .where(*wanted)
        .order_by(tier_states.c.unqualified_since, tier_states.c.member_key)
        .limit(bindparam("limit", type_=Integer))
    )


_COUNT_DUE = select(func.count()).select_from(
    select(tier_states.c.member_key)
    .where(
        or_(
            tier_states.c.next_review_on <= bindparam("until", type_=Date),
            tier_states.c.ruleset_version == any_(bindparam("versions", type_=ARRAY(Integer))),
        )
    )
    .limit(bindparam("most", type_=Integer))
    .subquery("due")
)
_FIND_FORECAST: Select[Any] = (
    select(tier_reports.c.as_of, tier_reports.c.computed_at, tier_reports.c.result)
    .where(
        tier_reports.c.kind == "forecast",
        tier_reports.c.state == "done",
        tier_reports.c.parameters["days"].as_integer() >= bindparam("days", type_=Integer),
    )
    .order_by(tier_reports.c.as_of.desc(), tier_reports.c.computed_at.desc())
    .limit(1)
)
_STORES_OF = (
    select(joining_rows.c.member_key, store_rows.c.store_id)
    .select_from(joining_rows.join(store_rows, store_rows.c.store_key == joining_rows.c.store_key))
    .where(joining_rows.c.member_key == any_(bindparam("member_keys", type_=ARRAY(BigInteger))))
)
