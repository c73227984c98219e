"""Settings from the environment, read once at the door. docs/settings.md has a heading for each."""

from __future__ import annotations

import contextlib
import difflib
import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from zoneinfo import ZoneInfoNotFoundError

from service.kit.clock import zone
from service.kit.money import exponent_of


class SettingsError(Exception):
    """A setting in the environment is unknown or out of range."""


KNOWN = {
    "TIDEMARK_VAR": "Folder for the embedded server's data, artefacts and uploads (`./var`).",
    "TIDEMARK_ADMIN_KEY": "Creates the first admin key at start (unset: none).",
    "TIDEMARK_CURRENCY": "The programme's currency, fixed by the first start on a database (`TWD`).",
    "TIDEMARK_TIMEZONE": "The programme's IANA zone, fixed likewise (`Asia/Taipei`).",
    "TIDEMARK_DEMO": "`1`: `make serve` fills an empty database with the demo shop; `0`: it stays empty.",
    "TIDEMARK_SECRET_KEY": "Seals personal data and signs tokens; unset: made once and kept in TIDEMARK_VAR.",
    "TIDEMARK_ATTRIBUTION_KEYS": "The first signs attribution tokens, older ones still verify (unset: none).",
    "TIDEMARK_LOG_LEVEL": "`DEBUG`, `INFO`, `WARNING` or `ERROR` (`INFO`).",
    "TIDEMARK_MAX_BODY_BYTES": "Largest request body taken (`5242880`).",
    "TIDEMARK_MAX_UPLOAD_BYTES": "Largest file that `POST /imports` takes (`1073741824`).",
    "TIDEMARK_STATEMENT_TIMEOUT_MS": "Longest a web request's statement may run (`10000`).",
    "TIDEMARK_LOCK_TIMEOUT_MS": "Longest a web request's statement may wait for a lock (`5000`).",
    "TIDEMARK_POOL_TIMEOUT_MS": "Longest a web request may wait for a database connection (`2000`).",
    "TIDEMARK_MAX_IN_FLIGHT": "Most requests one web process holds at once; more are answered 503 (`64`).",
    "TIDEMARK_RATE_LIMIT_PER_KEY": "Requests a minute for one API key; `0`: no limit (`120000`).",
    "TIDEMARK_RATE_LIMIT_PER_MEMBER": "Requests a minute for one member's tokens; `0`: no limit (`600`).",
    "TIDEMARK_RATE_LIMIT_PER_ADDRESS": "Failed keys a minute from one address; `0`: no limit (`300`).",
    "TIDEMARK_TRUSTED_PROXIES": "Proxies in front whose `X-Forwarded-For` is believed (`0`).",
    "TIDEMARK_CHANGES_KEPT_DAYS": "Days that the change feed reaches back; `0`: for ever (`400`).",
    "TIDEMARK_REPORTS_KEPT_DAYS": "Days that computed reports are kept; `0`: for ever (`400`).",
    "TIDEMARK_MODELS_URL": "Object store that shares trained models between machines: `s3://bucket/models`.",
    "TIDEMARK_MODELS_KEPT": "Artefacts of trained models that are kept besides the one in force (`5`).",
    "TIDEMARK_SEARCH_MEMBERS": "Members per origin that a blend is learned from; `0`: not learned (`400`).",
    "TIDEMARK_REVIEW_REDEMPTIONS": "Redemptions by one member a day that are looked at; `0`: none (`10`).",
    "TIDEMARK_REVIEW_ADJUSTMENTS": "Adjustments by one actor a day that are looked at; `0`: none (`50`).",
    "TIDEMARK_REVIEW_REFUND_DAYS": "Days after a redemption when a refund is looked at; `0`: none (`14`).",
    "TIDEMARK_UNWANTED_DAYS": "Days without a redemption that flag a reward; `0`: none do (`90`).",
    "TIDEMARK_RATE_LIMIT_URL": "Where rate limits are counted, such as `redis://…` (unset: in PostgreSQL).",
}
"""Every setting of our own; `DATABASE_URL`, `PORT` and `WEB_CONCURRENCY` are read besides."""

# Read by the tests and the benchmarks, never by the service.
_HARNESS = {"TIDEMARK_TEST_SCALE", "TIDEMARK_TEST_VAR", "TIDEMARK_TEST_POSTGRES", "TIDEMARK_BENCH_SCALE"}
_LEAST_KEY = 16
_LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


