"""Tiers beside a split by spend, from cells."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from service.tiers.worth.rules import (
    Cell,
    above_base,
    add_up,
    compare,
    follow_up,
    months_before,
    of_tier,
)
from service.tiers.worth.sentences import tell_comparison
from service.tiers.worth.statistics import Sums, newcombe

BASE = {"en": "Member", "zh-Hant": "一般會員"}
DAY = date(2026, 6, 1)


def split(both: tuple[int, int], only_tier: tuple[int, int], only_spend: tuple[int, int]) -> list[Cell]:
    """Two tiers; each pair is (members, buyers), and every buyer spent 100."""
    return [
        Cell(0, 0, Sums(1000, 100, 10_000, 1_000_000)),
        *(
            Cell(tier, group, Sums(members, buyers, buyers * 100, buyers * 10_000))
            for tier, group, (members, buyers) in ((1, 1, both), (1, 0, only_tier), (0, 1, only_spend))
        ),
    ]


def test_whom_both_choose_cancels_out_of_the_difference() -> None:
    found = compare(split((900, 800), (100, 70), (100, 40)), chosen=above_base)
    alone = newcombe((70, 40), (100, 100))
    assert alone is not None
    assert found.chosen_by_both == 900
    assert found.difference == pytest.approx(0.03)
    assert found.interval is not None
    assert (found.interval.low, found.interval.high) == pytest.approx((alone.low / 10, alone.high / 10))
    assert found.verdict() == "tiers_ahead"


@pytest.mark.parametrize(
    ("only_tier", "only_spend", "verdict"),
    [
        ((100, 70), (100, 40), "tiers_ahead"),
        ((100, 40), (100, 70), "spend_ahead"),
        ((100, 50), (100, 45), "not_told_apart"),
        ((0, 0), (0, 0), "same_members"),
    ],
)
def test_the_verdict_says_what_the_interval_allows(
    only_tier: tuple[int, int], only_spend: tuple[int, int], verdict: str
) -> None:
    assert compare(split((900, 800), only_tier, only_spend), chosen=above_base).verdict() == verdict


def test_a_ladder_that_nobody_climbed_is_not_judged() -> None:
    cells = [Cell(0, 0, Sums(5, 1, 100, 10_000))]
    found = compare(cells, chosen=above_base)
    assert (found.verdict(), found.difference, found.interval) == ("nobody", None, None)
    told = tell_comparison(found, add_up(cell.sums for cell in cells), base=BASE, as_of=DAY, months=3)
    assert told["en"] == "No member was rated above Member on 2026-06-01, so there is nothing to compare."
    assert "無從比較" in told["zh-Hant"]


def test_groups_of_different_sizes_are_no_comparison() -> None:
    with pytest.raises(ValueError, match="size"):
        compare([Cell(0, 1, Sums(3)), Cell(1, 0, Sums(2))], chosen=of_tier(1))


counts = st.integers(0, 300)


@given(counts, counts, counts, counts, counts, st.integers(1, 24))
def test_every_sentence_names_both_rates_and_claims_no_cause(
    both: int, only: int, first: int, second: int, third: int, months: int
) -> None:
    cells = split((both, min(first, both)), (only, min(second, only)), (only, min(third, only)))
    found, everyone = compare(cells, chosen=above_base), add_up(cell.sums for cell in cells)
    told = tell_comparison(found, everyone, base=BASE, as_of=DAY, months=months)
    for text in told.values():
        assert "None" not in text
        assert "nan" not in text
        assert "-0.0" not in text
    assert ("1 months" in told["en"].replace("11 months", "").replace("21 months", "")) is False
    if found.verdict() == "nobody":
        return
    assert "not that a tier made anybody come back" in told["en"]
    assert "不代表等級促使他們回購" in told["zh-Hant"]
    for text in told.values():
        assert f"{100 * found.by_tier.buyers / found.by_tier.members:.1f}" in text
        assert f"{100 * found.by_spend.buyers / found.by_spend.members:.1f}" in text


def test_a_tie_is_told_as_chance_with_its_interval() -> None:
    cells = split((900, 800), (100, 50), (100, 45))
    found, everyone = compare(cells, chosen=above_base), add_up(cell.sums for cell in cells)
    told = tell_comparison(found, everyone, base=BASE, as_of=DAY, months=1)
    assert told["en"] == (
        "On 2026-06-01, 1,000 of 2,100 members (47.6 %) were rated above Member. "
        "In the month that followed, 85.0 % of them bought again; of as many chosen by past net spend alone, "
        "84.5 %. The difference of +0.5 percentage points (95 % interval -0.9 to +1.8) may be chance. "
        "They brought 85.4 % of everybody's net spend of that time, against 84.9 %. "
        "This tells who came back, not that a tier made anybody come back."
    )


@pytest.mark.parametrize(
    ("as_of", "months", "last"),
    [
        (date(2011, 6, 1), 3, date(2011, 9, 1)),
        (date(2011, 11, 30), 3, date(2012, 2, 29)),
        (date(2010, 12, 31), 2, date(2011, 2, 28)),
        (date(2024, 2, 29), 12, date(2025, 2, 28)),
    ],
)
def test_months_end_on_the_day_of_the_same_number_or_the_last(as_of: date, months: int, last: date) -> None:
    first, end = follow_up(as_of, months=months)
    assert (first - as_of).days == 1
    assert (end - last).days == 1


@given(st.dates(date(1990, 1, 1), date(2100, 1, 1)), st.integers(1, 24))
@example(date(2024, 4, 30), 1)
@example(date(2023, 2, 28), 12)
def test_the_latest_day_with_its_months_over_is_the_latest(today: date, months: int) -> None:
    latest = months_before(today, months=months)
    assert follow_up(latest, months=months)[1] <= date.fromordinal(today.toordinal() + 1)
    after = date.fromordinal(latest.toordinal() + 1)
    assert follow_up(after, months=months)[1] > date.fromordinal(today.toordinal() + 1)
