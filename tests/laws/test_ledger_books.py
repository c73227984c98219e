"""Laws P1 to P4 on the ledger: whatever is done, in whatever order, at whatever time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection

from service.ledger import operations as ledger
from service.ledger.errors import InsufficientPoints
from tests.conftest import SCALE
from tests.integration.ledger.books import Books

DB_EXAMPLES = settings(max_examples=25 * SCALE)
MEMBERS = (1, 2)
ORDERS = range(1, 7)
HOURS = st.integers(0, 60 * 24)
POLICIES = st.sampled_from(["clamp", "allow_negative"])


@contextmanager
def rolled_back(conn: Connection) -> Iterator[None]:
    """Undo what one example did, also when it failed."""
    savepoint = conn.begin_nested()
    try:
        yield
    finally:
        savepoint.rollback()


VERBS = st.one_of(
    st.tuples(
        st.just("earn"),
        st.sampled_from(ORDERS),
        st.integers(0, 30_000),
        st.sampled_from([0, 3, 7, 40]),
        st.none() | st.integers(1, 60),
    ),
    st.tuples(st.just("refund"), st.sampled_from(ORDERS), st.integers(1, 8), st.integers(0, 100), POLICIES),
    st.tuples(st.just("adjust"), st.sampled_from(MEMBERS), st.integers(-150, 150), st.none() | HOURS),
    st.tuples(st.sampled_from(["lock", "release", "expire"]), st.sampled_from(MEMBERS)),
)


@DB_EXAMPLES
@given(st.lists(st.tuples(VERBS, HOURS), min_size=4, max_size=16))
def test_the_laws_hold_after_every_verb_at_any_time(conn: Connection, steps: list[tuple[Any, int]]) -> None:
    with rolled_back(conn):
        goods: dict[int, int] = {}
        left: dict[int, int] = {}
        for (verb, *arguments), hour in steps:
            day = hour / 24
            effective = {member: Books(conn, member).read(at=day) for member in MEMBERS}
            _do(conn, verb, arguments, day=day, goods=goods, left=left)
            assert ledger.check_laws(conn) == []
            if verb in {"lock", "release", "expire"}:
                assert {member: Books(conn, member).read(at=day) for member in MEMBERS} == effective
            for member in MEMBERS:
                _assert_reads_equal_what_is_posted(conn, member, day=day)


def _do(
    conn: Connection,
    verb: str,
    arguments: list[Any],
    *,
    day: float,
    goods: dict[int, int],
    left: dict[int, int],
) -> None:
    if verb == "earn":
        order, minor, pending_days, expires = arguments
        books = Books(conn, _owner(order))
        books.earn(
            order,
            goods.get(order, minor),
            at=day,
            pending_days=pending_days,
            expires=None if expires is None else day + expires,
        )
        goods.setdefault(order, minor)
    elif verb == "refund":
        order, refund, percent, policy = arguments
        left[order] = min(left.get(order, goods.get(order, 0)), goods.get(order, 0) * percent // 100)
        Books(conn, _owner(order)).take_back(order, order * 10 + refund, left[order], at=day, policy=policy)
    elif verb == "adjust":
        member, points, expires = arguments
        books = Books(conn, member)
        before = books.read(at=day)
        try:
            if points:
                books.adjust(points, at=day, expires=None if expires is None else day + expires / 24)
        except InsufficientPoints:
            assert before.available < -points
    elif verb == "lock":
        Books(conn, arguments[0]).lock(at=day)
    else:
        sweep = ledger.release_due if verb == "release" else ledger.expire_due
        sweep(conn, now=Books(conn).when(day), limit=100)


def _owner(order: int) -> int:
    return MEMBERS[order % len(MEMBERS)]


def _assert_reads_equal_what_is_posted(conn: Connection, member: int, *, day: float) -> None:
    books = Books(conn, member)
    effective = books.read(at=day)
    with rolled_back(conn):
        posted = books.lock(at=day)
    assert (posted.available - posted.debt, posted.pending, posted.held, posted.debt) == (
        effective.available,
        effective.pending,
        effective.held,
        effective.debt,
    )
    assert posted.lifetime_earned == effective.lifetime_earned


@DB_EXAMPLES
@given(
    eligible_minor=st.integers(0, 500_000),
    rule=st.builds(
        ledger.EarningRule,
        points=st.integers(0, 20),
        per_minor=st.integers(1, 5_000),
        multiplier_bp=st.sampled_from([0, 5_000, 10_000, 12_500, 33_333]),
    ),
    refunds=st.lists(st.tuples(st.integers(1, 200_000), HOURS, st.booleans()), max_size=6),
)
def test_any_split_and_order_of_refunds_leaves_what_the_rest_earns(
    conn: Connection, eligible_minor: int, rule: ledger.EarningRule, refunds: list[tuple[int, int, bool]]
) -> None:
    with rolled_back(conn):
        books = Books(conn, rule=rule)
        earned = books.earn(1, eligible_minor)
        left, taken = eligible_minor, 0
        for refund, (minor, hour, is_repeated) in enumerate(refunds, start=1):
            left = max(0, left - minor)
            answer = books.take_back(1, refund, left, at=hour / 24)
            if is_repeated:
                assert books.take_back(1, refund, left, at=hour / 24 + 1) == answer
            assert answer.shortfall == 0
            taken += answer.points
            assert earned - taken == ledger.points_for(left, rule)
            assert 0 <= taken <= earned
        points = books.read(at=90)
        assert points.available + points.pending == ledger.points_for(left, rule) == points.lifetime_earned
        assert ledger.check_laws(conn) == []


@DB_EXAMPLES
@given(
    spent=st.integers(0, 100),
    lefts=st.lists(st.integers(0, 10_000), min_size=1, max_size=4),
    policy=POLICIES,
)
def test_what_was_spent_meanwhile_is_a_shortfall_or_a_debt_and_never_both(
    conn: Connection, spent: int, lefts: list[int], policy: Literal["clamp", "allow_negative"]
) -> None:
    with rolled_back(conn):
        books = Books(conn)
        books.earn(1, 10_000, pending_days=0)
        if spent:
            books.adjust(-spent, at=1)
        answers = [
            books.take_back(1, refund, left, at=2, policy=policy)
            for refund, left in enumerate(sorted(lefts, reverse=True), start=1)
        ]
        wanted = 100 - min(lefts) // 100
        shortfall = sum(answer.shortfall for answer in answers)
        debt = sum(answer.debt for answer in answers)
        assert sum(answer.points for answer in answers) + shortfall == wanted
        assert (shortfall if policy == "clamp" else debt) == max(0, wanted - (100 - spent))
        assert (debt if policy == "clamp" else shortfall) == 0
        assert books.read(at=2).available == 100 - spent - wanted + shortfall
        assert ledger.check_laws(conn) == []
