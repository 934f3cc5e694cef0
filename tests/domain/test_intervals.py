"""Calendar arithmetic against a slow and obvious model: walk day by day, or span by span, and count."""

import calendar
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plans.intervals import Interval, IntervalUnit, boundary, next_boundary, period_around

MONTHS = {IntervalUnit.MONTH: 1, IntervalUnit.QUARTER: 3, IntervalUnit.SEMI_ANNUAL: 6, IntervalUnit.YEAR: 12}
SPANS = {
    IntervalUnit.MINUTE: timedelta(minutes=1),
    IntervalUnit.HOUR: timedelta(hours=1),
    IntervalUnit.DAY: timedelta(days=1),
    IntervalUnit.WEEK: timedelta(weeks=1),
}

FIRST = datetime(2016, 1, 1, tzinfo=UTC)
TWENTY_YEARS = timedelta(days=7305) // timedelta(milliseconds=1)

moments = st.integers(0, TWENTY_YEARS).map(lambda ms: FIRST + timedelta(milliseconds=ms))
calendar_intervals = st.builds(Interval, st.sampled_from(list(MONTHS)), st.integers(1, 4))
spans = st.builds(Interval, st.sampled_from(list(SPANS)), st.integers(1, 4))
intervals = st.one_of(calendar_intervals, spans)


def walked(anchor: datetime, months: int) -> datetime:
    """`anchor` moved month by month, keeping the anchor's day where the month has one."""
    year, month = anchor.year, anchor.month
    for _ in range(abs(months)):
        month += 1 if months > 0 else -1
        if month in (0, 13):
            year, month = (year - 1, 12) if month == 0 else (year + 1, 1)
    day = anchor.day
    while True:
        try:
            return anchor.replace(year=year, month=month, day=day)
        except ValueError:
            day -= 1


@given(moments, calendar_intervals, st.integers(-30, 30))
def test_calendar_boundaries_are_what_walking_month_by_month_gives(anchor: datetime, every: Interval, n: int) -> None:
    assert boundary(anchor, every, n) == walked(anchor, MONTHS[every.unit] * every.count * n)


@given(moments, spans, st.integers(-30, 30))
def test_short_boundaries_are_evenly_spaced(anchor: datetime, every: Interval, n: int) -> None:
    moved = anchor
    for _ in range(abs(n)):
        moved += SPANS[every.unit] * every.count * (1 if n > 0 else -1)
    assert boundary(anchor, every, n) == moved


@given(moments, intervals)
def test_boundaries_never_stand_still_or_turn_back(anchor: datetime, every: Interval) -> None:
    row = [boundary(anchor, every, n) for n in range(-5, 20)]
    assert row == sorted(set(row))
    assert boundary(anchor, every, 0) == anchor


@given(moments, calendar_intervals, st.integers(-900, 2500))
def test_the_period_around_an_instant_is_the_one_that_counting_finds(
    anchor: datetime, every: Interval, days: int
) -> None:
    at = anchor + timedelta(days=days)
    months, n = MONTHS[every.unit] * every.count, 0
    while walked(anchor, months * n) > at:
        n -= 1
    while walked(anchor, months * (n + 1)) <= at:
        n += 1
    assert period_around(anchor, every, at) == (walked(anchor, months * n), walked(anchor, months * (n + 1)))


@given(moments, intervals, st.integers(-40, 40), st.timedeltas(timedelta(0), timedelta(days=3)))
def test_an_instant_lies_in_its_period(anchor: datetime, every: Interval, n: int, beyond: timedelta) -> None:
    at = boundary(anchor, every, n) + beyond
    start, end = period_around(anchor, every, at)
    assert start <= at < end


@given(moments, intervals, st.integers(0, 40))
def test_a_boundary_belongs_to_the_period_that_it_begins(anchor: datetime, every: Interval, n: int) -> None:
    at = boundary(anchor, every, n)
    assert period_around(anchor, every, at) == (at, boundary(anchor, every, n + 1))
    assert next_boundary(anchor, every, at) == boundary(anchor, every, n + 1)


@given(moments, intervals, st.integers(0, 40), st.fractions(0, 3))
def test_the_next_boundary_is_the_first_one_after(anchor: datetime, every: Interval, n: int, periods: Fraction) -> None:
    start = boundary(anchor, every, n)
    at = start + (boundary(anchor, every, n + 3) - start) * float(periods) / 3
    later = [boundary(anchor, every, k) for k in range(n, n + 5)]
    assert next_boundary(anchor, every, at) == next(one for one in later if one > at)


@given(moments, intervals, st.timedeltas(timedelta(milliseconds=1), timedelta(days=4000)))
def test_before_the_anchor_the_anchor_is_next(anchor: datetime, every: Interval, before: timedelta) -> None:
    assert next_boundary(anchor, every, anchor - before) == anchor


@given(moments, intervals, st.integers(-12, 12), st.integers(-20, 20))
def test_the_time_zone_an_instant_is_written_in_changes_nothing(
    anchor: datetime, every: Interval, hours: int, n: int
) -> None:
    elsewhere = anchor.astimezone(timezone(timedelta(hours=hours)))
    assert boundary(elsewhere, every, n) == boundary(anchor, every, n)
    at = boundary(anchor, every, n)
    local = at.astimezone(timezone(timedelta(hours=-hours)))
    assert period_around(elsewhere, every, local) == period_around(anchor, every, at)


def test_the_last_of_january_comes_back_on_every_31st() -> None:
    anchor = datetime(2026, 1, 31, 12, tzinfo=UTC)
    monthly = Interval(IntervalUnit.MONTH)
    days = [boundary(anchor, monthly, n).strftime("%m-%d") for n in range(6)]
    assert days == ["01-31", "02-28", "03-31", "04-30", "05-31", "06-30"]


def test_a_leap_day_comes_back_in_leap_years() -> None:
    anchor = datetime(2024, 2, 29, tzinfo=UTC)
    yearly = Interval(IntervalUnit.YEAR)
    assert [boundary(anchor, yearly, n).day for n in range(5)] == [29, 28, 28, 28, 29]


@given(st.sampled_from(list(MONTHS)), st.integers(1, 12))
def test_lengths_in_months_follow_the_calendar(unit: IntervalUnit, count: int) -> None:
    assert Interval(unit, count).months == MONTHS[unit] * count


def test_a_week_is_a_quarter_of_a_month() -> None:
    assert Interval(IntervalUnit.WEEK).months == Decimal("0.25")
    assert Interval(IntervalUnit.DAY, 30).months == 1


@pytest.mark.parametrize("unit", ["", IntervalUnit.ONE_OFF])
def test_what_is_paid_once_has_no_interval(unit: str) -> None:
    assert Interval.of(unit) is None


def test_every_month_of_four_years_has_the_right_last_day() -> None:
    anchor = datetime(2024, 1, 31, tzinfo=UTC)
    for n in range(48):
        at = boundary(anchor, Interval(IntervalUnit.MONTH), n)
        assert at.day == calendar.monthrange(at.year, at.month)[1]
