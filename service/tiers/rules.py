"""Rule sets: JSON in, frozen values out, compiled for rating. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from service.kit.money import exponent_of
from service.tiers.benefits import Benefit, parse_benefits
from service.tiers.conditions import (
    Compare,
    Condition,
    Metrics,
    Predicate,
    compile_condition,
    leaves_of,
    parse_condition,
    turning_points,
)
from service.tiers.parsing import read_object, read_texts, read_whole
from service.tiers.periods import (
    CADENCES,
    Cadence,
    CalendarYear,
    MembershipYear,
    RollingWindow,
    Window,
    next_cadence_day,
)

MAX_TIERS = 12
LONGEST_WINDOW_DAYS = 731
"""No window looks back further, so whoever reads this many days before a fact has read enough."""
NOTICE_DAYS = 7
"""How long before a fall a member is told once more, where a rule set does not say."""
PAR_BP = 10_000
_CODE = re.compile(r"[a-z][a-z0-9_]{0,31}\Z")


@dataclass(frozen=True, slots=True)
class Downgrade:
    """How a member falls: hold and grace in days, one after the other, then one step or all the way.

    `notice_days` before the fall the member is told once more; never longer than the grace, 0 for not at all.
    """

    policy: Literal["one_step", "to_qualified"]
    grace_days: int
    min_hold_days: int
    notice_days: int


@dataclass(frozen=True, slots=True)
class Tier:
    """One level of the ladder; the base tier (rank 0) has no condition. `keep` None: the same as `enter`.

    `notes` holds what its readers worked out once: a published one is read for everybody.
    """

    code: str
    rank: int
    names: Mapping[str, str]
    enter: Condition | None
    keep: Condition | None
    benefits: tuple[Benefit, ...]
    notes: dict[Any, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def multiplier_bp(self) -> int:
        """Points multiplier in basis points; 10000 leaves points as they are."""
        given = [benefit.multiplier_bp for benefit in self.benefits if benefit.multiplier_bp is not None]
        return given[0] if given else PAR_BP

    def held(self) -> HeldTier:
        """Return what other rooms need of this tier."""
        return HeldTier(self.code, self.rank, self.names, self.multiplier_bp)


@dataclass(frozen=True, slots=True)
class HeldTier:
    """A tier as others need it: code, rank, name per locale, points multiplier in basis points."""

    code: str
    rank: int
    name: Mapping[str, str]
    multiplier_bp: int


@dataclass(frozen=True, slots=True)
class RuleSet:
    """One immutable version of the whole ladder, tiers by rank, compiled for rating."""

    version: int
    currency: str
    window: Window
    tiers: tuple[Tier, ...]
    downgrade: Downgrade
    review_cadence: Cadence
    # From the top down: (rank, enter). A generator of attribute look-ups would be most of a rating's time.
    entries: tuple[tuple[int, Predicate], ...] = field(repr=False, compare=False)
    keeps: tuple[Predicate | None, ...] = field(repr=False, compare=False)
    recency_days: tuple[int, ...] = field(repr=False, compare=False)
    tenure_days: tuple[int, ...] = field(repr=False, compare=False)
    asks_for_tenure: bool = field(repr=False, compare=False)
    codes: frozenset[str] = field(repr=False, compare=False)
    # Of a rolling window; and whether a year of membership begins anew with every tier reached.
    rolling_days: int | None = field(repr=False, compare=False)
    restarts: bool = field(repr=False, compare=False)

    @property
    def lookback_days(self) -> int:
        """How many days, its own included, a rating may look at: the window, or two periods."""
        return LONGEST_WINDOW_DAYS if self.rolling_days is None else self.rolling_days

    @property
    def asks_for_joining(self) -> bool:
        """Whether a rating needs to know when the member joined."""
        return self.asks_for_tenure or self.window == MembershipYear("joining")

    def fall_day(self, risk_day: int) -> int:
        """Return the day of the fall of who is at risk from `risk_day` on (ordinals)."""
        return next_cadence_day(self.review_cadence, risk_day + self.downgrade.grace_days)

    def qualified_rank(self, metrics: Metrics) -> int:
        """Return the rank of the highest tier whose `enter` holds; the base tier's always does."""
        for rank, entered in self.entries:
            if entered(metrics):
                return rank
        return 0

    def stands(self, rank: int, metrics: Metrics) -> bool:
        """Say whether the `keep` of a tier that is no longer qualified for holds."""
        keep = self.keeps[rank]
        return keep is not None and keep(metrics)

    def enters(self, rank: int, metrics: Metrics) -> bool:
        """Say whether the `enter` of one tier holds."""
        return all(entered(metrics) for of_rank, entered in self.entries if of_rank == rank)

    def rank_of(self, code: str) -> int:
        """Return the rank of a tier's code.

        Raises:
            KeyError: this rule set has no such tier.
        """
        for tier in self.tiers:
            if tier.code == code:
                return tier.rank
        raise KeyError(code)


