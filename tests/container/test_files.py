"""The Dockerfile and compose.yaml say what the steps do, and nothing that is not there."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml

from service.cli.main import tidemark
from service.kit.settings import KNOWN
from tests.serving import ROOT

DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = ("migrate", "web", "worker")


def list_instructions() -> list[tuple[str, str]]:
    """Return the Dockerfile's instructions, continued lines joined."""
    text = re.sub(r"\\\n\s*", "", DOCKERFILE)
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1]) for line in lines]


def health_command() -> list[str]:
    """Return the command of HEALTHCHECK."""
    (check,) = [value for name, value in list_instructions() if name == "HEALTHCHECK"]
    command: list[str] = json.loads(check[check.index("[") :])
    return command


def test_the_image_is_made_in_two_stages_and_the_second_takes_only_what_was_installed() -> None:
    instructions = list_instructions()
    stages = [value for name, value in instructions if name == "FROM"]
    assert len(stages) == 2
    assert stages[0].endswith(" AS build")
    second = instructions[[name for name, _ in instructions].index("FROM", 1) :]
    assert [value for name, value in second if name == "COPY"] == ["--from=build /opt/tidemark /opt/tidemark"]


def test_the_image_does_not_run_as_root() -> None:
    users = [value for name, value in list_instructions() if name == "USER"]
    assert users == ["10001"]
    assert "useradd --system --uid 10001" in DOCKERFILE


def test_the_image_starts_the_step_that_was_installed() -> None:
    (entry,) = [json.loads(value) for name, value in list_instructions() if name == "ENTRYPOINT"]
    assert entry == ["/opt/tidemark/docker/start"]
    assert (ROOT / "docker" / "start").exists()


def test_everything_the_installation_needs_is_sent_to_the_build() -> None:
    ignored = {line for line in (ROOT / ".dockerignore").read_text().split() if not line.startswith("#")}
    assert not ignored & {
        "docker", "service", "recommender", "migrations", "requirements.lock", "pyproject.toml", "README.md",
        "docs",
    }  # fmt: skip
    assert {".git", "var", ".env", ".venv"} <= ignored, "no history, data, secrets or tools in the image"


def test_compose_has_a_database_a_migration_web_and_worker() -> None:
    assert set(SERVICES) == {"database", *OURS}
    assert re.fullmatch(r"postgres:(17|18)", SERVICES["database"]["image"])
    commands = {name: SERVICES[name]["command"] for name in OURS}
    assert commands == {"migrate": ["db", "upgrade"], "web": ["web"], "worker": ["worker"]}
    for command in commands.values():
        assert command[0] in tidemark.commands


def test_compose_waits_for_health_and_for_the_migration() -> None:
    assert "pg_isready" in SERVICES["database"]["healthcheck"]["test"][1]
    assert SERVICES["migrate"]["depends_on"] == {"database": {"condition": "service_healthy"}}
    assert SERVICES["migrate"]["restart"] == "no"
    for name in ("web", "worker"):
        assert SERVICES[name]["depends_on"] == {
            "database": {"condition": "service_healthy"},
            "migrate": {"condition": "service_completed_successfully"},
        }


def test_compose_gives_stopping_the_time_that_requests_may_take() -> None:
    from service.gunicorn_conf import graceful_timeout

    for name in ("web", "worker"):
        assert int(SERVICES[name]["stop_grace_period"].removesuffix("s")) > graceful_timeout


@pytest.mark.parametrize("name", OURS)
def test_compose_runs_ours_without_root_writing_only_to_the_volume(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["volumes"] == ["var:/var/lib/tidemark"]
    assert "user" not in service


@pytest.mark.parametrize("name", OURS)
def test_compose_sets_only_settings_that_exist(name: str) -> None:
    for setting in SERVICES[name]["environment"]:
        assert setting in KNOWN or setting in {"DATABASE_URL", "WEB_CONCURRENCY", "PORT"}, setting


def test_compose_takes_its_secrets_from_outside_and_insists_on_them() -> None:
    text = (ROOT / "compose.yaml").read_text()
    for secret in ("POSTGRES_PASSWORD", "TIDEMARK_SECRET_KEY"):
        uses = re.findall(rf"\$\{{{secret}([^}}]*)\}}", text)
        assert uses
        assert all(use.startswith(":?") for use in uses), secret
    assert "TIDEMARK_ADMIN_KEY: ${TIDEMARK_ADMIN_KEY:-}" in text


def test_every_variable_of_compose_is_explained() -> None:
    page = (ROOT / "docs" / "deploy.md").read_text()
    for variable in set(re.findall(r"\$\{([A-Z_]+)", (ROOT / "compose.yaml").read_text())):
        assert f"`{variable}`" in page, variable
