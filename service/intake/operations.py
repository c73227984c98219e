"""The stories that cross rooms, each in its caller's one transaction.

Lock order, everywhere: the member's balance, then the member's tier.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from service.activity import operations as activity
from service.activity.rules import NewOrder, NewRefund, SentFor
from service.intake import earning
from service.intake.checkout import price_order, return_vouchers
from service.intake.explanation import explain_order, explain_refund
from service.intake.jobs import defer_refold
from service.kit import audit, outbox
from service.kit.clock import format_time, local_day
from service.kit.errors import FieldError
from service.kit.money import show_money, to_text
from service.kit.outbox import Event
from service.kit.sealing import Sealer
from service.ledger import operations as ledger
from service.ledger.operations import Balance
from service.members import operations as members
from service.members.errors import JoinedInFuture, MemberMerged, MemberNotEnrolled
from service.members.rules import Member
from service.programme.operations import Programme, ensure_stores
from service.rewards import operations as rewards
from service.tiers import operations as tiers
from service.tiers.operations import HeldTier, TierOutcome

_WAITS = 5
"""How often an id may come to go by somebody else while its account is waited for."""


@dataclass(frozen=True, slots=True)
class TierMove:
    """The member's tier just before and just after a story."""

    before: HeldTier
    after: HeldTier
    pending: bool


def enrol_member(
    conn: Connection,
    *,
    member_id: str,
    body: Mapping[str, Any],
    sealer: Sealer,
    programme: Programme,
    now: datetime,
    actor: str = audit.SERVICE,
    request_id: str | None = None,
) -> tuple[Member, bool]:
    """Enrol a member with an account and the base tier, or update one; tell whether it is new.

    Raises:
        JoinedInFuture: `joined_at` lies ahead.
    """
    joined_at = body.get("joined_at")
    if joined_at is not None and joined_at > now:
        raise JoinedInFuture(errors=[FieldError("in the future", pointer="/joined_at")])
    store_key = None
    if body.get("store_id") is not None:
        refs = ensure_stores(
            conn, store_ids=[body["store_id"]], programme=programme, now=now, for_facts=False
        )
        store_key = refs[body["store_id"]].store_key
    known = _find_known(conn, member_id, joined_at, sealer=sealer, now=now)
    member, is_new = members.enrol_or_update(
        conn, member_id=member_id, body=body, store_key=store_key, sealer=sealer, now=now
    )
    if member.merged_into is not None:
        # It was being merged while this waited for its row.
        raise _merged(conn, member_id)
    if is_new:
        ledger.open_account(conn, member_key=member.member_key)
        tiers.start_membership(
            conn, member_key=member.member_key, joined_at=member.joined_at, programme=programme, now=now
        )
    elif known is not None and known.member.joined_at != member.joined_at:
        # When somebody joined is a dated fact like any other.
        tiers.refold_member(conn, member_key=member.member_key, programme=programme, now=now)
    _tell_member(conn, member, known, sealer=sealer, actor=actor, request_id=request_id, now=now)
    return member, is_new


def _find_known(
    conn: Connection, member_id: str, joined_at: datetime | None, *, sealer: Sealer, now: datetime
) -> members.Profile | None:
    """Return the member that is to be changed, its account locked where that rates it again; None: a new one.

    Raises:
        MemberMerged: it goes by another.
    """
    known = members.find_profile(conn, member_id=member_id, sealer=sealer)
    if known is not None and joined_at not in (None, known.member.joined_at):
        ledger.lock_account(conn, member_key=known.member.member_key, now=now)
        known = members.find_profile(conn, member_id=member_id, sealer=sealer)
    if known is not None and known.member.merged_into is not None:
        raise _merged(conn, member_id)
    return known


def _merged(conn: Connection, member_id: str) -> MemberMerged:
    survivor = members.get_member(conn, member_id=member_id)
    return MemberMerged(f"{member_id} goes by {survivor.member_id} now; change that one")


