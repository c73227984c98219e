"""Rule sets and histories at random, small enough that everything interesting happens in a few months."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from service.activity.rules import TierFact
from service.kit.clock import local_day, local_midnight
from tests.laws.tier_oracle import Merged, Pinned

START = datetime(2024, 2, 20, tzinfo=UTC)
"""Shortly before a leap day and before the clocks change in Europe and North America."""
ZONES = ("UTC", "Asia/Taipei", "Europe/London", "America/New_York", "Pacific/Auckland")
LENGTH_DAYS = 70
END = (START + timedelta(days=LENGTH_DAYS + 90)).date()


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


NAMES = {"en": "Tier", "zh-Hant": "等級"}
CODES = ("t1", "t2", "t3", "t4")
ROLLING = st.sampled_from([10, 20, 45]).map(lambda days: {"kind": "rolling", "days": days})
PERIODS = st.sampled_from(
    [
        {"kind": "calendar_year"},
        {"kind": "membership_year", "anchor": "joining"},
        {"kind": "membership_year", "anchor": "tier"},
    ]
)


LADDERS = st.integers(2, 3).map(lambda above: ["t0", *CODES[:above]])


@st.composite
def definitions(
    draw: st.DrawFn,
    windows: st.SearchStrategy[dict[str, Any]] = ROLLING,
    ladders: st.SearchStrategy[list[str]] = LADDERS,
) -> dict[str, Any]:
    """Draw the definition of a rule set of two to four tiers."""
    codes = draw(ladders)
    tiers: list[dict[str, Any]] = [{"code": codes[0], "names": NAMES}]
    for code in codes[1:]:
        tier: dict[str, Any] = {"code": code, "names": NAMES, "enter": draw(CONDITIONS)}
        if draw(st.booleans()):
            tier["keep"] = draw(CONDITIONS)
        tiers.append(tier)
    return {
        "currency": "TWD",
        "window": draw(windows),
        "tiers": tiers,
        "downgrade": {
            "policy": draw(st.sampled_from(["one_step", "to_qualified"])),
            "grace_days": draw(st.sampled_from([0, 1, 5])),
            "min_hold_days": draw(st.sampled_from([0, 4, 12])),
            "notice_days": draw(st.sampled_from([0, 2, 7])),
        },
        "review_cadence": draw(st.sampled_from(["daily", "daily", "weekly", "monthly"])),
    }


@dataclass(frozen=True)
class World:
    """A programme's rule sets and zone, one member's facts, and when each of them arrives."""

    rulesets: list[tuple[datetime, dict[str, Any]]]
    timezone: str
    joined_at: datetime
    arrivals: list[tuple[datetime, TierFact]]
    end: date
    pins: list[Pinned]
    merges: list[Merged]

    @property
    def definition(self) -> dict[str, Any]:
        """The first rule set."""
        return self.rulesets[0][1]

    @property
    def facts(self) -> list[TierFact]:
        """Every fact in the order of its own time."""
        return sorted((fact for _, fact in self.arrivals), key=TierFact.sort_key)


@st.composite
def moments(draw: st.DrawFn, years: int = 0) -> datetime:
    """Draw a moment of the history, perhaps years later; often midnights and ties."""
    hours = draw(st.sampled_from([0, 0, 8, 12, 16, 23]))
    later = draw(st.integers(0, years)) * 365 if years else 0
    return START + timedelta(days=draw(st.integers(0, LENGTH_DAYS)) + later, hours=hours)


@st.composite
def arriving(
    draw: st.DrawFn, zones: tuple[str, str], *, years: int = 0, most: int = 9, prefix: str = "", keys: int = 0
) -> list[tuple[datetime, TierFact]]:
    """Draw orders with partial, whole and unlinked refunds, each with the moment it arrives."""
    # A store may keep another zone than the programme.
    store_zone = draw(st.sampled_from([zones[0], zones[0], zones[1]]))
    late = st.one_of(st.just(0), st.integers(0, 6), st.integers(0, 50))
    arrivals: list[tuple[datetime, TierFact]] = []
    for number in range(1, draw(st.integers(0, most)) + 1):
        key, name = keys + number, f"{prefix}o{number}"
        at = draw(moments(years))
        minor = draw(st.sampled_from([0, 50, 100, 200, 400]))
        day = local_day(at, timezone=store_zone)
        fact = TierFact(at, day, "order", name, key, None, minor, minor, int(minor > 0), 0)
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
                day,
                "refund",
                f"{prefix}r{number}-{part}",
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
        at = draw(moments(years))
        day = local_day(at, timezone=store_zone)
        minor = draw(st.sampled_from([50, 200]))
        fact = TierFact(at, day, "refund", f"{prefix}u{number}", None, 9000 + keys + number, 0, 0, 0, minor)
        arrivals.append((at + timedelta(days=draw(late)), fact))
    return sorted(arrivals, key=lambda arrival: (arrival[0], arrival[1].sort_key()))


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Draw a member's life under one rule set with a rolling window, its facts arriving in any order."""
    timezone = draw(st.sampled_from(ZONES))
    return World(
        rulesets=[(START, draw(definitions()))],
        timezone=timezone,
        joined_at=draw(st.one_of(st.just(START), moments())),
        arrivals=draw(arriving((timezone, "Asia/Tokyo"))),
        end=END,
        pins=[],
        merges=[],
    )


