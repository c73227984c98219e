"""Movement in the real shop of the UCI data set, against living through every day of every customer."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from service.tiers.movement.operations import see_movements
from service.tiers.movement.reporting import MovementReport, movement_table, share_json
from tests.house.sources import ROOT
from tests.integration.intake.business import NOW
from tests.integration.uci import UciShop, open_shop
from tests.unit.intake.uci_slice import Row, make_slice

OPENING, CLOSING = date(2011, 6, 1), date(2011, 12, 1)
LADDER = ("member", "silver", "gold", "platinum")
Move = tuple[date, str | None, str]


@dataclass
class Customer:
    """One customer's days in the shop, in pence, as far as they have been lived through."""

    goods: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    refunds: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    tier: int = 0
    since: int = 0
    unqualified: int | None = None
    moves: list[Move] = field(default_factory=list)

    def rate(self, day: int) -> None:
        """Apply the ladder of docs/tier-defaults.md in pounds, hold of 90 days, grace of 30, one step."""
        net = sum(pence for on, pence in self.goods.items() if on > day - 365)
        net -= sum(pence for on, pence in self.refunds.items() if on > day - 365)
        active = sorted(on for on, pence in self.goods.items() if on > day - 365 and pence > 0)
        earned = max(tier for tier in range(4) if meets(tier, net, active, day, ENTER))
        if earned > self.tier:
            self._move(earned, day)
            return
        if earned == self.tier or meets(self.tier, net, active, day, KEEP):
            self.unqualified = None
            return
        if self.unqualified is None:
            self.unqualified = day
        if day >= max(self.unqualified, self.since + 90) + 30:
            self._move(self.tier - 1, day)
            self.rate(day)

    def _move(self, tier: int, day: int) -> None:
        self.moves.append((date.fromordinal(day), LADDER[self.tier], LADDER[tier]))
        self.tier, self.since, self.unqualified = tier, day, None


# Per tier: pounds, active days, longest visit interval, longest time since the last visit.
ENTER: dict[int, tuple[int, int, int | None, int | None]] = {
    1: (100, 2, None, None),
    2: (400, 4, 60, 90),
    3: (1200, 8, 30, 60),
}
KEEP: dict[int, tuple[int, int, int | None, int | None]] = {
    1: (75, 2, None, None),
    2: (300, 3, 75, 120),
    3: (900, 6, 40, 90),
}


def meets(
    tier: int,
    net: int,
    active: list[int],
    day: int,
    table: dict[int, tuple[int, int, int | None, int | None]],
) -> bool:
    if tier == 0:
        return True
    pounds, days, interval, since = table[tier]
    if net < pounds * 100 or len(active) < days:
        return False
    if interval is not None and Fraction(active[-1] - active[0], len(active) - 1) > interval:
        return False
    return since is None or day - active[-1] <= since


def live_through(rows: Iterable[Row], until: date) -> dict[str, list[Move]]:
    """Rate every customer at every midnight and after every invoice; return the moves before `until`."""
    invoices: dict[tuple[str, str], tuple[datetime, int]] = {}
    for row in rows:
        if row["customer_id"] is None:
            continue
        exact = abs(row["quantity"]) * Decimal(f"{row['unit_price']:.3f}")
        pence = int((exact * 100).quantize(Decimal(1), ROUND_HALF_UP))
        key = (str(row["customer_id"]), row["invoice_no"])
        at, total = invoices.get(key, (row["invoice_ts"], 0))
        invoices[key] = (min(at, row["invoice_ts"]), total + pence)
    by_customer: dict[str, list[tuple[datetime, bool, str, int]]] = defaultdict(list)
    for (customer, invoice), (at, pence) in invoices.items():
        by_customer[customer].append((at, invoice.startswith("C"), invoice, pence))
    return {customer: live(sorted(facts), until) for customer, facts in by_customer.items()}


def live(facts: list[tuple[datetime, bool, str, int]], until: date) -> list[Move]:
    customer, start = Customer(), facts[0][0].date()
    customer.since = start.toordinal()
    customer.moves.append((start, None, LADDER[0]))
    waiting = list(facts)
    for day in range(start.toordinal(), until.toordinal()):
        customer.rate(day)
        while waiting and waiting[0][0].toordinal() == day:
            _, given_back, _, pence = waiting.pop(0)
            (customer.refunds if given_back else customer.goods)[day] += pence
            customer.rate(day)
    return [move for move in customer.moves if move[0] < until]


def tier_on(moves: list[Move], day: date) -> str | None:
    """Return the tier at the start of a day."""
    held = [to_tier for on, _, to_tier in moves if on < day]
    return held[-1] if held else None


@pytest.fixture(params=["slice", "full"])
def shop(request: pytest.FixtureRequest, engine: Engine, tmp_path: Path) -> UciShop:
    """The real shop, or a small one made like it."""
    if request.param == "full":
        whole: UciShop = request.getfixturevalue("uci_shop")
        return whole
    path = tmp_path / "slice.parquet"
    return open_shop(engine, path, make_slice(path, seed=5, customers=80))


