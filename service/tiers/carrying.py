"""How a stay in a tier is carried from one rule set into the next, and until when it stands. Pure."""

from __future__ import annotations

from datetime import datetime

from service.tiers.periods import MembershipYear, RollingWindow, period_of
from service.tiers.rules import RuleSet
from service.tiers.spans import Span
from service.tiers.timeline import carry_rank


def end_of_period(rules: RuleSet, day: int, *, joined: int | None, since: int) -> int | None:
    """Return the first day of the period after the one that holds `day`; None of a rolling window."""
    if isinstance(rules.window, RollingWindow):
        return None
    return period_of(rules.window, day, joined=joined or 0, since=since)[1]


def end_of_next_period(rules: RuleSet, day: int, *, joined: int | None, since: int) -> int | None:
    """Return until when a tier stands that is reached on `day` by a rise; None of a rolling window.

    A year that begins anew with the tier is the next period itself.
    """
    end = end_of_period(rules, day, joined=joined, since=since)
    if end is None or rules.window == MembershipYear("tier"):
        return end
    return end_of_period(rules, end, joined=joined, since=since)


def carry_span(span: Span, *, old: RuleSet, new: RuleSet, at: datetime, day: int, joined: int | None) -> Span:
    """Return a stay under the rule set that takes over at a moment, before anything is rated under it.

    Who held a tier that is gone is set down on the highest one below it, as by a fall. A tier that comes
    under another window of periods stands at least until the end of the period running then, and no earlier
    than it would have.
    """
    rank = carry_rank(span.rank, old, new)
    landed = new.tiers[rank].code != old.tiers[span.rank].code
    carried = Span(rank, at, day, None, span.carrier, None) if landed else span._replace(rank=rank)
    if rank == 0:
        return carried._replace(unqualified_since=None, stands_until=None)
    if isinstance(new.window, RollingWindow):
        return carried._replace(stands_until=None)
    if carried.stands_until is not None and new.window == old.window:
        return carried
    promised = 0 if carried.stands_until is None else carried.stands_until - 1
    until = end_of_period(new, max(day, promised), joined=joined, since=carried.since_day)
    return carried._replace(unqualified_since=None, stands_until=until)