def _tell_member(
    conn: Connection,
    member: Member,
    known: members.Profile | None,
    *,
    sealer: Sealer,
    actor: str,
    request_id: str | None,
    now: datetime,
) -> None:
    """Log what changed in a member's row and tell which fields; nothing when nothing did."""
    before = None if known is None else known.contents()
    after = members.get_profile(conn, member_id=member.member_id, sealer=sealer).contents()
    fields = audit.changed_fields(before, after)
    if not fields:
        return
    verb = "enrolled" if known is None else "updated"
    audit.record(
        conn,
        actor=actor,
        action=f"member.{verb}",
        subject=("member", None),
        member_key=member.member_key,
        before=before,
        after=after,
        sealer=sealer,
        request_id=request_id,
        now=now,
    )
    outbox.emit(
        conn,
        topic=f"member.{verb}",
        member_key=member.member_key,
        payload={"fields": fields},
        occurred_at=now,
    )


def place_order(
    conn: Connection, *, member_id: str, order: NewOrder, programme: Programme, locale: str, now: datetime
) -> tuple[dict[str, Any], bool]:
    """Take in a paid order: facts, roll-up, tier, points, outbox; return the answer and whether it is new.

    Raises:
        MemberNotEnrolled: nobody has this id. OrderConflict: the id is recorded with other content.
        FutureTime, Invalid: see `activity.record_order`. HoldNotKnown, HoldEnded: the points cannot pay.
        Voucher…: see `checkout.price_order`.
    """
    member, account = _locked_member(conn, member_id, now)
    days = activity.list_member_days(
        conn, member_key=member.member_key, after=_window_start(programme, order.placed_at, now)
    )
    hold = None
    if order.points_hold_id is not None:
        hold = ledger.find_order_hold(conn, hold_id=order.points_hold_id, account=account, now=now)
    priced = price_order(
        conn, order=order, hold=hold, member_key=account.member_key, programme=programme, now=now
    )
    order = priced.order
    recorded = activity.record_order(
        conn,
        member_key=member.member_key,
        member_id=member.member_id,
        order=order,
        programme=programme,
        now=now,
        sent_for=_sent_for(member, member_id),
    )
    if recorded.fact is None:
        return get_order(conn, order_id=order.order_id, programme=programme, locale=locale, now=now), False
    spent = 0
    if hold is not None:
        spent = ledger.pay_with_hold(
            conn,
            hold=hold,
            points=priced.points,
            order_id=order.order_id,
            order_key=recorded.order_key,
            account=account,
            now=now,
        )
    rewards.pay_with_vouchers(conn, payments=priced.payments, order_id=order.order_id, now=now)
    outcome, move = _rate(conn, member.member_key, days, [recorded.fact], programme, now)
    dates = points_dates(order.placed_at, recorded.fact.day, programme)
    award, earned = earning.earn(
        conn,
        account=account,
        order=order,
        recorded=recorded,
        tier=outcome.when_placed,
        dates=dates,
        programme=programme,
        now=now,
    )
    pending_until = format_time(dates[0]) if earned.points and dates[0] > now else None
    _tell_order(conn, member.member_key, order, recorded, (earned.points, pending_until), programme)
    return {
        "order": recorded.view,
        "points": {
            "earned": earned.points,
            "reversed": 0,
            "spent": spent,
            "returned": 0,
            "pending_until": pending_until,
        },
        "tier": _move_view(move, locale),
        "explanation": explain_order(
            points=earned.points,
            eligible_minor=award.eligible_minor,
            rule=award.rule,
            terms=award.terms,
            tier_when_placed=outcome.when_placed,
            move=(move.before, move.after),
            pending_until=pending_until,
            programme=programme,
            locale=locale,
            paid=_payment(spent, order.points_paid_minor, order.currency, locale),
            voucher_paid=_amount(order.voucher_paid_minor, order.currency, locale),
        ),
    }, True


def _payment(spent: int, paid_minor: int, currency: str, locale: str) -> tuple[int, str] | None:
    amount = _amount(paid_minor, currency, locale)
    return (spent, amount) if spent and amount else None


def _amount(minor: int, currency: str, locale: str) -> str | None:
    return show_money(minor, currency=currency, locale=locale) if minor else None


