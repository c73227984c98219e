"""What a merged member took: it is the survivor's, and remembers for whom it was taken."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from service.rewards import store_redemptions as store


def hand_over(conn: Connection, *, from_key: int, into_key: int) -> None:
    """Let every redemption of a member be another's; both accounts are locked by the caller."""
    store.hand_over(conn, from_key=from_key, into_key=into_key)


def hand_back(conn: Connection, *, from_key: int, into_key: int, origins: Sequence[int]) -> None:
    """Let what was taken for some merged members be `from_key`'s again."""
    store.hand_back(conn, from_key=from_key, into_key=into_key, origins=origins)
