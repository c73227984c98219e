"""The life of rule sets on a real database."""

from __future__ import annotations

import copy
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from service.kit.db import transaction
from service.kit.errors import Invalid, NotAFutureMidnight, Problem, ScheduleTaken
from service.kit.settings import Settings
from service.tiers import operations as tiers
from service.tiers.defaults import default_ruleset
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
from service.tiers.publishing import operations as publishing
from service.tiers.publishing.operations import RULESETS, Actor, Draft, Publishing, Ruleset
from service.tiers.rulesets import recall_timeline
from service.worker import build
from tests.integration.tiers.evidence import leave_simulation
from tests.integration.tiers.shop import programme_in

START = datetime(2024, 3, 10, 4, 0, tzinfo=UTC)
TAIPEI = programme_in("Asia/Taipei")
MIDNIGHT = datetime(2024, 3, 31, 16, 0, tzinfo=UTC)
"""1 April in Taipei."""
STAFF = Actor("marketing:key_1", "req_1")


@pytest.fixture
def begun(conn: Connection) -> Connection:
    """A database with the default rule set in force since START."""
    tiers.ensure_default_ruleset(conn, currency="TWD", now=START)
    return conn


def definition(gold: str = "12000.00") -> dict[str, Any]:
    """The default ladder with another spend for Gold."""
    changed: Any = copy.deepcopy(default_ruleset(currency="TWD"))
    changed["tiers"][2]["enter"]["all"][0]["value"] = gold
    return dict(changed)


def draft(conn: Connection, *, now: datetime = START, gold: str = "15000.00") -> int:
    made = RULESETS.add_draft(conn, draft=Draft("Harder Gold", definition(gold)), actor=STAFF, now=now)
    return made.version


def publish(conn: Connection, version: int, *, now: datetime = START, **asked: Any) -> Ruleset:
    return publishing.publish_ruleset(
        conn,
        version=version,
        asked=Publishing(reason="spring", **asked),
        programme=TAIPEI,
        actor=STAFF,
        locale="en",
        now=now,
    )


def publish_well(
    conn: Connection, version: int, *, now: datetime = START, against: int = 1, **asked: Any
) -> Ruleset:
    """Publish on evidence that holds."""
    simulation_id = leave_simulation(conn, version=version, now=now, against=against)
    return publish(conn, version, now=now, simulation_id=simulation_id, **asked)


def states(conn: Connection, now: datetime) -> dict[int, str]:
    found = RULESETS.list_versions(conn, state=None, before=None, limit=100, now=now)
    return {ruleset.version: ruleset.state for ruleset in found}


def stored_states(conn: Connection) -> dict[int, str]:
    rows = conn.execute(text("SELECT version, state FROM tier_rulesets")).all()
    return {row.version: row.state for row in rows}


def test_a_draft_is_kept_changed_and_discarded_and_its_number_never_comes_again(begun: Connection) -> None:
    version = draft(begun)
    assert version == 2
    later = START + timedelta(hours=1)
    changed = RULESETS.change_draft(
        begun, version=2, draft=Draft("Softer", definition("9000.00")), actor=STAFF, now=later
    )
    assert (changed.title, changed.updated_at, changed.created_at) == ("Softer", later, START)
    assert changed.definition["tiers"][2]["enter"]["all"][0]["value"] == "9000.00"
    gone = RULESETS.discard_draft(begun, version=2, actor=STAFF, now=later)
    assert gone.state == "discarded"
    with pytest.raises(UnknownRuleset):
        RULESETS.get(begun, version=2, now=later)
    assert states(begun, later) == {1: "active"}
    assert draft(begun) == 3


def test_publishing_now_retires_the_one_in_force_and_stamps_who_when_why_and_on_what(
    begun: Connection,
) -> None:
    version, now = draft(begun), START + timedelta(days=1)
    simulation_id = leave_simulation(begun, version=version, now=now)
    done = publish(begun, version, now=now, simulation_id=simulation_id)
    assert (done.state, done.effective_from, done.effective_to) == ("active", now, None)
    assert (done.published_at, done.published_by, done.reason) == (now, STAFF.name, "spring")
    assert done.simulation_id == simulation_id
    assert stored_states(begun) == {1: "retired", 2: "active"}
    old = RULESETS.get(begun, version=1, now=now)
    assert (old.state, old.effective_to) == ("retired", now)
    timeline = recall_timeline(begun)
    assert (timeline.at(now).version, timeline.at(now - timedelta(seconds=1)).version) == (2, 1)
    assert tiers.get_active_ruleset(begun, now=now).version == 2


