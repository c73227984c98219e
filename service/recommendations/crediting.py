"""From an order or a redemption back to what led to it: rule set, model and arm of every answer (law E2).

Either names answers by their ids or by a token. A claim that does not hold is kept and told as
unattributable, with the reason; it never enters a figure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row

from service.activity.errors import UnknownOrder
from service.activity.operations import Echo
from service.kit.clock import format_time
from service.kit.ids import parse_id
from service.recommendations import crediting_store as store
from service.recommendations.attribution import AttributionKeys, verify_token
from service.recommendations.decisions import ID_PREFIX
from service.recommendations.errors import AttributionRefused, TokenForeign
from service.rewards.operations import Redemption

UNKNOWN = "unknown-recommendation"
OTHER_MEMBER = "other-member"
AFTER_ORDER = "after-order"
AFTER_REDEMPTION = "after-redemption"


@dataclass(frozen=True, slots=True)
class Led:
    """What a member did, when, and the answers said to have led to it; `late` names those given after it."""

    member_key: int
    member_id: str
    made_at: datetime
    recommendation_ids: Sequence[str]
    attribution_token: str | None
    late: str


def trace_order(conn: Connection, *, keys: AttributionKeys, order_id: str) -> dict[str, Any]:
    """Return every answer that an order names, with what decided it, or why it cannot be credited.

    Raises:
        UnknownOrder: there is none.
    """
    order = store.find_claims(conn, order_id=order_id)
    if order is None:
        raise UnknownOrder(f"there is no order {order_id}")
    led = Led(
        order.member_key,
        order.member_id,
        order.placed_at,
        order.recommendation_ids or (),
        order.attribution_token,
        AFTER_ORDER,
    )
    return {
        "order_id": order_id,
        "member_id": order.member_id,
        "placed_at": format_time(order.placed_at),
        "ruleset_version": order.ruleset_version,
        "claims": _judge_all(conn, keys, led),
    }


def trace_redemption(
    conn: Connection, *, keys: AttributionKeys, taken: Redemption, member_id: str
) -> dict[str, Any]:
    """Return every answer that a redemption names, likewise; `member_id` is whose it is."""
    led = Led(
        taken.member_key,
        member_id,
        taken.issued_at,
        taken.claim.recommendation_ids,
        taken.claim.attribution_token,
        AFTER_REDEMPTION,
    )
    return {
        "redemption_id": taken.redemption_id,
        "reward": taken.reward,
        "member_id": member_id,
        "issued_at": format_time(taken.issued_at),
        "claims": _judge_all(conn, keys, led),
    }


def _judge_all(conn: Connection, keys: AttributionKeys, led: Led) -> list[dict[str, Any]]:
    claims: list[tuple[str, str | None, str | None]] = [
        ("recommendation_ids", one, None) for one in led.recommendation_ids
    ]
    if led.attribution_token is not None:
        claims.append(_read_token(keys, led.attribution_token, led))
    rows = _find_chain(conn, led, claims)
    return [_judge(led, claim, rows) for claim in claims]


def _read_token(keys: AttributionKeys, token: str, led: Led) -> tuple[str, str | None, str | None]:
    """Return what a token claims, or the code by which it is refused; as of then, not of now."""
    source = "attribution_token"
    try:
        try:
            said = verify_token(keys, token, member_id=led.member_id, now=led.made_at)
        except TokenForeign:
            # Given to somebody nobody knew yet.
            said = verify_token(keys, token, member_id=None, now=led.made_at)
    except AttributionRefused as refused:
        return source, None, refused.code
    return source, said.recommendation_id, None


def read_echo(keys: AttributionKeys, event: Mapping[str, Any]) -> Echo:
    """Return the answer an event names, by its id or its token, and why the token does not hold.

    The token is judged as of the event, for the member the event is of. An answer given to somebody nobody
    knew yet may be named by whoever that turned out to be.
    """
    token, named = event.get("attribution_token"), event.get("recommendation_id")
    if token is None:
        return Echo(named)
    asked = {"now": event["occurred_at"], "recommendation_id": named}
    try:
        try:
            said = verify_token(keys, token, member_id=event.get("member_id"), **asked)
        except TokenForeign:
            said = verify_token(keys, token, member_id=None, **asked)
    except AttributionRefused as refused:
        return Echo(named, refused.code)
    return Echo(said.recommendation_id)


def _find_chain(
    conn: Connection, led: Led, claims: Sequence[tuple[str, str | None, str | None]]
) -> dict[str, Row[Any]]:
    named: dict[str, datetime] = {}
    for _, recommendation_id, _ in claims:
        try:
            exposure_id, issued_about = parse_id(ID_PREFIX, recommendation_id or "")
        except ValueError:
            continue
        named[str(exposure_id)] = issued_about
    if not named:
        return {}
    rows = store.find_chain(
        conn,
        exposure_ids=list(named),
        issued_from=min(named.values()),
        issued_to=max(named.values()),
        member_key=led.member_key,
    )
    return {f"{ID_PREFIX}_{row.exposure_id.hex}": row for row in rows}


def _judge(led: Led, claim: tuple[str, str | None, str | None], rows: dict[str, Row[Any]]) -> dict[str, Any]:
    source, recommendation_id, fault = claim
    row = rows.get(recommendation_id or "")
    if fault is None:
        fault = _find_fault(led, row)
    return {
        "source": source,
        "recommendation_id": recommendation_id,
        "status": "attributed" if fault is None else "unattributable",
        "reason": fault,
        "answer": None if fault is not None or row is None else _show(row),
    }


def _find_fault(led: Led, row: Row[Any] | None) -> str | None:
    if row is None:
        return UNKNOWN
    if not row.is_theirs:
        return OTHER_MEMBER
    return led.late if row.issued_at > led.made_at else None


def _show(row: Row[Any]) -> dict[str, Any]:
    return {
        "issued_at": format_time(row.issued_at),
        "surface": {"placement": row.placement, "channel": row.channel},
        "experiment": row.experiment,
        "version": row.version,
        "arm": row.arm,
        "nested": row.nested or [],
        "policy": row.policy,
        "fallback": row.fallback,
        "model": None
        if row.model_version is None
        else {
            "version": row.model_version,
            "content_hash": row.content_hash,
            "trained_through": None if row.trained_through is None else row.trained_through.isoformat(),
        },
        "tier": row.tier,
        "ruleset_version": row.ruleset_version,
    }
