"""One verdict: which one, when, and what is then said and left unsaid."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from service.experiments.statistics.plan import (
    NET_SPEND,
    ORDER_VALUE,
    ORDERS,
    UNSUBSCRIBED,
    Guardrail,
    Looks,
    Plan,
)
from service.experiments.statistics.report import Report, Verdict
from service.experiments.statistics.sums import (
    ArmSums,
    Attributed,
    Draw,
    Evidence,
    LeftOut,
    Moments,
    WindowSums,
)
from service.experiments.statistics.verdict import analyse
from tests.conftest import SCALE
from tests.unit.experiments.statistics.worlds import (
    BASELINE,
    TIERS,
    TRIED,
    Shop,
    add_up,
    make_plan,
    open_shop,
    sum_members,
)

CLICKS = Attributed("clicks", 1_234, "count", "last_click_7d")


def analyse_shop(shop: Shop, plan: Plan | None = None, **evidence: Any) -> Report:
    return analyse(Evidence(arms=add_up(shop), **evidence), plan or make_plan())


def list_numbers(value: object, path: str = "") -> Iterator[str]:
    """Yield the path of every number of a JSON value."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from list_numbers(inner, f"{path}.{name}")
    elif isinstance(value, list):
        for inner in value:
            yield from list_numbers(inner, path)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield path


# --- the seven verdicts ---------------------------------------------------------------------------------


def test_a_clear_rise_is_positive() -> None:
    report = analyse_shop(open_shop(1, lift=0.15))
    assert report.verdict is Verdict.POSITIVE
    assert report.results is not None
    assert report.results.decided_on == "newcombe"
    assert report.results.worth_a_year is not None
    assert report.results.worth_a_year.low_minor > 0
    en = report.sentence["en"]
    assert "The whole interval lies above zero" in en
    assert "95% interval" in en
    assert "a year" in en
    assert "It does not say" in en


def test_a_clear_fall_is_negative() -> None:
    report = analyse_shop(open_shop(1, lift=-0.12))
    assert report.verdict is Verdict.NEGATIVE
    assert "lies below zero" in report.sentence["en"]
    assert "零以下" in report.sentence["zh-Hant"]


def test_nothing_told_apart_is_inconclusive_and_says_what_could_have_been_seen() -> None:
    report = analyse_shop(open_shop(2, lift=0.0))
    assert report.verdict is Verdict.INCONCLUSIVE
    assert "no proof of no effect" in report.sentence["en"]
    assert "is found with 80% chance" in report.sentence["en"]
    assert report.results is not None
    assert report.results.smallest_detectable is not None
    assert report.results.smallest_detectable.difference == pytest.approx(0.028, abs=0.002)


def test_a_breached_guardrail_outranks_a_rise() -> None:
    shop = open_shop(1, lift=0.15)
    shop.unsubscribed[shop.treated] = np.random.default_rng(1).random(int(shop.treated.sum())) < 0.09
    report = analyse_shop(shop)
    assert report.verdict is Verdict.GUARDRAIL_BREACH
    assert report.sentence["en"].startswith("A guardrail is breached: the share of members who unsubscribed")
    assert "防護指標" in report.sentence["zh-Hant"]
    assert report.results is not None
    assert [one.status for one in report.results.guardrails] == ["breached"]


def test_a_guardrail_that_is_open_is_mentioned_and_does_not_decide() -> None:
    plan = make_plan(guardrails=(Guardrail(UNSUBSCRIBED, margin=0.000_1),))
    report = analyse_shop(open_shop(2, lift=0.0), plan)
    assert report.verdict is Verdict.INCONCLUSIVE
    assert "Not yet shown to be harmless: share of members who unsubscribed." in report.sentence["en"]


def test_too_few_members_conclude_nothing() -> None:
    report = analyse_shop(open_shop(3, members=600))
    assert report.verdict is Verdict.INSUFFICIENT
    assert report.sentence["en"].startswith("Too few members: ")
    assert report.results is not None
    assert report.results.primary.difference is not None
    assert report.results.primary.always_valid is None
    assert (report.results.worth_a_year, report.results.decided_on) == (None, None)


