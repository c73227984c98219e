"""The settings of a rule set beside its tiers, in words. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from service.tiers.periods import CalendarYear, MembershipYear, RollingWindow
from service.tiers.publishing.wording import Words, days_words
from service.tiers.rules import RuleSet


class Setting(NamedTuple):
    """One setting: where it is written, what it is called, and how it is read."""

    pointer: str
    words: Words
    read: Callable[[RuleSet], object]


SETTINGS = (
    Setting("/window", Words("The window", "計算期間"), lambda rules: rules.window),
    Setting(
        "/downgrade/policy", Words("How far members fall", "降等方式"), lambda rules: rules.downgrade.policy
    ),
    Setting(
        "/downgrade/grace_days",
        Words("The grace before a fall", "降等寬限期"),
        lambda rules: rules.downgrade.grace_days,
    ),
    Setting(
        "/downgrade/min_hold_days",
        Words("The time that a tier is held at least", "最短保級期"),
        lambda rules: rules.downgrade.min_hold_days,
    ),
    Setting(
        "/downgrade/notice_days",
        Words("The reminder before a fall", "降等前提醒"),
        lambda rules: rules.downgrade.notice_days,
    ),
    Setting(
        "/review_cadence",
        Words("How often falls are applied", "降等執行頻率"),
        lambda rules: rules.review_cadence,
    ),
)
_CHOICES = {
    "one_step": Words("one tier at a time", "每次降一級"),
    "to_qualified": Words("to the tier they qualify for", "降至符合條件的等級"),
    "daily": Words("every day", "每天"),
    "weekly": Words("every Monday", "每週一"),
    "monthly": Words("on the first of each month", "每月 1 日"),
}


def setting_words(value: object) -> Words:
    """Return the value of a setting in words."""
    if isinstance(value, RollingWindow):
        days = days_words(value.days)
        return Words("today" if value.days == 1 else f"the last {days.en}", f"最近 {days.zh}")
    if isinstance(value, CalendarYear):
        return Words("the calendar year", "日曆年度")
    if isinstance(value, MembershipYear):
        if value.anchor == "joining":
            return Words("the membership year since joining", "自入會日起算的會員年度")
        return Words("the membership year since reaching the tier", "自升等日起算的會員年度")
    if isinstance(value, int):
        return days_words(value)
    return _CHOICES[str(value)]
