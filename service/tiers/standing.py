"""Where a member stands, seen from one day: what holds, what is missing, what happens next. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from fractions import Fraction
from typing import NamedTuple

from service.kit.clock import format_time
from service.kit.money import divide_half_up, to_text
from service.tiers.benefits import benefit_json
from service.tiers.conditions import Compare, MetricName, Metrics
from service.tiers.fold import MemberFold
from service.tiers.needs import Need, Rise, needs_to_stay, rise_above
from service.tiers.periods import Window
from service.tiers.rules import Tier

_FAR_DAYS = 3_653
_DAY = timedelta(days=1)


class Standing(NamedTuple):
    """A member's tier on a day, with the numbers it rests on; `window_to` is exclusive.

    `falls_on` is the day of the fall if nothing is bought; `at_risk_since` begins the grace before it;
    until `protected_until` the tier is held whatever happens. Of windows with periods, `keep` is judged on
    the day `stands_until`, on what was bought from `judged_from` to the day before. While a tier is pinned,
    `pinned_until` is the first day after, and `rated` the tier of the rating underneath: `to_stay` and
    `to_rise` speak of that one. `lasts_until` is the first day that can take the tier away: `stands_until`,
    or of a rolling window the day of the fall if nothing more is bought and the rules stay, where that was
    asked for. `to_keep` is `to_stay` as of the close of the period that runs, if nothing more is bought: a
    last visit is longer ago then; None where that close judges nothing.
    """

    currency: str
    ruleset_version: int
    tier: Tier
    since: datetime
    since_day: date
    as_of: datetime
    day: date
    window_from: date
    window_to: date
    metrics: Metrics
    unqualified_since: date | None
    at_risk_since: date | None
    falls_on: date | None
    protected_until: date | None
    next_review_on: date | None
    to_stay: tuple[Need, ...]
    to_rise: Rise | None
    window: Window | None = None
    stands_until: date | None = None
    judged_from: date | None = None
    pinned_until: date | None = None
    rated: Tier | None = None
    pin_key: int | None = None
    pin_reason: str | None = None
    lasts_until: date | None = None
    to_keep: tuple[Need, ...] | None = None

    @property
    def at_risk(self) -> bool:
        """Whether the grace before a fall is running."""
        return self.at_risk_since is not None


def see_standing(member: MemberFold, *, day: date, as_of: datetime, looks_ahead: bool = False) -> Standing:
    """Describe a member who was caught up to `day`; `looks_ahead` finds `lasts_until` of rolling windows."""
    metrics, rules, span, pin = member.measure(day), member.rules, member.rated, member.pin
    rated, since, unqualified = rules.tiers[span.rank], member.since, span.unqualified_since
    held_until = span.since_day + rules.downgrade.min_hold_days
    risk_from = falls_on = judged = judged_from = to_keep = None
    if unqualified is not None and pin is None:
        risk = max(unqualified, held_until)
        risk_from, falls_on = date.fromordinal(risk), date.fromordinal(rules.fall_day(risk))
    window_from, window_to = member.window_on(day)
    if span.stands_until is not None:
        judged = date.fromordinal(span.stands_until)
        judged_from = member.window_on(judged - _DAY)[0]
        if judged_from <= day < judged:
            to_keep = needs_to_stay(rated, member.measure(judged - _DAY))
    is_protected = rated.rank > 0 and held_until > day.toordinal() and pin is None
    return Standing(
        rules.currency,
        rules.version,
        member.tier,
        since,
        date.fromordinal(member.day_of(since)),
        as_of,
        day,
        window_from,
        window_to,
        metrics,
        unqualified_since=None if unqualified is None else date.fromordinal(unqualified),
        at_risk_since=risk_from if risk_from is not None and risk_from <= day else None,
        falls_on=falls_on,
        protected_until=date.fromordinal(held_until) if is_protected else None,
        next_review_on=member.next_review_on,
        to_stay=needs_to_stay(rated, metrics),
        to_rise=rise_above(rated, rules, metrics),
        window=rules.window,
        stands_until=judged,
        judged_from=judged_from,
        pinned_until=None if pin is None else date.fromordinal(member.day_of(pin.ends_at)),
        rated=None if pin is None else rated,
        pin_key=None if pin is None else pin.key,
        lasts_until=judged or (_find_fall(member, day=day) if looks_ahead and rated.rank else None),
        to_keep=to_keep,
    )


def _find_fall(member: MemberFold, *, day: date) -> date | None:
    """Return the day of the next fall by the passing of time alone.

    None if there is none in ten years (what a year's end always confirms has no last day), or a pin holds.
    """
    ahead, last = member.ahead(), day + timedelta(days=_FAR_DAYS)
    while member.pin is None and (due := ahead.state().next_review_on) is not None and due <= last:
        ahead.catch_up(due)
        for change in ahead.changes:
            if change.from_rank is not None and change.to_rank < change.from_rank:
                return date.fromordinal(member.day_of(change.effective_at))
    return None


def metrics_json(metrics: Metrics, *, currency: str) -> dict[str, object]:
    """Return metrics as the API and the log of changes show them."""
    names: list[MetricName] = [
        "visit_interval_days",
        "days_since_last_visit",
        "active_days",
        "net_spend",
        "orders",
    ]
    shown: dict[str, object] = {
        name: value_json(name, metrics.value_of(name), currency=currency) for name in names
    }
    if metrics.member_days is not None:
        shown["member_days"] = metrics.member_days
    return shown


def value_json(metric: MetricName, value: int | Fraction | None, *, currency: str) -> int | str | None:
    """Return one value: money and the visit interval as decimal strings, counts as whole numbers."""
    if value is None:
        return None
    if metric == "net_spend":
        return to_text(int(value), currency=currency)
    return two_decimals(value) if metric == "visit_interval_days" else int(value)


def two_decimals(value: Fraction | int) -> str:
    """Return a number ≥ 0 rounded half up to two decimals: 55/2 is "27.50"."""
    hundredths = divide_half_up(value.numerator * 100, value.denominator)
    return f"{hundredths // 100}.{hundredths % 100:02d}"


def need_json(need: Need, *, currency: str) -> dict[str, object]:
    """Return a need as `{metric, op, have, need, met}`; `need` has two values for `between`."""
    leaf, have, met = need
    return {
        "metric": leaf.metric,
        "op": leaf.op,
        "have": value_json(leaf.metric, have, currency=currency),
        "need": leaf.notes.get(("need", currency)) or _note_threshold(leaf, currency),
        "met": met,
    }


def _note_threshold(leaf: Compare, currency: str) -> object:
    ends = [
        value_json(leaf.metric, end, currency=currency) for end in (leaf.value, leaf.upper) if end is not None
    ]
    shown = leaf.notes["need", currency] = ends if leaf.op == "between" else ends[0]
    return shown


def needs_json(needs: Iterable[Need], *, currency: str) -> list[dict[str, object]]:
    """Return several needs, in the order their rule was written."""
    return [need_json(need, currency=currency) for need in needs]


def standing_json(standing: Standing, *, locale: str) -> dict[str, object]:
    """Return a standing in the shape of `GET /members/{member_id}/tier`, without its explanation."""
    return {
        "tier": standing.tier.code,
        "name": standing.tier.names[locale],
        "rank": standing.tier.rank,
        "benefits": benefits_json(standing.tier, currency=standing.currency, locale=locale),
        "since": format_time(standing.since),
        "ruleset_version": standing.ruleset_version,
        "as_of": format_time(standing.as_of),
        "window": {"from": standing.window_from.isoformat(), "to": standing.window_to.isoformat()},
        "metrics": metrics_json(standing.metrics, currency=standing.currency),
        "at_risk": standing.at_risk,
        "at_risk_since": _iso(standing.at_risk_since),
        "falls_on": _iso(standing.falls_on),
        "protected_until": _iso(standing.protected_until),
        "stands_until": _iso(standing.pinned_until or standing.falls_on or standing.lasts_until),
        "override": None
        if standing.rated is None
        else {
            "tier": standing.tier.code,
            "until": _iso(standing.pinned_until),
            "reason": standing.pin_reason,
            "rated_tier": standing.rated.code,
        },
        "next_review_on": _iso(standing.next_review_on),
        **progress_json(standing, locale=locale),
    }


def standing_in_short(standing: Standing, *, locale: str) -> dict[str, object]:
    """Return what a card shows of a standing."""
    tier = standing.tier
    return {
        "tier": tier.code,
        "name": tier.names[locale],
        "rank": tier.rank,
        "since": format_time(standing.since),
        "at_risk": standing.at_risk,
        "falls_on": _iso(standing.falls_on),
        "benefits": benefits_json(tier, currency=standing.currency, locale=locale),
    }


def progress_json(standing: Standing, *, locale: str) -> dict[str, object]:
    """Return what is missing to stay and to rise."""
    rise, currency = standing.to_rise, standing.currency
    return {
        "to_stay": needs_json(standing.to_stay, currency=currency),
        "to_rise": None
        if rise is None
        else {
            "tier": rise.tier.code,
            "name": rise.tier.names[locale],
            "missing": needs_json(rise.missing, currency=currency),
            "one_order_is_enough": rise.one_order_is_enough,
        },
    }


def benefits_json(tier: Tier, *, currency: str, locale: str) -> list[dict[str, object]]:
    """Return a tier's benefits as answers show them; the same list for everybody, so never to be changed."""
    shown: list[dict[str, object]] | None = tier.notes.get((currency, locale))
    if shown is None:
        shown = [benefit_json(benefit, currency=currency, locale=locale) for benefit in tier.benefits]
        tier.notes[currency, locale] = shown
    return shown


def _iso(day: date | None) -> str | None:
    return None if day is None else day.isoformat()