def _tell_order(
    conn: Connection,
    member_key: int,
    order: NewOrder,
    recorded: activity.RecordedOrder,
    points: tuple[int, str | None],
    programme: Programme,
) -> None:
    """Tell of an order and its points in one statement."""
    placed = {
        "order_id": order.order_id,
        "store_id": order.store_id,
        "net_spend": to_text(recorded.spend_minor, currency=programme.currency),
        "currency": programme.currency,
    }
    events = [Event("order.placed", member_key, placed, order.placed_at)]
    earned, pending_until = points
    if earned:
        payload = {"order_id": order.order_id, "points": earned, "pending_until": pending_until}
        events.append(Event("points.earned", member_key, payload, order.placed_at))
    outbox.emit_all(conn, events=events)


def get_order(
    conn: Connection, *, order_id: str, programme: Programme, locale: str, now: datetime
) -> dict[str, Any]:
    """Return an order as recorded, with its points, refunds, shipments and what it did.

    Raises:
        UnknownOrder: there is none.
    """
    row = activity.get_order(conn, order_id=order_id)
    member_id = members.find_ids(conn, member_keys=[row.member_key])[row.member_key]
    points = ledger.get_order_points(conn, member_key=row.member_key, order_key=row.order_key)
    spending = ledger.get_spending(conn, member_key=row.member_key, order_key=row.order_key)
    before, after = tiers.tiers_around_order(
        conn, member_key=row.member_key, order_key=row.order_key, placed_at=row.placed_at
    )
    pending_until = None
    if points is not None and points.available_at is not None and points.available_at > now:
        pending_until = format_time(points.available_at)
    return {
        "order": activity.order_view(conn, row, member_id=member_id),
        "points": {
            "earned": 0 if points is None else points.earned,
            "reversed": 0 if points is None else points.reversed,
            "spent": spending.points,
            "returned": spending.returned,
            "pending_until": pending_until,
        },
        "tier": _move_view(TierMove(before, after, pending=False), locale),
        "explanation": []
        if points is None
        else explain_order(
            points=points.earned,
            eligible_minor=points.eligible_minor,
            rule=points.rule,
            terms=earning.award_of(points).terms,
            tier_when_placed=before,
            move=(before, after),
            pending_until=pending_until,
            programme=programme,
            locale=locale,
            paid=_payment(spending.points, row.order_points_paid_minor, row.currency, locale),
            voucher_paid=_amount(row.order_voucher_paid_minor, row.currency, locale),
        ),
    }


def cancel_order(
    conn: Connection,
    *,
    order_id: str,
    cancelled_at: datetime,
    reason: str,
    programme: Programme,
    locale: str,
    now: datetime,
) -> dict[str, Any]:
    """Call an order off and undo what it did; a repetition changes nothing.

    Raises:
        UnknownOrder, OrderConflict, RefundBeforeOrder, FutureTime: see `activity.cancel_order`.
    """
    row = activity.get_order(conn, order_id=order_id)
    account = ledger.lock_account(conn, member_key=row.member_key, now=now)
    days = activity.list_member_days(
        conn, member_key=account.member_key, after=_window_start(programme, cancelled_at, now)
    )
    recorded = activity.cancel_order(
        conn,
        order_id=order_id,
        member_key=account.member_key,
        cancelled_at=cancelled_at,
        reason=reason,
        now=now,
    )
    told: tuple[str, dict[str, Any]] = ("order.cancelled", {"order_id": order_id})
    taken, move = _undo(conn, account, recorded, days, cancelled_at, programme, now, told)
    view = get_order(conn, order_id=order_id, programme=programme, locale=locale, now=now)
    return {
        "order": view["order"],
        "points": taken,
        "tier": _move_view(move, locale),
        "explanation": explain_refund(taken, (move.before, move.after), locale=locale),
    }


