"""Another ranker judged at the explored place: nothing later leaks in, and the truth is found."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from service.experiments.operations import Logged, evaluate_logged
from service.recommendations.exploration import Exploration, chances, draw
from service.recommendations.off_policy.rules import FOLDS, Fact, Shown, expect, purchases_before
from service.recommendations.off_policy.sentences import LABEL, tell_evaluation
from service.recommendations.rules import Purchase
from tests.conftest import SCALE

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
# What is left of the list stands above the explored place; these are the candidates for it.
RATES = np.array([0.50, 0.10, 0.08, 0.06, 0.08])
HOW = Exploration(candidates=5, share_bp=5_000)


def bought(sku: str, days_ago: float, **values: Any) -> Fact:
    at = NOON - timedelta(days=days_ago)
    plain: dict[str, Any] = {"order_key": int(days_ago), "known_at": at, "undone_at": None}
    plain |= {"quantity": 1, "bought": True}
    return Fact(sku=sku, day=100 - int(days_ago), at=at, **plain | values)


def test_only_what_was_known_before_an_answer_enters_its_history() -> None:
    facts = [
        bought("kept", 9),
        bought("later", -1),
        bought("told of later", 8, known_at=NOON + timedelta(hours=1)),
        bought("undone before", 7, undone_at=NOON - timedelta(days=1)),
        bought("undone later", 6, undone_at=NOON + timedelta(days=1)),
        bought("given back", 5),
        bought("given back", 4, bought=False, order_key=5),
        bought("given back later", 3),
        bought("given back later", -2, bought=False, order_key=3),
        bought("at that very moment", 0),
    ]
    found = purchases_before(facts, NOON, most=200)
    assert sorted(one.item_id for one in found) == ["given back later", "kept", "undone later"]
    assert Purchase("kept", 91, 1) in found


def test_an_answer_looks_at_the_latest_lines_alone() -> None:
    facts = [bought(f"sku-{age}", age) for age in range(1, 10)]
    assert [one.item_id for one in purchases_before(facts, NOON, most=2)] == ["sku-1", "sku-2"]


def test_what_is_expected_of_a_member_never_saw_that_members_outcome() -> None:
    chance = np.random.default_rng(3)
    members, items = np.arange(500), chance.integers(0, 4, 500)
    reward = (chance.random(500) < 0.3).astype(float)
    position = np.where(members % 2 == 0, 4, 8)
    before = expect(Shown(members, items, position, reward), items, position)
    turned = reward.copy()
    fold = members % FOLDS == 2
    turned[fold] = 1 - turned[fold]
    after = expect(Shown(members, items, position, turned), items, position)
    assert np.array_equal(before[fold], after[fold])
    assert not np.allclose(before[~fold], after[~fold])


def test_an_expected_reward_is_the_rate_of_the_item_at_its_place() -> None:
    members = np.arange(40_000)
    items, position = members // FOLDS % 4, np.where(members // FOLDS % 8 < 4, 4, 8)
    rate = 0.1 + 0.05 * items + np.where(position == 8, 0.1, 0.0)
    reward = (np.random.default_rng(4).random(40_000) < rate).astype(float)
    found = expect(Shown(members, items, position, reward), (items + 1) % 4, 12 - position)
    wanted = 0.1 + 0.05 * ((items + 1) % 4) + np.where(position == 4, 0.1, 0.0)
    assert np.abs(found - wanted).max() < 0.03
    # Of what was hardly ever shown no more is expected than of its place.
    unseen = expect(Shown(members, items, position, reward), np.full(40_000, 99), position)
    assert abs(float(unseen[position == 4].mean()) - 0.175) < 0.01


def simulate(seed: int, answers: int = 3_000) -> tuple[list[Logged], float]:
    """Draw a log by the rule that serves, and say what the target earns of each answer in truth.

    Half of the members like items the other way round, and some like all items more than others do. The
    logging ranker knows it and puts the liked one first; the target shows everybody item 0.
    """
    chance = np.random.default_rng(seed)
    everybody = np.arange(1_200)
    rates = (
        np.where((everybody % 2 == 0)[:, None], RATES, RATES[::-1]) * (0.7 + everybody // 2 % 7 / 10)[:, None]
    )
    order = np.where((everybody % 2 == 0)[:, None], np.arange(5), np.arange(5)[::-1])
    member = chance.integers(0, len(everybody), answers)
    lots = [draw(HOW, count=5, seed=seed) for seed in chance.integers(0, 1 << 48, answers).tolist()]
    shown = order[member, lots]
    propensity = np.array(chances(HOW, 5))[lots].tolist()
    reward = (chance.random(answers) < rates[member, shown]).astype(float)
    target, places = np.zeros(answers, int), np.where(member % 2 == 0, 0, 4)
    log = Shown(member, shown, np.array(lots), reward)
    columns = (
        reward.tolist(),
        propensity,
        (shown == target).astype(float).tolist(),
        expect(log, shown, log.place).tolist(),
        expect(log, target, places).tolist(),
        member.tolist(),
    )
    return [Logged(*values) for values in zip(*columns, strict=True)], float(rates[:, 0].mean())


def test_intervals_cover_the_truth_of_another_ranker_and_the_naive_average_does_not() -> None:
    """The served rule writes the log, and every part that the answer is made of reads it."""
    runs = 60 * SCALE
    covered = dict.fromkeys(("ips", "snips", "doubly_robust", "naive"), 0)
    for seed in range(runs):
        rows, truth = simulate(seed)
        found = evaluate_logged(rows)
        assert found.refused is None
        for name in ("ips", "snips", "doubly_robust"):
            estimate = getattr(found, name)
            covered[name] += estimate.low <= truth <= estimate.high
        reward = np.array([row.reward for row in rows])
        reach = 1.96 * reward.std() / len(rows) ** 0.5
        covered["naive"] += abs(reward.mean() - truth) <= reach
    assert covered.pop("naive") == 0
    # 95 % of the runs, give or take three standard errors of so many.
    slack = 3 * (0.05 * 0.95 / runs) ** 0.5
    assert all(0.95 - slack <= count / runs for count in covered.values()), covered


ESTIMATED = {
    "refused": None,
    "logged": 5_000,
    "rows": 4_100,
    "members": 1_900,
    "effective_members": 640.2,
    "largest_weight_share": 0.004,
    "logged_mean": 0.2,
    "doubly_robust": {"value": 0.0812, "low": 0.0701, "high": 0.0923},
}


@pytest.mark.parametrize("metric", ["repurchase", "click"])
def test_an_estimate_is_told_with_its_interval_and_as_no_uplift(metric: str) -> None:
    told = tell_evaluation(ESTIMATED, {"metric": metric, "window_days": 28})
    for locale in ("en", "zh-Hant"):
        assert "8.12 %" in told[locale]
        assert all(
            figure in told[locale] for figure in ("7.01", "9.23", "20.00", "28", "4,100", "1,900", "640")
        )
    assert "not uplift" in LABEL["en"]
    assert "並非增量" in LABEL["zh-Hant"]


@pytest.mark.parametrize(
    "refused", ["nothing_logged", "no_overlap", "too_few_effective_rows", "one_row_decides", "deterministic"]
)
def test_a_refusal_is_told_with_its_figures_and_without_an_estimate(refused: str) -> None:
    nothing = {"refused": refused, "logged_mean": None, "doubly_robust": None}
    told = tell_evaluation(ESTIMATED | nothing, {"metric": "repurchase", "window_days": 28})
    for sentence in told.values():
        assert "640" in sentence
        assert "0.4 %" in sentence
        assert "8.12" not in sentence
    assert told["en"] != told["zh-Hant"]
