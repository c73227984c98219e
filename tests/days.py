"""Days of the shop, asked for when they are needed: a suite may run past its midnight."""

from __future__ import annotations

from datetime import UTC, date, datetime

from service.kit.clock import local_day


def today() -> date:
    """Return the day it is in the shop's zone."""
    return local_day(datetime.now(UTC), timezone="Asia/Taipei")
