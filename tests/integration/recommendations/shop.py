"""A small shop for tests: facts put straight onto the shelves, as the rooms below would have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, text

from service.kit.db import dumps

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def days_before(count: float) -> datetime:
    """Return a moment that many days before the tests' present."""
    return NOON - timedelta(days=count)


class Shop:
    """Adds facts on one connection; amounts are 100 minor units a piece."""

    def __init__(self, conn: Connection) -> None:
        self.conn = conn
        self._numbers = 0

    def _next(self) -> int:
        self._numbers += 1
        return self._numbers

    def member(self, member_id: str, *, tier: str | None = None) -> int:
        """Enrol a member; with `tier`, standing there."""
        key: int = self.conn.execute(
            text(
                "INSERT INTO members (member_id, joined_at, created_at, updated_at) "
                "VALUES (:member_id, :at, :at, :at) RETURNING member_key"
            ),
            {"member_id": member_id, "at": days_before(900)},
        ).scalar_one()
        if tier is not None:
            self.conn.execute(
                text(
                    "INSERT INTO tier_states (member_key, tier, rank, since, ruleset_version, through) "
                    "VALUES (:key, :tier, 0, :at, 1, :at)"
                ),
                {"key": key, "tier": tier, "at": days_before(900)},
            )
        return key

    def item(
        self,
        sku: str,
        *,
        names: Mapping[str, str] | None = None,
        categories: Iterable[str] = (),
        available: bool = True,
        at: datetime = NOON,
    ) -> None:
        """Add an item, or change the one there is."""
        self.conn.execute(
            text(
                "INSERT INTO items (sku, names, categories, available, created_at, updated_at) "
                "VALUES (:sku, CAST(:names AS jsonb), :categories, :available, :at, :at) "
                "ON CONFLICT (sku) DO UPDATE SET names = excluded.names, categories = excluded.categories, "
                "available = excluded.available, updated_at = excluded.updated_at"
            ),
            {
                "sku": sku,
                "names": dumps(dict(names or {})),
                "categories": list(categories),
                "available": available,
                "at": at,
            },
        )

    def order(
        self,
        member_key: int,
        lines: Mapping[str, int],
        *,
        at: datetime,
        checkout_started_at: datetime | None = None,
        piece_minor: int = 100,
    ) -> int:
        """Record an order of sku → quantity; unknown skus become stubs."""
        order_key: int = self.conn.execute(
            text(
                "INSERT INTO order_keys (order_id, member_key, placed_at, content_hash) "
                "VALUES (:order_id, :member_key, :at, '') RETURNING order_key"
            ),
            {"order_id": f"o-{self._next()}", "member_key": member_key, "at": at},
        ).scalar_one()
        goods = sum(lines.values()) * piece_minor
        self.conn.execute(
            text(
                "INSERT INTO orders (order_key, placed_at, received_at, member_key, day, currency, "
                "order_goods_minor, goods_minor, spend_minor, checkout_started_at) "
                "VALUES (:key, :at, :at, :member_key, :day, 'TWD', :goods, :goods, :goods, :checkout)"
            ),
            {
                "key": order_key,
                "at": at,
                "day": at.date(),
                "member_key": member_key,
                "goods": goods,
                "checkout": checkout_started_at,
            },
        )
        for number, (sku, quantity) in enumerate(lines.items(), start=1):
            self.conn.execute(
                text(
                    "INSERT INTO order_lines (order_key, placed_at, line_no, item_key, quantity, "
                    "order_amount_minor, amount_minor) "
                    "VALUES (:key, :at, :line_no, :item_key, :quantity, :amount, :amount)"
                ),
                {
                    "key": order_key,
                    "at": at,
                    "line_no": number,
                    "item_key": self._item_key(sku),
                    "quantity": quantity,
                    "amount": quantity * piece_minor,
                },
            )
        return order_key

    def _item_key(self, sku: str) -> int:
        self.conn.execute(
            text(
                "INSERT INTO items (sku, stub, created_at, updated_at) VALUES (:sku, true, :at, :at) "
                "ON CONFLICT DO NOTHING"
            ),
            {"sku": sku, "at": days_before(1)},
        )
        key: int = self.conn.execute(
            text("SELECT item_key FROM items WHERE sku = :sku"), {"sku": sku}
        ).scalar_one()
        return key

    def cancel(self, order_key: int, *, at: datetime, amount_minor: int) -> None:
        """Cancel an order, calling off what was not refunded by then."""
        self.conn.execute(
            text(
                "INSERT INTO order_cancellations (order_key, cancelled_at, received_at, reason, "
                "order_amount_minor) VALUES (:key, :at, :at, 'test', :amount)"
            ),
            {"key": order_key, "at": at, "amount": amount_minor},
        )

    def refund(
        self,
        member_key: int,
        lines: Mapping[str, int],
        *,
        at: datetime,
        order_key: int | None = None,
        amount_minor: int | None = None,
    ) -> None:
        """Record a refund of sku → quantity; with no lines, of an amount only."""
        amount = sum(lines.values()) * 100 if amount_minor is None else amount_minor
        refund_key = self.conn.execute(
            text(
                "INSERT INTO refund_keys (refund_id, member_key, order_key, refunded_at, order_amount_minor, "
                "content_hash) VALUES (:refund_id, :member_key, :order_key, :at, :amount, '') "
                "RETURNING refund_key"
            ),
            {
                "refund_id": f"r-{self._next()}",
                "member_key": member_key,
                "order_key": order_key,
                "at": at,
                "amount": amount,
            },
        ).scalar_one()
        for number, (sku, quantity) in enumerate(lines.items(), start=1):
            self.conn.execute(
                text(
                    "INSERT INTO refund_lines (refund_key, refunded_at, line_no, item_key, quantity) "
                    "VALUES (:key, :at, :line_no, :item_key, :quantity)"
                ),
                {
                    "key": refund_key,
                    "at": at,
                    "line_no": number,
                    "item_key": self._item_key(sku),
                    "quantity": quantity,
                },
            )
