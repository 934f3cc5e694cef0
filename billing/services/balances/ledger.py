"""The only way to change a balance: its row and the ledger entry that explains the change, together.

Both are written by one statement (`record`) or in one transaction (`open_balances`), so the entries of a balance always
sum to its row. Callers hold the row lock or the customer lock.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db import connection

from billing.models import Balance, LedgerEntry
from config.actor import Actor

ZERO = Decimal(0)
Kind = LedgerEntry.Kind

# In the condition of each UPDATE that moves balances: its statement writes the entries as well. The database refuses
# any other (migration billing_balance_explained), in the same transaction too.
EXPLAINED = "(SELECT set_config('subledger.explained', statement_timestamp()::text, true)) IS NOT NULL"


@dataclass(frozen=True, slots=True)
class Change:
    """A change of one balance: the four deltas, and why."""

    balance_id: int
    kind: LedgerEntry.Kind
    granted: Decimal = ZERO
    usage: Decimal = ZERO
    held: Decimal = ZERO
    expired: Decimal = ZERO
    event_id: int | None = None
    hold_id: int | None = None
    operation_id: int | None = None
    boundary_at: datetime | None = None
    reason: str = ""


_RECORD = f"""
WITH change AS (
  SELECT * FROM unnest(
    %(balance)s::bigint[], %(kind)s::text[], %(granted)s::numeric[], %(usage)s::numeric[], %(held)s::numeric[],
    %(expired)s::numeric[], %(event)s::bigint[], %(hold)s::bigint[], %(operation)s::bigint[],
    %(boundary)s::timestamptz[], %(reason)s::text[]
  ) AS c(balance_id, kind, granted, usage, held, expired, event_id, hold_id, operation_id, boundary_at, reason)
), total AS (
  SELECT balance_id, sum(granted) AS granted, sum(usage) AS usage, sum(held) AS held, sum(expired) AS expired
  FROM change GROUP BY balance_id
), moved AS (
  UPDATE billing_balance b
  SET granted = b.granted + t.granted, usage = b.usage + t.usage, held = b.held + t.held,
    expired = b.expired + t.expired
  FROM total t WHERE b.id = t.balance_id AND {EXPLAINED}
  RETURNING b.id, b.customer_id, b.entity_id
)
INSERT INTO billing_ledgerentry (balance_id, customer_id, entity_id, kind, at, granted, usage, held, expired, event_id,
  hold_id, operation_id, boundary_at, actor, request_id, reason)
SELECT m.id, m.customer_id, m.entity_id, c.kind, %(at)s, c.granted, c.usage, c.held, c.expired, c.event_id, c.hold_id,
  c.operation_id, c.boundary_at, %(actor)s, %(request)s, c.reason
FROM change c JOIN moved m ON m.id = c.balance_id
"""


def record(changes: Sequence[Change], *, at: datetime, actor: Actor) -> None:
    """Move the balances and write an entry for each change, in one statement; several may concern one balance."""
    if not changes:
        return
    with connection.cursor() as cursor:
        cursor.execute(
            _RECORD,
            {
                "balance": [c.balance_id for c in changes],
                "kind": [str(c.kind) for c in changes],
                "granted": [c.granted for c in changes],
                "usage": [c.usage for c in changes],
                "held": [c.held for c in changes],
                "expired": [c.expired for c in changes],
                "event": [c.event_id for c in changes],
                "hold": [c.hold_id for c in changes],
                "operation": [c.operation_id for c in changes],
                "boundary": [c.boundary_at for c in changes],
                "reason": [c.reason for c in changes],
                "at": at,
                "actor": actor.name,
                "request": actor.request_id,
            },
        )


def open_balances(
    balances: Sequence[Balance],
    *,
    at: datetime,
    actor: Actor,
    kind: LedgerEntry.Kind = Kind.GRANT,
    reason: str = "",
    operation_id: int | None = None,
) -> list[Balance]:
    """Create balances together with the entries that open them."""
    created = Balance.objects.bulk_create(balances, batch_size=2000)
    LedgerEntry.objects.bulk_create(
        [
            LedgerEntry(
                balance=balance,
                customer_id=balance.customer_id,
                entity_id=balance.entity_id,
                kind=kind,
                at=at,
                granted=balance.granted,
                usage=balance.usage,
                held=balance.held,
                expired=balance.expired,
                operation_id=operation_id,
                actor=actor.name,
                request_id=actor.request_id,
                reason=reason,
            )
            for balance in created
        ],
        batch_size=2000,
    )
    return created
