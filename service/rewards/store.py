"""Every statement about what can be had and how much of it is left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, text

from service.kit.db import run

SHELVES = 8
"""On how many shelves what is left of a reward stands: so many can take it without waiting for each other."""

_UPSERT = text("""
INSERT INTO rewards (code, names, descriptions, kind, points, value_minor, percent_bp, minimum_spend_minor,
    categories, skus, valid_days, combinable, per_member_limit, tiers, starts_at, ends_at, pool_key,
    created_at, updated_at)
VALUES (:code, CAST(:names AS jsonb), CAST(:descriptions AS jsonb), :kind, :points, :value_minor, :percent_bp,
    :minimum_spend_minor, CAST(:categories AS text[]), CAST(:skus AS text[]), :valid_days, :combinable,
    :per_member_limit, CAST(:tiers AS text[]), :starts_at, :ends_at, :pool_key, :now, :now)
ON CONFLICT (code) DO UPDATE SET names = EXCLUDED.names, descriptions = EXCLUDED.descriptions,
    kind = EXCLUDED.kind, points = EXCLUDED.points, value_minor = EXCLUDED.value_minor,
    percent_bp = EXCLUDED.percent_bp, minimum_spend_minor = EXCLUDED.minimum_spend_minor,
    categories = EXCLUDED.categories, skus = EXCLUDED.skus, valid_days = EXCLUDED.valid_days,
    combinable = EXCLUDED.combinable, per_member_limit = EXCLUDED.per_member_limit, tiers = EXCLUDED.tiers,
    starts_at = EXCLUDED.starts_at, ends_at = EXCLUDED.ends_at, pool_key = EXCLUDED.pool_key,
    updated_at = EXCLUDED.updated_at
RETURNING reward_key
""")

_ADD_SHELVES = text("""
INSERT INTO reward_shelves (reward_key, shelf_no)
SELECT :reward_key, generate_series(1, CAST(:shelves AS int)) ON CONFLICT DO NOTHING
""")

_LOCK_SHELVES = text(
    "SELECT shelf_no, stock, taken FROM reward_shelves WHERE reward_key = :reward_key "
    "ORDER BY shelf_no FOR NO KEY UPDATE"
)

_SET_STOCK = text("""
UPDATE reward_shelves s SET stock = n.stock
FROM unnest(CAST(:shelf_nos AS smallint[]), CAST(:stocks AS bigint[])) AS n (shelf_no, stock)
WHERE s.reward_key = :reward_key AND s.shelf_no = n.shelf_no
""")

# A shelf that somebody else has locked is passed by; only when every other one is empty does one wait for it.
_TAKE = """
UPDATE reward_shelves SET taken = taken + 1 WHERE (reward_key, shelf_no) = (
    SELECT reward_key, shelf_no FROM reward_shelves
    WHERE reward_key = :reward_key AND (stock IS NULL OR taken < stock)
    ORDER BY shelf_no LIMIT 1 FOR NO KEY UPDATE{passing})
RETURNING shelf_no
"""
_TAKE_AT_ONCE = text(_TAKE.replace("{passing}", " SKIP LOCKED"))
_TAKE_WAITING = text(_TAKE.replace("{passing}", ""))

_PUT_BACK = text(
    "UPDATE reward_shelves SET taken = taken - 1 WHERE reward_key = :reward_key AND shelf_no = :shelf_no"
)

_REWARDS = """
SELECT r.*, p.pool, s.stock, s.taken, a.appraised_at, a.out_of_reach, a.unwanted{more}
FROM rewards r LEFT JOIN code_pools p USING (pool_key) LEFT JOIN reward_appraisals a USING (reward_key),
LATERAL (
    SELECT CAST(CASE WHEN count(stock) = count(*) THEN sum(stock) END AS bigint) AS stock,
           CAST(sum(taken) AS bigint) AS taken
    FROM reward_shelves WHERE reward_key = r.reward_key
) s
"""
_TAKEN_BY_MEMBER = """,
       (SELECT count(*) FROM redemptions d
        WHERE d.member_key = :member_key AND d.reward_key = r.reward_key AND d.state <> 'cancelled')
       AS taken_by_member"""

_FIND = text(_REWARDS.replace("{more}", "") + "WHERE r.code = :code")
_FIND_FOR = text(_REWARDS.replace("{more}", _TAKEN_BY_MEMBER) + "WHERE r.code = :code")
_LIST = text(_REWARDS.replace("{more}", "") + "WHERE r.code > :after ORDER BY r.code LIMIT :limit")
# What is over is not shown; what is coming is. All at once, since all are put in order.
_OFFERED = text("""
SELECT r.reward_key, r.code, r.names, r.descriptions, r.kind, r.points, r.value_minor, r.percent_bp,
       r.minimum_spend_minor, r.categories, r.skus, r.valid_days, r.combinable, r.per_member_limit, r.tiers,
       r.starts_at, r.ends_at, s.stock, s.taken, coalesce(d.taken, 0) AS taken_by_member
