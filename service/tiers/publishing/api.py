"""Routes of rule sets: drafted, looked through, compared, published, withdrawn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from service.kit.audit import actor_of
from service.kit.auth import Role
from service.kit.errors import NotAFutureMidnight, ScheduleTaken
from service.kit.http import STAFF, Blueprint, Door
from service.kit.pagination import decode_cursor, encode_cursor, page
from service.kit.schemas_drafting import DiffQuery, VersionsQuery, WithdrawBody
from service.programme.operations import get_programme
from service.tiers.errors import (
    RulesetHasErrors,
    RulesetNotADraft,
    RulesetNotReadable,
    RulesetNotScheduled,
    SimulationNeeded,
    SimulationNotDone,
    SimulationStale,
    TooManyDemotions,
    UnknownRuleset,
)
from service.tiers.publishing import operations
from service.tiers.publishing.operations import RULESETS, Actor, Draft, Publishing, Ruleset
from service.tiers.publishing.schemas import (
    DraftBody,
    NewDraftBody,
    PublishBody,
    RulesetDiffSchema,
    RulesetExportSchema,
    RulesetSchema,
    RulesetsSchema,
)
from service.tiers.publishing.views import diff_json, ruleset_json, summary_json
from service.tiers.rulesets import read_version

blueprint = Blueprint(
    "tier_rulesets", __name__, url_prefix="/v1", description="Rule sets: drafts, publishing, differences."
)

_DECIDERS: tuple[Role, ...] = ("marketing", "admin")


@blueprint.door(
    "POST",
    "/tier-rulesets",
    roles=_DECIDERS,
    body=NewDraftBody(),
    answers={201: RulesetSchema()},
    refusals=(RulesetNotReadable,),
    idempotency_key="required",
)
def draft_ruleset(door: Door, body: dict[str, Any]) -> object:
    """Make a draft, from a definition or as a copy of a version, and say what is found in it.

    What cannot be read as a rule set is refused with a pointer to each fault. What can be read and is
    doubtful is kept, with its findings: those that are errors stop it from being published.
    """
    given = body.get("definition")
    if given is None:
        given = RULESETS.copy_of(door.conn, version=body["copy_of"], now=door.now)
    draft = _read_draft(door, body["title"], given)
    return _show(door, RULESETS.add_draft(door.conn, draft=draft, actor=_actor(door), now=door.now)), 201


@blueprint.door("GET", "/tier-rulesets", roles=STAFF, query=VersionsQuery(), answers={200: RulesetsSchema()})
def list_rulesets(door: Door, query: dict[str, Any]) -> object:
    """List rule sets, the newest version first; one state alone if asked for."""
    key = decode_cursor(query.get("cursor"), types=(int,))
    found = RULESETS.list_versions(
        door.conn,
        state=query.get("state"),
        before=None if key is None else min(key[0], 2**31 - 1),
        limit=query["limit"] + 1,
        now=door.now,
    )
    return page(
        [summary_json(ruleset) for ruleset in found],
        limit=query["limit"],
        cursors=[encode_cursor(ruleset.version) for ruleset in found],
    )


@blueprint.door(
    "GET",
    "/tier-rulesets/<id:version>",
    roles=STAFF,
    answers={200: RulesetSchema()},
    refusals=(UnknownRuleset,),
    tagged=DraftBody(),
)
def get_ruleset(door: Door, version: str) -> object:
    """Return a version with what it says, what was found in it, who published it, when, why and on what."""
    return _show(door, RULESETS.get(door.conn, version=read_version(version), now=door.now))


@blueprint.door(
    "PUT",
    "/tier-rulesets/<id:version>",
    roles=_DECIDERS,
    body=DraftBody(),
    answers={200: RulesetSchema()},
    refusals=(UnknownRuleset, RulesetNotADraft, RulesetNotReadable),
    tagged_by=get_ruleset,
)
def put_ruleset(door: Door, version: str, body: dict[str, Any]) -> object:
    """Give a draft another title and definition. Published versions never change."""
    found = RULESETS.change_draft(
        door.conn,
        version=read_version(version),
        draft=_read_draft(door, body["title"], body["definition"]),
        actor=_actor(door),
        now=door.now,
    )
    return _show(door, found)


@blueprint.door(
    "DELETE",
    "/tier-rulesets/<id:version>",
    roles=_DECIDERS,
    answers={200: RulesetSchema()},
    refusals=(UnknownRuleset, RulesetNotADraft),
)
def delete_ruleset(door: Door, version: str) -> object:
    """Put a draft away for good. Its number is never given again; published versions stay."""
    found = RULESETS.discard_draft(door.conn, version=read_version(version), actor=_actor(door), now=door.now)
    return _show(door, found)


@blueprint.door(
    "GET",
    "/tier-rulesets/<id:version>/diff",
    roles=STAFF,
    query=DiffQuery(),
    answers={200: RulesetDiffSchema()},
    refusals=(UnknownRuleset,),
)
def diff_ruleset(door: Door, version: str, query: dict[str, Any]) -> object:
    """Tell what differs from another version (the one in force unless named) to this one."""
    old, new, changes = operations.compare(
        door.conn, version=read_version(version), against=query.get("against"), now=door.now
    )
    return diff_json(old, new, changes=changes)


@blueprint.door(
    "GET",
    "/tier-rulesets/<id:version>/export",
    roles=STAFF,
    answers={200: RulesetExportSchema()},
    refusals=(UnknownRuleset,),
)
def export_ruleset(door: Door, version: str) -> object:
    """Return the definition alone, to be kept in a file; as `definition` of a new draft it says the same."""
    return RULESETS.get(door.conn, version=read_version(version), now=door.now).definition


@blueprint.door(
    "POST",
    "/tier-rulesets/<id:version>/publish",
    roles=_DECIDERS,
    body=PublishBody(),
    answers={200: RulesetSchema()},
    refusals=(
        UnknownRuleset,
        RulesetNotADraft,
        RulesetNotReadable,
        RulesetHasErrors,
        NotAFutureMidnight,
        ScheduleTaken,
        SimulationNeeded,
        SimulationNotDone,
        SimulationStale,
        TooManyDemotions,
    ),
    idempotency_key="required",
    localised=True,
)
def publish_ruleset(door: Door, version: str, body: dict[str, Any]) -> object:
    """Let a draft come into force: now, or at the midnight of a day to come.

    Look at a simulation of it first: one of the draft as it is, against the set it replaces, not older than
    24 hours. More than 5 % of the members demoted have to be confirmed. From then on the version never
    changes; everybody is rated by it, rises at once and falls after hold and grace. The next version that
    comes into force retires it.
    """
    found = operations.publish_ruleset(
        door.conn,
        version=read_version(version),
        asked=Publishing(**body),
        programme=get_programme(door.conn),
        actor=_actor(door),
        locale=door.locale,
        now=door.now,
    )
    return _show(door, found)


@blueprint.door(
    "POST",
    "/tier-rulesets/<id:version>/withdraw",
    roles=_DECIDERS,
    body=WithdrawBody(),
    answers={200: RulesetSchema()},
    refusals=(UnknownRuleset, RulesetNotScheduled),
    idempotency_key="required",
)
def withdraw_ruleset(door: Door, version: str, body: dict[str, Any]) -> object:
    """Make a set that waits for its day a draft again; its day is free for another."""
    found = RULESETS.withdraw(
        door.conn, version=read_version(version), reason=body["reason"], actor=_actor(door), now=door.now
    )
    return _show(door, found)


def _read_draft(door: Door, title: str, definition: Mapping[str, Any]) -> Draft:
    programme = get_programme(door.conn)
    operations.read_or_refuse(
        definition, version=0, programme=programme, locale=door.locale, at="/definition"
    )
    return Draft(title, definition)


def _show(door: Door, ruleset: Ruleset) -> dict[str, Any]:
    return ruleset_json(
        ruleset,
        findings=operations.list_findings(ruleset),
        evidence=operations.find_evidence(door.conn, ruleset=ruleset),
    )


def _actor(door: Door) -> Actor:
    return Actor(actor_of(door.caller), door.request_id)
