"""Turn members' facts into tiers and points as of then, a chunk of members in one transaction."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from service.intake.bulk import rating_store as store
from service.intake.bulk import store as import_store
from service.intake.bulk.earning import Earnings, award_columns, prepare_earnings
from service.intake.bulk.rules import (
    GiveBack,
    Kept,
    Purchase,
    allot_unlinked,
    convert_refunds,
    keep_track,
    left_of,
)
from service.intake.earning import points_left
from service.ledger import operations as ledger
from service.members import operations as members
from service.programme.operations import Programme, ProgrammeSettings, list_settings
from service.tiers import operations as tiers

SettingsOverTime = Sequence[tuple[datetime, ProgrammeSettings]]
"""Versions of the settings by the time they come into force."""


@dataclass(slots=True)
class Facts:
    """One member's orders and what was given back of them."""

    purchases: list[Purchase] = field(default_factory=list)
    back: list[GiveBack] = field(default_factory=list)


def rate_members(
    conn: Connection, *, member_keys: Sequence[int], programme: Programme, import_key: int, now: datetime
) -> None:
    """Make tiers, allotments and points of these members what their facts say, and take them off the backlog.

    `member_keys` ascend; accounts are locked in that order before anything is read. Who was merged meanwhile
    goes by the survivor.
    """
    listed, member_keys = member_keys, _lock_survivors(conn, member_keys)
    facts = _read_facts(conn, member_keys)
    allotted = _allot(conn, facts, member_keys)
    held = {
        order.order_key: order
        for order in tiers.refold_members(
            conn, member_keys=member_keys, now=now, programme=programme, import_key=import_key
        )
    }
    ledger.create_history_table(conn)
    settings = list_settings(conn)
    live: list[tuple[int, Purchase, Kept]] = []
    _convert(conn, facts)
    earnings = prepare_earnings(
        conn, purchases={key: member.purchases for key, member in facts.items()}, programme=programme
    )
    rows = _history(facts, allotted, held, settings, earnings, programme.timezone, now, live)
    store.stage_history(conn, rows=rows)
    ledger.post_history(conn, now=now, import_key=import_key, policy=programme.settings.shortfall_policy)
    _take_from_live(conn, live, programme, now)
    store.clear_backlog(conn, member_keys=listed)


def _lock_survivors(conn: Connection, listed: Sequence[int]) -> list[int]:
    """Lock the accounts of some members and of those they go by, and return the latter, ascending.

    With both locked nobody can merge or part them any more; who was while this waited is looked up again.
    """
    locked: set[int] = set()
    while True:
        survivors = set(members.find_survivors(conn, member_keys=listed).values())
        if survivors <= locked:
            return sorted(survivors)
        wanted = sorted(survivors.union(listed) - locked)
        ledger.open_accounts(conn, member_keys=wanted)
        import_store.lock_accounts(conn, member_keys=wanted)
        locked.update(wanted)


def _read_facts(conn: Connection, member_keys: Sequence[int]) -> dict[int, Facts]:
    facts = {key: Facts() for key in member_keys}
    for row in store.list_orders(conn, member_keys=member_keys):
        facts[row.member_key].purchases.append(Purchase(*list(row)[1:]))
    for row in store.list_give_backs(conn, member_keys=member_keys):
        facts[row.member_key].back.append(GiveBack(*list(row)[1:]))
    return facts


def _allot(
    conn: Connection, facts: dict[int, Facts], member_keys: Sequence[int]
) -> dict[int, dict[int, int]]:
    """Allot unlinked refunds anew, write what differs, and return every allotment by refund."""
    stored: dict[int, dict[int, int]] = {}
    for row in store.list_allotments(conn, member_keys=member_keys):
        stored.setdefault(row.refund_key, {})[row.order_key] = row.amount_minor
    imported = [
        one.refund_key
        for member in facts.values()
        for one in member.back
        if one.order_key is None and one.is_imported and one.refund_key is not None
    ]
    if not imported:
        return stored
    lines: dict[int, list[tuple[int, int | None]]] = {}
    for row in store.list_lines_of_refunds(conn, refund_keys=imported):
        lines.setdefault(row.refund_key, []).append((row.item_key, row.amount_minor))
    item_keys = {
        row.order_key: frozenset(row.item_keys)
        for row in store.list_items_of_orders(conn, refund_keys=imported)
    }
    fresh: dict[int, dict[int, int]] = {}
    for member in facts.values():
        if any(one.order_key is None for one in member.back):
            fresh |= allot_unlinked(
                member.purchases, member.back, lines=lines, item_keys=item_keys, fixed=stored
            )
    changed = {key: parts for key, parts in fresh.items() if parts != stored.get(key, {})}
    store.rewrite_allotments(conn, allotments=changed)
    return stored | fresh


def _convert(conn: Connection, facts: dict[int, Facts]) -> None:
    amounts: dict[int, int] = {}
    for member in facts.values():
        foreign = {one.order_key: one for one in member.purchases if one.order_goods_minor != one.goods_minor}
        linked: dict[int, list[GiveBack]] = {}
        for one in member.back:
            if one.order_key in foreign:
                linked.setdefault(one.order_key, []).append(one)
        for order_key, back in linked.items():
            amounts |= convert_refunds(foreign[order_key], back)
    store.convert_refunds(conn, amounts=amounts)


