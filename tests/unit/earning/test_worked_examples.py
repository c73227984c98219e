"""The examples of docs/earning-rules.md, computed as they stand there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from service.activity.rules import value_order
from service.earning.definition import read_rules
from service.earning.findings import look_through
from service.earning.rules import BasketLine, make_terms
from service.kit.money import to_minor
from tests.house.sources import ROOT

PAGE = (ROOT / "docs" / "earning-rules.md").read_text()


def list_blocks() -> Iterator[Any]:
    """Yield every block of JSON of the page."""
    for block in re.findall(r"^```json\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL):
        yield json.loads(block)


EXAMPLES = [block for block in list_blocks() if "earns" in block]


def test_the_page_has_its_worked_examples() -> None:
    assert len(EXAMPLES) >= 5


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: str(example["earns"]))
def test_a_worked_example_earns_what_the_page_says(example: Any) -> None:
    rules, faults = read_rules(example["rules"], version=2, currency="TWD")
    assert rules is not None, faults
    basket = example["basket"]
    minors = [to_minor(amount, currency="TWD") for _, _, amount in basket["lines"]]
    valued = value_order(
        minors,
        discount_minor=to_minor(basket.get("discount", "0"), currency="TWD"),
        tax_minor=0,
        paid_otherwise_minor=0,
        rate=None,
    )
    terms = make_terms(
        rules,
        lines=[
            BasketLine(sku, category, line.order_amount_minor)
            for (sku, category, _), line in zip(basket["lines"], valued.lines, strict=True)
        ],
        counted_minor=valued.spend_minor,
        base=(1, 100),
        multiplier_bp=rules.multiplier_bp(tier=basket.get("tier"), given_bp=basket["tier_multiplier_bp"]),
        day_used=basket.get("earned_that_day", 0),
    )
    assert terms.points() == example["earns"]


def test_every_block_of_rules_on_the_page_can_be_published() -> None:
    definitions = [block for block in list_blocks() if "earns" not in block]
    assert len(definitions) == 2
    for definition in definitions:
        rules, faults = read_rules(definition, version=2, currency="TWD")
        assert rules is not None, faults
        assert look_through(rules) == []


@pytest.mark.parametrize("name", re.findall(r'_(?:warn|error)\(\s*"([a-z-]+)"', (
    ROOT / "service" / "earning" / "findings.py").read_text()))  # fmt: skip
def test_every_finding_is_explained_on_the_page(name: str) -> None:
    assert f"`{name}`" in PAGE
