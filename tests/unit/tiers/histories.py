"""Short ways to write members' histories and rule sets in tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import count

from service.activity.rules import TierFact
from service.kit.clock import local_day
from service.tiers.fold import MemberFold, fold
from service.tiers.rules import RuleSet, parse_ruleset
from service.tiers.timeline import RuleTimeline

JOINED = datetime(2024, 1, 1, 4, 0, tzinfo=UTC)
_refunds = count(1)


def at(day: int, hour: int = 12, minute: int = 0) -> datetime:
    """Return a moment `day` days after 1 January 2024, hours in UTC."""
    return datetime(2024, 1, 1, hour, minute, tzinfo=UTC) + timedelta(days=day)


def on(day: int) -> date:
    """Return the calendar day `day` days after 1 January 2024."""
    return date(2024, 1, 1) + timedelta(days=day)


def leaf(metric: str, op: str, value: object) -> dict[str, object]:
    """Return one comparison."""
    return {"metric": metric, "op": op, "value": value}


def order(
    key: int,
    day: int,
    amount: int = 100,
    *,
    hour: int = 12,
    moment: datetime | None = None,
    local: date | None = None,
    timezone: str = "UTC",
) -> TierFact:
    """Return an order of `amount` whole units of currency."""
    when = moment or at(day, hour)
    return TierFact(
        at=when,
        day=local or local_day(when, timezone=timezone),
        cause="order",
        source_id=f"o{key}",
        order_key=key,
        refund_key=None,
        goods_delta=amount * 100,
        spend_delta=amount * 100,
        orders_delta=1,
        unlinked_delta=0,
    )


def refund(
    of: TierFact, day: int, amount: int | None = None, *, hour: int = 15, last: bool = True
) -> TierFact:
    """Return a refund of an order, whole by default; `last` says that nothing of the order is left."""
    number = next(_refunds)
    minor = of.goods_delta if amount is None else amount * 100
    return TierFact(
        at=at(day, hour),
        day=of.day,
        cause="refund",
        source_id=f"r{number:06d}",
        order_key=of.order_key,
        refund_key=number,
        goods_delta=-minor,
        spend_delta=-minor,
        orders_delta=-1 if last else 0,
        unlinked_delta=0,
    )


def unlinked(day: int, amount: int, *, hour: int = 15) -> TierFact:
    """Return a refund that names no order."""
    number = next(_refunds)
    return TierFact(at(day, hour), on(day), "refund", f"u{number:06d}", None, number, 0, 0, 0, amount * 100)


def ladder(
    *enters: Mapping[str, object],
    keeps: Mapping[int, Mapping[str, object]] | None = None,
    window_days: int = 365,
    policy: str = "one_step",
    grace_days: int = 0,
    min_hold_days: int = 0,
    notice_days: int = 0,
    cadence: str = "daily",
    window: Mapping[str, object] | None = None,
    version: int = 1,
    codes: Sequence[str] = (),
    currency: str = "TWD",
) -> RuleSet:
    """Return a rule set whose tiers t1, t2, … (or `codes`) stand above a base tier t0.

    `window_days` is of a rolling window; `window` is for other kinds.
    """
    names = {"en": "Tier", "zh-Hant": "等級"}
    tiers: list[dict[str, object]] = [{"code": "t0", "names": names}]
    for rank, enter in enumerate(enters, start=1):
        code = codes[rank - 1] if codes else f"t{rank}"
        tier: dict[str, object] = {"code": code, "names": names, "enter": enter}
        if keeps and rank in keeps:
            tier["keep"] = keeps[rank]
        tiers.append(tier)
    definition = {
        "currency": currency,
        "window": window or {"kind": "rolling", "days": window_days},
        "tiers": tiers,
        "downgrade": {
            "policy": policy,
            "grace_days": grace_days,
            "min_hold_days": min_hold_days,
            "notice_days": notice_days,
        },
        "review_cadence": cadence,
    }
    return parse_ruleset(definition, version=version)


def spend(*thresholds: int) -> list[dict[str, object]]:
    """Return one `net_spend >= threshold` for each tier."""
    return [leaf("net_spend", ">=", str(threshold)) for threshold in thresholds]


def lived(
    facts: Sequence[TierFact],
    rules: RuleSet,
    *,
    until: int = 1000,
    timezone: str = "UTC",
    joined_at: datetime = JOINED,
) -> MemberFold:
    """Fold facts in any order up to a day."""
    ordered = sorted(facts, key=TierFact.sort_key)
    return fold(
        ordered,
        timeline=RuleTimeline.always(rules),
        timezone=timezone,
        joined_at=joined_at,
        until=on(until),
    )


def moves(member: MemberFold) -> list[tuple[int | None, int, datetime, str]]:
    """Return (from, to, when, cause) of every movement after the joining."""
    return [
        (change.from_rank, change.to_rank, change.effective_at, change.cause)
        for change in member.changes
        if change.from_rank is not None
    ]
