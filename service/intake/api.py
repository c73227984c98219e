"""Routes of the stories: a member enrols, an order comes in, is cancelled, ships, or is refunded."""

from __future__ import annotations

from typing import Any

from service.activity import operations as activity
from service.activity.errors import (
    OrderConflict,
    OrderNotKnown,
    RefundAboveLeft,
    RefundBeforeOrder,
    RefundOfOtherMember,
    UnknownOrder,
)
from service.intake import operations
from service.intake.reading import read_order, read_refund
from service.intake.schemas import (
    CancelAnswerSchema,
    CancelBody,
    MemberAnswerSchema,
    MemberBody,
    OrderAnswerSchema,
    OrderBody,
    OrderViewSchema,
    RefundAnswerSchema,
    RefundBody,
    ShipmentAnswerSchema,
    ShipmentBody,
)
from service.kit.audit import actor_of
from service.kit.auth import Role
from service.kit.clock import format_time
from service.kit.errors import CurrencyMismatch, FutureTime
from service.kit.http import STAFF, Blueprint, Door
from service.ledger.errors import HoldEnded, HoldNotKnown
from service.members import operations as members
from service.members.errors import JoinedInFuture, MemberMerged, MemberNotEnrolled
from service.programme.operations import get_programme
from service.rewards.errors import (
    VOUCHER_FAULTS,
    VoucherNotKnown,
    VoucherReserved,
)

blueprint = Blueprint("intake", __name__, url_prefix="/v1", description="Orders and refunds come in.")

_WRITERS: tuple[Role, ...] = ("server", "operations", "admin")


def _check_order_scope(door: Door, order_id: str) -> None:
    """Refuse an order of a store that the key does not see as if there were none.

    Raises:
        UnknownOrder: there is none, or none within the key's scope.
    """
    if door.caller.store_ids is None:
        return
    if not door.caller.sees_store(activity.get_order(door.conn, order_id=order_id).store_id):
        raise UnknownOrder(f"no order has the id {order_id}")


@blueprint.door(
    "PUT",
    "/members/<id:member_id>",
    roles=_WRITERS,
    body=MemberBody(),
    answers={200: MemberAnswerSchema(), 201: MemberAnswerSchema()},
    refusals=(JoinedInFuture, MemberMerged),
    store_scope=True,
)
def enrol_member(door: Door, member_id: str, body: dict[str, Any]) -> object:
    """Enrol a member, or change the fields that are given.

    Absent fields keep what is stored, null empties them. Enrolling opens an account and starts the member
    in the base tier.
    """
    if body.get("store_id") is not None:
        door.caller.choose_store(body["store_id"])
    member, is_new = operations.enrol_member(
        door.conn,
        member_id=member_id,
        body=body,
        sealer=door.desk.sealer,
        programme=get_programme(door.conn),
        actor=actor_of(door.caller),
        request_id=door.request_id,
        now=door.now,
    )
    return {
        "member_id": member.member_id,
        "joined_at": format_time(member.joined_at),
        "locale": member.locale,
    }, 201 if is_new else 200


@blueprint.door(
    "POST",
    "/orders",
    roles=_WRITERS,
    body=OrderBody(),
    answers={201: OrderAnswerSchema(), 200: OrderViewSchema()},
    refusals=(
        MemberNotEnrolled,
        OrderConflict,
        FutureTime,
        CurrencyMismatch,
        HoldNotKnown,
        HoldEnded,
        VoucherNotKnown,
        VoucherReserved,
        *VOUCHER_FAULTS,
    ),
    idempotency_key="optional",
    store_scope=True,
    localised=True,
)
def place_order(door: Door, body: dict[str, Any]) -> object:
    """Take in a paid order: what it earned, and what it did to the member's tier.

    An order is known by its `order_id`: the same content again is answered 200 and changes nothing,
    other content is a conflict. A `voucher_code` pays for it, as its reservation said; what it leaves the
    points of a `points_hold_id` pay: as few as cover it are spent in the same transaction, and the rest is
    free at once. What either paid neither earns nor counts as net spend.
    """
    programme = get_programme(door.conn)
    body["store_id"] = door.caller.choose_store(body.get("store_id"))
    answer, is_new = operations.place_order(
        door.conn,
        member_id=body["member_id"],
        order=read_order(body, currency=programme.currency),
        programme=programme,
        locale=door.locale,
        now=door.now,
    )
    return answer, 201 if is_new else 200


