"""What schemathesis is told of this service beyond the document (loaded by schemathesis.toml)."""

from __future__ import annotations

import json
import os
import random
from typing import Any

import schemathesis
from schemathesis.generation import GenerationMode
from schemathesis.generation.meta import TestPhase

# What JSON Schema cannot say of a value; any other refusal of valid data is a gap in the document.
UNSAYABLE = (
    "visible characters",  # the invisible ones of all Unicode
    "not a cursor of this",
    "not an ISO 4217 currency code",
    "must be a whole number",  # 12.0, which JSON Schema takes for an integer
    "must be a plain decimal",  # numbers with more than ten decimals
    "must not be blank",  # of any of Unicode's blanks
    "no such time",
    "no such day",
    "the year must lie between",
    "larger than 8 kB",
    "nested too deep",
    "a number too large to keep",
    "neither a day nor a time",
    "a day such as",  # years before 1900 and after 2999
    "member_id or anonymous_id is needed",
    "too large an amount",  # which depends on the currency
    "must lie between 0.0000001 and 100000000",  # as text
    "goes with rolling_months, and only with it",
    "name at least one setting",
    "no such topic",  # a list with commas
    "more decimals than",  # which depends on the currency
    "holds a character that is not text",  # in the merchant's own objects; elsewhere a pattern says so
    "an unlinked refund needs its member",
    "an origin such as",  # which does not name its scheme's own port
    "not an IANA zone",  # there are six hundred, and more every year
    "already over",
    "only a storefront key is used by pages",  # origins go with a role
    "either this, or `from` and `to`",
    "`from` and `to` go together",
    "not after `from`",
    "does not go with",  # a model of expiry and its numbers
    "the body is empty",  # what this tool makes of a text that it cannot write as CSV
    "steps; take longer ones",
    "give either definition or copy_of",
    "only the kind worth looks at months",
    "larger than 200 kB",
    "a number out of all range",
    "the discount is larger than",
    "there are no earning rules of this version",
    "an arm has a name of its own",
    "not after starts_at",
    "needed with",  # a kind of reward and what it is worth
    "too large an amount",  # in minor units, whose number the programme's currency gives
    "the weights sum to",
    "is guarded",  # once, and by the margin of its kind
    "not after `since`",
)
SAYABLE_CODES = {"invalid", "malformed-request"}


KNOWN: dict[str, str] = json.loads(os.environ.get("CONTRACT_KNOWN", "{}"))
OWN_KEY_IDS = frozenset(json.loads(os.environ.get("CONTRACT_OWN_KEY_IDS", "[]")))
_CHANCE = random.Random(20)


@schemathesis.hook
def before_call(context: Any, case: schemathesis.Case[Any], kwargs: dict[str, Any]) -> None:
    """Lead half of the drawn valid requests to what exists: ids drawn at random are almost all unknown.

    Links between operations bring their own ids and the coverage phase has its examples, so these are left
    alone; but no phase may take the keys away that the runs are made with.
    """
    path = case.path_parameters
    if path and str(path.get("key_id")) in OWN_KEY_IDS:
        path["key_id"] = KNOWN["key_id"]
    if case.meta is None or case.meta.generation.mode is not GenerationMode.POSITIVE:
        return
    if case.meta.phase.name is not TestPhase.FUZZING:
        return
    for given in (path, case.query, case.body):
        _lead(given)


def _lead(given: Any) -> None:
    for inner in given.values() if isinstance(given, dict) else given if isinstance(given, list) else ():
        _lead(inner)
    for name in sorted(set(given if isinstance(given, dict) else ()) & set(KNOWN)):
        if _CHANCE.random() < 0.5:
            given[name] = KNOWN[name]


@schemathesis.check
def valid_data_is_refused_for_a_reason(
    ctx: Any, response: schemathesis.Response, case: schemathesis.Case[Any]
) -> None:
    """Data that the document allows may be refused for what is recorded, not for its shape."""
    if case.meta is None or case.meta.generation.mode is not GenerationMode.POSITIVE:
        return
    if response.status_code not in {400, 422}:
        return
    problem = response.json()
    if problem["code"] not in SAYABLE_CODES:
        return
    details = [error["detail"] for error in problem.get("errors", [])] or [problem["detail"]]
    unexpected = [detail for detail in details if not any(known in detail for known in UNSAYABLE)]
    assert not unexpected, f"the document allows what the service refuses: {unexpected}"


@schemathesis.check
def every_refusal_has_one_shape(
    ctx: Any, response: schemathesis.Response, case: schemathesis.Case[Any]
) -> None:
    """RFC 9457 for every status from 400 on, with the request's id."""
    assert response.headers.get("x-request-id"), "an answer without X-Request-Id"
    if response.status_code < 400 or case.method.upper() == "HEAD":
        return
    content_type = response.headers["content-type"][0].split(";")[0]
    assert content_type == "application/problem+json", f"a refusal as {content_type}"
    problem = response.json()
    assert {"type", "title", "status", "detail", "code", "instance"} <= set(problem), problem
    assert problem["status"] == response.status_code
