"""What is doubtful in earning rules that can be read: named, with pointers, in both languages. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from service.earning.rules import EarningRules, EventRule, Match
from service.kit.findings import Finding, Texts


def look_through(rules: EarningRules) -> list[Finding]:
    """Return what is found in rules, errors first."""
    found = [*_find_in_base(rules), *_find_in_rates(rules), *_find_in_limits(rules)]
    for index, event in enumerate(rules.events.values()):
        found += _find_in_event(event, f"/events/{index}")
    return sorted(found, key=lambda finding: finding.severity)


def _warn(name: str, pointers: tuple[str, ...], en: str, zh: str) -> Finding:
    return Finding(name, "warning", pointers, {"en": en, "zh-Hant": zh})


def _error(name: str, pointers: tuple[str, ...], en: str, zh: str) -> Finding:
    return Finding(name, "error", pointers, {"en": en, "zh-Hant": zh})


def _find_in_base(rules: EarningRules) -> Iterator[Finding]:
    rates_earn = any((rate.points is None or rate.points > 0) and rate.multiplier_bp for rate in rules.rates)
    if rules.base is not None and rules.base[0] == 0 and not rates_earn and not rules.events:
        yield _error(
            "nothing-earns",
            ("/base/points",),
            "Nothing would earn a point. Give the base rate or some rate points.",
            "沒有任何消費可以累積點數。請設定基本或個別的點數。",
        )
    if rules.counts_points_paid:
        yield _warn(
            "points-earn-points",
            ("/counts/points_paid",),
            "What points paid earns points again: members get points for spending points.",
            "以點數折抵的金額會再累積點數。",
        )
    if rules.included is not None:
        for kind in ("skus", "categories"):
            both = getattr(rules.included, kind) & getattr(rules.excluded, kind)
            if both:
                yield _warn(
                    "included-and-excluded",
                    (f"/include/{kind}", f"/exclude/{kind}"),
                    f"{min(both)} is both included and excluded: it earns nothing.",
                    f"「{min(both)}」同時列在包含與排除中：不會累積點數。",
                )


def _find_in_rates(rules: EarningRules) -> Iterator[Finding]:
    for index, rate in enumerate(rules.rates):
        earlier = [other.match for other in rules.rates[:index]]
        taken = Match(
            rules.excluded.skus.union(*(match.skus for match in earlier)),
            rules.excluded.categories.union(*(match.categories for match in earlier)),
        )
        if rate.match.skus <= taken.skus and rate.match.categories <= taken.categories:
            yield _error(
                "rate-never-reached",
                (f"/rates/{index}",),
                "All it names is excluded or has an earlier rate: it never applies. Reorder, or delete it.",
                "這項列出的商品都已被排除或套用前面的費率，因此永遠不會生效。請調整順序或刪除。",
            )
        if (rate.points == 0 or rate.multiplier_bp == 0) and rate.match.skus | rate.match.categories:
            yield _warn(
                "rate-of-nothing",
                (f"/rates/{index}",),
                "This rate earns nothing; exclude says that more plainly.",
                "這項費率不會累積點數；使用 exclude 會更清楚。",
            )


def _find_in_limits(rules: EarningRules) -> Iterator[Finding]:
    order, day = rules.cap_order, rules.cap_member_day
    if order is not None and day is not None and order > day:
        yield _warn(
            "order-cap-above-day-cap",
            ("/caps/per_order", "/caps/per_member_day"),
            "The cap of one order lies above that of a whole day: it never takes effect.",
            "單筆上限高於每日上限，因此不會生效。",
        )


def _find_in_event(event: EventRule, pointer: str) -> Iterator[Finding]:
    if event.per_member_day is None and event.per_member is None and not event.once_per_sku:
        name = "event-without-limit"
        if event.from_storefront:
            yield _error(
                name,
                (pointer,),
                f"Browsers may send {event.type} and nothing limits it: anybody could make points. "
                "Set a limit, or take it from your server alone.",
                f"瀏覽器可以送出 {event.type} 且沒有上限，任何人都能製造點數。請設上限，或只收伺服器的。",
            )
        else:
            yield _warn(
                name,
                (pointer,),
                f"Nothing limits how often {event.type} earns.",
                f"{event.type} 的累積次數沒有上限。",
            )


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between two definitions: where, from what to what (None: not there)."""

    pointer: str
    before: Any
    after: Any

    @property
    def text(self) -> Texts:
        """What happened, in words."""
        place = self.pointer.removeprefix("/")
        if self.before is None:
            return {"en": f"{place} is new.", "zh-Hant": f"新增 {place}。"}
        if self.after is None:
            return {"en": f"{place} is gone.", "zh-Hant": f"移除 {place}。"}
        return {"en": f"{place} has changed.", "zh-Hant": f"變更 {place}。"}


def compare(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Change]:
    """Return what differs from one definition to another, by pointer; lists are compared entry by entry."""
    return list(_compare(old, new, ""))


def _compare(old: Any, new: Any, pointer: str) -> Iterator[Change]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in sorted({*old, *new}):
            yield from _compare(old.get(name), new.get(name), f"{pointer}/{_escape(name)}")
    elif isinstance(old, list) and isinstance(new, list) and _are_objects(old) and _are_objects(new):
        for index in range(max(len(old), len(new))):
            before, after = (side[index] if index < len(side) else None for side in (old, new))
            yield from _compare(before, after, f"{pointer}/{index}")
    elif old != new:
        yield Change(pointer, old, new)


def _are_objects(entries: list[Any]) -> bool:
    return all(isinstance(entry, Mapping) for entry in entries)


def _escape(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
