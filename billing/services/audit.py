"""Proving the books: what every balance, hold and seat count should be according to the ledger, and what disagrees."""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.db import connection, transaction
from django.db.models import Max

from billing.models import Balance, LedgerEntry
from billing.services.balances import ledger
from config.actor import Actor

BATCH = 20_000


@dataclass(frozen=True, slots=True)
class Disagreement:
    """One balance that is not what it should be: which of its numbers, what it shows and what it should show."""

    kind: str
    balance_id: int
    customer_id: str
    feature_id: str
    number: str
    shown: Decimal
    expected: Decimal

    def __str__(self) -> str:
        return (
            f"{self.kind}: balance {self.balance_id} ({self.feature_id} of {self.customer_id}) shows {self.number} "
            f"{self.shown.normalize():f}, should be {self.expected.normalize():f}"
        )


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the proof has come: balances up to `done` of `last` (by key), and what this batch found."""

    done: int
    last: int
    found: list[Disagreement]


# Each row is a balance in a range of keys with a number that disagrees.
_LEDGER = """
SELECT b.id, c.external_id, f.slug, n.number, n.shown, n.expected
FROM billing_balance b
JOIN entities_customer c ON c.id = b.customer_id
JOIN plans_feature f ON f.id = b.feature_id
LEFT JOIN LATERAL (
  SELECT COALESCE(sum(e.granted), 0) AS granted, COALESCE(sum(e.usage), 0) AS usage, COALESCE(sum(e.held), 0) AS held,
    COALESCE(sum(e.expired), 0) AS expired
  FROM billing_ledgerentry e WHERE e.balance_id = b.id
) s ON true
CROSS JOIN LATERAL (VALUES ('granted', b.granted, s.granted), ('usage', b.usage, s.usage), ('held', b.held, s.held),
  ('expired', b.expired, s.expired)) AS n(number, shown, expected)
WHERE b.id > %s AND b.id <= %s AND n.shown <> n.expected
ORDER BY b.id, n.number
"""

_HOLDS = """
SELECT b.id, c.external_id, f.slug, 'held', b.held, s.held
FROM billing_balance b
JOIN entities_customer c ON c.id = b.customer_id
JOIN plans_feature f ON f.id = b.feature_id
CROSS JOIN LATERAL (
  SELECT COALESCE(sum(p.amount), 0) AS held FROM billing_holdpart p JOIN billing_hold h ON h.id = p.hold_id
  WHERE p.balance_id = b.id AND h.status = 'held' AND p.cleared_at IS NULL AND p.amount > 0
) s
WHERE b.id > %s AND b.id <= %s AND b.held <> s.held
ORDER BY b.id
"""

# A live seat balance counts the entities there are, the vacated seats kept until the renewal, and what was tracked or
# set by hand on it.
_SEATS = """
SELECT b.id, c.external_id, f.slug, 'usage', b.usage, s.entities + s.vacated + s.by_hand
FROM billing_balance b
JOIN entities_customer c ON c.id = b.customer_id
JOIN plans_feature f ON f.id = b.feature_id AND f.type = 'metered' AND NOT f.consumable
CROSS JOIN LATERAL (
  SELECT
    (SELECT count(*) FROM entities_entity n
      WHERE n.customer_id = b.customer_id AND n.feature_id = b.feature_id AND n.deleted_at IS NULL) AS entities,
    (SELECT count(*) FROM billing_vacatedseat v WHERE v.item_id = b.item_id AND v.closed_at IS NULL) AS vacated,
    (SELECT COALESCE(sum(e.usage), 0) FROM billing_ledgerentry e
      WHERE e.balance_id = b.id AND e.kind IN ('usage', 'refund', 'adjustment', 'transfer')) AS by_hand
) s
WHERE b.id > %s AND b.id <= %s AND b.level = 'pool' AND b.ended_at IS NULL AND b.subscription_id IS NOT NULL
  AND b.usage <> s.entities + s.vacated + s.by_hand
