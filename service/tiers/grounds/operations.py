"""The verb of this room: explain a member's tier, to the member or to staff."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, Literal

from sqlalchemy import Connection

from service.kit.clock import format_time, local_day
from service.kit.money import to_text
from service.programme.operations import Programme
from service.tiers.explanation import describe_condition, explain_to_member, explain_to_staff
from service.tiers.grounds.rules import Account, Counted, Leaving, Override, give_account
from service.tiers.replaying import Replay, past_moment, replay_member
from service.tiers.standing import metrics_json, needs_json, standing_json, value_json

Audience = Literal["member", "staff"]


def explain_tier(
    conn: Connection,
    *,
    member_key: int,
    audience: Audience,
    as_of: datetime | date | None,
    limit: int,
    now: datetime,
    programme: Programme,
    locale: str,
) -> dict[str, Any]:
    """Return what a member's tier rests on, in words and numbers; writes nothing.

    The member is folded from all facts, as they are known now. At most `limit` facts and days are listed.

    Raises:
        AsOfInFuture: `as_of` lies ahead. NoMembership: there was none by then.
    """
    moment = past_moment(as_of, now=now, programme=programme)
    replay = replay_member(conn, member_key=member_key, moment=moment, now=now, programme=programme)
    override = _find_override(replay, timezone=programme.timezone)
    account = give_account(replay.member, replay.facts, standing=replay.see(), override=override)
    tell = explain_to_staff if audience == "staff" else explain_to_member
    shown = standing_json(account.standing, locale=locale)
    kept = ("tier", "name", "rank", "since", "as_of", "window", "metrics", "to_stay", "to_rise")
    return {
        "audience": audience,
        "locale": locale,
        **{name: shown[name] for name in kept},
        "explanation": tell(account, locale=locale),
        "facts": {
            "data": [_fact_json(fact, account) for fact in account.counted[:limit]],
            "total": len(account.counted),
        },
        "leaving": {
            "data": [_leaving_json(leaving, account) for leaving in account.leaving[:limit]],
            "total": len(account.leaving),
        },
        "staff": _staff_json(account, shown, locale=locale) if audience == "staff" else None,
    }


def _find_override(replay: Replay, *, timezone: str) -> Override | None:
    pin = replay.member.pin
    if pin is None:
        return None
    row = next(row for row in replay.pins if row.pin_key == pin.key)
    return Override(local_day(pin.ends_at, timezone=timezone), row.reason, row.actor)


def _fact_json(fact: Counted, account: Account) -> dict[str, Any]:
    currency = account.standing.currency
    return {
        "kind": fact.kind,
        "order_id": fact.fact_id if fact.kind == "order" else None,
        "refund_id": fact.fact_id if fact.kind == "refund" else None,
        "at": format_time(fact.at),
        "day": fact.day.isoformat(),
        "goods": to_text(fact.goods_minor, currency=currency),
        "net": to_text(fact.net_minor, currency=currency),
        "goods_left": to_text(fact.goods_left_minor, currency=currency),
        "net_left": to_text(fact.net_left_minor, currency=currency),
        "counts": fact.counts,
        "leaves_on": fact.leaves_on.isoformat(),
        "given_back": [
            {
                "kind": back.kind,
                "refund_id": back.refund_id,
                "at": format_time(back.at),
                "goods": to_text(-back.goods_minor, currency=currency),
                "net": to_text(-back.net_minor, currency=currency),
            }
            for back in fact.given_back
        ],
    }


def _leaving_json(leaving: Leaving, account: Account) -> dict[str, Any]:
    currency = account.standing.currency
    return {
        "on": leaving.on.isoformat(),
        "order_ids": [fact.fact_id for fact in leaving.facts if fact.kind == "order"],
        "refund_ids": [fact.fact_id for fact in leaving.facts if fact.kind == "refund"],
        "net": to_text(leaving.net_minor, currency=currency),
        "changes": [
            {
                "metric": name,
                "from": value_json(name, leaving.before.value_of(name), currency=currency),
                "to": value_json(name, leaving.after.value_of(name), currency=currency),
            }
            for name in leaving.changed()
        ],
        "enough": leaving.enough,
    }


def _staff_json(account: Account, shown: dict[str, Any], *, locale: str) -> dict[str, Any]:
    standing, rules, override = account.standing, account.rules, account.override
    rated = standing.rated or standing.tier
    return {
        "ruleset_version": rules.version,
        "reason": account.reason,
        "branch": needs_json(account.branch, currency=rules.currency),
        "qualified_tier": account.qualified.code,
        "rated_tier": rated.code,
        "rules": {
            part: None
            if condition is None
            else describe_condition(condition, currency=rules.currency, locale=locale)
            for part, condition in (("enter", rated.enter), ("keep", rated.keep))
        },
        "reached": _reached_json(account),
        "downgrade": {
            "policy": rules.downgrade.policy,
            "min_hold_days": rules.downgrade.min_hold_days,
            "grace_days": rules.downgrade.grace_days,
            "review_cadence": rules.review_cadence,
        },
        "unqualified_since": _iso(standing.unqualified_since),
        "stands_until": _iso(standing.stands_until),
        "judged_from": _iso(standing.judged_from),
        **{
            name: shown[name]
            for name in ("protected_until", "at_risk", "at_risk_since", "falls_on", "next_review_on")
        },
        "override": None
        if override is None
        else {
            "tier": standing.tier.code,
            "ends_on": override.ends_on.isoformat(),
            "reason": override.reason,
            "actor": override.actor,
        },
        "outlook": [
            {
                "on": step.on.isoformat(),
                "kind": step.kind,
                "tier": step.tier.code,
                "falls_on": _iso(step.falls_on),
            }
            for step in account.outlook
        ],
    }


def _reached_json(account: Account) -> dict[str, Any]:
    reached = account.reached
    change = reached.change
    return {
        "from": change.from_tier,
        "on": reached.on.isoformat(),
        "at": format_time(change.effective_at),
        "cause": change.cause,
        "ruleset_version": change.rules.version,
        "order_id": reached.order_id,
        "refund_id": reached.refund_id,
        "metrics": metrics_json(change.metrics, currency=change.rules.currency),
    }


def _iso(day: date | None) -> str | None:
    return None if day is None else day.isoformat()
