"""Law T1 over merges and their undoing, on a real database: random histories through the doors' own verbs."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from functools import partial
from typing import Any

from hypothesis import event, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, text

from service.activity import operations as activity
from service.activity.rules import NewLine, NewOrder, NewRefund, SentFor, TierFact
from service.kit.clock import last_moment, local_day
from service.kit.errors import Problem
from service.ledger import operations as ledger
from service.members import operations as members
from service.members.operations import Member
from service.profiles import merging
from service.profiles.merging import Asker
from service.tiers import operations as tiers
from service.tiers.rulesets import recall_timeline
from tests.conftest import SCALE
from tests.integration.tiers.shop import Shop, programme_in
from tests.laws.tier_worlds import START, World, changing_worlds, moments
from tests.laws.two_readers import agree, read_in_python, read_in_sql

REFUSED = {"already-merged", "survivor-merged", "not-merged", "undo-too-late"}


class Mergers:
    """A shop whose members become one and part again; facts go on coming under every id."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.orders: dict[tuple[str, int | None], str] = {}

    def find(self, member_id: str) -> Member:
        return members.get_member(self.shop.conn, member_id=member_id)

    def learn(self, member_id: str, fact: TierFact) -> None:
        """Record and rate a fact sent under an id, as the story of an order does."""
        shop, member = self.shop, self.find(member_id)
        first = local_day(min(fact.at, shop.now), timezone=shop.programme.timezone)
        days = activity.list_member_days(
            shop.conn,
            member_key=member.member_key,
            after=first - timedelta(days=tiers.LONGEST_WINDOW_DAYS + 2),
        )
        recorded = self.record(member_id, member, fact)
        assert recorded is not None
        outcome = tiers.rate_facts(
            shop.conn,
            member_key=member.member_key,
            days_before=days,
            facts=[recorded],
            now=shop.now,
            programme=shop.programme,
        )
        if outcome.pending:
            tiers.refold_member(
                shop.conn, member_key=member.member_key, programme=shop.programme, now=shop.now
            )

    def record(self, member_id: str, member: Member, fact: TierFact) -> TierFact | None:
        known: dict[str, Any] = {
            "member_key": member.member_key,
            "member_id": member.member_id,
            "programme": self.shop.programme,
            "now": max(self.shop.now, fact.at),
            "sent_for": None if member.origin_key is None else SentFor(member.origin_key, member_id),
        }
        name = f"{member_id}-{fact.source_id}"
        if fact.cause == "order":
            self.orders[member_id, fact.order_key] = name
            order = NewOrder(name, fact.at, "TWD", (NewLine("tea", 1, fact.goods_delta, None),))
            return activity.record_order(self.shop.conn, order=order, **known).fact
        order_id = None if fact.order_key is None else self.orders[member_id, fact.order_key]
        amount = fact.unlinked_delta - fact.goods_delta
        refund = NewRefund(name, order_id, fact.at, None, "return", None, amount, "TWD")
        return activity.record_refund(self.shop.conn, refund=refund, **known).fact

    def merge(self, source: str, into: str) -> None:
        self._try("merged", partial(merging.merge_members, self.shop.conn, member_id=source, into_id=into))

    def undo(self, source: str) -> None:
        self._try("undone", partial(merging.undo_merge, self.shop.conn, member_id=source))

    def _try(self, what: str, verb: Any) -> None:
        asker = Asker("admin:k1", "because", None, self.shop.now)
        try:
            with self.shop.conn.begin_nested():
                verb(asker=asker, programme=self.shop.programme, locale="en")
        except Problem as problem:
            if problem.code not in REFUSED:
                raise
            what = problem.code
        event(what)

    def check(self) -> None:
        """T1 for everybody, the ledger's laws, and days that are the sum of the facts behind them."""
        assert self.shop.violations() == []
        assert ledger.check_laws(self.shop.conn) == []
        rows = self.shop.conn.execute(
            text("SELECT member_key, day, goods_minor, spend_minor, orders, unlinked_minor FROM member_days")
        )
        stored = {tuple(row[:2]): tuple(row[2:]) for row in rows if any(row[2:])}
        summed: dict[tuple[int, Any], list[int]] = {}
        keys = sorted(self.shop.keys.values())
        for key, facts in activity.stream_tier_facts(self.shop.conn, member_keys=keys):
            for fact in facts:
                total = summed.setdefault((key, fact.day), [0, 0, 0, 0])
                parts = (fact.goods_delta, fact.spend_delta, fact.orders_delta, fact.unlinked_delta)
                for place, part in enumerate(parts):
                    total[place] += part
        assert stored == {key: tuple(total) for key, total in summed.items() if any(total)}


