"""The whole business state by the merchant's ids, so that two databases compare whatever their keys."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, text

from service.intake import operations as stories
from service.intake.bulk.fields import load_member, load_order, load_refund
from service.intake.bulk.operations import ImportReport, run_import
from service.intake.reading import read_order, read_refund
from service.kit.clock import parse_time
from service.kit.db import transaction
from service.kit.sealing import Sealer
from service.ledger.operations import check_laws as check_ledger
from service.ledger.operations import release_due
from service.programme.operations import Programme, fix_programme, get_programme
from service.tiers.operations import check_laws as check_tiers
from service.tiers.operations import ensure_default_ruleset
from service.tiers.reviews import review_due

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
TODAY = date(2026, 11, 21)
SEALER = Sealer(b"a key of the tests, 32 bytes long")

DUMPS: Mapping[str, str] = {
    "members": """
        SELECT member_id, joined_at, locale, birth_month, birth_day, attributes, referred_by FROM members""",
    "items": """
        SELECT sku, names, categories, price_minor, currency, available, attributes, stub FROM items""",
    "orders": """
        SELECT k.order_id, m.member_id, o.placed_at, k.placed_at, k.content_hash, s.store_id, o.day,
            o.channel, o.currency, o.exchange_rate, o.order_goods_minor, o.order_discount_minor,
            o.order_shipping_minor, o.order_tax_minor, o.goods_minor, o.spend_minor
        FROM orders o JOIN order_keys k USING (order_key)
        JOIN members m ON m.member_key = k.member_key AND m.member_key = o.member_key
        LEFT JOIN stores s ON s.store_key = o.store_key""",
    "order lines": """
        SELECT k.order_id, l.placed_at, l.line_no, i.sku, l.quantity, l.order_amount_minor, l.amount_minor,
            l.category
        FROM order_lines l JOIN order_keys k USING (order_key) JOIN items i USING (item_key)""",
    "refunds": """
        SELECT k.refund_id, m.member_id, o.order_id, r.refunded_at, r.requested_at, r.day, r.kind, r.reason,
            r.currency, r.order_amount_minor, r.amount_minor, k.content_hash, s.store_id
        FROM refunds r JOIN refund_keys k USING (refund_key) JOIN members m ON m.member_key = r.member_key
        LEFT JOIN order_keys o ON o.order_key = r.order_key AND o.order_key = k.order_key
        LEFT JOIN stores s ON s.store_key = r.store_key""",
    "refund lines": """
        SELECT k.refund_id, l.line_no, i.sku, l.quantity, l.amount_minor
        FROM refund_lines l JOIN refund_keys k USING (refund_key) JOIN items i USING (item_key)""",
    "parked": "SELECT refund_id, order_id, body FROM parked_refunds",
    "allotments": """
        SELECT k.refund_id, o.order_id, a.amount_minor
        FROM refund_allotments a JOIN refund_keys k USING (refund_key)
        JOIN order_keys o ON o.order_key = a.order_key""",
    "days": """
        SELECT m.member_id, d.day, d.goods_minor, d.spend_minor, d.orders, d.unlinked_minor
        FROM member_days d JOIN members m USING (member_key)""",
    "tiers": """
        SELECT m.member_id, t.tier, t.rank, t.since, t.unqualified_since, o.order_id, t.through,
            t.next_review_on
        FROM tier_states t JOIN members m USING (member_key)
        LEFT JOIN order_keys o ON o.order_key = t.carrier_order_key""",
    "tier changes": """
        SELECT m.member_id, t.from_tier, t.to_tier, t.effective_at, t.cause, t.metrics, o.order_id,
            r.refund_id
        FROM tier_changes t JOIN members m USING (member_key)
        LEFT JOIN order_keys o ON o.order_key = t.order_key
        LEFT JOIN refund_keys r ON r.refund_key = t.refund_key
        WHERE t.superseded_at IS NULL""",
    "balances": """
        SELECT m.member_id, b.pending, b.available, b.held, b.debt, b.lifetime_earned
        FROM balances b JOIN members m USING (member_key)""",
    "lots": """
        SELECT m.member_id, o.order_id, l.earned_at, l.available_at, l.expires_at, l.earned, l.remaining,
            l.pending AND l.remaining > 0
        FROM lots l JOIN members m ON m.member_key = l.member_key
        LEFT JOIN order_keys o ON o.order_key = l.order_key WHERE l.earned > 0 OR l.remaining > 0""",
    "flows": """
        SELECT m.member_id, o.order_id, r.refund_id, p.account, sum(p.points) FROM (
            SELECT transaction_key, from_account AS account, -points AS points FROM postings
            UNION ALL SELECT transaction_key, to_account, points FROM postings) p
        JOIN ledger_transactions t USING (transaction_key) JOIN members m ON m.member_key = t.member_key
        LEFT JOIN order_keys o ON o.order_key = t.order_key
        LEFT JOIN refund_keys r ON r.refund_key = t.refund_key
        GROUP BY 1, 2, 3, 4 HAVING sum(p.points) <> 0""",
    "rules": """
        SELECT DISTINCT ON (o.order_id) o.order_id, t.rule - 'settings_version'
        FROM ledger_transactions t JOIN order_keys o ON o.order_key = t.order_key
        WHERE t.rule IS NOT NULL ORDER BY o.order_id, t.transaction_key DESC""",
}
COUNTED = (
    "tier_changes",
    "ledger_transactions",
    "postings",
    "lots",
    "orders",
    "refunds",
    "refund_allotments",
    "members",
    "items",
)


def start(engine: Engine, *, currency: str = "TWD", timezone: str = "Asia/Taipei") -> Programme:
    """Open the shop on an empty database."""
    with transaction(engine) as conn:
        programme = fix_programme(conn, currency=currency, timezone=timezone, now=NOW)
        ensure_default_ruleset(conn, currency=currency, now=NOW)
    return programme


def bring_in(engine: Engine, programme: Programme, kind: str, source: Path, **options: Any) -> ImportReport:
    """Import a file as of the tests' present."""
    return run_import(
        engine, kind=kind, source=source, programme=programme, sealer=SEALER, **{"now": NOW, **options}
    )


