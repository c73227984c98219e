"""What every sentence that is made rather than written must keep to, in English and in Chinese."""

from __future__ import annotations

import re

INTERNAL = re.compile(
    r"_|None|True|False|Fraction|Compare|AllOf|AnyOf|AtLeast|\bnan\b|active day|rolling|membershipyear", re.I
)
WRONG_ENGLISH = {
    "one with a plural": r"(?<![\d.,])1 (days|orders)\b",
    "a plural without its s": r"(?<![\d.,])(?!1 )[\d.,]+ (day|order)\b",
    "two blanks": r"\s\s|\n",
    "a blank before punctuation": r" [,.;:)]",
    "a blank after a bracket": r"\( ",
    "two marks": r"[,;:.][,;:.]",
    "something dangling": r"\b(and|or|of|need|least|most|than|from|to|by|the|a|until|either)\s*[.;:)]|\band,",
    "nothing between two words": r"\b(and|or) (and|or|either and)\b|, (and|or)? ?,",
    "an empty bracket": r"\(\)",
    "a sentence that begins small": r"(^|\. )[a-z]",
    "Chinese": r"[\u4e00-\u9fff，。、：（）「」]",
}
CJK = r"[\u4e00-\u9fff]"
WRONG_CHINESE = {
    "no blank between Chinese and the rest": rf"{CJK}[A-Za-z0-9£€¥$]|[A-Za-z0-9]{CJK}",
    "a blank between Chinese": rf"{CJK} {CJK}",
    "a blank beside wide punctuation": r"[，。、：（）「」] | [，。、：（）「」]",
    "narrow punctuation": rf"{CJK} ?[,.;:()!?]|[,;:()!?] ?{CJK}",
    "two blanks": r"\s\s|\n",
    "two marks": r"[，、：。][，、：。]|（）|「」|：）",
    "something dangling": r"(且|或|與|和|至少|不超過|超過|介於)[，。、：）]",
    "a number without its measure": (
        r"(?<![\d,.])(?<!(?:KWD|SEK) )(?<!(?:KWD|SEK) -)[\d,.]+ (?![天筆元年月日項版英美歐港])"
    ),
    "simplified characters": r"[级为员费额间总达还单续约]",
}
LATIN = re.compile(r"[A-Za-z]+")
IDS = re.compile(r"\b(?:[orux]\d+(?:-\d+)?|amy)\b")


def assert_sound_english(text: str) -> None:
    """Hold a text against what no English sentence does."""
    for what, pattern in WRONG_ENGLISH.items():
        found = re.search(pattern, text)
        assert found is None, f"{what}: {text[max(0, found.start() - 40) : found.end() + 40]!r}"
    assert INTERNAL.search(text) is None, text
    assert text.count("(") == text.count(")")


def assert_sound_chinese(text: str) -> None:
    """Hold a text against what no Chinese sentence does; of Latin words, codes and ids alone are allowed."""
    for what, pattern in WRONG_CHINESE.items():
        found = re.search(pattern, text)
        assert found is None, f"{what}: {text[max(0, found.start() - 20) : found.end() + 20]!r}"
    assert INTERNAL.search(text) is None, text
    assert set(LATIN.findall(IDS.sub("", text))) <= {"KWD", "SEK"}, text
    assert text.count("（") == text.count("）")
    assert text.count("「") == text.count("」")
