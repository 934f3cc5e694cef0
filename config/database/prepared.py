"""The few statements that calls are made of, past everything that Django does around a cursor."""

import threading
from collections.abc import Mapping
from typing import Any

import psycopg
from django.db import DEFAULT_DB_ALIAS, connections
from psycopg.types.datetime import TimestamptzLoader

_kept = threading.local()


def rows(statement: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """The rows that a statement gives: planned once per connection, read through one cursor that is kept.

    Keep statements below 4 096 characters: the driver reads longer ones anew each time. Whoever watches Django's
    queries (debug, tests) sees these too.
    """
    database = connections[DEFAULT_DB_ALIAS]  # looked up once: django.db.connection looks it up at each use
    if database.queries_logged or database.execute_wrappers:
        with database.cursor() as watched:
            watched.execute(statement, parameters)
            return list(watched.fetchall())
    database.close_if_health_check_failed()
    database.ensure_connection()
    database.validate_no_broken_transaction()
    with database.wrap_database_errors:
        return _cursor(database.connection).execute(statement, parameters, prepare=True).fetchall()


def _cursor(raw: psycopg.Connection[Any]) -> psycopg.Cursor[Any]:
    """The cursor of this thread's connection. A new one would learn the columns' types anew at each statement."""
    cursor: psycopg.Cursor[Any] | None = getattr(_kept, "cursor", None)
    if cursor is None or cursor.connection is not raw or cursor.closed:
        cursor = _kept.cursor = psycopg.Cursor(raw)
        # Sessions are in UTC: the driver's own reader gives what Django's would, without Python in between.
        cursor.adapters.register_loader("timestamptz", TimestamptzLoader)
    return cursor
