"""The verbs of the rewards: offer them, list them, and what each member can have.

Taking one stands in `redeeming`, what happens at a checkout in `vouchers`, codes of others in `pools`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, Row

from service.kit import audit, outbox
from service.kit.clock import format_time
from service.kit.db import dumps
from service.kit.errors import FieldError, Invalid
from service.kit.money import to_minor
from service.kit.pagination import encode_cursor, page
from service.programme.operations import Programme
from service.rewards import store, store_pools
from service.rewards.carts import read_cart
from service.rewards.errors import CodePoolNotKnown, RewardKindFixed, StockBelowTaken, UnknownReward
from service.rewards.laws import Violation, check_laws
from service.rewards.merging import hand_back, hand_over
from service.rewards.offering import Offered, find_codes, list_offered, show_offered, show_worth
from service.rewards.pools import LoadedCodes, import_codes, show_pool
from service.rewards.redeeming import (
    Claim,
    Redemption,
    cancel_redemption,
    expire_due,
    get_redemption,
    list_redemptions,
    redeem,
    show_redemption,
    use_redemption,
)
from service.rewards.rows import named, terms_of
from service.rewards.rules import spread_shelves
from service.rewards.vouchers import (
    VoucherPayment,
    get_returned,
    get_voucher,
    pay_with_vouchers,
    release_voucher,
    reserve_voucher,
    return_vouchers,
    use_voucher,
    vouchers_paid,
    vouchers_to_pay,
)
from service.tiers import operations as tiers
from service.tiers.errors import UnknownTier

__all__ = [
    "Claim",
    "LoadedCodes",
    "Offered",
    "Redemption",
    "Violation",
    "VoucherPayment",
    "cancel_redemption",
    "check_laws",
    "expire_due",
    "find_codes",
    "get_redemption",
    "get_returned",
    "get_reward",
    "get_voucher",
    "hand_back",
    "hand_over",
    "import_codes",
    "list_affordable",
    "list_offered",
    "list_redemptions",
    "list_rewards",
    "pay_with_vouchers",
    "put_reward",
    "read_cart",
    "redeem",
    "release_voucher",
    "reserve_voucher",
    "return_vouchers",
    "show_offered",
    "show_pool",
    "show_redemption",
    "use_redemption",
    "use_voucher",
    "vouchers_paid",
    "vouchers_to_pay",
]


@dataclass(frozen=True, slots=True)
class Affordable:
    """A reward that a member can have now, by code, with its name in the caller's language."""

    code: str
    name: str
    kind: str
    points: int


def put_reward(
    conn: Connection,
    *,
    code: str,
    body: Mapping[str, Any],
    programme: Programme,
    actor: str,
    request_id: str | None,
    now: datetime,
) -> tuple[dict[str, Any], bool]:
    """Offer a reward, or replace it whole; return it and whether it is new.

    `stock` is how often it may be taken in all, what was taken before included.

    Raises:
        Invalid: an amount has more decimals than the currency. CodePoolNotKnown: there is no such pool.
        UnknownTier: it is for a tier that no rule set has, in force or to come.
        StockBelowTaken: more has been taken. RewardKindFixed: it was taken as another kind.
    """
    _refuse_tiers(conn, body.get("tiers") or (), now)
    known = store.find(conn, code=code)
    reward_key = store.upsert(conn, values=_values(conn, code, body, programme), now=now)
    shelves = store.lock_shelves(conn, reward_key=reward_key)
    taken = [int(shelf.taken) for shelf in shelves]
    if known is not None and known.kind != body["kind"] and sum(taken) > 0:
        raise RewardKindFixed(
            f"{code} was taken as {known.kind}; offer another reward",
            errors=[FieldError("cannot change", pointer="/kind")],
        )
    stocks = _spread(taken, body.get("stock"))
    store.set_stock(
        conn,
        reward_key=reward_key,
        stocks={shelf.shelf_no: stock for shelf, stock in zip(shelves, stocks, strict=True)},
    )
    shown = get_reward(conn, code=code, programme=programme)
    _tell_reward(
        conn,
        None if known is None else _show(known, programme),
        shown,
        actor=actor,
        request_id=request_id,
        now=now,
    )
    return shown, known is None


def _spread(taken: list[int], stock: int | None) -> list[int] | list[None]:
    if stock is None:
        return [None] * len(taken)
    try:
        return spread_shelves(taken, stock=stock)
    except ValueError:
        place = FieldError(f"less than {sum(taken)}", pointer="/stock")
        raise StockBelowTaken(f"{sum(taken)} have been taken", errors=[place]) from None


