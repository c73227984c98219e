"""Routes of the ledger."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

from service.kit.audit import actor_of
from service.kit.auth import Role
from service.kit.clock import FUTURE_TOLERANCE, format_time, local_day, local_midnight, parse_day, parse_time
from service.kit.errors import FieldError, FutureTime, Invalid, Malformed
from service.kit.http import STAFF, Blueprint, Door
from service.kit.money import to_text
from service.kit.pagination import decode_cursor, encode_cursor, page
from service.ledger import operations
from service.ledger.errors import (
    CaptureAboveHold,
    ExpiryNotAcceptable,
    HoldEnded,
    HoldNotFound,
    InsufficientPoints,
    LotNotFound,
    LotNotOpen,
)
from service.ledger.operations import Expiry, Figures, Hold, Line, Points, SignedPosting, Transaction
from service.ledger.reporting import statement_table
from service.ledger.schemas import (
    AdjustmentBody,
    AdjustmentSchema,
    CaptureBody,
    ExtensionBody,
    ExtensionSchema,
    HoldBody,
    HoldSchema,
    PointsQuery,
    PointsSchema,
    PointsTransactionsSchema,
    StatementQuery,
    StatementSchema,
    TransactionsQuery,
)
from service.members.errors import UnknownMember
from service.members.operations import find_ids, get_member
from service.programme.operations import Programme, get_programme

blueprint = Blueprint("ledger", __name__, url_prefix="/v1", description="Points and their ledger.")

_BEGINNING = datetime(1900, 1, 1, tzinfo=UTC)
_CASHIERS: tuple[Role, ...] = ("server", "operations", "admin")


@blueprint.door(
    "GET",
    "/members/<id:member_id>/points",
    roles=(*STAFF, "storefront"),
    query=PointsQuery(),
    answers={200: PointsSchema()},
    refusals=(UnknownMember, FutureTime),
)
def get_points(door: Door, member_id: str, query: dict[str, Any]) -> object:
    """Tell what points a member has now, or had at a past time.

    Points whose return period has ended count as available, expired ones and holds past their time are gone
    at once, whether or not a job has posted them yet. `as_of` reads the entries that happened up to then,
    also those that were learned of later.
    """
    member = get_member(door.conn, member_id=member_id)
    programme = get_programme(door.conn)
    key = member.member_key
    if query.get("as_of") is None:
        points = operations.get_points(door.conn, member_key=key, now=door.now, programme=programme)
    else:
        at = _read_as_of(query["as_of"], programme, door.now)
        points = operations.get_points_at(door.conn, member_key=key, at=at, programme=programme)
    return _points_to_json(points, programme)


@blueprint.door(
    "GET",
    "/members/<id:member_id>/points/transactions",
    roles=STAFF,
    query=TransactionsQuery(),
    answers={200: PointsTransactionsSchema()},
    refusals=(UnknownMember,),
)
def list_transactions(door: Door, member_id: str, query: dict[str, Any]) -> object:
    """List the entries of a member's ledger with their postings and lots, newest first."""
    member = get_member(door.conn, member_id=member_id)
    programme = get_programme(door.conn)
    entries = operations.list_transactions(
        door.conn,
        member_key=member.member_key,
        before=_read_cursor(query.get("cursor")),
        limit=query["limit"] + 1,
    )
    orders, refunds = operations.name_references(door.conn, transactions=entries)
    rows = [_transaction_to_json(entry, orders, refunds, programme) for entry in entries]
    cursors = [encode_cursor(format_time(entry.occurred_at), entry.transaction_key) for entry in entries]
    return page(rows, limit=query["limit"], cursors=cursors)


@blueprint.door(
    "GET",
    "/members/<id:member_id>/points/statement",
    roles=STAFF,
    query=StatementQuery(),
    answers={200: StatementSchema()},
    refusals=(UnknownMember,),
    csv=True,
)
def get_statement(door: Door, member_id: str, query: dict[str, Any]) -> object:
    """Tell what a member had, what changed between two days, oldest first, and what there was after each.

    Entries as they are posted: what has become due comes with the member's next entry, or a sweep. A table
    begins with what there was and ends with what there is.
    """
    member = get_member(door.conn, member_id=member_id)
    programme = get_programme(door.conn)
    statement = operations.get_statement(
        door.conn,
        member_key=member.member_key,
        since=_read_day(query.get("from"), "from", programme) or _BEGINNING,
        until=_read_day(query.get("to"), "to", programme) or door.now + FUTURE_TOLERANCE,
        after=_read_cursor(query.get("cursor")),
        limit=query["limit"] + 1,
    )
    orders, refunds = operations.name_references(door.conn, transactions=statement.lines)
    rows = [_line_to_json(line, orders, refunds) for line in statement.lines]
    cursors = [encode_cursor(format_time(line.occurred_at), line.transaction_key) for line in statement.lines]
    shown = page(rows, limit=query["limit"], cursors=cursors) | {
        "opening": _figures_to_json(statement.opening),
        "closing": _figures_to_json(statement.closing),
    }
    return statement_table(shown, is_first=query.get("cursor") is None) if door.wants_csv else shown


