"""Every law of the domain that can be checked on live data, in one report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine

from service.experiments import laws as experiments
from service.ledger import operations as ledger
from service.programme.operations import Programme, get_programme
from service.recommendations import laws as recommendations
from service.rewards import operations as rewards
from service.tiers import operations as tiers

LAWS = ("T1", "T4", "P1", "P2", "P4", "P5", "R1", "E1", "E2")


@dataclass(frozen=True, slots=True)
class LawReport:
    """What was checked and every row that breaks a law."""

    laws: tuple[str, ...]
    violations: list[dict[str, Any]]


def check_laws_now(
    engine: Engine, *, clock: Callable[[], datetime], progress: Callable[[str, int, int | None], None]
) -> LawReport:
    """Check every law over everyone as of one moment, whatever is written meanwhile."""
    one_moment = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    with engine.connect().execution_options(**one_moment) as conn, conn.begin():
        programme = get_programme(conn)
        # The first statement fixes what is seen. The clock comes after it: nothing seen was rated later.
        return check_laws(conn, programme=programme, now=clock(), progress=progress)


def check_laws(
    conn: Connection,
    *,
    programme: Programme,
    now: datetime,
    progress: Callable[[str, int, int | None], None],
) -> LawReport:
    """Check every law that exists so far, over everyone; reads only."""
    progress("ledger", 0, None)
    violations = [violation.to_json() for violation in ledger.check_laws(conn)]
    progress("rewards", 0, None)
    violations += [violation.to_json() for violation in rewards.check_laws(conn)]
    progress("experiments", 0, None)
    violations += [violation.to_json() for violation in experiments.check_laws(conn)]
    violations += recommendations.check_laws(conn)
    progress("tiers", 0, None)
    violations += [violation.to_json() for violation in tiers.check_laws(conn, programme=programme, now=now)]
    return LawReport(LAWS, violations)
