"""docs/complaints.md: every situation has a test that exists, or says why it has none."""

from __future__ import annotations

import ast
import re

import pytest

from tests.house.sources import ROOT

PAGE = (ROOT / "docs" / "complaints.md").read_text()
ROWS = {int(number): cell for number, cell in re.findall(r"^\| (\d+) \|[^|]+\| (.+) \|$", PAGE, re.MULTILINE)}
WITHOUT_A_TEST = {45}


def test_every_complaint_has_its_row() -> None:
    assert sorted(ROWS) == list(range(1, 47))


@pytest.mark.parametrize("number", sorted(set(ROWS) - WITHOUT_A_TEST))
def test_every_complaint_names_tests_that_exist(number: int) -> None:
    named = re.findall(r"`([\w/]+\.py)::(test_\w+)`", ROWS[number])
    assert named, ROWS[number]
    for path, name in named:
        tree = ast.parse((ROOT / "tests" / path).read_text())
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, (path, name)
