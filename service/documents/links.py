"""What a caller may do next with an answer (OpenAPI link objects)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Link:
    """An operation, and where in this exchange its parameters stand (OpenAPI runtime expressions)."""

    operation: str
    description: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None


def _of_member(member_id: str, *operations: str) -> tuple[Link, ...]:
    return tuple(Link(name, _OF_A_MEMBER[name], {"member_id": member_id}) for name in operations)


_OF_A_MEMBER = {
    "getMember": "The member, for staff.",
    "getCard": "What a storefront shows of the member.",
    "getTier": "Where the member stands, and why.",
    "listTierChanges": "How the member moved.",
    "getPoints": "What the member holds.",
    "listTransactions": "The member's ledger.",
    "adjustPoints": "Give or take points by hand.",
    "getRecommendations": "What to show the member.",
    "listMemberRewards": "What the member can have, in order.",
    "listAssignments": "The experiments the member is in.",
}
_SENT_ORDER = {"order_id": "$request.body#/order_id"}
_THIS_ORDER = {"order_id": "$request.path.order_id"}
_THIS_ITEM = {"sku": "$request.path.sku"}
_GET_ORDER = "The order as recorded, with what it did."
_CANCEL = "Call the order off."
_SHIP = "Record a status of a shipment."
_RELATED = "What goes with the item."
_RECOMMENDED = {"recommendation_id": "$response.body#/recommendation_id"}
_DECISION = Link("getDecision", "What decided this answer.", _RECOMMENDED)
_SEEN = {
    "events": [
        {
            "event_id": "viewed-{$response.body#/recommendation_id}",
            "type": "viewed",
            "occurred_at": "$response.body#/measurement/issued_at",
            "member_id": "$request.path.member_id",
            "recommendation_id": "$response.body#/recommendation_id",
        }
    ]
}
_DRAFT = "The rule set, with what is wrong with it."
_DIFF = "What it changes."
_SIMULATE = "Try it on everybody."
_IMPORT = {"import_id": "$response.body#/import_id"}
_NEW_MEMBER = _of_member(
    "$request.path.member_id",
    "getMember", "getCard", "getTier", "getPoints", "getRecommendations", "listAssignments",
)  # fmt: skip
_BUYER = _of_member("$request.body#/member_id", "getCard", "getTier", "getPoints", "listTransactions")

LINKS: dict[str, tuple[Link, ...]] = {
    "enrolMember": _NEW_MEMBER,
    "getMember": _of_member("$request.path.member_id", "getCard", "getTier", "listTierChanges", "getPoints"),
    "listMembers": _of_member("$response.body#/data/0/member_id", "getMember"),
    "getCard": _of_member(
        "$request.path.member_id", "getTier", "getPoints", "getRecommendations", "listMemberRewards"
    ),
    "getTier": _of_member("$request.path.member_id", "listTierChanges"),
    "getPoints": _of_member("$request.path.member_id", "listTransactions", "adjustPoints"),
    "adjustPoints": _of_member("$request.path.member_id", "getPoints", "listTransactions"),
    "putItem": (
        Link("getItem", "The item as it stands.", _THIS_ITEM),
        Link("getRelated", _RELATED, _THIS_ITEM),
    ),
    "getItem": (Link("getRelated", _RELATED, _THIS_ITEM),),
    "placeOrder": (
        Link("getOrder", _GET_ORDER, _SENT_ORDER),
        Link("cancelOrder", _CANCEL, _SENT_ORDER),
        Link("recordShipment", _SHIP, _SENT_ORDER),
        Link("recordRefund", "Take in a refund of the order.", body=_SENT_ORDER),
        *_BUYER,
    ),
    "getOrder": (
        Link("cancelOrder", _CANCEL, _THIS_ORDER),
        Link("recordShipment", _SHIP, _THIS_ORDER),
    ),
    "cancelOrder": (Link("getOrder", _GET_ORDER, _THIS_ORDER),),
    "recordShipment": (Link("getOrder", _GET_ORDER, _THIS_ORDER),),
    "recordRefund": (Link("getOrder", _GET_ORDER, _SENT_ORDER),),
    "getRecommendations": (_DECISION, Link("recordEvents", "Tell that it was seen.", body=_SEEN)),
    "getRelated": (_DECISION,),
    "listMemberRewards": (_DECISION, Link("recordEvents", "Tell that it was seen.", body=_SEEN)),
    "draftRuleset": (
        Link("getRuleset", _DRAFT, {"version": "$response.body#/version"}),
        Link("diffRuleset", _DIFF, {"version": "$response.body#/version"}),
        Link("simulateRuleset", _SIMULATE, {"version": "$response.body#/version"}),
    ),
    "getRuleset": (
        Link("diffRuleset", _DIFF, {"version": "$request.path.version"}),
        Link("simulateRuleset", _SIMULATE, {"version": "$request.path.version"}),
        Link("publishRuleset", "Put it in force.", {"version": "$request.path.version"}),
    ),
    "simulateRuleset": (
        Link(
            "getRulesetSimulation",
            "How far it is, and its result.",
            {"version": "$request.path.version", "simulation_id": "$response.body#/simulation_id"},
        ),
        Link(
            "cancelRulesetSimulation",
            "Call it off.",
            {"version": "$request.path.version", "simulation_id": "$response.body#/simulation_id"},
        ),
    ),
    "askTierReport": (
        Link("getTierReport", "The answer, once it is made.", {"report_id": "$response.body#/report_id"}),
    ),
    "startImport": (
        Link("getImport", "How far it is.", _IMPORT),
        Link("listImportRejects", "What it refused.", _IMPORT),
        Link("cancelImport", "Call it off.", _IMPORT),
    ),
    "listModels": (
        Link("getModel", "A model and its figures.", {"version": "$response.body#/data/0/version"}),
    ),
    "getModel": (Link("promoteModel", "Put the model in force.", {"version": "$request.path.version"}),),
}
"""Operation → links of its successful answers."""
