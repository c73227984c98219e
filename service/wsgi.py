"""The web process for gunicorn: `gunicorn -c python:service.gunicorn_conf service.wsgi:app`."""

from service.app import create_app
from service.kit.db import open_engine
from service.kit.logs import configure
from service.kit.settings import Settings, SettingsError

settings = Settings.from_environment()
if settings.database_url is None:
    raise SettingsError(
        "the web process needs DATABASE_URL; `tidemark serve` sets it for the embedded server"
    )
configure(settings.log_level)
# Made before the fork and connected after it: a pool is empty until its first use.
# Most requests read: connections begin nothing unless a write asks for it, not the other way round.
reads = open_engine(
    settings.database_url,
    pool_size=10,
    pool_timeout_ms=settings.pool_timeout_ms,
    statement_timeout_ms=settings.statement_timeout_ms,
    lock_timeout_ms=settings.lock_timeout_ms,
    autocommit=True,
)
app = create_app(settings, reads.execution_options(isolation_level="READ COMMITTED"), reads=reads)
