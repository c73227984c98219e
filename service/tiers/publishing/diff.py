"""What differs between two rule sets: pointers and values for a machine, sentences for a person. Pure.

Tiers are the same tier when they have the same code, whatever they are called and wherever they stand.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

from service.kit.findings import Texts
from service.tiers.benefits import Benefit
from service.tiers.conditions import AtLeast, Compare, Condition
from service.tiers.publishing.wording import PARTS, Words, say, words_of
from service.tiers.publishing.wording_settings import SETTINGS, setting_words
from service.tiers.rules import RuleSet, Tier
from service.tiers.telling.shape import simplify

What = Literal[
    "tier-added",
    "tier-removed",
    "tier-renamed",
    "tier-moved",
    "threshold",
    "condition-added",
    "condition-removed",
    "condition-changed",
    "benefit-added",
    "benefit-removed",
    "benefit-changed",
    "setting",
]


@dataclass(frozen=True, slots=True)
class Change:
    """One difference; a pointer leads into its own definition, None where there is nothing."""

    what: What
    tier: str | None
    from_pointer: str | None
    to_pointer: str | None
    before: object
    after: object
    text: Texts


class Side(NamedTuple):
    """One of the two rule sets: as read, and as written."""

    rules: RuleSet
    definition: Mapping[str, Any]

    def value_at(self, pointer: str) -> object:
        """Return what is written at a pointer, None where there is nothing."""
        value: Any = self.definition
        for step in pointer.split("/")[1:]:
            try:
                value = value[int(step)] if isinstance(value, list) else value[step]
            except (KeyError, IndexError):
                return None
        return value


class _Place(NamedTuple):
    """A condition or a benefit, where it stands, and in which of the two."""

    side: Side
    pointer: str
    value: Any

    @property
    def written(self) -> object:
        return self.side.value_at(self.pointer)

    def inside(self, index: int) -> _Place:
        """Return one part of a condition that combines several."""
        key = {"AllOf": "all", "AnyOf": "any", "AtLeast": "at_least/of"}[type(self.value).__name__]
        return _Place(self.side, f"{self.pointer}/{key}/{index}", self.value.of[index])

    def words(self) -> Words:
        return words_of(self.value, currency=self.side.rules.currency)


def compare_rulesets(old: Side, new: Side) -> list[Change]:
    """Return every difference from one rule set to another, tier by tier from the lowest up."""
    found = list(_compare_settings(old, new))
    was = {tier.code: tier for tier in old.rules.tiers}
    for tier in new.rules.tiers:
        if tier.code in was:
            found += _compare_tiers(was[tier.code], tier, old, new)
        else:
            text = say("{tier} is a new tier.", "新增等級：{tier}。", tier=tier)
            pointer = f"/tiers/{tier.rank}"
            found.append(Change("tier-added", tier.code, None, pointer, None, new.value_at(pointer), text))
    for tier in old.rules.tiers:
        if tier.code not in new.rules.codes:
            pointer = f"/tiers/{tier.rank}"
            found.append(
                Change("tier-removed", tier.code, pointer, None, old.value_at(pointer), None, _removed(tier))
            )
    return found


def _removed(tier: Tier) -> Texts:
    return say(
        "{tier} is no longer a tier: its members go to the highest tier below it that remains.",
        "取消等級：{tier}。原等級會員將改列其下仍存在的最高等級。",
        tier=tier,
    )


def _compare_settings(old: Side, new: Side) -> Iterator[Change]:
    for setting in SETTINGS:
        before, after = setting.read(old.rules), setting.read(new.rules)
        if before == after:
            continue
        text = say(
            "{setting}: “{before}” becomes “{after}”.",
            "{setting}：「{before}」改為「{after}」。",
            setting=setting.words,
            before=setting_words(before),
            after=setting_words(after),
        )
        at = setting.pointer
        # What is not written has its default.
        was, now = (
            value if written is None and isinstance(value, int | str) else written
            for written, value in ((old.value_at(at), before), (new.value_at(at), after))
        )
        yield Change("setting", None, at, at, was, now, text)


def _compare_tiers(was: Tier, tier: Tier, old: Side, new: Side) -> Iterator[Change]:
    before, after = f"/tiers/{was.rank}", f"/tiers/{tier.rank}"
    if dict(was.names) != dict(tier.names):
        text = say("{was} is now called {tier}.", "{was}改名為{tier}。", was=was, tier=tier)
        pointers = (f"{before}/names", f"{after}/names")
        yield Change("tier-renamed", tier.code, *pointers, dict(was.names), dict(tier.names), text)
    if was.rank != tier.rank:
        text = say(
            "{tier} moves from place {before} of the ladder to place {after}, counted from below.",
            "{tier}在等級中的順位由（從低到高）第 {before} 位改為第 {after} 位。",
            tier=tier,
            before=was.rank + 1,
            after=tier.rank + 1,
        )
        yield Change("tier-moved", tier.code, before, after, was.rank, tier.rank, text)
    for part, one, other in (("enter", was.enter, tier.enter), ("keep", was.keep, tier.keep)):
        places = (
            None if one is None else _Place(old, f"{before}/{part}", one),
            None if other is None else _Place(new, f"{after}/{part}", other),
        )
        told = _Told(tier, PARTS[part])
        if part == "keep" and was.enter is not None and tier.enter is not None and None in places:
            yield from _compare_lone_keep(*places, told)
        else:
            yield from _compare_parts(*places, told)
    yield from _compare_benefits(
        [_Place(old, f"{before}/benefits/{index}", one) for index, one in enumerate(was.benefits)],
        [_Place(new, f"{after}/benefits/{index}", one) for index, one in enumerate(tier.benefits)],
        tier,
    )


class _Told(NamedTuple):
    """Of what a difference is told: the tier, and which of its conditions."""

    tier: Tier
    part: Words


def _compare_lone_keep(old: _Place | None, new: _Place | None, told: _Told) -> Iterator[Change]:
    """Yield that a condition to keep came or went: without one, a tier is kept by its condition to enter."""
    if old is not None:
        text = say(
            "{tier} no longer has a condition to keep of its own (“{words}”): it is kept by its condition to "
            "enter.",
            "{tier}取消續等條件「{words}」，改以升等條件續等。",
            tier=told.tier,
            words=old.words(),
        )
        yield replace(_dropped(old, told), text=text)
    elif new is not None:
        text = say(
            "{tier} has a condition to keep of its own, “{words}”; so far it was kept by its condition to "
            "enter.",
            "{tier}新增續等條件「{words}」；先前以升等條件續等。",
            tier=told.tier,
            words=new.words(),
        )
        yield replace(_added(new, told), text=text)


def _compare_parts(old: _Place | None, new: _Place | None, told: _Told) -> Iterator[Change]:
    """Yield how one condition became another; None stands for no condition."""
    if old is None or new is None:
        if old is not None:
            yield _dropped(old, told)
        elif new is not None:
            yield _added(new, told)
    elif simplify(old.value) != simplify(new.value):
        yield from _compare_unequal(old, new, told)


def _compare_unequal(old: _Place, new: _Place, told: _Told) -> Iterator[Change]:
    one, other = old.value, new.value
    if isinstance(one, Compare) and isinstance(other, Compare):
        if (one.metric, one.op) == (other.metric, other.op):
            pointers = (f"{old.pointer}/value", f"{new.pointer}/value")
            values = (old.side.value_at(pointers[0]), new.side.value_at(pointers[1]))
            yield Change("threshold", told.tier.code, *pointers, *values, _becomes(old, new, told))
            return
    elif type(one) is type(other) and not (isinstance(one, AtLeast) and one.k != other.k):
        yield from _compare_lists(
            [old.inside(index) for index in range(len(one.of))],
            [new.inside(index) for index in range(len(other.of))],
            told,
        )
        return
    yield Change(
        "condition-changed",
        told.tier.code,
        old.pointer,
        new.pointer,
        old.written,
        new.written,
        _becomes(old, new, told),
    )


def _compare_lists(old: list[_Place], new: list[_Place], told: _Told) -> Iterator[Change]:
    """Yield how the parts of a condition changed: first what is alike is put beside each other."""
    pairs: list[tuple[_Place, _Place]] = []
    for is_alike in (_is_same, _is_same_comparison, _is_same_metric, _is_same_group):
        for one in list(old):
            other = next((place for place in new if is_alike(one.value, place.value)), None)
            if other is not None:
                old.remove(one)
                new.remove(other)
                pairs.append((one, other))
    for one, other in sorted(pairs, key=lambda pair: _order_of(pair[1])):
        yield from _compare_parts(one, other, told)
    for one in old:
        yield _dropped(one, told)
    for other in new:
        yield _added(other, told)


def _order_of(place: _Place) -> int:
    return int(place.pointer.rsplit("/", 1)[1])


def _is_same(one: Condition, other: Condition) -> bool:
    return one == other


def _is_same_comparison(one: Condition, other: Condition) -> bool:
    return (
        isinstance(one, Compare)
        and isinstance(other, Compare)
        and (one.metric, one.op) == (other.metric, other.op)
    )


def _is_same_metric(one: Condition, other: Condition) -> bool:
    return isinstance(one, Compare) and isinstance(other, Compare) and one.metric == other.metric


def _is_same_group(one: Condition, other: Condition) -> bool:
    return not isinstance(one, Compare) and type(one) is type(other)


def _becomes(old: _Place, new: _Place, told: _Told) -> Texts:
    return say(
        "{tier}, {part}: “{before}” becomes “{after}”.",
        "{tier}的{part}：「{before}」改為「{after}」。",
        tier=told.tier,
        part=told.part,
        before=old.words(),
        after=new.words(),
    )


def _dropped(place: _Place, told: _Told) -> Change:
    text = say(
        "{tier}, {part}: “{words}” is no longer asked for.",
        "{tier}的{part}：不再要求「{words}」。",
        tier=told.tier,
        part=told.part,
        words=place.words(),
    )
    return Change("condition-removed", told.tier.code, place.pointer, None, place.written, None, text)


def _added(place: _Place, told: _Told) -> Change:
    text = say(
        "{tier}, {part}: “{words}” is new.",
        "{tier}的{part}：新增「{words}」。",
        tier=told.tier,
        part=told.part,
        words=place.words(),
    )
    return Change("condition-added", told.tier.code, None, place.pointer, None, place.written, text)


def _compare_benefits(old: Sequence[_Place], new: Sequence[_Place], tier: Tier) -> Iterator[Change]:
    was, now = list(old), list(new)
    for is_alike in (_is_same_benefit, _is_same_kind):
        for one in list(was):
            other = next((place for place in now if is_alike(one.value, place.value)), None)
            if other is not None:
                was.remove(one)
                now.remove(other)
                if one.value != other.value:
                    yield _benefit_changed(one, other, tier)
    for one in was:
        text = say(
            "{tier} no longer has the benefit “{benefit}”.",
            "{tier}取消權益「{benefit}」。",
            tier=tier,
            benefit=_benefit_words(one.value),
        )
        yield Change("benefit-removed", tier.code, one.pointer, None, one.written, None, text)
    for other in now:
        text = say(
            "{tier} has a new benefit: “{benefit}”.",
            "{tier}新增權益「{benefit}」。",
            tier=tier,
            benefit=_benefit_words(other.value),
        )
        yield Change("benefit-added", tier.code, None, other.pointer, None, other.written, text)


def _benefit_changed(one: _Place, other: _Place, tier: Tier) -> Change:
    text = say(
        "{tier}: the text of the benefit “{before}” stays, and what it gives changes.",
        "{tier}的權益「{before}」文字不變，但內容有所變更。",
        tier=tier,
        before=_benefit_words(one.value),
    )
    if _benefit_words(one.value) != _benefit_words(other.value):
        text = _benefit_becomes(one, other, tier)
    pointers = (one.pointer, other.pointer)
    return Change("benefit-changed", tier.code, *pointers, one.written, other.written, text)


def _benefit_becomes(one: _Place, other: _Place, tier: Tier) -> Texts:
    return say(
        "{tier}: the benefit “{before}” becomes “{after}”.",
        "{tier}的權益「{before}」改為「{after}」。",
        tier=tier,
        before=_benefit_words(one.value),
        after=_benefit_words(other.value),
    )


def _is_same_benefit(one: Benefit, other: Benefit) -> bool:
    return one == other


def _is_same_kind(one: Benefit, other: Benefit) -> bool:
    return one.kind == other.kind


def _benefit_words(benefit: Benefit) -> Words:
    return Words(benefit.text["en"], benefit.text["zh-Hant"])
