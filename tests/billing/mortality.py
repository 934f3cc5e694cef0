"""Killing a process at a chosen step: after any call to the processor that does something, and after any commit.

Dying within a transaction is dying after the step before it: it is rolled back. All of it happens in the transaction
of a test, where a savepoint stands for each transaction, so that `again` can tell the same story with another end.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection, transaction

from billing.processors import registry
from billing.services.balances import plain

_ALLOWED_WHEN_DEAD = ("ROLLBACK", "RELEASE", "SAVEPOINT", "SELECT PG_ADVISORY_UNLOCK")
_WRITES = ("INSERT", "UPDATE", "DELETE", "WITH")
_READS = {"payment_method", "invoice", "invoice_by_key", "session", "credit", "subscriptions", "expect_renewal"}


class Killed(BaseException):
    """The process is gone: nothing catches it, and nothing it would still do has any effect."""


class Doom:
    """Counts steps, and kills at the `at`th; None lets the process live. `steps` says what they were."""

    def __init__(self, at: int | None) -> None:
        self.at, self.steps, self.is_dead = at, list[str](), False
        self.is_outside = False  # at work on the other side of the wire
        self.has_written = False  # in the transaction that is open

    def step(self, what: str) -> None:
        self.check()
        if len(self.steps) == self.at:
            self.is_dead = True
        self.steps.append(what)
        self.check()

    def check(self) -> None:
        if self.is_dead:
            raise Killed(self.steps[-1])


class _Processor:
    """The sandbox processor, on the other side of a wire that can be cut; what it does itself is always finished."""

    def __init__(self, real: Any, doom: Doom) -> None:
        self._real, self._doom = real, doom

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._real, name)
        if not callable(found):
            return found

        def call(*args: Any, **kwargs: Any) -> Any:
            self._doom.check()
            self._doom.is_outside = True
            try:
                answer = found(*args, **kwargs)
            finally:
                self._doom.is_outside = False
            if name not in _READS:
                self._doom.step(f"after {name}")
            return answer

        return call


@contextmanager
def doomed(at: int | None) -> Iterator[Doom]:
    """Run the block as a process that dies at its `at`th step; the block ends there without a word."""
    doom, sandbox, commit = Doom(at), registry._sandbox, connection.savepoint_commit
    outermost = len(connection.savepoint_ids)

    def is_open() -> bool:
        return len(connection.savepoint_ids) > outermost

    def execute(run: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        words = sql.lstrip().upper()
        if doom.is_outside or words.startswith(_ALLOWED_WHEN_DEAD):
            return run(sql, params, many, context)
        doom.check()
        answer = run(sql, params, many, context)
        if words.startswith(_WRITES):
            doom.has_written = True
            if not is_open():
                wrote("a write")
        return answer

    def wrote(what: str) -> None:
        has_written, doom.has_written = doom.has_written, False
        if has_written:
            doom.step(f"after {what}")

    def committed(savepoint: str) -> None:
        if doom.is_dead and not doom.is_outside:
            connection.savepoint_rollback(savepoint)
            doom.check()
        commit(savepoint)
        if not doom.is_outside and not is_open():
            wrote("a commit")

    registry._sandbox = _Processor(sandbox, doom)  # type: ignore[assignment]
    connection.savepoint_commit = committed  # type: ignore[assignment,method-assign]
    try:
        with connection.execute_wrapper(execute):
            yield doom
    except Killed:
        pass
    finally:
        registry._sandbox = sandbox
        connection.savepoint_commit = commit  # type: ignore[method-assign]


@contextmanager
def again() -> Iterator[None]:
    """What happens in the block has not happened afterwards, and nobody remembers it."""
    before = transaction.savepoint_create()
    yield
    transaction.savepoint_rollback(before)
    plain.forget()
    transaction.savepoint_commit(before)
