"""Habits of the house that no linter knows."""

from __future__ import annotations

import ast
import re
import subprocess
import sys

import pytest

from tests.house.sources import ROOT, WIRING, Function, Source, list_rooms, list_sources

LONGEST_FILE = 700
LONGEST_FUNCTION = 80
LONG_FILE = 400
LONG_FUNCTION = 35

DOORS = re.compile(
    r"service/((\w+/){0,2}(api|schemas(_\w+)?|app|wsgi|worker|startup)\.py|cli/\w+\.py"
    r"|kit/(http|exchange|preconditions|routes|web|describing|cors|reading|problems|fields|uploads)\.py"
    # The lines of an import file are read by the same schemas as the bodies of requests.
    r"|intake/bulk/(fields|files)\.py|gunicorn_conf\.py)"
)
WEB_LIBRARIES = {"flask", "flask_smorest", "marshmallow", "werkzeug", "webargs", "apispec"}
DOORS_OF_A_ROOM = {"operations", "readable", "errors", "rules"}


def length(node: Function) -> int:
    """Lines of a function without its docstring."""
    body = (node.end_lineno or node.lineno) - node.lineno + 1
    doc = ast.get_docstring(node, clean=False)
    return body - (doc.count("\n") + 1 if doc else 0)


def test_files_and_functions_stay_small(capsys: pytest.CaptureFixture[str]) -> None:
    """Fails above the hard limits; lists (with -rP) what is above the aim."""
    sources = list_sources()
    files = {source.path: source.text.count("\n") for source in sources}
    functions = {
        f"{source.path}:{node.lineno} {node.name}": length(node)
        for source in sources
        for node in source.list_functions()
    }
    for what, sizes, aim in (("file", files, LONG_FILE), ("function", functions, LONG_FUNCTION)):
        for name, lines in sorted(sizes.items(), key=lambda item: -item[1]):
            if lines > aim:
                print(f"{what} of {lines} lines, aim {aim}: {name}")  # noqa: T201
    assert not {name: lines for name, lines in files.items() if lines > LONGEST_FILE}
    assert not {name: lines for name, lines in functions.items() if lines > LONGEST_FUNCTION}


@pytest.mark.parametrize("room", list_rooms())
def test_a_room_says_in_three_sentences_what_it_promises(room: str) -> None:
    tree = ast.parse((ROOT / "service" / room / "__init__.py").read_text())
    promise = ast.get_docstring(tree)
    assert promise, f"service/{room}/__init__.py has no docstring"
    assert len(re.findall(r"[.!?](?=\s|$)", promise)) == 3, promise


