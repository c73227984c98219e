"""How gunicorn serves: threads for waiting on the database, one preloaded copy of the code."""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from gunicorn.http.errors import ConfigurationProblem, ParseException
from gunicorn.util import write_nonblock
from gunicorn.workers.gthread import ThreadWorker
from prometheus_client import multiprocess

from service.kit.garbage import collect_less_often
from service.kit.settings import Settings

METRICS_PREFIX = "tidemark-metrics-"
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - gunicorn and prometheus_client map small files


class ProblemWorker(ThreadWorker):  # type: ignore[misc]
    """Refuses what is no HTTP at all in the shape of every other refusal, where gunicorn answers HTML."""

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        """Answer a request that could not be read (400), or that broke outside the application (500)."""
        from service.kit import problems
        from service.kit.clock import read_clock
        from service.kit.errors import Malformed
        from service.kit.ids import new_id

        request_id = new_id("req", read_clock())
        if isinstance(exc, ParseException) and not isinstance(exc, ConfigurationProblem):
            self.log.warning("unreadable request %s from %s: %s", request_id, (addr or ("?",))[0], exc)
            answer = problems.answer(Malformed(f"not a request: {exc}"), instance=request_id)
        else:
            self.log.error("error outside the application, request %s", request_id, exc_info=exc)
            detail = "Something broke on our side. The request id finds it in the log."
            answer = problems.answer_status(500, detail=detail, instance=request_id)
        answer.headers.update(
            {
                "X-Request-Id": request_id,
                "X-Content-Type-Options": "nosniff",
                "Cache-Control": "no-store",
                "Connection": "close",
            }
        )
        head = [f"HTTP/1.1 {answer.status}", *(f"{name}: {value}" for name, value in answer.headers)]
        try:
            write_nonblock(client, "\r\n".join([*head, "", ""]).encode("latin-1") + answer.get_data())
        except OSError:
            self.log.debug("nobody waited for the answer to %s", request_id)


def shared_memory() -> Path | None:
    """Return a folder in memory that this process may write to, if the system has one."""
    return (
        _SHARED_MEMORY if _SHARED_MEMORY.is_dir() and os.access(_SHARED_MEMORY, os.W_OK | os.X_OK) else None
    )


def make_metrics_folder(var: Path) -> Path:
    """Make an empty folder where the workers of one server add up their metrics; `on_exit` removes it."""
    return Path(tempfile.mkdtemp(prefix=METRICS_PREFIX, dir=shared_memory() or var))


def when_ready(_server: Any) -> None:
    """Set what was made before the fork apart from what is collected: workers go on sharing its memory."""
    gc.collect()
    gc.freeze()


def post_fork(_server: Any, _worker: Any) -> None:
    """Collect less often: what it costs is paid by requests."""
    collect_less_often()


def child_exit(_server: Any, worker: Any) -> None:
    """Forget the gauges of a worker that is gone."""
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]


def on_exit(_server: Any) -> None:
    """Take the metrics' folder away if `make_metrics_folder` made it."""
    folder = Path(os.environ.get("PROMETHEUS_MULTIPROC_DIR", ""))
    if folder.name.startswith(METRICS_PREFIX):
        shutil.rmtree(folder, ignore_errors=True)


_settings = Settings.from_environment()

bind = f"0.0.0.0:{_settings.port}"
workers = _settings.web_concurrency
worker_class = ProblemWorker
# A few more than requests may be held at once: those answer 503 instead of letting a queue grow unseen.
threads = _settings.max_in_flight + 4
preload_app = True
timeout = 60
# On TERM: no new connections, requests that have begun are answered, then the end.
graceful_timeout = 30
keepalive = 30
max_requests = 0
# The longest ids, each character percent-encoded as three bytes of UTF-8, fit several times.
limit_request_line = 8190
# Requests are logged by the service itself, with their ids.
accesslog = None
errorlog = "-"
loglevel = "warning"
# Heartbeats must not wait for a disk.
worker_tmp_dir = str(folder) if (folder := shared_memory()) else None
control_socket_disable = True
