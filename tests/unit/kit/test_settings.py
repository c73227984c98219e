"""The environment is read once, checked, and a typing error in a name stops the start."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from service.kit.settings import KNOWN, Settings, SettingsError


def read(**environ: str) -> Settings:
    return Settings.from_environment(environ)


def test_an_empty_environment_gives_the_documented_defaults() -> None:
    settings = read()
    assert settings.database_url is None
    assert (settings.port, settings.var, settings.admin_key) == (8000, Path("./var"), None)
    assert (settings.currency, settings.timezone, settings.demo) == ("TWD", "Asia/Taipei", True)
    assert (settings.log_level, settings.max_body_bytes) == ("INFO", 5 * 1024 * 1024)


def test_what_is_set_empty_counts_as_unset() -> None:
    settings = read(DATABASE_URL="", PORT="", TIDEMARK_VAR="", TIDEMARK_ADMIN_KEY="", TIDEMARK_DEMO="")
    assert settings == read()


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("TIDEMARK_CURENCY", "TIDEMARK_CURRENCY"),
        ("TIDEMARK_TIME_ZONE", "TIDEMARK_TIMEZONE"),
        ("TIDEMARK_ADMINKEY", "TIDEMARK_ADMIN_KEY"),
        ("TIDEMARK_DATA", "TIDEMARK_VAR"),
    ],
)
def test_an_unknown_name_stops_the_start_with_its_nearest_known_name(wrong: str, right: str) -> None:
    with pytest.raises(SettingsError) as refused:
        read(**{wrong: "x"})
    assert wrong in str(refused.value)
    if right != "TIDEMARK_VAR":
        assert right in str(refused.value)
    else:
        assert any(name in str(refused.value) for name in KNOWN)


def test_names_that_are_not_ours_are_left_alone() -> None:
    assert read(PATH="/bin", TIDE="x", MY_TIDEMARK_KEY="y").currency == "TWD"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TIDEMARK_CURRENCY", "twd"),
        ("TIDEMARK_CURRENCY", "NTD"),
        ("TIDEMARK_TIMEZONE", "Asia/Atlantis"),
        ("TIDEMARK_TIMEZONE", "Asia"),
        ("TIDEMARK_TIMEZONE", "../Asia/Taipei"),
        ("TIDEMARK_LOG_LEVEL", "loud"),
        ("TIDEMARK_DEMO", "yes"),
        ("TIDEMARK_DEMO", "2"),
        ("TIDEMARK_MAX_BODY_BYTES", "5MB"),
        ("TIDEMARK_STATEMENT_TIMEOUT_MS", "-1"),
        ("PORT", "0"),
        ("PORT", "65536"),
        ("PORT", "http"),
        ("WEB_CONCURRENCY", "0"),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name):
        read(**{name: value})


@pytest.mark.parametrize(("text", "demo"), [("1", True), ("0", False)])
def test_the_demo_shop_is_switched_by_one_or_nought(text: str, demo: bool) -> None:
    assert read(TIDEMARK_DEMO=text).demo is demo


def test_every_known_setting_can_be_set(tmp_path: Path) -> None:
    values = {
        "TIDEMARK_VAR": str(tmp_path),
        "TIDEMARK_ADMIN_KEY": "secret",
        "TIDEMARK_CURRENCY": "GBP",
        "TIDEMARK_TIMEZONE": "Europe/London",
        "TIDEMARK_DEMO": "0",
        "TIDEMARK_SECRET_KEY": "given",
        "TIDEMARK_LOG_LEVEL": "debug",
        "TIDEMARK_MAX_BODY_BYTES": "2048",
        "TIDEMARK_STATEMENT_TIMEOUT_MS": "0",
    }
    assert set(values) <= set(KNOWN)
    settings = read(**values, DATABASE_URL="postgresql://db/tidemark", PORT="80", WEB_CONCURRENCY="4")
    assert settings.secret_key == b"given"
    assert (settings.currency, settings.log_level, settings.web_concurrency) == ("GBP", "DEBUG", 4)
    assert not (tmp_path / "secret.key").exists()


def test_the_secret_key_is_made_once_and_kept_for_its_owner_only(tmp_path: Path) -> None:
    var = str(tmp_path / "new" / "var")
    first = read(TIDEMARK_VAR=var).secret_key
    assert len(first) >= 32
    assert read(TIDEMARK_VAR=var).secret_key == first
    assert [path.name for path in Path(var).iterdir()] == ["secret.key"]
    assert stat.S_IMODE((Path(var) / "secret.key").stat().st_mode) == 0o600


def test_processes_that_start_together_agree_on_the_secret_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(lambda _: read(TIDEMARK_VAR=str(tmp_path)).secret_key, range(32)))
    assert len(keys) == 1
    assert b"" not in keys
