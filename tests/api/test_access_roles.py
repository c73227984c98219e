"""Every route × every role, on the running application's own table."""

from __future__ import annotations

import re
from typing import Any

import pytest
from werkzeug.routing import Rule

from service.kit.auth import ROLES, Role
from service.kit.http import ROUTES
from tests.api.conftest import Client


def rule_of(client: Client, endpoint: str) -> Rule:
    """Return the rule of a route."""
    return next(rule for rule in client.app.url_map.iter_rules() if rule.endpoint == endpoint)


def ask(client: Client, endpoint: str, role: Role | None, **options: Any) -> Any:
    """Send the barest request a route takes."""
    rule = rule_of(client, endpoint)
    method = next(iter((rule.methods or set()) - {"HEAD", "OPTIONS"}))
    path = re.sub(r"<[^>]+>", "1", rule.rule)
    headers = {"Idempotency-Key": "k1"} if method == "POST" else {}
    return client.call(method, path, role=role, headers=headers, **options)


def list_endpoints(client: Client) -> list[str]:
    """Every route of the running application, which is every route of the table and no other."""
    ours = {rule.endpoint for rule in client.app.url_map.iter_rules() if rule.rule.startswith("/v1/")}
    assert ours <= set(ROUTES)
    return sorted(ours)


def test_without_a_key_no_route_opens(client: Client) -> None:
    for endpoint in list_endpoints(client):
        assert ask(client, endpoint, None).status_code == 401, endpoint


@pytest.mark.parametrize("role", ROLES)
def test_a_route_opens_to_its_roles_and_to_no_other(client: Client, role: Role) -> None:
    for endpoint in list_endpoints(client):
        response = ask(client, endpoint, role)
        code = (response.json or {}).get("code") if response.status_code >= 400 else None
        if role not in ROUTES[endpoint].roles:
            assert (response.status_code, code) == (403, "forbidden"), endpoint
        elif role == "storefront" and "member_id" in rule_of(client, endpoint).rule:
            assert (response.status_code, code) == (403, "member-token-needed"), endpoint
        else:
            assert response.status_code not in {401, 403}, f"{endpoint} {response.data!r}"
            assert response.status_code < 500, f"{endpoint} {response.data!r}"


def test_what_a_storefront_may_do_is_a_short_list(client: Client) -> None:
    """Whoever adds a route for storefronts says here that it tells nothing of staff or of other members."""
    open_to_storefronts = {name for name in list_endpoints(client) if "storefront" in ROUTES[name].roles}
    assert open_to_storefronts == {
        "events.record_events",
        "catalogue.get_item",
        "grounds.explain_member_tier",
        "ledger.get_points",
        "profiles.get_card",
        "quotes.quote_points",
        "recommendations.expose_visitor",
        "recommendations.get_recommendations",
        "recommendations.get_related",
        "ranked_rewards.list_member_rewards",
        "tiers.get_tier",
    }


def test_only_admins_make_and_see_keys(client: Client) -> None:
    roles = {
        ROUTES[name].roles
        for name in list_endpoints(client)
        if name.startswith("access.") and "token" not in name
    }
    assert roles == {("admin",)}
    assert ROUTES["access.issue_member_token"].roles == ("server", "admin")
