"""The rule set a new programme starts with; docs/tier-defaults.md explains it to marketing staff. Pure."""

from __future__ import annotations

from service.kit.money import exponent_of, to_text

SILVER_SPEND: dict[str, int] = {"TWD": 3_000, "GBP": 100, "USD": 100, "EUR": 100, "JPY": 12_000}
"""Net spend in a year that makes a member Silver, in whole units of a currency."""
FALLBACK_SPEND = 100
"""For other currencies: a start that staff should look at before going live."""
GOLD_TIMES, PLATINUM_TIMES = 4, 12


def default_ruleset(*, currency: str) -> dict[str, object]:
    """Return the definition of the default rule set, with thresholds in `currency` (ISO 4217)."""
    silver = SILVER_SPEND.get(currency, FALLBACK_SPEND)
    gold, platinum = silver * GOLD_TIMES, silver * PLATINUM_TIMES

    def spend(share_percent: int, whole: int) -> dict[str, object]:
        minor = whole * 10 ** exponent_of(currency) * share_percent // 100
        return {"metric": "net_spend", "op": ">=", "value": to_text(minor, currency=currency)}

    return {
        "currency": currency,
        "window": {"kind": "rolling", "days": 365},
        "tiers": [
            {"code": "member", "names": {"en": "Member", "zh-Hant": "一般會員"}, "benefits": []},
            {
                "code": "silver",
                "names": {"en": "Silver", "zh-Hant": "銀卡會員"},
                "enter": {"all": [spend(100, silver), _at_least("active_days", 2)]},
                "keep": {"all": [spend(75, silver), _at_least("active_days", 2)]},
                "benefits": [_multiplier(11_000, "1.1")],
            },
            {
                "code": "gold",
                "names": {"en": "Gold", "zh-Hant": "金卡會員"},
                "enter": {"all": [spend(100, gold), *_rhythm(days=4, interval=60, since=90)]},
                "keep": {"all": [spend(75, gold), *_rhythm(days=3, interval=75, since=120)]},
                "benefits": [_multiplier(12_500, "1.25")],
            },
            {
                "code": "platinum",
                "names": {"en": "Platinum", "zh-Hant": "白金會員"},
                "enter": {"all": [spend(100, platinum), *_rhythm(days=8, interval=30, since=60)]},
                "keep": {"all": [spend(75, platinum), *_rhythm(days=6, interval=40, since=90)]},
                "benefits": [_multiplier(15_000, "1.5")],
            },
        ],
        "downgrade": {"policy": "one_step", "grace_days": 30, "min_hold_days": 90},
    }


def _rhythm(*, days: int, interval: int, since: int) -> list[dict[str, object]]:
    """Pair the visit interval with the days since the last visit: the first alone ignores the open gap."""
    return [
        _at_least("active_days", days),
        {"metric": "visit_interval_days", "op": "<=", "value": interval},
        {"metric": "days_since_last_visit", "op": "<=", "value": since},
    ]


def _at_least(metric: str, value: int) -> dict[str, object]:
    return {"metric": metric, "op": ">=", "value": value}


def _multiplier(multiplier_bp: int, times: str) -> dict[str, object]:
    return {
        "kind": "points_multiplier",
        "multiplier_bp": multiplier_bp,
        "text": {"en": f"{times} times the points", "zh-Hant": f"點數 {times} 倍"},
    }
