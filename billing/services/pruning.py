"""Letting go of what is old, so that the tables do not grow without bound. The books stay provable throughout.

Everything goes in batches, each a transaction of its own: a prune that is killed goes on where it stopped. The ledger
and the events are append-only (billing/migrations: billing_append_only); only here the guard is lifted, for the
transaction at hand.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection, transaction
from django.db.models import Count, Exists, Max, OuterRef, QuerySet

from billing.models import (
    Approval,
    Balance,
    BulkJob,
    BulkRow,
    CheckTally,
    LedgerEntry,
    ProcessorEvent,
    Refusal,
    UsageCounter,
    UsageEvent,
    WebhookDelivery,
    WebhookMessage,
)

BATCH = 5_000
# A yearly window of a usage limit may still be read this long after it began.
LONGEST_WINDOW = timedelta(days=2 * 366)


@dataclass(frozen=True, slots=True)
class Pruned:
    """What a prune took away, or would take away."""

    events: int = 0
    entries: int = 0
    counters: int = 0
    bodies: int = 0
    rows: int = 0
    checks: int = 0
    approvals: int = 0
    webhooks: int = 0


def count(
    *,
    events_before: datetime,
    entries_before: datetime,
    bodies_before: datetime,
    approvals_before: datetime,
    at: datetime,
) -> Pruned:
    """What `prune` would take away; changes nothing."""
    many = LedgerEntry.objects.filter(at__lt=entries_before).values("balance").annotate(n=Count("pk")).filter(n__gt=1)
    return Pruned(
        events=UsageEvent.objects.filter(pk__lt=_first_event_to_keep(events_before)).count(),
        entries=sum(n - 1 for n in many.values_list("n", flat=True).iterator()),
        counters=UsageCounter.objects.filter(window_start__lt=at - LONGEST_WINDOW).count(),
        bodies=_old_bodies(bodies_before).count(),
        rows=_old_rows(bodies_before).count(),
        checks=sum(rows.count() for rows in _old_traffic(events_before)),
        approvals=_old_approvals(approvals_before).count(),
        webhooks=_old_webhooks(bodies_before).count(),
    )


def prune_events(*, before: datetime, batch: int = BATCH) -> Iterator[int]:
    """Remove the events recorded before an instant, oldest first; yields how many went with each batch."""
    keep_from = _first_event_to_keep(before)
    while True:
        with transaction.atomic(), connection.cursor() as cursor:
            _lift_guard()
            cursor.execute(
                """DELETE FROM billing_usageevent WHERE id = ANY(ARRAY(
                  SELECT id FROM billing_usageevent WHERE id < %s ORDER BY id LIMIT %s))""",
                [keep_from, batch],
            )
            if not cursor.rowcount:
                return
            gone = cursor.rowcount
        yield gone


# The newest of a balance's old entries becomes the sum of them all, the others go. What was set or tracked by hand on a
# standing count (seats) is summed apart: the proof of the seats needs it.
_FOLD = """
WITH old AS (
  SELECT e.id, e.balance_id, e.granted, e.usage, e.held, e.expired,
    NOT f.consumable AND f.type = 'metered' AND e.kind IN ('usage', 'refund', 'adjustment', 'transfer') AS by_hand
  FROM billing_ledgerentry e
  JOIN billing_balance b ON b.id = e.balance_id
  JOIN plans_feature f ON f.id = b.feature_id
  WHERE e.balance_id > %(after)s AND e.balance_id <= %(until)s AND e.at < %(before)s
), folded AS (
  SELECT balance_id, by_hand, max(id) AS id, count(*) AS count, sum(granted) AS granted, sum(usage) AS usage,
    sum(held) AS held, sum(expired) AS expired
  FROM old GROUP BY balance_id, by_hand HAVING count(*) > 1
), kept AS (
  UPDATE billing_ledgerentry e
  SET kind = CASE WHEN f.by_hand THEN 'adjustment' ELSE 'closing' END, granted = f.granted, usage = f.usage,
    held = f.held, expired = f.expired, event_id = NULL, hold_id = NULL, operation_id = NULL, boundary_at = NULL,
    actor = 'prune', request_id = '', reason = f.count || ' older entries, carried forward'
  FROM folded f WHERE e.id = f.id
), gone AS (
  DELETE FROM billing_ledgerentry e USING old o, folded f
  WHERE e.id = o.id AND f.balance_id = o.balance_id AND f.by_hand = o.by_hand AND e.id <> f.id
  RETURNING 1
)
SELECT count(*) FROM gone
"""


def fold_entries(*, before: datetime, batch: int = BATCH) -> Iterator[int]:
    """Fold each balance's entries from before an instant into one; yields how many went with each batch of balances.

    The entries of a balance sum to its row as before. Rows that change meanwhile only ever get new entries.
    """
    last = Balance.objects.aggregate(last=Max("pk"))["last"] or 0
    for after in range(0, last, batch):
        with transaction.atomic(), connection.cursor() as cursor:
            _lift_guard()
            cursor.execute(_FOLD, {"after": after, "until": after + batch, "before": before})
            gone: int = cursor.fetchone()[0]
        yield gone


def prune_counters(*, at: datetime) -> int:
    """Remove the counters of usage limits whose window is long over; returns how many."""
    gone, _ = UsageCounter.objects.filter(window_start__lt=at - LONGEST_WINDOW).delete()
    return gone


def prune_traffic(*, before: datetime) -> int:
    """Remove how many checks there were in hours before an instant, and who was refused; returns how many rows."""
    return sum(rows.delete()[0] for rows in _old_traffic(before))


def _old_traffic(before: datetime) -> tuple[QuerySet[CheckTally], QuerySet[Refusal]]:
    return CheckTally.objects.filter(hour__lt=before), Refusal.objects.filter(last_at__lt=before)


def empty_bodies(*, before: datetime) -> int:
    """Forget what processed events of the payment processor said; their ids stay, so that repeats are recognised."""
    return _old_bodies(before).update(body="")


def remove_rows(*, before: datetime, batch: int = BATCH) -> Iterator[int]:
    """Forget the rows of old jobs; how many were done, and why, stays. Yields how many went with each batch.

    Jobs that nobody let run by then are over: what they were looked at for is long gone.
    """
    unwanted = BulkJob.objects.filter(started_at__lt=before, status__in=[BulkJob.Status.READY, BulkJob.Status.WAITING])
    unwanted.update(status=BulkJob.Status.STOPPED, finished_at=before)
    while keys := list(_old_rows(before).values_list("pk", flat=True)[:batch]):
        gone, _ = BulkRow.objects.filter(pk__in=keys).delete()
        yield gone


def prune_webhooks(*, before: datetime, batch: int = BATCH) -> Iterator[int]:
    """Remove what applications were told before an instant, with its attempts; what still waits to be sent stays."""
    while keys := list(_old_webhooks(before).values_list("pk", flat=True)[:batch]):
        WebhookMessage.objects.filter(pk__in=keys).delete()
        yield len(keys)


def _old_webhooks(before: datetime) -> QuerySet[WebhookMessage]:
    waiting = WebhookDelivery.objects.filter(message=OuterRef("pk"), status=WebhookDelivery.Status.PENDING)
    return WebhookMessage.objects.filter(~Exists(waiting), created_at__lt=before)


def _old_rows(before: datetime) -> QuerySet[BulkRow]:
    over = [BulkJob.Status.STOPPED, BulkJob.Status.DONE]
    return BulkRow.objects.filter(job__started_at__lt=before, job__status__in=over)


def prune_approvals(*, before: datetime) -> int:
    """Remove what was asked of a second person so long ago, decided or not; the audit log keeps that and by whom."""
    gone, _ = _old_approvals(before).delete()
    return gone


def _old_approvals(before: datetime) -> QuerySet[Approval]:
    return Approval.objects.filter(asked_at__lt=before)


def _old_bodies(before: datetime) -> QuerySet[ProcessorEvent]:
    done = (ProcessorEvent.Status.DONE, ProcessorEvent.Status.IGNORED)
    return ProcessorEvent.objects.filter(status__in=done, received_at__lt=before).exclude(body="")


def _first_event_to_keep(before: datetime) -> int:
    """Keys follow the order of recording, so everything below this one is old."""
    keep = UsageEvent.objects.filter(recorded_at__gte=before).order_by("pk").values_list("pk", flat=True).first()
    if keep is not None:
        return keep
    last: int | None = UsageEvent.objects.aggregate(last=Max("pk"))["last"]
    return (last or 0) + 1


def _lift_guard() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL subledger.pruning = 'on'")
