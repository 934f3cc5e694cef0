"""The few statements that calls are made of, past everything that Django does around a cursor."""

import re
import threading
from collections.abc import Mapping
from functools import cache
from typing import Any

import psycopg
from django.db import DEFAULT_DB_ALIAS, connections
from psycopg.types.datetime import TimestamptzLoader

_kept = threading.local()
_PLACEHOLDER = re.compile(r"%\((\w+)\)s|%%")


def rows(statement: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """The rows that a statement gives: planned once per connection, read through one cursor that is kept.

    The statement is one of the few constants of the program, with `%(name)s` for its parameters. Whoever watches
    Django's queries (debug, tests) sees these too.
    """
    database = connections[DEFAULT_DB_ALIAS]  # looked up once: django.db.connection looks it up at each use
    if database.queries_logged or database.execute_wrappers:
        with database.cursor() as watched:
            watched.execute(statement, parameters)
            return list(watched.fetchall())
    database.close_if_health_check_failed()
    database.ensure_connection()
    database.validate_no_broken_transaction()
    numbered, names = _numbered(statement)
    values = [parameters[name] for name in names]
    with database.wrap_database_errors:
        return _cursor(database.connection).execute(numbered, values, prepare=True).fetchall()


@cache
def _numbered(statement: str) -> tuple[bytes, list[str]]:
    """As PostgreSQL has it, with `$1` for the first of the names; the driver would read long statements every time."""
    names = list(dict.fromkeys(_PLACEHOLDER.findall(statement.replace("%%", ""))))

    def number(found: re.Match[str]) -> str:
        return f"${names.index(found[1]) + 1}" if found[1] else "%"

    return _PLACEHOLDER.sub(number, statement).encode(), names


def _cursor(raw: psycopg.Connection[Any]) -> psycopg.RawCursor[Any]:
    """The cursor of this thread's connection. A new one would learn the columns' types anew at each statement."""
    cursor: psycopg.RawCursor[Any] | None = getattr(_kept, "cursor", None)
    if cursor is None or cursor.connection is not raw or cursor.closed:
        cursor = _kept.cursor = psycopg.RawCursor(raw)
        # Sessions are in UTC: the driver's own reader gives what Django's would, without Python in between.
        cursor.adapters.register_loader("timestamptz", TimestamptzLoader)
    return cursor
