"""Standings and rules in words, as somebody who reads both languages would want them."""

from __future__ import annotations

from fractions import Fraction

import pytest

from service.tiers.conditions import AllOf, AnyOf, AtLeast, Compare, Condition, Metrics, parse_condition
from service.tiers.defaults import default_ruleset
from service.tiers.explanation import describe_condition, explain
from service.tiers.rules import parse_ruleset
from service.tiers.standing import Standing
from service.tiers.telling.numbers import exact_text, money_text, money_text_zh, number_text, text_beside
from service.tiers.telling.shape import simplify
from tests.unit.tiers.histories import leaf
from tests.unit.tiers.tellings import (
    FIRST_YEAR,
    HOLD,
    HOLD_ALONE,
    LAPSED_YEAR,
    MEMBERSHIP,
    NEVER_AGAIN,
    PINNED,
    RISK,
    YEAR,
    seen,
)

RULES = parse_ruleset(default_ruleset(currency="TWD"), version=1)
TOLD = (
    pytest.param(
        seen(RULES, 0, Metrics(0, 0, None, 0, 0, None)),
        "Your tier is Member, since 21 January 2024. From 27 May 2024 to 26 May 2025 no purchase "
        "counts. For Silver you still need a total spend of at least NT$3,000 (NT$0 so far, "
        "NT$3,000 to go) and at least 2 days with a purchase (0 so far, 2 to go). One order alone "
        "cannot reach it.",
        "您目前的會員等級是「一般會員」，自 2024 年 1 月 21 日起生效。2024 年 5 "
        "月 27 日至 2025 年 5 月 26 日期間，沒有列入計算的消費。升等為「銀卡會員」還"
        "需要：消費總淨額至少 3,000 元（目前 0 元，還差 3,000 元）、實際消費天數至少"
        " 2 天（目前 0 天，還差 2 天）。只靠一筆訂單還無法達成。",
        id="nothing bought",
    ),
    pytest.param(
        seen(RULES, 0, Metrics(0, 0, None, -50_000, 0, None)),
        "Your tier is Member, since 21 January 2024. From 27 May 2024 to 26 May 2025 no purchase "
        "counts; your net spend is -NT$500. For Silver you still need a total spend of at least "
        "NT$3,000 (-NT$500 so far, NT$3,500 to go) and at least 2 days with a purchase (0 so far, "
        "2 to go). One order alone cannot reach it.",
        "您目前的會員等級是「一般會員」，自 2024 年 1 月 21 日起生效。2024 年 5 "
        "月 27 日至 2025 年 5 月 26 日期間，沒有列入計算的消費，消費總淨額為 -50"
        "0 元。升等為「銀卡會員」還需要：消費總淨額至少 3,000 元（目前 -500 元，還差 "
        "3,500 元）、實際消費天數至少 2 天（目前 0 天，還差 2 天）。只靠一筆訂單還無法"
        "達成。",
        id="only a refund",
    ),
    pytest.param(
        seen(RULES, 0, Metrics(1, 0, 0, 120_050, 1, None)),
        "Your tier is Member, since 21 January 2024. From 27 May 2024 to 26 May 2025 you shopped "
        "on 1 day and spent NT$1,200.50 in all; your last purchase was on 26 May 2025. For Silver "
        "you still need a total spend of at least NT$3,000 (NT$1,200.50 so far, NT$1,799.50 to "
        "go) and at least 2 days with a purchase (1 so far, 1 to go). One order alone cannot "
        "reach it.",
        "您目前的會員等級是「一般會員」，自 2024 年 1 月 21 日起生效。2024 年 5 "
        "月 27 日至 2025 年 5 月 26 日期間，您共有 1 天消費，消費總淨額為 1,2"
        "00.50 元，最近一次消費是 2025 年 5 月 26 日。升等為「銀卡會員」還需要：消"
        "費總淨額至少 3,000 元（目前 1,200.50 元，還差 1,799.50 元）、實際"
        "消費天數至少 2 天（目前 1 天，還差 1 天）。只靠一筆訂單還無法達成。",
        id="one purchase",
    ),
    pytest.param(
        seen(RULES, 1, Metrics(3, 60, 10, 1_150_000, 4, None)),
        "Your tier is Silver, since 21 January 2024. From 27 May 2024 to 26 May 2025 you shopped "
        "on 3 days, 30 days apart on average, and spent NT$11,500 in all; your last purchase was "
        "on 16 May 2025. That is enough to stay Silver. Your tier is next reviewed by 30 June "
        "2025. For Gold you still need a total spend of at least NT$12,000 (NT$11,500 so far, "
        "NT$500 to go) and at least 4 days with a purchase (3 so far, 1 to go). One order today "
        "can be enough.",
        "您目前的會員等級是「銀卡會員」，自 2024 年 1 月 21 日起生效。2024 年 5 "
        "月 27 日至 2025 年 5 月 26 日期間，您共有 3 天消費（平均間隔 30 天）"
        "，消費總淨額為 11,500 元，最近一次消費是 2025 年 5 月 16 日。目前已符合"
        "「銀卡會員」的續等條件。下次檢視最晚在 2025 年 6 月 30 日。升等為「金卡會員」還"
        "需要：消費總淨額至少 12,000 元（目前 11,500 元，還差 500 元）、實際消費"
        "天數至少 4 天（目前 3 天，還差 1 天）。今天再消費一筆就可能達成。",
        id="one order is enough",
    ),
    pytest.param(
        seen(RULES, 1, Metrics(5, 70, 250, 1_470_000, 5, None)),
        "Your tier is Silver, since 21 January 2024. From 27 May 2024 to 26 May 2025 you shopped "
        "on 5 days, 17.5 days apart on average, and spent NT$14,700 in all; your last purchase "
        "was on 18 September 2024. That is enough to stay Silver. Your tier is next reviewed by "
        "30 June 2025. For Gold you still need a last purchase at most 90 days ago (now 250 "
        "days). One order alone cannot reach it: after one today you would also need visits at "
        "most 60 days apart on average (then 64 days).",
        "您目前的會員等級是「銀卡會員」，自 2024 年 1 月 21 日起生效。2024 年 5 "
        "月 27 日至 2025 年 5 月 26 日期間，您共有 5 天消費（平均間隔 17.5 "
        "天），消費總淨額為 14,700 元，最近一次消費是 2024 年 9 月 18 日。目前已"
        "符合「銀卡會員」的續等條件。下次檢視最晚在 2025 年 6 月 30 日。升等為「金卡會員"
        "」還需要：距上次消費不超過 90 天（目前 250 天）。只靠一筆訂單還無法達成；今天消費後"
        "還需要：消費回訪間隔平均不超過 60 天（屆時 64 天）。",
        id="an order after a long pause",
    ),
    pytest.param(
        seen(RULES, 3, Metrics(12, 330, 3, 6_500_000, 20, None), **NEVER_AGAIN),
        "Your tier is Platinum, since 21 January 2024. From 27 May 2024 to 26 May 2025 you "
        "shopped on 12 days, 30 days apart on average, and spent NT$65,000 in all; your last "
        "purchase was on 23 May 2025. That is enough to stay Platinum.",
        "您目前的會員等級是「白金會員」，自 2024 年 1 月 21 日起生效。2024 年 5 "
        "月 27 日至 2025 年 5 月 26 日期間，您共有 12 天消費（平均間隔 30 天"
        "），消費總淨額為 65,000 元，最近一次消費是 2025 年 5 月 23 日。目前已符"
        "合「白金會員」的續等條件。",
        id="at the top",
    ),
    pytest.param(
        seen(RULES, 2, Metrics(3, 100, 95, 800_000, 4, None), **RISK),
        "Your tier is Gold, since 21 January 2024. From 27 May 2024 to 26 May 2025 you shopped on "
        "3 days, 50 days apart on average, and spent NT$8,000 in all; your last purchase was on "
        "20 February 2025. That is no longer enough for Gold, and the grace period runs until 19 "
        "June 2025. To stay Gold you need a total spend of at least NT$9,000 (NT$8,000 so far, "
        "NT$1,000 to go). Otherwise your tier falls on 20 June 2025. For Platinum you still need "
        "a total spend of at least NT$36,000 (NT$8,000 so far, NT$28,000 to go), at least 8 days "
        "with a purchase (3 so far, 5 to go), visits at most 30 days apart on average (now 50 "
        "days) and a last purchase at most 60 days ago (now 95 days). One order alone cannot "
        "reach it.",
        "您目前的會員等級是「金卡會員」，自 2024 年 1 月 21 日起生效。2024 年 5 "
        "月 27 日至 2025 年 5 月 26 日期間，您共有 3 天消費（平均間隔 50 天）"
        "，消費總淨額為 8,000 元，最近一次消費是 2025 年 2 月 20 日。您目前已不符"
        "合「金卡會員」的續等條件，寬限期至 2025 年 6 月 19 日止。若要維持等級，還需要："
        "消費總淨額至少 9,000 元（目前 8,000 元，還差 1,000 元）。若未達成，將於"
        " 2025 年 6 月 20 日降等。升等為「白金會員」還需要：消費總淨額至少 36,000"
        " 元（目前 8,000 元，還差 28,000 元）、實際消費天數至少 8 天（目前 3 天"
        "，還差 5 天）、消費回訪間隔平均不超過 30 天（目前 50 天）、距上次消費不超過 60"
        " 天（目前 95 天）。只靠一筆訂單還無法達成。",
        id="at risk",
    ),
    pytest.param(
        seen(RULES, 2, Metrics(3, 100, 95, 800_000, 4, None), **HOLD),
        "Your tier is Gold, since 21 January 2024. From 27 May 2024 to 26 May 2025 you shopped on "
        "3 days, 50 days apart on average, and spent NT$8,000 in all; your last purchase was on "
        "20 February 2025. That is no longer enough for Gold, which is yours until 20 July 2025 "
        "all the same, followed by a grace period until 19 August 2025. To stay Gold you need a "
        "total spend of at least NT$9,000 (NT$8,000 so far, NT$1,000 to go). Otherwise your tier "
        "falls on 20 August 2025. For Platinum you still need a total spend of at least NT$36,000 "
        "(NT$8,000 so far, NT$28,000 to go), at least 8 days with a purchase (3 so far, 5 to go), "
        "visits at most 30 days apart on average (now 50 days) and a last purchase at most 60 "
        "days ago (now 95 days). One order alone cannot reach it.",
        "您目前的會員等級是「金卡會員」，自 2024 年 1 月 21 日起生效。2024 年 5 "
        "月 27 日至 2025 年 5 月 26 日期間，您共有 3 天消費（平均間隔 50 天）"
        "，消費總淨額為 8,000 元，最近一次消費是 2025 年 2 月 20 日。您目前已不符"
        "合「金卡會員」的續等條件，但等級仍保留至 2025 年 7 月 20 日，之後的寬限期至 2"
        "025 年 8 月 19 日止。若要維持等級，還需要：消費總淨額至少 9,000 元（目前 "
        "8,000 元，還差 1,000 元）。若未達成，將於 2025 年 8 月 20 日降等。"
        "升等為「白金會員」還需要：消費總淨額至少 36,000 元（目前 8,000 元，還差 28"
        ",000 元）、實際消費天數至少 8 天（目前 3 天，還差 5 天）、消費回訪間隔平均不超"
        "過 30 天（目前 50 天）、距上次消費不超過 60 天（目前 95 天）。只靠一筆訂單還"
        "無法達成。",
        id="held, then grace",
    ),
    pytest.param(
        seen(RULES, 2, Metrics(3, 100, 95, 800_000, 4, None), **HOLD_ALONE),
        "Your tier is Gold, since 21 January 2024. From 27 May 2024 to 26 May 2025 you shopped on "
        "3 days, 50 days apart on average, and spent NT$8,000 in all; your last purchase was on "
        "20 February 2025. That is no longer enough for Gold, which is yours until 20 July 2025 "
        "all the same. To stay Gold you need a total spend of at least NT$9,000 (NT$8,000 so far, "
        "NT$1,000 to go). Otherwise your tier falls on 21 July 2025. For Platinum you still need "
        "a total spend of at least NT$36,000 (NT$8,000 so far, NT$28,000 to go), at least 8 days "
        "with a purchase (3 so far, 5 to go), visits at most 30 days apart on average (now 50 "
        "days) and a last purchase at most 60 days ago (now 95 days). One order alone cannot "
        "reach it.",
        "您目前的會員等級是「金卡會員」，自 2024 年 1 月 21 日起生效。2024 年 5 "
        "月 27 日至 2025 年 5 月 26 日期間，您共有 3 天消費（平均間隔 50 天）"
        "，消費總淨額為 8,000 元，最近一次消費是 2025 年 2 月 20 日。您目前已不符"
        "合「金卡會員」的續等條件，但等級仍保留至 2025 年 7 月 20 日。若要維持等級，還需"
        "要：消費總淨額至少 9,000 元（目前 8,000 元，還差 1,000 元）。若未達成，"
        "將於 2025 年 7 月 21 日降等。升等為「白金會員」還需要：消費總淨額至少 36,0"
        "00 元（目前 8,000 元，還差 28,000 元）、實際消費天數至少 8 天（目前 3"
        " 天，還差 5 天）、消費回訪間隔平均不超過 30 天（目前 50 天）、距上次消費不超過 "
        "60 天（目前 95 天）。只靠一筆訂單還無法達成。",
        id="held, without grace",
    ),
    pytest.param(
        seen(RULES, 1, Metrics(2, 20, 5, 350_000, 2, None), **YEAR),
        "Your tier is Silver, since 21 January 2024. In 2025, up to 26 May, you shopped on 2 "
        "days, 20 days apart on average, and spent NT$3,500 in all; your last purchase was on 21 "
        "May 2025. Silver is yours until 31 December 2025. What you have bought so far would be "
        "enough to keep it after that. For Gold you still need a total spend of at least NT$12,000 "
        "(NT$3,500 so far, NT$8,500 to go) and at least 4 days with a purchase (2 so far, 2 to "
        "go). One order alone cannot reach it.",
        "您目前的會員等級是「銀卡會員」，自 2024 年 1 月 21 日起生效。2025 年截至 "
        "5 月 26 日，您共有 2 天消費（平均間隔 20 天），消費總淨額為 3,500 元，最"
        "近一次消費是 2025 年 5 月 21 日。「銀卡會員」資格保留至 2025 年 12 月"
        " 31 日。依目前的消費，到期後可以續等。升等為「金卡會員」還需要：消費總淨額至少 12,0"
        "00 元（目前 3,500 元，還差 8,500 元）、實際消費天數至少 4 天（目前 2 "
        "天，還差 2 天）。只靠一筆訂單還無法達成。",
        id="a calendar year, enough",
    ),
    pytest.param(
        seen(RULES, 2, Metrics(2, 20, 5, 350_000, 2, None), **YEAR),
        "Your tier is Gold, since 21 January 2024. In 2025, up to 26 May, you shopped on 2 days, "
        "20 days apart on average, and spent NT$3,500 in all; your last purchase was on 21 May "
        "2025. Gold is yours until 31 December 2025. To keep it after that you still need, by "
        "then, a total spend of at least NT$9,000 (NT$3,500 so far, NT$5,500 to go), at least "
        "3 days with a purchase (2 so far, 1 to go) and a last purchase at most 120 days ago (then "
        "224 days). For Platinum you still need a total spend of "
        "at least NT$36,000 (NT$3,500 so far, NT$32,500 to go) and at least 8 days with a "
        "purchase (2 so far, 6 to go). One order alone cannot reach it.",
        "您目前的會員等級是「金卡會員」，自 2024 年 1 月 21 日起生效。2025 年截至 "
        "5 月 26 日，您共有 2 天消費（平均間隔 20 天），消費總淨額為 3,500 元，最"
        "近一次消費是 2025 年 5 月 21 日。「金卡會員」資格保留至 2025 年 12 月"
        " 31 日。若要在之後續等，到期前還需要：消費總淨額至少 9,000 元（目前 3,500 "
        "元，還差 5,500 元）、實際消費天數至少 3 天（目前 2 天，還差 1 天）、距上次消費不超過 "
        "120 天（屆時 224 天）。升等為「"
        "白金會員」還需要：消費總淨額至少 36,000 元（目前 3,500 元，還差 32,500"
        " 元）、實際消費天數至少 8 天（目前 2 天，還差 6 天）。只靠一筆訂單還無法達成。",
        id="a calendar year, not enough yet",
    ),
    pytest.param(
        seen(RULES, 1, Metrics(2, 20, 5, 350_000, 2, None), **FIRST_YEAR),
        "Your tier is Silver, since 21 January 2024. In 2025, up to 26 May, you shopped on 2 "
        "days, 20 days apart on average, and spent NT$3,500 in all; your last purchase was on 21 "
        "May 2025. Silver is yours until 31 December 2026. To keep it after that you need, from 1 "
        "January 2026 on: net spend of at least NT$2,250 and at least 2 days with a purchase. For "
        "Gold you still need a total spend of at least NT$12,000 (NT$3,500 so far, NT$8,500 to "
        "go) and at least 4 days with a purchase (2 so far, 2 to go). One order alone cannot "
        "reach it.",
        "您目前的會員等級是「銀卡會員」，自 2024 年 1 月 21 日起生效。2025 年截至 "
        "5 月 26 日，您共有 2 天消費（平均間隔 20 天），消費總淨額為 3,500 元，最"
        "近一次消費是 2025 年 5 月 21 日。「銀卡會員」資格保留至 2026 年 12 月"
        " 31 日。若要在之後續等，自 2026 年 1 月 1 日起須符合：消費總淨額至少 2,2"
        "50 元、實際消費天數至少 2 天。升等為「金卡會員」還需要：消費總淨額至少 12,000 "
        "元（目前 3,500 元，還差 8,500 元）、實際消費天數至少 4 天（目前 2 天，還"
        "差 2 天）。只靠一筆訂單還無法達成。",
        id="the first year",
    ),
    pytest.param(
        seen(RULES, 1, Metrics(0, 0, None, 0, 0, None), **LAPSED_YEAR),
        "Your tier is Silver, since 21 January 2024. In 2025, up to 26 May, no purchase counts. "
        "What you bought in the period that ended on 31 December 2024 was not enough for Silver, "
        "and the grace period runs until 31 May 2025. To stay Silver you need a total spend of at "
        "least NT$2,250 (NT$0 so far, NT$2,250 to go) and at least 2 days with a purchase (0 so "
        "far, 2 to go). Otherwise your tier falls on 1 June 2025. For Gold you still need a total "
        "spend of at least NT$12,000 (NT$0 so far, NT$12,000 to go), at least 4 days with a "
        "purchase (0 so far, 4 to go), visits at most 60 days apart on average (known after 2 "
        "days with a purchase) and a last purchase at most 90 days ago (no purchase counts yet). "
        "One order alone cannot reach it.",
        "您目前的會員等級是「銀卡會員」，自 2024 年 1 月 21 日起生效。2025 年截至 "
        "5 月 26 日，沒有列入計算的消費。您在截至 2024 年 12 月 31 日的期間未達「"
        "銀卡會員」的續等條件，寬限期至 2025 年 5 月 31 日止。若要維持等級，還需要：消費"
        "總淨額至少 2,250 元（目前 0 元，還差 2,250 元）、實際消費天數至少 2 天（"
        "目前 0 天，還差 2 天）。若未達成，將於 2025 年 6 月 1 日降等。升等為「金卡"
        "會員」還需要：消費總淨額至少 12,000 元（目前 0 元，還差 12,000 元）、實際"
        "消費天數至少 4 天（目前 0 天，還差 4 天）、消費回訪間隔平均不超過 60 天（滿兩個"
        "消費日後才能計算）、距上次消費不超過 90 天（尚無列入計算的消費）。只靠一筆訂單還無法達成"
        "。",
        id="a year that was not enough",
    ),
    pytest.param(
        seen(RULES, 1, Metrics(2, 20, 5, 350_000, 2, None), **MEMBERSHIP),
        "Your tier is Silver, since 21 January 2024. In your membership year, which began on 9 "
        "March 2025, you shopped on 2 days, 20 days apart on average, and spent NT$3,500 in all; "
        "your last purchase was on 21 May 2025. Silver is yours until 8 March 2026. What you have "
        "bought so far would be enough to keep it after that. For Gold you still need a total spend of "
        "at least NT$12,000 (NT$3,500 so far, NT$8,500 to go) and at least 4 days with a purchase "
        "(2 so far, 2 to go). One order alone cannot reach it.",
        "您目前的會員等級是「銀卡會員」，自 2024 年 1 月 21 日起生效。本會員年度（202"
        "5 年 3 月 9 日起）您共有 2 天消費（平均間隔 20 天），消費總淨額為 3,500"
        " 元，最近一次消費是 2025 年 5 月 21 日。「銀卡會員」資格保留至 2026 年 "
        "3 月 8 日。依目前的消費，到期後可以續等。升等為「金卡會員」還需要：消費總淨額至少 12"
        ",000 元（目前 3,500 元，還差 8,500 元）、實際消費天數至少 4 天（目前 "
        "2 天，還差 2 天）。只靠一筆訂單還無法達成。",
        id="a membership year",
    ),
    pytest.param(
        seen(RULES, 2, Metrics(2, 20, 5, 350_000, 2, None), **PINNED, rated=RULES.tiers[1]),
        "Your tier is Gold, since 21 January 2024. It is set until 30 June 2025, whatever you "
        "buy; after that your purchases decide. By your purchases alone you would be Silver now. "
        "From 27 May 2024 to 26 May 2025 you shopped on 2 days, 20 days apart on average, and "
        "spent NT$3,500 in all; your last purchase was on 21 May 2025. To be Gold by your "
        "purchases you still need a total spend of at least NT$12,000 (NT$3,500 so far, NT$8,500 "
        "to go) and at least 4 days with a purchase (2 so far, 2 to go).",
        "您目前的會員等級是「金卡會員」，自 2024 年 1 月 21 日起生效。此等級由專人設定，"
        "保留至 2025 年 6 月 30 日，之後再依您的消費決定。若只依消費計算，您目前的等級會"
        "是「銀卡會員」。2024 年 5 月 27 日至 2025 年 5 月 26 日期間，您共有"
        " 2 天消費（平均間隔 20 天），消費總淨額為 3,500 元，最近一次消費是 2025 "
        "年 5 月 21 日。若要憑消費達到「金卡會員」，還需要：消費總淨額至少 12,000 元（"
        "目前 3,500 元，還差 8,500 元）、實際消費天數至少 4 天（目前 2 天，還差 "
        "2 天）。",
        id="set by hand",
    ),
)


