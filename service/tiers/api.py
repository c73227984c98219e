"""Routes of the tiers."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, Literal

from service.kit.audit import actor_of
from service.kit.auth import Role
from service.kit.clock import local_day, parse_day, parse_time
from service.kit.errors import FieldError, Invalid
from service.kit.http import STAFF, Blueprint, Door
from service.kit.pagination import decode_cursor, encode_cursor
from service.members.errors import UnknownMember
from service.members.operations import get_member, keep_owners
from service.programme.operations import Programme, get_programme
from service.tiers import operations
from service.tiers.errors import (
    AsOfInFuture,
    NoActiveRuleset,
    NoMembership,
    NoOverride,
    OverrideInPast,
    UnknownTier,
)
from service.tiers.schemas import (
    ChangesQuery,
    OverrideBody,
    ReviewBody,
    ReviewSchema,
    StandingQuery,
    StandingSchema,
    TierChangesSchema,
)

blueprint = Blueprint("tiers", __name__, url_prefix="/v1", description="Tiers, their changes and reviews.")

_DECIDERS: tuple[Role, ...] = ("marketing", "admin")
REVIEWED_AT_ONCE = 2_000
"""Members one request reviews in its one transaction; `tidemark tiers review` goes through all of them."""


@blueprint.door(
    "GET",
    "/members/<id:member_id>/tier",
    roles=(*STAFF, "storefront"),
    query=StandingQuery(),
    answers={200: StandingSchema()},
    refusals=(UnknownMember, NoMembership, AsOfInFuture, NoActiveRuleset),
    localised=True,
)
def get_tier(door: Door, member_id: str, query: dict[str, Any]) -> object:
    """Tell where a member stands, why, what keeps the tier and what is missing for the next.

    Nothing is written: what is due for a review is caught up in the answer. `as_of` in the past replays
    the facts in effect by then, as they are known now.
    """
    member = get_member(door.conn, member_id=member_id)
    return operations.get_standing(
        door.conn,
        member_key=member.member_key,
        as_of=read_as_of(query.get("as_of"), FieldError("", parameter="as_of")),
        now=door.now,
        programme=get_programme(door.conn),
        locale=door.locale,
    )


@blueprint.door(
    "GET",
    "/members/<id:member_id>/tier/changes",
    roles=STAFF,
    query=ChangesQuery(),
    answers={200: TierChangesSchema()},
    refusals=(UnknownMember, NoActiveRuleset),
)
def list_tier_changes(door: Door, member_id: str, query: dict[str, Any]) -> object:
    """List a member's tier changes, the latest first: as they were believed, or as they should have been."""
    member = get_member(door.conn, member_id=member_id)
    return operations.list_changes(
        door.conn,
        member_key=member.member_key,
        basis=query["basis"],
        limit=query["limit"],
        cursor=query.get("cursor"),
        now=door.now,
        programme=get_programme(door.conn),
    )


@blueprint.door(
    "PUT",
    "/members/<id:member_id>/tier/override",
    roles=_DECIDERS,
    body=OverrideBody(),
    answers={200: StandingSchema()},
    refusals=(UnknownMember, NoMembership, UnknownTier, OverrideInPast, NoActiveRuleset),
)
def put_tier_override(door: Door, member_id: str, body: dict[str, Any]) -> object:
    """Hold a member at a tier until a day, whatever the rating says, with a reason.

    It starts now, in place of an override that holds, and points earn at that tier. The rating goes on
    underneath and stands at once when the override ends.
    """
    programme = get_programme(door.conn)
    keep_owners(door.conn)
    member = get_member(door.conn, member_id=member_id)
    operations.pin_tier(
        door.conn,
        member_key=member.member_key,
        tier=body["tier"],
        until=body["until"],
        reason=body["reason"],
        actor=actor_of(door.caller),
        request_id=door.request_id,
        now=door.now,
        programme=programme,
    )
    return _show(door, member.member_key, programme)


@blueprint.door(
    "DELETE",
    "/members/<id:member_id>/tier/override",
    roles=_DECIDERS,
    answers={200: StandingSchema()},
    refusals=(UnknownMember, NoMembership, NoOverride, NoActiveRuleset),
)
def delete_tier_override(door: Door, member_id: str) -> object:
    """End a member's override now: the rating underneath stands at once."""
    programme = get_programme(door.conn)
    keep_owners(door.conn)
    member = get_member(door.conn, member_id=member_id)
    operations.lift_pin(
        door.conn,
        member_key=member.member_key,
        actor=actor_of(door.caller),
        request_id=door.request_id,
        now=door.now,
        programme=programme,
    )
    return _show(door, member.member_key, programme)


def _show(door: Door, member_key: int, programme: Programme) -> object:
    return operations.get_standing(
        door.conn, member_key=member_key, as_of=None, now=door.now, programme=programme, locale=door.locale
    )


@blueprint.door(
    "POST",
    "/tier-reviews",
    roles=("operations", "admin"),
    body=ReviewBody(),
    answers={200: ReviewSchema()},
    refusals=(AsOfInFuture, NoActiveRuleset),
    idempotency_key="required",
)
def review_tiers(door: Door, body: dict[str, Any]) -> object:
    """Apply falls, risks and rises that time alone has brought about, for the next few thousand members.

    Go on with `next_cursor` until it is null. The worker does this by itself every hour.
    """
    programme = get_programme(door.conn)
    scope: Literal["due", "all"] = body["scope"]
    after = decode_cursor(body.get("cursor"), types=(int,))
    day = _review_day(body.get("as_of"), now=door.now, timezone=programme.timezone)
    chunk = operations.review_due(
        door.conn,
        now=door.now,
        programme=programme,
        limit=REVIEWED_AT_ONCE,
        everyone=scope == "all",
        after_member_key=0 if after is None else after[0],
        as_of=day,
    )
    more = chunk.reviewed == REVIEWED_AT_ONCE
    return {
        "as_of": day.isoformat(),
        "scope": scope,
        "reviewed": chunk.reviewed,
        "changed": chunk.changed,
        "healed": chunk.healed,
        "next_cursor": encode_cursor(chunk.last_member_key) if more else None,
    }


def _review_day(value: str | None, *, now: datetime, timezone: str) -> date:
    today = local_day(now, timezone=timezone)
    as_of = read_as_of(value, FieldError("", pointer="/as_of"))
    day = local_day(as_of, timezone=timezone) if isinstance(as_of, datetime) else as_of or today
    if day > today:
        raise AsOfInFuture
    return day


def read_as_of(value: str | None, place: FieldError) -> datetime | date | None:
    """Return a day or a moment from its text.

    Raises:
        Invalid: it is neither.
    """
    if value is None:
        return None
    try:
        return parse_time(value) if "T" in value.upper() else parse_day(value)
    except ValueError as error:
        detail = "a day such as 2026-11-21, or an RFC 3339 time with an offset"
        wrong = FieldError(detail, pointer=place.pointer, parameter=place.parameter)
        raise Invalid("as_of is neither a day nor a time", errors=[wrong]) from error
