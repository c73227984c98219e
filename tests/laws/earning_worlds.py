"""Random earning rules, orders and refunds, and a shop that plays them through the stories."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st
from sqlalchemy import Connection

from service.activity.rules import NewLine, NewOrder, NewRefund, NewRefundLine
from service.earning import operations as earning
from service.earning.definition import read_rules
from service.earning.operations import Actor, Draft, EarningRules
from service.intake import operations as intake
from service.intake.quotes.operations import quote_order
from service.kit.sealing import Sealer
from service.programme.operations import Programme, fix_programme
from service.tiers.operations import ensure_default_ruleset

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
SKUS = ("tea", "cup", "gift", "cake")
CATEGORIES = (None, "drinks", "cards", "sweets")
SEALER = Sealer(b"a key of the tests, 32 bytes long")

_names = st.lists(st.sampled_from(SKUS), min_size=1, max_size=2, unique=True)
_kinds = st.lists(st.sampled_from(CATEGORIES[1:]), min_size=1, max_size=2, unique=True)
_matches = st.one_of(
    st.fixed_dictionaries({"skus": _names}),
    st.fixed_dictionaries({"categories": _kinds}),
    st.fixed_dictionaries({"skus": _names, "categories": _kinds}),
)
_base = st.fixed_dictionaries(
    {"points": st.integers(0, 7), "per": st.sampled_from(["1", "3.33", "30", "100"])}
)
_rates = st.builds(
    lambda match, rate: match | rate,
    _matches,
    st.one_of(_base, st.fixed_dictionaries({"multiplier_bp": st.sampled_from([0, 5_000, 15_000, 33_333])})),
)
_parts: dict[str, st.SearchStrategy[Any]] = {
    "base": _base,
    "tiers": st.fixed_dictionaries(
        {}, optional={"multiplier": st.booleans(), "bonus_bp": st.just({"member": 777})}
    ),
    "counts": st.fixed_dictionaries(
        {}, optional={name: st.booleans() for name in ("tax", "shipping", "points_paid", "vouchers_paid")}
    ),
    "include": _matches,
    "exclude": _matches,
    "rates": st.lists(_rates, max_size=3),
    "minimum_order": st.sampled_from(["0", "50", "300"]),
    "caps": st.fixed_dictionaries(
        {}, optional={"per_order": st.integers(1, 60), "per_member_day": st.integers(1, 90)}
    ),
}
definitions: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"currency": st.just("TWD")}, optional=_parts
)
"""Rules that can be read, doubtful ones too."""


def read(definition: Mapping[str, Any]) -> EarningRules:
    """Return the rules of a definition that can be read."""
    rules, faults = read_rules(definition, version=2, currency="TWD")
    assert rules is not None, faults
    return rules


@st.composite
def orders(draw: st.DrawFn, order_id: str = "o1") -> NewOrder:
    """An order whose discount fits its lines."""
    lines = tuple(
        NewLine(sku, draw(st.integers(1, 3)), draw(st.integers(0, 40_000)), draw(st.sampled_from(CATEGORIES)))
        for sku in draw(st.lists(st.sampled_from(SKUS), min_size=1, max_size=4))
    )
    gross = sum(line.amount_minor for line in lines)
    rate = draw(st.sampled_from([None, Decimal("31.277")]))
    return NewOrder(
        order_id=order_id,
        placed_at=NOW - timedelta(minutes=10),
        currency="TWD" if rate is None else "USD",
        lines=lines,
        shipping_minor=draw(st.sampled_from([0, 6_000])),
        tax_minor=draw(st.sampled_from([0, 555])),
        discount_minor=draw(st.integers(0, gross // 2)),
        exchange_rate=rate,
        rate=rate,
    )


@dataclass(slots=True)
class EarningShop:
    """One member, m1, and rules in force since long ago; everything in the test's own transaction."""

    conn: Connection
    programme: Programme = field(init=False)
    now: datetime = NOW

    def __post_init__(self) -> None:
        """Open the shop."""
        self.programme = fix_programme(
            self.conn, currency="TWD", timezone="Asia/Taipei", now=NOW - timedelta(days=900)
        )
        ensure_default_ruleset(self.conn, currency="TWD", now=NOW - timedelta(days=900))
        intake.enrol_member(
            self.conn,
            member_id="m1",
            body={"joined_at": NOW - timedelta(days=800)},
            sealer=SEALER,
            programme=self.programme,
            now=NOW - timedelta(days=800),
        )

    def publish(self, definition: Mapping[str, Any], *, days_ago: int = 700) -> int:
        """Put rules in force, so many days before now, as if staff had done it then."""
        at = NOW - timedelta(days=days_ago)
        draft = earning.RULES.add_draft(
            self.conn, draft=Draft("a test's", definition), actor=Actor("test"), now=at
        )
        earning.RULES.shelf.publish(
            self.conn,
            version=draft.version,
            state="active",
            effective_from=at,
            actor="test",
            reason="a test",
            now=at,
        )
        earning.forget_rules(self.conn)
        return draft.version

    def quote(self, order: NewOrder, *, member_id: str | None = "m1", locale: str = "en") -> dict[str, Any]:
        """Ask what an order would earn, at the time it is placed."""
        return quote_order(
            self.conn,
            member_id=member_id,
            order=order,
            programme=self.programme,
            locale=locale,
            now=order.placed_at,
        )

    def place(self, order: NewOrder, *, locale: str = "en") -> dict[str, Any]:
        """Place it."""
        answer, is_new = intake.place_order(
            self.conn,
            member_id="m1",
            order=order,
            programme=self.programme,
            locale=locale,
            now=order.placed_at,
        )
        assert is_new
        return answer

    def refund(
        self,
        refund_id: str,
        amount: int,
        *,
        order: NewOrder | None,
        lines: tuple[tuple[str, int, int | None], ...] = (),
        now: datetime | None = None,
    ) -> dict[str, Any]:
        """Take in a refund of an order, or one that names none."""
        refund = NewRefund(
            refund_id=refund_id,
            order_id=None if order is None else order.order_id,
            refunded_at=now or self.now,
            requested_at=None,
            kind="return",
            reason=None,
            amount_minor=amount,
            currency="TWD" if order is None else order.currency,
            lines=tuple(NewRefundLine(*line) for line in lines),
        )
        answer, _ = intake.take_refund(
            self.conn,
            member_id="m1",
            refund=refund,
            programme=self.programme,
            locale="en",
            now=now or self.now,
        )
        return answer

    def read(self, order_id: str) -> dict[str, Any]:
        """Return an order as it is read later."""
        return intake.get_order(self.conn, order_id=order_id, programme=self.programme, locale="en", now=NOW)

    def points_of(self, order_id: str) -> tuple[int, int]:
        """Return what an order earned and what was taken back of it."""
        points = self.read(order_id)["points"]
        return points["earned"], points["reversed"]
