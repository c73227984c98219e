"""What a member is. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Member:
    """A member as other rooms know them: nothing sealed is opened."""

    member_key: int
    member_id: str
    joined_at: datetime
    locale: str | None
    profiling_allowed: bool


@dataclass(frozen=True, slots=True)
class Profile:
    """Everything a member's row holds, opened, for `GET /members/{member_id}`."""

    member: Member
    store_id: str | None
    name: str | None
    email: str | None
    phone: str | None
    birthday: date | None
    consent: Mapping[str, Any]
    attributes: Mapping[str, Any]
    referred_by: str | None
    acquisition: Mapping[str, Any] | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Consent:
    """What a member agreed to, and to which text."""

    granted: bool
    text_version: str | None
    at: datetime

    def to_json(self) -> dict[str, Any]:
        """Return the stored form."""
        return {"granted": self.granted, "text_version": self.text_version, "at": self.at.isoformat()}
