"""The verbs of earning: rules by version, terms for an order, points for an event."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import Connection

from service.earning import store
from service.earning.drafts import RULES, compare_versions, list_findings, publish_rules, read_or_refuse
from service.earning.rules import (
    FIRST_VERSION,
    BasketLine,
    Boost,
    EarningRules,
    EventCount,
    EventRule,
    RuleTimeline,
    Terms,
    counted_minor,
    event_points,
    make_terms,
    terms_from_json,
    terms_to_json,
)
from service.earning.timeline import (
    compile_rules,
    default_definition,
    ensure_default_rules,
    forget_rules,
    recall_rules,
)
from service.kit.audit import Actor
from service.kit.drafting import Draft, Version
from service.ledger import operations as ledger
from service.ledger.operations import Balance, Expiry

__all__ = [
    "FIRST_VERSION",
    "RULES",
    "Actor",
    "BasketLine",
    "Boost",
    "Draft",
    "EarningRules",
    "EventRule",
    "RuleTimeline",
    "SeenEvent",
    "Terms",
    "Version",
    "award_event",
    "compare_versions",
    "compile_rules",
    "counted_minor",
    "default_definition",
    "ensure_default_rules",
    "find_awards",
    "forget_rules",
    "hand_back_awards",
    "hand_over_awards",
    "list_awarded_for",
    "list_findings",
    "make_terms",
    "points_of_day",
    "publish_rules",
    "read_or_refuse",
    "recall_rules",
    "terms_from_json",
    "terms_to_json",
]


@dataclass(frozen=True, slots=True)
class SeenEvent:
    """A custom event as it was recorded; `day` in the programme's zone."""

    event_key: int
    type: str
    occurred_at: datetime
    day: date
    item_key: int | None
    by_storefront: bool


def award_event(
    conn: Connection,
    *,
    event: SeenEvent,
    rules: EarningRules,
    account: Balance,
    expiry: Expiry,
    now: datetime,
) -> int:
    """Give a member what one event earns by the rules of its time, and return the points; 0 beyond a limit.

    The points are available at once. An event earns once, and the caller has locked the member's account, so
    that two events at once never pass the same limit.
    """
    rule = rules.events.get(event.type)
    if rule is None:
        return 0
    row = store.count_awards(
        conn, member_key=account.member_key, kind=event.type, day=event.day, item_key=event.item_key
    )
    points = event_points(
        rule,
        count=EventCount(row.today, row.ever, row.of_sku),
        has_sku=event.item_key is not None,
        by_storefront=event.by_storefront,
    )
    if points == 0:
        return 0
    key = ledger.earn_for_event(
        conn,
        account=account,
        event_key=event.event_key,
        kind=event.type,
        points=points,
        occurred_at=event.occurred_at,
        expiry=expiry,
        now=now,
    )
    store.add_award(
        conn,
        values={
            "event_key": event.event_key,
            "member_key": account.member_key,
            "type": event.type,
            "day": event.day,
            "item_key": event.item_key,
            "points": points,
            "rules_version": rules.version,
            "transaction_key": key,
        },
    )
    return points


def points_of_day(conn: Connection, *, rules: EarningRules, member_key: int, day: date) -> int:
    """Return what a member's orders of a store-local day have earned; not looked up where no limit asks."""
    if rules.cap_member_day is None:
        return 0
    return store.sum_earned_on(conn, member_key=member_key, day=day)


def find_awards(conn: Connection, *, event_keys: Sequence[int]) -> Mapping[int, int]:
    """Return what each of these events earned, those that earned anything."""
    return store.find_awards(conn, event_keys=event_keys) if event_keys else {}


def hand_over_awards(conn: Connection, *, from_key: int, into_key: int) -> None:
    """Let what a merged member's events earned count in the survivor's limits; the caller locked both."""
    store.hand_over_awards(conn, from_key=from_key, into_key=into_key)


def list_awarded_for(conn: Connection, *, member_key: int, origins: Sequence[int]) -> list[int]:
    """Return which events of a member, sent for some who were merged into it, earned."""
    return store.list_awarded_for(conn, member_key=member_key, origins=origins)


def hand_back_awards(conn: Connection, *, from_key: int, into_key: int) -> None:
    """Undo that, once the events themselves are the merged member's again."""
    store.hand_back_awards(conn, from_key=from_key, into_key=into_key)