@blueprint.door(
    "POST",
    "/members/<id:member_id>/points/adjustments",
    roles=STAFF,
    body=AdjustmentBody(),
    answers={201: AdjustmentSchema()},
    refusals=(UnknownMember, InsufficientPoints, ExpiryNotAcceptable),
    idempotency_key="required",
)
def adjust_points(door: Door, member_id: str, body: dict[str, Any]) -> object:
    """Give or take points by hand, with a reason.

    Points that are given are available at once. Points that are taken come from what expires soonest, and
    never more than is available.
    """
    member = get_member(door.conn, member_id=member_id)
    programme = get_programme(door.conn)
    expiry = _read_expiry(body, programme, door.now)
    actor = actor_of(door.caller)
    key = operations.adjust_points(
        door.conn,
        member_key=member.own_key,
        points=body["points"],
        reason=body["reason"],
        actor=actor,
        request_id=door.request_id,
        expires_at=expiry.at,
        rolls=expiry.rolls,
        now=door.now,
    )
    # Who goes by the id is certain only now that its account is locked.
    member = get_member(door.conn, member_id=member_id)
    balance = operations.get_points(
        door.conn, member_key=member.member_key, now=door.now, programme=programme
    )
    return {
        "transaction_id": _transaction_id(key),
        "points": body["points"],
        "reason": body["reason"],
        "actor": actor,
        "occurred_at": format_time(door.now),
        "expires_on": _day_of(expiry.at, programme),
        "balance": _points_to_json(balance, programme),
    }


@blueprint.door(
    "POST",
    "/members/<id:member_id>/points/lots/<id:lot_id>/extend",
    roles=STAFF,
    body=ExtensionBody(),
    answers={200: ExtensionSchema()},
    refusals=(UnknownMember, LotNotFound, LotNotOpen, ExpiryNotAcceptable),
    idempotency_key="required",
)
def extend_lot(door: Door, member_id: str, lot_id: str, body: dict[str, Any]) -> object:
    """Let what is left of a lot be used for longer, with a reason."""
    member = get_member(door.conn, member_id=member_id)
    programme = get_programme(door.conn)
    number = lot_id.removeprefix("lot_")
    if not lot_id.startswith("lot_") or not number.isascii() or not number.isdigit() or len(number) > 18:
        raise LotNotFound(f"the member has no lot {lot_id}")
    day = body["expires_on"]
    actor = actor_of(door.caller)
    extended = operations.extend_lot(
        door.conn,
        member_key=member.own_key,
        lot_key=int(number),
        expires_at=None if day is None else local_midnight(day, timezone=programme.timezone),
        reason=body["reason"],
        actor=actor,
        request_id=door.request_id,
        now=door.now,
    )
    return {
        "transaction_id": _transaction_id(extended.transaction_key),
        "lot_id": lot_id,
        "points": extended.points,
        "expired_on": _day_of(extended.expires_before, programme),
        "expires_on": _day_of(extended.expires_at, programme),
        "reason": body["reason"],
        "actor": actor,
    }


@blueprint.door(
    "POST",
    "/members/<id:member_id>/points/holds",
    roles=_CASHIERS,
    body=HoldBody(),
    answers={201: HoldSchema()},
    refusals=(UnknownMember, InsufficientPoints),
    idempotency_key="required",
)
def hold_points(door: Door, member_id: str, body: dict[str, Any]) -> object:
    """Set points aside while a checkout runs, from what expires soonest.

    They are free again when `ttl_seconds` have passed, at once and of themselves: an abandoned cart costs
    nothing. Until then they can neither be spent otherwise nor expire. Name the hold in the order
    (`points_hold_id`), or capture it.
    """
    member = get_member(door.conn, member_id=member_id)
    hold = operations.hold_points(
        door.conn,
        member_key=member.own_key,
        points=body["points"],
        ttl=timedelta(seconds=body["ttl_seconds"]),
        order_id=body.get("order_id"),
        now=door.now,
    )
    return _hold_to_json(door, hold), 201


