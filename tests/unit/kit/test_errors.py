"""Every kind of problem has a title, a code of its own and one status."""

from __future__ import annotations

from service.kit import errors
from service.kit.problems import STATUS, status_of


def test_the_title_is_the_first_line_of_the_docstring() -> None:
    assert errors.IdempotencyKeyReused.title() == "This idempotency key was used with another request"
    assert str(errors.Forbidden()) == "This key may not do that"


def test_what_is_said_of_one_case_stands_in_the_detail() -> None:
    problem = errors.Invalid("two fields are wrong", errors=[errors.FieldError("too long", pointer="/name")])
    assert problem.detail == "two fields are wrong"
    assert problem.errors[0].pointer == "/name"


def test_kinds_below_take_the_status_of_their_nearest_ancestor() -> None:
    assert status_of(errors.IdempotencyKeyReused) == 422
    assert status_of(errors.IdempotencyKeyRequired) == 400
    assert status_of(errors.RequestInFlight) == 409


def test_every_kind_has_one_status() -> None:
    below = [kind for kind in errors.list_problems() if kind is not errors.Problem]
    assert all(kind in STATUS or status_of(kind) != 500 for kind in below)
