"""The route of quotes."""

from __future__ import annotations

from typing import Any

from service.intake.quotes.operations import quote_order
from service.intake.quotes.schemas import QuoteBody, QuoteSchema
from service.intake.reading import read_order
from service.kit.errors import CurrencyMismatch
from service.kit.http import Blueprint, Door
from service.ledger.errors import HoldEnded, HoldNotKnown
from service.members.errors import MemberNotEnrolled
from service.programme.operations import get_programme
from service.rewards.errors import (
    VOUCHER_FAULTS,
    VoucherNotKnown,
)

blueprint = Blueprint("quotes", __name__, url_prefix="/v1", description="What an order would earn, and why.")


@blueprint.door(
    "POST",
    "/points/quotes",
    roles=("server", "marketing", "operations", "admin", "storefront"),
    body=QuoteBody(),
    answers={200: QuoteSchema()},
    refusals=(
        MemberNotEnrolled,
        CurrencyMismatch,
        HoldNotKnown,
        HoldEnded,
        VoucherNotKnown,
        *VOUCHER_FAULTS,
    ),
    idempotency_key="optional",
    store_scope=True,
    localised=True,
)
def quote_points(door: Door, body: dict[str, Any]) -> object:
    """Tell what an order would earn if it were placed now, and why, line by line; nothing is written.

    The order then earns the same, unless something happens between: another order of the day uses up a
    limit, the tier changes, or other rules come into force. A storefront asks for its token's own member, or
    for nobody. Vouchers and points that are reserved or set aside are taken to be so for this order.
    """
    member_id = body.get("member_id")
    if member_id is not None:
        door.caller.check_member(member_id)
    programme = get_programme(door.conn)
    body["store_id"] = door.caller.choose_store(body.get("store_id"))
    body |= {"order_id": "quote", "placed_at": door.now}
    return quote_order(
        door.conn,
        member_id=member_id,
        order=read_order(body, currency=programme.currency),
        programme=programme,
        locale=door.locale,
        now=door.now,
    )
