"""What a reset makes of a balance: pure (spec/balances.md 10)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_FLOOR, Decimal

from plans.intervals import Interval, IntervalUnit, boundary, next_boundary, period_around

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Refill:
    """The outcome of a reset: at which boundary, when the next one is, what rolls over and what was overdrawn."""

    boundary_at: datetime
    next_reset_at: datetime
    rolled_over: Decimal
    overage: Decimal


def refill(
    *, anchor: datetime, interval: Interval, due_at: datetime, at: datetime, left: Decimal, rolls: bool
) -> Refill:
    """The reset that is due at `due_at`, seen at `at`: several missed boundaries make one, on the unmoved grid.

    The boundary is the latest one not after `at`; what is overdrawn is forgiven (and returned, to be billed).
    """
    boundary_at = max(period_around(anchor, interval, at)[0], due_at)
    return Refill(
        boundary_at=boundary_at,
        next_reset_at=next_boundary(anchor, interval, boundary_at),
        rolled_over=max(left, ZERO) if rolls else ZERO,
        overage=max(-left, ZERO),
    )


def rollover_cap(granted: Decimal, *, most: Decimal | None, percentage: Decimal | None) -> Decimal | None:
    """The most that may be rolled over in all; a percentage of the grant is rounded down, None means no cap."""
    if percentage is not None:
        return (granted * percentage / 100).to_integral_value(ROUND_FLOOR)
    return most


def rollover_expiry(anchor: datetime | None, boundary_at: datetime, months: int | None) -> datetime | None:
    """When what rolled over at a boundary expires: `months` later, counted from the anchor like every boundary.

    A boundary that lies on the anchor's monthly grid keeps to it (31 Jan, rolled over on 28 Feb, expires on 31 Mar).
    """
    if months is None:
        return None
    month = Interval(IntervalUnit.MONTH)
    if anchor is not None:
        n = (boundary_at.year - anchor.year) * 12 + boundary_at.month - anchor.month
        if boundary(anchor, month, n) == boundary_at:
            return boundary(anchor, month, n + months)
    return boundary(boundary_at, month, months)


def trim(remaining: Sequence[Decimal], cap: Decimal | None) -> list[Decimal]:
    """What to take off each rollover, oldest first, so that together they stay within the cap."""
    if cap is None:
        return [ZERO] * len(remaining)
    excess = sum(remaining, ZERO) - cap
    cuts = []
    for left in remaining:
        cut = min(max(excess, ZERO), max(left, ZERO))
        excess -= cut
        cuts.append(cut)
    return cuts
