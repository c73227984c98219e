"""What a comparison says, in English and Traditional Chinese, and what it does not. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

from service.tiers.worth.rules import Comparison
from service.tiers.worth.statistics import Sums


def tell_comparison(
    comparison: Comparison, everyone: Sums, *, base: Mapping[str, str], as_of: date, months: int
) -> dict[str, str]:
    """Return the sentences of the comparison above the base tier, per locale."""
    return {
        "en": _tell_en(comparison, everyone, base=base["en"], as_of=as_of, months=months),
        "zh-Hant": _tell_zh(comparison, everyone, base=base["zh-Hant"], as_of=as_of, months=months),
    }


def _tell_en(comparison: Comparison, everyone: Sums, *, base: str, as_of: date, months: int) -> str:
    chosen, rival = comparison.by_tier, comparison.by_spend
    if chosen.members == 0:
        return f"No member was rated above {base} on {as_of}, so there is nothing to compare."
    span = "month" if months == 1 else f"{months} months"
    of_all = f"{everyone.members:,} {'member' if everyone.members == 1 else 'members'}"
    parts = [
        f"On {as_of}, {chosen.members:,} of {of_all} ({_percent(chosen.members, everyone.members)} %) were "
        f"rated above {base}.",
        f"In the {span} that followed, {_percent(chosen.buyers, chosen.members)} % of them bought again; "
        f"of as many chosen by past net spend alone, {_percent(rival.buyers, rival.members)} %.",
        _verdict_en(comparison),
    ]
    if everyone.net_minor > 0:
        parts.append(
            f"They brought {_percent(chosen.net_minor, everyone.net_minor)} % of everybody's net spend of "
            f"that time, against {_percent(rival.net_minor, everyone.net_minor)} %."
        )
    parts.append("This tells who came back, not that a tier made anybody come back.")
    return " ".join(parts)


def _verdict_en(comparison: Comparison) -> str:
    if comparison.interval is None:
        return "Both choose the same members, so there is nothing to tell apart."
    points = f"{_points(comparison.difference)} percentage points"
    between = f"95 % interval {_points(comparison.interval.low)} to {_points(comparison.interval.high)}"
    return {
        "tiers_ahead": f"The tiers chose members who came back more often: {points} ({between}).",
        "spend_ahead": f"Past spend alone chose members who came back more often: {points} ({between}).",
    }.get(comparison.verdict(), f"The difference of {points} ({between}) may be chance.")


def _tell_zh(comparison: Comparison, everyone: Sums, *, base: str, as_of: date, months: int) -> str:
    chosen, rival = comparison.by_tier, comparison.by_spend
    if chosen.members == 0:
        return f"{as_of} 沒有會員的等級高於{base}，因此無從比較。"
    parts = [
        f"{as_of} 有 {chosen.members:,} 位會員的等級高於{base}，占全部 {everyone.members:,} 位會員的 "
        f"{_percent(chosen.members, everyone.members)}%。",
        f"其後 {months} 個月內，他們之中有 {_percent(chosen.buyers, chosen.members)}% 回購；"
        f"若只依過去的消費總淨額選出同樣人數，則為 {_percent(rival.buyers, rival.members)}%。",
        _verdict_zh(comparison),
    ]
    if everyone.net_minor > 0:
        parts.append(
            f"他們帶來這段期間全部消費總淨額的 {_percent(chosen.net_minor, everyone.net_minor)}%，"
            f"後者則為 {_percent(rival.net_minor, everyone.net_minor)}%。"
        )
    parts.append("這只說明哪些會員回購，不代表等級促使他們回購。")
    return "".join(parts)


def _verdict_zh(comparison: Comparison) -> str:
    if comparison.interval is None:
        return "兩種方式選出的是同一批會員，因此分不出高下。"
    points = f"{_points(comparison.difference)} 個百分點"
    low, high = _points(comparison.interval.low), _points(comparison.interval.high)
    between = f"（95% 信賴區間 {low} 至 {high}）"
    return {
        "tiers_ahead": f"依等級選出的會員回購率較高，相差 {points}{between}。",
        "spend_ahead": f"只依消費選出的會員回購率較高，相差 {points}{between}。",
    }.get(comparison.verdict(), f"相差 {points}{between}，可能只是偶然。")


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f}"


def _points(share: float | None) -> str:
    # Adding zero turns the -0.0 of a rounded small difference into 0.0.
    return f"{round(100 * (share or 0.0), 1) + 0.0:+.1f}"