def test_windows_still_open_are_immature() -> None:
    waiting = (LeftOut(BASELINE, "immature", 2_000), LeftOut(TRIED, "immature", 18_000))
    report = analyse_shop(open_shop(3, members=600), left_out=waiting)
    assert (report.verdict, report.results) == (Verdict.IMMATURE, None)
    assert "20,000 more are still within theirs" in report.sentence["en"]
    assert report.to_json()["left_out"][0] == {"arm": "holdout", "reason": "immature", "members": 2_000}
    # Overrides never ripen.
    overridden = (LeftOut(BASELINE, "override", 2_000),)
    assert analyse_shop(open_shop(3, members=600), left_out=overridden).verdict is Verdict.INSUFFICIENT


def test_nobody_at_all_is_insufficient_and_has_no_results() -> None:
    report = analyse(Evidence(arms=()), make_plan())
    assert (report.verdict, report.results) == (Verdict.INSUFFICIENT, None)
    one_member = analyse_shop(open_shop(3, members=2))
    assert one_member.results is None


@pytest.mark.parametrize(
    ("treated", "control", "shares_bp", "told"),
    [
        (
            (11_882_655, 576_824),
            (2_096_937, 80_105),
            {TRIED: 8_500, BASELINE: 1_500},
            "+1.03 percentage points (95% interval +1.01 to +1.06)",
        ),
        (
            (99_979, 63_638),
            (100_060, 60_364),
            {TRIED: 5_000, BASELINE: 5_000},
            "+3.32 percentage points (95% interval +2.90 to +3.75)",
        ),
    ],
)
def test_published_experiments_are_told_from_their_counts_alone(
    treated: tuple[int, int], control: tuple[int, int], shares_bp: dict[str, int], told: str
) -> None:
    """Criteo's visits and X5's purchases, of which the counts are published."""
    arms = tuple(
        ArmSums(arm, "", {"repurchase": Moments.of_share(*counts)})
        for arm, counts in ((TRIED, treated), (BASELINE, control))
    )
    plan = make_plan(
        shares_bp=shares_bp, secondaries=(), ratios=(), guardrails=(), value_metric=make_plan().primary
    )
    report = analyse(Evidence(arms), plan)
    assert (report.verdict, report.sample_ratio.status) == (Verdict.POSITIVE, "ok")
    assert told in report.sentence["en"]
    assert "a year" not in report.sentence["en"]


# --- the wrong sizes ------------------------------------------------------------------------------------


def lose_exposures(shop: Shop, share: float) -> tuple[ArmSums, ...]:
    """Return the triggered sums with a share of the treated members' exposures never written."""
    lost = np.random.default_rng(4).random(len(shop.treated)) < share
    return add_up(shop, among=shop.would_see & ~(shop.treated & lost))


def test_lost_exposures_leave_no_number_of_the_effect() -> None:
    """100,000 members, triggered, halves, 5 % of one arm's exposures lost."""
    shop = open_shop(5, members=100_000, holdout_bp=5_000, lift=0.1)
    plan = make_plan(shares_bp={BASELINE: 5_000, TRIED: 5_000}, anchor="first_exposure")
    whole = analyse(Evidence(lose_exposures(shop, 0.0), attributed=(CLICKS,)), plan)
    assert whole.verdict is Verdict.POSITIVE
    report = analyse(
        Evidence(
            lose_exposures(shop, 0.05),
            attributed=(CLICKS,),
            windows=(WindowSums(90, add_up(shop)),),
        ),
        plan,
    )
    told = report.to_json()
    assert told["verdict"] == "invalid_srm"
    assert (told["results"], told["attributed"]) == (None, None)
    # What is left are the arms' sizes, which is where the fault is looked for, and the plan's own numbers.
    allowed = r"\.(version|window_days|sample_ratio\.(overall|strata|sequential_p)\b.*)"
    assert all(re.fullmatch(allowed, path) for path in list_numbers(told))
    assert not re.search(r"\d", told["sentence"]["en"] + told["sentence"]["zh-Hant"])


def test_exposed_against_unexposed_is_refused_as_uplift() -> None:
    shop = open_shop(6)
    named = (sum_members(shop, shop.saw, arm="exposed"), sum_members(shop, ~shop.saw, arm="unexposed"))
    with pytest.raises(ValueError, match="knows no arm exposed"):
        analyse(Evidence(named), make_plan())
    # Under the arms' own names their sizes give it away.
    disguised = (sum_members(shop, shop.saw, arm=TRIED), sum_members(shop, ~shop.saw, arm=BASELINE))
    assert analyse(Evidence(disguised), make_plan()).verdict is Verdict.INVALID_SRM


