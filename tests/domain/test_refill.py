"""What a reset makes of a balance, against slow and obvious walks through the calendar (spec/balances.md 10)."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.refill import refill, rollover_cap, rollover_expiry, trim
from plans.intervals import Interval, IntervalUnit, boundary, next_boundary

INSTANTS = st.datetimes(datetime(2024, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
INTERVALS = st.builds(
    Interval, st.sampled_from([unit for unit in IntervalUnit if unit not in ("one_off", "minute")]), st.integers(1, 3)
)
QUANTITIES = st.decimals(-500, 500, places=3)


@given(INSTANTS, INTERVALS, st.integers(1, 5), st.integers(0, 60 * 24 * 200), QUANTITIES, st.booleans())
def test_a_refill_is_the_last_boundary_missed_and_the_next_one_lies_ahead(
    anchor: datetime, interval: Interval, periods: int, late: int, left: Decimal, rolls: bool
) -> None:
    due_at = boundary(anchor, interval, periods)
    at = due_at + timedelta(minutes=late)
    outcome = refill(anchor=anchor, interval=interval, due_at=due_at, at=at, left=left, rolls=rolls)
    n = periods
    while boundary(anchor, interval, n + 1) <= at:
        n += 1
    assert outcome.boundary_at == boundary(anchor, interval, n)
    assert outcome.next_reset_at == boundary(anchor, interval, n + 1)
    assert outcome.boundary_at <= at < outcome.next_reset_at
    assert (outcome.rolled_over, outcome.overage) == (max(left, 0) if rolls else 0, max(-left, 0))


def test_a_reset_that_was_moved_by_hand_counts_from_there() -> None:
    moved = datetime(2026, 4, 5, tzinfo=UTC)
    outcome = refill(
        anchor=moved,
        interval=Interval(IntervalUnit.MONTH),
        due_at=moved,
        at=datetime(2026, 4, 20, tzinfo=UTC),
        left=Decimal(1),
        rolls=False,
    )
    assert (outcome.boundary_at, outcome.next_reset_at) == (moved, datetime(2026, 5, 5, tzinfo=UTC))


@given(st.lists(st.decimals(-50, 300, places=1), max_size=6), st.none() | st.decimals(0, 600, places=1))
def test_trimming_takes_the_oldest_and_no_more_than_needed(remaining: list[Decimal], cap: Decimal | None) -> None:
    cuts = trim(remaining, cap)
    kept = [left - cut for left, cut in zip(remaining, cuts, strict=True)]
    total = sum(remaining, Decimal(0))
    assert all(0 <= cut <= max(left, Decimal(0)) for left, cut in zip(remaining, cuts, strict=True))
    if cap is None or total <= cap:
        assert not any(cuts)
        return
    assert sum(cuts) == min(total - cap, sum((max(left, Decimal(0)) for left in remaining), Decimal(0)))
    # One that was spared in part, or is younger than it, proves that everything older is gone.
    spared = next((position for position, left in enumerate(kept) if left > 0), len(kept))
    assert not any(cuts[spared + 1 :])


@pytest.mark.parametrize(
    ("granted", "most", "percentage", "cap"),
    [
        (Decimal(25), None, Decimal(50), 12),
        (Decimal("99.9"), None, Decimal(100), 99),
        (Decimal(200), Decimal(500), None, 500),
        (Decimal(200), None, None, None),
        (Decimal(0), None, Decimal(50), 0),
    ],
)
def test_the_cap_is_a_number_or_a_share_of_the_grant_rounded_down(
    granted: Decimal, most: Decimal | None, percentage: Decimal | None, cap: int | None
) -> None:
    assert rollover_cap(granted, most=most, percentage=percentage) == cap


@given(INSTANTS, st.integers(1, 30), st.integers(1, 14))
def test_what_rolled_over_on_the_grid_expires_on_the_grid(anchor: datetime, periods: int, months: int) -> None:
    month = Interval(IntervalUnit.MONTH)
    expiry = rollover_expiry(anchor, boundary(anchor, month, periods), months)
    assert expiry == boundary(anchor, month, periods + months)


@given(INSTANTS, INSTANTS, st.integers(1, 14))
def test_what_rolled_over_between_expires_so_many_months_later(anchor: datetime, at: datetime, months: int) -> None:
    expiry = rollover_expiry(anchor, at, months)
    assert expiry is not None
    assert timedelta(days=28 * months - 1) <= expiry - at <= timedelta(days=31 * months + 3)
    assert rollover_expiry(anchor, at, None) is None
    assert rollover_expiry(None, at, months) == next_boundary(at, Interval(IntervalUnit.MONTH, months), at)
