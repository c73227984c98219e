"""What is wrong with a rule set that can be read: named findings, each with its place and what to do. Pure.

An error stops publishing; a warning must be seen. What cannot be decided is not said: nothing said of a
condition here is ever contradicted by a member.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, pairwise, product
from typing import Any, Literal, NamedTuple, cast

from service.kit.findings import Finding, Severity
from service.tiers.conditions import METRICS, Compare, Condition, MetricName, leaves_of
from service.tiers.parsing import LOCALES
from service.tiers.publishing.boxes import (
    EVERYTHING,
    WHOLE,
    Box,
    Undecided,
    bounds_of,
    boxes_of,
    intersect,
    is_covered,
    is_empty,
)
from service.tiers.publishing.thresholds import days_of, judge_threshold
from service.tiers.publishing.wording import ENTER, KEEP, PARTS, Words, say, words_of
from service.tiers.rules import RuleSet, Tier

_GROWING: tuple[MetricName, ...] = ("net_spend", "active_days", "orders", "member_days")


class _Part(NamedTuple):
    """The `enter` or the `keep` of a tier; `boxes` None where there are too many to look through."""

    tier: Tier
    name: Literal["enter", "keep"]
    condition: Condition
    boxes: list[Box] | None

    @property
    def pointer(self) -> str:
        return f"/tiers/{self.tier.rank}/{self.name}"


def look_through(rules: RuleSet, *, definition: Mapping[str, Any]) -> list[Finding]:
    """Return everything found in a rule set and the definition it was read from, errors first."""
    days = days_of(rules.window)
    enters = [_part(tier, "enter", tier.enter, days) for tier in rules.tiers if tier.enter is not None]
    keeps = [_part(tier, "keep", tier.keep, days) for tier in rules.tiers if tier.keep is not None]
    found = [
        *_find_empty_base(rules.tiers[0], enters, days=days),
        *_find_unreachable(enters, days=days),
        *_find_easier(enters, days=days),
        *_find_contradictions(enters, keeps, days=days),
        *_find_thresholds(enters, keeps, definition=definition, rules=rules),
        *_find_lower_bars(enters, currency=rules.currency),
        *_find_lone_intervals(enters, keeps, definition=definition),
        *_find_falling_multipliers(rules.tiers),
        *_find_names_alike(rules.tiers),
    ]
    return sorted(found, key=lambda finding: finding.severity != "error")


def _part(tier: Tier, name: Literal["enter", "keep"], condition: Condition, days: int) -> _Part:
    try:
        boxes = boxes_of(condition, days=days)
    except Undecided:
        boxes = None
    return _Part(tier, name, condition, boxes)


def _find_empty_base(base: Tier, enters: Sequence[_Part], *, days: int) -> Iterator[Finding]:
    asked = [part for part in enters if part.boxes]
    if is_covered([EVERYTHING], [box for part in asked for box in part.boxes or ()], days=days):
        text = say(
            "Nobody would ever be {tier}: every member meets the condition to enter a higher tier, whatever "
            "they do. Ask for something there that has to be earned.",
            "不會有任何會員停留在{tier}：所有會員一定都符合更高等級的升等條件。請為更高等級設定真正的門檻。",
            tier=base,
        )
        yield Finding("unreachable-tier", "error", ("/tiers/0", *(part.pointer for part in asked)), text)


def _find_unreachable(enters: Sequence[_Part], *, days: int) -> Iterator[Finding]:
    for index, part in enumerate(enters):
        if part.boxes is None:
            continue
        if not part.boxes:
            text = say(
                "Nobody can ever reach {tier}: its condition to enter can never hold. Loosen it.",
                "沒有會員能升到{tier}：升等條件永遠無法成立。請放寬條件。",
                tier=part.tier,
            )
            yield Finding("unreachable-tier", "error", (part.pointer,), text)
            continue
        above = [other for other in enters[index + 1 :] if other.boxes]
        boxes = [box for other in above for box in other.boxes or ()]
        # The tier just above alone is told as "easier than the one below it".
        is_told = index + 1 < len(enters) and _implies(part, enters[index + 1], days)
        if above and not is_told and is_covered(part.boxes, boxes, days=days):
            text = say(
                "Nobody can ever rise to {tier}: whoever meets its condition meets that of a higher tier as "
                "well. Make the higher tiers harder, or {tier} easier.",
                "沒有會員會升到{tier}：符合其升等條件的會員，一定也符合更高等級的條件。"
                "請提高更高等級的門檻，或放寬{tier}的條件。",
                tier=part.tier,
            )
            pointers = (part.pointer, *(other.pointer for other in above))
            yield Finding("unreachable-tier", "error", pointers, text)


def _find_easier(enters: Sequence[_Part], *, days: int) -> Iterator[Finding]:
    for lower, higher in pairwise(enters):
        if lower.boxes and higher.boxes and _implies(lower, higher, days):
            text = say(
                "{higher} is no harder to reach than {lower} below it: whoever meets the condition of "
                "{lower} meets that of {higher} as well, so nobody would rise to {lower}. Ask for more in "
                "{higher}.",
                "{higher}並不比下一級的{lower}難升：符合{lower}升等條件的會員一定也符合{higher}的條件，"
                "因此不會有人升到{lower}。請提高{higher}的門檻。",
                lower=lower.tier,
                higher=higher.tier,
            )
            yield Finding("easier-than-below", "error", (higher.pointer, lower.pointer), text)


def _implies(one: _Part, other: _Part, days: int) -> bool:
    if one.boxes is None or other.boxes is None:
        return False
    return is_covered(one.boxes, other.boxes, days=days)


def _find_contradictions(enters: Sequence[_Part], keeps: Sequence[_Part], *, days: int) -> Iterator[Finding]:
    enter_of = {part.tier.rank: part for part in enters}
    for keep in keeps:
        enter = enter_of[keep.tier.rank]
        if keep.boxes == []:
            text = say(
                "The condition to keep {tier} can never hold, so it helps nobody to stay. Loosen it, or "
                "leave it out: then the condition to enter is the one to keep, too.",
                "{tier}的續等條件永遠無法成立，對任何會員都沒有幫助。請放寬，或刪除續等條件（改以升等條件續等）。",
                tier=keep.tier,
            )
            yield Finding("keep-never-holds", "error", (keep.pointer,), text)
        elif _exclude_each_other(keep, enter, days):
            text = say(
                "The conditions to enter and to keep {tier} contradict each other: no member can meet both "
                "at once, so whoever has just entered does not meet the one to keep. Is that meant?",
                "{tier}的升等條件與續等條件互相矛盾：沒有會員能同時符合兩者，剛升等的會員一定不符合續等條件。"
                "請確認是否如此設計。",
                tier=keep.tier,
            )
            yield Finding("keep-contradicts-enter", "warning", (keep.pointer, enter.pointer), text)
        elif _implies(keep, enter, days):
            if not _implies(enter, keep, days):
                yield _keep_harder(keep, enter)
        else:
            yield from _find_keeps_that_ask_more(keep, enter)


def _exclude_each_other(one: _Part, other: _Part, days: int) -> bool:
    """Say whether each can hold, and it is proven that both cannot at once."""
    if not one.boxes or not other.boxes:
        return False
    return all(is_empty(intersect(this, that), days=days) for this, that in product(one.boxes, other.boxes))


def _keep_harder(keep: _Part, enter: _Part) -> Finding:
    text = say(
        "Keeping {tier} is harder than entering it: whoever meets the condition to keep meets the one to "
        "enter anyway, so it has no effect. Make it easier than entering, or leave it out.",
        "{tier}的續等條件比升等條件還嚴格：符合續等條件的會員本來就符合升等條件，因此續等條件沒有作用。"
        "請放寬續等條件，或將其刪除。",
        tier=keep.tier,
    )
    return Finding("keep-harder-than-enter", "error", (keep.pointer, enter.pointer), text)


def _find_keeps_that_ask_more(keep: _Part, enter: _Part) -> Iterator[Finding]:
    for metric in METRICS:
        if _asks_more(keep, than=enter, metric=metric):
            text = say(
                "Keeping {tier} asks for more than entering it in one point: {metric}. Members may enter "
                "and never meet it. Is that meant?",
                "{tier}的續等條件有一項比升等條件還嚴格：{metric}。會員可能升等後一直達不到。請確認是否如此設計。",
                tier=keep.tier,
                metric=METRIC_WORDS[metric],
            )
            yield Finding("keep-asks-for-more", "warning", (keep.pointer, enter.pointer), text)


def _find_lower_bars(enters: Sequence[_Part], *, currency: str) -> Iterator[Finding]:
    for lower, higher in pairwise(enters):
        for metric in METRICS:
            if _asks_more(lower, than=higher, metric=metric):
                text = say(
                    "{higher} asks for less than {lower} below it in one point: {metric}. "
                    "{lower}: {this}. {higher}: {that}. Is that meant?",
                    "{higher}有一項門檻低於下一級的{lower}：{metric}。{lower}：{this}。{higher}：{that}。"
                    "請確認是否如此設計。",
                    lower=lower.tier,
                    higher=higher.tier,
                    metric=METRIC_WORDS[metric],
                    this=words_of(lower.condition, currency=currency),
                    that=words_of(higher.condition, currency=currency),
                )
                yield Finding("lower-bar-than-below", "warning", (higher.pointer, lower.pointer), text)


def _asks_more(one: _Part, *, than: _Part, metric: MetricName) -> bool:
    """Say whether both ask for something of a metric in every case, and the one for more."""
    if not one.boxes or not than.boxes:
        return False
    these, those = bounds_of(one.boxes, metric), bounds_of(than.boxes, metric)
    if metric in _GROWING:
        asked = _names(one, metric) and _names(than, metric)
        return asked and these[0] > those[0] > WHOLE[0]
    return these[1] < those[1] < WHOLE[1]


def _names(part: _Part, metric: MetricName) -> bool:
    """Say whether a condition names a metric: a visit interval implies active days without naming them."""
    return any(leaf.metric == metric for leaf in leaves_of(part.condition))


def _find_thresholds(
    enters: Sequence[_Part], keeps: Sequence[_Part], *, definition: Mapping[str, Any], rules: RuleSet
) -> Iterator[Finding]:
    for part in (*enters, *keeps):
        for pointer, leaf in _place_leaves(part, definition):
            fault = judge_threshold(leaf, days=days_of(rules.window))
            if fault is None:
                continue
            en, zh = (
                ("can never hold", "永遠無法成立")
                if fault.never
                else ("always holds once it can be measured", "只要能計算就一定成立")
            )
            text = say(
                f"{{tier}}, {{part}}: “{{leaf}}” {en}. {{why}} {{remedy}}",
                f"{{tier}}的{{part}}：「{{leaf}}」{zh}。{{why}}{{remedy}}",
                tier=part.tier,
                part=PARTS[part.name],
                leaf=words_of(leaf, currency=rules.currency),
                why=fault.why,
                remedy=fault.remedy,
            )
            severity: Severity = "error" if fault.never else "warning"
            yield Finding("threshold-out-of-range", severity, (f"{pointer}/value",), text)


def _find_lone_intervals(
    enters: Sequence[_Part], keeps: Sequence[_Part], *, definition: Mapping[str, Any]
) -> Iterator[Finding]:
    for part in (*enters, *keeps):
        # A way to meet the condition that asks for a short interval, and not for a recent visit.
        if not any(
            bounds_of([box], "visit_interval_days")[1] < WHOLE[1]
            and bounds_of([box], "days_since_last_visit")[1] == WHOLE[1]
            for box in part.boxes or ()
        ):
            continue
        pointers = [
            pointer
            for pointer, leaf in _place_leaves(part, definition)
            if leaf.metric == "visit_interval_days"
        ]
        text = say(
            "{tier}, {part}: a visit interval without days_since_last_visit beside it. The interval ignores "
            "the time since the last visit, so members who came often and then stayed away keep on meeting "
            "it. Put days_since_last_visit beside it.",
            "{tier}的{part}：使用了消費回訪間隔，卻沒有搭配距上次消費天數（days_since_last_visit）。"
            "回訪間隔不計最後一次消費之後的空窗，曾經常來、後來不再消費的會員仍會一直符合。請一併設定距上次消費天數。",
            tier=part.tier,
            part=ENTER if part.name == "enter" else KEEP,
        )
        yield Finding("interval-without-last-visit", "warning", tuple(pointers), text)


def _place_leaves(part: _Part, definition: Mapping[str, Any]) -> Iterator[tuple[str, Compare]]:
    data = definition["tiers"][part.tier.rank][part.name]
    yield from zip(_leaf_pointers(data, part.pointer), leaves_of(part.condition), strict=True)


def _leaf_pointers(data: Mapping[str, Any], pointer: str) -> Iterator[str]:
    """Yield the pointer of every comparison, left to right as `leaves_of` does."""
    if "metric" in data:
        yield pointer
        return
    ((key, inner),) = data.items()
    parts, place = (
        (inner["of"], f"{pointer}/at_least/of") if key == "at_least" else (inner, f"{pointer}/{key}")
    )
    for index, part in enumerate(cast("Sequence[Mapping[str, Any]]", parts)):
        yield from _leaf_pointers(part, f"{place}/{index}")


def _find_falling_multipliers(tiers: Sequence[Tier]) -> Iterator[Finding]:
    for lower, higher in pairwise(tiers):
        if higher.multiplier_bp < lower.multiplier_bp:
            text = say(
                "{higher} earns fewer points than {lower} below it: members would earn less by rising. "
                "Raise its points multiplier.",
                "{higher}的點數倍率低於下一級的{lower}：會員升等後累積的點數反而變少。請提高倍率。",
                lower=lower,
                higher=higher,
            )
            pointers = (f"/tiers/{higher.rank}/benefits", f"/tiers/{lower.rank}/benefits")
            yield Finding("multiplier-falls", "warning", pointers, text)


def _find_names_alike(tiers: Sequence[Tier]) -> Iterator[Finding]:
    for lower, higher in combinations(tiers, 2):
        alike = [locale for locale in LOCALES if _plain(lower, locale) == _plain(higher, locale)]
        if alike:
            text = say(
                "Two tiers are called {tier}: members could not tell one from the other. Rename one.",
                "有兩個等級的名稱相同：{tier}，會員將無法分辨。請更改其中一個名稱。",
                tier=higher,
            )
            pointers = (f"/tiers/{tier.rank}/names/{locale}" for locale in alike for tier in (higher, lower))
            yield Finding("names-alike", "warning", tuple(pointers), text)


def _plain(tier: Tier, locale: str) -> str:
    return tier.names[locale].strip().casefold()


METRIC_WORDS: dict[MetricName, Words] = {
    "visit_interval_days": Words("the visit interval", "消費回訪間隔"),
    "days_since_last_visit": Words("the days since the last visit", "距上次消費天數"),
    "active_days": Words("the days with a purchase", "實際消費天數"),
    "net_spend": Words("net spend", "消費總淨額"),
    "orders": Words("the number of orders", "訂單數"),
    "member_days": Words("the days as a member", "入會天數"),
}