def test_draws_are_tested_rather_than_the_sums_where_they_are_given() -> None:
    shares = {BASELINE: 1_000, TRIED: 9_000}
    wrong = Draw({BASELINE: 900, TRIED: 9_100}, shares)
    assert analyse_shop(open_shop(2), draws=(wrong,)).verdict is Verdict.INVALID_SRM
    right = Draw({BASELINE: 2_001, TRIED: 17_999}, shares)
    assert analyse_shop(open_shop(2), draws=(right,)).sample_ratio.overall.counted == right.members


# --- the truth is covered -------------------------------------------------------------------------------


def test_assigned_and_triggered_intervals_cover_the_truth_and_the_naive_one_does_not() -> None:
    """Activity bias is built in: the exposed are those who would have bought anyway."""
    runs = 40 * SCALE
    covered = {"assigned": 0, "triggered": 0, "naive": 0, "cuped": 0, "stratified": 0}
    for seed in range(runs):
        shop = open_shop(1_000 + seed, members=10_000)
        found = analyse_shop(shop).results
        triggered = analyse(Evidence(add_up(shop, among=shop.would_see)), make_plan()).results
        if found is None or triggered is None:
            runs -= 1
            continue
        truths = {
            "assigned": (found.primary.difference, shop.lift_of_all),
            "cuped": (found.primary.adjusted, shop.lift_of_all),
            "stratified": (found.primary.stratified, shop.lift_of_all),
            "triggered": (triggered.primary.difference, shop.lift),
        }
        for name, (estimate, truth) in truths.items():
            assert estimate is not None
            covered[name] += estimate.low <= truth <= estimate.high
        saw = sum_members(shop, shop.saw, arm=TRIED).metrics["repurchase"]
        did_not = sum_members(shop, ~shop.saw, arm=BASELINE).metrics["repurchase"]
        covered["naive"] += saw.mean - did_not.mean < 2 * shop.lift
    assert covered.pop("naive") == 0
    assert all(count / runs >= 0.9 for count in covered.values()), (runs, covered)


def test_over_two_hundred_seeds_nothing_is_found_more_often_than_promised() -> None:
    """A/A: 5 % of the intervals miss zero; by CUPED, by strata and of the ratio alike."""
    runs = 200 * SCALE
    missed = dict.fromkeys(("verdict", "adjusted", "stratified", "relative", "always_valid", "secondary"), 0)
    read = 0
    for seed in range(runs):
        report = analyse_shop(open_shop(10_000 + seed, members=3_000, lift=0.0, holdout_bp=1_000))
        if report.results is None:
            assert report.verdict is Verdict.INVALID_SRM
            continue
        read += 1
        primary = report.results.primary
        missed["verdict"] += report.verdict in {Verdict.POSITIVE, Verdict.NEGATIVE}
        for name in ("adjusted", "stratified", "relative", "always_valid"):
            estimate = getattr(primary, name)
            missed[name] += not estimate.low <= 0 <= estimate.high
        missed["secondary"] += any((one.holm_p or 0) < 0.05 for one in report.results.secondaries)
    # The sample-ratio test itself refuses at most a thousandth per test: overall, three tiers, by day.
    assert read >= 0.985 * runs
    assert 0.02 <= missed["verdict"] / read <= 0.08, missed
    assert all(missed[name] / read <= 0.085 for name in missed), missed
    assert missed["always_valid"] / read <= 0.05


def test_looking_twenty_times_decides_wrongly_in_at_most_a_twentieth_of_experiments() -> None:
    """A/A with a guardrail and secondaries: 300 members more at each look, whoever looks may stop."""
    runs, looks = 30 * SCALE, 20
    plan = make_plan(looks=Looks.ANY_TIME, guardrails=(Guardrail(UNSUBSCRIBED, margin=0.000_1),))
    wrong = dict.fromkeys((Verdict.POSITIVE, Verdict.NEGATIVE, Verdict.GUARDRAIL_BREACH), 0)
    for seed in range(runs):
        shop = open_shop(50_000 + seed, members=300 * looks, lift=0.0)
        come = np.arange(len(shop.treated)) // 300
        # Sums merge: each look adds those who came since the last one.
        arms: list[ArmSums] = []
        seen = set()
        for look in range(looks):
            arms += add_up(shop, among=come == look)
            seen.add(analyse(Evidence(tuple(arms)), plan).verdict)
        for verdict in wrong:
            wrong[verdict] += verdict in seen
    assert (wrong[Verdict.POSITIVE] + wrong[Verdict.NEGATIVE]) / runs <= 0.05, wrong
    assert wrong[Verdict.GUARDRAIL_BREACH] / runs <= 0.05, wrong


