"""The page about the default tiers says what the default rule set says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from service.tiers.defaults import FALLBACK_SPEND, GOLD_TIMES, PLATINUM_TIMES, SILVER_SPEND, default_ruleset

PAGE = (Path(__file__).parents[3] / "docs" / "tier-defaults.md").read_text()


def test_the_written_out_tier_is_the_one_that_is_published() -> None:
    (block,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    tiers: Any = default_ruleset(currency="TWD")["tiers"]
    assert json.loads(block) == tiers[2]


@pytest.mark.parametrize("currency", [*SILVER_SPEND, "any other"])
def test_the_spend_of_every_currency_is_on_the_page(currency: str) -> None:
    silver = SILVER_SPEND.get(currency, FALLBACK_SPEND)
    row = f"| {currency} | {silver:,} | {silver * GOLD_TIMES:,} | {silver * PLATINUM_TIMES:,} |"
    assert row in PAGE


def test_every_tier_is_on_the_page_with_its_names() -> None:
    tiers: Any = default_ruleset(currency="TWD")["tiers"]
    for tier in tiers:
        assert f"| `{tier['code']}` {tier['names']['en']} | {tier['names']['zh-Hant']} |" in PAGE
