"""SQL of what members looked at, for training: set-based, a range of days as one row of arrays."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import BigInteger, Connection, DateTime, Text, bindparam, case, cast, func, literal, select

from recommender.browsing import KINDS
from service.activity.readable import browse_rows
from service.members.readable import consent_rows
from service.recommendations.store_taken import LOOK_KINDS
from service.recommendations.store_training import copy_arrays

_RANGE = timedelta(days=7)
Looks = tuple[NDArray[np.int64], ...]
"""Member key, item key, seconds of the local clock since 1970-01-01, position of the kind in `KINDS`."""

_local = func.timezone(bindparam("timezone", type_=Text), browse_rows.c.occurred_at)
# Who objected is not looked at here either.
_objecting = select(consent_rows.c.member_key).where(consent_rows.c.profiling.is_(False))
_LOOKS = select(
    func.array_agg(browse_rows.c.member_key),
    func.array_agg(browse_rows.c.item_key),
    func.array_agg(cast(func.extract("epoch", _local), BigInteger)),
    func.array_agg(
        case(
            *((browse_rows.c.type == name, KINDS.index(kind)) for name, kind in LOOK_KINDS.items()), else_=-1
        )
    ),
).where(
    browse_rows.c.member_key.is_not(None),
    browse_rows.c.type.in_([literal(name, Text) for name in LOOK_KINDS]),
    browse_rows.c.occurred_at >= bindparam("since", type_=DateTime(timezone=True)),
    browse_rows.c.occurred_at < bindparam("until", type_=DateTime(timezone=True)),
    browse_rows.c.member_key.not_in(_objecting),
)


def copy_looks(conn: Connection, *, timezone: str, since: datetime, until: datetime) -> Iterator[Looks]:
    """Yield what members looked at between two moments, a few days at a time."""
    begin = since
    while begin < until:
        end = min(until, begin + _RANGE)
        query: Any = _LOOKS.params(timezone=timezone, since=begin, until=end)
        found = copy_arrays(conn, query=query, kinds=(">i8", ">i8", ">i8", ">i4"))
        if found is not None:
            yield found
        begin = end