# --- what stands beside the verdict ----------------------------------------------------------------------


def test_where_somebody_looks_the_always_valid_interval_decides() -> None:
    shop = open_shop(12, lift=0.065)
    once, looked = analyse_shop(shop), analyse_shop(shop, make_plan(looks=Looks.ANY_TIME))
    assert (once.verdict, looked.verdict) == (Verdict.POSITIVE, Verdict.INCONCLUSIVE)
    assert looked.results is not None
    assert looked.results.decided_on == "asymptotic_confidence_sequence"
    large = analyse_shop(open_shop(1, lift=0.2), make_plan(looks=Looks.ANY_TIME))
    assert large.verdict is Verdict.POSITIVE
    assert "however often one looks" in large.sentence["en"]


def test_several_tried_arms_share_the_error() -> None:
    shares = {BASELINE: 1_000, TRIED: 6_000, "other": 3_000}
    shop = open_shop(1, lift=0.15, holdout_bp=1_000)
    third = np.arange(len(shop.treated)) % 3 == 0
    sides = {BASELINE: ~shop.treated, TRIED: shop.treated & ~third, "other": shop.treated & third}
    arms = tuple(
        sum_members(shop, side & (shop.tier == number), arm=arm, stratum=tier)
        for arm, side in sides.items()
        for number, tier in enumerate(TIERS)
    )
    report = analyse(Evidence(arms), make_plan(shares_bp=shares, tried_arms=2))
    assert report.results is not None
    assert report.results.primary.difference is not None
    assert report.results.primary.difference.confidence == pytest.approx(0.975)
    assert report.sample_ratio.overall.counted.keys() == shares.keys()


def test_windows_side_by_side_show_what_was_only_pulled_forward() -> None:
    shop = open_shop(1, lift=0.2)
    later = open_shop(1, lift=0.2)
    # By day 180 the others have bought as much.
    later.net_minor[~later.treated] = later.net_minor[~later.treated] * 13 // 10
    report = analyse_shop(
        shop,
        windows=(WindowSums(180, add_up(later)), WindowSums(365, add_up(open_shop(1, members=300)))),
    )
    assert report.results is not None
    rows = report.results.pull_forward
    # A year is not mature yet.
    assert [row.window_days for row in rows] == [60, 180]
    assert rows[0].value_kept is None
    assert rows[1].value_kept is not None
    assert rows[1].value_kept < 0.9


def test_worth_a_year_is_the_difference_times_members_times_the_rate() -> None:
    report = analyse_shop(open_shop(1, lift=0.15), make_plan(members_a_year=50_000, window_days=73))
    assert report.results is not None
    worth = report.results.worth_a_year
    difference = report.results.secondaries[1].difference
    assert worth is not None
    assert difference is not None
    assert worth.amount_minor == round(difference.value * 50_000 * 5)
    assert "TWD +" in report.sentence["en"]
    without_money = analyse_shop(open_shop(1, lift=0.15), make_plan(value_metric=ORDERS))
    assert without_money.results is not None
    assert without_money.results.worth_a_year is None


def test_attributed_figures_stand_beside_the_increment_and_are_called_by_their_name() -> None:
    told = analyse_shop(open_shop(1), attributed=(CLICKS,)).to_json()
    assert told["attributed"]["figures"] == [
        {"name": "clicks", "value": 1_234, "unit": "count", "rule": "last_click_7d"}
    ]
    assert told["attributed"]["label"]["en"].startswith("Attributed, not caused")
    assert "歸因" in told["attributed"]["label"]["zh-Hant"]
    assert "uplift" not in json.dumps(told["attributed"])
    assert analyse_shop(open_shop(1)).attributed is None


def test_a_ratio_is_shown_and_never_decided_on() -> None:
    report = analyse_shop(open_shop(1))
    assert report.results is not None
    [ratio] = report.results.ratios
    assert ratio.difference is not None
    assert ratio.difference.method == "delta"
    assert (ratio.adjusted, ratio.always_valid) == (None, None)
    with pytest.raises(ValueError, match="shown, never decided on"):
        make_plan(primary=ORDER_VALUE)


