"""Rank a member's rewards, say on which side of the hold-out, and leave a decision record."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from service.experiments import operations as experiments
from service.experiments.rules import REWARDS
from service.kit.clock import local_day
from service.kit.ids import new_uuid
from service.kit.pagination import encode_cursor
from service.ledger import operations as ledger
from service.members.errors import UnknownMember
from service.members.operations import get_member
from service.programme.operations import Programme
from service.recommendations.annotation import (
    ASSIGNMENT_UNAVAILABLE,
    SPLIT,
    Policy,
    Surface,
    build_measurement,
    reason_without_arm,
)
from service.recommendations.attribution import sign_token
from service.recommendations.decisions import ID_PREFIX
from service.recommendations.ranking import Taken, count_taken, seen_since
from service.recommendations.rewards import rules, store, wording
from service.recommendations.rewards.rules import Offering, Placed, RunningOut, Taster, Tastes
from service.recommendations.serving import Serving
from service.rewards import operations as rewards
from service.tiers import operations as tiers
from service.tiers.errors import NoMembership

log = logging.getLogger(__name__)

RANKED, PLAIN = "ranked", "plain"
"""The policies: what suits the member best first; by points, then code."""
TOKEN_DAYS = 60
_EPOCH = date(1970, 1, 1)
_SETTINGS = (rules.VERSION, dict(rules.WEIGHTS), rules.NEAR, rules.NEUTRAL)
_DAYS = (rules.OFFER_SOON_DAYS, rules.POINTS_SOON_DAYS)
_CONFIG_HASH = hashlib.sha256(f"{_SETTINGS} {_DAYS}".encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Asked:
    """Whose rewards, where they are shown, how many, and after which place (offset and sort key)."""

    member_id: str
    placement: str
    channel: str
    limit: int
    after: tuple[int, tuple[int, int, str]] | None
    locale: str
    traceparent: str | None

    @property
    def offset(self) -> int:
        """Return how many were shown before."""
        return 0 if self.after is None else self.after[0]


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks, their points and what they took: the subject is None where it could not be asked for."""

    member_key: int
    member_id: str
    tier: str
    points: ledger.Points
    subject: experiments.Subject | None = None
    taken: Taken = field(default_factory=Taken)


@dataclass(frozen=True, slots=True)
class Answer:
    """Rewards in order, this page of them, and what put them there."""

    candidates: Sequence[Placed]
    shown: Sequence[Placed]
    policy: Policy
    taken: Taken


def rank_rewards(
    conn: Connection, *, serving: Serving, programme: Programme, asked: Asked, now: datetime
) -> dict[str, Any]:
    """Return a member's rewards in order, with the measurement block, and record that they were sent.

    The first answer enrols the member. The hold-out gets the plain order through the same code. What fails
    (ranking, assignment store) is named in an answer of the same shape.

    Raises:
        UnknownMember: nobody has this id.
    """
    asker, newly, now = _open(conn, asked, programme, now)
    offered = rewards.list_offered(
        conn, member_key=asker.member_key, tier=asker.tier, available=asker.points.available, now=now
    )
    answer = _arrange(asker, asked, offered, programme, now)
    exposure_id = new_uuid(now)
    by_code = {one.code: one for one in offered}
    shown = [by_code[one.code] for one in answer.shown]
    data = rewards.show_offered(conn, offered=shown, programme=programme, locale=asked.locale, now=now)
    if asker.subject is not None:
        exposure = _expose(asker.subject, asked, answer, programme, exposure_id, now)
        exposure = replace(exposure, reward_keys=[one.reward_key for one in shown])
        # A first assignment in the same transaction is worth waiting for the disk.
        experiments.record_exposure(conn, exposure=exposure, relaxed=not newly)
    recommendation_id = f"{ID_PREFIX}_{exposure_id.hex}"
    return {
        "recommendation_id": recommendation_id,
        "data": data,
        "items": _annotate(answer.shown, data, asked, recommendation_id),
        "next_cursor": _next_cursor(asked, answer),
        "measurement": _measure(serving, asker.subject, asked, answer.policy, recommendation_id, now),
    }


