"""A Python client that a public generator makes of openapi.yaml, used as a storefront would use it."""

from __future__ import annotations

import compileall
import importlib
import importlib.metadata
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.clients.conftest import OPENAPI, Service

PACKAGE = "tidemark_client"
GUIDE = (OPENAPI.parent / "docs" / "clients.md").read_text()


class Shop:
    """A storefront's server: the generated client, its models, and short ways to call both."""

    def __init__(self, service: Service) -> None:
        package = importlib.import_module(PACKAGE)
        self._make: Any = package.AuthenticatedClient
        self._url = service.url
        self._made: list[Any] = []
        self.client = self.connect(service.keys["server"])
        self.operator = self.connect(service.keys["operations"])
        self.stranger = self.connect("tm_server_of_somebody_else")
        self.models: Any = importlib.import_module(f"{PACKAGE}.models")

    def connect(self, key: str, **options: Any) -> Any:
        """Return a client with a key of its own."""
        self._made.append(self._make(self._url, key, **options))
        return self._made[-1]

    def close(self) -> None:
        """Close every connection."""
        for client in self._made:
            client.get_httpx_client().close()

    def call(self, operation: str, *ids: str, client: Any = None, **arguments: Any) -> Any:
        """Call an operation named `group.operation`; returns the generated, detailed response."""
        module = importlib.import_module(f"{PACKAGE}.api.{operation}")
        return module.sync_detailed(*ids, client=client or self.client, **arguments)

    def enrol(self) -> str:
        """Enrol a new member and return their id."""
        member_id = f"member-{uuid.uuid4().hex}"
        body = self.models.MemberBody(joined_at=datetime.now(UTC) - timedelta(days=60))
        assert self.call("members.enrol_member", member_id, body=body).status_code == 201
        return member_id

    def order(self, member_id: str, *, days_ago: int = 1, amount: str = "3000") -> Any:
        """Return the body of a new order."""
        return self.models.OrderBody(
            order_id=f"order-{uuid.uuid4().hex}",
            member_id=member_id,
            placed_at=datetime.now(UTC).replace(microsecond=0) - timedelta(days=days_ago),
            currency="TWD",
            lines=[self.models.OrderLineBody(sku="TEA-001", quantity=1, amount=amount)],
        )

    def buy(self, member_id: str, **options: Any) -> Any:
        """Place a new order and return its body."""
        body = self.order(member_id, **options)
        assert self.call("orders.place_order", body=body).status_code == 201
        return body

    def refund(self, **fields: Any) -> Any:
        """Return the body of a new refund of now."""
        return self.models.RefundBody(
            refund_id=f"refund-{uuid.uuid4().hex}", refunded_at=datetime.now(UTC), **fields
        )

    def adjust(self, member_id: str, points: int, *, key: str) -> Any:
        """Give or take points."""
        body = self.models.AdjustmentBody(points=points, reason="a test of the client")
        return self.call("points.adjust_points", member_id, body=body, idempotency_key=key)


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of the generated package, on the path of imports."""
    folder = tmp_path_factory.mktemp("python")
    options = folder / "options.yaml"
    # As the guide has it.
    options.write_text(
        re.findall(r"^printf '(.+)' > options.yaml$", GUIDE, re.MULTILINE)[0].replace(r"\n", "\n")
    )
    command = [sys.executable, "-m", "openapi_python_client", "generate", "--path", str(OPENAPI)]
    command += ["--meta", "none", "--output-path", str(folder / PACKAGE), "--config", str(options)]
    done = subprocess.run([*command, "--fail-on-warning"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    sys.path.insert(0, str(folder))
    yield folder / PACKAGE
    sys.path.remove(str(folder))
    for name in [name for name in sys.modules if name.split(".")[0] == PACKAGE]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def shop(service: Service, generated: Path) -> Iterator[Shop]:
    """A storefront that uses the generated client."""
    shop = Shop(service)
    yield shop
    shop.close()


def test_the_generated_client_compiles_and_every_module_of_it_can_be_imported(generated: Path) -> None:
    assert compileall.compile_dir(generated, quiet=1)
    modules: list[ModuleType] = []
    for file in sorted((generated / "api").rglob("*.py")):
        dotted = ".".join(file.relative_to(generated.parent).with_suffix("").parts)
        modules.append(importlib.import_module(dotted.removesuffix(".__init__")))
    operations = [module for module in modules if hasattr(module, "sync_detailed")]
    assert len(operations) >= 25
    assert all(hasattr(module, "asyncio_detailed") for module in operations)


@pytest.mark.usefixtures("generated")
def test_the_example_of_the_guide_works(service: Service, capsys: pytest.CaptureFixture[str]) -> None:
    example = re.findall(r"^```python\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)[0]
    given: dict[str, Any] = {"URL": service.url, "KEY": service.keys["server"]}
    exec(example, given)
    given["client"].get_httpx_client().close()
    tier, points = capsys.readouterr().out.split()
    assert tier
    assert int(points) >= 0
    version = importlib.metadata.version("openapi-python-client")
    assert f"`openapi-python-client` {version.rsplit('.', 1)[0]}:" in GUIDE


def test_a_member_is_enrolled_and_changed(shop: Shop) -> None:
    member_id = shop.enrol()
    consent = shop.models.ConsentBody(marketing=True, profiling=False)
    body = shop.models.MemberBody(locale="zh-Hant", email="mei@example.com", consent=consent)
    changed = shop.call("members.enrol_member", member_id, body=body)
    assert changed.status_code == 200
    assert changed.parsed.locale == "zh-Hant"
    profile = shop.call("members.get_member", member_id).parsed
    assert profile.email == "mei@example.com"
    assert profile.points.available == 0


def test_members_are_listed_page_by_page(shop: Shop) -> None:
    shop.enrol()
    first = shop.call("members.list_members", limit=5).parsed
    second = shop.call("members.list_members", limit=5, cursor=first.next_cursor).parsed
    assert len(first.data) == 5
    assert second.data
    assert not {row.member_id for row in first.data} & {row.member_id for row in second.data}


def test_an_item_is_put_and_read_back(shop: Shop) -> None:
    sku = f"sku/{uuid.uuid4().hex} 茶"
    name = shop.models.ItemBody.from_dict({"name": {"en": "Oolong"}}).name
    body = shop.models.ItemBody(name=name, category=["tea"], price="480", currency="TWD")
    assert shop.call("items.put_item", sku, body=body).status_code == 201
    assert shop.call("items.put_item", sku, body=body).status_code == 200
    item = shop.call("items.get_item", sku).parsed
    assert (item.sku, item.price, item.category) == (sku, "480.00", ["tea"])


def test_an_order_earns_and_says_why(shop: Shop) -> None:
    answer = shop.call("orders.place_order", body=shop.order(shop.enrol()))
    assert answer.status_code == 201
    assert answer.parsed.points.earned == 100
    assert answer.parsed.explanation


def test_the_same_order_again_is_answered_and_changes_nothing(shop: Shop) -> None:
    member_id = shop.enrol()
    body = shop.buy(member_id)
    again = shop.call("orders.place_order", body=body)
    assert again.status_code == 200
    points = shop.call("points.get_points", member_id).parsed
    assert points.available + points.pending == 100


def test_another_order_of_the_same_id_is_a_conflict(shop: Shop) -> None:
    body = shop.buy(shop.enrol())
    body.lines[0].amount = "4000"
    refused = shop.call("orders.place_order", body=body)
    assert refused.status_code == 409
    assert refused.parsed.code == "order-conflict"


def test_an_order_with_a_key_is_answered_twice_and_placed_once(shop: Shop) -> None:
    body, key = shop.order(shop.enrol()), uuid.uuid4().hex
    first = shop.call("orders.place_order", body=body, idempotency_key=key)
    second = shop.call("orders.place_order", body=body, idempotency_key=key)
    assert (first.status_code, second.status_code) == (201, 201)
    assert second.headers["Idempotent-Replayed"] == "true"
    assert second.parsed == first.parsed


def test_a_key_used_for_something_else_is_refused(shop: Shop) -> None:
    member_id, key = shop.enrol(), uuid.uuid4().hex
    shop.call("orders.place_order", body=shop.order(member_id), idempotency_key=key)
    refused = shop.call("orders.place_order", body=shop.order(member_id), idempotency_key=key)
    assert refused.status_code == 422
    assert refused.parsed.code == "idempotency-key-reused"


def test_an_order_is_read_back_as_recorded(shop: Shop) -> None:
    body = shop.buy(shop.enrol())
    seen = shop.call("orders.get_order", body.order_id).parsed
    assert seen.order.order_id == body.order_id
    assert seen.order.lines[0].amount == "3000.00"
    assert seen.order.refunds == []


def test_a_shipment_goes_from_promised_to_delivered(shop: Shop) -> None:
    order_id = shop.buy(shop.enrol()).order_id
    for hours, status in enumerate(("promised", "shipped", "delivered")):
        body = shop.models.ShipmentBody(
            shipment_id="s-1",
            status=status,
            occurred_at=datetime.now(UTC) - timedelta(hours=9 - hours),
        )
        assert shop.call("orders.record_shipment", order_id, body=body).status_code == 201
        assert shop.call("orders.record_shipment", order_id, body=body).status_code == 200
    assert len(shop.call("orders.get_order", order_id).parsed.order.shipments) >= 1


def test_a_partial_refund_takes_back_its_part(shop: Shop) -> None:
    order = shop.buy(shop.enrol())
    refund = shop.refund(order_id=order.order_id, kind="return", amount="1500")
    answer = shop.call("orders.record_refund", body=refund)
    assert answer.status_code == 201
    assert answer.parsed.points.reversed_ == 50
    assert shop.call("orders.record_refund", body=refund).status_code == 200


def test_a_full_refund_takes_back_everything_and_no_more(shop: Shop) -> None:
    member_id = shop.enrol()
    order = shop.buy(member_id)
    whole = shop.refund(order_id=order.order_id, amount="3000")
    assert shop.call("orders.record_refund", body=whole).parsed.points.reversed_ == 100
    points = shop.call("points.get_points", member_id).parsed
    assert points.available + points.pending == 0
    more = shop.call("orders.record_refund", body=shop.refund(order_id=order.order_id, amount="1"))
    assert more.parsed.code == "refund-above-left"


def test_a_refund_of_no_order_is_taken_in(shop: Shop) -> None:
    refund = shop.refund(member_id=shop.enrol(), kind="goodwill", amount="50")
    answer = shop.call("orders.record_refund", body=refund)
    assert answer.status_code == 201
    assert answer.parsed.refund.order_id is None


def test_a_cancelled_order_never_counted(shop: Shop) -> None:
    member_id = shop.enrol()
    order = shop.buy(member_id)
    body = shop.models.CancelBody(cancelled_at=datetime.now(UTC), reason="changed their mind")
    assert shop.call("orders.cancel_order", order.order_id, body=body).status_code == 200
    points = shop.call("points.get_points", member_id).parsed
    assert points.available + points.pending == 0
    assert shop.call("tiers.get_tier", member_id).parsed.metrics.orders == 0


def test_the_card_speaks_the_language_of_the_caller(shop: Shop) -> None:
    member_id = shop.enrol()
    card = shop.call("members.get_card", member_id, accept_language="zh-Hant").parsed
    assert card.locale == "zh-Hant"
    assert card.measurement.schema_version == 1
    assert card.measurement.attribution_token.startswith("v1.")


def test_a_second_visit_raises_the_tier_and_the_log_says_so(shop: Shop) -> None:
    member_id = shop.enrol()
    shop.buy(member_id, days_ago=20)
    shop.buy(member_id, days_ago=2)
    tier = shop.call("tiers.get_tier", member_id).parsed
    assert tier.rank >= 1
    assert tier.explanation
    changes = shop.call("tiers.list_tier_changes", member_id).parsed
    assert changes.data[0].to == tier.tier


def test_the_ledger_is_read_page_by_page(shop: Shop) -> None:
    member_id = shop.enrol()
    for points in (10, 20, 30):
        assert shop.adjust(member_id, points, key=uuid.uuid4().hex).status_code == 201
    seen, page = [], shop.call("points.list_transactions", member_id, limit=1).parsed
    while page.next_cursor:
        seen += page.data
        page = shop.call("points.list_transactions", member_id, limit=1, cursor=page.next_cursor).parsed
    seen += page.data
    assert len(seen) == 3


def test_an_adjustment_needs_its_key_and_happens_once(shop: Shop) -> None:
    member_id, key = shop.enrol(), uuid.uuid4().hex
    first, second = (shop.adjust(member_id, 40, key=key) for _ in range(2))
    assert (first.status_code, second.status_code) == (201, 201)
    assert second.parsed.transaction_id == first.parsed.transaction_id
    assert shop.call("points.get_points", member_id).parsed.available == 40


def test_points_that_are_not_there_cannot_be_taken(shop: Shop) -> None:
    refused = shop.adjust(shop.enrol(), -1, key=uuid.uuid4().hex)
    assert refused.status_code == 409
    assert refused.parsed.code == "insufficient-points"


def test_recommendations_can_be_traced_to_their_decision(shop: Shop) -> None:
    shown = shop.call("recommendations.get_recommendations", "mei-lin", placement="home", limit=3).parsed
    assert [item.rank for item in shown.items] == [1, 2, 3]
    assert shown.measurement.assignment.arm in {"treatment", "holdout"}
    decision = shop.call("recommendations.get_decision", shown.recommendation_id).parsed
    assert decision.member_id == "mei-lin"
    assert [item.sku for item in decision.items] == [item.sku for item in shown.items]


def test_what_goes_with_an_item_is_recommended(shop: Shop) -> None:
    related = shop.call("recommendations.get_related", "TEA-001", limit=2).parsed
    assert len(related.items) == 2
    assert "TEA-001" not in {item.sku for item in related.items}


def test_events_get_their_own_verdicts(shop: Shop) -> None:
    shown = shop.call("recommendations.get_recommendations", "mei-lin", limit=1).parsed
    seen = shop.models.EventBody(
        event_id=uuid.uuid4().hex,
        type_="viewed",
        occurred_at=datetime.now(UTC),
        member_id="mei-lin",
        recommendation_id=shown.recommendation_id,
        impression_id=shown.items[0].impression_id,
    )
    other = shop.models.EventBody(
        event_id=uuid.uuid4().hex, type_="view_item", occurred_at=datetime.now(UTC), member_id="nobody"
    )
    body = shop.models.EventsBody(events=[seen, seen, other])
    answer = shop.call("events.record_events", body=body).parsed
    assert [verdict.status for verdict in answer.data] == ["accepted", "duplicate", "rejected"]
    assert answer.data[2].code == "member-not-enrolled"


def test_a_member_in_an_experiment_has_an_assignment(shop: Shop) -> None:
    shop.call("recommendations.get_recommendations", "mei-lin")
    found = shop.call("experiments.list_assignments", "mei-lin").parsed
    assert found.data[0].arm in {"treatment", "holdout"}


def test_models_are_listed_and_shown(shop: Shop) -> None:
    models = shop.call("recommendations.list_models").parsed
    active = next(model for model in models.data if model.status == "active")
    model = shop.call("recommendations.get_model", active.version).parsed
    assert model.content_hash == active.content_hash
    assert model.counts.to_dict()
    refused = shop.call("recommendations.promote_model", active.version)
    assert refused.parsed.code == "forbidden"
    promoted = shop.call("recommendations.promote_model", active.version, client=shop.operator)
    assert promoted.parsed.status == "active"


def test_what_is_refused_is_read_as_a_problem(shop: Shop) -> None:
    unknown = shop.call("members.get_card", "nobody")
    assert (unknown.status_code, unknown.parsed.code) == (404, "unknown-member")
    assert unknown.parsed.instance == unknown.headers["X-Request-Id"]
    stranger = shop.call("members.get_card", "mei-lin", client=shop.stranger)
    assert (stranger.status_code, stranger.parsed.code) == (401, "unauthenticated")
    invalid = shop.call("orders.place_order", body=shop.order(shop.enrol(), amount="a lot"))
    assert (invalid.status_code, invalid.parsed.code) == (422, "invalid")
    assert invalid.parsed.errors[0].pointer == "/lines/0/amount"
    later = shop.call("tiers.get_tier", "mei-lin", as_of="2999-01-01")
    assert later.parsed.code == "as-of-in-future"