def test_everybody_is_reviewed_and_others_are_told_in_the_same_transaction(begun: Connection) -> None:
    publish_well(begun, draft(begun))
    jobs = begun.execute(text("SELECT task_name FROM procrastinate_jobs")).scalars().all()
    assert jobs == ["tiers.review"]
    (told,) = begun.execute(
        text("SELECT payload FROM outbox WHERE topic = 'tier.ruleset.published'")
    ).scalars()
    assert (told["version"], told["replaces"]) == (2, 1)
    actions = begun.execute(text("SELECT action, reason FROM audit_log ORDER BY audit_key")).all()
    assert [tuple(row) for row in actions] == [("ruleset.drafted", None), ("ruleset.published", "spring")]


def test_a_scheduled_set_waits_for_its_midnight_and_then_takes_over(begun: Connection) -> None:
    version = draft(begun)
    done = publish_well(begun, version, effective_from="2024-04-01")
    assert (done.state, done.effective_from) == ("scheduled", MIDNIGHT)
    assert RULESETS.get(begun, version=1, now=START).effective_to == MIDNIGHT
    assert begun.execute(text("SELECT count(*) FROM procrastinate_jobs")).scalar_one() == 0
    before, after = MIDNIGHT - timedelta(seconds=1), MIDNIGHT
    assert states(begun, before) == {1: "active", 2: "scheduled"}
    # By the clock, whether or not the stored states have followed.
    assert states(begun, after) == {1: "retired", 2: "active"}
    assert publishing.settle_states(begun, now=before) == {}
    assert publishing.settle_states(begun, now=after) == {1: "retired", 2: "active"}
    assert publishing.settle_states(begun, now=after) == {}
    assert stored_states(begun) == {1: "retired", 2: "active"}
    assert begun.execute(text("SELECT task_name FROM procrastinate_jobs")).scalars().all() == ["tiers.review"]
    topics = begun.execute(text("SELECT topic FROM outbox ORDER BY event_key")).scalars().all()
    assert topics == ["tier.ruleset.published", "tier.ruleset.activated"]


def test_a_set_that_was_never_seen_in_force_is_retired_by_the_next_all_the_same(begun: Connection) -> None:
    first, second = draft(begun), draft(begun, gold="16000.00")
    publish_well(begun, first, effective_from="2024-04-01")
    publish_well(begun, second, effective_from="2024-05-01", against=first)
    much_later = MIDNIGHT + timedelta(days=60)
    assert publishing.settle_states(begun, now=much_later) == {1: "retired", 2: "retired", 3: "active"}
    assert states(begun, much_later) == {1: "retired", 2: "retired", 3: "active"}


def test_two_sets_never_come_into_force_at_one_moment(begun: Connection) -> None:
    first, second = draft(begun), draft(begun, gold="16000.00")
    publish_well(begun, first, effective_from="2024-04-01")
    with pytest.raises(ScheduleTaken, match="version 2 comes into force then"):
        publish_well(begun, second, effective_from="2024-04-01T00:00:00+08:00")
    RULESETS.withdraw(begun, version=first, reason="not yet", actor=STAFF, now=START)
    assert publish_well(begun, second, effective_from="2024-04-01").state == "scheduled"


def test_of_two_published_in_one_moment_the_second_comes_later(begun: Connection) -> None:
    first, second = draft(begun), draft(begun, gold="16000.00")
    assert publish_well(begun, first, now=START).effective_from == START + timedelta(microseconds=1)
    done = publish_well(begun, second, now=START, against=first)
    assert done.effective_from == START + timedelta(microseconds=2)
    assert done.state == "active"


def test_a_withdrawn_set_is_a_draft_again_with_nothing_left_of_its_publishing(begun: Connection) -> None:
    version = draft(begun)
    publish_well(begun, version, effective_from="2024-04-01")
    back = RULESETS.withdraw(begun, version=version, reason="not yet", actor=STAFF, now=START)
    assert back.state == "draft"
    assert [back.effective_from, back.published_at, back.published_by, back.reason, back.simulation_id] == [
        None
    ] * 5
    assert len(recall_timeline(begun).entries) == 1
    changed = RULESETS.change_draft(
        begun, version=version, draft=Draft("Again", definition("14000.00")), actor=STAFF, now=START
    )
    assert changed.title == "Again"