@blueprint.door(
    "GET",
    "/orders/<id:order_id>",
    roles=STAFF,
    answers={200: OrderViewSchema()},
    refusals=(UnknownOrder,),
    store_scope=True,
    localised=True,
)
def get_order(door: Door, order_id: str) -> object:
    """Return an order as recorded, with its points, refunds, shipments and what it did."""
    _check_order_scope(door, order_id)
    programme = get_programme(door.conn)
    return operations.get_order(
        door.conn, order_id=order_id, programme=programme, locale=door.locale, now=door.now
    )


@blueprint.door(
    "POST",
    "/orders/<id:order_id>/cancel",
    roles=_WRITERS,
    body=CancelBody(),
    answers={200: CancelAnswerSchema()},
    refusals=(UnknownOrder, OrderConflict, RefundBeforeOrder, FutureTime),
    idempotency_key="optional",
    store_scope=True,
    localised=True,
)
def cancel_order(door: Door, order_id: str, body: dict[str, Any]) -> object:
    """Call an order off: from then on nothing of it counts."""
    _check_order_scope(door, order_id)
    return operations.cancel_order(
        door.conn,
        order_id=order_id,
        cancelled_at=body["cancelled_at"],
        reason=body["reason"],
        programme=get_programme(door.conn),
        locale=door.locale,
        now=door.now,
    )


@blueprint.door(
    "POST",
    "/orders/<id:order_id>/shipments",
    roles=_WRITERS,
    body=ShipmentBody(),
    answers={201: ShipmentAnswerSchema(), 200: ShipmentAnswerSchema()},
    refusals=(UnknownOrder, OrderConflict, FutureTime),
    idempotency_key="optional",
    store_scope=True,
)
def record_shipment(door: Door, order_id: str, body: dict[str, Any]) -> object:
    """Record one status of one of the order's shipments."""
    _check_order_scope(door, order_id)
    is_new = activity.record_shipment(
        door.conn,
        order_id=order_id,
        shipment_id=body["shipment_id"],
        status=body["status"],
        occurred_at=body["occurred_at"],
        promised_at=body.get("promised_at"),
        now=door.now,
    )
    promised_at = body.get("promised_at")
    return {
        "order_id": order_id,
        "shipment_id": body["shipment_id"],
        "status": body["status"],
        "occurred_at": format_time(body["occurred_at"]),
        "promised_at": None if promised_at is None else format_time(promised_at),
    }, 201 if is_new else 200


@blueprint.door(
    "POST",
    "/refunds",
    roles=_WRITERS,
    body=RefundBody(),
    answers={201: RefundAnswerSchema(), 200: RefundAnswerSchema()},
    refusals=(
        MemberNotEnrolled,
        OrderNotKnown,
        OrderConflict,
        RefundAboveLeft,
        RefundOfOtherMember,
        RefundBeforeOrder,
        FutureTime,
        CurrencyMismatch,
    ),
    idempotency_key="optional",
    store_scope=True,
    localised=True,
)
def record_refund(door: Door, body: dict[str, Any]) -> object:
    """Take in a refund: the points it took back, and what it did to the member's tier.

    With an `order_id` it lowers its order; without one it is dated its own day and takes points back from
    the member's newest orders of the same skus.
    """
    programme = get_programme(door.conn)
    member_id, order_currency = body.get("member_id"), programme.currency
    if body.get("order_id") is not None:
        order = activity.find_order(door.conn, order_id=body["order_id"])
        if order is None or not door.caller.sees_store(order.store_id):
            raise OrderNotKnown(f"no order has the id {body['order_id']}")
        order_currency = order.currency
        # The same whoever the order counts for by now, so that a repetition is known as one.
        sent_for = order.origin_key or order.member_key
        member_id = member_id or members.find_ids(door.conn, member_keys=[sent_for])[sent_for]
    if body.get("order_id") is None or body.get("store_id") is not None:
        # A linked refund belongs to the store of its order, unless it names its own.
        body["store_id"] = door.caller.choose_store(body.get("store_id"))
    answer, is_new = operations.take_refund(
        door.conn,
        member_id=str(member_id),
        refund=read_refund(body, order_currency=order_currency),
        programme=programme,
        locale=door.locale,
        now=door.now,
    )
    return answer, 201 if is_new else 200