def _history(
    facts: dict[int, Facts],
    allotted: dict[int, dict[int, int]],
    held: dict[int, Any],
    settings: SettingsOverTime,
    earnings: Earnings,
    timezone: str,
    now: datetime,
    live: list[tuple[int, Purchase, Kept]],
) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of the points history; what concerns orders of the API goes to `live` instead."""
    for member_key, member in facts.items():
        linked: dict[int, list[GiveBack]] = {}
        parts: dict[int, list[tuple[GiveBack, int]]] = {}
        for one in member.back:
            if one.order_key is not None:
                linked.setdefault(one.order_key, []).append(one)
            elif one.refund_key is not None:
                for order_key, amount in allotted.get(one.refund_key, {}).items():
                    parts.setdefault(order_key, []).append((one, amount))
        earnings.count_live(member_key, member.purchases)
        alive = _stay_alive(member.purchases, settings, timezone)
        for purchase in member.purchases:
            order_key = purchase.order_key
            steps = keep_track(purchase, linked.get(order_key, ()), parts.get(order_key, ()))
            if not purchase.is_imported:
                live += [(member_key, purchase, kept) for kept in steps]
                continue
            tier = held[order_key]
            rule = _in_force(settings, purchase.placed_at)
            available_at = ledger.available_from(
                purchase.placed_at,
                day=purchase.day,
                return_period_days=rule.return_period_days,
                timezone=timezone,
            )
            expiry = alive[order_key]
            award = earnings.award(member_key, purchase, tier=tier, settings=rule)
            yield (
                member_key, order_key, None, min(purchase.placed_at, now), award.eligible_minor,
                award.rule.points, award.rule.per_minor, award.rule.multiplier_bp, tier.tier, available_at,
                expiry.at, expiry.rolls, *award_columns(award),
            )  # fmt: skip
            for kept, points in zip(steps, earnings.points_left(purchase, award, steps), strict=True):
                yield (
                    member_key, order_key, kept.refund_key, min(kept.at, now), kept.left_minor,
                    None, None, None, None, None, None, False, None, points, None,
                )  # fmt: skip


def _in_force(settings: SettingsOverTime, at: datetime) -> ProgrammeSettings:
    """Return the settings of a moment; before the first version, that one."""
    after = bisect_right(settings, at, key=lambda version: version[0])
    return settings[max(0, after - 1)][1]


def _stay_alive(
    purchases: Sequence[Purchase], settings: SettingsOverTime, timezone: str
) -> dict[int, ledger.Expiry]:
    """Return when the points of each order expire: after inactivity, what was bought in time moves it on."""
    found: dict[int, ledger.Expiry] = {}
    following: tuple[datetime, datetime] | None = None
    for purchase in sorted(purchases, key=lambda one: one.placed_at, reverse=True):
        rule = _in_force(settings, purchase.placed_at)
        expiry = ledger.expiry_of(purchase.day, expiry=rule.points_expiry, timezone=timezone)
        if expiry.rolls and expiry.at is not None:
            if following is not None and following[0] < expiry.at:
                expiry = ledger.Expiry(max(expiry.at, following[1]), rolls=True)
            following = (purchase.placed_at, expiry.at or purchase.placed_at)
        found[purchase.order_key] = expiry
    return found


def _take_from_live(
    conn: Connection, live: Sequence[tuple[int, Purchase, Kept]], programme: Programme, now: datetime
) -> None:
    """Take points back from orders that earned by the API, for refunds that came by an import.

    Each takes at once what all refunds known so far leave: the ledger takes once per refund and no more than
    is still there.
    """
    final = {purchase.order_key: one for _, purchase, one in live}
    for member_key, purchase, one in live:
        if one.is_imported:
            _return_spent(conn, member_key, purchase, one, final[purchase.order_key], programme, now)
            ledger.take_back_points(
                conn,
                member_key=member_key,
                order_key=purchase.order_key,
                refund_key=one.refund_key,
                eligible_left_minor=final[purchase.order_key].left_minor,
                occurred_at=min(one.at, now),
                policy=programme.settings.shortfall_policy,
                now=now,
                points_left=_left_of_live(conn, member_key, purchase.order_key),
            )


def _left_of_live(conn: Connection, member_key: int, order_key: int) -> int | None:
    record = ledger.get_order_points(conn, member_key=member_key, order_key=order_key)
    return None if record is None else points_left(conn, order_key=order_key, award=record)


def _return_spent(
    conn: Connection,
    member_key: int,
    purchase: Purchase,
    one: Kept,
    final: Kept,
    programme: Programme,
    now: datetime,
) -> None:
    """Give back what points paid of the part of an order that all refunds known so far took."""
    spending = ledger.get_spending(conn, member_key=member_key, order_key=purchase.order_key)
    if spending.points:
        points_left = left_of(
            replace(purchase, spend_minor=spending.points),
            refunded_minor=final.refunded_minor,
            allotted_minor=final.allotted_minor,
        )
        ledger.return_spent_points(
            conn,
            member_key=member_key,
            order_key=purchase.order_key,
            refund_key=one.refund_key,
            points_left=points_left,
            occurred_at=min(one.at, now),
            timezone=programme.timezone,
            now=now,
        )