@dataclass(frozen=True)
class Settings:
    """What this process was told by its environment."""

    database_url: str | None
    port: int
    var: Path
    admin_key: str | None
    currency: str
    timezone: str
    demo: bool
    log_level: str
    max_body_bytes: int
    max_upload_bytes: int
    statement_timeout_ms: int
    lock_timeout_ms: int
    pool_timeout_ms: int
    max_in_flight: int
    rate_limit_per_key: int
    rate_limit_per_member: int
    rate_limit_per_address: int
    trusted_proxies: int
    changes_kept_days: int
    reports_kept_days: int
    models_url: str | None
    models_kept: int
    search_members: int
    review_redemptions: int
    review_adjustments: int
    review_refund_days: int
    unwanted_days: int
    rate_limit_url: str | None
    web_concurrency: int
    given_secret_key: str | None
    attribution_keys: tuple[str, ...] = ()

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """Read and check the environment.

        Raises:
            SettingsError: an unknown `TIDEMARK_…` name (with its nearest known name) or a bad value.
        """
        env = os.environ if environ is None else environ
        _refuse_unknown(env)
        currency = env.get("TIDEMARK_CURRENCY", "TWD")
        timezone = env.get("TIDEMARK_TIMEZONE", "Asia/Taipei")
        log_level = env.get("TIDEMARK_LOG_LEVEL", "INFO").upper()
        try:
            exponent_of(currency)
        except ValueError as error:
            raise SettingsError(f"TIDEMARK_CURRENCY={currency}: {error}") from error
        try:
            zone(timezone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise SettingsError(f"TIDEMARK_TIMEZONE={timezone}: not an IANA zone") from error
        if log_level not in _LOG_LEVELS:
            raise SettingsError(f"TIDEMARK_LOG_LEVEL={log_level}: one of {', '.join(_LOG_LEVELS)}")
        return cls(
            database_url=env.get("DATABASE_URL") or None,
            port=_number(env, "PORT", 8000, 1, 65535),
            var=Path(env.get("TIDEMARK_VAR") or "./var"),
            admin_key=_admin_key(env),
            currency=currency,
            timezone=timezone,
            demo=_number(env, "TIDEMARK_DEMO", 1, 0, 1) == 1,
            log_level=log_level,
            max_body_bytes=_number(env, "TIDEMARK_MAX_BODY_BYTES", 5 * 1024 * 1024, 1024, 2**31),
            max_upload_bytes=_number(env, "TIDEMARK_MAX_UPLOAD_BYTES", 2**30, 1024, 2**36),
            statement_timeout_ms=_number(env, "TIDEMARK_STATEMENT_TIMEOUT_MS", 10_000, 0, 3_600_000),
            lock_timeout_ms=_number(env, "TIDEMARK_LOCK_TIMEOUT_MS", 5_000, 0, 3_600_000),
            pool_timeout_ms=_number(env, "TIDEMARK_POOL_TIMEOUT_MS", 2_000, 10, 60_000),
            max_in_flight=_number(env, "TIDEMARK_MAX_IN_FLIGHT", 64, 1, 1_000),
            rate_limit_per_key=_number(env, "TIDEMARK_RATE_LIMIT_PER_KEY", 120_000, 0, 10**9),
            rate_limit_per_member=_number(env, "TIDEMARK_RATE_LIMIT_PER_MEMBER", 600, 0, 10**9),
            rate_limit_per_address=_number(env, "TIDEMARK_RATE_LIMIT_PER_ADDRESS", 300, 0, 100_000),
            trusted_proxies=_number(env, "TIDEMARK_TRUSTED_PROXIES", 0, 0, 10),
            changes_kept_days=_number(env, "TIDEMARK_CHANGES_KEPT_DAYS", 400, 0, 36_500),
            reports_kept_days=_number(env, "TIDEMARK_REPORTS_KEPT_DAYS", 400, 0, 36_500),
            models_url=env.get("TIDEMARK_MODELS_URL") or None,
            models_kept=_number(env, "TIDEMARK_MODELS_KEPT", 5, 1, 1_000),
            search_members=_number(env, "TIDEMARK_SEARCH_MEMBERS", 400, 0, 100_000),
            review_redemptions=_number(env, "TIDEMARK_REVIEW_REDEMPTIONS", 10, 0, 1_000_000),
            review_adjustments=_number(env, "TIDEMARK_REVIEW_ADJUSTMENTS", 50, 0, 1_000_000),
            review_refund_days=_number(env, "TIDEMARK_REVIEW_REFUND_DAYS", 14, 0, 3_650),
            unwanted_days=_number(env, "TIDEMARK_UNWANTED_DAYS", 90, 0, 3_650),
            rate_limit_url=env.get("TIDEMARK_RATE_LIMIT_URL") or None,
            web_concurrency=_number(env, "WEB_CONCURRENCY", 2, 1, 256),
            given_secret_key=env.get("TIDEMARK_SECRET_KEY") or None,
            attribution_keys=_attribution_keys(env),
        )

    @cached_property
    def secret_key(self) -> bytes:
        """The application key: given, or made once and kept in `var`/secret.key (mode 600)."""
        if self.given_secret_key:
            return self.given_secret_key.encode()
        path = self.var / "secret.key"
        self.var.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            # Written whole before it gets its name: another process never reads half a key.
            draft = self.var / f"secret.key.{secrets.token_hex(8)}"
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(secrets.token_urlsafe(48).encode())
            with contextlib.suppress(FileExistsError):
                os.link(draft, path)
            draft.unlink()
        return path.read_bytes()


def _admin_key(env: Mapping[str, str]) -> str | None:
    key = env.get("TIDEMARK_ADMIN_KEY") or None
    if key is not None and (not re.fullmatch(r"[!-~]+", key) or key.startswith("tmt_")):
        raise SettingsError("TIDEMARK_ADMIN_KEY: visible ASCII without blanks, not beginning with tmt_")
    return key


def _attribution_keys(env: Mapping[str, str]) -> tuple[str, ...]:
    keys = tuple(key.strip() for key in env.get("TIDEMARK_ATTRIBUTION_KEYS", "").split(",") if key.strip())
    if any(len(key) < _LEAST_KEY for key in keys):
        raise SettingsError(f"TIDEMARK_ATTRIBUTION_KEYS: at least {_LEAST_KEY} characters each")
    return keys


def _refuse_unknown(env: Mapping[str, str]) -> None:
    for name in env:
        if name.startswith("TIDEMARK_") and name not in KNOWN and name not in _HARNESS:
            near = difflib.get_close_matches(name, KNOWN, n=1, cutoff=0.0)
            raise SettingsError(f"unknown setting {name}; did you mean {near[0]}?")


def _number(env: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    text = env.get(name)
    if text is None or text == "":
        return default
    if not text.isdecimal() or not least <= int(text) <= most:
        raise SettingsError(f"{name}={text}: a whole number from {least} to {most}")
    return int(text)
