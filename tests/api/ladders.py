"""A shop with a ladder of its own, spoken to through HTTP; days of its history count back from today."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Engine

from service.app import create_app
from service.kit.auth import ROLES, create_key
from service.kit.db import transaction
from service.kit.settings import Settings
from service.programme.operations import get_programme
from service.startup import make_ready
from service.tiers import store
from service.tiers.population.operations import run_simulation
from tests.api.conftest import Client, an_order, enrol
from tests.integration.tiers.shop import spend_ladder

TAIPEI = ZoneInfo("Asia/Taipei")


def ladder(
    *steps: Mapping[str, Any], window: Mapping[str, Any] | None = None, **downgrade: Any
) -> dict[str, Any]:
    """Return a definition with tiers t0, t1, … of the given `enter` (and `keep`), rolling over 30 days."""
    names = {"en": "Tier", "zh-Hant": "等級"}
    tiers = [{"code": f"t{rank}", "names": names, **step} for rank, step in enumerate(({}, *steps))]
    return spend_ladder() | {
        "window": window or {"kind": "rolling", "days": 30},
        "tiers": tiers,
        "downgrade": {"policy": "one_step", "grace_days": 0, "min_hold_days": 0} | downgrade,
    }


def spend(amount: int, op: str = ">=") -> dict[str, Any]:
    """Return a condition on net spend."""
    return {"metric": "net_spend", "op": op, "value": str(amount)}


class Ladder:
    """A programme in TWD, Asia/Taipei, with its first rule set; `today` is the day it opened."""

    def __init__(self, engine: Engine, settings: Settings, definition: Mapping[str, Any] | None) -> None:
        now = datetime.now(UTC)
        self.today = now.astimezone(TAIPEI).date()
        if definition is not None:
            with transaction(engine) as conn:
                store.add_first_ruleset(conn, definition=definition, now=now)
        make_ready(engine, settings, now=now)
        with transaction(engine) as conn:
            keys = {role: create_key(conn, role=role, label="test", now=now) for role in ROLES}
        self.client = Client(create_app(settings, engine), engine, keys)
        self._numbers = itertools.count(1)

    def day(self, ago: int) -> date:
        """Return the day some days back."""
        return self.today - timedelta(days=ago)

    def noon(self, ago: int) -> str:
        """Return noon of that day in the programme's zone; today it is the present moment."""
        if ago == 0:
            return datetime.now(UTC).isoformat()
        return datetime.combine(self.day(ago), time(12), tzinfo=TAIPEI).isoformat()

    def enrol(self, member_id: str = "m1", *, ago: int = 200) -> None:
        """Enrol a member some days back."""
        enrol(self.client, member_id, joined_at=self.noon(ago))

    def buy(self, ago: int, amount: int, member_id: str = "m1", **fields: Any) -> dict[str, Any]:
        """Place an order some days back; orders come by order of time."""
        body = an_order(
            f"{member_id}-{next(self._numbers)}", member_id, str(amount), placed_at=self.noon(ago)
        )
        return self.expect(201, self.client.post("/v1/orders", json=body | fields))

    def refund(self, order: Mapping[str, Any], ago: int, amount: int) -> dict[str, Any]:
        """Give some of an order back."""
        body = {
            "refund_id": f"r{next(self._numbers)}",
            "order_id": order["order"]["order_id"],
            "refunded_at": self.noon(ago),
            "amount": str(amount),
        }
        return self.expect(201, self.client.post("/v1/refunds", json=body))

    def tier(self, member_id: str = "m1", *, ago: int | None = None, **options: Any) -> dict[str, Any]:
        """Return where a member stands now, or stood at the end of a day."""
        query = "" if ago is None else f"?as_of={self.day(ago)}"
        return self.expect(200, self.client.get(f"/v1/members/{member_id}/tier{query}", **options))

    def moves(self, member_id: str = "m1") -> list[tuple[str | None, str, str, int]]:
        """Return (from, to, cause, days ago) of every change as it should have been, in order."""
        path = f"/v1/members/{member_id}/tier/changes?basis=replay"
        changes = self.expect(200, self.client.get(path))["data"]
        return [
            (change["from"], change["to"], change["cause"], self._ago(change["effective_at"]))
            for change in reversed(changes)
        ]

    def _ago(self, moment: str) -> int:
        return (self.today - datetime.fromisoformat(moment).astimezone(TAIPEI).date()).days

    def review(self) -> None:
        """Apply what time alone has brought about, as the worker does every hour."""
        self.post("/v1/tier-reviews", {}, role="operations")

    def told(self, topic: str) -> list[dict[str, Any]]:
        """Return the payloads of one topic of the change feed."""
        feed = self.expect(200, self.client.get(f"/v1/changes?topics={topic}&limit=500"))
        return [change["payload"] for change in feed["data"]]

    def post(
        self, path: str, body: Mapping[str, Any], *, role: Any = "admin", status: int = 0
    ) -> dict[str, Any]:
        """POST with a key of its own; any success unless a status is named."""
        headers = {"Idempotency-Key": f"k{next(self._numbers)}"}
        response = self.client.post(path, json=dict(body), role=role, headers=headers)
        return self.expect(status, response)

    def draft(self, definition: Mapping[str, Any], title: str = "a draft") -> int:
        """Make a draft and return its version."""
        made = self.post("/v1/tier-rulesets", {"title": title, "definition": definition}, role="marketing")
        return int(made["version"])

    def simulate(self, version: int) -> dict[str, Any]:
        """Try a draft on everybody, with the worker's job."""
        asked = self.post(f"/v1/tier-rulesets/{version}/simulations", {}, role="marketing")
        with transaction(self.client.engine) as conn:
            programme = get_programme(conn)
        run_simulation(
            self.client.engine,
            simulation_id=asked["simulation_id"],
            programme=programme,
            now=datetime.now(UTC),
        )
        path = f"/v1/tier-rulesets/{version}/simulations/{asked['simulation_id']}"
        return self.expect(200, self.client.get(path))

    def publish(self, version: int, *, status: int = 200, **fields: Any) -> dict[str, Any]:
        """Publish a draft on a simulation of it, demotions confirmed unless told otherwise."""
        body = {
            "reason": "a test",
            "simulation_id": self.simulate(version)["simulation_id"],
            "confirm_demotions": True,
        }
        return self.post(
            f"/v1/tier-rulesets/{version}/publish", body | fields, role="marketing", status=status
        )

    @staticmethod
    def expect(status: int, response: Any) -> dict[str, Any]:
        """Return what an answer holds, refusing any other status; 0 stands for every success."""
        wanted: Sequence[int] = range(200, 300) if status == 0 else (status,)
        assert response.status_code in wanted, response.data
        return dict(response.json or {})
