"""The wall clock, read here and nowhere else."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime

_stopped_at: ContextVar[datetime | None] = ContextVar("stopped_at", default=None)


def now() -> datetime:
    """The present instant as an aware datetime in UTC, cut to the milliseconds that the wire can carry."""
    at = _stopped_at.get() or datetime.now(UTC)
    return at.replace(microsecond=at.microsecond // 1000 * 1000)


@contextmanager
def frozen(at: datetime) -> Iterator[datetime]:
    """Stop the clock at `at` (aware) for the block, in this thread only."""
    token = _stopped_at.set(at.astimezone(UTC))
    try:
        yield at
    finally:
        _stopped_at.reset(token)
