"""Routes of the catalogue."""

from __future__ import annotations

from typing import Any

from service.catalogue import operations
from service.catalogue.errors import UnknownItem
from service.catalogue.schemas import ItemBody, ItemSchema
from service.kit.http import STAFF, Blueprint, Door
from service.programme.operations import get_programme

blueprint = Blueprint("catalogue", __name__, url_prefix="/v1", description="What is sold.")


@blueprint.door(
    "PUT",
    "/items/<id:sku>",
    roles=("server", "operations", "admin"),
    body=ItemBody(),
    answers={200: ItemSchema(), 201: ItemSchema()},
)
def put_item(door: Door, sku: str, body: dict[str, Any]) -> object:
    """Add an item, or replace it whole."""
    programme = get_programme(door.conn)
    item, is_new = operations.put_item(
        door.conn, sku=sku, body=body, currency=programme.currency, now=door.now
    )
    return item, 201 if is_new else 200


@blueprint.door(
    "GET",
    "/items/<id:sku>",
    roles=(*STAFF, "storefront"),
    answers={200: ItemSchema()},
    refusals=(UnknownItem,),
)
def get_item(door: Door, sku: str) -> object:
    """Return an item."""
    return operations.get_item(door.conn, sku=sku)
