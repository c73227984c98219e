"""How gunicorn serves: threads for waiting on the database, one preloaded copy of the code."""

from __future__ import annotations

from typing import Any

from prometheus_client import multiprocess

from service.kit.settings import Settings

_settings = Settings.from_environment()

bind = f"0.0.0.0:{_settings.port}"
workers = _settings.web_concurrency
worker_class = "gthread"
threads = 8
preload_app = True
timeout = 60
graceful_timeout = 30
keepalive = 30
max_requests = 0
# Requests are logged by the service itself, with their ids.
accesslog = None
errorlog = "-"
loglevel = "warning"
worker_tmp_dir = "/dev/shm"  # noqa: S108 - heartbeats must not wait for a disk
control_socket_disable = True


def child_exit(_server: Any, worker: Any) -> None:
    """Forget the gauges of a worker that is gone."""
    import os

    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]