@blueprint.door(
    "GET",
    "/points/holds/<id:hold_id>",
    roles=STAFF,
    answers={200: HoldSchema()},
    refusals=(HoldNotFound,),
)
def get_hold(door: Door, hold_id: str) -> object:
    """Return a hold and what became of it; one that is past its time is expired at once."""
    return _hold_to_json(door, operations.get_hold(door.conn, hold_id=hold_id, now=door.now))


@blueprint.door(
    "POST",
    "/points/holds/<id:hold_id>/capture",
    roles=_CASHIERS,
    body=CaptureBody(),
    answers={200: HoldSchema()},
    refusals=(HoldNotFound, HoldEnded, CaptureAboveHold),
    idempotency_key="optional",
)
def capture_hold(door: Door, hold_id: str, body: dict[str, Any]) -> object:
    """Spend what a hold set aside, or some of it; the rest is free again.

    The same capture again is answered the same and changes nothing. An order that names the hold
    (`points_hold_id`) captures it itself.
    """
    programme = get_programme(door.conn)
    hold = operations.capture_hold(
        door.conn,
        hold_id=hold_id,
        points=body.get("points"),
        order_id=body["order_id"],
        expiry=operations.expiry_of(
            local_day(door.now, timezone=programme.timezone),
            expiry=programme.settings.points_expiry,
            timezone=programme.timezone,
        ),
        now=door.now,
    )
    return _hold_to_json(door, hold)


@blueprint.door(
    "POST",
    "/points/holds/<id:hold_id>/release",
    roles=_CASHIERS,
    answers={200: HoldSchema()},
    refusals=(HoldNotFound, HoldEnded),
    idempotency_key="optional",
)
def release_hold(door: Door, hold_id: str) -> object:
    """Free what a hold set aside: the points go back to the lots they came from.

    The same release again is answered the same and changes nothing.
    """
    return _hold_to_json(door, operations.release_hold(door.conn, hold_id=hold_id, now=door.now))


def _hold_to_json(door: Door, hold: Hold) -> dict[str, Any]:
    return {
        "hold_id": hold.hold_id,
        "member_id": find_ids(door.conn, member_keys=[hold.member_key])[hold.member_key],
        "points": hold.points,
        "captured": hold.captured,
        "state": hold.state,
        "order_id": hold.order_id,
        "created_at": format_time(hold.created_at),
        "expires_at": format_time(hold.expires_at),
        "ended_at": None if hold.ended_at is None else format_time(hold.ended_at),
    }


def _read_expiry(body: dict[str, Any], programme: Programme, now: datetime) -> Expiry:
    today = local_day(now, timezone=programme.timezone)
    given: date | None = body.get("expires_on")
    if given is not None and (body["points"] < 0 or given <= today):
        detail = "points that are taken do not expire" if body["points"] < 0 else "must lie after today"
        raise ExpiryNotAcceptable(errors=[FieldError(detail, pointer="/expires_on")])
    if given is not None:
        return Expiry(local_midnight(given, timezone=programme.timezone))
    if "expires_on" in body or body["points"] < 0:
        return Expiry(None)
    return operations.expiry_of(today, expiry=programme.settings.points_expiry, timezone=programme.timezone)


def _read_as_of(value: str, programme: Programme, now: datetime) -> datetime:
    """Return the moment that a day, as it ended, or a time means.

    Raises:
        Invalid: it is neither. FutureTime: it lies ahead.
    """
    place = FieldError("a day such as 2026-11-21, or a time with an offset", parameter="as_of")
    try:
        if "T" in value.upper():
            at = parse_time(value)
        else:
            day = parse_day(value)
            at = local_midnight(day + timedelta(days=1), timezone=programme.timezone)
            at = at - timedelta(microseconds=1)
            if day == local_day(now, timezone=programme.timezone):
                at = now
    except (ValueError, OverflowError) as error:
        raise Invalid("as_of is neither a day nor a time", errors=[place]) from error
    if at > now:
        raise FutureTime("points are told of now and of the past", errors=[place])
    return at


