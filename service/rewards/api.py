"""Routes of the rewards: what is offered, what a member can have, and what was taken."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from service.activity.rules import NewLine
from service.kit.audit import actor_of
from service.kit.auth import Role
from service.kit.errors import FieldError, Invalid, Malformed
from service.kit.http import STAFF, Blueprint, Door
from service.kit.money import to_minor, to_text
from service.kit.pagination import decode_cursor, encode_cursor, page
from service.kit.uploads import Upload
from service.ledger.errors import InsufficientPoints
from service.members.errors import MemberNotEnrolled, UnknownMember
from service.members.operations import find_ids, find_member, get_member, keep_owners
from service.programme.operations import get_programme
from service.rewards import operations
from service.rewards.errors import (
    VOUCHER_FAULTS,
    BalanceTooLow,
    CodePoolNotKnown,
    CodesUsedUp,
    RedemptionEnded,
    RewardKindFixed,
    RewardLimitReached,
    RewardNotForTier,
    RewardNotKnown,
    RewardNotOffered,
    RewardOutOfStock,
    StockBelowTaken,
    UnknownCodePool,
    UnknownRedemption,
    UnknownReward,
    UnknownVoucher,
    VoucherMistyped,
    VoucherNotReserved,
    VoucherReserved,
)
from service.rewards.operations import Claim, Redemption
from service.rewards.rules import Cart
from service.rewards.schemas import (
    CodeImportSchema,
    CodePoolSchema,
    RedemptionBody,
    RedemptionCancelBody,
    RedemptionSchema,
    RedemptionsSchema,
    RewardBody,
    RewardSchema,
    RewardsQuery,
    RewardsSchema,
    VoucherReleaseBody,
    VoucherReserveBody,
    VoucherSchema,
    VoucherUseBody,
)
from service.tiers.errors import UnknownTier

blueprint = Blueprint("rewards", __name__, url_prefix="/v1", description="Rewards and what was taken.")

_AUTHORS: tuple[Role, ...] = ("marketing", "operations", "admin")
_CASHIERS: tuple[Role, ...] = ("server", "operations", "admin")
_VOUCHER_REFUSALS = (UnknownVoucher, MemberNotEnrolled, *VOUCHER_FAULTS)


@blueprint.door(
    "GET",
    "/rewards/<id:code>",
    roles=STAFF,
    answers={200: RewardSchema()},
    refusals=(UnknownReward,),
    tagged=RewardBody(),
)
def get_reward(door: Door, code: str) -> object:
    """Return a reward, with what is left of it."""
    return operations.get_reward(door.conn, code=code, programme=get_programme(door.conn))


@blueprint.door(
    "PUT",
    "/rewards/<id:code>",
    roles=_AUTHORS,
    body=RewardBody(),
    answers={200: RewardSchema(), 201: RewardSchema()},
    refusals=(CodePoolNotKnown, StockBelowTaken, RewardKindFixed, UnknownTier),
    tagged_by=get_reward,
)
def put_reward(door: Door, code: str, body: dict[str, Any]) -> object:
    """Offer a reward, or replace it whole.

    Whoever took it before keeps what they took: a change is for those who take it from now on.
    """
    reward, is_new = operations.put_reward(
        door.conn,
        code=code,
        body=body,
        programme=get_programme(door.conn),
        actor=actor_of(door.caller),
        request_id=door.request_id,
        now=door.now,
    )
    return reward, 201 if is_new else 200


@blueprint.door("GET", "/rewards", roles=STAFF, query=RewardsQuery(), answers={200: RewardsSchema()})
def list_rewards(door: Door, query: dict[str, Any]) -> object:
    """List rewards by code, with what is left of each and whether it has value for anybody."""
    key = decode_cursor(query.get("cursor"), types=(str,))
    return operations.list_rewards(
        door.conn,
        after=key[0] if key else "",
        limit=query["limit"],
        programme=get_programme(door.conn),
    )


@blueprint.door(
    "POST",
    "/members/<id:member_id>/redemptions",
    roles=_CASHIERS,
    body=RedemptionBody(),
    answers={201: RedemptionSchema()},
    refusals=(
        UnknownMember,
        RewardNotKnown,
        RewardNotOffered,
        RewardOutOfStock,
        RewardLimitReached,
        RewardNotForTier,
        InsufficientPoints,
        CodesUsedUp,
    ),
    idempotency_key="required",
    localised=True,
)
def redeem_reward(door: Door, member_id: str, body: dict[str, Any]) -> object:
    """Take a reward for a member: its points are paid, from what expires soonest, and a voucher is given."""
    member = get_member(door.conn, member_id=member_id)
    taken = operations.redeem(
        door.conn,
        member_key=member.own_key,
        reward=body["reward"],
        programme=get_programme(door.conn),
        now=door.now,
        claim=Claim(tuple(body["recommendation_ids"] or ()), body["attribution_token"]),
    )
    return _show(door, taken, locale=door.locale), 201


@blueprint.door(
    "GET",
    "/members/<id:member_id>/redemptions",
    roles=STAFF,
    query=RewardsQuery(),
    answers={200: RedemptionsSchema()},
    refusals=(UnknownMember,),
    localised=True,
)
def list_redemptions(door: Door, member_id: str, query: dict[str, Any]) -> object:
    """List what a member has taken, the newest first."""
    member = get_member(door.conn, member_id=member_id)
    found = operations.list_redemptions(
        door.conn,
        member_key=member.member_key,
        before=_read_cursor(query.get("cursor")),
        limit=query["limit"] + 1,
        now=door.now,
    )
    rows = [_show(door, taken, locale=door.locale) for taken in found]
    return page(rows, limit=query["limit"], cursors=[encode_cursor(taken.key.hex) for taken in found])


@blueprint.door(
    "GET",
    "/redemptions/<id:redemption_id>",
    roles=STAFF,
    answers={200: RedemptionSchema()},
    refusals=(UnknownRedemption,),
    localised=True,
)
def get_redemption(door: Door, redemption_id: str) -> object:
    """Return a redemption; one that is past its time has expired at once."""
    taken = operations.get_redemption(door.conn, redemption_id=redemption_id, now=door.now)
    return _show(door, taken, locale=door.locale)


@blueprint.door(
    "POST",
    "/redemptions/<id:redemption_id>/use",
    roles=_CASHIERS,
    answers={200: RedemptionSchema()},
    refusals=(UnknownRedemption, RedemptionEnded, VoucherReserved),
    idempotency_key="optional",
    localised=True,
)
def use_redemption(door: Door, redemption_id: str) -> object:
    """Say that what was taken was handed over; the same again changes nothing."""
    taken = operations.use_redemption(door.conn, redemption_id=redemption_id, now=door.now)
    return _show(door, taken, locale=door.locale)


@blueprint.door(
    "POST",
    "/redemptions/<id:redemption_id>/cancel",
    roles=STAFF,
    body=RedemptionCancelBody(),
    answers={200: RedemptionSchema()},
    refusals=(UnknownRedemption, RedemptionEnded, VoucherReserved),
    idempotency_key="optional",
    localised=True,
)
def cancel_redemption(door: Door, redemption_id: str, body: dict[str, Any]) -> object:
    """Call a redemption off, with a reason: its points go back to their lots, and it back to the shelf.

    Points whose lot has expired meanwhile can be used for 30 days more. The same again changes nothing.
    """
    taken = operations.cancel_redemption(
        door.conn,
        redemption_id=redemption_id,
        reason=body["reason"],
        actor=actor_of(door.caller),
        request_id=door.request_id,
        programme=get_programme(door.conn),
        now=door.now,
    )
    return _show(door, taken, locale=door.locale)


@blueprint.door(
    "POST",
    "/code-pools/<id:pool>/codes",
    roles=_AUTHORS,
    upload=("text/csv",),
    answers={200: CodeImportSchema()},
    idempotency_key="optional",
)
def import_codes(door: Door, pool: str, upload: Upload) -> object:
    """Bring codes that somebody else made into a pool, one a line; the pool is opened by its first file.

    Lines that cannot be taken are told by their numbers and everything else goes in. The same file again
    changes nothing.
    """
    upload.file.seek(0)
    loaded = operations.import_codes(door.conn, pool=pool, file=upload.file, now=door.now)
    return {
        "pool": loaded.pool,
        "lines": loaded.lines,
        "added": loaded.added,
        "known": loaded.known,
        "rejected": loaded.rejected,
        "rejects": [{"line": line_no, "code": fault} for line_no, fault in loaded.rejects],
    }


@blueprint.door(
    "GET",
    "/code-pools/<id:pool>",
    roles=STAFF,
    answers={200: CodePoolSchema()},
    refusals=(UnknownCodePool,),
)
def get_code_pool(door: Door, pool: str) -> object:
    """Tell how many codes a pool has had, and how many are left."""
    return operations.show_pool(door.conn, pool=pool)


def _read_cursor(cursor: str | None) -> str | None:
    key = decode_cursor(cursor, types=(str,))
    if key is None:
        return None
    try:
        return UUID(hex=key[0]).hex
    except ValueError as error:
        raise Malformed(errors=[FieldError("not a cursor of this list", parameter="cursor")]) from error


def _show(door: Door, taken: Redemption, *, locale: str) -> dict[str, Any]:
    member_id = find_ids(door.conn, member_keys=[taken.member_key])[taken.member_key]
    return operations.show_redemption(
        taken, member_id=member_id, programme=get_programme(door.conn), locale=locale
    )


@blueprint.door(
    "GET",
    "/vouchers/<id:code>",
    roles=STAFF,
    answers={200: VoucherSchema()},
    refusals=(UnknownVoucher, VoucherMistyped),
    localised=True,
)
def get_voucher(door: Door, code: str) -> object:
    """Return a voucher as it stands; a mistyped code is refused without being looked up."""
    taken = operations.get_voucher(door.conn, code=code, now=door.now)
    return _show_voucher(door, taken, None, locale=door.locale)


@blueprint.door(
    "POST",
    "/vouchers/<id:code>/reserve",
    roles=_CASHIERS,
    body=VoucherReserveBody(),
    answers={200: VoucherSchema()},
    refusals=(*_VOUCHER_REFUSALS, VoucherReserved),
    idempotency_key="optional",
    localised=True,
)
def reserve_voucher(door: Door, code: str, body: dict[str, Any]) -> object:
    """Keep a voucher for an order while its checkout runs.

    It is free again when `ttl_seconds` have passed, at once and of itself: an abandoned cart costs nothing.
    Name it in the order (`voucher_code`), or use it. With `lines` the answer says what it pays of them, and
    it is refused where it cannot be used for them. The same order again begins the time anew.
    """
    taken, payment = operations.reserve_voucher(
        door.conn,
        code=code,
        order_id=body["order_id"],
        member_key=_find_member_key(door, body),
        cart=_read_cart(door, body),
        ttl=timedelta(seconds=body["ttl_seconds"]),
        now=door.now,
    )
    return _show_voucher(door, taken, None if payment is None else payment.paid_minor, locale=door.locale)


@blueprint.door(
    "POST",
    "/vouchers/<id:code>/release",
    roles=_CASHIERS,
    body=VoucherReleaseBody(),
    answers={200: VoucherSchema()},
    refusals=(UnknownVoucher, VoucherMistyped, VoucherNotReserved),
    idempotency_key="optional",
    localised=True,
)
def release_voucher(door: Door, code: str, body: dict[str, Any]) -> object:
    """Free a voucher that is kept for an order; the same again changes nothing."""
    taken = operations.release_voucher(door.conn, code=code, order_id=body["order_id"], now=door.now)
    return _show_voucher(door, taken, None, locale=door.locale)


@blueprint.door(
    "POST",
    "/vouchers/<id:code>/use",
    roles=_CASHIERS,
    body=VoucherUseBody(),
    answers={200: VoucherSchema()},
    refusals=(*_VOUCHER_REFUSALS, VoucherReserved, BalanceTooLow),
    idempotency_key="optional",
    localised=True,
)
def use_voucher(door: Door, code: str, body: dict[str, Any]) -> object:
    """Use a voucher for an order that is not sent in, or later; the same again changes nothing.

    An order that names the voucher (`voucher_code`) uses it itself.
    """
    programme = get_programme(door.conn)
    amount = body.get("amount")
    taken, paid = operations.use_voucher(
        door.conn,
        code=code,
        order_id=body["order_id"],
        member_key=_find_member_key(door, body),
        cart=_read_cart(door, body),
        amount_minor=None if amount is None else _to_minor(amount, programme.currency, "/amount"),
        now=door.now,
    )
    return _show_voucher(door, taken, paid, locale=door.locale)


def _find_member_key(door: Door, body: dict[str, Any]) -> int | None:
    member_id = body.get("member_id")
    if member_id is None:
        return None
    # A voucher and the member that names it stay with each other until the answer.
    keep_owners(door.conn)
    member = find_member(door.conn, member_id=member_id)
    if member is None:
        place = FieldError("not enrolled", pointer="/member_id")
        raise MemberNotEnrolled(f"no member has the id {member_id}", errors=[place])
    return member.member_key


def _read_cart(door: Door, body: dict[str, Any]) -> Cart | None:
    if body.get("lines") is None:
        return None
    currency = get_programme(door.conn).currency
    return operations.read_cart(
        door.conn,
        lines=[
            NewLine(
                line["sku"],
                line["quantity"],
                _to_minor(line["amount"], currency, f"/lines/{number}/amount"),
                line.get("category"),
            )
            for number, line in enumerate(body["lines"])
        ],
        discount_minor=_to_minor(body.get("discount"), currency, "/discount"),
        tax_minor=_to_minor(body.get("tax"), currency, "/tax"),
        shipping_minor=_to_minor(body.get("shipping"), currency, "/shipping"),
    )


def _to_minor(amount: Decimal | None, currency: str, pointer: str) -> int:
    try:
        return 0 if amount is None else to_minor(amount, currency=currency)
    except ValueError as error:
        place = FieldError(str(error), pointer=pointer)
        raise Invalid("an amount is not acceptable", errors=[place]) from error


def _show_voucher(door: Door, taken: Redemption, paid_minor: int | None, *, locale: str) -> dict[str, Any]:
    programme = get_programme(door.conn)
    shown = operations.show_redemption(taken, member_id="", programme=programme, locale=locale)
    names = (
        "voucher_code",
        "redemption_id",
        "reward",
        "name",
        "kind",
        "state",
        "value",
        "percent_bp",
        "balance",
        "order_id",
        "reserved_until",
        "expires_at",
    )
    terms = taken.terms
    everything = terms.categories is None and terms.skus is None
    return {name: shown[name] for name in names} | {
        "transferable": terms.transferable,
        "minimum_spend": to_text(terms.minimum_spend_minor, currency=programme.currency),
        "applies_to": None
        if everything
        else {
            "categories": None if terms.categories is None else list(terms.categories),
            "skus": None if terms.skus is None else list(terms.skus),
        },
        "combinable": terms.combinable,
        "pays": None if paid_minor is None else to_text(paid_minor, currency=programme.currency),
    }
