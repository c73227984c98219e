"""Rule sets and histories at random, small enough that everything interesting happens in a few months."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from service.activity.rules import TierFact
from service.kit.clock import local_day

START = datetime(2024, 2, 20, tzinfo=UTC)
"""Shortly before a leap day and before the clocks change in Europe and North America."""
ZONES = ("UTC", "Asia/Taipei", "Europe/London", "America/New_York", "Pacific/Auckland")
LENGTH_DAYS = 70


def _leaf(metric: str, op: str, value: object) -> dict[str, object]:
    return {"metric": metric, "op": op, "value": value}


LEAVES = st.one_of(
    st.builds(
        _leaf, st.just("net_spend"), st.sampled_from([">=", ">"]), st.sampled_from(["1", "2", "3.5", "6"])
    ),
    st.builds(_leaf, st.just("active_days"), st.sampled_from([">=", ">"]), st.integers(1, 4)),
    st.builds(_leaf, st.just("orders"), st.just(">="), st.integers(1, 4)),
    st.builds(
        _leaf,
        st.just("visit_interval_days"),
        st.sampled_from(["<=", "<", ">="]),
        st.sampled_from([3, "4.5", "7.25", 12]),
    ),
    st.builds(
        _leaf,
        st.just("days_since_last_visit"),
        st.sampled_from(["<=", "<", ">="]),
        st.sampled_from([0, 3, 6, 11]),
    ),
    st.builds(_leaf, st.just("days_since_last_visit"), st.just("between"), st.just([2, 5])),
    st.builds(_leaf, st.just("member_days"), st.sampled_from([">=", "<="]), st.sampled_from([0, 9, 25])),
)
PARTS = st.lists(LEAVES, min_size=1, max_size=3)
CONDITIONS = st.one_of(
    LEAVES,
    PARTS.map(lambda of: {"all": of}),
    PARTS.map(lambda of: {"any": of}),
    PARTS.map(lambda of: {"at_least": {"k": max(1, len(of) - 1), "of": of}}),
)


@st.composite
def definitions(draw: st.DrawFn) -> dict[str, Any]:
    """Draw the definition of a rule set of two to four tiers."""
    names = {"en": "Tier", "zh-Hant": "等級"}
    tiers: list[dict[str, Any]] = [{"code": "t0", "names": names}]
    for rank in range(1, draw(st.integers(2, 4))):
        tier: dict[str, Any] = {"code": f"t{rank}", "names": names, "enter": draw(CONDITIONS)}
        if draw(st.booleans()):
            tier["keep"] = draw(CONDITIONS)
        tiers.append(tier)
    return {
        "currency": "TWD",
        "window": {"kind": "rolling", "days": draw(st.sampled_from([10, 20, 45]))},
        "tiers": tiers,
        "downgrade": {
            "policy": draw(st.sampled_from(["one_step", "to_qualified"])),
            "grace_days": draw(st.sampled_from([0, 1, 5])),
            "min_hold_days": draw(st.sampled_from([0, 4, 12])),
        },
    }


@dataclass(frozen=True)
class World:
    """A programme's rule set and zone, one member's facts, and when each of them arrives."""

    definition: dict[str, Any]
    timezone: str
    joined_at: datetime
    arrivals: list[tuple[datetime, TierFact]]

    @property
    def facts(self) -> list[TierFact]:
        """Every fact in the order of its own time."""
        return sorted((fact for _, fact in self.arrivals), key=TierFact.sort_key)


@st.composite
def moments(draw: st.DrawFn) -> datetime:
    """Draw a moment of the history; often midnights and ties."""
    hours = draw(st.sampled_from([0, 0, 8, 12, 16, 23]))
    return START + timedelta(days=draw(st.integers(0, LENGTH_DAYS)), hours=hours)


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Draw a member's life with partial, whole and unlinked refunds, arriving in any order."""
    timezone = draw(st.sampled_from(ZONES))
    # A store may keep another zone than the programme.
    store_zone = draw(st.sampled_from([timezone, timezone, "Asia/Tokyo"]))
    late = st.one_of(st.just(0), st.integers(0, 6), st.integers(0, 50))
    arrivals: list[tuple[datetime, TierFact]] = []
    for key in range(1, draw(st.integers(0, 9)) + 1):
        at = draw(moments())
        minor = draw(st.sampled_from([0, 50, 100, 200, 400]))
        fact = TierFact(
            at,
            local_day(at, timezone=store_zone),
            "order",
            f"o{key}",
            key,
            None,
            minor,
            minor,
            int(minor > 0),
            0,
        )
        seen = at + timedelta(days=draw(late), minutes=1)
        arrivals.append((seen, fact))
        left = minor
        when = at
        for part in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
            if left == 0:
                break
            when += timedelta(
                days=draw(st.sampled_from([0, 1, 3, 10, 30])), minutes=draw(st.sampled_from([0, 30]))
            )
            gone = draw(st.sampled_from([left, left, 50]))
            left -= gone
            back = TierFact(
                when,
                fact.day,
                "refund",
                f"r{key}-{part}",
                key,
                key * 10 + part,
                -gone,
                -gone,
                -int(left == 0),
                0,
            )
            seen = max(seen, when + timedelta(days=draw(late)))
            arrivals.append((seen, back))
    for number in range(draw(st.sampled_from([0, 0, 1, 2]))):
        at = draw(moments())
        fact = TierFact(
            at,
            local_day(at, timezone=store_zone),
            "refund",
            f"u{number}",
            None,
            900 + number,
            0,
            0,
            0,
            draw(st.sampled_from([50, 200])),
        )
        arrivals.append((at + timedelta(days=draw(late)), fact))
    return World(
        definition=draw(definitions()),
        timezone=timezone,
        joined_at=draw(st.one_of(st.just(START), moments())),
        arrivals=sorted(arrivals, key=lambda arrival: (arrival[0], arrival[1].sort_key())),
    )