def dump(engine: Engine, *, without: Iterable[str] = ()) -> dict[str, list[str]]:
    """Return every table of the business as sorted rows of text."""
    with engine.connect() as conn:
        return {
            name: sorted(str(tuple(map(_plain, row))) for row in conn.execute(text(statement)))
            for name, statement in DUMPS.items()
            if name not in set(without)
        }


def _plain(value: object) -> object:
    if isinstance(value, dict | list):
        return json.dumps(value, sort_keys=True)
    return bytes(value).hex() if isinstance(value, memoryview | bytes) else value


def count(engine: Engine) -> dict[str, int]:
    """Return how many rows the tables have that a repetition must leave alone."""
    with engine.connect() as conn:
        return {table: conn.execute(text(f"SELECT count(*) FROM {table}")).scalar_one() for table in COUNTED}


def differences(left: Mapping[str, list[str]], right: Mapping[str, list[str]]) -> dict[str, list[list[str]]]:
    """Return, per table, a few rows that only one side has; nothing where both are the same."""
    found = {}
    for name in left:
        ours, theirs = set(left[name]), set(right[name])
        if left[name] != right[name]:
            found[name] = [sorted(ours - theirs)[:3], sorted(theirs - ours)[:3]]
    return found


def assert_lawful(engine: Engine) -> None:
    """Check every law of tiers and points, and that nobody is left to be rated."""
    with engine.connect() as conn:
        assert conn.execute(text("SELECT count(*) FROM import_backlog")).scalar_one() == 0
        assert list(check_ledger(conn)) == []
        assert list(check_tiers(conn, programme=get_programme(conn), now=NOW)) == []


def release_everything(engine: Engine, *, now: datetime = NOW) -> None:
    """Post whatever has become due."""
    while True:
        with transaction(engine) as conn:
            if release_due(conn, now=now, limit=5_000).members == 0:
                return


def write_ndjson(path: Path, records: Iterable[object]) -> Path:
    """Write records, one a line."""
    path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), "utf-8")
    return path


def review_everybody(engine: Engine, programme: Programme) -> None:
    """Rate whoever time alone has moved."""
    while True:
        with transaction(engine) as conn:
            if review_due(conn, now=NOW, programme=programme, limit=1_000).reviewed == 0:
                return


def live_through(engine: Engine, programme: Programme, shop: Mapping[str, list[dict[str, Any]]]) -> None:
    """Send members, orders and refunds as calls of the API, each at its own time; then release and review."""
    ranked = (("members", "joined_at"), ("orders", "placed_at"), ("refunds", "refunded_at"))
    calls = [
        (parse_time(one[when]), rank, one)
        for rank, (kind, when) in enumerate(ranked)
        for one in json.loads(json.dumps(shop[kind]))
    ]
    placed = {one["order_id"]: one for one in shop["orders"]}
    for at, rank, raw in sorted(calls, key=lambda call: call[:2]):
        with transaction(engine) as conn:
            common: Any = {"member_id": raw["member_id"], "programme": programme, "now": at}
            if rank == 0:
                body = load_member(raw)
                del body["member_id"]
                stories.enrol_member(conn, body=body, sealer=SEALER, **common)
            elif rank == 1:
                order = read_order(load_order(raw), currency=programme.currency)
                stories.place_order(conn, order=order, locale="en", **common)
            else:
                body = load_refund(raw)
                currency = placed.get(body.get("order_id"), {}).get("currency", programme.currency)
                refund = read_refund(body, order_currency=currency)
                stories.take_refund(conn, refund=refund, locale="en", **common)
    release_everything(engine, now=NOW)
    review_everybody(engine, programme)