@pytest.mark.parametrize(("standing", "english", "chinese"), TOLD)
def test_a_standing_reads_like_this(standing: Standing, english: str, chinese: str) -> None:
    assert explain(standing, locale="en") == english
    assert explain(standing, locale="zh-Hant") == chinese


DESCRIBED: tuple[tuple[object, str, str, str], ...] = (
    (
        {"all": [leaf("net_spend", ">=", "12000"), leaf("active_days", ">=", 4)]},
        "TWD",
        "net spend of at least NT$12,000 and at least 4 days with a purchase",
        "消費總淨額至少 12,000 元、實際消費天數至少 4 天",
    ),
    (
        {
            "all": [
                leaf("net_spend", ">=", "12000"),
                {"any": [leaf("orders", ">=", 10), leaf("member_days", ">", 365)]},
            ]
        },
        "TWD",
        "net spend of at least NT$12,000, and either at least 10 orders or more than 365 days as a member",
        "消費總淨額至少 12,000 元，且（訂單數至少 10 筆或入會天數超過 365 天）",
    ),
    (
        {
            "all": [
                leaf("net_spend", ">=", "12000"),
                leaf("active_days", ">=", 4),
                {
                    "any": [
                        leaf("orders", ">=", 10),
                        {
                            "all": [
                                leaf("visit_interval_days", "<=", "30.5"),
                                leaf("days_since_last_visit", "<", 1),
                            ]
                        },
                    ]
                },
            ]
        },
        "TWD",
        "net spend of at least NT$12,000 and at least 4 days with a purchase, and either at least "
        "10 orders or (visits at most 30.5 days apart on average and a purchase on the day itself)",
        "消費總淨額至少 12,000 元、實際消費天數至少 4 天，且（訂單數"
        "至少 10 筆或（消費回訪間隔平均不超過 30.5 天且當天有消費））",
    ),
    (
        {
            "at_least": {
                "k": 2,
                "of": [
                    leaf("net_spend", "between", ["1000", "5000.50"]),
                    leaf("orders", "<", 1),
                    leaf("member_days", ">", 365),
                ],
            }
        },
        "TWD",
        "at least 2 of these 3: net spend between NT$1,000 and "
        "NT$5,000.50, no order and more than 365 days as a member",
        "下列 3 項中至少符合 2 項：消費總淨額介於 1,000 元與 5,000.50 元之間、沒有訂單、入會天數超過 365 天",
    ),
    (
        {
            "any": [
                leaf("net_spend", "<", "1000"),
                leaf("days_since_last_visit", "between", [3, 3]),
                {"all": [leaf("orders", ">", 0), leaf("active_days", "<=", 1)]},
            ]
        },
        "JPY",
        "either net spend of less than ¥1,000, a last purchase exactly 3 "
        "days ago or (at least 1 order and at most 1 day with a purchase)",
        "下列 3 項中至少符合 1 項：消費總淨額未滿 1,000 日圓、距上"
        "次消費正好 3 天、（訂單數至少 1 筆且實際消費天數不超過 1 天）",
    ),
    (
        {"all": [{"any": [{"all": [leaf("visit_interval_days", "<", 1)]}]}]},
        "TWD",
        "visits less than 1 day apart on average",
        "消費回訪間隔平均少於 1 天",
    ),
    (
        leaf("net_spend", "between", ["100", "100"]),
        "SEK",
        "net spend of exactly SEK 100",
        "消費總淨額正好 SEK 100",
    ),
    (
        {
            "all": [
                leaf("days_since_last_visit", ">=", 1),
                leaf("visit_interval_days", ">", 7),
                leaf("orders", "between", [0, 1]),
            ]
        },
        "GBP",
        "a last purchase at least 1 day ago, visits more "
        "than 7 days apart on average and between 0 and 1 order",
        "距上次消費至少 1 天、消費回訪間隔平均超過 7 天、訂單數介於 0 筆與 1 筆之間",
    ),
)


