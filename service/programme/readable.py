"""What later rooms may join: the stores' own ids."""

from __future__ import annotations

from sqlalchemy import select

from service.programme.models import stores

store_rows = select(stores.c.store_key, stores.c.store_id).subquery("store_rows")
"""Every store."""
