"""Routes of the profiles: a member for staff, and the card for a storefront."""

from __future__ import annotations

from typing import Any

from service.kit.http import STAFF, Blueprint, Door
from service.kit.pagination import decode_cursor
from service.kit.web import traceparent
from service.members.errors import UnknownMember
from service.profiles import operations
from service.profiles.schemas import CardSchema, MembersQuery, MembersSchema, ProfileSchema
from service.programme.operations import get_programme

blueprint = Blueprint("profiles", __name__, url_prefix="/v1", description="A member seen whole.")


@blueprint.door(
    "GET",
    "/members/<id:member_id>",
    roles=STAFF,
    answers={200: ProfileSchema()},
    refusals=(UnknownMember,),
    localised=True,
)
def get_member(door: Door, member_id: str) -> object:
    """Return everything held about a member, with a summary of tier and points."""
    return operations.get_profile(
        door.conn,
        member_id=member_id,
        sealer=door.desk.sealer,
        programme=get_programme(door.conn),
        locale=door.locale,
        now=door.now,
    )


@blueprint.door("GET", "/members", roles=STAFF, query=MembersQuery(), answers={200: MembersSchema()})
def list_members(door: Door, query: dict[str, Any]) -> object:
    """List members by id, or find them by their exact e-mail address."""
    key = decode_cursor(query.get("cursor"), types=(str,))
    return operations.list_members(
        door.conn,
        after=key[0] if key else "",
        limit=query["limit"],
        email=query.get("email"),
        sealer=door.desk.sealer,
    )


@blueprint.door(
    "GET",
    "/members/<id:member_id>/card",
    roles=(*STAFF, "storefront"),
    answers={200: CardSchema()},
    refusals=(UnknownMember,),
    localised=True,
)
def get_card(door: Door, member_id: str) -> object:
    """Return what a storefront shows of a member in one call, in the caller's language.

    Tier with its benefits, progress to stay and to rise, points with the next expiries, and the
    measurement block, since it too can influence a purchase.
    """
    return operations.get_card(
        door.conn,
        member_id=member_id,
        serving=door.desk.tools["serving"],
        programme=get_programme(door.conn),
        channel="web",
        locale=door.locale,
        traceparent=traceparent(),
        now=door.now,
    )
