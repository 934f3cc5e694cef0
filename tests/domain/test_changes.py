"""Upgrade or downgrade: the figures of spec billing 2.2, and what holds for any two plans."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.changes import Kind, Price, Schedule, Terms, decide, is_upgrade
from plans.intervals import Interval, IntervalUnit

MONTH = Interval(IntervalUnit.MONTH)
YEAR = Interval(IntervalUnit.YEAR)
WEEK = Interval(IntervalUnit.WEEK)
intervals = st.sampled_from([None, WEEK, MONTH, Interval(IntervalUnit.QUARTER), YEAR])
prices = st.builds(
    Price, st.decimals(min_value=Decimal("0.01"), max_value=500, places=2), intervals, is_consumable=st.booleans()
)
terms = st.builds(Terms, st.lists(prices, max_size=3).map(tuple))


def plan(amount: int | str, interval: Interval | None) -> Terms:
    return Terms((Price(Decimal(amount), interval),))


@pytest.mark.parametrize(
    ("current", "new", "up"),
    [
        (plan(20, MONTH), plan(50, MONTH), True),
        (plan(20, MONTH), plan(20, MONTH), True),
        (plan(50, MONTH), plan(20, MONTH), False),
        (plan(200, YEAR), plan(20, MONTH), True),
        (plan(300, YEAR), plan(20, MONTH), False),
        (plan(250, YEAR), plan(20, MONTH), False),
        (plan(240, YEAR), plan(20, MONTH), True),
        (plan(20, MONTH), plan(500, YEAR), True),
        (plan(20, MONTH), plan(200, YEAR), True),
        (plan(20, MONTH), plan(5, WEEK), True),
        (Terms(()), plan(20, MONTH), True),
        (plan(20, MONTH), Terms(()), False),
        (Terms(()), Terms(()), True),
    ],
)
def test_the_figures_of_the_specification(current: Terms, new: Terms, up: bool) -> None:
    assert is_upgrade(current, new) is up


def test_plans_of_nothing_but_consumption_are_upgrades_both_ways() -> None:
    dear = Terms((Price(Decimal(5), MONTH, is_consumable=True),))
    cheap = Terms((Price(Decimal(1), MONTH, is_consumable=True),))
    assert is_upgrade(dear, cheap)
    assert is_upgrade(cheap, dear)


@given(first=terms, second=terms)
def test_of_two_plans_at_least_one_direction_is_an_upgrade(first: Terms, second: Terms) -> None:
    assert is_upgrade(first, second) or is_upgrade(second, first)


@given(current=terms, new=terms, asked=st.sampled_from([None, *Schedule]))
def test_a_change_takes_effect_as_asked_and_otherwise_at_once_unless_it_is_a_downgrade(
    current: Terms, new: Terms, asked: Schedule | None
) -> None:
    default = Schedule.IMMEDIATE if is_upgrade(current, new) else Schedule.END_OF_CYCLE
    assert decide(current, new, asked=asked) is (asked or default)


@given(new=terms, asked=st.sampled_from([None, *Schedule]))
def test_a_first_plan_starts_at_once(new: Terms, asked: Schedule | None) -> None:
    assert decide(None, new, asked=asked) is Schedule.IMMEDIATE


@given(held=terms)
def test_a_plan_is_free_once_paid_or_recurring(held: Terms) -> None:
    recurs = any(price.interval for price in held.prices)
    assert held.kind is (Kind.RECURRING if recurs else Kind.ONE_OFF if held.prices else Kind.FREE)
