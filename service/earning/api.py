"""Routes of earning rules: drafted, looked through, compared, published, withdrawn."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from service.earning import operations
from service.earning.errors import (
    EarningRulesHaveErrors,
    EarningRulesNotADraft,
    EarningRulesNotReadable,
    EarningRulesNotScheduled,
    UnknownEarningRules,
)
from service.earning.operations import RULES, Actor
from service.earning.schemas import (
    EarningDiffSchema,
    EarningDraftBody,
    EarningExportSchema,
    EarningPublishBody,
    EarningRulesListSchema,
    EarningRulesSchema,
    NewEarningDraftBody,
)
from service.kit.audit import actor_of
from service.kit.auth import Role
from service.kit.drafting import Draft, Version
from service.kit.drafting_views import finding_json, version_json
from service.kit.errors import NotAFutureMidnight, ScheduleTaken
from service.kit.http import STAFF, Blueprint, Door
from service.kit.pagination import decode_cursor, encode_cursor, page
from service.kit.schemas_drafting import DiffQuery, VersionsQuery, WithdrawBody
from service.programme.operations import get_programme

blueprint = Blueprint(
    "earning", __name__, url_prefix="/v1", description="Earning rules: drafts, publishing, differences."
)

_DECIDERS: tuple[Role, ...] = ("marketing", "admin")


@blueprint.door(
    "POST",
    "/earning-rules",
    roles=_DECIDERS,
    body=NewEarningDraftBody(),
    answers={201: EarningRulesSchema()},
    refusals=(EarningRulesNotReadable,),
    idempotency_key="required",
    localised=True,
)
def draft_earning_rules(door: Door, body: dict[str, Any]) -> object:
    """Make a draft of earning rules, from a definition or as a copy, and say what is found in it.

    What cannot be read is refused with a pointer to each fault. What can be read and is doubtful is kept,
    with its findings: those that are errors stop it from being published.
    """
    given = body.get("definition")
    if given is None:
        given = RULES.copy_of(door.conn, version=body["copy_of"], now=door.now)
    draft = _read_draft(door, body["title"], given, locale=door.locale)
    return _show(door, RULES.add_draft(door.conn, draft=draft, actor=_actor(door), now=door.now)), 201


@blueprint.door(
    "GET",
    "/earning-rules",
    roles=STAFF,
    query=VersionsQuery(),
    answers={200: EarningRulesListSchema()},
)
def list_earning_rules(door: Door, query: dict[str, Any]) -> object:
    """List earning rules, the newest version first; one state alone if asked for."""
    key = decode_cursor(query.get("cursor"), types=(int,))
    found = RULES.list_versions(
        door.conn,
        state=query.get("state"),
        before=None if key is None else min(key[0], 2**31 - 1),
        limit=query["limit"] + 1,
        now=door.now,
    )
    return page(
        [version_json(rules) for rules in found],
        limit=query["limit"],
        cursors=[encode_cursor(rules.version) for rules in found],
    )


@blueprint.door(
    "GET",
    "/earning-rules/<id:version>",
    roles=STAFF,
    answers={200: EarningRulesSchema()},
    refusals=(UnknownEarningRules,),
    tagged=EarningDraftBody(),
)
def get_earning_rules(door: Door, version: str) -> object:
    """Return a version with what it says, what was found in it, who published it, when and why."""
    return _show(door, RULES.get(door.conn, version=_version(version), now=door.now))


@blueprint.door(
    "PUT",
    "/earning-rules/<id:version>",
    roles=_DECIDERS,
    body=EarningDraftBody(),
    answers={200: EarningRulesSchema()},
    refusals=(UnknownEarningRules, EarningRulesNotADraft, EarningRulesNotReadable),
    localised=True,
    tagged_by=get_earning_rules,
)
def put_earning_rules(door: Door, version: str, body: dict[str, Any]) -> object:
    """Give a draft of earning rules another title and definition. Published versions never change."""
    found = RULES.change_draft(
        door.conn,
        version=_version(version),
        draft=_read_draft(door, body["title"], body["definition"], locale=door.locale),
        actor=_actor(door),
        now=door.now,
    )
    return _show(door, found)


@blueprint.door(
    "DELETE",
    "/earning-rules/<id:version>",
    roles=_DECIDERS,
    answers={200: EarningRulesSchema()},
    refusals=(UnknownEarningRules, EarningRulesNotADraft),
)
def delete_earning_rules(door: Door, version: str) -> object:
    """Put a draft of earning rules away for good. Its number is never given again; published ones stay."""
    found = RULES.discard_draft(door.conn, version=_version(version), actor=_actor(door), now=door.now)
    return _show(door, found)


@blueprint.door(
    "GET",
    "/earning-rules/<id:version>/diff",
    roles=STAFF,
    query=DiffQuery(),
    answers={200: EarningDiffSchema()},
    refusals=(UnknownEarningRules,),
)
def diff_earning_rules(door: Door, version: str, query: dict[str, Any]) -> object:
    """Tell what differs from another version (the one in force unless named) to this one."""
    old, new, changes = operations.compare_versions(
        door.conn, version=_version(version), against=query.get("against"), now=door.now
    )
    return {
        "from_version": old.version,
        "to_version": new.version,
        "changes": [
            {
                "pointer": change.pointer,
                "from": change.before,
                "to": change.after,
                "text": dict(change.text),
            }
            for change in changes
        ],
    }


@blueprint.door(
    "GET",
    "/earning-rules/<id:version>/export",
    roles=STAFF,
    answers={200: EarningExportSchema()},
    refusals=(UnknownEarningRules,),
)
def export_earning_rules(door: Door, version: str) -> object:
    """Return the definition alone, to be kept in a file; as `definition` of a new draft it says the same."""
    return RULES.get(door.conn, version=_version(version), now=door.now).definition


@blueprint.door(
    "POST",
    "/earning-rules/<id:version>/publish",
    roles=_DECIDERS,
    body=EarningPublishBody(),
    answers={200: EarningRulesSchema()},
    refusals=(
        UnknownEarningRules,
        EarningRulesNotADraft,
        EarningRulesNotReadable,
        EarningRulesHaveErrors,
        NotAFutureMidnight,
        ScheduleTaken,
    ),
    idempotency_key="required",
    localised=True,
)
def publish_earning_rules(door: Door, version: str, body: dict[str, Any]) -> object:
    """Let a draft of earning rules come into force: now, or at the midnight of a day to come.

    From then on the version never changes. Orders and events earn by the rules of their own time, and refunds
    take back by the rules that the order earned by. Every process follows within seconds.
    """
    found = operations.publish_rules(
        door.conn,
        version=_version(version),
        reason=body["reason"],
        effective_from=body.get("effective_from"),
        programme=get_programme(door.conn),
        actor=_actor(door),
        locale=door.locale,
        now=door.now,
    )
    door.after_commit.append(partial(operations.forget_rules, door.conn))
    return _show(door, found)


@blueprint.door(
    "POST",
    "/earning-rules/<id:version>/withdraw",
    roles=_DECIDERS,
    body=WithdrawBody(),
    answers={200: EarningRulesSchema()},
    refusals=(UnknownEarningRules, EarningRulesNotScheduled),
    idempotency_key="required",
)
def withdraw_earning_rules(door: Door, version: str, body: dict[str, Any]) -> object:
    """Make earning rules that wait for their day a draft again; their day is free for others."""
    found = RULES.withdraw(
        door.conn, version=_version(version), reason=body["reason"], actor=_actor(door), now=door.now
    )
    door.after_commit.append(partial(operations.forget_rules, door.conn))
    return _show(door, found)


def _version(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise UnknownEarningRules(f"there are no earning rules of version {text}")
    return int(text)


def _read_draft(door: Door, title: str, definition: Mapping[str, Any], *, locale: str) -> Draft:
    programme = get_programme(door.conn)
    operations.read_or_refuse(definition, version=0, programme=programme, locale=locale, at="/definition")
    return Draft(title, definition)


def _actor(door: Door) -> Actor:
    return Actor(actor_of(door.caller), door.request_id)


def _show(door: Door, rules: Version) -> dict[str, Any]:
    findings = operations.list_findings(rules, currency=get_programme(door.conn).currency)
    return {
        **version_json(rules),
        "definition": rules.definition,
        "findings": [finding_json(finding) for finding in findings],
    }