def test_what_came_into_force_or_never_waited_cannot_be_withdrawn(begun: Connection) -> None:
    version = draft(begun)
    for which, now in ((1, START), (version, START)):
        with pytest.raises(RulesetNotScheduled):
            RULESETS.withdraw(begun, version=which, reason="no", actor=STAFF, now=now)
    publish_well(begun, version, effective_from="2024-04-01")
    with pytest.raises(RulesetNotScheduled, match="is active"):
        RULESETS.withdraw(begun, version=version, reason="late", actor=STAFF, now=MIDNIGHT)


@pytest.mark.parametrize(
    "moment",
    [
        "2024-03-10",
        "2024-03-09",
        "2020-01-01",
        "2024-03-31T16:00:01Z",
        "2024-04-01T00:00:00Z",
        "2024-04-01T00:00:00",
        "2024-02-30",
        "2050-01-01",
        "next week",
    ],
)
def test_a_set_begins_now_or_at_a_midnight_to_come_and_the_refusal_says_which(
    begun: Connection, moment: str
) -> None:
    version = draft(begun)
    with pytest.raises(NotAFutureMidnight, match="2024-03-11"):
        publish_well(begun, version, effective_from=moment)
    assert states(begun, START)[version] == "draft"


def test_publishing_needs_a_simulation_of_this_very_draft(begun: Connection) -> None:
    version, other = draft(begun), draft(begun, gold="16000.00")
    of_other = leave_simulation(begun, version=other, now=START)
    for simulation_id in (None, "tsim_none", of_other):
        with pytest.raises(SimulationNeeded, match="against version 1"):
            publish(begun, version, simulation_id=simulation_id)


@pytest.mark.parametrize("state", ["queued", "running", "cancelled", "failed"])
def test_a_simulation_without_a_result_is_no_evidence(begun: Connection, state: str) -> None:
    version = draft(begun)
    simulation_id = leave_simulation(begun, version=version, now=START, state=state)
    with pytest.raises(SimulationNotDone, match=state):
        publish(begun, version, simulation_id=simulation_id)


def change(conn: Connection, version: int) -> None:
    RULESETS.change_draft(
        conn, version=version, draft=Draft("Changed", definition("15000.01")), actor=STAFF, now=START
    )


def replace_the_one_in_force(conn: Connection, version: int) -> None:
    publish_well(conn, draft(conn, gold="20000.00"), now=START)


@pytest.mark.parametrize(
    ("meanwhile", "later", "why"),
    [
        (change, timedelta(0), "has changed since"),
        (replace_the_one_in_force, timedelta(minutes=1), "would replace version 3"),
        (lambda *_: None, timedelta(hours=24, seconds=1), "more than 24 hours old"),
    ],
)
def test_a_stale_simulation_is_refused_and_the_reason_told(
    begun: Connection, meanwhile: Callable[[Connection, int], None], later: timedelta, why: str
) -> None:
    version = draft(begun)
    simulation_id = leave_simulation(begun, version=version, now=START)
    meanwhile(begun, version)
    with pytest.raises(SimulationStale, match=why):
        publish(begun, version, now=START + later, simulation_id=simulation_id)


def test_a_simulation_of_last_month_s_members_is_stale_however_lately_it_ran(begun: Connection) -> None:
    version = draft(begun)
    for days, is_fresh in ((2, False), (1, True)):
        as_of = (START - timedelta(days=days)).date()
        simulation_id = leave_simulation(begun, version=version, now=START, as_of=as_of)
        if is_fresh:
            assert publish(begun, version, simulation_id=simulation_id).state == "active"
        else:
            with pytest.raises(SimulationStale, match="2024-03-08"):
                publish(begun, version, simulation_id=simulation_id)


def test_a_set_for_later_is_compared_with_the_one_that_it_will_replace(begun: Connection) -> None:
    first, second = draft(begun), draft(begun, gold="16000.00")
    publish_well(begun, first, effective_from="2024-04-01")
    with pytest.raises(SimulationStale, match="would replace version 2"):
        publish_well(begun, second, effective_from="2024-05-01", against=1)
    assert publish_well(begun, second, effective_from="2024-05-01", against=first).state == "scheduled"