def _values(conn: Connection, code: str, body: Mapping[str, Any], programme: Programme) -> dict[str, object]:
    applies_to = body.get("applies_to") or {}
    pool = body.get("code_pool")
    found = None if pool is None else store_pools.find_pool(conn, pool=pool)
    if pool is not None and found is None:
        place = FieldError("import codes into it first", pointer="/code_pool")
        raise CodePoolNotKnown(f"no pool of codes is named {pool}", errors=[place])
    return {
        "code": code,
        "names": dumps(body["name"]),
        "descriptions": dumps(body.get("description") or {}),
        "kind": body["kind"],
        "points": body["points"],
        "value_minor": _minor(body, "value", programme),
        "percent_bp": body.get("percent_bp"),
        "minimum_spend_minor": _minor(body, "minimum_spend", programme) or 0,
        "categories": applies_to.get("categories"),
        "skus": applies_to.get("skus"),
        "valid_days": body.get("valid_days"),
        "combinable": body.get("combinable", False),
        "per_member_limit": body.get("per_member_limit"),
        "tiers": body.get("tiers"),
        "starts_at": body.get("starts_at"),
        "ends_at": body.get("ends_at"),
        "pool_key": None if found is None else found.pool_key,
    }


def _refuse_tiers(conn: Connection, codes: Sequence[str], now: datetime) -> None:
    if not codes:
        return
    there = tiers.list_tier_codes(conn, now=now)
    wrong = [
        FieldError("no such tier", pointer=f"/tiers/{index}")
        for index, code in enumerate(codes)
        if code not in there
    ]
    if wrong:
        raise UnknownTier(f"the tiers are {', '.join(sorted(there))}", errors=wrong)


def _minor(body: Mapping[str, Any], name: str, programme: Programme) -> int | None:
    amount: Decimal | None = body.get(name)
    if amount is None:
        return None
    try:
        return to_minor(amount, currency=programme.currency)
    except ValueError as error:
        place = FieldError(str(error), pointer=f"/{name}")
        raise Invalid("an amount is not acceptable", errors=[place]) from error


def _tell_reward(
    conn: Connection,
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any],
    *,
    actor: str,
    request_id: str | None,
    now: datetime,
) -> None:
    hidden = {"updated_at", "taken", "left", "flags"}
    old = None if before is None else {name: value for name, value in before.items() if name not in hidden}
    new = {name: value for name, value in after.items() if name not in hidden}
    if not audit.changed_fields(old, new):
        return
    audit.record(
        conn,
        actor=actor,
        action="reward.offered" if before is None else "reward.changed",
        subject=("reward", after["code"]),
        before=old,
        after=new,
        request_id=request_id,
        now=now,
    )
    payload = {"reward": after["code"], "kind": after["kind"], "points": after["points"]}
    outbox.emit(conn, topic="reward.changed", member_key=None, payload=payload, occurred_at=now)


def get_reward(conn: Connection, *, code: str, programme: Programme) -> dict[str, Any]:
    """Return a reward as staff see it.

    Raises:
        UnknownReward: there is none.
    """
    row = store.find(conn, code=code)
    if row is None:
        raise UnknownReward(f"no reward has the code {code}")
    return _show(row, programme)


def list_rewards(conn: Connection, *, after: str, limit: int, programme: Programme) -> dict[str, Any]:
    """Return a page of rewards by code, as staff see them."""
    rows = store.list_rewards(conn, after=after, limit=limit + 1)
    shown = [_show(row, programme) for row in rows]
    return page(shown, limit=limit, cursors=[encode_cursor(row.code) for row in rows])


def list_affordable(
    conn: Connection, *, member_key: int, tier: str, points: int, limit: int, locale: str, now: datetime
) -> list[Affordable]:
    """Return up to `limit` rewards that a member can have now, the dearest first, in one statement."""
    rows = store.list_affordable(conn, member_key=member_key, tier=tier, points=points, limit=limit, now=now)
    return [Affordable(row.code, named(row.names, locale) or row.code, row.kind, row.points) for row in rows]


def _show(row: Row[Any], programme: Programme) -> dict[str, Any]:
    found = {"out_of_reach": row.out_of_reach, "unwanted": row.unwanted}
    return {
        "code": row.code,
        "name": row.names,
        "description": row.descriptions,
        "points": row.points,
        **show_worth(terms_of(row), valid_days=row.valid_days, programme=programme),
        "stock": row.stock,
        "taken": row.taken,
        "left": None if row.stock is None else row.stock - row.taken,
        "per_member_limit": row.per_member_limit,
        "tiers": row.tiers,
        "starts_at": None if row.starts_at is None else format_time(row.starts_at),
        "ends_at": None if row.ends_at is None else format_time(row.ends_at),
        "code_pool": row.pool,
        "flags": [name for name, holds in found.items() if holds],
        "appraised_at": None if row.appraised_at is None else format_time(row.appraised_at),
        "created_at": format_time(row.created_at),
        "updated_at": format_time(row.updated_at),
    }
