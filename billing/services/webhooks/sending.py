"""Webhooks on their way: claimed by lease, posted, noted; at least once, whoever dies in between.

A process leases some deliveries, posts them with no transaction open, and notes how it went. When it dies in between,
the lease runs out and the next sender posts them again, under the same webhook-id. Two senders never hold the same one.
"""

import logging
import random
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection, transaction
from django.db.models.functions import Coalesce

from billing.models import WebhookAttempt, WebhookDelivery, WebhookEndpoint
from billing.services import background
from billing.services.webhooks import schedule, signing, transport
from billing.services.webhooks.transport import Answer
from config import clock

logger = logging.getLogger(__name__)
Status = WebhookDelivery.Status

# Longer than all of a claim can take: its attempts go side by side, and each is bounded in time.
LEASE = timedelta(minutes=2)
AT_ONCE = 8
# Of one endpoint, so that one that answers slowly leaves room for the others.
AT_ONCE_TO_ONE = 4
GONE = 410  # says that it wants no more of it


@dataclass(frozen=True, slots=True)
class _Claimed:
    """A delivery that is ours until the lease runs out."""

    pk: int
    attempts: int
    message_id: str
    body: str
    endpoint: WebhookEndpoint
    leased_until: datetime


@dataclass(slots=True)
class Sent:
    """How many attempts went through, and how many did not."""

    delivered: int = 0
    failed: int = 0


# Side by side with other senders: SKIP LOCKED passes over what they are just claiming, the lease over what they hold.
_CLAIM = """
WITH mine AS (
  SELECT due.id FROM billing_webhookendpoint w CROSS JOIN LATERAL (
    SELECT d.id, d.next_attempt_at FROM billing_webhookdelivery d
    WHERE d.endpoint_id = w.id AND d.status = 'pending' AND d.next_attempt_at <= %(now)s
      AND (d.leased_until IS NULL OR d.leased_until <= %(now)s)
    ORDER BY d.next_attempt_at, d.id LIMIT %(to_one)s FOR UPDATE SKIP LOCKED
  ) due
  WHERE w.deleted_at IS NULL AND w.disabled_at IS NULL
  ORDER BY due.next_attempt_at, due.id LIMIT %(at_once)s
)
UPDATE billing_webhookdelivery d SET leased_until = %(until)s, attempts = d.attempts + 1
FROM mine WHERE d.id = mine.id
RETURNING d.id, d.attempts
"""


def deliver_due() -> Sent:
    """Send what is due, until nothing is."""
    sent = Sent()
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="webhook") as pool:
        while claimed := _claim(clock.now()):
            # Posting alone is done side by side; the rows are this thread's.
            for delivery, answer in zip(claimed, pool.map(_post, claimed), strict=True):
                _note(delivery, answer, at=clock.now())
                sent.delivered += answer.is_success
                sent.failed += not answer.is_success
    return sent


_wanted = threading.Event()
_at_it = threading.Lock()


def wake() -> None:
    """Have this process send what is due, beside its requests; elsewhere `run_due` does."""
    # Where it is wanted already, somebody is about to look, and will see what was committed before this.
    if not background.is_server or _wanted.is_set():
        return
    _wanted.set()
    if _at_it.locked():
        return
    try:
        background.start("webhooks", _work)
    except RuntimeError:  # no thread to be had
        _wanted.clear()
        raise


def _work() -> None:
    # Whoever is at it looks again after having let go, so what was wanted in between is not left.
    while _wanted.is_set():
        if not _at_it.acquire(blocking=False):
            return
        try:
            _wanted.clear()
            deliver_due()
        except Exception:
            logger.exception("webhooks could not be sent; run_due tries again")
        finally:
            _at_it.release()


def _claim(now: datetime) -> list[_Claimed]:
    until = now + LEASE
    with transaction.atomic(), connection.cursor() as cursor:
        times: dict[str, datetime | int] = {"now": now, "until": until}
        cursor.execute(_CLAIM, times | {"to_one": AT_ONCE_TO_ONE, "at_once": AT_ONCE})
        found = cursor.fetchall()
    rows = WebhookDelivery.objects.select_related("message", "endpoint").in_bulk([pk for pk, _ in found])
    return [
        _Claimed(pk, attempts, rows[pk].message.public_id, rows[pk].message.body, rows[pk].endpoint, until)
        for pk, attempts in sorted(found)
    ]


def _post(delivery: _Claimed) -> Answer:
    """Runs in a thread of the pool, which has no database connection."""
    try:
        now = clock.now()
        signed = signing.headers(
            delivery.message_id, delivery.body, with_secrets=delivery.endpoint.secrets(now), at=now
        )
        return transport.post(delivery.endpoint.url, delivery.body, signed)
    except Exception as problem:
        # What nobody foresaw counts as a failed attempt, or it would be tried again and again.
        logger.exception("delivery %s", delivery.pk)
        return Answer(0, error=f"{type(problem).__name__}: {problem}"[:300])


def _note(delivery: _Claimed, answer: Answer, *, at: datetime) -> None:
    """Write down the attempt and what comes of it; that only, if the lease ran out and another sender has it."""
    waits = schedule.wait(delivery.attempts, random.random()) if answer.status != GONE else None  # noqa: S311
    with transaction.atomic():
        WebhookAttempt.objects.create(
            delivery_id=delivery.pk,
            at=at,
            took_ms=answer.took_ms,
            status_code=answer.status,
            answer=answer.body,
            error=answer.error,
        )
        ours = WebhookDelivery.objects.filter(pk=delivery.pk, leased_until=delivery.leased_until)
        endpoint = WebhookEndpoint.objects.filter(pk=delivery.endpoint.pk)
        if answer.is_success:
            ours.update(status=Status.DELIVERED, next_attempt_at=None, leased_until=None, delivered_at=at)
            endpoint.exclude(failing_since=None).update(failing_since=None)
            return
        endpoint.filter(failing_since=None).update(failing_since=at)
        if waits is None:
            ours.update(status=Status.FAILED, next_attempt_at=None, leased_until=None)
        else:
            ours.update(next_attempt_at=at + waits, leased_until=None)


def send_again(deliveries: Sequence[WebhookDelivery], *, at: datetime) -> int:
    """Send these at once, delivered or given up or waiting, with all attempts before them; returns how many.

    Left out is what is being sent just now, and what goes to an endpoint that is disabled or gone.
    """
    rows = WebhookDelivery.objects.filter(
        pk__in=[delivery.pk for delivery in deliveries], endpoint__in=WebhookEndpoint.objects.listening()
    ).annotate(held_until=Coalesce("leased_until", at))
    with transaction.atomic():
        again = rows.filter(held_until__lte=at).update(
            status=Status.PENDING, next_attempt_at=at, attempts=0, leased_until=None
        )
        transaction.on_commit(wake, robust=True)
    return again
