"""Taking a reward: points are paid, one is taken from the shelf, a voucher is given; and calling it off.

Locks are taken in one order: accounts by ascending key, a redemption, a code of a pool, a shelf. The shelf
comes last, so that whoever takes a popular reward holds it for as short as can be.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row

from service.kit import audit, outbox
from service.kit.clock import format_time, local_day, local_midnight
from service.kit.db import dumps
from service.kit.errors import FieldError, Problem
from service.kit.ids import new_id, parse_id
from service.kit.money import to_text
from service.kit.outbox import Event
from service.ledger import operations as ledger
from service.ledger.errors import InsufficientPoints
from service.programme.operations import Programme
from service.rewards import store, store_pools, store_redemptions
from service.rewards.codes import RANDOM_BITS, make_code
from service.rewards.errors import (
    CodesUsedUp,
    RedemptionEnded,
    RewardLimitReached,
    RewardNotForTier,
    RewardNotKnown,
    RewardNotOffered,
    RewardOutOfStock,
    UnknownRedemption,
    VoucherReserved,
)
from service.rewards.rows import named, offer_of, terms_of
from service.rewards.rules import (
    CHECKOUT_KINDS,
    Offer,
    Reason,
    State,
    Taker,
    Terms,
    effective_state,
    reasons_against,
    terms_from_json,
    terms_to_json,
)
from service.tiers import operations as tiers

PREFIX = "red"

_REFUSALS: dict[Reason, type[Problem]] = {
    "not_yet": RewardNotOffered,
    "over": RewardNotOffered,
    "out_of_stock": RewardOutOfStock,
    "limit_reached": RewardLimitReached,
    "tier": RewardNotForTier,
    "points": InsufficientPoints,
}


@dataclass(frozen=True, slots=True)
class Claim:
    """Answers that are said to have led to a redemption, by their ids or a token; judged when asked for."""

    recommendation_ids: tuple[str, ...] = ()
    attribution_token: str | None = None


NO_CLAIM = Claim()


@dataclass(frozen=True, slots=True)
class Redemption:
    """One taking of a reward, as it effectively stands; amounts are programme minor units."""

    key: UUID
    reward: str
    reward_key: int
    shelf_no: int
    names: dict[str, str]
    member_key: int
    points: int
    terms: Terms
    voucher_code: str | None
    state: State
    stored_state: State
    issued_at: datetime
    expires_at: datetime | None
    reserved_for: str | None
    reserved_until: datetime | None
    balance_minor: int | None
    ended_at: datetime | None
    claim: Claim = NO_CLAIM

    @property
    def redemption_id(self) -> str:
        """Return the id as others know it."""
        return f"{PREFIX}_{self.key.hex}"

    @property
    def is_partly_used(self) -> bool:
        """Tell whether something of a gift certificate has been paid with."""
        return self.balance_minor is not None and self.balance_minor != self.terms.value_minor


def redeem(
    conn: Connection,
    *,
    member_key: int,
    reward: str,
    programme: Programme,
    now: datetime,
    claim: Claim = NO_CLAIM,
) -> Redemption:
    """Take a reward for a member: points are paid, one leaves the shelf, and a voucher is given.

    The reward of a member that was merged is the survivor's, and remembers for whom it was taken.

    Raises:
        RewardNotKnown: there is none. RewardNotOffered, RewardOutOfStock, RewardLimitReached,
        RewardNotForTier, InsufficientPoints, CodesUsedUp: it cannot be had.
    """
    account = ledger.lock_account(conn, member_key=member_key, now=now)
    row = store.find_for(conn, code=reward, member_key=account.member_key)
    if row is None:
        place = FieldError("not offered", pointer="/reward")
        raise RewardNotKnown(f"no reward has the code {reward}", errors=[place])
    _refuse(conn, offer_of(row), account, int(row.taken_by_member), now)
    redemption_id = new_id(PREFIX, now)
    key, _ = parse_id(PREFIX, redemption_id)
    transaction_key = None
    if row.points:
        transaction_key = ledger.redeem_points(
            conn,
            account=account,
            points=row.points,
            spend_id=key,
            expiry=ledger.expiry_of(
                local_day(now, timezone=programme.timezone),
                expiry=programme.settings.points_expiry,
                timezone=programme.timezone,
            ),
            now=now,
        )
    terms = terms_of(row)
    values: dict[str, object] = {
        "redemption_id": key,
        "reward_key": row.reward_key,
        "member_key": account.member_key,
        "origin_key": None if account.member_key == member_key else member_key,
        "points": row.points,
        "transaction_key": transaction_key,
        "terms": dumps(terms_to_json(terms)),
        "voucher_code": _give_code(conn, row, key),
        "issued_at": now,
        "expires_at": _expires_at(row.valid_days, programme, now),
        "balance_minor": terms.value_minor if terms.kind == "gift_certificate" else None,
        "shelf_no": _take(conn, row),
        "recommendation_ids": list(claim.recommendation_ids) or None,
        "attribution_token": claim.attribution_token,
    }
    store_redemptions.add(conn, values=values)
    taken = find_redemption(conn, key=key, now=now)
    _tell(conn, "reward.redeemed", taken, now)
    return taken


def _refuse(conn: Connection, offer: Offer, account: ledger.Balance, taken: int, now: datetime) -> None:
    """Refuse a reward that cannot be had, for the first of the reasons."""
    tier = ""
    if offer.tiers is not None:
        tier = tiers.get_held_tier(conn, member_key=account.member_key).code
    reasons = reasons_against(offer, Taker(tier, account.available, taken), now=now)
    if not reasons:
        return
    details = {
        "not_yet": f"offered from {format_time(offer.starts_at)} on" if offer.starts_at else "",
        "over": f"offered until {format_time(offer.ends_at)}" if offer.ends_at else "",
        "limit_reached": f"taken {taken} times of {offer.per_member_limit}",
        "tier": f"for {', '.join(offer.tiers or ())}; the member is in {tier}",
        "points": f"{account.available} points are available, {offer.points} were asked for",
    }
    raise _REFUSALS[reasons[0]](details.get(reasons[0], ""))


def _give_code(conn: Connection, row: Row[Any], key: UUID) -> str | None:
    """Return the code of a redemption's voucher: one of the reward's pool, else one that nobody can guess."""
    if row.pool_key is not None:
        code = store_pools.give(conn, pool_key=row.pool_key, redemption_id=key)
        if code is None:
            raise CodesUsedUp(f"import more codes into {row.pool}")
        return code
    return make_code(secrets.randbits(RANDOM_BITS)) if row.kind in CHECKOUT_KINDS else None


def _take(conn: Connection, row: Row[Any]) -> int:
    shelf_no = store.take(conn, reward_key=row.reward_key)
    if shelf_no is None:
        raise RewardOutOfStock
    return shelf_no


def _expires_at(valid_days: int | None, programme: Programme, now: datetime) -> datetime | None:
    """Return the end of the last day on which it can be used, at the programme's midnight."""
    if valid_days is None:
        return None
    day = local_day(now, timezone=programme.timezone) + timedelta(days=valid_days + 1)
    return local_midnight(day, timezone=programme.timezone)


