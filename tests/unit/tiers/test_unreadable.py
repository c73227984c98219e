"""What the readers of definitions say has a Chinese sentence beside the English one."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from types import ModuleType

import pytest

from service.kit import money
from service.tiers import benefits, conditions, parsing, rules
from service.tiers.publishing.unreadable import reason_words

_SAMPLES = {
    "', '.join(METRICS)": "orders, net_spend",
    "', '.join(OPS)": "<=, >=, between",
    "', '.join(CADENCES)": "daily, weekly",
    "', '.join(KINDS)": "free_shipping, text",
    "key!r": "'all'",
    "code!r": "'gold'",
    "name!r": "'a'",
    "kind": "free_shipping",
    "currency": "TWD",
    # Another reader's own words, handed on.
    "error": "",
    "detail": "",
}


def said_by(module: ModuleType) -> Iterator[str]:
    """Yield every reason in what a module raises, with samples put in for what it does not know yet."""
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            continue
        for said in node.args[-1:] if node.func.id in {"ValueError", "_fault"} else ():
            for one in (said.body, said.orelse) if isinstance(said, ast.IfExp) else (said,):
                pointer, found, detail = sample(one).partition(": ")
                yield detail if found and ("/" in pointer or pointer == "#") else sample(one)


def sample(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(sample(part) for part in node.values)
    if isinstance(node, ast.FormattedValue):
        code = ast.unparse(node.value) + ("!r" if node.conversion == ord("r") else "")
        return "#" if code.startswith("pointer") else _SAMPLES.get(code, "7")
    # Another reader's own words, handed on.
    return ""


REASONS = sorted(
    {one for module in (rules, conditions, benefits, parsing, money) for one in said_by(module)} - {""}
)


def test_every_reader_was_looked_through() -> None:
    assert {
        "there is no such field",
        "a plain number is needed, such as 1200 or 12.5",
        "money is never a float",
        "an ISO 4217 code is needed",
    } <= set(REASONS)
    assert "a whole number from 7 to 7 is needed" in REASONS


@pytest.mark.parametrize("reason", REASONS)
def test_a_reason_is_said_in_chinese(reason: str) -> None:
    words = reason_words(reason)
    assert words.en == reason
    assert re.search("[\u4e00-\u9fff]", words.zh), reason