@pytest.mark.parametrize(("data", "currency", "english", "chinese"), DESCRIBED)
def test_a_rule_reads_like_this(data: object, currency: str, english: str, chinese: str) -> None:
    condition = parse_condition(data, currency=currency)
    assert describe_condition(condition, currency=currency, locale="en") == english
    assert describe_condition(condition, currency=currency, locale="zh-Hant") == chinese


def trees_over(leaves: tuple[Compare, ...]) -> list[Condition]:
    """Return every condition of up to three levels that uses each comparison once, in this order."""
    if len(leaves) == 1:
        return [leaves[0]]
    found: list[Condition] = []
    for split in splits(leaves)[1:]:
        for parts in choices([trees_over(part) for part in split]):
            found += [AllOf(parts), AnyOf(parts)]
            found += [AtLeast(k, parts) for k in range(2, len(parts))]
    return found


def splits(leaves: tuple[Compare, ...]) -> list[list[tuple[Compare, ...]]]:
    """Return every way of cutting a list into lists, the whole one too."""
    cut = [[leaves[:at], *rest] for at in range(1, len(leaves)) for rest in splits(leaves[at:])]
    return [[leaves], *cut]


def choices(options: list[list[Condition]]) -> list[tuple[Condition, ...]]:
    """Return every way of taking one of each."""
    if not options:
        return [()]
    return [(first, *rest) for first in options[0] for rest in choices(options[1:])]


