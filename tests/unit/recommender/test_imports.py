"""What serving may bring into a web process, checked in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.unit.recommender import shop

SERVE = """
import json, sys
before = set(sys.modules)
from recommender.serving import ServedModel
model = ServedModel.open(sys.argv[1])
for mode in ("mixed", "buy_again", "discover"):
    assert model.recommend([("sku-001", 20001, 1.0)], today=20010, limit=5, mode=mode).items
assert model.recommend([], today=20010, limit=5, policy="baseline").items
assert model.related(["sku-001"], limit=5).items
roots = {name.split(".")[0] for name in set(sys.modules) - before}
print(json.dumps(sorted(roots - set(sys.stdlib_module_names))))
"""


def test_serving_needs_numpy_and_nothing_else(tmp_path: Path) -> None:
    shop.trained().write(tmp_path / "v1", version="v1")
    done = subprocess.run(
        [sys.executable, "-c", SERVE, str(tmp_path / "v1")],
        cwd=shop.repository_root(),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    loaded = set(json.loads(done.stdout))
    assert "implicit" not in loaded
    assert "scipy" not in loaded
    assert loaded <= {"numpy", "recommender"}


def test_the_library_knows_nothing_of_the_service() -> None:
    words = ("import flask", "import sqlalchemy", "from service", "import service", "psycopg")
    for file in (shop.repository_root() / "recommender").rglob("*.py"):
        text = file.read_text("utf-8")
        assert not any(word in text for word in words), file