def _measure(
    serving: Serving,
    subject: experiments.Subject | None,
    asked: Asked,
    policy: Policy,
    recommendation_id: str,
    now: datetime,
) -> dict[str, Any]:
    return build_measurement(
        subject=subject,
        reason=ASSIGNMENT_UNAVAILABLE if subject is None else reason_without_arm(subject),
        policy=policy,
        surface=Surface(asked.placement, asked.channel),
        attribution_token=sign_token(
            serving.keys,
            recommendation_id=recommendation_id,
            member_id=asked.member_id,
            issued_at=now,
            window_end=now + timedelta(days=TOKEN_DAYS),
        ),
        issued_at=now,
        traceparent=asked.traceparent,
    )


def _open(
    conn: Connection, asked: Asked, programme: Programme, now: datetime
) -> tuple[Asker, bool, datetime]:
    """Return who asks, assigned wherever that can be, whether that was done just now, and when we answer."""
    try:
        opening = store.find_opening(
            conn,
            member_id=asked.member_id,
            timezone=programme.timezone,
            locale=asked.locale,
            now=now,
            looked_since=seen_since(now),
        )
        if opening.member_key is None:
            raise UnknownMember(f"no member has the id {asked.member_id}")
        subject, newly = experiments.enrol_subject(
            conn,
            subject=experiments.read_subject(opening, member_id=asked.member_id),
            surface=REWARDS,
            now=now,
        )
    except DBAPIError as error:
        if error.connection_invalidated:
            raise
        log.exception("no assignment could be read; serving rewards in the plain order")
        return _open_unassigned(conn, asked.member_id, programme, now), False, now
    asker = Asker(
        opening.member_key,
        subject.member_id,
        subject.tier or "",
        ledger.read_points(opening.points or (), programme=programme),
        subject,
        # Who objected to profiling is answered as somebody of whom nothing is known.
        Taken() if opening.profiling is False else count_taken(opening.history or (), with_categories=True),
    )
    return asker, newly, subject.moment_of_answer(now)


def _open_unassigned(conn: Connection, member_id: str, programme: Programme, now: datetime) -> Asker:
    member = get_member(conn, member_id=member_id)
    try:
        tier = tiers.get_held_tier(conn, member_key=member.member_key).code
    except NoMembership:
        tier = ""
    points = ledger.get_points(conn, member_key=member.member_key, now=now, programme=programme)
    return Asker(member.member_key, member.member_id, tier, points)


def _choose_policy(subject: experiments.Subject | None) -> str:
    """Return the policy of this member's arms: the hold-out's, or one that a nested experiment tries."""
    if subject is None or (subject.assignment is not None and subject.assignment.is_holdout):
        return PLAIN
    tried = [place.policy for place in subject.places if place.surface == REWARDS]
    return PLAIN if PLAIN in tried else RANKED


def _arrange(
    asker: Asker,
    asked: Asked,
    offered: Sequence[rewards.Offered],
    programme: Programme,
    now: datetime,
) -> Answer:
    """Return rewards in the order of the member's policy; where that fails in the plain one, and say so."""
    offerings = [Offering(one.code, one.offer, one.terms, one.against) for one in offered]
    name = _choose_policy(asker.subject)
    fallback = PLAIN if asker.subject is None else None
    try:
        placed = _rank(name, offerings, asker, programme, now)
    except Exception:
        log.exception("ranking rewards failed; serving the plain order")
        placed, fallback = rules.rank_plainly(offerings, available=asker.points.available), PLAIN
    rest = [one for one in placed if asked.after is None or one.key > asked.after[1]]
    if not rest:
        fallback = "empty"
    policy = Policy(name, version=rules.VERSION, fallback=fallback)
    return Answer(placed, rest[: asked.limit], policy, asker.taken)


