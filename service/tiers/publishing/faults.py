"""What cannot be read as a rule set at all: named faults, as many as can be seen at once. Pure.

A rule set with a fault is not kept, not even as a draft: nobody could say what it means.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from service.kit.findings import Fault, Texts
from service.tiers.conditions import MAX_DEPTH, METRICS
from service.tiers.parsing import LOCALES
from service.tiers.publishing.unreadable import reason_words
from service.tiers.publishing.wording import Words, say
from service.tiers.rules import MAX_TIERS, RuleSet, parse_ruleset, readers_of_parts

MAX_COMPARISONS = 60
"""In one condition; rules must stay easy to understand."""
_LANGUAGES = {"en": Words("English", "英文"), "zh-Hant": Words("Traditional Chinese", "繁體中文")}
_COMBINERS = ("all", "any", "at_least")


def read_definition(
    definition: Mapping[str, Any], *, version: int, currency: str
) -> tuple[RuleSet | None, list[Fault]]:
    """Return the rule set that a definition says, or else every fault that can be seen in it.

    `currency` is the programme's: a rule set's amounts are in no other.
    """
    faults = list(_find_named(definition, currency=currency))
    try:
        rules = parse_ruleset(definition, version=version)
    except ValueError as error:
        for said in (str(error), *_read_parts(definition, currency=currency)):
            pointer, _, detail = said.partition(": ")
            if not pointer.startswith("/"):
                pointer, detail = "/currency", said
            # One that has been named already is not told a second time.
            if not any(fault.pointer == pointer for fault in faults):
                faults.append(_unreadable(pointer if pointer != "/" else "", detail))
        return None, faults
    return (None, faults) if faults else (rules, [])


def _read_parts(definition: Mapping[str, Any], *, currency: str) -> Iterator[str]:
    """Yield what is said of each part that cannot be read, whatever is wrong with the others."""
    for read in readers_of_parts(definition, currency=currency):
        try:
            read()
        except ValueError as error:
            yield str(error)


def _unreadable(pointer: str, detail: str) -> Fault:
    reason = reason_words(detail)
    text = say("This cannot be read: {reason}.", "無法讀取這個部分：{reason}。", reason=reason)
    return Fault("not-readable", pointer, text)


def _find_named(definition: Mapping[str, Any], *, currency: str) -> Iterator[Fault]:
    if isinstance(definition.get("currency"), str) and definition["currency"] != currency:
        yield Fault("another-currency", "/currency", _another_currency(currency))
    tiers = definition.get("tiers")
    if not isinstance(tiers, list):
        return
    if len(tiers) > MAX_TIERS:
        text = say(
            "There are {count} tiers; at most {most} are possible. Join some of them.",
            "共有 {count} 個等級，最多只能有 {most} 個。請合併部分等級。",
            count=len(tiers),
            most=MAX_TIERS,
        )
        yield Fault("too-many-tiers", "/tiers", text)
    for rank, tier in enumerate(tiers):
        if isinstance(tier, Mapping):
            yield from _find_in_tier(tier, pointer=f"/tiers/{rank}")


def _another_currency(currency: str) -> Texts:
    return say(
        "The programme counts in {currency}; write the amounts in it.",
        "本會員計畫以 {currency} 計算，請以此幣別填寫金額。",
        currency=Words(currency, currency),
    )


def _find_in_tier(tier: Mapping[str, Any], *, pointer: str) -> Iterator[Fault]:
    yield from _find_missing_locales(tier.get("names"), pointer=f"{pointer}/names")
    benefits = tier.get("benefits")
    for index, benefit in enumerate(benefits if isinstance(benefits, list) else ()):
        if isinstance(benefit, Mapping):
            yield from _find_missing_locales(benefit.get("text"), pointer=f"{pointer}/benefits/{index}/text")
    for part in ("enter", "keep"):
        if part in tier:
            yield from _find_in_condition(tier[part], pointer=f"{pointer}/{part}", depth=0)
            if _count_comparisons(tier[part]) > MAX_COMPARISONS:
                text = say(
                    "There are more than {most} comparisons in one condition. Simplify it.",
                    "同一條件中的比較超過 {most} 個，請簡化。",
                    most=MAX_COMPARISONS,
                )
                yield Fault("too-many-comparisons", f"{pointer}/{part}", text)


def _find_missing_locales(texts: object, *, pointer: str) -> Iterator[Fault]:
    if not isinstance(texts, Mapping):
        return
    for locale in LOCALES:
        if not texts.get(locale):
            text = say(
                "The text in {language} is missing: members who read it would see nothing. Add it.",
                "缺少{language}文字，使用該語言的會員將看不到內容。請補上。",
                language=_LANGUAGES[locale],
            )
            yield Fault("missing-locale", f"{pointer}/{locale}", text)


def _find_in_condition(data: object, *, pointer: str, depth: int) -> Iterator[Fault]:
    """Yield what is wrong with a condition's metrics and its nesting."""
    if not isinstance(data, Mapping):
        return
    if "metric" in data and data["metric"] not in METRICS:
        yield Fault("unknown-metric", f"{pointer}/metric", _unknown_metric(data["metric"]))
    key = next((key for key in _COMBINERS if key in data), None)
    if key is None:
        return
    if depth == MAX_DEPTH:
        text = say(
            "Conditions may nest {most} deep; this is one level more. Take it apart, or simplify it.",
            "條件最多只能巢狀 {most} 層，這裡多了一層。請拆開或簡化。",
            most=MAX_DEPTH,
        )
        yield Fault("nested-too-deep", pointer, text)
        return
    for place, part in _parts_of(data[key], pointer=f"{pointer}/{key}"):
        yield from _find_in_condition(part, pointer=place, depth=depth + 1)


def _parts_of(inner: object, *, pointer: str) -> Iterator[tuple[str, object]]:
    if isinstance(inner, Mapping):
        inner, pointer = inner.get("of"), f"{pointer}/of"
    if isinstance(inner, Sequence) and not isinstance(inner, str):
        yield from ((f"{pointer}/{index}", part) for index, part in enumerate(inner))


def _count_comparisons(data: object) -> int:
    if not isinstance(data, Mapping):
        return 0
    key = next((key for key in _COMBINERS if key in data), None)
    return 1 if key is None else sum(_count_comparisons(part) for _, part in _parts_of(data[key], pointer=""))


def _unknown_metric(metric: object) -> Texts:
    near = difflib.get_close_matches(str(metric)[:64], METRICS, n=1)
    known = ", ".join(METRICS)
    return say(
        "“{metric}” is not a metric.{near} The metrics are {known}.",
        "「{metric}」不是可用的指標。{near}可用的指標：{known}。",
        metric=Words(str(metric)[:64], str(metric)[:64]),
        near=Words(f" Is {near[0]} meant?", f"您是指 {near[0]} 嗎？") if near else Words("", ""),
        known=Words(known, known),
    )
