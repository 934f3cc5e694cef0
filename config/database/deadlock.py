"""Two transactions that wait for each other: PostgreSQL undoes one of them, which then begins again."""

from collections.abc import Callable

import psycopg
from django.db import OperationalError, connection

TRIES = 5


def begin_again[Result](work: Callable[[], Result]) -> Result:
    """What `work` gives; done once more each time a deadlock undid it.

    For work that is one transaction, or that can be repeated. Within a transaction that is not for us to repeat.
    """
    for _ in range(TRIES - 1):
        try:
            return work()
        except OperationalError as problem:
            is_deadlock = isinstance(problem.__cause__, psycopg.errors.DeadlockDetected)
            if not is_deadlock or connection.in_atomic_block:
                raise
    return work()