def _on_two_days(spend: str) -> dict[str, Any]:
    return {"all": [_leaf("net_spend", ">=", spend), _leaf("active_days", ">=", 2)]}


TWO_DAYS: dict[str, Any] = {
    "currency": "TWD",
    "window": {"kind": "rolling", "days": 365},
    "tiers": [
        {"code": "t0", "names": NAMES},
        {"code": "t1", "names": NAMES, "enter": _on_two_days("4"), "keep": _on_two_days("3")},
        {"code": "t2", "names": NAMES, "enter": _on_two_days("9")},
    ],
    "downgrade": {"policy": "one_step", "grace_days": 30, "min_hold_days": 90},
}
"""A ladder like the one a new programme starts with: one day's orders alone move nobody."""


@st.composite
def late_worlds(draw: st.DrawFn) -> World:
    """Draw minutes in which a shop tells of today and of days past, takes back, calls off, in any order.

    Seconds pass between what arrives, now and then a midnight; what is called off or given back may have
    been told of, late, a moment before.
    """
    timezone = draw(st.sampled_from(ZONES))
    midnight = local_midnight((START + timedelta(days=LENGTH_DAYS)).date(), timezone=timezone)
    now = midnight + timedelta(seconds=draw(st.sampled_from([-20, -20, 3600])))
    left: dict[int, tuple[TierFact, int]] = {}
    arrivals: list[tuple[datetime, TierFact]] = []
    for number in range(1, draw(st.integers(2, 16)) + 1):
        now += timedelta(seconds=draw(st.integers(1, 9)))
        at = now - draw(st.sampled_from([timedelta(), timedelta(), timedelta(seconds=8)]))
        if not left or draw(st.booleans()):
            at -= timedelta(days=draw(st.sampled_from([0, 0, 10, 10, 10, 3, 60])))
            minor, day = draw(st.sampled_from([50, 100, 200, 400])), local_day(at, timezone=timezone)
            fact = TierFact(at, day, "order", f"o{number}", number, None, minor, minor, 1, 0)
            left[number] = (fact, minor)
        else:
            key = draw(st.sampled_from(sorted(left)))
            order, minor = left.pop(key)
            gone = draw(st.sampled_from([minor, minor // 2]))
            name, refund_key = (f"r{number}", number) if draw(st.booleans()) else (order.source_id, None)
            gone = minor if refund_key is None else gone
            whole = int(gone == minor)
            at = max(at, order.at)
            fact = TierFact(at, order.day, "refund", name, key, refund_key, -gone, -gone, -whole, 0)
            if not whole:
                left[key] = (order, minor - gone)
        arrivals.append((now, fact))
    return World(
        rulesets=[(START, draw(st.one_of(st.just(TWO_DAYS), definitions())))],
        timezone=timezone,
        joined_at=START,
        arrivals=arrivals,
        end=END,
        pins=[],
        merges=[],
    )


@st.composite
def changing_worlds(draw: st.DrawFn, *, merging: bool = False) -> World:
    """Draw a life under up to three rule sets, windows of any kind and pins, perhaps merged with another."""
    timezone = draw(st.sampled_from(ZONES))
    years = draw(st.sampled_from([0, 0, 1, 2]))
    windows = st.one_of(ROLLING, PERIODS) if years == 0 else st.one_of(PERIODS, PERIODS, ROLLING)
    # Codes come and go and trade places; now and then the base tier itself.
    ladders = st.tuples(
        st.sampled_from(["t0", "t0", "t0", "base"]), st.permutations(CODES), st.integers(1, 3)
    ).map(lambda drawn: [drawn[0], *drawn[1][: drawn[2]]])
    one = st.one_of(definitions(windows), definitions(windows, ladders))
    changed = sorted({draw(rule_moments(timezone, years)) for _ in range(draw(st.integers(0, 2)))})
    rulesets = [(START - timedelta(days=draw(st.sampled_from([2, 30]))), draw(one))]
    for at in changed:
        # Often the same ladder with another number in it.
        same = draw(st.booleans())
        rulesets.append((at, altered(rulesets[-1][1], draw(one)) if same else draw(one)))
    joined_at = draw(st.one_of(st.just(START), moments(), st.just(START - timedelta(days=340))))
    return World(
        rulesets=rulesets,
        timezone=timezone,
        joined_at=joined_at,
        arrivals=draw(arriving((timezone, "Asia/Tokyo"), years=years, most=9 if years == 0 else 12)),
        end=END + timedelta(days=365 * years),
        pins=draw(pins(timezone, years)),
        merges=draw(st.lists(others(timezone, years), min_size=1, max_size=2)) if merging else [],
    )


@st.composite
def rule_moments(draw: st.DrawFn, timezone: str, years: int) -> datetime:
    """Draw when a rule set comes into force: at a midnight of the programme, or at once."""
    at = draw(moments(years))
    return local_midnight(local_day(at, timezone=timezone), timezone=timezone) if draw(st.booleans()) else at


def altered(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Return a rule set's ladder and window with another's way down."""
    return {**old, "downgrade": new["downgrade"], "review_cadence": new["review_cadence"]}


@st.composite
def pins(draw: st.DrawFn, timezone: str, years: int) -> list[Pinned]:
    """Draw pins one after the other: to a midnight, lifted at any moment, or at once replaced."""
    found: list[Pinned] = []
    at = draw(moments(years))
    for _ in range(draw(st.sampled_from([0, 0, 1, 2]))):
        ends_at = local_midnight(
            local_day(at, timezone=timezone) + timedelta(days=draw(st.integers(1, 40))), timezone=timezone
        )
        if draw(st.booleans()):
            ends_at = min(ends_at, at + timedelta(hours=draw(st.sampled_from([1, 13, 50, 200]))))
        found.append(Pinned(draw(st.sampled_from(["t0", *CODES, "base"])), at, ends_at))
        at = ends_at + timedelta(hours=draw(st.sampled_from([0, 0, 30, 300])))
    return found


@st.composite
def others(draw: st.DrawFn, timezone: str, years: int) -> Merged:
    """Draw another member's life, and when it becomes part of this one."""
    keys = draw(st.sampled_from([100, 200]))
    arrivals = draw(arriving((timezone, timezone), years=years, most=5, prefix=f"x{keys}", keys=keys))
    facts = sorted((fact for _, fact in arrivals), key=TierFact.sort_key)
    return Merged(draw(moments(years)), facts, draw(moments()))
