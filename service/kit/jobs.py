"""Background work: enqueue it in the same transaction as the change it follows from.

Tasks are declared in `service.worker`, which knows every room; a room only knows their names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import procrastinate
from procrastinate.exceptions import AlreadyEnqueued
from sqlalchemy import Connection

# Never opened: it only writes the statement that runs on the caller's own connection.
_app = procrastinate.App(connector=procrastinate.SyncPsycopgConnector())


def defer(
    conn: Connection, *, task: str, arguments: Mapping[str, Any], queueing_lock: str | None = None
) -> bool:
    """Enqueue a job that exists if and only if the caller's transaction commits.

    With a `queueing_lock`, a job that is already waiting under it is enough: False is returned.
    Arguments carry keys and numbers, never personal data.
    """
    driver = conn.connection.driver_connection
    options: dict[str, Any] = {"connection": driver, "queueing_lock": queueing_lock}
    try:
        # A savepoint, because a job that is already waiting shows itself as a violated constraint.
        with conn.begin_nested():
            _app.configure_task(task, allow_unknown=True, **options).defer(**arguments)
    except AlreadyEnqueued:
        return False
    return True