def get_redemption(conn: Connection, *, redemption_id: str, now: datetime) -> Redemption:
    """Return a redemption as it effectively stands.

    Raises:
        UnknownRedemption: there is none.
    """
    try:
        key, _ = parse_id(PREFIX, redemption_id)
    except ValueError:
        raise UnknownRedemption(f"no redemption has the id {redemption_id}") from None
    row = store_redemptions.find(conn, redemption_id=key)
    if row is None:
        raise UnknownRedemption(f"no redemption has the id {redemption_id}")
    return read_redemption(row, now=now)


def find_redemption(conn: Connection, *, key: UUID, now: datetime) -> Redemption:
    """Return a redemption that was just written."""
    row = store_redemptions.find(conn, redemption_id=key)
    if row is None:
        raise LookupError(key)
    return read_redemption(row, now=now)


def lock_redemption(conn: Connection, *, key: UUID, now: datetime) -> Redemption:
    """Lock a redemption until the transaction ends, and return it as it then stands."""
    return read_redemption(store_redemptions.lock(conn, redemption_id=key), now=now)


def list_redemptions(
    conn: Connection, *, member_key: int, before: str | None, limit: int, now: datetime
) -> list[Redemption]:
    """Return up to `limit` of a member's redemptions before an id, the newest first."""
    key = None if before is None else UUID(before)
    rows = store_redemptions.list_of(conn, member_key=member_key, before=key, limit=limit)
    return [read_redemption(row, now=now) for row in rows]


