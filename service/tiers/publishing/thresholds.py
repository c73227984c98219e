"""Thresholds that no member, or every member, meets whatever they do: one look at a number. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from service.tiers.conditions import METRICS, Compare, MetricName
from service.tiers.periods import RollingWindow, Window
from service.tiers.publishing.boxes import FAR, WHOLE, range_of
from service.tiers.publishing.wording import Words, days_words

_LONGEST_YEAR = 366


@dataclass(frozen=True, slots=True)
class Fault:
    """A threshold out of range: never met, or else always; why, and what to do about it."""

    never: bool
    why: Words
    remedy: Words


def days_of(window: Window) -> int:
    """Return how many days a window has at most."""
    return window.days if isinstance(window, RollingWindow) else _LONGEST_YEAR


def judge_threshold(leaf: Compare, *, days: int) -> Fault | None:
    """Return what is wrong with a comparison in a window of `days`, None where nothing is."""
    if leaf.metric == "net_spend":
        # Refunds of what was bought before the window can make it negative.
        return None
    low, high = range_of(leaf)
    least, most = _span(leaf.metric, days)
    if high < (least, 0):
        return Fault(True, _LEAST[leaf.metric], _CORRECT)
    if low > (most, 0):
        return Fault(True, _most(leaf.metric, days), _CORRECT)
    if low <= (least, 0) and high >= (most, 0):
        if high == WHOLE[1]:
            return Fault(False, _LEAST[leaf.metric], _RAISE)
        return Fault(False, _most(leaf.metric, days), _LOWER)
    return None


_CORRECT = Words("Correct the number.", "請修正數值。")
_RAISE = Words("Raise it, or leave it out.", "請提高數值，或刪除此條件。")
_LOWER = Words("Lower it, or leave it out.", "請降低數值，或刪除此條件。")


def _span(metric: MetricName, days: int) -> tuple[int, int]:
    """Return the least and the most that a metric can be."""
    most = {"active_days": days, "days_since_last_visit": days - 1, "visit_interval_days": days - 1}
    return int(metric == "visit_interval_days"), most.get(metric, FAR)


_NEVER_BELOW_ZERO = Words("It is never below zero.", "此數值不會小於零。")
_LEAST: dict[MetricName, Words] = dict.fromkeys(METRICS, _NEVER_BELOW_ZERO) | {
    "visit_interval_days": Words(
        "Visits on different days are at least 1 day apart.", "不同天的消費至少相隔 1 天。"
    )
}


def _most(metric: MetricName, days: int) -> Words:
    window = days_words(days)
    en, zh = {
        "active_days": ("", ""),
        "days_since_last_visit": (", and no visit before it counts", "，更早的消費不列入計算"),
        "visit_interval_days": ("; no two visits in it are further apart", "，兩次消費不可能相隔更久"),
    }[metric]
    return Words(f"The window has {window.en}{en}.", f"計算期間只有 {window.zh}{zh}。")
