"""What an evaluation says, in English and Traditional Chinese, and what it does not. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LABEL: Mapping[str, str] = {
    "en": "An estimate from logs, not uplift: what a hold-out would show, only a hold-out shows.",
    "zh-Hant": "依曝光紀錄推估的數字，並非增量效果：增量只能由保留組得知。",
}

_REWARDS: Mapping[str, Mapping[str, str]] = {
    "repurchase": {
        "en": "was bought by the member within {days} days and kept",
        "zh-Hant": "會員在 {days} 天內購買且未退回",
    },
    "click": {
        "en": "was clicked within {days} days",
        "zh-Hant": "會員在 {days} 天內點擊",
    },
}
_REFUSALS: Mapping[str, Mapping[str, str]] = {
    "nothing_logged": {
        "en": "No answer with an explored place can be judged here: turn exploration on for this placement, "
        "wait until windows have closed, or ask about days after the model was trained.",
        "zh-Hant": "沒有可供評估的探索曝光：請為此版位開啟探索、等待觀察期結束，或查詢模型訓練之後的日期。",
    },
    "no_overlap": {
        "en": "This ranker would have shown nothing of what was shown, so nothing is known of what it earns.",
        "zh-Hant": "這個排序會顯示的商品都不曾被顯示過，因此無從得知其成效。",
    },
    "too_few_effective_rows": {
        "en": "Too few members were shown what this ranker would have shown: at least 200 members' worth of "
        "evidence is needed, and 1 % of all.",
        "zh-Hant": "看到這個排序所選商品的會員太少：至少需要相當於 200 位會員、且占全部 1 % 的證據。",
    },
    "one_row_decides": {
        "en": "A single member carries more than 10 % of all weight, and would decide the result alone.",
        "zh-Hant": "單一會員的權重超過全部的 10 %，結果將由其獨自決定。",
    },
    "deterministic": {
        "en": "The log has no chance in it: nothing is known of what was not shown.",
        "zh-Hant": "紀錄中沒有隨機成分，因此無從得知未顯示商品的成效。",
    },
}


def tell_evaluation(result: Mapping[str, Any], question: Mapping[str, Any]) -> dict[str, str]:
    """Return what the result says, per locale; a refusal gives the figures behind it and no estimate."""
    if result["refused"] is not None:
        return {
            locale: f"{_REFUSALS[result['refused']][locale]} {_tell_figures(result, locale)}"
            for locale in LABEL
        }
    best, days = result["doubly_robust"], question["window_days"]
    reward = {locale: text.format(days=days) for locale, text in _REWARDS[question["metric"]].items()}
    value, low, high, logged = (
        f"{100 * one:.2f}" for one in (best["value"], best["low"], best["high"], result["logged_mean"])
    )
    return {
        "en": f"At the explored place this ranker would have shown an item that {reward['en']} in {value} % "
        f"of answers (95 % interval {low} to {high}); what was shown there by lot came to {logged} %, which "
        f"is not what any ranker earns. {_tell_figures(result, 'en')}",
        "zh-Hant": f"在探索位置上，若改用這個排序，{reward['zh-Hant']}所顯示商品的比例估計為 {value} %"
        f"（95 % 信賴區間 {low} 至 {high}）；當時隨機顯示的商品為 {logged} %，並非任何排序的成效。"
        f"{_tell_figures(result, 'zh-Hant')}",
    }


def _tell_figures(result: Mapping[str, Any], locale: str) -> str:
    rows, members, effective = result["rows"], result["members"], result["effective_members"]
    left_out = result["logged"] - rows
    largest = f"{100 * result['largest_weight_share']:.1f}"
    if locale == "zh-Hant":
        return (
            f"採用了 {members:,} 位會員的 {rows:,} 次曝光（另有 {left_out:,} 次未採用），"
            f"相當於 {effective:,.0f} 位會員的證據，最大權重占 {largest} %。"
        )
    return (
        f"Judged: {rows:,} answers to {members:,} members ({left_out:,} more were left out), worth "
        f"{effective:,.0f} members of evidence; the largest weight is {largest} % of all."
    )
