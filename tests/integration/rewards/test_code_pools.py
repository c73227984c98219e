"""Codes by the file: many at once, line by line, and the same file again."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from sqlalchemy import Connection, Engine

from service.cli.main import tidemark
from service.rewards import operations as rewards
from service.rewards.pools import MOST_REJECTS
from tests.conftest import SCALE
from tests.integration.ledger.books import START

MANY = 20_000 if SCALE == 1 else 1_000_000


def codes(first: int, last: int) -> bytes:
    """Return a file of codes, one a line."""
    return "".join(f"GIFT-{number * 7919 % 10_000_019:08}\n" for number in range(first, last)).encode()


def test_a_file_of_very_many_codes_goes_in_and_changes_nothing_when_it_comes_again(conn: Connection) -> None:
    file = codes(0, MANY)
    loaded = rewards.import_codes(conn, pool="spring", file=io.BytesIO(file), now=START)
    assert (loaded.lines, loaded.added, loaded.known, loaded.rejected) == (MANY, MANY, 0, 0)
    again = rewards.import_codes(conn, pool="spring", file=io.BytesIO(file), now=START)
    assert (again.added, again.known, again.rejected) == (0, MANY, 0)
    shown = rewards.show_pool(conn, pool="spring")
    assert (shown["codes"], shown["left"]) == (MANY, MANY)


def test_a_code_that_comes_back_far_below_is_refused_by_its_line(conn: Connection) -> None:
    far = 60_001  # past the first part that is copied
    file = codes(0, far) + codes(5, 6) + codes(far, far + 1)
    loaded = rewards.import_codes(conn, pool="spring", file=io.BytesIO(file), now=START)
    assert (loaded.added, loaded.rejects) == (far + 1, [(far + 1, "duplicate-code")])


def test_every_refused_line_is_counted_and_the_first_ones_are_told(conn: Connection) -> None:
    file = b"\n" * 1_500 + b"\xff\xfe\n" + b"GOOD-1\n" + "C\u2028D\n".encode()
    loaded = rewards.import_codes(conn, pool="spring", file=io.BytesIO(file), now=START)
    assert (loaded.lines, loaded.added, loaded.rejected) == (1_503, 1, 1_502)
    assert len(loaded.rejects) == MOST_REJECTS
    assert loaded.rejects[0] == (1, "empty-line")


def test_the_command_line_brings_codes_in_too(engine: Engine, tmp_path: Path) -> None:
    file = tmp_path / "codes.txt"
    file.write_bytes(b"A1\nB2\nA1\n")
    environment = {
        "DATABASE_URL": engine.url.render_as_string(hide_password=False),
        "TIDEMARK_VAR": str(tmp_path),
        "TIDEMARK_SECRET_KEY": "a test's own",
    }
    result = CliRunner().invoke(tidemark, ["rewards", "import-codes", "spring", str(file)], env=environment)
    lines: list[dict[str, Any]] = [
        json.loads(line) for line in result.output.splitlines() if line.startswith("{")
    ]
    assert result.exit_code == 0, result.output
    assert lines[0] == {"line": 3, "code": "duplicate-code"}
    assert (lines[-1]["added"], lines[-1]["rejected"]) == (2, 1)