def parse_ruleset(definition: object, *, version: int) -> RuleSet:
    """Read a rule set from its JSON definition (docs/tier-defaults.md shows one).

    Raises:
        ValueError: not a rule set; the message begins with the JSON pointer of the fault.
    """
    needs = {"currency", "window", "tiers", "downgrade"}
    top = read_object(definition, pointer="", needs=needs, may={"review_cadence"})
    currency = top["currency"]
    if not isinstance(currency, str):
        raise ValueError("/currency: an ISO 4217 code is needed")
    exponent_of(currency)
    tiers = _parse_tiers(top["tiers"], currency=currency)
    leaves = [leaf for tier in tiers for leaf in _leaves(tier)]
    window = _parse_window(top["window"])
    return RuleSet(
        version=version,
        currency=currency,
        window=window,
        tiers=tiers,
        downgrade=_parse_downgrade(top["downgrade"]),
        review_cadence=_parse_cadence(top.get("review_cadence", "daily")),
        entries=tuple(
            (tier.rank, compile_condition(tier.enter)) for tier in reversed(tiers) if tier.enter is not None
        ),
        keeps=tuple(None if tier.keep is None else compile_condition(tier.keep) for tier in tiers),
        recency_days=_points(leaf for leaf in leaves if leaf.metric == "days_since_last_visit"),
        tenure_days=_points(leaf for leaf in leaves if leaf.metric == "member_days"),
        asks_for_tenure=any(leaf.metric == "member_days" for leaf in leaves),
        codes=frozenset(tier.code for tier in tiers),
        rolling_days=window.days if isinstance(window, RollingWindow) else None,
        restarts=window == MembershipYear("tier"),
    )


def readers_of_parts(definition: Mapping[str, object], *, currency: str) -> Iterator[Callable[[], object]]:
    """Yield a reader for each part of a definition that can be read alone; each raises ValueError.

    Whoever wants to name every fault reads on where `parse_ruleset` stops at the first.
    """
    alone = {"window": _parse_window, "downgrade": _parse_downgrade, "review_cadence": _parse_cadence}
    yield from (partial(read, definition[name]) for name, read in alone.items() if name in definition)
    tiers = definition.get("tiers")
    for rank, tier in enumerate(tiers[:MAX_TIERS] if isinstance(tiers, list) else ()):
        yield partial(_parse_tier, tier, rank=rank, currency=currency)
        if not isinstance(tier, Mapping):
            continue
        pointer = f"/tiers/{rank}"
        for name in ("enter", "keep") if rank else ():
            if name in tier:
                yield partial(parse_condition, tier[name], currency=currency, pointer=f"{pointer}/{name}")
        if "names" in tier:
            yield partial(read_texts, tier["names"], pointer=f"{pointer}/names")
        if "benefits" in tier:
            yield partial(parse_benefits, tier["benefits"], currency=currency, pointer=f"{pointer}/benefits")


