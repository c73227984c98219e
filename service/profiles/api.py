"""Routes of the profiles: a member for staff, and the card for a storefront."""

from __future__ import annotations

from typing import Any

from service.kit.audit import actor_of
from service.kit.auth import Role
from service.kit.http import STAFF, Blueprint, Door
from service.kit.pagination import decode_cursor
from service.kit.web import traceparent
from service.ledger.errors import AlreadyMerged, MergedPointsHeld, MergeIntoSelf
from service.members.errors import (
    MemberErased,
    MemberNotEnrolled,
    NotMerged,
    SurvivorMerged,
    UndoTooLate,
    UnknownMember,
)
from service.profiles import merging, operations
from service.profiles.merging import Asker
from service.profiles.schemas import (
    CardSchema,
    MembersQuery,
    MembersSchema,
    MergeBody,
    MergeSchema,
    ProfileSchema,
    UndoBody,
    UndoSchema,
)
from service.programme.operations import get_programme

blueprint = Blueprint("profiles", __name__, url_prefix="/v1", description="A member seen whole.")

# Whoever runs the shop's systems, or answers for its members.
_MERGERS: tuple[Role, ...] = ("server", "marketing", "operations", "admin")


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


@blueprint.door(
    "POST",
    "/members/<id:member_id>/merge",
    roles=_MERGERS,
    body=MergeBody(),
    answers={200: MergeSchema()},
    refusals=(
        UnknownMember,
        MemberNotEnrolled,
        MergeIntoSelf,
        MemberErased,
        AlreadyMerged,
        SurvivorMerged,
    ),
    idempotency_key="required",
    localised=True,
)
def merge_member(door: Door, member_id: str, body: dict[str, Any]) -> object:
    """Merge a member into another: from now on the facts of both count for that one.

    Points, holds and what is still to come go over to the last; the tier is rated on everything both ever
    bought, from now on. The merged id stays good: whatever is sent or asked under it is the survivor's.
    """
    return merging.merge_members(
        door.conn,
        member_id=member_id,
        into_id=body["into"],
        asker=_asker(door, body["reason"]),
        programme=get_programme(door.conn),
        locale=door.locale,
    )


@blueprint.door(
    "POST",
    "/members/<id:member_id>/merge/undo",
    roles=_MERGERS,
    body=UndoBody(),
    answers={200: UndoSchema()},
    refusals=(UnknownMember, NotMerged, UndoTooLate, SurvivorMerged, MergedPointsHeld),
    idempotency_key="required",
    localised=True,
)
def undo_merge(door: Door, member_id: str, body: dict[str, Any]) -> object:
    """Undo a member's merge, within thirty days: both stand for themselves again.

    What was sent under the merged id, before and since, counts for it alone; points go back in the lots that
    came with it or were earned on its orders, less what was spent of them.
    """
    return merging.undo_merge(
        door.conn,
        member_id=member_id,
        asker=_asker(door, body["reason"]),
        programme=get_programme(door.conn),
        locale=door.locale,
    )


def _asker(door: Door, reason: str) -> Asker:
    return Asker(actor_of(door.caller), reason, door.request_id, door.now)
