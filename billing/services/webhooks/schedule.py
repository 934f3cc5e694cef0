"""When a webhook that failed is sent again: ever later, for three days (Standard Webhooks, "retry schedule"). Pure."""

from datetime import timedelta

# After the first attempt, the second, … About 75 hours in all.
WAITS = (
    timedelta(seconds=5), timedelta(minutes=5), timedelta(minutes=30), timedelta(hours=2), timedelta(hours=5),
    timedelta(hours=10), timedelta(hours=14), timedelta(hours=20), timedelta(hours=24),
)  # fmt: skip
JITTER = 0.2  # at most that much of a wait later


def wait(attempts: int, chance: float) -> timedelta | None:
    """How long after the last of so many attempts the next one comes; None: none does.

    `chance`, from 0 to 1, spreads out what failed together, so that it doesn't come back together.
    """
    return WAITS[attempts - 1] * (1 + JITTER * chance) if attempts <= len(WAITS) else None
