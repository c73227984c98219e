"""Stored states folded forward in memory, nothing written: who is at risk, and who falls when."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, Row

from service.activity.rules import DayTotals
from service.members import operations as members
from service.programme.operations import Programme
from service.tiers import store_bulk
from service.tiers.fold import MemberFold
from service.tiers.rating import read_state
from service.tiers.rules import RuleSet


def resume_members(
    conn: Connection, rows: Sequence[Row[Any]], *, rules: RuleSet, programme: Programme, today: date
) -> Iterator[tuple[Row[Any], MemberFold]]:
    """Yield each row with its member caught up to `today`, from the days of all of them read at once."""
    window = timedelta(days=rules.window.days)
    afters = {row.member_key: min(today, row.next_review_on or today) - window for row in rows}
    days = {
        key: [
            DayTotals(day.day, day.goods_minor, day.spend_minor, day.orders, day.unlinked_minor)
            for day in group
        ]
        for key, group in groupby(store_bulk.list_days(conn, afters=afters), key=lambda day: day.member_key)
    }
    joined = members.list_joined(conn, member_keys=list(afters)) if rules.asks_for_tenure else {}
    for row in rows:
        member = MemberFold.resume(
            rules=rules,
            timezone=programme.timezone,
            state=read_state(row),
            totals=days.get(row.member_key, ()),
            joined_at=joined.get(row.member_key),
        )
        member.catch_up(today)
        yield row, member
