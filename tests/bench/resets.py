"""Resets: rows per second of the command against one big UPDATE that does the least, while tracks go on."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from statistics import median
from time import perf_counter
from typing import Any

import psycopg
from django.db import connection

from billing.services.balances import ledger, resets
from config import clock
from config.actor import Actor

_BATCH = 5000

# Balances of customers of their own, each with its own anchor within the day before.
_FILL = """
WITH made AS (
INSERT INTO billing_balance (public_id, customer_id, entity_id, feature_id, level, included, prepaid, granted, usage,
  held, expired, unlimited, allows_overage, bills_at_once, is_prepaid, is_add_on, reset_interval, reset_interval_count,
  reset_anchor, rolls_over, created_at)
SELECT '', c.id, NULL, f.id, 'pool', 100, 0, 100, 40, 0, 0, false, false, false, false, false, 'month', 1,
  %(now)s::timestamptz - interval '31 days' - n * interval '100 milliseconds', false, %(now)s
FROM generate_series(1, %(rows)s) n
JOIN entities_customer c ON c.external_id = 'scattered_' || (n %% 1000)
JOIN plans_feature f ON f.slug = 'requests'
RETURNING id, customer_id, granted, usage, created_at
)
INSERT INTO billing_ledgerentry (balance_id, customer_id, kind, at, granted, usage, held, expired, actor, request_id,
  reason)
SELECT id, customer_id, 'grant', created_at, granted, usage, 0, 0, 'bench', '', '' FROM made
"""
_MAKE_DUE = f"""
UPDATE billing_balance SET usage = 40, next_reset_at = %(now)s::timestamptz - interval '1 second'
WHERE included = 100 AND {ledger.EXPLAINED}
"""
# The least that a reset could be: no calendar, no order, no look at plans; entries are written all the same.
_ONE_BIG_UPDATE = f"""
WITH moved AS (
  UPDATE billing_balance SET granted = included, usage = 0, next_reset_at = next_reset_at + interval '1 month'
  WHERE next_reset_at <= %(at)s AND ended_at IS NULL AND included = 100 AND {ledger.EXPLAINED}
  RETURNING id, customer_id, entity_id
)
INSERT INTO billing_ledgerentry (balance_id, customer_id, entity_id, kind, at, granted, usage, held, expired,
  boundary_at, actor, request_id, reason)
SELECT id, customer_id, entity_id, 'reset', %(at)s, 0, -40, 0, 0, %(at)s::timestamptz - interval '1 hour', 'bench', '',
  ''
FROM moved
"""
_TRACK = f"""
UPDATE billing_balance SET usage = usage + 1 WHERE id = (
  SELECT b.id FROM billing_balance b JOIN entities_entity e ON e.id = b.entity_id
  WHERE e.customer_id = (SELECT id FROM entities_customer WHERE external_id = 'hot') LIMIT 1)
  AND {ledger.EXPLAINED}
"""


def run(dsn: str, *, rows: int, rounds: int) -> None:
    """Print rows per second of both, in turns."""
    now = clock.now()
    _execute(_FILL, now=now, rows=rows)
    rates: dict[str, list[float]] = {"big": [], "ours": []}
    with _tracks(dsn):
        for turn in range(rounds):
            # Another instant each time: an entry per balance and boundary is unique.
            at = now + timedelta(seconds=2 * turn)
            rates["big"].append(rows / _seconds(partial(_execute, _ONE_BIG_UPDATE, at=at), now=at))
            rates["ours"].append(rows / _seconds(partial(_sweep, at), now=at + timedelta(seconds=1)))
    big, ours = median(rates["big"]), median(rates["ours"])
    print(f"\nResets of {rows} balances, with ledger entries, while tracks go on; rows per second\n")  # noqa: T201
    print("| one big UPDATE | ours | ratio |\n| --- | --- | --- |")  # noqa: T201
    print(f"| {big:.0f} | {ours:.0f} | {ours / big:.0%} |")  # noqa: T201


def _sweep(at: datetime) -> None:
    while resets.sweep(at=at + timedelta(seconds=1), actor=Actor("bench"), limit=_BATCH):
        pass


def _seconds(work: Callable[[], None], *, now: datetime) -> float:
    _execute(_MAKE_DUE, now=now)
    _execute("VACUUM ANALYZE billing_balance")
    _execute("CHECKPOINT")
    started = perf_counter()
    work()
    return perf_counter() - started


def _execute(statement: str, **parameters: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters or None)


@contextmanager
def _tracks(dsn: str) -> Iterator[None]:
    """Something else that writes meanwhile, at the same pace for both."""
    stop = threading.Event()

    def track() -> None:
        with psycopg.connect(dsn, autocommit=True) as own:
            while not stop.wait(0.005):
                own.execute(_TRACK)

    thread = threading.Thread(target=track)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
