"""E1: a member's first arm depends on salt and member id alone, and never changes after."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, text

from service.experiments import operations
from service.experiments.rules import arm_of, bucket_of, holdout_arms
from service.kit.db import dumps
from tests.integration.recommendations.shop import NOON, Shop

member_ids = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=128)
shares = st.integers(0, 10_000)


@given(member_id=member_ids, salt=st.text(max_size=8), share=shares)
def test_the_arm_is_a_function_of_salt_and_member_id(member_id: str, salt: str, share: int) -> None:
    bucket = bucket_of("holdout", salt, member_id)
    assert 0 <= bucket < 10_000
    assert bucket == bucket_of("holdout", salt, member_id)
    assert arm_of(holdout_arms(share), bucket) == ("holdout" if bucket < share else "treatment")


@given(member_id=member_ids, shares_bp=st.lists(shares, min_size=2, max_size=5))
def test_a_stored_arm_survives_every_later_version(
    conn: Connection, member_id: str, shares_bp: list[int]
) -> None:
    savepoint = conn.begin_nested()
    key = Shop(conn).member(member_id, tier="base")
    first: operations.Assignment | None = None
    for number, share in enumerate(shares_bp, start=1):
        version = _run_version(conn, number=number, share_bp=share)
        now = NOON + timedelta(days=number)
        assigned = operations.assign_member(
            conn, experiment=version, member_key=key, member_id=member_id, tier="base", now=now
        )
        first = first or assigned
        assert assigned == first
        assert operations.find_subject(conn, member_id=member_id).assignment == first
    assert first is not None
    assert first.arm == arm_of(
        holdout_arms(shares_bp[0]), bucket_of(first.experiment.experiment, first.experiment.salt, member_id)
    )
    savepoint.rollback()


def _run_version(conn: Connection, *, number: int, share_bp: int) -> operations.Experiment:
    """Stop the running version and start the next, with another share."""
    conn.execute(text("UPDATE experiments SET status = 'stopped' WHERE status = 'running'"))
    arms = [{"arm": arm.arm, "weight_bp": arm.weight_bp} for arm in holdout_arms(share_bp)]
    conn.execute(
        text(
            "INSERT INTO experiments (experiment, version, salt, arms, is_global_holdout, status, "
            "window_days, refund_grace_days, created_at, started_at) "
            "VALUES ('holdout', :number, :salt, CAST(:arms AS jsonb), true, "
            "'running', 60, 30, :now, :now)"
        ),
        {"number": number, "salt": f"s{number}", "arms": dumps(arms), "now": NOON},
    )
    running = operations.get_running_holdout(conn)
    assert running is not None
    return running
