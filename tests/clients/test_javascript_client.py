"""A TypeScript client that a public generator makes of openapi.yaml: it compiles, and flows pass with it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.clients.conftest import OPENAPI, Service, skip_loudly

HERE = Path(__file__).parent / "javascript"
FLOWS = re.findall(r'^  "(.+)": async \(\) => \{$', (HERE / "flows.ts").read_text(), re.MULTILINE)
OLDEST_NODE = (20, 19)
_NO_NETWORK = re.compile(
    r"ENOTFOUND|ECONNREFUSED|ECONNRESET|ETIMEDOUT|EAI_AGAIN|ENETUNREACH|EHOSTUNREACH|network"
)


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the project's folder."""
    quiet = {"NO_COLOR": "1", "CI": "true", "NO_UPDATE_NOTIFIER": "1"}
    return subprocess.run(
        command, cwd=folder, env=os.environ | quiet, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.fixture(scope="module")
def project(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the generator, the compiler, the flows and the generated client."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        skip_loudly(request, "the generated JavaScript client: Node.js with npm is not installed")
    version = tuple(int(part) for part in run(HERE, node, "--version").stdout.strip("v\n").split(".")[:2])
    if version < OLDEST_NODE:
        skip_loudly(
            request, f"the generated JavaScript client: Node.js {version} is too old for its generator"
        )
    folder = tmp_path_factory.mktemp("javascript")
    for file in ("package.json", "package-lock.json", "tsconfig.json", "flows.ts"):
        shutil.copy(HERE / file, folder)
    install = run(folder, npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline")
    if install.returncode != 0 and _NO_NETWORK.search(install.stderr):
        skip_loudly(request, f"the generated JavaScript client: npm reaches no registry\n{install.stderr}")
    assert install.returncode == 0, install.stderr
    generator = str(folder / "node_modules" / ".bin" / "openapi-ts")
    command = (generator, "--input", str(OPENAPI), "--output", "client", "--client", "@hey-api/client-fetch")
    done = run(folder, *command)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def built(project: Path) -> subprocess.CompletedProcess[str]:
    """What the compiler says of the client and of the flows that use it."""
    return run(project, str(project / "node_modules" / ".bin" / "tsc"), "--project", ".")


@pytest.fixture(scope="module")
def played(service: Service, project: Path, built: subprocess.CompletedProcess[str]) -> dict[str, str]:
    """The compiled flows, played: name → what the line says before and after it."""
    assert built.returncode == 0
    done = run(project, "node", "built/flows.js", service.url, service.keys["server"])
    lines = [line.split(": ", 2) for line in done.stdout.splitlines()]
    return {name: " ".join((verdict, *rest)) for verdict, name, *rest in lines}


def test_the_generated_client_and_its_use_have_no_type_errors(
    built: subprocess.CompletedProcess[str],
) -> None:
    assert built.returncode == 0, built.stdout


def test_every_operation_is_a_function_of_the_generated_client(project: Path) -> None:
    wanted = set(re.findall(r"^      operationId: (\w+)$", OPENAPI.read_text(), re.MULTILINE))
    functions = set(re.findall(r"^export const (\w+) =", (project / "client/sdk.gen.ts").read_text(), re.M))
    assert len(wanted) >= 25
    assert functions == wanted


@pytest.mark.parametrize("flow", FLOWS)
def test_a_flow_passes_through_the_generated_client(played: dict[str, str], flow: str) -> None:
    assert played.get(flow) == "passed"


def test_the_guide_names_the_versions_that_are_tested() -> None:
    wanted = json.loads((HERE / "package.json").read_text())["devDependencies"]
    guide = (OPENAPI.parent / "docs" / "clients.md").read_text()
    assert f"@hey-api/openapi-ts@{wanted['@hey-api/openapi-ts']} " in guide
    assert f"typescript@{wanted['typescript'].rsplit('.', 1)[0]}" in guide
