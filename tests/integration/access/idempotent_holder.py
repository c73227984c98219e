"""A process that claims an idempotency key, does its work, and then only waits: to be killed by a test."""

from __future__ import annotations

import sys
import time

from sqlalchemy import text

from service.kit.db import open_engine
from service.kit.idempotency import KeyedRequest, claim


def main(database_url: str, api_key_id: str, key: str, request_hash: str) -> None:
    """Hold the key within an open transaction until killed."""
    engine = open_engine(database_url, pool_size=1)
    with engine.begin() as conn:
        claim(conn, request=KeyedRequest(api_key_id, key, bytes.fromhex(request_hash)))
        conn.execute(text("INSERT INTO stores (store_id, created_at) VALUES ('half done', now())"))
        print("holding", flush=True)  # noqa: T201
        time.sleep(600)


if __name__ == "__main__":
    main(*sys.argv[1:])
