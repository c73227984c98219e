"""Guardrails: harm shown to be small, shown to be there, or neither."""

from __future__ import annotations

import numpy as np
import pytest

from service.experiments.statistics.noninferiority import judge
from service.experiments.statistics.plan import NET_SPEND, RETURNED_VALUE, UNSUBSCRIBED, Guardrail
from service.experiments.statistics.sums import Moments

LIMIT = Guardrail(UNSUBSCRIBED, margin=0.01)


@pytest.mark.parametrize(
    ("tried", "baseline", "status"),
    [
        ((90_000, 1_850), (10_000, 200), "held"),
        ((90_000, 3_600), (10_000, 200), "breached"),
        ((900, 20), (100, 2), "not_shown"),
        # Real harm, and shown to be within the margin: what the margin is for.
        ((900_000, 22_500), (100_000, 2_000), "held"),
    ],
)
def test_a_share_is_held_breached_or_open(
    tried: tuple[int, int], baseline: tuple[int, int], status: str
) -> None:
    [found] = judge([(LIMIT, Moments.of_share(*tried), Moments.of_share(*baseline))], level=0.05)
    assert found.status == status
    assert found.harm.low < found.harm.value < found.harm.high


def test_less_can_be_the_harm() -> None:
    chance = np.random.default_rng(2)
    low, high = chance.poisson(90, 5_000).tolist(), chance.poisson(100, 5_000).tolist()
    guardrail = Guardrail(NET_SPEND, margin=2, worse=-1)
    [found] = judge([(guardrail, Moments.of(low), Moments.of(high))], level=0.05)
    assert found.status == "breached"
    assert found.harm.value == pytest.approx(10, abs=1)
    [better] = judge([(guardrail, Moments.of(high), Moments.of(low))], level=0.05)
    assert (better.status, better.holm_p) == ("held", 1.0)


def test_the_bounds_are_one_sided() -> None:
    chance = np.random.default_rng(4)
    runs, above = 2_000, 0
    for had, held in zip(
        chance.binomial(9_000, 0.05, runs).tolist(), chance.binomial(1_000, 0.04, runs).tolist(), strict=True
    ):
        [found] = judge([(LIMIT, Moments.of_share(9_000, had), Moments.of_share(1_000, held))], level=0.05)
        above += found.status == "held"
    # The true harm is the margin itself. Newcombe's two sides share the error a little unevenly.
    assert 0.03 <= above / runs <= 0.07


def test_three_harmless_guardrails_are_rarely_breached() -> None:
    chance = np.random.default_rng(6)
    runs, breached = 1_000, 0
    for _ in range(runs):
        watched = [
            (
                Guardrail(RETURNED_VALUE, margin=1.0),
                Moments.of_share(9_000, int(chance.binomial(9_000, 0.1))),
                Moments.of_share(1_000, int(chance.binomial(1_000, 0.1))),
            )
            for _ in range(3)
        ]
        found = judge(watched, level=0.05)
        assert all(one.status == "held" for one in found)
        breached += min(one.holm_p for one in found) < 0.05
    assert 0.02 <= breached / runs <= 0.065
