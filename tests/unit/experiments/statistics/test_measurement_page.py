"""The page about reading an experiment says what the statistics say."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from service.experiments.statistics.off_policy import LARGEST_WEIGHT, LEAST_EFFECTIVE, LEAST_SHARE
from service.experiments.statistics.plan import NET_SPEND, UNSUBSCRIBED, Guardrail, Plan
from service.experiments.statistics.power import smallest_share_difference
from service.experiments.statistics.report import Estimate, Report, Results, Verdict
from service.experiments.statistics.sums import ArmSums, Evidence, Moments
from service.experiments.statistics.verdict import analyse
from tests.unit.experiments.statistics.worlds import Shop, add_up, make_plan, open_shop

PAGE = (Path(__file__).parents[4] / "docs" / "measurement.md").read_text()


@pytest.fixture(scope="module")
def example() -> Report:
    """The report of the page's example."""
    (block,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    arms = tuple(
        ArmSums(arm["arm"], "", {name: Moments(*sums) for name, sums in arm["metrics"].items()})
        for arm in json.loads(block)["arms"]
    )
    plan = Plan(
        experiment="global-holdout-2026h2",
        version=1,
        baseline="holdout",
        tried="treatment",
        shares_bp={"holdout": 1_000, "treatment": 9_000},
        window_days=60,
        currency="TWD",
        members_a_year=20_000,
        secondaries=(NET_SPEND,),
        guardrails=(Guardrail(UNSUBSCRIBED, margin=0.01),),
    )
    return analyse(Evidence(arms), plan)


def results_of(report: Report) -> Results:
    assert report.results is not None
    return report.results


def points(estimate: Estimate | None, digits: int = 2) -> str:
    assert estimate is not None
    low, value, high = (100 * bound for bound in (estimate.low, estimate.value, estimate.high))
    return f"{value:+.{digits}f} points [{low:+.{digits}f}, {high:+.{digits}f}]"


def test_the_example_says_what_the_page_quotes(example: Report) -> None:
    assert f"The verdict is `{example.verdict.value}`" in PAGE
    assert f"> {example.sentence['en']}\n" in PAGE
    assert f"> {example.sentence['zh-Hant']}\n" in PAGE


def test_the_numbers_beside_the_example_are_its_own(example: Report) -> None:
    results = results_of(example)
    primary = results.primary
    for name in ("difference", "adjusted", "always_valid"):
        assert f"| `{name}` | {points(getattr(primary, name))} |" in PAGE
    assert primary.relative is not None
    relative = primary.relative
    value, low, high = (f"{100 * one:+.1f} %" for one in (relative.value, relative.low, relative.high))
    assert f"| `relative` | {value} [{low}, {high}] |" in PAGE
    assert f"| `variance_left` | {primary.variance_left:.2f} |" in PAGE
    assert results.smallest_detectable is not None
    assert f"| {100 * results.smallest_detectable.difference:.2f} points |" in PAGE
    [guardrail] = results.guardrails
    assert f"| `{guardrail.status}` | harm is at most {100 * guardrail.harm.high:.2f} points" in PAGE
    ratio = example.sample_ratio
    assert f"| p = {ratio.overall.p_value:.2f}, `{ratio.status}` |" in PAGE


def test_every_verdict_and_every_refusal_is_on_the_page() -> None:
    for verdict in Verdict:
        assert f"| `{verdict.value}` |" in PAGE
    for refusal in ("deterministic", "no_overlap", "too_few_effective_rows", "one_row_decides"):
        assert f"| `{refusal}` |" in PAGE
    assert f"fewer than {LEAST_EFFECTIVE} rows" in PAGE
    assert f"less than {LEAST_SHARE:.0%} of".replace("%", " %") in PAGE
    assert f"more than {LARGEST_WEIGHT:.0%} of".replace("%", " %") in PAGE


@pytest.mark.parametrize("members", [2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 500_000])
def test_the_smallest_effects_on_the_page_are_those_of_the_formula(members: int) -> None:
    cells = []
    for held_bp in (500, 1_000, 2_000, 5_000):
        held = members * held_bp // 10_000
        found = smallest_share_difference(share=0.2, tried=members - held, baseline=held)
        assert found is not None
        cells.append(f"{100 * found:.1f}")
    assert f"| {members:,} | {' | '.join(cells)} |" in PAGE


@pytest.fixture(scope="module")
def shop() -> Shop:
    """The page's made-up shop."""
    return open_shop(2026, members=200_000)


def test_credit_reads_too_much_and_the_draw_reads_the_truth(shop: Shop) -> None:
    saw, others = shop.repurchased[shop.saw], shop.repurchased[~shop.saw]
    assert f"| {100 * (saw.mean() - others.mean()):+.1f} points | +3.0 |" in PAGE
    assert f"| {saw.sum():,} | {shop.lift * shop.saw.sum():,.0f} |" in PAGE
    everybody = results_of(analyse(Evidence(add_up(shop)), make_plan())).primary.difference
    assert f"{points(everybody, 1)} | {100 * shop.lift_of_all:+.1f} |" in PAGE
    would = results_of(analyse(Evidence(add_up(shop, among=shop.would_see)), make_plan())).primary.difference
    assert f"{points(would, 1)} | {100 * shop.lift:+.1f} |" in PAGE