def test_too_many_demotions_are_refused_with_the_numbers_until_confirmed(begun: Connection) -> None:
    version = draft(begun)
    simulation_id = leave_simulation(begun, version=version, now=START, demoted=1_051, members=21_000)
    with pytest.raises(TooManyDemotions, match=r"1,051 of 21,000 members \(5.0 %\)"):
        publish(begun, version, simulation_id=simulation_id)
    assert publish(begun, version, simulation_id=simulation_id, confirm_demotions=True).state == "active"


def test_a_draft_that_would_demote_everyone_is_refused(begun: Connection) -> None:
    version = draft(begun)
    simulation_id = leave_simulation(begun, version=version, now=START, demoted=100)
    with pytest.raises(TooManyDemotions, match=r"\(100.0 %\)"):
        publish(begun, version, simulation_id=simulation_id)


def test_just_five_percent_pass_and_so_does_an_empty_shop(begun: Connection) -> None:
    version = draft(begun)
    simulation_id = leave_simulation(begun, version=version, now=START, demoted=5)
    assert publish(begun, version, simulation_id=simulation_id).state == "active"
    other = draft(begun)
    nobody = leave_simulation(begun, version=other, now=START, against=version, members=0)
    assert publish(begun, other, now=START + timedelta(seconds=1), simulation_id=nobody).state == "active"


def test_the_very_first_set_needs_no_simulation_and_is_in_force_at_once(conn: Connection) -> None:
    version = draft(conn)
    with pytest.raises(NotAFutureMidnight, match="nothing is in force yet"):
        publish(conn, version, effective_from="2024-04-01")
    assert publish(conn, version).state == "active"


def test_findings_that_are_errors_stop_publishing_and_warnings_do_not(begun: Connection) -> None:
    broken = definition()
    broken["tiers"][2]["enter"] = broken["tiers"][1]["enter"]
    del broken["tiers"][2]["keep"]
    version = RULESETS.add_draft(begun, draft=Draft("Broken", broken), actor=STAFF, now=START).version
    with pytest.raises(RulesetHasErrors) as refusal:
        publish_well(begun, version)
    assert [(error.pointer, error.detail.split(":")[0]) for error in refusal.value.errors] == [
        ("/tiers/2/enter", "easier-than-below")
    ]
    doubtful = definition()
    doubtful["tiers"][3]["benefits"] = []
    version = RULESETS.add_draft(begun, draft=Draft("Odd", doubtful), actor=STAFF, now=START).version
    assert publish_well(begun, version).state == "active"


def test_a_draft_that_can_no_longer_be_read_is_not_published(begun: Connection) -> None:
    version = draft(begun)
    begun.execute(
        text('UPDATE tier_rulesets SET definition = definition || \'{"currency": "JPY"}\' WHERE version = 2')
    )
    with pytest.raises(RulesetNotReadable):
        publish_well(begun, version)


def test_what_was_published_is_not_published_changed_or_discarded_again(begun: Connection) -> None:
    version = draft(begun)
    publish_well(begun, version)
    calls: list[Callable[[], object]] = [
        lambda: publish(begun, version),
        lambda: RULESETS.discard_draft(begun, version=version, actor=STAFF, now=START),
        lambda: RULESETS.change_draft(
            begun, version=1, draft=Draft("x", definition()), actor=STAFF, now=START
        ),
    ]
    for call in calls:
        with pytest.raises(RulesetNotADraft, match="copy_of"):
            call()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE tier_rulesets SET definition = '{}' WHERE version = 2",
        "UPDATE tier_rulesets SET effective_from = now() WHERE version = 2",
        "UPDATE tier_rulesets SET reason = 'another' WHERE version = 2",
        "UPDATE tier_rulesets SET version = 9 WHERE version = 2",
        "UPDATE tier_rulesets SET state = 'draft' WHERE version = 2",
        "UPDATE tier_rulesets SET state = 'draft', effective_from = NULL WHERE version = 2",
        "UPDATE tier_rulesets SET state = 'active' WHERE version = 1",
        "DELETE FROM tier_rulesets WHERE version = 1",
        "TRUNCATE tier_rulesets CASCADE",
    ],
)
def test_the_database_itself_keeps_what_was_published(begun: Connection, statement: str) -> None:
    publish_well(begun, draft(begun), now=START + timedelta(days=1))
    with pytest.raises(DBAPIError, match=r"never changes|append-only"):
        begun.execute(text(statement))


