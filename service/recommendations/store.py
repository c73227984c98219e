"""Every SQL statement of the recommendations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import Any

from sqlalchemy import (
    Connection,
    DateTime,
    Row,
    Select,
    and_,
    bindparam,
    cast,
    func,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, TEXT

from service.activity.readable import (
    line_rows,
    order_rows,
)
from service.catalogue.readable import item_rows
from service.experiments.readable import subject
from service.kit.db import dumps, run
from service.recommendations.models import (
    placement_settings,
    recommender_models,
    recommender_statistics,
)
from service.recommendations.store_taken import packed_history, profiling
from service.tiers.readable import ruleset_rows

_RECENT_ORDERS = 2_000

# One statement opens an answer: who asks, on which side of the hold-out, which model is in force,
# whether the catalogue changed, what the page's own item is called, whether the member lets us look at what
# they bought, which rule set says what is for which tier, what the placement is set to,
# and what the member took and looked at lately.
_OPENING = subject.add_columns(
    select(recommender_models.c.version)
    .where(recommender_models.c.status == "active")
    .scalar_subquery()
    .label("active_model"),
    select(func.max(recommender_statistics.c.version)).scalar_subquery().label("statistics_version"),
    select(func.max(item_rows.c.updated_at)).scalar_subquery().label("catalogue_mark"),
    select(item_rows.c.names)
    .where(item_rows.c.sku == bindparam("context_sku"))
    .scalar_subquery()
    .label("context_names"),
    profiling.label("profiling"),
    packed_history().label("history"),
    select(ruleset_rows.c.version)
    .where(ruleset_rows.c.effective_from <= bindparam("now", type_=DateTime(timezone=True)))
    .order_by(ruleset_rows.c.effective_from.desc())
    .limit(1)
    .scalar_subquery()
    .label("ruleset_version"),
    select(
        func.json_build_object(
            "mode",
            placement_settings.c.mode,
            "limit",
            placement_settings.c.item_limit,
            "diversity_bp",
            placement_settings.c.diversity_bp,
            "category_cap",
            placement_settings.c.category_cap,
            "exploration_candidates",
            placement_settings.c.exploration_candidates,
            "exploration_share_bp",
            placement_settings.c.exploration_share_bp,
        )
    )
    .where(placement_settings.c.placement == bindparam("placement", type_=TEXT))
    .order_by(placement_settings.c.version.desc())
    .limit(1)
    .scalar_subquery()
    .label("placement"),
)

_CATALOGUE: Select[Any] = select(
    item_rows.c.item_key, item_rows.c.sku, item_rows.c.available, item_rows.c.stub, item_rows.c.categories
)
_CATALOGUE_SINCE = _CATALOGUE.where(item_rows.c.updated_at >= bindparam("since"))
_CATALOGUE_OF = _CATALOGUE.where(item_rows.c.item_key == func.any(bindparam("item_keys")))

_newest = (
    select(order_rows.c.order_key, order_rows.c.placed_at)
    .order_by(order_rows.c.order_key.desc())
    .limit(_RECENT_ORDERS)
    .subquery("newest")
)
_sold = (
    select(line_rows.c.item_key, func.count(line_rows.c.order_key.distinct()).label("orders"))
    .select_from(
        _newest.join(
            line_rows,
            and_(line_rows.c.order_key == _newest.c.order_key, line_rows.c.placed_at == _newest.c.placed_at),
        )
    )
    .group_by(line_rows.c.item_key)
    .subquery("sold")
)
_category = bindparam("category", type_=TEXT)
_RECENTLY_SOLD: Select[Any] = (
    select(item_rows.c.item_key, item_rows.c.sku, func.coalesce(_sold.c.orders, 0).label("orders"))
    .select_from(item_rows.outerjoin(_sold, _sold.c.item_key == item_rows.c.item_key))
    .where(
        item_rows.c.available,
        # What nobody described and nobody bought was only named by somebody's event.
        item_rows.c.stub.is_(False) | _sold.c.orders.is_not(None),
        item_rows.c.sku != func.all(bindparam("exclude", type_=ARRAY(TEXT))),
        cast(_category, TEXT).is_(None) | (_category == func.any(item_rows.c.categories)),
    )
    .order_by(func.coalesce(_sold.c.orders, 0).desc(), item_rows.c.sku)
    .limit(bindparam("limit"))
)
_SKUS = select(item_rows.c.item_key, item_rows.c.sku).where(
    item_rows.c.item_key == func.any(bindparam("item_keys"))
)

_MODELS = (
    "SELECT version, status, location, content_hash, manifest, trained_through, created_at, promoted_at, "
    "decision FROM recommender_models "
)
_LIST_MODELS = text(
    _MODELS + "WHERE CAST(:created_before AS timestamptz) IS NULL "
    "OR (created_at, version) < (CAST(:created_before AS timestamptz), :version_before) "
    "ORDER BY created_at DESC, version DESC LIMIT :limit"
)
_FIND_MODEL = text(_MODELS + "WHERE version = :version")
_FORMER_MODELS = text(
    _MODELS + "WHERE promoted_at IS NOT NULL AND status = 'retired' ORDER BY promoted_at DESC LIMIT 3"
)
_INSERT_MODEL = text(
    "INSERT INTO recommender_models (version, status, location, content_hash, manifest, trained_through, "
    "created_at, decision) VALUES (:version, 'candidate', :location, :content_hash, "
    "CAST(:manifest AS jsonb), :trained_through, :now, :decision)"
)
# Promotions one after the other: two at once would both find the same model to retire.
_LOCK_REGISTER = text("LOCK TABLE recommender_models IN SHARE ROW EXCLUSIVE MODE")
_RETIRE_ACTIVE = text(
    "UPDATE recommender_models SET status = 'retired' WHERE status = 'active' RETURNING version"
)
_ACTIVATE = text(
    "UPDATE recommender_models SET status = 'active', promoted_at = :now, decision = :decision "
    "WHERE version = :version"
)


def find_opening(
    conn: Connection,
    *,
    member_id: str,
    context_sku: str | None,
    now: datetime,
    looked_since: datetime,
    timezone: str = "UTC",
    locale: str = "en",
    placement: str = "",
) -> Row[Any]:
    """Return the one row that opens an answer; `history` is that of `packed_history`, None for none."""
    parameters = {
        "member_id": member_id,
        "context_sku": context_sku,
        "now": now,
        "looked_since": looked_since,
        "timezone": timezone,
        "locale": locale,
        "placement": placement,
    }
    return run(conn, _OPENING, parameters).one()


def read_catalogue(conn: Connection, *, since: datetime | None) -> Iterator[Row[Any]]:
    """Yield key, sku, availability, stub and categories of items, all or those changed since a moment."""
    if since is None:
        yield from conn.execute(_CATALOGUE)
    else:
        yield from conn.execute(_CATALOGUE_SINCE, {"since": since})


def list_catalogue(conn: Connection, *, item_keys: Sequence[int]) -> Sequence[Row[Any]]:
    """Return some items as `read_catalogue` gives them."""
    return conn.execute(_CATALOGUE_OF, {"item_keys": list(item_keys)}).all()


def list_recently_sold(
    conn: Connection, *, exclude: Sequence[str], category: str | None, limit: int
) -> Sequence[Row[Any]]:
    """Return available items by how many of the newest orders hold them, the unsold ones last."""
    parameters = {"exclude": list(exclude), "category": category, "limit": limit}
    return conn.execute(_RECENTLY_SOLD, parameters).all()


def find_skus(conn: Connection, *, item_keys: Sequence[int]) -> dict[int, str]:
    """Return the sku behind each key."""
    return {row.item_key: row.sku for row in conn.execute(_SKUS, {"item_keys": list(item_keys)})}


def list_models(
    conn: Connection, *, before: tuple[datetime, str] | None, limit: int | None
) -> Sequence[Row[Any]]:
    """Return the register, newest first, from before a (creation, version) on; no limit is all."""
    created, version = before or (None, None)
    parameters = {"created_before": created, "version_before": version, "limit": limit}
    return conn.execute(_LIST_MODELS, parameters).all()


def find_model(conn: Connection, *, version: str) -> Row[Any] | None:
    """Return one model of the register."""
    return conn.execute(_FIND_MODEL, {"version": version}).one_or_none()


def list_former_models(conn: Connection) -> Sequence[Row[Any]]:
    """Return the last models that were in force before, latest promotion first."""
    return conn.execute(_FORMER_MODELS).all()


def insert_model(
    conn: Connection,
    *,
    version: str,
    location: str,
    content_hash: str,
    manifest: Mapping[str, Any],
    trained_through: date,
    decision: str,
    now: datetime,
) -> None:
    """Add a candidate to the register."""
    conn.execute(
        _INSERT_MODEL,
        {
            "version": version,
            "location": location,
            "content_hash": content_hash,
            "manifest": dumps(dict(manifest)),
            "trained_through": trained_through,
            "decision": decision,
            "now": now,
        },
    )


def activate_model(conn: Connection, *, version: str, decision: str, now: datetime) -> str | None:
    """Put a model in force in the place of the one that is, and return that one's version."""
    conn.execute(_LOCK_REGISTER)
    retired: str | None = conn.execute(_RETIRE_ACTIVE).scalar_one_or_none()
    conn.execute(_ACTIVATE, {"version": version, "decision": decision, "now": now})
    return retired
