"""The examples of docs/tier-explanations.md are what the code says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.tiers.test_telling import DESCRIBED, TOLD

PAGE = (Path(__file__).parents[3] / "docs" / "tier-explanations.md").read_text()
SHOWN = (
    "one order is enough",
    "at risk",
    "held, then grace",
    "an order after a long pause",
    "a calendar year, not enough yet",
    "set by hand",
)


@pytest.mark.parametrize("name", SHOWN)
def test_every_example_of_the_page_is_told_like_this(name: str) -> None:
    _, english, chinese = next(case.values for case in TOLD if case.id == name)
    assert f"> {english}\n>\n> {chinese}\n" in PAGE


def test_the_page_shows_no_example_besides() -> None:
    assert PAGE.count("\n>\n") == len(SHOWN)
    described = [f"- {english}\n  - {chinese}\n" for _, _, english, chinese in DESCRIBED]
    assert PAGE.count("\n  - ") == sum(rule in PAGE for rule in described) == 4