def take_refund(
    conn: Connection,
    *,
    member_id: str,
    refund: NewRefund,
    programme: Programme,
    locale: str,
    now: datetime,
) -> tuple[dict[str, Any], bool]:
    """Take in a refund: facts, roll-up, tier, points taken back, outbox; tell whether it is new.

    Raises:
        MemberNotEnrolled: nobody has this id.
        OrderNotKnown, RefundAboveLeft, OrderConflict, …: see `activity.record_refund`.
    """
    member, account = _locked_member(conn, member_id, now)
    days = activity.list_member_days(
        conn, member_key=member.member_key, after=_window_start(programme, refund.refunded_at, now)
    )
    recorded = activity.record_refund(
        conn,
        member_key=member.member_key,
        member_id=member.member_id,
        refund=refund,
        programme=programme,
        now=now,
        sent_for=_sent_for(member, member_id),
    )
    told: tuple[str, dict[str, Any]] = (
        "refund.taken",
        {
            "refund_id": refund.refund_id,
            "order_id": refund.order_id,
            "kind": refund.kind,
            "amount": to_text(refund.amount_minor, currency=refund.currency),
            "currency": refund.currency,
        },
    )
    taken, move = _undo(conn, account, recorded, days, refund.refunded_at, programme, now, told)
    return {
        "refund": activity.refund_view(conn, refund_id=refund.refund_id, member_id=member.member_id),
        "points": taken,
        "tier": _move_view(move, locale),
        "explanation": explain_refund(taken, (move.before, move.after), locale=locale),
    }, recorded.fact is not None


def _undo(
    conn: Connection,
    account: Balance,
    recorded: activity.RecordedRefund,
    days: list[activity.DayTotals],
    at: datetime,
    programme: Programme,
    now: datetime,
    told: tuple[str, dict[str, Any]],
) -> tuple[dict[str, Any], TierMove]:
    """Take points back from every order a refund reduced, rate the member again, and tell others."""
    member_key = account.member_key
    if recorded.fact is None:
        orders = recorded.order_keys or tuple(one.order_key for one in recorded.reduced)
        found_by: dict[str, Any] = {
            "member_key": member_key,
            "refund_key": recorded.refund_key,
            "order_key": orders[0] if orders else None,
            "order_keys": orders,
        }
        repeated = ledger.get_taken_back(conn, **found_by)
        returned = ledger.get_returned(conn, **found_by)
        vouchers = rewards.get_returned(conn, refund_key=recorded.refund_key, order_key=found_by["order_key"])
        held = tiers.get_held_tier(conn, member_key=member_key)
        taken_then = _taken_view(repeated, (returned, vouchers), recorded.unallotted_minor, programme)
        return taken_then, TierMove(held, held, False)
    points = shortfall = returned = vouchers = 0
    for reduced in recorded.reduced:
        # What comes back comes first, so that nothing falls short of what the member has after all.
        returned += _return_spent(conn, member_key, recorded.refund_key, reduced, at, programme, now)
        vouchers += return_vouchers(
            conn, reduced=reduced, refund_key=recorded.refund_key, at=at, programme=programme, now=now
        )
        record = ledger.get_order_points(conn, member_key=member_key, order_key=reduced.order_key)
        if record is None:
            continue
        taken = ledger.take_back_points(
            conn,
            member_key=member_key,
            order_key=reduced.order_key,
            refund_key=recorded.refund_key,
            eligible_left_minor=reduced.left_of(record.eligible_minor),
            occurred_at=at,
            policy=programme.settings.shortfall_policy,
            now=now,
            account=account,
            points_left=earning.points_left(conn, order_key=reduced.order_key, award=record),
        )
        points += taken.points
        shortfall += taken.shortfall
    _, move = _rate(conn, member_key, days, [recorded.fact], programme, now)
    topic, payload = told
    reversed_points: dict[str, object] = {
        name: payload[name] for name in ("order_id", "refund_id") if name in payload
    }
    events = [
        Event(topic, member_key, payload, at),
        Event(
            "points.reversed", member_key, reversed_points | {"points": points, "shortfall": shortfall}, at
        ),
    ]
    if returned:
        events.append(Event("points.returned", member_key, reversed_points | {"points": returned}, at))
    outbox.emit_all(conn, events=events)
    taken_back = ledger.TakenBack(points, shortfall)
    return _taken_view(taken_back, (returned, vouchers), recorded.unallotted_minor, programme), move