def truth_of(condition: Condition, true: set[Compare]) -> bool:
    """Say whether a condition holds when these comparisons do and no others."""
    if isinstance(condition, Compare):
        return condition in true
    met = sum(truth_of(part, true) for part in condition.of)
    if isinstance(condition, AtLeast):
        return met >= condition.k
    return met == len(condition.of) if isinstance(condition, AllOf) else met > 0


@pytest.mark.parametrize("locale", ["en", "zh-Hant"])
def test_rules_that_differ_are_never_described_alike(locale: str) -> None:
    metrics = ("orders", "active_days", "member_days", "net_spend", "visit_interval_days")
    leaves = tuple(parse_condition(leaf(metric, ">=", 5), currency="TWD") for metric in metrics)
    assert all(isinstance(part, Compare) for part in leaves)
    plain = tuple(part for part in leaves if isinstance(part, Compare))
    meanings: dict[str, tuple[bool, ...]] = {}
    trees = trees_over(plain)
    assert len(trees) > 300
    for tree in trees:
        truth = tuple(
            truth_of(tree, {part for place, part in enumerate(plain) if mask >> place & 1})
            for mask in range(32)
        )
        text = describe_condition(tree, currency="TWD", locale=locale)
        assert meanings.setdefault(text, truth) == truth, text
        assert truth == tuple(
            truth_of(simplify(tree), {part for place, part in enumerate(plain) if mask >> place & 1})
            for mask in range(32)
        )


