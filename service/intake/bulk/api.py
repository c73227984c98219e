"""Routes of bulk imports."""

from __future__ import annotations

from typing import Any

from service.intake.bulk import staging
from service.intake.bulk.files import Format
from service.intake.bulk.schemas import (
    ImportPageQuery,
    ImportPageSchema,
    ImportQuery,
    ImportSchema,
    RejectPageSchema,
)
from service.intake.errors import ImportEnded, UnknownImport
from service.kit import audit
from service.kit.auth import Role
from service.kit.errors import StoreOutOfScope
from service.kit.http import Blueprint, Door
from service.kit.uploads import Upload

blueprint = Blueprint("imports", __name__, url_prefix="/v1", description="Many records at once, from a file.")

_IMPORTERS: tuple[Role, ...] = ("server", "operations", "admin")
_FORMATS: dict[str, Format] = {"application/x-ndjson": "ndjson", "text/csv": "csv"}


@blueprint.door(
    "POST",
    "/imports",
    roles=_IMPORTERS,
    query=ImportQuery(),
    upload=tuple(_FORMATS),
    answers={202: ImportSchema()},
    idempotency_key="required",
    store_scope=True,
)
def start_import(door: Door, query: dict[str, Any], upload: Upload) -> object:
    """Take a file of members, items, orders, refunds or events, and import it in the background.

    Newline-delimited JSON, each line the body of the API call that it stands for (a member's with its
    `member_id`, an item's with its `sku`), or CSV with a header line; as large as
    `TIDEMARK_MAX_UPLOAD_BYTES` allows. Records that are there already change nothing, so the same file may
    come again. What cannot be taken is refused line by line; everything else goes in. A key that is held to
    some stores may not import.
    """
    _refuse_scoped(door)
    started = staging.stage_import(
        door.conn,
        kind=query["kind"],
        source_name=query["source"],
        fmt=_FORMATS[upload.media_type],
        file=upload.file,
        sha256=upload.sha256,
        requested_by=audit.actor_of(door.caller),
        sealer=door.desk.sealer,
        now=door.now,
    )
    _record(door, "import.started", started["import_id"], after={"kind": query["kind"]})
    return started, 202


@blueprint.door(
    "GET", "/imports", roles=_IMPORTERS, query=ImportPageQuery(), answers={200: ImportPageSchema()}
)
def list_imports(door: Door, query: dict[str, Any]) -> object:
    """List imports, the latest first, those of the command line too."""
    return staging.list_imports(door.conn, limit=query["limit"], cursor=query.get("cursor"))


@blueprint.door(
    "GET",
    "/imports/<id:import_id>",
    roles=_IMPORTERS,
    answers={200: ImportSchema()},
    refusals=(UnknownImport,),
)
def get_import(door: Door, import_id: str) -> object:
    """Tell how far an import is and what it has done."""
    return staging.get_import(door.conn, import_id=import_id)


@blueprint.door(
    "GET",
    "/imports/<id:import_id>/rejects",
    roles=_IMPORTERS,
    query=ImportPageQuery(),
    answers={200: RejectPageSchema()},
    refusals=(UnknownImport,),
)
def list_import_rejects(door: Door, import_id: str, query: dict[str, Any]) -> object:
    """List the lines that an import refused and why, by line number."""
    return staging.page_rejects(
        door.conn, import_id=import_id, limit=query["limit"], cursor=query.get("cursor")
    )


@blueprint.door(
    "POST",
    "/imports/<id:import_id>/cancel",
    roles=_IMPORTERS,
    answers={200: ImportSchema()},
    refusals=(UnknownImport, ImportEnded),
    idempotency_key="optional",
    store_scope=True,
)
def cancel_import(door: Door, import_id: str) -> object:
    """Call an import off: no further line is read. What is in by then stays in, and is rated."""
    _refuse_scoped(door)
    cancelled = staging.cancel_import(door.conn, import_id=import_id, now=door.now)
    _record(door, "import.cancelled", import_id)
    return cancelled


def _refuse_scoped(door: Door) -> None:
    if door.caller.store_ids is not None:
        raise StoreOutOfScope("a file may name any store, and this key is held to some")


def _record(door: Door, action: str, import_id: str, after: dict[str, Any] | None = None) -> None:
    audit.record(
        door.conn,
        actor=audit.actor_of(door.caller),
        action=action,
        subject=("import", import_id),
        after=after,
        request_id=door.request_id,
        now=door.now,
    )
