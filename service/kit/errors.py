"""Everything that can be refused, by kind.

    Problem
    ├── Malformed      the request could not be read
    ├── Unauthenticated
    ├── Forbidden
    ├── NotFound
    ├── Conflict
    ├── ChangedMeanwhile
    ├── TooLarge
    ├── NotJson
    ├── Invalid        understood but refused
    ├── TooMany
    └── Unavailable

A problem's docstring is its title and its `code` is public and frozen (docs/problems.md has a
heading for each). Kinds know no HTTP numbers: `service.kit.problems` holds the one table.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing wrong with one place of the input: a JSON pointer or a parameter name."""

    detail: str
    pointer: str | None = None
    parameter: str | None = None


class Problem(Exception):
    """Something was refused."""

    code: ClassVar[str] = "problem"

    def __init__(self, detail: str = "", *, errors: Sequence[FieldError] = ()) -> None:
        super().__init__(detail or self.title())
        self.detail = detail or self.title()
        self.errors = tuple(errors)

    @classmethod
    def title(cls) -> str:
        """Return the first sentence of the docstring, without its full stop."""
        return (inspect.getdoc(cls) or cls.__name__).split("\n", 1)[0].rstrip(".")


class Malformed(Problem):
    """The request could not be read."""

    code = "malformed-request"


class Unauthenticated(Problem):
    """A valid key is needed."""

    code = "unauthenticated"


class Forbidden(Problem):
    """This key may not do that."""

    code = "forbidden"


class NotFound(Problem):
    """There is no such thing."""

    code = "not-found"


class NoSuchPath(NotFound):
    """There is nothing at this path."""

    code = "no-such-path"


class Conflict(Problem):
    """This contradicts what is already recorded."""

    code = "conflict"


class ChangedMeanwhile(Problem):
    """Somebody else changed this since it was read."""

    code = "changed-meanwhile"


class TooLarge(Problem):
    """The request is larger than this service takes."""

    code = "too-large"


class NotJson(Problem):
    """The body is of a type that is not taken here."""

    code = "not-json"


class Invalid(Problem):
    """The request was understood but is refused."""

    code = "invalid"


class TooMany(Problem):
    """Too many requests."""

    code = "too-many-requests"


class Unavailable(Problem):
    """The service cannot answer right now."""

    code = "unavailable"


class MemberTokenExpired(Unauthenticated):
    """This member token has expired."""

    code = "member-token-expired"

    def __init__(self, detail: str = "", *, origins: frozenset[str] = frozenset()) -> None:
        super().__init__(detail)
        self.origins = origins


class MemberTokenNeeded(Forbidden):
    """A storefront key alone reaches no member."""

    code = "member-token-needed"


class OriginNotAllowed(Forbidden):
    """This key may not be used from that origin."""

    code = "origin-not-allowed"


class StoreOutOfScope(Forbidden):
    """This key is held to other stores."""

    code = "store-out-of-scope"


class FutureTime(Invalid):
    """A time lies in the future."""

    code = "future-time"


class CurrencyMismatch(Invalid):
    """The currency is not the programme's and no exchange rate was given."""

    code = "currency-mismatch"


class IdempotencyKeyReused(Invalid):
    """This idempotency key was used with another request."""

    code = "idempotency-key-reused"


class IdempotencyKeyInvalid(Malformed):
    """An idempotency key is sent once: 1 to 128 visible ASCII characters without a comma."""

    code = "idempotency-key-invalid"


class IdempotencyKeyRequired(Malformed):
    """This request needs an Idempotency-Key header."""

    code = "idempotency-key-required"


class RequestInFlight(Conflict):
    """The first request with this idempotency key is still running."""

    code = "request-in-flight"


class ScheduleTaken(Conflict):
    """Another rule set comes into force at that moment."""

    code = "schedule-taken"


class NotAFutureMidnight(Invalid):
    """A rule set comes into force now, or at the midnight of a day to come."""

    code = "not-a-future-midnight"


def list_problems(root: type[Problem] = Problem) -> Iterator[type[Problem]]:
    """Yield every kind of problem that has been imported, parents before children."""
    yield root
    for kind in root.__subclasses__():
        yield from list_problems(kind)