def test_the_movement_of_half_a_year_is_what_living_through_every_day_gives(shop: UciShop) -> None:
    lives = live_through(shop.rows, CLOSING)
    ends = [(tier_on(moves, OPENING), tier_on(moves, CLOSING)) for moves in lives.values()]
    expected = Counter(pair for pair in ends if pair != (None, None))
    cohort = see(shop, view="cohort")
    assert matrix_of(cohort) == expected
    events = see(shop, view="event")
    assert matrix_of(events) == Counter(
        (from_tier, to_tier)
        for moves in lives.values()
        for on, from_tier, to_tier in moves
        if OPENING <= on < CLOSING
    )
    for report in (cohort, events):
        opening, closing = (Counter(pair[side] for pair in ends) for side in (0, 1))
        assert report.overall.totals is not None
        assert {total.tier: total.opening for total in report.overall.totals} == pick(opening)
        assert {total.tier: total.closing for total in report.overall.totals} == pick(closing)
        assert [total.difference for total in report.overall.totals] == [0, 0, 0, 0]
        show(report)
    look_at_splits(shop, cohort)


def test_the_page_for_marketing_staff_quotes_the_real_figures(uci_shop: UciShop) -> None:
    report, page = see(uci_shop, view="cohort"), (ROOT / "docs" / "tier-movements.md").read_text()
    matrix = matrix_of(report)
    for row in (*LADDER, None):
        cells = [matrix[row, code] for code in LADDER]
        line = " | ".join(map(str, [f"| **{row or 'joined'}**", *cells, sum(cells)]))
        assert f"{line} |" in page
    told = {total.tier: total for total in report.overall.totals or ()}
    closing = [told[code].closing for code in LADDER]
    assert " | ".join(map(str, ["| **all**", *closing, sum(closing)])) in page
    gold = told["gold"]
    parts = f"{gold.opening} + {gold.joined} + {gold.rose_in} + {gold.fell_in}"
    assert f"{parts} − {gold.rose_out} − {gold.fell_out} − {gold.left} = {gold.closing}" in page
    flat = " ".join(page.replace(",", "").split())
    events = matrix_of(see(uci_shop, view="event"))
    assert f"by events: {events[None, 'member']} joined" in flat
    for from_tier, to_tier in (("member", "silver"), ("silver", "gold"), ("gold", "platinum")):
        assert f"{events[from_tier, to_tier]}" in flat
    assert f"{events['gold', 'silver']} falls from Gold to Silver {events['platinum', 'gold']} from" in flat
    rates = report.overall.rates
    assert rates is not None
    upgrade, downgrade = (share_json(share)["value"] for share in (rates.upgrade, rates.downgrade))
    assert f"{rates.upgrade.numerator} of {rates.upgrade.denominator} members rose (`{upgrade}`)" in flat
    assert f"{rates.downgrade.numerator} fell (`{downgrade}`)" in flat
    curve = report.days_to_upgrade["member"]
    quarter, half = curve.quantile(0.25), curve.quantile(0.5)
    assert quarter is not None
    assert half is not None
    assert f"Of the {curve.stays} who joined in the half year above {curve.risen} rose." in flat
    assert f"within {quarter.days} days half within {half.days} days." in flat
    assert f"({quarter.at_risk} and {half.at_risk})" in flat
    rows = movement_table(report).to_csv().decode().split("\r\n")
    assert "\n".join(rows[:3]) in page


def pick(found: Counter[str | None]) -> dict[str, int]:
    return {tier: found[tier] for tier in LADDER}


def look_at_splits(shop: UciShop, whole: MovementReport) -> None:
    """Whatever it is split by, the parts reconcile and are the whole."""
    for view in ("cohort", "event"):
        for split in ("cause", "cohort", "store"):
            report = see(shop, view=view, split=split)
            assert report.groups is not None
            parts = Counter[tuple[str | None, str | None]]()
            for _, movement in report.groups:
                assert all(total.difference == 0 for total in movement.totals or ())
                for flow in movement.flows:
                    parts[flow.from_tier, flow.to_tier] += flow.count
            assert parts == matrix_of(report)
    # Everything was learned on the day of the import: until then nobody was believed to be a member.
    believed = see(shop, view="cohort", basis="believed")
    assert matrix_of(believed) == Counter()
    assert matrix_of(whole)


def see(shop: UciShop, **asked: Any) -> MovementReport:
    options: dict[str, Any] = {"basis": "effective", "split": None, "store_ids": None} | asked
    with shop.engine.connect() as conn:
        return see_movements(
            conn,
            start=OPENING,
            end=CLOSING,
            now=NOW,
            programme=shop.programme,
            **options,
        )


def matrix_of(report: MovementReport) -> Counter[tuple[str | None, str | None]]:
    return Counter({(flow.from_tier, flow.to_tier): flow.count for flow in report.overall.flows})


def show(report: MovementReport) -> None:
    """Print the matrix (`pytest -rP`)."""
    matrix = matrix_of(report)
    print(f"\n{report.view} view, {report.start} to {report.end}")  # noqa: T201
    print("from \\ to ", *(f"{code:>9}" for code in LADDER))  # noqa: T201
    for row in (*LADDER, None):
        print(f"{row or 'outside':10}", *(f"{matrix[row, code]:9}" for code in LADDER))  # noqa: T201
    for total in report.overall.totals or ():
        print(total)  # noqa: T201
    print(report.overall.rates)  # noqa: T201
    for tier, curve in report.days_to_upgrade.items():
        quartiles = [curve.quantile(share) for share in (0.25, 0.5, 0.75)]
        told = [None if step is None else (step.days, step.at_risk) for step in quartiles]
        print(tier, f"stays {curve.stays}, risen {curve.risen}, quartiles {told}")  # noqa: T201
