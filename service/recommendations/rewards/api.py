"""Routes of a member's rewards in order."""

from __future__ import annotations

from typing import Any

from service.kit.errors import FieldError, Malformed
from service.kit.http import STAFF, Blueprint, Door
from service.kit.pagination import decode_cursor
from service.kit.web import traceparent
from service.members.errors import UnknownMember
from service.members.operations import find_ids
from service.programme.operations import get_programme
from service.recommendations.crediting import trace_redemption
from service.recommendations.rewards import operations
from service.recommendations.rewards.operations import Asked
from service.recommendations.rewards.schemas import MemberRewardsQuery, MemberRewardsSchema
from service.recommendations.schemas_attribution import RedemptionAttributionSchema
from service.rewards import operations as rewards
from service.rewards.errors import UnknownRedemption

blueprint = Blueprint("ranked_rewards", __name__, url_prefix="/v1", description="Rewards in order.")


@blueprint.door(
    "GET",
    "/members/<id:member_id>/rewards",
    roles=(*STAFF, "storefront"),
    query=MemberRewardsQuery(),
    answers={200: MemberRewardsSchema()},
    refusals=(UnknownMember,),
    localised=True,
)
def list_member_rewards(door: Door, member_id: str, query: dict[str, Any]) -> object:
    """List the rewards that are offered now or soon, those that suit the member best first.

    `data` says what each is and why the member cannot have it, where that is so; `items` why it stands where
    it does. The first answer enrols the member, and each page is an answer of its own; the answer has the
    same shape for everybody and in every failure, `measurement` says what happened.
    """
    asked = Asked(
        member_id=member_id,
        placement=query["placement"],
        channel=query["channel"],
        limit=query["limit"],
        after=_read_cursor(query.get("cursor")),
        locale=door.locale,
        traceparent=traceparent(),
    )
    return operations.rank_rewards(
        door.conn,
        serving=door.desk.tools["serving"],
        programme=get_programme(door.conn),
        asked=asked,
        now=door.now,
    )


@blueprint.door(
    "GET",
    "/redemptions/<id:redemption_id>/attribution",
    roles=STAFF,
    answers={200: RedemptionAttributionSchema()},
    refusals=(UnknownRedemption,),
)
def get_redemption_attribution(door: Door, redemption_id: str) -> object:
    """Return the answers a redemption names, each with the rule set, the policy and the arm behind it.

    A forged, foreign or expired token, and an answer nobody gave, are told as unattributable.
    """
    taken = rewards.get_redemption(door.conn, redemption_id=redemption_id, now=door.now)
    member_id = find_ids(door.conn, member_keys=[taken.member_key])[taken.member_key]
    keys = door.desk.tools["serving"].keys
    return trace_redemption(door.conn, keys=keys, taken=taken, member_id=member_id)


def _read_cursor(cursor: str | None) -> tuple[int, tuple[int, int, str]] | None:
    key = decode_cursor(cursor, types=(int, int, int, str))
    if key is None:
        return None
    offset, group, place, code = key
    if not 0 < offset < 2**31:
        raise Malformed(errors=[FieldError("not a cursor of this list", parameter="cursor")])
    return offset, (group, place, code)
