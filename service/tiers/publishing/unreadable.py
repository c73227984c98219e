"""Why a part of a definition cannot be read, said in Chinese as well. Pure.

The readers of rule sets, conditions and benefits name a fault in English, for whoever calls them. Here stands
each of their sentences once more; a test holds that none is missing.
"""

from __future__ import annotations

import re

from service.tiers.publishing.wording import Words

_CHINESE = (
    # Any part.
    ("a field that is needed is missing", "缺少這個必要欄位"),
    ("there is no such field", "沒有這個欄位"),
    ("an object is needed", "必須是物件"),
    ("a list is needed", "必須是清單"),
    (r"a whole number from (\d+) to (\d+) is needed", r"必須是 \1 到 \2 的整數"),
    (r"a text of 1 to (\d+) characters is needed", r"必須是 1 到 \1 個字的文字"),
    (
        "a small letter, then small letters, digits or _, at most 32",
        "必須以小寫英文字母開頭，其後為小寫英文字母、數字或 _，最多 32 個字元",
    ),
    (r"'(.*)' stands twice", r"「\1」重複出現"),
    # The rule set.
    ("an ISO 4217 code is needed", "必須是 ISO 4217 貨幣代碼"),
    ("not an ISO 4217 currency code", "不是 ISO 4217 貨幣代碼"),
    (
        "unknown kind; rolling, calendar_year or membership_year",
        "沒有這種期間；可用的有 rolling、calendar_year 或 membership_year",
    ),
    ("joining or tier", "必須是 joining 或 tier"),
    ("one_step or to_qualified", "必須是 one_step 或 to_qualified"),
    (r"one of ([a-z, ]+)", r"必須是下列之一：\1"),
    (r"a list of 1 to (\d+) tiers is needed, the lowest first", r"必須是 1 到 \1 個等級的清單，由低到高排列"),
    ("the lowest tier asks for nothing, it is everybody's", "最低等級屬於所有會員，不能設定條件"),
    # Conditions.
    ("a condition is an object", "條件必須是物件"),
    (r"nothing may stand beside '(.*)'", r"「\1」旁邊不能再有其他欄位"),
    (r"conditions may nest (\d+) deep", r"條件最多只能巢狀 \1 層"),
    ("a list of at least one condition is needed", "必須是至少有一個條件的清單"),
    ("at_least takes exactly k and of", "at_least 只能有 k 和 of，兩者都要有"),
    (r"k is a whole number from 1 to (\d+)", r"k 必須是 1 到 \1 的整數"),
    (
        "a condition takes metric, op and value, or one of all, any, at_least",
        "條件要有 metric、op 和 value，或是 all、any、at_least 其中之一",
    ),
    (r"unknown metric; one of ([a-z_, ]+)", r"沒有這個指標；可用的有：\1"),
    (r"unknown operator; one of (.+)", r"沒有這個運算子；可用的有：\1"),
    ("between takes two values, both included", "between 要有兩個值，兩端都包含在內"),
    ("the first value is larger than the second", "第一個值大於第二個值"),
    ("a whole number or a decimal string is needed", "必須是整數，或以字串寫成的小數"),
    ("a threshold is never negative", "門檻不能是負數"),
    ("a plain number is needed, such as 1200 or 12.5", "必須是單純的數字，例如 1200 或 12.5"),
    (r"out of range: 0 to (\d+)", r"超出範圍：0 到 \1"),
    ("a whole number is needed", "必須是整數"),
    # Benefits.
    (r"at most (\d+) benefits", r"最多 \1 項權益"),
    (r"one ([a-z_]+) at most", r"\1 最多一項"),
    (r"unknown kind of benefit; one of ([a-z_, ]+)", r"沒有這種權益；可用的有：\1"),
    (r"belongs to every ([a-z_]+), and is missing", r"\1 必須有這個欄位，目前缺少"),
    (r"belongs to another kind than ([a-z_]+)", r"這個欄位不屬於 \1"),
    (r"1 to (\d+) of them are needed", r"必須有 1 到 \1 個"),
    ("1 to 128 visible characters are needed", "必須是 1 到 128 個看得見的字元"),
    # Amounts of money.
    ("an amount of money is needed", "必須是金額"),
    ("an amount is never negative", "金額不能是負數"),
    ("money is never a float", "金額不能寫成浮點數"),
    ("not an amount of money", "不是金額"),
    ("too large an amount", "金額太大"),
    ("too many decimals", "小數位數太多"),
    (r"more decimals than ([A-Z]{3}) has \((\d+)\)", r"小數位數超過 \1 的位數（\2）"),
)
_PATTERNS = tuple((re.compile(said, re.DOTALL), chinese) for said, chinese in _CHINESE)


def reason_words(said: str) -> Words:
    """Return in both languages what a reader said; in English alone what is not known here."""
    for pattern, chinese in _PATTERNS:
        match = pattern.fullmatch(said)
        if match is not None:
            return Words(said, match.expand(chinese))
    return Words(said, said)
