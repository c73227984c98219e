"""Two members become one, and may become two again: the story, in its caller's one transaction.

Locks as everywhere: first that of merging itself, which keeps out whoever writes facts of many at once; then
both accounts by ascending key, then both members' rows, then both tiers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from service.activity import operations as activity
from service.earning import operations as earning
from service.experiments import operations as experiments
from service.kit import audit, outbox
from service.kit.clock import format_time
from service.kit.errors import FieldError
from service.ledger import operations as ledger
from service.ledger.errors import AlreadyMerged, MergeIntoSelf
from service.ledger.operations import Balance
from service.members import operations as members
from service.members.errors import MemberNotEnrolled, NotMerged, SurvivorMerged, UndoTooLate
from service.members.operations import Member, Merged
from service.members.rules import UNDO_DAYS
from service.programme.operations import Programme
from service.rewards import operations as rewards
from service.tiers import operations as tiers


@dataclass(frozen=True, slots=True)
class Asker:
    """Who wants it, why, and by which request."""

    actor: str
    reason: str
    request_id: str | None
    now: datetime


def merge_members(
    conn: Connection, *, member_id: str, into_id: str, asker: Asker, programme: Programme, locale: str
) -> dict[str, Any]:
    """Merge a member into another, and return what the survivor has then.

    From now on the facts of both count for the survivor, and the merged id stands for it.

    Raises:
        UnknownMember: nobody has this id. MemberNotEnrolled: nobody has the other one.
        MergeIntoSelf: both are the same. MemberErased: one of them was erased.
        AlreadyMerged: it was merged before. SurvivorMerged: the other one was.
    """
    members.change_owners(conn)
    source, target = _two(conn, member_id, into_id)
    now, keys = asker.now, {"from_key": source.member_key, "into_key": target.member_key}
    account = ledger.merge_accounts(
        conn,
        from_member_key=source.member_key,
        into_member_key=target.member_key,
        now=now,
        reason=asker.reason,
        actor=asker.actor,
    )
    merge_key = members.record_merge(conn, **keys, now=now, reason=asker.reason, actor=asker.actor)
    tiers.lock_two(conn, member_keys=(source.member_key, target.member_key))
    activity.hand_over(conn, **keys)
    earning.hand_over_awards(conn, **keys)
    rewards.hand_over(conn, **keys)
    experiments.merge_assignments(conn, **keys, now=now)
    details = {"pin_key": tiers.merge_tiers(conn, **keys, now=now, programme=programme)}
    members.note_details(conn, merge_key=merge_key, details=details)
    _tell(conn, "merged", source, target, asker)
    return {
        "member_id": target.member_id,
        "merged_id": source.member_id,
        "merged_at": format_time(now),
        "undo_until": format_time(now + timedelta(days=UNDO_DAYS)),
        "reason": asker.reason,
        "tier": _tier(conn, target.member_key, locale),
        "points": _points(account),
    }


def undo_merge(
    conn: Connection, *, member_id: str, asker: Asker, programme: Programme, locale: str
) -> dict[str, Any]:
    """Let a merged member be a member of its own again, and return what both have then.

    What was sent under its id, before and since, counts for it again, and for it alone.

    Raises:
        UnknownMember: nobody has this id. NotMerged: it stands for itself. UndoTooLate: 30 days are over.
        SurvivorMerged: the survivor was merged into somebody else since. MergedPointsHeld: a hold is open.
    """
    members.change_owners(conn)
    source = members.get_own_member(conn, member_id=member_id)
    target = members.get_member(conn, member_id=member_id)
    ledger.lock_two(conn, member_keys=(source.member_key, target.member_key), now=asker.now)
    merge = _standing_merge(conn, source, asker.now)
    keys = {"from_key": merge.from_key, "into_key": merge.into_key}
    origins = _family(conn, merge)
    balances = ledger.unmerge_accounts(
        conn,
        from_member_key=merge.from_key,
        into_member_key=merge.into_key,
        family=origins,
        order_keys=activity.list_orders_sent_for(conn, member_key=merge.into_key, origins=origins),
        event_keys=earning.list_awarded_for(conn, member_key=merge.into_key, origins=origins),
        merged_at=merge.merged_at,
        now=asker.now,
        reason=asker.reason,
        actor=asker.actor,
    )
    members.undo_merge(conn, merge=merge, actor=asker.actor, reason=asker.reason, now=asker.now)
    tiers.lock_two(conn, member_keys=(merge.from_key, merge.into_key))
    activity.hand_back(conn, **keys, origins=origins)
    earning.hand_back_awards(conn, **keys)
    rewards.hand_back(conn, **keys, origins=origins)
    experiments.undo_merge_assignments(conn, **keys)
    pin_key = merge.details["pin_key"]
    tiers.unmerge_tiers(conn, **keys, pin_key=pin_key, actor=asker.actor, now=asker.now, programme=programme)
    _tell(conn, "merge_undone", source, target, asker)
    shown = [
        {"member_id": one.member_id, "tier": _tier(conn, one.member_key, locale), "points": _points(balance)}
        for one, balance in zip((source, target), balances, strict=True)
    ]
    return {"undone_at": format_time(asker.now), "reason": asker.reason, "members": shown}


def _two(conn: Connection, member_id: str, into_id: str) -> tuple[Member, Member]:
    source = members.get_own_member(conn, member_id=member_id)
    if member_id == into_id:
        raise MergeIntoSelf(errors=[FieldError("the member itself", pointer="/into")])
    if source.merged_into is not None:
        survivor = members.get_member(conn, member_id=member_id)
        raise AlreadyMerged(f"{member_id} goes by {survivor.member_id} now")
    target = members.find_member(conn, member_id=into_id)
    if target is None:
        detail = FieldError("not enrolled", pointer="/into")
        raise MemberNotEnrolled(f"no member has the id {into_id}", errors=[detail])
    if target.origin_key is not None:
        raise SurvivorMerged(f"{into_id} goes by {target.member_id} now; merge into that one")
    return source, target


def _standing_merge(conn: Connection, source: Member, now: datetime) -> Merged:
    merge = members.find_merge(conn, from_key=source.member_key)
    if merge is None:
        raise NotMerged(f"{source.member_id} stands for itself")
    (survivor,) = members.find_survivors(conn, member_keys=[merge.into_key]).values()
    if survivor != merge.into_key:
        raise SurvivorMerged("the member it was merged into was merged itself; undo that merge first")
    if now > merge.merged_at + timedelta(days=UNDO_DAYS):
        raise UndoTooLate(f"they were merged at {format_time(merge.merged_at)}")
    return merge


def _family(conn: Connection, merge: Merged) -> Sequence[int]:
    """Return the merged member and all who had been merged into it."""
    beginning = members.list_beginnings(conn, member_keys=[merge.from_key])[merge.from_key]
    return [merge.from_key, *(part.origin_key for part in beginning.parts)]


def _tell(conn: Connection, verb: str, source: Member, target: Member, asker: Asker) -> None:
    """Log it with both members, and tell others once."""
    for one in (source, target):
        audit.record(
            conn,
            actor=asker.actor,
            action=f"member.{verb}",
            subject=("member", None),
            member_key=one.member_key,
            after={"merged_id": source.member_id, "into": target.member_id},
            reason=asker.reason,
            request_id=asker.request_id,
            now=asker.now,
        )
    outbox.emit(
        conn,
        topic=f"member.{verb}",
        member_key=target.member_key,
        payload={"merged_id": source.member_id, "into": target.member_id},
        occurred_at=asker.now,
    )


def _tier(conn: Connection, member_key: int, locale: str) -> dict[str, Any]:
    held = tiers.get_held_tier(conn, member_key=member_key)
    return {"tier": held.code, "name": held.name.get(locale) or held.code, "rank": held.rank}


def _points(account: Balance) -> dict[str, int]:
    return {"available": account.available - account.debt, "pending": account.pending, "held": account.held}