def test_every_package_of_the_service_is_a_known_room() -> None:
    found = {
        path.stem
        for path in (ROOT / "service").iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert found - set(list_rooms()) - set(WIRING) == {"__init__"}


def test_only_the_clock_reads_the_time_of_day() -> None:
    reading = re.compile(r"\b(datetime\.(now|utcnow|today)|date\.today|time\.time|time\.localtime)\(")
    found = [
        f"{source.path}:{number}"
        for source in list_sources("service", "recommender", "migrations")
        for number, line in enumerate(source.text.splitlines(), 1)
        if reading.search(line) and source.path != "service/kit/clock.py"
    ]
    assert not found


def test_only_doors_call_the_clock() -> None:
    found = [
        source.path
        for source in list_sources("service", "recommender")
        if "service.kit.clock.read_clock" in source.list_imports() and not DOORS.fullmatch(source.path)
    ]
    assert not found


def test_only_doors_know_the_web_libraries() -> None:
    found = [
        f"{source.path} imports {name}"
        for source in list_sources("service", "recommender", "migrations")
        for name in set(source.list_imports())
        if name in WEB_LIBRARIES and not DOORS.fullmatch(source.path)
    ]
    assert not found


def test_only_doors_and_the_kit_read_the_environment() -> None:
    found = [
        source.path
        for source in list_sources("service", "recommender")
        if re.search(r"\bos\.(environ|getenv)\b", source.text)
        and not DOORS.fullmatch(source.path)
        and source.path not in {"service/kit/settings.py", "service/gunicorn_conf.py"}
    ]
    assert not found


def test_rooms_call_each_other_through_their_operations_only() -> None:
    found = []
    for source in list_sources("service"):
        if source.room is None:
            continue
        for name in set(source.list_imports()):
            parts = name.split(".")
            if len(parts) < 3 or parts[0] != "service" or parts[1] in {source.room, "kit"}:
                continue
            if re.fullmatch(r"schemas(_\w+)?", parts[2]) and DOORS.fullmatch(source.path):
                continue
            if parts[2] not in DOORS_OF_A_ROOM:
                found.append(f"{source.path} imports {name}")
    assert not found


def test_only_the_wiring_and_the_migrations_see_every_shelf() -> None:
    found = [
        source.path
        for source in list_sources()
        if "service.shelves" in source.list_imports()
        and not source.path.startswith(("migrations/", "tests/", "benchmarks/", "service/shelves"))
    ]
    assert not found


def test_sql_stands_in_the_archive() -> None:
    """Statements stand in `store*.py`, in the kit and in the wiring that counts what is there."""
    found = [
        source.path
        for source in list_sources("service")
        if source.room not in {None, "kit"}
        and "sqlalchemy.text" in source.list_imports()
        and not re.search(r"/(\w*store\w*|readable|models)\.py$", source.path)
    ]
    assert not found


def test_a_connection_comes_first_and_the_rest_by_name() -> None:
    found = []
    for source in list_sources("service"):
        if source.room in {None, "kit"} or not re.search(r"/(operations|\w*store\w*)\.py$", source.path):
            continue
        for node in source.tree.body:
            if not isinstance(node, Function) or node.name.startswith("_"):
                continue
            positional = [argument.arg for argument in (*node.args.posonlyargs, *node.args.args)]
            by_name = [argument.arg for argument in node.args.kwonlyargs]
            if "conn" in by_name or ("conn" in positional and positional != ["conn"]):
                found.append(f"{source.path}:{node.lineno} {node.name}({', '.join(positional)})")
    assert not found


def test_nothing_is_named_for_what_it_might_do() -> None:
    vague = re.compile(r"^(process|handle)_|(^|_)(manager|utils?|helpers?|misc)(_|$)", re.IGNORECASE)
    names = []
    # gunicorn's own name for the hook that `ProblemWorker` overrides.
    given_names = {("service/gunicorn_conf.py", "handle_error")}
    for source in list_sources("service", "recommender"):
        stem = source.path.rsplit("/", 1)[1].removesuffix(".py")
        names += [(source.path, stem)]
        names += [(source.path, node.name) for node in source.list_functions()]
        names += [
            (source.path, re.sub(r"(?<=[a-z])(?=[A-Z])", "_", node.name))
            for node in ast.walk(source.tree)
            if isinstance(node, ast.ClassDef)
        ]
    found = {(path, name) for path, name in names if vague.search(name)}
    assert not found - given_names


def checks_something(source: Source, node: ast.AST) -> bool:
    """Tell whether a test asserts, or expects a refusal, itself or in a function of its own file."""
    helpers = {function.name: function for function in source.list_functions()}
    seen: set[str] = set()

    def looks(tree: ast.AST) -> bool:
        for inner in ast.walk(tree):
            if isinstance(inner, ast.Assert):
                return True
            if isinstance(inner, ast.Attribute) and inner.attr in {"raises", "warns", "fail"}:
                return True
            if isinstance(inner, ast.Name) and inner.id in {"raises", "warns"}:
                return True
            name = None
            if isinstance(inner, ast.Call):
                name = getattr(inner.func, "id", getattr(inner.func, "attr", None))
            if name is not None and re.match(r"(assert|expect|check|refuse)_", name):
                return True
            if name in helpers and name not in seen:
                seen.add(name)
                if looks(helpers[name]):
                    return True
        return False

    return looks(node)


def test_every_test_checks_something() -> None:
    found = [
        f"{source.path}:{node.lineno} {node.name}"
        for source in list_sources("tests")
        for node in source.list_functions()
        if node.name.startswith("test_") and not checks_something(source, node)
    ]
    assert not found


def test_every_test_has_a_sentence_for_a_name() -> None:
    found = [
        f"{source.path}:{node.lineno} {node.name}"
        for source in list_sources("tests")
        for node in source.list_functions()
        if node.name.startswith("test_") and node.name.count("_") < 3
    ]
    assert not found


@pytest.mark.parametrize("module", ["service.app", "service.gunicorn_conf"])
def test_web_workers_do_not_load_the_training_libraries(module: str) -> None:
    script = (
        f"import {module}, sys; "
        "print(*sorted({'implicit', 'scipy', 'pyarrow', 'threadpoolctl', 'duckdb'} & set(sys.modules)))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert loaded.stdout.split() == []


SECRET_NAME = re.compile(r"(^|_)(mac|secret|signature|digest|mark|hmac)(_|$)")


def test_secrets_are_compared_in_constant_time() -> None:
    """A signature is compared by `hmac.compare_digest`; a key is found by its hash and never compared."""
    found = []
    for source in list_sources("service"):
        for node in ast.walk(source.tree):
            if not isinstance(node, ast.Compare) or not isinstance(node.ops[0], ast.Eq | ast.NotEq):
                continue
            sides = [ast.unparse(side) for side in (node.left, *node.comparators)]
            if any(SECRET_NAME.search(word) for side in sides for word in re.findall(r"\w+", side)):
                found.append(f"{source.path}:{node.lineno} {ast.unparse(node)}")
    assert found == []
