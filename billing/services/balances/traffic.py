"""How many checks there were, and who was refused: a picture for people, drawn beside the calls and never in their way.

A call only counts in memory; every few seconds each process adds what it counted to the tables, in two statements. A
process that is killed takes the last seconds of the picture with it: nothing is paid or decided from these.
"""

import atexit
import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from django.db import close_old_connections, connection

from billing.services import background

logger = logging.getLogger(__name__)
PAUSE = 5  # seconds between two writings
MOST_REFUSALS = 10_000  # subjects and features between two writings; more are counted as checks only


@dataclass(slots=True)
class Refused:
    """One subject's refusals of one feature within an hour, and the last of them."""

    count: int
    last_at: datetime
    required: Decimal
    remaining: Decimal | None
    paid_by: int | None


@dataclass(slots=True)
class _Page:
    """What was counted since the last writing."""

    checks: dict[tuple[datetime, int, bool], int] = field(default_factory=dict)
    refusals: dict[tuple[int, int | None, int, datetime], Refused] = field(default_factory=dict)


_page = _Page()
_lock = threading.Lock()
_is_written = False


def checked(feature_id: int, allowed: bool, wall: datetime) -> None:
    """A check was answered."""
    key = (wall.replace(minute=0, second=0, microsecond=0), feature_id, allowed)
    with _lock:
        _page.checks[key] = _page.checks.get(key, 0) + 1
        _see_to_it()


def refused(
    *,
    customer_pk: int,
    entity_pk: int | None,
    feature_id: int,
    wall: datetime,
    required: Decimal,
    remaining: Decimal | None,
    paid_by: int | None,
) -> None:
    """A check or a track was refused: `required` of the feature were asked for, `remaining` of `paid_by` were left."""
    key = (customer_pk, entity_pk, feature_id, wall.replace(minute=0, second=0, microsecond=0))
    with _lock:
        before = _page.refusals.get(key)
        if before is not None or len(_page.refusals) < MOST_REFUSALS:
            count = before.count + 1 if before else 1
            _page.refusals[key] = Refused(count, wall, required, remaining, paid_by)
        _see_to_it()


# Rows are written in one order, so that processes wait for each other and never for nothing.
_ADD_CHECKS = """
INSERT INTO billing_checktally (hour, feature_id, allowed, count)
SELECT * FROM unnest(%s::timestamptz[], %s::bigint[], %s::boolean[], %s::bigint[]) AS c(hour, feature, allowed, count)
ORDER BY 1, 2, 3
ON CONFLICT (hour, feature_id, allowed) DO UPDATE SET count = billing_checktally.count + excluded.count
"""
_ADD_REFUSALS = """
INSERT INTO billing_refusal AS kept
  (customer_id, entity_id, feature_id, hour, count, last_at, required, remaining, paid_by_id)
SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::timestamptz[], %s::bigint[], %s::timestamptz[],
  %s::numeric[], %s::numeric[], %s::bigint[])
ORDER BY 1, 2, 3, 4
ON CONFLICT (customer_id, COALESCE(entity_id, 0), feature_id, hour) DO UPDATE SET
  count = kept.count + excluded.count,
  last_at = greatest(kept.last_at, excluded.last_at),
  required = CASE WHEN excluded.last_at >= kept.last_at THEN excluded.required ELSE kept.required END,
  remaining = CASE WHEN excluded.last_at >= kept.last_at THEN excluded.remaining ELSE kept.remaining END,
  paid_by_id = CASE WHEN excluded.last_at >= kept.last_at THEN excluded.paid_by_id ELSE kept.paid_by_id END
"""


def write() -> None:
    """Add to the tables what this process counted since the last time."""
    global _page
    with _lock:
        page, _page = _page, _Page()
    if page.checks:
        columns = [[*key, count] for key, count in page.checks.items()]
        _add(_ADD_CHECKS, columns)
    if page.refusals:
        rows = [
            [*who[:3], who[3], one.count, one.last_at, one.required, one.remaining, one.paid_by]
            for who, one in page.refusals.items()
        ]
        _add(_ADD_REFUSALS, rows)


def _add(statement: str, rows: Sequence[Sequence[object]]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, [list(column) for column in zip(*rows, strict=True)])


def _see_to_it() -> None:
    """Begin to write now and then; under the lock, and not before the first call: servers fork."""
    global _is_written  # noqa: PLW0603 - once in each process
    if _is_written or not background.is_server:
        return
    try:
        background.start("traffic", _write_on)
    except RuntimeError:  # no thread to be had; the next call tries again
        return
    _is_written = True
    atexit.register(_write_once)


def _write_on() -> None:
    pause = threading.Event()
    while not pause.wait(PAUSE):
        _write_once()


def _write_once() -> None:
    """What fails is only a picture: the next one is drawn without it."""
    try:
        close_old_connections()
        write()
    except Exception:
        logger.warning("Counts of checks could not be written; they are left out.", exc_info=True)
