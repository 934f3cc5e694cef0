"""One change of plans, seats or clock at a time for each customer: calls queue, across processes (decisions 5)."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager

from django.db import connection

from entities.errors import CustomerNotFound, EntityNotFound
from entities.models import Customer, Entity

# First key of the advisory lock; the second is the customer. It tells these locks from any others in the database.
_NAMESPACE = 7_215
_LARGEST = 2**31


@contextmanager
def customer(customer: Customer) -> Iterator[None]:
    """Hold this customer's turn for the block; waits for the call before, at most `lock_timeout` (429 from then on).

    The lock belongs to the database session, not to a transaction, because billing speaks to the processor between
    transactions; it is gone with the connection when the process dies. Entering it again in the same thread is free.
    Within a transaction it lasts until that ends.
    """
    keys = [_NAMESPACE, customer.pk % _LARGEST]
    if connection.in_atomic_block:
        _execute("SELECT pg_advisory_xact_lock(%s::int, %s::int)", keys)
        yield
        return
    _execute("SELECT pg_advisory_lock(%s::int, %s::int)", keys)
    try:
        yield
    finally:
        _execute("SELECT pg_advisory_unlock(%s::int, %s::int)", keys)


@contextmanager
def still_there(payer: Customer, *entities: int | None) -> Iterator[None]:
    """Hold the turn for a call that found its customer, and these entities (keys), before its turn came.

    Raises CustomerNotFound or EntityNotFound if the call before it deleted one of them: a seat is given back once, and
    nothing is sold to who has left. Upkeep (renewals, webhooks) takes `customer`, as it may concern the deleted.
    """
    with customer(payer):
        if not Customer.objects.live().filter(pk=payer.pk).exists():
            raise CustomerNotFound(payer.external_id)
        left = (
            Entity.objects.filter(pk__in=[key for key in entities if key is not None]).exclude(deleted_at=None).first()
        )
        if left is not None:
            raise EntityNotFound(left.external_id)
        yield


@contextmanager
def customers(keys: Collection[int]) -> Iterator[set[int]]:
    """Hold the turns of those of these customers (by key) who are free, without waiting for the others; says whose."""
    within = connection.in_atomic_block
    taken = _take("pg_try_advisory_xact_lock" if within else "pg_try_advisory_lock", keys)
    try:
        yield {key for key, is_taken in taken if is_taken}
    finally:
        if not within:
            _take("pg_advisory_unlock", [key for key, is_taken in taken if is_taken])


def _take(function: str, keys: Collection[int]) -> list[tuple[int, bool]]:
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT key, {function}(%s::int, (key %% %s)::int) FROM unnest(%s::bigint[]) AS key",
            [_NAMESPACE, _LARGEST, sorted(keys)],
        )
        return list(cursor.fetchall())


def _execute(statement: str, keys: list[int]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, keys)
