"""What a member is. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

MEMBER_COLUMNS = (
    "joined_at",
    "store_key",
    "locale",
    "birth_month",
    "birth_day",
    "birthday_sealed",
    "name_sealed",
    "email_sealed",
    "email_index",
    "phone_sealed",
    "phone_index",
    "consent_marketing",
    "consent_profiling",
    "attributes",
    "referred_by",
    "acquisition",
)
"""What a shop may say of a member, as the row holds it; an import and a PUT write the same."""


UNDO_DAYS = 30
"""How long a merge can be undone."""


@dataclass(frozen=True, slots=True)
class Member:
    """A member as other rooms know them: nothing sealed is opened.

    Whoever was asked for by the id of a member that was merged is the survivor; `origin_key` is then the key
    of the one whose id it is. Read as a row of its own, a merged member has `merged_into` instead.
    """

    member_key: int
    member_id: str
    joined_at: datetime
    locale: str | None
    profiling_allowed: bool
    origin_key: int | None = None
    merged_into: int | None = None

    @property
    def own_key(self) -> int:
        """Return the key that stays with the id asked for: its account leads to the survivor's."""
        return self.origin_key or self.member_key


@dataclass(frozen=True, slots=True)
class Owner:
    """Whom the facts sent under an id count for; `origin_key` as of `Member`."""

    member_key: int
    origin_key: int | None


@dataclass(frozen=True, slots=True)
class Part:
    """A member whose facts count for another one since `merged_at`.

    `via_key` is the one that was merged directly: the same, or whom this one had been merged into before.
    """

    origin_key: int
    via_key: int
    merged_at: datetime
    joined_at: datetime


@dataclass(frozen=True, slots=True)
class Beginning:
    """When a member joined, who was merged into it since, and when it was merged into another itself."""

    member_key: int
    joined_at: datetime
    left_at: datetime | None = None
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True, slots=True)
class Merged:
    """A merge that stands: of whom, into whom, when, why, and what undoing it needs to know."""

    merge_key: int
    from_key: int
    into_key: int
    merged_at: datetime
    reason: str
    details: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Profile:
    """Everything a member's row holds, opened, for `GET /members/{member_id}`.

    `merged_ids` are the ids that stand for this member besides its own.
    """

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
    merged_ids: tuple[str, ...] = ()

    def contents(self) -> dict[str, Any]:
        """Return what the row says of the person, JSON-able, without when it was written."""
        consent = {
            purpose: {name: value for name, value in given.items() if name != "at"}
            for purpose, given in self.consent.items()
        }
        return {
            "joined_at": self.member.joined_at.isoformat(),
            "locale": self.member.locale,
            "store_id": self.store_id,
            "name": self.name,
            "email": self.email,
            "phone": self.phone,
            "birthday": None if self.birthday is None else self.birthday.isoformat(),
            "consent": consent or None,
            "attributes": dict(self.attributes) or None,
            "referred_by": self.referred_by,
            "acquisition": None if self.acquisition is None else dict(self.acquisition),
        }


@dataclass(frozen=True, slots=True)
class Consent:
    """What a member agreed to, and to which text."""

    granted: bool
    text_version: str | None
    at: datetime

    def to_json(self) -> dict[str, Any]:
        """Return the stored form."""
        return {"granted": self.granted, "text_version": self.text_version, "at": self.at.isoformat()}