FROM rewards r
JOIN (SELECT reward_key, CAST(CASE WHEN count(stock) = count(*) THEN sum(stock) END AS bigint) AS stock,
             CAST(sum(taken) AS bigint) AS taken
      FROM reward_shelves GROUP BY reward_key) s USING (reward_key)
LEFT JOIN (SELECT reward_key, count(*) AS taken FROM redemptions
           WHERE member_key = :member_key AND state <> 'cancelled' GROUP BY reward_key) d USING (reward_key)
WHERE r.ends_at IS NULL OR r.ends_at > :now ORDER BY r.code
""")
_CODES = text("SELECT reward_key, code FROM rewards WHERE reward_key = ANY (CAST(:reward_keys AS integer[]))")
_AFFORDABLE = text("""
SELECT r.code, r.names, r.kind, r.points
FROM rewards r
WHERE r.points <= :points AND (r.starts_at IS NULL OR r.starts_at <= :now)
  AND (r.ends_at IS NULL OR r.ends_at > :now)
  AND (r.tiers IS NULL OR CAST(:tier AS text) = ANY (r.tiers))
  AND EXISTS (SELECT FROM reward_shelves s
              WHERE s.reward_key = r.reward_key AND (s.stock IS NULL OR s.taken < s.stock))
  AND (r.per_member_limit IS NULL OR r.per_member_limit > (
      SELECT count(*) FROM redemptions d
      WHERE d.member_key = :member_key AND d.reward_key = r.reward_key AND d.state <> 'cancelled'))
ORDER BY r.points DESC, r.code LIMIT :limit
""")


def upsert(conn: Connection, *, values: Mapping[str, object], now: datetime) -> int:
    """Insert or replace a reward and return its key; its row is locked until the transaction ends."""
    reward_key: int = conn.execute(_UPSERT, {**values, "now": now}).scalar_one()
    conn.execute(_ADD_SHELVES, {"reward_key": reward_key, "shelves": SHELVES})
    return reward_key


def lock_shelves(conn: Connection, *, reward_key: int) -> Sequence[Row[Any]]:
    """Lock what is left of a reward and return its shelves: nobody takes any meanwhile."""
    return conn.execute(_LOCK_SHELVES, {"reward_key": reward_key}).all()


def set_stock(conn: Connection, *, reward_key: int, stocks: Mapping[int, int | None]) -> None:
    """Write the stock of each shelf."""
    values = {"reward_key": reward_key, "shelf_nos": list(stocks), "stocks": list(stocks.values())}
    conn.execute(_SET_STOCK, values)


def take(conn: Connection, *, reward_key: int) -> int | None:
    """Take one from the shelves and return which; None when nothing is left on any."""
    values = {"reward_key": reward_key}
    shelf_no: int | None = run(conn, _TAKE_AT_ONCE, values).scalar_one_or_none()
    if shelf_no is None:
        shelf_no = run(conn, _TAKE_WAITING, values).scalar_one_or_none()
    return shelf_no


def put_back(conn: Connection, *, reward_key: int, shelf_no: int) -> None:
    """Put one back on the shelf that it was taken from."""
    run(conn, _PUT_BACK, {"reward_key": reward_key, "shelf_no": shelf_no})


def find(conn: Connection, *, code: str) -> Row[Any] | None:
    """Return a reward with its stock and what was taken."""
    return conn.execute(_FIND, {"code": code}).one_or_none()


def find_for(conn: Connection, *, code: str, member_key: int) -> Row[Any] | None:
    """Return a reward likewise, with how often a member has taken it."""
    return run(conn, _FIND_FOR, {"code": code, "member_key": member_key}).one_or_none()


def list_rewards(conn: Connection, *, after: str, limit: int) -> Sequence[Row[Any]]:
    """Return rewards by code."""
    return conn.execute(_LIST, {"after": after, "limit": limit}).all()


def list_offered(conn: Connection, *, member_key: int, now: datetime) -> Sequence[Row[Any]]:
    """Return every reward that is not over, by code, with how often a member has taken each."""
    return run(conn, _OFFERED, {"member_key": member_key, "now": now}).all()


def find_codes(conn: Connection, *, reward_keys: Sequence[int]) -> dict[int, str]:
    """Return the code behind each key."""
    return {row.reward_key: row.code for row in run(conn, _CODES, {"reward_keys": list(reward_keys)})}


def list_affordable(
    conn: Connection, *, member_key: int, tier: str, points: int, limit: int, now: datetime
) -> Sequence[Row[Any]]:
    """Return what a member can have now, the dearest first."""
    values = {"member_key": member_key, "tier": tier, "points": points, "limit": limit, "now": now}
    return run(conn, _AFFORDABLE, values).all()
