"""Calendar arithmetic: boundaries counted from an anchor, in UTC, clamped to the month's end."""

import calendar
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache

from django.db import models


class IntervalUnit(models.TextChoices):
    ONE_OFF = "one_off", "once"
    MINUTE = "minute", "minute"
    HOUR = "hour", "hour"
    DAY = "day", "day"
    WEEK = "week", "week"
    MONTH = "month", "month"
    QUARTER = "quarter", "quarter"
    SEMI_ANNUAL = "semi_annual", "half-year"
    YEAR = "year", "year"


SPANS = {
    IntervalUnit.MINUTE: timedelta(minutes=1),
    IntervalUnit.HOUR: timedelta(hours=1),
    IntervalUnit.DAY: timedelta(days=1),
    IntervalUnit.WEEK: timedelta(weeks=1),
}
MONTHS = {IntervalUnit.MONTH: 1, IntervalUnit.QUARTER: 3, IntervalUnit.SEMI_ANNUAL: 6, IntervalUnit.YEAR: 12}
_DAYS_A_MONTH = Decimal(30)


@dataclass(frozen=True, slots=True)
class Interval:
    """A recurring span: `count` times `unit`, never `one_off`."""

    unit: IntervalUnit
    count: int = 1

    @classmethod
    @lru_cache(maxsize=1024)
    def of(cls, unit: str, count: int = 1) -> "Interval | None":
        """The interval of a stored pair; None for '' and one_off, which never recur."""
        if unit in ("", IntervalUnit.ONE_OFF):
            return None
        return cls(IntervalUnit(unit), count)

    @property
    def months(self) -> Decimal:
        """Length in months, for comparing prices and lengths; a week is a quarter of a month (spec billing 2.2)."""
        if self.unit in MONTHS:
            return Decimal(MONTHS[self.unit] * self.count)
        if self.unit == IntervalUnit.WEEK:
            return Decimal(self.count) / 4
        return Decimal(SPANS[self.unit] // timedelta(minutes=1) * self.count) / (_DAYS_A_MONTH * 24 * 60)


def boundary(anchor: datetime, interval: Interval, n: int) -> datetime:
    """The `n`th boundary after `anchor` (before it when negative): 31 Jan gives 28 Feb, 31 Mar, 30 Apr.

    Counted from the anchor every time, never from the boundary before, so month ends do not drift (decisions 8).
    """
    anchor = anchor.astimezone(UTC)
    if interval.unit in SPANS:
        return anchor + SPANS[interval.unit] * interval.count * n
    return _add_months(anchor, MONTHS[interval.unit] * interval.count * n)


def next_boundary(anchor: datetime, interval: Interval, at: datetime) -> datetime:
    """The first boundary strictly after `at`; never before the anchor itself."""
    return boundary(anchor, interval, _periods_until(anchor, interval, at) + 1) if at >= anchor else anchor


def period_around(anchor: datetime, interval: Interval, at: datetime) -> tuple[datetime, datetime]:
    """The boundaries around `at`: start <= at < end, before the anchor as well as after it."""
    n = _periods_until(anchor, interval, at)
    return boundary(anchor, interval, n), boundary(anchor, interval, n + 1)


def _periods_until(anchor: datetime, interval: Interval, at: datetime) -> int:
    """The greatest n whose boundary is not after `at`."""
    if interval.unit in SPANS:
        return (at - anchor) // (SPANS[interval.unit] * interval.count)
    months = MONTHS[interval.unit] * interval.count
    anchor, at = anchor.astimezone(UTC), at.astimezone(UTC)
    n = ((at.year - anchor.year) * 12 + at.month - anchor.month) // months
    # Within the month of the boundary the day and the time decide.
    return n if boundary(anchor, interval, n) <= at else n - 1


def _add_months(moment: datetime, months: int) -> datetime:
    year, month = divmod(moment.year * 12 + moment.month - 1 + months, 12)
    day = min(moment.day, calendar.monthrange(year, month + 1)[1])
    return moment.replace(year=year, month=month + 1, day=day)