ORDER BY b.id
"""

# A pool of licences counts those that entities hold.
_LICENSES = """
SELECT b.id, c.external_id, f.slug, 'usage', b.usage, s.assigned
FROM billing_balance b
JOIN entities_customer c ON c.id = b.customer_id
JOIN plans_feature f ON f.id = b.feature_id AND f.type = 'license'
CROSS JOIN LATERAL (
  SELECT count(*) AS assigned FROM billing_subscription u
  WHERE u.license_item_id = b.item_id AND u.status IN ('active', 'past_due')
) s
WHERE b.id > %s AND b.id <= %s AND b.ended_at IS NULL AND b.usage <> s.assigned
ORDER BY b.id
"""

# What the tallies of the entities' balances say beside what these balances hold, by kind; both in one snapshot.
_KIND = "customer_id, feature_id, level, item_id, is_rollover, expires_at, unlimited, allows_overage, max_overage"
_SUMS = ("count", "prepaid", "granted", "usage", "held", "expired", "remaining")
_BESIDE = f"""
SELECT {_KIND}, {", ".join(f"sum(shown_{name}) AS shown_{name}, sum({name}) AS {name}" for name in _SUMS)}
FROM (
  SELECT customer_id, feature_id, level, CASE WHEN level = 'slice' THEN item_id END AS item_id,
    rolled_over_from_id IS NOT NULL AS is_rollover, expires_at, unlimited, allows_overage, max_overage,
    1 AS count, prepaid, granted, usage, held, expired, greatest(granted - usage - held - expired, 0) AS remaining,
    {", ".join(f"0 AS shown_{name}" for name in _SUMS)}
  FROM billing_balance WHERE level <> 'pool' AND ended_at IS NULL {{only}}
  UNION ALL
  SELECT {_KIND}, {", ".join(f"0 AS {name}" for name in _SUMS)}, {", ".join(_SUMS)}
  FROM billing_balancetally WHERE true {{only}}
) AS both_sides
GROUP BY {_KIND}
HAVING ({", ".join(f"sum(shown_{name})" for name in _SUMS)}) <> ({", ".join(f"sum({name})" for name in _SUMS)})
"""
_TALLIES = f"""
SELECT (SELECT min(b.id) FROM billing_balance b WHERE b.customer_id = d.customer_id AND b.feature_id = d.feature_id),
  c.external_id, f.slug, n.number, n.shown, n.expected
FROM ({_BESIDE.format(only="")}) d
JOIN entities_customer c ON c.id = d.customer_id
JOIN plans_feature f ON f.id = d.feature_id
CROSS JOIN LATERAL (VALUES {", ".join(f"('{name}', d.shown_{name}, d.{name})" for name in _SUMS)})
  AS n(number, shown, expected)
WHERE n.shown <> n.expected
ORDER BY 1, n.number
"""
_RECOUNT = f"""
INSERT INTO billing_balancetally ({_KIND}, {", ".join(_SUMS)})
SELECT {_KIND}, {", ".join(f"{name} - shown_{name}" for name in _SUMS)}
FROM ({_BESIDE.format(only="AND customer_id = %(customer)s AND feature_id = %(feature)s")}) d
"""

LEDGER, HOLDS, SEATS, LICENSES, TALLIES = "ledger", "holds", "seats", "licenses", "tallies"
_PROOFS = {LEDGER: _LEDGER, HOLDS: _HOLDS, SEATS: _SEATS, LICENSES: _LICENSES}


def prove(*, batch: int = BATCH) -> Iterator[Progress]:
    """Go through every balance in batches, in bounded memory; yields what each batch found."""
    last = Balance.objects.aggregate(last=Max("pk"))["last"] or 0
    done = 0
    while done < last:
        until = min(done + batch, last)
        yield Progress(until, last, [d for kind in _PROOFS for d in _disagreements(kind, done, until)])
        done = until
    with connection.cursor() as cursor:
        cursor.execute(_TALLIES)
        yield Progress(last, last, [Disagreement(TALLIES, *row) for row in cursor.fetchall()])


def newest(*, balances: int) -> list[Disagreement]:
    """What disagrees among the newest balances only: quick enough for a page; `prove` goes through all."""
    last = Balance.objects.aggregate(last=Max("pk"))["last"] or 0
    return [d for kind in _PROOFS for d in _disagreements(kind, max(last - balances, 0), last)]


def repair(disagreement: Disagreement, *, actor: Actor) -> None:
    """Bring one number back into agreement by adding an entry; nothing is ever edited or removed.

    Where row and entries disagree, the row is what was shown and acted on: an entry explains the difference. Where a
    hold or a seat count is off, an entry moves the row to what it should be. Tallies are no books but sums of balances:
    a summand makes up what they lack.
    """
    with transaction.atomic():
        rows = Balance.objects.select_related("customer").select_for_update(of=("self",))
        balance = rows.get(pk=disagreement.balance_id)
        if disagreement.kind == TALLIES:
            with connection.cursor() as cursor:
                cursor.execute(_RECOUNT, {"customer": balance.customer_id, "feature": balance.feature_id})
            return
        at = balance.customer.clock_at or balance.created_at
        difference = disagreement.expected - disagreement.shown
        if disagreement.kind == LEDGER:
            LedgerEntry.objects.create(
                balance=balance,
                customer_id=balance.customer_id,
                entity_id=balance.entity_id,
                kind=LedgerEntry.Kind.CORRECTION,
                at=at,
                actor=actor.name,
                reason="Repair: the entries did not explain the balance",
                **{disagreement.number: -difference},
            )
            return
        kind = LedgerEntry.Kind.RELEASE if disagreement.kind == HOLDS else LedgerEntry.Kind.SEAT
        moved: dict[str, Any] = {disagreement.number: difference}
        change = ledger.Change(balance.pk, kind, reason=f"Repair: {disagreement.kind} recounted", **moved)
        ledger.record([change], at=at, actor=actor)


def _disagreements(kind: str, after: int, until: int) -> list[Disagreement]:
    with connection.cursor() as cursor:
        cursor.execute(_PROOFS[kind], [after, until])
        return [Disagreement(kind, *row) for row in cursor.fetchall()]
