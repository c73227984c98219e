"""What the default tiers are worth on the UCI shop, counted from the raw rows by plain Python."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import date
from fractions import Fraction
from typing import Any, Protocol

from sqlalchemy import Engine, text

from service.kit.db import transaction
from service.programme.operations import Programme
from service.tiers.worth import operations as worth
from tests.integration.intake.business import NOW

AS_OF, LAST = date(2011, 6, 1), date(2011, 9, 1)
WINDOW_DAYS = 365


class Counted(Protocol):
    """One customer's raw figures by day ordinal, as the import's test counts them."""

    goods: dict[int, int]
    refunds: dict[int, int]

    def measure(self, *, after: int, until: int) -> tuple[int, int, Fraction | None]: ...


def look_at_worth(
    engine: Engine, programme: Programme, counted: Mapping[str, Counted], *, full: bool
) -> None:
    """Hold every tier's members, buyers and net spend against the independent count."""
    with transaction(engine) as conn:
        report = worth.ask_worth(conn, version=1, as_of=AS_OF, months=3, programme=programme, now=NOW)
        found = worth.answer_worth(
            conn, parameters=report.parameters, as_of=report.as_of, programme=programme
        )
        keys = {row.member_id: row.member_key for row in conn.execute(text("SELECT * FROM members"))}
    expected = count_worth(counted, keys)
    assert found["everyone"]["members"] == sum(len(chosen) for chosen in expected["by_tier"].values())
    for tier in found["tiers"]:
        for side in ("by_tier", "by_spend"):
            told, chosen = tier[side], expected[side].get(tier["rank"], [])
            assert told["repurchase"]["denominator"] == len(chosen)
            assert told["repurchase"]["numerator"] == sum(bought for bought, _ in chosen), (tier, side)
            pence = sum(net for _, net in chosen)
            assert told["net_spend"]["total"] == f"{pence / 100:.2f}"
    if full:
        look_at_figures(found)


def look_at_figures(found: dict[str, Any]) -> None:
    """The figures that docs/tiers.md tells."""
    rates = [
        (tier["tier"], tier["by_tier"]["members"], tier["by_tier"]["repurchase"]["numerator"])
        for tier in found["tiers"]
    ]
    assert rates == [("member", 1434, 431), ("silver", 885, 520), ("gold", 334, 287), ("platinum", 120, 119)]
    assert [tier["by_spend"]["repurchase"]["numerator"] for tier in found["tiers"]] == [449, 535, 263, 110]
    above = found["above_base"]
    assert above["verdict"] == "not_told_apart"
    assert above["share_of_net_spend"] == {"by_tier": 0.845, "by_spend": 0.898}


def count_worth(
    counted: Mapping[str, Counted], keys: Mapping[str, int]
) -> dict[str, dict[int, list[tuple[bool, int]]]]:
    """Return (bought, net spend in pence) of the months after, by side and rank."""
    day, last = AS_OF.toordinal(), LAST.toordinal()
    ranks: dict[str, int] = {}
    spends: dict[str, int] = {}
    for member_id, figures in counted.items():
        if min([*figures.goods, *figures.refunds]) <= day:
            net, _, _ = figures.measure(after=day - WINDOW_DAYS, until=day)
            ranks[member_id], spends[member_id] = default_rank(figures, day), net
    in_order = sorted(spends, key=lambda one: (spends[one], hashlib.md5(str(keys[one]).encode()).hexdigest()))
    groups = dict(zip(in_order, sorted(ranks.values()), strict=True))
    sides: dict[str, dict[int, list[tuple[bool, int]]]] = {"by_tier": {}, "by_spend": {}}
    for side, places in (("by_tier", ranks), ("by_spend", groups)):
        for member_id, rank in places.items():
            net, active, _ = counted[member_id].measure(after=day, until=last)
            sides[side].setdefault(rank, []).append((active > 0, net))
    return sides


def default_rank(figures: Counted, day: int) -> int:
    """Return the rank by the default rules in pounds, as docs/tier-defaults.md tells them."""
    net, active, interval = figures.measure(after=day - WINDOW_DAYS, until=day)
    visits = [one for one, pence in figures.goods.items() if day - WINDOW_DAYS < one <= day and pence > 0]
    since = day - max(visits, default=0)
    if interval is None:
        return 0
    if net >= 120_000 and active >= 8 and interval <= 30 and since <= 60:
        return 3
    if net >= 40_000 and active >= 4 and interval <= 60 and since <= 90:
        return 2
    return int(net >= 10_000 and active >= 2)
