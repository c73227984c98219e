"""Routes of explanations."""

from __future__ import annotations

from typing import Any

from service.kit.errors import FieldError, Forbidden
from service.kit.http import STAFF, Blueprint, Door
from service.members.errors import UnknownMember
from service.members.operations import get_member
from service.programme.operations import get_programme
from service.tiers.api import read_as_of
from service.tiers.errors import AsOfInFuture, NoActiveRuleset, NoMembership
from service.tiers.grounds.operations import explain_tier
from service.tiers.grounds.schemas import ExplanationQuery, TierExplanationSchema

blueprint = Blueprint("grounds", __name__, url_prefix="/v1", description="Why a member's tier is what it is.")


@blueprint.door(
    "GET",
    "/members/<id:member_id>/tier/explanation",
    roles=(*STAFF, "storefront"),
    query=ExplanationQuery(),
    answers={200: TierExplanationSchema()},
    refusals=(UnknownMember, NoMembership, AsOfInFuture, NoActiveRuleset),
    localised=True,
)
def explain_member_tier(door: Door, member_id: str, query: dict[str, Any]) -> object:
    """Explain a member's tier in the caller's language: why it is held, what counts, what leaves when.

    For `staff` also the rule set, the condition that holds, what brought the tier, holds, overrides with
    their reason, and what comes by itself if nothing more is bought. Nothing is written.
    """
    if query["audience"] == "staff" and door.caller.role not in STAFF:
        raise Forbidden("a storefront may ask for its member alone: audience=member")
    member = get_member(door.conn, member_id=member_id)
    return explain_tier(
        door.conn,
        member_key=member.member_key,
        audience=query["audience"],
        as_of=read_as_of(query.get("as_of"), FieldError("", parameter="as_of")),
        limit=query["limit"],
        now=door.now,
        programme=get_programme(door.conn),
        locale=door.locale,
    )