def _leaves(tier: Tier) -> list[Compare]:
    return [leaf for part in (tier.enter, tier.keep) if part is not None for leaf in leaves_of(part)]


def _points(leaves: Iterable[Compare]) -> tuple[int, ...]:
    return tuple(sorted({point for leaf in leaves for point in turning_points(leaf)}))


def _parse_window(data: object) -> Window:
    window = read_object(data, pointer="/window", needs={"kind"}, may={"days", "anchor"})
    kind = window["kind"]
    if kind not in ("rolling", "calendar_year", "membership_year"):
        raise ValueError("/window/kind: unknown kind; rolling, calendar_year or membership_year")
    needs = {"rolling": {"kind", "days"}, "membership_year": {"kind", "anchor"}}.get(str(kind), {"kind"})
    window = read_object(data, pointer="/window", needs=needs)
    if kind == "rolling":
        days = read_whole(window["days"], pointer="/window/days", low=1, high=LONGEST_WINDOW_DAYS)
        return RollingWindow(days)
    if kind == "calendar_year":
        return CalendarYear()
    anchor = window["anchor"]
    if anchor not in ("joining", "tier"):
        raise ValueError("/window/anchor: joining or tier")
    return MembershipYear(anchor)


def _parse_downgrade(data: object) -> Downgrade:
    given = read_object(
        data, pointer="/downgrade", needs={"policy", "grace_days", "min_hold_days"}, may={"notice_days"}
    )
    policy = given["policy"]
    if policy not in ("one_step", "to_qualified"):
        raise ValueError("/downgrade/policy: one_step or to_qualified")
    grace_days, min_hold_days, notice_days = (
        read_whole(given.get(name, NOTICE_DAYS), pointer=f"/downgrade/{name}", low=0, high=731)
        for name in ("grace_days", "min_hold_days", "notice_days")
    )
    return Downgrade(policy, grace_days, min_hold_days, min(notice_days, grace_days))


def _parse_cadence(data: object) -> Cadence:
    if data not in CADENCES:
        raise ValueError(f"/review_cadence: one of {', '.join(CADENCES)}")
    return data


def _parse_tiers(data: object, *, currency: str) -> tuple[Tier, ...]:
    if not isinstance(data, Sequence) or isinstance(data, str) or not 1 <= len(data) <= MAX_TIERS:
        raise ValueError(f"/tiers: a list of 1 to {MAX_TIERS} tiers is needed, the lowest first")
    tiers = tuple(_parse_tier(part, rank=rank, currency=currency) for rank, part in enumerate(data))
    codes = [tier.code for tier in tiers]
    for rank, code in enumerate(codes):
        if code in codes[:rank]:
            raise ValueError(f"/tiers/{rank}/code: {code!r} stands twice")
    return tiers


def _parse_tier(data: object, *, rank: int, currency: str) -> Tier:
    pointer = f"/tiers/{rank}"
    needs = {"code", "names"} if rank == 0 else {"code", "names", "enter"}
    given = read_object(data, pointer=pointer, needs=needs, may={"benefits", "enter", "keep"})
    for part in ("enter", "keep"):
        if rank == 0 and part in given:
            raise ValueError(f"{pointer}/{part}: the lowest tier asks for nothing, it is everybody's")
    code = given["code"]
    if not isinstance(code, str) or _CODE.match(code) is None:
        raise ValueError(f"{pointer}/code: a small letter, then small letters, digits or _, at most 32")
    enter, keep = (
        parse_condition(given[part], currency=currency, pointer=f"{pointer}/{part}")
        if part in given
        else None
        for part in ("enter", "keep")
    )
    return Tier(
        code=code,
        rank=rank,
        names=read_texts(given["names"], pointer=f"{pointer}/names"),
        enter=enter,
        keep=keep,
        benefits=parse_benefits(given.get("benefits", []), currency=currency, pointer=f"{pointer}/benefits"),
    )
