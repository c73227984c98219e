"""The running window and the metrics it yields."""

from __future__ import annotations

from datetime import date, timedelta
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from service.activity.rules import DayTotals
from service.tiers.conditions import Metrics
from service.tiers.window import RunningWindow

DAY = date(2024, 3, 1).toordinal()


def window_of(*days: tuple[int, int]) -> RunningWindow:
    return RunningWindow(DayTotals(date.fromordinal(DAY + day), goods, goods, 1, 0) for day, goods in days)


def measure(window: RunningWindow, day: int, *, days: int = 10) -> Metrics:
    window.move(DAY + day - days + 1)
    return window.measure(DAY + day, joined=None)


def test_the_visit_interval_is_the_span_over_the_gaps_exactly() -> None:
    metrics = measure(window_of((0, 5), (3, 5), (7, 5)), 7)
    assert (metrics.active_days, metrics.span_days) == (3, 7)
    assert metrics.visit_interval() == Fraction(7, 2)


def test_the_visit_interval_is_undefined_below_two_active_days() -> None:
    assert measure(window_of((0, 5)), 3).visit_interval() is None
    assert measure(window_of(), 3).visit_interval() is None


def test_the_visit_interval_ignores_the_open_gap_and_the_days_since_do_not() -> None:
    metrics = measure(window_of((0, 5), (2, 5)), 9)
    assert metrics.visit_interval() == 2
    assert metrics.days_since_last_visit == 7


def test_the_day_itself_is_inside_and_the_day_a_window_ago_is_not() -> None:
    window = window_of((0, 5), (10, 5))
    assert measure(window, 9).active_days == 2
    assert measure(window, 10).active_days == 1


def test_a_day_without_goods_left_is_not_active_but_its_spend_counts() -> None:
    window = RunningWindow(
        [
            DayTotals(date.fromordinal(DAY), goods_minor=0, spend_minor=40, orders=0, unlinked_minor=0),
            DayTotals(
                date.fromordinal(DAY + 1), goods_minor=300, spend_minor=0, orders=1, unlinked_minor=100
            ),
        ],
    )
    metrics = measure(window, 2)
    assert metrics == Metrics(
        active_days=1,
        span_days=0,
        days_since_last_visit=1,
        net_spend_minor=-60,
        orders=1,
        member_days=None,
    )


def test_a_store_that_is_a_day_ahead_counts_today() -> None:
    metrics = measure(window_of((0, 5), (5, 5)), 4)
    assert (metrics.active_days, metrics.days_since_last_visit) == (2, 0)


def test_a_day_of_which_nothing_is_left_does_not_count() -> None:
    window = window_of((0, 5), (4, 5))
    assert measure(window, 4).active_days == 2
    assert window.first_counting() == DAY
    window.add(DAY, goods_minor=-5, net_minor=-5, orders=-1)
    assert window.first_counting() == DAY + 4


def test_a_window_that_moves_back_counts_again_what_had_left_it() -> None:
    window = window_of((0, 5), (4, 6), (9, 7))
    whole = measure(window, 9)
    assert measure(window, 16).net_spend_minor == 7
    window.add(DAY + 2, goods_minor=0, net_minor=-1, orders=0)
    assert measure(window, 9) == whole._replace(net_spend_minor=17)


def test_a_closed_period_is_measured_on_its_last_day_by_its_own_days_alone() -> None:
    window = window_of((0, 5), (4, 6), (9, 7), (10, 8))
    measure(window, 30)
    closed = window.measure_closed(DAY + 1, DAY + 9, joined=DAY - 1)
    assert closed == Metrics(2, 5, 0, 13, 2, 10)
    assert window.measure_closed(DAY + 20, DAY + 25, joined=None) == Metrics(0, 0, None, 0, 0, None)


CHANGES = st.lists(
    st.tuples(st.integers(0, 40), st.integers(-3, 5), st.integers(-3, 5), st.integers(-1, 1)), max_size=30
)


@given(CHANGES, st.integers(1, 15))
def test_running_sums_equal_sums_made_afresh(
    changes: list[tuple[int, int, int, int]], window_days: int
) -> None:
    window = RunningWindow()
    totals: dict[int, list[int]] = {}
    for today in range(41):
        for day, goods, net, orders in changes[today::41] if today < len(changes) else ():
            window.add(DAY + day, goods_minor=goods, net_minor=net, orders=orders)
            known = totals.setdefault(day, [0, 0, 0])
            known[0] += goods
            known[1] += net
            known[2] += orders
        metrics = measure(window, today, days=window_days)
        inside = {day: total for day, total in totals.items() if day > today - window_days}
        active = sorted(day for day, total in inside.items() if total[0] > 0)
        assert metrics.active_days == len(active)
        assert metrics.span_days == (active[-1] - active[0] if active else 0)
        assert metrics.net_spend_minor == sum(total[1] for total in inside.values())
        assert metrics.orders == sum(total[2] for total in inside.values())
        assert metrics.days_since_last_visit == (max(0, today - active[-1]) if active else None)
        assert [row[0] for row in window.list_totals()] == sorted(
            DAY + day for day, total in inside.items() if any(total)
        )
        last = window.last_active_day()
        assert last == (DAY + active[-1] if active else None)


def test_a_leap_year_has_its_366th_day() -> None:
    first = date(2024, 2, 29)
    window = RunningWindow([DayTotals(first, 5, 5, 1, 0)])
    last_inside = first + timedelta(days=365)
    assert last_inside == date(2025, 2, 28)
    window.move(last_inside.toordinal() - 365)
    assert window.measure(last_inside.toordinal(), joined=None).active_days == 1
    window.move(last_inside.toordinal() - 364)
    assert window.measure(last_inside.toordinal() + 1, joined=None).active_days == 0


@given(
    st.dictionaries(
        st.integers(-5, 20), st.tuples(*[st.integers(-3, 5)] * 2, st.integers(0, 2), st.integers(0, 3))
    ),
    st.integers(0, 25),
)
def test_rows_of_days_make_the_window_their_totals_make(
    totals: dict[int, tuple[int, int, int, int]], day: int
) -> None:
    rows = [(DAY + number, *rest) for number, rest in sorted(totals.items())]
    one = RunningWindow.of_rows(rows)
    other = RunningWindow(DayTotals(date.fromordinal(number), *rest) for number, *rest in rows)
    assert measure(one, day) == measure(other, day)
    assert one.list_totals() == other.list_totals()
