"""What the feed tells of. Pure."""

from __future__ import annotations

TOPICS = {
    "member.enrolled": "Somebody became a member.",
    "member.updated": "Fields of a member changed; only their names are told.",
    "member.merged": "A member was merged into another; its id stands for that one from now on.",
    "member.merge_undone": "A merge was undone: both members stand for themselves again.",
    "member.tier.changed": "A member moved from one tier to another.",
    "member.tier.at_risk": "A member is going to fall unless something is bought.",
    "order.placed": "An order was recorded.",
    "order.cancelled": "An order was called off.",
    "refund.taken": "A refund was recorded.",
    "points.earned": "An order earned points.",
    "points.rewarded": "A custom event earned points.",
    "points.reversed": "A refund or cancellation took points back.",
    "points.adjusted": "Points were given or taken by hand.",
    "points.expiring": "Points are going to expire on a day, told once ahead of it.",
    "points.extended": "Points can be used for longer than they could.",
    "points.returned": "A refund or cancellation gave back points that had been spent.",
    "points.spent": "Points that were set aside paid for an order.",
    "reward.changed": "A reward was offered, or changed.",
    "reward.redeemed": "A member took a reward.",
    "reward.used": "What was taken paid for an order, or was handed over.",
    "reward.returned": "A refund or cancellation gave a voucher back, or some of what it paid.",
    "reward.cancelled": "A redemption was called off: its points went back.",
    "reward.expired": "A redemption that nobody used has expired.",
    "item.changed": "An item was added or replaced.",
    "store.changed": "A store was added, or its name or zone changed.",
    "earning.rules.published": "Earning rules were published, for now or for a day to come.",
    "earning.rules.activated": "Earning rules came into force on their day.",
    "earning.rules.withdrawn": "Earning rules that waited for their day are a draft again.",
    "tier.ruleset.published": "A tier rule set was published, for now or for a day to come.",
    "tier.ruleset.withdrawn": "A tier rule set that waited for its day is a draft again.",
    "tier.ruleset.activated": "A tier rule set came into force on its day.",
    "settings.changed": "The settings changed, or are going to.",
    "model.promoted": "Another recommendation model is in force.",
}
"""Topic → what it says. A bulk import tells nothing of single facts: it is history, loaded as such."""


def read_subject(subject: str) -> tuple[str, str | None]:
    """Return kind and id of `kind` or `kind:id`."""
    kind, colon, subject_id = subject.partition(":")
    return kind, subject_id if colon else None


def read_topics(topics: str) -> tuple[list[str], list[str]]:
    """Return the topics of a comma-separated list, and those of them that do not exist."""
    names = list(dict.fromkeys(name.strip() for name in topics.split(",")))
    return names, [name for name in names if name not in TOPICS]
