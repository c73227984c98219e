"""The groups a reader looks for, and which paths belong to them."""

from __future__ import annotations

import re

GROUPS = {
    "members": "Who belongs: enrolment, the profile, and the card a storefront shows.",
    "items": "What is sold.",
    "orders": "Orders, their cancellation and shipments, and refunds: each known by the merchant's own id, "
    "so that sending one again changes nothing.",
    "events": "What happened on the storefront, and what was seen and clicked of an answer.",
    "tiers": "Where members stand, why, how they moved and what is missing for the next tier; the rule "
    "sets, from draft to in force.",
    "points": "What members hold, and the ledger behind it.",
    "rewards": "What can be had for points or with a tier, what was taken, and vouchers at a checkout.",
    "recommendations": "What to show next, each answer with its `measurement`; what decided it; the models.",
    "experiments": "Hold-outs and experiments: who is on which side, and what that brought.",
    "imports": "History in bulk.",
    "access": "Keys, their roles and stores, and the short-lived tokens of browsers.",
    "programme": "Settings, stores, the audit log and the feed of changes.",
}
"""Name → description, in reading order."""

_PATHS = tuple(
    (re.compile(pattern), name)
    for pattern, name in (
        (r"/v1/members/[^/]+/tier(/|$)|/v1/tier-", "tiers"),
        (r"/v1/members/[^/]+/points(/|$)|/v1/points/|/v1/earning-rules", "points"),
        (r"/v1/members/[^/]+/(rewards|redemptions)$|/v1/(rewards|redemptions|vouchers)(/|$)", "rewards"),
        (r"/v1/code-pools/|/v1/review-queue", "rewards"),
        (r"/v1/members/[^/]+/recommendations$|/v1/items/[^/]+/related$", "recommendations"),
        (r"/v1/orders/[^/]+/attribution$", "recommendations"),
        (r"/v1/decisions/|/v1/models|/v1/placements|/v1/recommendation-exports", "recommendations"),
        (r"/v1/members/[^/]+/assignments$|/v1/experiments", "experiments"),
        (r"/v1/keys|/v1/member-tokens|/v1/storefront", "access"),
        (r"/v1/settings|/v1/stores|/v1/audit-log|/v1/changes|/v1/programme", "programme"),
        (r"/v1/members(/|$)", "members"),
        (r"/v1/items(/|$)", "items"),
        (r"/v1/(orders|refunds)(/|$)", "orders"),
        (r"/v1/events(/|$)", "events"),
        (r"/v1/imports(/|$)", "imports"),
    )
)


def group_of(path: str) -> str | None:
    """Return the group of a path, or None where only its room knows."""
    return next((name for pattern, name in _PATHS if pattern.match(path)), None)
