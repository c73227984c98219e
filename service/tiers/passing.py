"""Days that pass and leave members where they are: rated set-based, many at a time.

Of most who are due a day has left the window, or a visit has grown older, and the tier stands as before: only
the day on which they are due next is another one. The second reader of the rules tells who they are (law T3);
everybody else is folded.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

from sqlalchemy import Connection, Row

from service.kit.clock import last_moment
from service.programme.operations import Programme
from service.tiers.population.store_unmoved import list_unmoved, plan_for_many
from service.tiers.timeline import RuleTimeline

_MOST_DAYS = 8
"""Days looked at for each call: a week's reviews that did not run. A longer backlog is folded."""


def pass_days(
    conn: Connection, rows: Sequence[Row[Any]], *, timeline: RuleTimeline, programme: Programme, day: date
) -> dict[int, date | None]:
    """Return who of some states is left as they are by every day they are due on up to `day`.

    By key, with the day after `day` on which each is due next; None: on none. The states are held by the
    caller, or read for a preview. To be folded are the others: who moves or comes to be at risk on one of
    these days, who is at risk or pinned already, and whose rules change.
    """
    # Under the rules in force at the end of it all they were rated, so no others came in between.
    rules = timeline.at(last_moment(day, timezone=programme.timezone))
    waiting: dict[date, list[int]] = {}
    for row in rows:
        due = row.next_review_on
        if due is None or due > day or row.ruleset_version != rules.version:
            continue
        if row.unqualified_since is None and row.pinned_until is None:
            waiting.setdefault(due, []).append(row.member_key)
    passed: dict[int, date | None] = {}
    if waiting:
        plan_for_many(conn)
    for _ in range(_MOST_DAYS):
        if not waiting:
            break
        first = min(waiting)
        for key, due in list_unmoved(
            conn,
            rules=rules,
            day=first,
            timezone=programme.timezone,
            member_keys=waiting.pop(first),
        ):
            if due is None or due > day:
                passed[key] = due
            else:
                waiting.setdefault(due, []).append(key)
    return passed