NAMES = ("m1", "m2", "m3")
Step = tuple[datetime, Any]


def steps_of(world: World, mergers: Mergers, data: st.DataObject) -> list[Step]:
    """Every fact as it arrives, on time or late, with merges and undoings in between."""
    steps: list[Step] = [(at, partial(mergers.learn, "m1", fact)) for at, fact in world.arrivals]
    for name, other in zip(NAMES[1:], world.merges, strict=False):
        arrived = other.joined_at
        for fact in other.facts:
            # In their own order, so that no refund comes before its order; often long after.
            late = data.draw(st.sampled_from([0, 0, 5, 40, 700]))
            arrived = max(arrived, fact.at + timedelta(days=late))
            steps.append((arrived, partial(mergers.learn, name, fact)))
    names = st.sampled_from(NAMES[: 1 + len(world.merges)])
    for _ in range(data.draw(st.integers(1, 4))):
        at, source, into = data.draw(moments(1)), data.draw(names), data.draw(names)
        if source != into:
            steps.append((at, partial(mergers.merge, source, into)))
            back = at + timedelta(days=data.draw(st.sampled_from([0, 0, 1, 12, 29, 29, 31, 900])))
            steps.append((back, partial(mergers.undo, source)))
    return sorted(steps, key=lambda step: step[0])


def check_past_readings(shop: Shop, day: date) -> None:
    """T3 as of a past day, for all who were members then: of facts that have since changed hands too."""
    day = min(day, local_day(shop.now, timezone=shop.programme.timezone))
    folds = read_in_python(shop, day)
    moment = last_moment(day, timezone=shop.programme.timezone)
    rules = recall_timeline(shop.conn).at(moment)
    rows = read_in_sql(shop, rules, [], day, past=True)
    assert set(rows) == set(folds)
    for key, member in folds.items():
        agree(rows[key], member.measure(max(day, member.last_day)), rules, [])


@given(changing_worlds(merging=True), st.data())
@settings(max_examples=25 * SCALE)
def test_t1_holds_over_merges_undoings_and_facts_of_every_id(
    conn: Connection, world: World, data: st.DataObject
) -> None:
    savepoint = conn.begin_nested()
    try:
        shop = Shop(conn, world.definition, programme=programme_in(world.timezone))
        for starts_at, definition in world.rulesets[1:]:
            shop.publish(definition, starts_at)
        joined = [world.joined_at, *(other.joined_at for other in world.merges)]
        for name, joined_at in zip(NAMES, joined, strict=False):
            shop.enrol(name, joined_at=joined_at)
        mergers = Mergers(shop)
        for at, step in steps_of(world, mergers, data):
            shop.now = max(shop.now, at)
            if data.draw(st.booleans()):
                everyone = data.draw(st.booleans())
                tiers.review_due(conn, now=shop.now, programme=shop.programme, limit=9, everyone=everyone)
            step()
            mergers.check()
        shop.review((shop.now - shop.at(0)) / timedelta(days=1) + 60)
        mergers.check()
        check_past_readings(shop, START.date() + timedelta(days=data.draw(st.integers(-3, 890))))
    finally:
        savepoint.rollback()