def _read_day(value: str | None, parameter: str, programme: Programme) -> datetime | None:
    if value is None:
        return None
    try:
        return local_midnight(parse_day(value), timezone=programme.timezone)
    except (ValueError, OverflowError) as error:
        place = FieldError("a day such as 2026-11-21", parameter=parameter)
        raise Invalid(f"{parameter} is not a day", errors=[place]) from error


def _line_to_json(line: Line, orders: dict[int, str], refunds: dict[int, str]) -> dict[str, Any]:
    return {
        "transaction_id": _transaction_id(line.transaction_key),
        "kind": line.kind,
        "occurred_at": format_time(line.occurred_at),
        "order_id": None if line.order_key is None else orders.get(line.order_key),
        "refund_id": None if line.refund_key is None else refunds.get(line.refund_key),
        "hold_id": line.hold_id,
        "reason": line.reason,
        "change": _figures_to_json(line.change),
        "balance": _figures_to_json(line.balance),
    }


def _figures_to_json(figures: Figures) -> dict[str, int]:
    return {"available": figures.available, "pending": figures.pending, "held": figures.held}


def _read_cursor(cursor: str | None) -> tuple[datetime, int] | None:
    key = decode_cursor(cursor, types=(str, int))
    if key is None:
        return None
    try:
        return parse_time(key[0]), key[1]
    except ValueError as error:
        raise Malformed(errors=[FieldError("not a cursor of this list", parameter="cursor")]) from error


def _points_to_json(points: Points, programme: Programme) -> dict[str, Any]:
    return {
        "available": points.available,
        "pending": points.pending,
        "held": points.held,
        "debt": points.debt,
        "lifetime_earned": points.lifetime_earned,
        "expiring": [{"points": one.points, "on": one.on} for one in points.expiring],
        "value": to_text(points.value_minor, currency=programme.currency),
    }


def _transaction_to_json(
    entry: Transaction, orders: dict[int, str], refunds: dict[int, str], programme: Programme
) -> dict[str, Any]:
    return {
        "transaction_id": _transaction_id(entry.transaction_key),
        "kind": entry.kind,
        "occurred_at": format_time(entry.occurred_at),
        "recorded_at": format_time(entry.recorded_at),
        "order_id": None if entry.order_key is None else orders.get(entry.order_key),
        "refund_id": None if entry.refund_key is None else refunds.get(entry.refund_key),
        "hold_id": entry.hold_id,
        "rule": None if entry.rule is None else _rule_to_json(entry.rule, programme),
        "shortfall": entry.shortfall,
        "reason": entry.reason,
        "actor": entry.actor,
        "postings": [_posting_to_json(posting) for posting in entry.postings],
    }


def _rule_to_json(rule: Any, programme: Programme) -> dict[str, Any]:
    return {
        "points": rule["points"],
        "per": to_text(rule["per_minor"], currency=programme.currency),
        "multiplier_bp": rule["multiplier_bp"],
        "tier": rule["tier"],
        "eligible": to_text(rule["eligible_minor"], currency=programme.currency),
        "settings_version": rule.get("settings_version"),
        "rules_version": rule.get("rules_version"),
        "terms": None if rule.get("terms") is None else _terms_to_json(rule["terms"], programme),
    }


def _terms_to_json(terms: Any, programme: Programme) -> dict[str, Any]:
    return {
        "counted": to_text(terms["counted_minor"], currency=programme.currency),
        "minimum": to_text(terms["minimum_minor"], currency=programme.currency),
        "cap_per_order": terms["cap_order"],
        "left_of_day_cap": terms["day_left"],
        "rates": [
            {
                "points": points,
                "per": to_text(per_minor, currency=programme.currency),
                "multiplier_bp": multiplier_bp,
                "why": why,
                "by": by,
            }
            for points, per_minor, multiplier_bp, why, by in terms["rates"]
        ],
    }


def _posting_to_json(posting: SignedPosting) -> dict[str, Any]:
    lot = None
    if posting.lot_key is not None and posting.available_at is not None:
        lot = {
            "lot_id": f"lot_{posting.lot_key}",
            "available_at": format_time(posting.available_at),
            "expires_at": None if posting.expires_at is None else format_time(posting.expires_at),
        }
    return {"account": posting.account, "points": posting.points, "lot": lot}


def _transaction_id(transaction_key: int) -> str:
    return f"txn_{transaction_key}"


def _day_of(moment: datetime | None, programme: Programme) -> str | None:
    return None if moment is None else local_day(moment, timezone=programme.timezone).isoformat()