def _rank(
    name: str,
    offerings: Sequence[Offering],
    asker: Asker,
    programme: Programme,
    now: datetime,
) -> list[Placed]:
    points, taken = asker.points, asker.taken
    if name == PLAIN:
        return rules.rank_plainly(offerings, available=points.available)
    categories = taken.categories
    bought = [(one.item_id, categories.get(one.item_id) or ()) for one in taken.purchases]
    soonest = points.soonest
    taster = Taster(
        available=points.available,
        point_value_minor=programme.settings.point_value_minor,
        tastes=Tastes.of(bought),
        running_out=None
        if soonest is None
        # What is owed comes off first: only what is left of them can be spent.
        else RunningOut(max(0, min(soonest.points, points.available)), date.fromisoformat(soonest.on)),
    )
    return rules.rank_offerings(offerings, taster, now=now, timezone=programme.timezone)


def _annotate(
    placed: Sequence[Placed], data: Sequence[dict[str, Any]], asked: Asked, recommendation_id: str
) -> list[dict[str, Any]]:
    """Return place, reason and impression of each reward; `index` is its place in `data`."""
    items = []
    for index, (one, shown) in enumerate(zip(placed, data, strict=True)):
        rank = asked.offset + index + 1
        against = {reason["reason"]: reason["text"] for reason in shown["reasons"]}
        code = one.why.code
        items.append(
            {
                "reward": one.code,
                "rank": rank,
                "index": index,
                "score": one.score,
                "source": one.source,
                "reason": {
                    "code": code,
                    "text": against[code] if code in against else wording.tell(one.why, locale=asked.locale),
                },
                "impression_id": f"{recommendation_id}#{rank}",
            }
        )
    return items


def _next_cursor(asked: Asked, answer: Answer) -> str | None:
    if not answer.shown or answer.shown[-1].key == answer.candidates[-1].key:
        return None
    return encode_cursor(asked.offset + len(answer.shown), *answer.shown[-1].key)


def _expose(
    subject: experiments.Subject,
    asked: Asked,
    answer: Answer,
    programme: Programme,
    exposure_id: UUID,
    now: datetime,
) -> experiments.Exposure:
    assignment = subject.assignment
    return experiments.Exposure(
        exposure_id=exposure_id,
        issued_at=now,
        member_key=subject.member_key,
        experiment_key=None if assignment is None else assignment.experiment.experiment_key,
        arm=None if assignment is None else assignment.arm,
        policy=answer.policy.name,
        model_version=None,
        fallback=answer.policy.fallback,
        placement=asked.placement,
        channel=asked.channel,
        window_end=now + timedelta(days=TOKEN_DAYS),
        item_keys=(),
        decision=_decide(subject, asked, answer, (local_day(now, timezone=programme.timezone) - _EPOCH).days),
        nested=[
            place.experiment.experiment_key
            for place in subject.places
            if place.arm is not None and place.surface == REWARDS
        ],
    )


def _decide(subject: experiments.Subject, asked: Asked, answer: Answer, today: int) -> dict[str, Any]:
    """Return the decision record, of the same names as that of recommended items."""
    assignment, taken = subject.assignment, answer.taken
    drawn = None if assignment is None else assignment.experiment
    codes = "\x1f".join(sorted(one.code for one in answer.candidates))
    return {
        "assignment": {
            "reason": reason_without_arm(subject) or SPLIT,
            "bucket": None if assignment is None else assignment.bucket,
            "salt_id": None if drawn is None else drawn.salt,
            "arm_probability": None
            if assignment is None or drawn is None
            else experiments.probability_of(drawn.arms, assignment.arm),
        },
        "candidates": {
            "count": len(answer.candidates),
            "hash": hashlib.blake2b(codes.encode(), digest_size=8).hexdigest(),
        },
        "propensity": {"kind": "deterministic", "value": None},
        "context": {
            "tier": subject.tier,
            "days_since_last_order": None
            if taken.last_order_day is None
            else max(0, today - taken.last_order_day),
            "purchases_read": len(taken.purchases),
        },
        "request": {
            "limit": asked.limit,
            "mode": REWARDS,
            "category": None,
            "context_sku": None,
            # Those of the pages before.
            "excluded": asked.offset,
        },
        "seed": None,
        "config_hash": _CONFIG_HASH,
        "ranking": [[one.score, one.source, one.why.code, _round(one.parts)] for one in answer.shown],
    }


def _round(parts: Mapping[str, float] | None) -> dict[str, float] | None:
    return None if parts is None else {name: round(part, 6) for name, part in parts.items()}