def use_redemption(conn: Connection, *, redemption_id: str, now: datetime) -> Redemption:
    """Say that what was taken was handed over; a repetition changes nothing.

    Raises:
        UnknownRedemption: there is none. VoucherReserved: it is reserved for an order.
        RedemptionEnded: it was cancelled, has expired, or is a gift certificate, which an order uses.
    """
    key = get_redemption(conn, redemption_id=redemption_id, now=now).key
    taken = lock_redemption(conn, key=key, now=now)
    if taken.state == "used":
        return taken
    _refuse_reserved(taken)
    if taken.state != "issued":
        raise RedemptionEnded(f"{taken.redemption_id} is {taken.state}")
    if taken.balance_minor is not None:
        raise RedemptionEnded("a gift certificate is used by its code, with an amount")
    store_redemptions.add_use(
        conn,
        redemption_id=key,
        kind="use",
        order_id=None,
        refund_key=None,
        amount_minor=0,
        occurred_at=now,
        now=now,
    )
    change(conn, taken, state="used", ended_at=now)
    used = find_redemption(conn, key=key, now=now)
    _tell(conn, "reward.used", used, now)
    return used


def cancel_redemption(
    conn: Connection,
    *,
    redemption_id: str,
    reason: str,
    actor: str,
    request_id: str | None,
    programme: Programme,
    now: datetime,
) -> Redemption:
    """Call a redemption off: its points go back to the lots they came from, and it back to the shelf.

    Its code is never given again. A repetition changes nothing.

    Raises:
        UnknownRedemption: there is none. VoucherReserved: it is reserved for an order.
        RedemptionEnded: it was used, in part or whole, or has expired.
    """
    found = get_redemption(conn, redemption_id=redemption_id, now=now)
    ledger.lock_spenders(conn, member_key=found.member_key, spend_id=found.key, now=now)
    taken = lock_redemption(conn, key=found.key, now=now)
    if taken.state == "cancelled":
        return taken
    _refuse_reserved(taken)
    if taken.state != "issued" or taken.is_partly_used:
        raise RedemptionEnded(
            f"{taken.redemption_id} is {'partly used' if taken.is_partly_used else taken.state}"
        )
    if taken.points:
        ledger.unredeem_points(
            conn,
            spend_id=taken.key,
            timezone=programme.timezone,
            reason=reason,
            actor=actor,
            now=now,
        )
    change(conn, taken, state="cancelled", ended_at=now)
    store.put_back(conn, reward_key=taken.reward_key, shelf_no=taken.shelf_no)
    cancelled = find_redemption(conn, key=taken.key, now=now)
    audit.record(
        conn,
        actor=actor,
        action="redemption.cancelled",
        subject=("member", None),
        member_key=cancelled.member_key,
        after={
            "redemption_id": cancelled.redemption_id,
            "reward": cancelled.reward,
            "points": cancelled.points,
        },
        reason=reason,
        request_id=request_id,
        now=now,
    )
    _tell(conn, "reward.cancelled", cancelled, now)
    return cancelled


