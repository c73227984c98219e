"""A log record is one line of JSON, whatever is in it."""

from __future__ import annotations

import json
import logging
from decimal import Decimal
from typing import Any

from service.kit.logs import JsonLines


def format_record(message: str, *args: object, **extra: Any) -> dict[str, Any]:
    record = logging.makeLogRecord(
        {"name": "tidemark", "levelname": "INFO", "msg": message, "args": args, "created": 1.5, **extra}
    )
    line = JsonLines().format(record)
    assert "\n" not in line
    loaded: dict[str, Any] = json.loads(line)
    return loaded


def test_a_record_tells_time_level_logger_and_message() -> None:
    line = format_record("hello %s", "店")
    assert line == {
        "time": "1970-01-01T00:00:01.500000+00:00",
        "level": "INFO",
        "logger": "tidemark",
        "message": "hello 店",
    }


def test_what_is_given_as_extra_stands_beside_it() -> None:
    line = format_record("request", status=200, route="/v1", amount=Decimal("1.5"))
    assert (line["status"], line["route"], line["amount"]) == (200, "/v1", "1.5")


def test_an_exception_stays_on_its_line() -> None:
    try:
        raise ValueError("first\nsecond")
    except ValueError as error:
        line = format_record("broken", exc_info=(ValueError, error, error.__traceback__))
    assert "ValueError: first\nsecond" in line["exception"]


def test_text_that_is_no_unicode_does_not_silence_the_log() -> None:
    line = format_record("bad %s", "\ud800")
    assert line["level"] == "INFO"
