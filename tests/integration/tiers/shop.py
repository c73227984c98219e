"""A small shop on a real database: members, orders and refunds by way of the rooms' own verbs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, event, text

from service.activity import operations as activity
from service.activity.rules import NewLine, NewOrder, NewRefund, TierFact
from service.kit.clock import local_day
from service.kit.sealing import Sealer
from service.members import operations as members
from service.programme.operations import PointsExpiry, Programme, ProgrammeSettings
from service.tiers import operations as tiers
from service.tiers import store
from service.tiers.operations import TierOutcome

START = datetime(2024, 1, 1, 4, 0, tzinfo=UTC)
SEALER = Sealer(b"a key for tests")


def programme_in(timezone: str, *, currency: str = "TWD") -> Programme:
    """Return a programme in a zone."""
    return Programme(
        currency=currency,
        timezone=timezone,
        settings=ProgrammeSettings(
            version=1,
            return_period_days=7,
            points_expiry=PointsExpiry("none"),
            earn_points=1,
            earn_per_minor=3000,
            shortfall_policy="clamp",
            point_value_minor=30,
        ),
    )


def spend_ladder(
    *thresholds: int, window_days: int = 30, grace_days: int = 10, min_hold_days: int = 0
) -> dict[str, Any]:
    """Return a definition whose tiers t1, t2, … take `net_spend >= threshold`."""
    names = {"en": "Tier", "zh-Hant": "等級"}
    return {
        "currency": "TWD",
        "window": {"kind": "rolling", "days": window_days},
        "tiers": [
            {"code": "t0", "names": names},
            *(
                {
                    "code": f"t{rank}",
                    "names": names,
                    "enter": {"metric": "net_spend", "op": ">=", "value": str(threshold)},
                }
                for rank, threshold in enumerate(thresholds, start=1)
            ),
        ],
        "downgrade": {"policy": "one_step", "grace_days": grace_days, "min_hold_days": min_hold_days},
    }


@dataclass
class Shop:
    """One programme on one connection; days count from START, `now` follows what is done."""

    conn: Connection
    definition: Mapping[str, Any]
    programme: Programme = field(default_factory=lambda: programme_in("UTC"))
    now: datetime = START
    keys: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        store.add_first_ruleset(self.conn, definition=self.definition, now=START)

    def at(self, day: float) -> datetime:
        """Return a moment some days after START."""
        return START + timedelta(days=day)

    def on(self, day: int) -> date:
        """Return the programme's day of that moment."""
        return local_day(self.at(day), timezone=self.programme.timezone)

    def enrol(self, member_id: str = "m1", *, day: float = 0, joined_at: datetime | None = None) -> int:
        """Enrol a member and begin the membership."""
        moment = joined_at or self.at(day)
        self.now = max(self.now, moment)
        key = self.enrol_only(member_id, joined_at=moment)
        tiers.start_membership(
            self.conn, member_key=key, joined_at=moment, programme=self.programme, now=self.now
        )
        return key

    def enrol_only(self, member_id: str, *, joined_at: datetime) -> int:
        """Enrol a member as a bulk import does, without a membership."""
        member, _ = members.enrol_or_update(
            self.conn,
            member_id=member_id,
            body={"joined_at": joined_at},
            store_key=None,
            sealer=SEALER,
            now=self.now,
        )
        self.keys[member_id] = member.member_key
        return member.member_key

    def order(
        self,
        order_id: str,
        day: float,
        amount: int,
        *,
        member_id: str = "m1",
        arrives: float | None = None,
    ) -> TierOutcome:
        """Place an order of `amount` units of currency; it arrives at once, or some day later."""
        placed_at = self.at(day)
        return self.rate(
            member_id,
            placed_at,
            self.at(day if arrives is None else arrives),
            lambda: self.record_order(order_id, placed_at, amount * 100, member_id=member_id),
        )

    def refund(
        self,
        refund_id: str,
        order_id: str | None,
        day: float,
        amount: int,
        *,
        member_id: str = "m1",
        arrives: float | None = None,
    ) -> TierOutcome:
        """Give `amount` units back, of an order or of none."""
        refunded_at = self.at(day)
        return self.rate(
            member_id,
            refunded_at,
            self.at(day if arrives is None else arrives),
            lambda: self.record_refund(refund_id, order_id, refunded_at, amount * 100, member_id=member_id),
        )

    def cancel(self, order_id: str, day: float, *, member_id: str = "m1") -> TierOutcome:
        """Call an order off."""
        return self.rate(
            member_id, self.at(day), self.at(day), lambda: self.record_cancellation(order_id, self.at(day))
        )

    def publish(self, definition: Mapping[str, Any], day: float | datetime) -> int:
        """Put another rule set into force from a day or moment on, and return its version."""
        version: int = self.conn.execute(
            text(
                "INSERT INTO tier_rulesets (version, state, definition, effective_from, created_at, "
                "published_at, published_by, reason) SELECT max(version) + 1, 'scheduled', "
                "CAST(:definition AS jsonb), :at, :at, :at, 'tests', 'tests' FROM tier_rulesets "
                "RETURNING version"
            ),
            {
                "definition": json.dumps(definition),
                "at": day if isinstance(day, datetime) else self.at(day),
            },
        ).scalar_one()
        return version

    def pin(self, tier: str, day: float, *, until: int, member_id: str = "m1", reason: str = "vip") -> None:
        """Hold a member at a tier from a moment to the beginning of a day."""
        self.now = max(self.now, self.at(day))
        tiers.pin_tier(
            self.conn,
            member_key=self.keys[member_id],
            tier=tier,
            until=self.on(until),
            reason=reason,
            actor="marketing:k1",
            now=self.now,
            programme=self.programme,
        )

    def lift(self, day: float, *, member_id: str = "m1") -> None:
        """End a member's override."""
        self.now = max(self.now, self.at(day))
        tiers.lift_pin(
            self.conn,
            member_key=self.keys[member_id],
            actor="marketing:k1",
            now=self.now,
            programme=self.programme,
        )

    def rate(self, member_id: str, at: datetime, arrives: datetime, record: Any) -> TierOutcome:
        """Record a fact and rate it, as the story of an order does."""
        self.now = max(self.now, arrives)
        key = self.keys[member_id]
        first = local_day(min(at, self.now), timezone=self.programme.timezone)
        days = activity.list_member_days(
            self.conn, member_key=key, after=first - timedelta(days=tiers.LONGEST_WINDOW_DAYS + 2)
        )
        fact = record()
        return tiers.rate_facts(
            self.conn,
            member_key=key,
            days_before=days,
            facts=[fact],
            now=self.now,
            programme=self.programme,
        )

    def record_order(
        self, order_id: str, placed_at: datetime, minor: int, *, member_id: str = "m1"
    ) -> TierFact:
        """Record an order without rating it."""
        done = activity.record_order(
            self.conn,
            member_key=self.keys[member_id],
            member_id=member_id,
            order=NewOrder(order_id, placed_at, "TWD", (NewLine("tea", 1, minor, None),)),
            programme=self.programme,
            now=max(self.now, placed_at),
        )
        assert done.fact is not None
        return done.fact

    def record_refund(
        self,
        refund_id: str,
        order_id: str | None,
        refunded_at: datetime,
        minor: int,
        *,
        member_id: str = "m1",
    ) -> TierFact:
        """Record a refund without rating it."""
        done = activity.record_refund(
            self.conn,
            member_key=self.keys[member_id],
            member_id=member_id,
            refund=NewRefund(refund_id, order_id, refunded_at, None, "return", None, minor, "TWD"),
            programme=self.programme,
            now=max(self.now, refunded_at),
        )
        assert done.fact is not None
        return done.fact

    def record_cancellation(self, order_id: str, cancelled_at: datetime) -> TierFact:
        """Record that an order was called off without rating it."""
        done = activity.cancel_order(
            self.conn, order_id=order_id, cancelled_at=cancelled_at, reason="changed mind", now=self.now
        )
        assert done.fact is not None
        return done.fact

    def review(self, day: float, *, everyone: bool = False, limit: int = 100) -> tiers.ReviewChunk:
        """Run one chunk of the nightly review on a day."""
        self.now = max(self.now, self.at(day))
        return tiers.review_due(
            self.conn, now=self.now, programme=self.programme, limit=limit, everyone=everyone
        )

    def refold(self, *member_ids: str, import_key: int | None = 1) -> list[tiers.OrderTier]:
        """Fold members as an import does."""
        return list(
            tiers.refold_members(
                self.conn,
                member_keys=[self.keys[member_id] for member_id in member_ids],
                now=self.now,
                programme=self.programme,
                import_key=import_key,
            )
        )

    def violations(self) -> list[tiers.Violation]:
        """Check the laws on everything there is."""
        return list(tiers.check_laws(self.conn, programme=self.programme, now=self.now))

    def state(self, member_id: str = "m1") -> Any:
        """Return the stored state of a member."""
        return self.conn.execute(
            text("SELECT * FROM tier_states WHERE member_key = :key"), {"key": self.keys[member_id]}
        ).one()

    def log(self, member_id: str = "m1", *, all_rows: bool = False) -> list[tuple[Any, ...]]:
        """Return (from, to, cause, days after START) of the changes that stand, or of all."""
        rows = self.conn.execute(
            text(
                "SELECT from_tier, to_tier, cause, effective_at, superseded_at FROM tier_changes "
                "WHERE member_key = :key ORDER BY effective_at, change_key"
            ),
            {"key": self.keys[member_id]},
        )
        return [
            (row.from_tier, row.to_tier, row.cause, (row.effective_at - START) / timedelta(days=1))
            for row in rows
            if all_rows or row.superseded_at is None
        ]

    def events(self) -> list[tuple[str, Mapping[str, Any]]]:
        """Return topic and payload of every event told, in order."""
        rows = self.conn.execute(text("SELECT topic, payload FROM outbox ORDER BY event_key"))
        return [(row.topic, row.payload) for row in rows]

    def standing(self, day: float | None = None, **options: Any) -> dict[str, Any]:
        """Return a member's standing as the API tells it."""
        if day is not None:
            self.now = max(self.now, self.at(day))
        given: dict[str, Any] = {"as_of": None, "locale": "en", "member_key": self.keys["m1"]} | options
        return tiers.get_standing(self.conn, now=self.now, programme=self.programme, **given)


class Statements:
    """Counts the statements a connection runs."""

    def __init__(self, conn: Connection) -> None:
        self.conn = conn
        self.seen: list[str] = []

    def _note(self, *arguments: Any) -> None:
        self.seen.append(arguments[2])

    def __enter__(self) -> Statements:
        event.listen(self.conn, "before_cursor_execute", self._note)
        return self

    def __exit__(self, *error: object) -> None:
        event.remove(self.conn, "before_cursor_execute", self._note)