def expire_due(conn: Connection, *, now: datetime, limit: int) -> int:
    """Post up to `limit` redemptions that have expired, and as many reservations that are over.

    Reads count both already. Several may run at once: what somebody else has locked is left to them.
    """
    rows = store_redemptions.expire(conn, now=now, limit=limit)
    outbox.emit_all(
        conn,
        events=[
            Event(
                "reward.expired",
                row.member_key,
                {"redemption_id": f"{PREFIX}_{row.redemption_id.hex}", "reward": row.reward},
                row.ended_at,
            )
            for row in rows
        ],
    )
    return len(rows) + store_redemptions.free(conn, now=now, limit=limit)


def change(
    conn: Connection,
    taken: Redemption,
    *,
    state: State,
    reserved_for: str | None = None,
    reserved_until: datetime | None = None,
    ended_at: datetime | None = None,
    **others: Any,
) -> None:
    """Write how a locked redemption stands; `balance_minor` and `expires_at` stay unless they are given."""
    values = {
        "state": state,
        "reserved_for": reserved_for,
        "reserved_until": reserved_until,
        "ended_at": ended_at,
        "balance_minor": taken.balance_minor,
        "expires_at": taken.expires_at,
        **others,
    }
    store_redemptions.change(conn, redemption_id=taken.key, values=values)


def _refuse_reserved(taken: Redemption) -> None:
    if taken.state == "reserved" and taken.reserved_until is not None:
        raise VoucherReserved(f"reserved for {taken.reserved_for} until {format_time(taken.reserved_until)}")


def _tell(conn: Connection, topic: str, taken: Redemption, now: datetime) -> None:
    payload = {
        "redemption_id": taken.redemption_id,
        "reward": taken.reward,
        "kind": taken.terms.kind,
        "points": taken.points,
    }
    outbox.emit(conn, topic=topic, member_key=taken.member_key, payload=payload, occurred_at=now)


def read_redemption(row: Row[Any], *, now: datetime) -> Redemption:
    """Return a row as it effectively stands: what is past its time has ended, posted or not."""
    state = effective_state(row.state, expires_at=row.expires_at, reserved_until=row.reserved_until, now=now)
    ended_at = row.ended_at
    if state == "expired" and ended_at is None:
        ended_at = max(filter(None, (row.expires_at, row.reserved_until)))
    return Redemption(
        key=row.redemption_id,
        reward=row.reward,
        reward_key=row.reward_key,
        shelf_no=row.shelf_no,
        names=row.names,
        member_key=row.member_key,
        points=row.points,
        terms=terms_from_json(row.terms),
        voucher_code=row.voucher_code,
        state=state,
        stored_state=row.state,
        issued_at=row.issued_at,
        expires_at=row.expires_at,
        reserved_for=row.reserved_for if state == "reserved" else None,
        reserved_until=row.reserved_until if state == "reserved" else None,
        balance_minor=row.balance_minor,
        ended_at=ended_at,
        claim=Claim(tuple(row.recommendation_ids or ()), row.attribution_token),
    )


def show_redemption(
    taken: Redemption, *, member_id: str, programme: Programme, locale: str
) -> dict[str, Any]:
    """Return a redemption as the API shows it."""

    def money(minor: int | None) -> str | None:
        return None if minor is None else to_text(minor, currency=programme.currency)

    def moment(at: datetime | None) -> str | None:
        return None if at is None else format_time(at)

    return {
        "redemption_id": taken.redemption_id,
        "member_id": member_id,
        "reward": taken.reward,
        "name": named(taken.names, locale) or taken.reward,
        "kind": taken.terms.kind,
        "points": taken.points,
        "state": taken.state,
        "voucher_code": taken.voucher_code,
        "value": money(taken.terms.value_minor),
        "percent_bp": taken.terms.percent_bp,
        "balance": money(taken.balance_minor),
        "issued_at": format_time(taken.issued_at),
        "expires_at": moment(taken.expires_at),
        "order_id": taken.reserved_for,
        "reserved_until": moment(taken.reserved_until),
        "ended_at": moment(taken.ended_at),
    }
