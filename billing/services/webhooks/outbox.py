"""What there is to tell is written down where it happens, in the same transaction: told if that commits, or not at all.

Whoever commits it wakes the sender of its process (billing.services.webhooks.sending); who dies before leaves the
message to `run_due`.
"""

import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from django.db import connection, transaction

from billing.models import WebhookType
from billing.services.webhooks import sending
from billing.services.webhooks.listening import LISTENS, is_told
from config import clock
from config.api import encode

# One statement: who listens is the same for the message and for its deliveries, and a cause that was told is not told
# again, whoever else is just telling it.
_WRITE = """
WITH heard AS (
  SELECT w.id FROM billing_webhookendpoint w WHERE {whom}
), message AS (
  INSERT INTO billing_webhookmessage (public_id, type, body, cause, customer_id, created_at)
  SELECT %(public_id)s::text, %(type)s::text, %(body)s::text, %(cause)s::text, %(customer)s::bigint,
    %(now)s::timestamptz
  WHERE EXISTS (SELECT FROM heard)
  ON CONFLICT (cause) DO NOTHING
  RETURNING id
)
INSERT INTO billing_webhookdelivery (message_id, endpoint_id, status, attempts, next_attempt_at)
SELECT message.id, heard.id, 'pending', 0, %(now)s::timestamptz FROM message, heard
"""
_TO_ALL = _WRITE.format(whom=LISTENS.format(kind="%(type)s::text"))
_TO_ONE = _WRITE.format(whom="w.id = %(endpoint)s")


def is_heard(kind: WebhookType) -> bool:
    """Whether some endpoint is told what is of this kind."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {is_told(kind)}")
        return bool(cursor.fetchone()[0])


def write(
    kind: WebhookType,
    data: Mapping[str, Any],
    *,
    cause: str,
    at: datetime,
    customer_pk: int | None = None,
    endpoint_pk: int | None = None,
) -> int:
    """Write a message for every endpoint that listens (or for one), once per `cause`; returns for how many.

    `at` is when it happened, in the customer's time; what is sent says so.
    """
    body = encode({"type": kind.value, "timestamp": _iso(at), "data": data}).decode()
    parameters = {
        "public_id": f"msg_{secrets.token_hex(12)}",
        "type": kind.value,
        "body": body,
        "cause": cause,
        "customer": customer_pk,
        "now": clock.now(),
        "endpoint": endpoint_pk,
    }
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_TO_ALL if endpoint_pk is None else _TO_ONE, parameters)
        told: int = cursor.rowcount
        if told:
            transaction.on_commit(sending.wake, robust=True)
    return told


def _iso(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