def _return_spent(
    conn: Connection,
    member_key: int,
    refund_key: int | None,
    reduced: activity.Reduced,
    at: datetime,
    programme: Programme,
    now: datetime,
) -> int:
    """Give back what points paid of the part of an order that is refunded; return the points."""
    spending = ledger.get_spending(conn, member_key=member_key, order_key=reduced.order_key)
    if spending.points == 0:
        return 0
    return ledger.return_spent_points(
        conn,
        member_key=member_key,
        order_key=reduced.order_key,
        refund_key=refund_key,
        points_left=reduced.left_of(spending.points),
        occurred_at=at,
        timezone=programme.timezone,
        now=now,
    )


def _rate(
    conn: Connection,
    member_key: int,
    days: list[activity.DayTotals],
    facts: list[activity.TierFact],
    programme: Programme,
    now: datetime,
) -> tuple[TierOutcome, TierMove]:
    outcome = tiers.rate_facts(
        conn, member_key=member_key, days_before=days, facts=facts, now=now, programme=programme
    )
    if outcome.pending:
        # Older than one window: the member's whole history is rated again, outside this request.
        defer_refold(conn, member_key=member_key)
    return outcome, TierMove(outcome.before, outcome.after, outcome.pending)


def _window_start(programme: Programme, at: datetime, now: datetime) -> date:
    """Return a day such that every day any rating of this story reads comes after it."""
    earliest = local_day(min(at, now), timezone=programme.timezone)
    return earliest - timedelta(days=tiers.LONGEST_WINDOW_DAYS + 2)


def points_dates(placed_at: datetime, day: date, programme: Programme) -> tuple[datetime, ledger.Expiry]:
    """Return when points of an order become available, and when they expire."""
    # A late order gets the dates of its own time: expiry turned on since does not reach back to it.
    settings = programme.settings_at(placed_at)
    available_at = ledger.available_from(
        placed_at, day=day, return_period_days=settings.return_period_days, timezone=programme.timezone
    )
    return available_at, ledger.expiry_of(day, expiry=settings.points_expiry, timezone=programme.timezone)


def _locked_member(conn: Connection, member_id: str, now: datetime) -> tuple[Member, Balance]:
    """Return the member that goes by an id and its account, locked.

    Two members may become one, or one two, while this waits for a lock; with the account of whoever the id
    goes by in hand, no more.
    """
    member = get_enrolled(conn, member_id=member_id)
    account = ledger.lock_account(conn, member_key=member.member_key, now=now)
    if account.member_key == member.member_key and member.origin_key is None:
        return member, account
    for _ in range(_WAITS):
        member = get_enrolled(conn, member_id=member_id)
        if account.member_key == member.member_key:
            return member, account
        account = ledger.lock_account(conn, member_key=member.member_key, now=now)
    raise RuntimeError(f"the points of {member_id} are with another member than its tier")


def _sent_for(member: Member, member_id: str) -> SentFor | None:
    return None if member.origin_key is None else SentFor(member.origin_key, member_id)


def get_enrolled(conn: Connection, *, member_id: str) -> Member:
    """Return the member that a story is about.

    Raises:
        MemberNotEnrolled: nobody has this id.
    """
    member = members.find_member(conn, member_id=member_id)
    if member is None:
        raise MemberNotEnrolled(
            f"no member has the id {member_id}; enrol with PUT /v1/members/…",
            errors=[FieldError("not enrolled", pointer="/member_id")],
        )
    return member


def _move_view(move: TierMove, locale: str) -> dict[str, Any]:
    return {
        "before": tier_view(move.before, locale),
        "after": tier_view(move.after, locale),
        "pending": move.pending,
    }


def tier_view(tier: HeldTier, locale: str) -> dict[str, Any]:
    """Return a tier in the caller's language."""
    return {"tier": tier.code, "name": tier.name.get(locale) or tier.code, "rank": tier.rank}


def _taken_view(
    taken: ledger.TakenBack, returned: tuple[int, int], unallotted_minor: int, programme: Programme
) -> dict[str, Any]:
    points, vouchers_minor = returned
    return {
        "reversed": taken.points,
        "returned": points,
        "voucher_returned": to_text(vouchers_minor, currency=programme.currency),
        "shortfall": taken.shortfall,
        "unallotted": to_text(unallotted_minor, currency=programme.currency),
    }