@pytest.mark.parametrize(
    ("minor", "currency", "english", "chinese"),
    [
        (123_450, "TWD", "NT$1,234.50", "1,234.50 元"),
        (123_400, "TWD", "NT$1,234", "1,234 元"),
        (1_234_567, "JPY", "¥1,234,567", "1,234,567 日圓"),
        (-500, "GBP", "-£5", "-5 英鎊"),
        (123_456, "SEK", "SEK 1,234.56", "SEK 1,234.56"),
        (-5, "SEK", "SEK -0.05", "SEK -0.05"),
        (1_234, "KWD", "KWD 1.234", "KWD 1.234"),
        (10**17, "TWD", "NT$1,000,000,000,000,000", "1,000,000,000,000,000 元"),
    ],
)
def test_money_reads_like_money(minor: int, currency: str, english: str, chinese: str) -> None:
    assert money_text(minor, currency=currency) == english
    assert money_text_zh(minor, currency=currency) == chinese


def test_numbers_lose_their_trailing_zeros() -> None:
    assert [number_text(Fraction(text)) for text in ("30", "27.5", "100/3", "0", "1234")] == [
        "30",
        "27.5",
        "33.33",
        "0",
        "1,234",
    ]


def test_a_threshold_is_shown_as_written_and_a_number_on_its_own_side_of_it() -> None:
    assert exact_text(Fraction("33.3333333333")) == "33.3333333333"
    assert exact_text(Fraction("30.00")) == "30"
    assert text_beside(Fraction(30001, 1000), Fraction(30)) == "30.001"
    assert text_beside(Fraction(100, 3), Fraction(30)) == "33.33"
    assert text_beside(Fraction(100, 3), Fraction("33.33")) == "33.333"
