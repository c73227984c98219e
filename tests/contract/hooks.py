"""What schemathesis is told of this service beyond the document (loaded by schemathesis.toml)."""

from __future__ import annotations

from typing import Any

import schemathesis
from schemathesis.generation import GenerationMode

# What JSON Schema cannot say of a value; any other refusal of valid data is a gap in the document.
UNSAYABLE = (
    "visible characters",  # the invisible ones of all Unicode
    "not a cursor of this",
    "not an ISO 4217 currency code",
    "must be a whole number",  # 12.0, which JSON Schema takes for an integer
    "must be a plain decimal",  # numbers with more than ten decimals
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
)
SAYABLE_CODES = {"invalid", "malformed-request"}


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
