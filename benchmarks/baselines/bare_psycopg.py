"""B1: the statements that a library call sent, sent again by psycopg alone in one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import psycopg

Sent = tuple[bytes, dict[str, Any]]
"""A statement in psycopg's own form, and its parameters."""


def connect(url: str) -> psycopg.Connection[Any]:
    """Open a connection with the settings that the service gives its own."""
    return psycopg.connect(
        url.replace("postgresql+psycopg://", "postgresql://"),
        prepare_threshold=3,
        options="-c timezone=UTC -c jit=off",
    )


def replay(conn: psycopg.Connection[Any], sent: Sequence[Sent], *, changed: Mapping[str, object]) -> None:
    """Send the statements with some parameters changed, read what comes back, and commit."""
    for statement, parameters in sent:
        cursor = conn.execute(statement, {**parameters, **changed})
        if cursor.description is not None:
            cursor.fetchall()
    conn.commit()