def test_the_database_lets_a_scheduled_set_back_only_as_it_was(begun: Connection) -> None:
    version = draft(begun)
    publish_well(begun, version, effective_from="2024-04-01")
    with pytest.raises(DBAPIError, match="never changes"):
        begun.execute(
            text(
                "UPDATE tier_rulesets SET state = 'draft', effective_from = NULL, definition = '{}' "
                "WHERE version = 2"
            )
        )


def test_the_database_lets_drafts_change_and_go(begun: Connection) -> None:
    draft(begun)
    assert begun.execute(text("UPDATE tier_rulesets SET definition = '{}' WHERE version = 2")).rowcount == 1
    assert begun.execute(text("DELETE FROM tier_rulesets WHERE version = 2")).rowcount == 1


def test_a_copy_begins_with_what_another_version_says(begun: Connection) -> None:
    assert RULESETS.copy_of(begun, version=1, now=START) == default_ruleset(currency="TWD")
    with pytest.raises(Invalid) as refusal:
        RULESETS.copy_of(begun, version=7, now=START)
    assert refusal.value.errors[0].pointer == "/copy_of"


def test_a_version_is_compared_with_the_one_in_force_unless_another_is_named(begun: Connection) -> None:
    version = draft(begun)
    old, new, changes = publishing.compare(begun, version=version, against=None, now=START)
    assert (old.version, new.version, [change.what for change in changes]) == (1, 2, ["threshold"])
    other = draft(begun, gold="15000.00")
    assert publishing.compare(begun, version=other, against=version, now=START)[2] == []
    with pytest.raises(UnknownRuleset):
        publishing.compare(begun, version=version, against=99, now=START)


@pytest.fixture
def committed(engine: Engine) -> Engine:
    """The same, committed, with two drafts and evidence for each."""
    with transaction(engine) as conn:
        tiers.ensure_default_ruleset(conn, currency="TWD", now=START)
        for gold in ("15000.00", "16000.00"):
            version = draft(conn, gold=gold)
            leave_simulation(conn, version=version, now=START)
    return engine


def publish_at_once(engine: Engine, versions: list[int], **asked: Any) -> list[str]:
    """Publish several versions at one time, each in its own transaction; return what came of each."""
    barrier = Barrier(len(versions))

    def attempt(version: int) -> str:
        with transaction(engine) as conn:
            row = conn.execute(
                text("SELECT simulation_id FROM tier_simulations WHERE version = :v"), {"v": version}
            ).scalar_one()
            barrier.wait()
            return publish(conn, version, now=START + timedelta(hours=1), simulation_id=row, **asked).state

    def outcome(version: int) -> str:
        try:
            return attempt(version)
        except Problem as problem:
            return problem.code

    with ThreadPoolExecutor(len(versions)) as pool:
        return sorted(pool.map(outcome, versions))


def test_of_two_drafts_published_at_once_one_wins_and_the_other_s_evidence_is_stale(
    committed: Engine,
) -> None:
    assert publish_at_once(committed, [2, 3]) == ["active", "simulation-stale"]
    with committed.connect() as conn:
        assert sorted(stored_states(conn).values()) == ["active", "draft", "retired"]


def test_of_one_draft_published_twice_at_once_one_wins(committed: Engine) -> None:
    assert publish_at_once(committed, [2, 2, 2]) == ["active", "ruleset-not-a-draft", "ruleset-not-a-draft"]


def test_of_two_scheduled_for_one_day_at_once_one_wins(committed: Engine) -> None:
    assert publish_at_once(committed, [2, 3], effective_from="2024-04-01") == ["schedule-taken", "scheduled"]


def test_drafts_made_at_once_get_numbers_of_their_own(committed: Engine) -> None:
    def make(_: int) -> int:
        with transaction(committed) as conn:
            return draft(conn)

    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(make, range(6))) == [4, 5, 6, 7, 8, 9]


def test_the_worker_marks_sets_whose_day_has_come(committed: Engine, database_url: str) -> None:
    with transaction(committed) as conn:
        # START lies behind the real clock, so that this one was due long ago.
        publish_well(conn, 2, effective_from="2024-04-01")
    settings = Settings.from_environment({"TIDEMARK_SECRET_KEY": "a test's own"})
    build(settings, committed, database_url).tasks["tiers.settle"].func(timestamp=0)
    with committed.connect() as conn:
        assert stored_states(conn) == {1: "retired", 2: "active", 3: "draft"}
