"""What is offered to one member: every reward that is not over, and what stands against having it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import Connection

from service.kit.clock import format_time
from service.kit.money import to_text
from service.programme.operations import Programme
from service.rewards import store
from service.rewards.rows import named, offer_of, terms_of
from service.rewards.rules import Offer, Reason, Taker, Terms, reasons_against
from service.rewards.wording import explain_reason
from service.tiers import operations as tiers


class Offered(NamedTuple):
    """A reward as one member stands to it; `against` is empty when it can be had now."""

    reward_key: int
    code: str
    offer: Offer
    taker: Taker
    terms: Terms
    against: tuple[Reason, ...]
    valid_days: int | None
    names: Mapping[str, str]
    descriptions: Mapping[str, str]


def list_offered(
    conn: Connection, *, member_key: int, tier: str, available: int, now: datetime
) -> list[Offered]:
    """Return every reward that is not over, by code, as a member with such a tier and points stands to it."""
    return [
        Offered(
            reward_key=row.reward_key,
            code=row.code,
            offer=(offer := offer_of(row)),
            taker=(taker := Taker(tier, available, int(row.taken_by_member))),
            terms=terms_of(row),
            against=tuple(reasons_against(offer, taker, now=now)),
            valid_days=row.valid_days,
            names=row.names,
            descriptions=row.descriptions,
        )
        for row in store.list_offered(conn, member_key=member_key, now=now)
    ]


def show_offered(
    conn: Connection, *, offered: Sequence[Offered], programme: Programme, locale: str, now: datetime
) -> list[dict[str, Any]]:
    """Return rewards as the API shows them to a member, with every reason why one cannot be had."""
    names: dict[str, str] = {}
    if any("tier" in one.against for one in offered):
        names = {
            code: per_locale.get(locale) or code
            for code, per_locale in tiers.list_tier_names(conn, now=now).items()
        }
    return [_show(one, programme, locale, names) for one in offered]


def _show(one: Offered, programme: Programme, locale: str, tier_names: Mapping[str, str]) -> dict[str, Any]:
    ends_at = one.offer.ends_at
    return {
        "code": one.code,
        "name": named(one.names, locale) or one.code,
        "description": named(one.descriptions, locale),
        "points": one.offer.points,
        **show_worth(one.terms, valid_days=one.valid_days, programme=programme),
        "ends_at": None if ends_at is None else format_time(ends_at),
        "affordable": not one.against,
        "missing_points": max(0, one.offer.points - one.taker.available),
        "reasons": [
            {
                "reason": reason,
                "text": explain_reason(
                    reason,
                    one.offer,
                    one.taker,
                    tier_names=tier_names,
                    timezone=programme.timezone,
                    locale=locale,
                ),
            }
            for reason in one.against
        ],
    }


def show_worth(terms: Terms, *, valid_days: int | None, programme: Programme) -> dict[str, Any]:
    """Return what a reward is worth, and for what, as the API shows it."""

    return dict(_worth(terms, valid_days, programme.currency))


# The same for everybody, until somebody writes the reward anew.
@lru_cache(maxsize=1_000)
def _worth(terms: Terms, valid_days: int | None, currency: str) -> Mapping[str, Any]:
    def money(minor: int | None) -> str | None:
        return None if minor is None else to_text(minor, currency=currency)

    def codes(given: tuple[str, ...] | None) -> list[str] | None:
        return None if given is None else list(given)

    everything = terms.categories is None and terms.skus is None
    return {
        "kind": terms.kind,
        "value": money(terms.value_minor),
        "percent_bp": terms.percent_bp,
        "minimum_spend": money(terms.minimum_spend_minor),
        "applies_to": None
        if everything
        else {"categories": codes(terms.categories), "skus": codes(terms.skus)},
        "valid_days": valid_days,
        "combinable": terms.combinable,
    }


def find_codes(conn: Connection, *, reward_keys: Sequence[int]) -> dict[int, str]:
    """Return the code behind each key."""
    return store.find_codes(conn, reward_keys=reward_keys)
