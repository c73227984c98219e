"""`tidemark serve` and `tidemark worker`: the processes that stay."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click
import yaml
from sqlalchemy import Engine, text

from service.cli.data import import_demo
from service.cli.experiments import print_outlook
from service.cli.progress import show_progress
from service.intake.demo.shop import CURRENCY as DEMO_CURRENCY
from service.kit.auth import create_key
from service.kit.clock import read_clock
from service.kit.db import open_engine, transaction
from service.kit.settings import Settings, SettingsError
from service.programme.operations import Programme
from service.startup import make_ready, reach_database


@click.command()
@click.pass_obj
def serve(settings: Settings) -> None:
    """Run everything: the database if none is given, the web service and the worker."""
    _insist_on_port(settings.port)
    with reach_database(settings) as database:
        engine = open_engine(database.url, pool_size=4)
        programme = make_ready(engine, settings, now=read_clock())
        if settings.demo and _is_empty(engine):
            _bring_in_demo(engine, settings, programme)
        shown = _keys(engine, settings)
        print_outlook(engine)
        engine.dispose()
        click.echo(f"\n  Tidemark   http://127.0.0.1:{settings.port}   (API description at /openapi.json)")
        for role, token in shown.items():
            click.echo(f"  {role:<10} {token}")
        click.echo(f"  {programme.currency}, {programme.timezone}; stop with Ctrl-C\n")
        sys.stdout.flush()
        sys.exit(_supervise(settings, database.url))


@click.command()
@click.pass_obj
def web(settings: Settings) -> None:
    """Run the web service alone, on a database that `tidemark db upgrade` made ready."""
    from service.gunicorn_conf import make_metrics_folder

    if settings.database_url is None:
        raise SettingsError("`tidemark web` needs DATABASE_URL; `tidemark serve` runs without one")
    _insist_on_port(settings.port)
    settings.var.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(make_metrics_folder(settings.var.resolve()))}
    sys.stdout.flush()
    # In our place, so that signals reach it from whoever started us.
    os.execve(_WEB[0], _WEB, environment)  # noqa: S606


_WEB = [sys.executable, "-m", "gunicorn", "-c", "python:service.gunicorn_conf", "service.wsgi:app"]
_WORKER = [sys.executable, "-m", "service.cli", "worker"]
_PR_SET_PDEATHSIG = 1


def _insist_on_port(port: int) -> None:
    """Stop with one line when somebody else listens on the port."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("0.0.0.0", port))  # noqa: S104 - as the web service will
        except OSError as error:
            sys.exit(f"tidemark: cannot listen on port {port} ({error.strerror}); PORT names another one")


def _bring_in_demo(engine: Engine, settings: Settings, programme: Programme) -> None:
    if programme.currency != DEMO_CURRENCY:
        click.echo(
            f"The database is empty and stays so: the demo shop counts in {DEMO_CURRENCY}, "
            f"this programme in {programme.currency}."
        )
        return
    click.echo("The database is empty: bringing in the demo shop (TIDEMARK_DEMO=0 leaves it empty).")
    with show_progress() as progress:
        import_demo(engine, settings, programme, progress=progress)


def _is_empty(engine: Engine) -> bool:
    with engine.connect() as conn:
        return not conn.scalar(text("SELECT EXISTS (SELECT 1 FROM members)"))


def _keys(engine: Engine, settings: Settings) -> dict[str, str]:
    """Return the keys of this trial: made on the first start, kept readable by the owner alone."""
    path = settings.var / "keys.txt"
    if path.exists():
        kept = dict(line.split(" ", 1) for line in path.read_text().splitlines() if line)
        if _known(engine, kept):
            return kept
    now = read_clock()
    with transaction(engine) as conn:
        made = {
            role: create_key(conn, role=role, label="tidemark serve", now=now) for role in ("server", "admin")
        }
    settings.var.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.writelines(f"{role} {token}\n" for role, token in made.items())
    return made


def _known(engine: Engine, kept: dict[str, str]) -> bool:
    from service.kit.auth import Authenticator
    from service.kit.errors import Unauthenticated

    authenticator = Authenticator(engine)
    try:
        for token in kept.values():
            authenticator.identify(f"Bearer {token}", now=read_clock())
    except Unauthenticated:
        return False
    return bool(kept)


def _supervise(settings: Settings, database_url: str) -> int:
    """Run web and worker until a signal or until one of them ends; return the exit status."""
    metrics = Path(settings.var).resolve() / "metrics"
    shutil.rmtree(metrics, ignore_errors=True)
    metrics.mkdir(parents=True)
    environment = os.environ | {
        "DATABASE_URL": database_url,
        "PROMETHEUS_MULTIPROC_DIR": str(metrics),
        "TIDEMARK_VAR": str(Path(settings.var).resolve()),
    }
    # A session of their own: Ctrl-C reaches us alone, and we stop them in order.
    children = [
        subprocess.Popen(  # noqa: S603
            command,
            env=environment,
            start_new_session=True,
            preexec_fn=_end_with_parent(),  # noqa: PLW1509 - no thread of ours runs here
        )
        for command in (_WEB, _WORKER)
    ]
    stopping: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda received, _frame: stopping.append(received))
    while not stopping and all(child.poll() is None for child in children):
        time.sleep(0.2)
    status = 0 if stopping else 1
    if not stopping:
        click.echo("tidemark: a process ended by itself; stopping the others", err=True)
    for child in children:
        if child.poll() is None:
            child.send_signal(signal.SIGTERM)
    for child in children:
        try:
            child.wait(timeout=35)
        except subprocess.TimeoutExpired:
            child.kill()
    return status


def _end_with_parent() -> Callable[[], None] | None:
    """Return what a child runs first, so that it ends when this process is killed.

    Linux alone can be asked for that; elsewhere a killed `tidemark serve` leaves its children running.
    """
    if sys.platform != "linux":
        return None
    parent = os.getpid()
    libc = ctypes.CDLL(None)

    def arrange() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it was killed before we asked
            os._exit(1)

    return arrange


@click.command()
@click.pass_obj
def worker(settings: Settings) -> None:
    """Run background work: nightly jobs and whatever requests left to be done."""
    from service.worker import run_worker

    with reach_database(settings) as database:
        engine = open_engine(database.url, pool_size=8)
        make_ready(engine, settings, now=read_clock())
        run_worker(settings, engine, database.url)


@click.command()
@click.pass_obj
def openapi(settings: Settings) -> None:
    """Print the API's description, as openapi.yaml holds it."""
    from service.app import create_app

    app = create_app(settings, open_engine("postgresql://nobody@localhost/nothing"))
    document = app.extensions["openapi"].to_dict()
    click.echo(yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=110), nl=False)
