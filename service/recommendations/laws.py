"""The recommendations' part of law E2: what an order leads to names its model and how it was decided."""

from __future__ import annotations

from sqlalchemy import Connection

from service.recommendations import store_laws


def check_laws(conn: Connection) -> list[dict[str, object]]:
    """Return what breaks law E2, up to 1,000 rows for each check; empty when all is well."""
    return [
        {
            "law": "E2",
            "detail": row.detail,
            "member_key": row.member_key,
            "recommendation_id": f"rec_{row.exposure_id.hex}",
            "order_id": row.order_id,
        }
        for row in store_laws.list_violations(conn)
    ]