def test_a_ratio_of_nothing_has_no_difference() -> None:
    shop = open_shop(1)
    shop.orders[:] = 0
    shop.net_minor[:] = 0
    shop.repurchased[:] = False
    report = analyse_shop(shop)
    assert report.verdict is Verdict.INCONCLUSIVE
    assert report.results is not None
    assert (report.results.ratios[0].difference, report.results.ratios[0].tried.mean) == (None, None)
    assert report.results.primary.relative is None


def test_a_primary_of_money_is_told_in_money() -> None:
    shop = open_shop(1, lift=0.3)
    report = analyse_shop(shop, make_plan(primary=NET_SPEND, secondaries=()))
    assert report.verdict is Verdict.POSITIVE
    assert "the net spend per member was TWD " in report.sentence["en"]
    assert "percentage points" not in report.sentence["en"]


def test_a_report_is_plain_json_without_infinities() -> None:
    told = analyse_shop(open_shop(1), attributed=(CLICKS,)).to_json()
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    assert told["results"]["primary"]["difference"]["method"] == "newcombe"


def test_every_verdict_is_told_in_both_languages() -> None:
    shop, small = open_shop(1, lift=0.15), open_shop(3, members=600)
    waiting = (LeftOut(BASELINE, "immature", 2_000), LeftOut(TRIED, "immature", 18_000))
    wrong = (Draw({BASELINE: 900, TRIED: 9_100}, {BASELINE: 1_000, TRIED: 9_000}),)
    bad = open_shop(1)
    bad.unsubscribed[bad.treated] = True
    reports = [
        analyse_shop(shop),
        analyse_shop(open_shop(1, lift=-0.12)),
        analyse_shop(open_shop(2, lift=0.0)),
        analyse_shop(small),
        analyse_shop(small, left_out=waiting),
        analyse_shop(shop, draws=wrong),
        analyse_shop(bad),
    ]
    assert {report.verdict for report in reports} == set(Verdict)
    for report in reports:
        assert report.sentence.keys() == {"en", "zh-Hant"}
        assert re.search(r"[\u4e00-\u9fff]", report.sentence["zh-Hant"])
        assert not re.search(r"[\u4e00-\u9fff]", report.sentence["en"])
        assert "uplift" not in report.sentence["en"].lower()
    assert len({report.sentence["zh-Hant"] for report in reports}) == len(Verdict)


# --- sums and plans that do not fit ----------------------------------------------------------------------


def test_sums_that_do_not_fit_the_plan_are_refused() -> None:
    shares = Moments.of_share(500, 100)
    with pytest.raises(ValueError, match="has no sums of orders"):
        analyse(Evidence((ArmSums(TRIED, "", {"repurchase": shares}),)), make_plan())
    whole = dict.fromkeys(("repurchase", "orders", "net_spend", "order_value", "unsubscribed"), shares)
    with pytest.raises(ValueError, match="counts other members"):
        analyse(Evidence((ArmSums(TRIED, "", whole | {"orders": Moments.of_share(499, 1)}),)), make_plan())
    with pytest.raises(ValueError, match="values other than 0 and 1"):
        impossible = whole | {"unsubscribed": Moments(500, 3, 9)}
        analyse(Evidence((ArmSums(TRIED, "", impossible),)), make_plan())


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"shares_bp": {BASELINE: 1_000, TRIED: 8_000}}, "sum to 10,000"),
        ({"tried": BASELINE}, "two of the arms"),
        ({"tried": "unknown"}, "two of the arms"),
        ({"ratios": (ORDERS,)}, "only a ratio"),
        ({"guardrails": (Guardrail(UNSUBSCRIBED, margin=0.0),)}, "margin is above 0"),
        ({"alpha": 0.0}, "between 0 and 1"),
        ({"minimum_members": 1}, "at least two members"),
        ({"window_days": 0}, "one day"),
    ],
)
def test_plans_that_could_not_be_carried_out_are_refused(changes: dict[str, object], fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        make_plan(**changes)


def test_importing_the_statistics_does_not_load_scipy() -> None:
    script = (
        "import service.experiments.statistics.verdict, service.insights.lifetime_value, sys; "
        "print(*({'scipy', 'statsmodels', 'pandas'} & set(sys.modules)))"
    )
    loaded = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert loaded.stdout.split() == []
