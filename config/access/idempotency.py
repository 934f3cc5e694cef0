"""The same request twice does its work once: the first answer is kept and given again.

Two ways to hold a key while its request runs. In one transaction with the work, where the unique index is the
lock: a copy waits for it, and a crash takes both back. Or by a lease, for work that spans several transactions.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import psycopg
from django.conf import settings
from django.db import OperationalError, connection, transaction
from django.http import HttpResponse

from config import clock
from config.access.keys import Caller
from config.access.models import IdempotentResponse
from config.errors import DomainError, InvalidInput

# Longer than any call to a processor with its retries may take.
LEASE = timedelta(minutes=2)
MAX_KEY = 255
Place = IdempotentResponse.Place

# Takes the key if it is free: never used, expired, or left behind by a request that died.
# A copy that runs at the same time waits here until the first one is through.
_CLAIM = """
INSERT INTO access_idempotentresponse AS kept
  (api_key_id, place, key, fingerprint, created_at, leased_until, status, body)
VALUES (%(owner)s, %(place)s, %(key)s, %(fingerprint)s, %(at)s, %(leased_until)s, NULL, '')
ON CONFLICT (api_key_id, place, key) DO UPDATE
SET fingerprint = excluded.fingerprint, created_at = excluded.created_at, leased_until = excluded.leased_until,
    status = NULL, body = ''
WHERE kept.created_at <= %(expired)s
   OR (kept.status IS NULL AND kept.leased_until <= %(at)s AND kept.fingerprint = excluded.fingerprint)
RETURNING id
"""


class KeyReused(DomainError):
    """The key came before with another request."""

    code = "idempotency_key_reused"
    status = 409


class InProgress(DomainError):
    """The request that brought the key first is still running."""

    code = "idempotency_in_progress"
    status = 409


class _Answered(Exception):
    """Carries a refusal that came as an answer out of the transaction, which it rolls back."""

    def __init__(self, response: HttpResponse) -> None:
        self.response = response


@dataclass(frozen=True, slots=True)
class Key:
    """A key and where it came: one in a header and the same in a body have nothing to do with each other."""

    text: str
    place: IdempotentResponse.Place

    def __str__(self) -> str:
        return repr(self.text)


def keys_of(*, header: Any, body: Any) -> list[Key]:
    """The keys that a request brings, none for empty ones. Raises InvalidInput."""
    given = [(checked_key(body), Place.BODY), (checked_key(header), Place.HEADER)]
    return [Key(text, place) for text, place in given if text]


def checked_key(text: Any) -> str:
    """The text of a key, empty for none. Raises InvalidInput."""
    if text is None:
        return ""
    if not isinstance(text, str) or len(text) > MAX_KEY:
        raise InvalidInput(f"idempotency_key must be a string of at most {MAX_KEY} characters.")
    return text


def fingerprint(method: str, path: str, body: bytes) -> bytes:
    """What tells one request from another: method, path and the body in canonical form."""
    return hashlib.sha256(b"\n".join((method.encode(), path.encode(), body))).digest()


class NeedsSteps(RuntimeError):
    """Raised by work that turns out to speak to the outside: it is begun again without a transaction around it."""


def once(
    *,
    key: Key,
    caller: Caller,
    request_id: bytes,
    work: Callable[[], HttpResponse],
    leased: bool,
    named_version: bool,
) -> HttpResponse:
    """Do `work` if `key` is new for this caller, else give the first answer again.

    `request_id` is the fingerprint. An error or an answer of 400 and above frees the key. Raises KeyReused and
    InProgress. `named_version`: the client named an API version, and such clients expect a 409 with the answer inside.
    """
    if not leased:
        try:
            return _in_one_transaction(key, caller, request_id, work, named_version)
        except NeedsSteps:
            pass  # rolled back, the key as well
    return _in_steps(key, caller, request_id, work, named_version)


def prune(*, at: datetime) -> int:
    """Delete the answers that have expired; returns how many."""
    return IdempotentResponse.objects.expired(at)._raw_delete("default")  # no cascades to look for


def _in_one_transaction(
    key: Key, caller: Caller, request_id: bytes, work: Callable[[], HttpResponse], named_version: bool
) -> HttpResponse:
    try:
        with transaction.atomic():
            row = _claim(key, caller, request_id, leased_until=None)
            if row is not None:
                response = work()
                if response.status_code >= 400:
                    raise _Answered(response)
                _keep(row, response)
                return response
    except _Answered as refusal:
        return refusal.response
    return _first_answer(key, caller, request_id, named_version)


def _in_steps(
    key: Key, caller: Caller, request_id: bytes, work: Callable[[], HttpResponse], named_version: bool
) -> HttpResponse:
    lease = clock.now() + LEASE
    row = _claim(key, caller, request_id, leased_until=lease)
    if row is None:
        return _first_answer(key, caller, request_id, named_version)
    # Only as long as the lease is ours: a copy may have taken over a key that we held too long.
    ours = IdempotentResponse.objects.filter(pk=row, status=None, leased_until=lease)
    try:
        response = work()
    except BaseException:
        ours.delete()
        raise
    if response.status_code >= 400:
        ours.delete()
    else:
        _keep(row, response, lease)
    return response


def _claim(key: Key, caller: Caller, request_id: bytes, leased_until: datetime | None) -> int | None:
    at = clock.now()
    values: dict[str, Any] = {
        "owner": caller.key_id,
        "place": key.place.value,
        "key": key.text,
        "fingerprint": request_id,
        "at": at,
        "leased_until": leased_until,
        "expired": at - IdempotentResponse.LIFETIME,
    }
    try:
        with connection.cursor() as cursor:
            cursor.execute(_CLAIM, values)
            row = cursor.fetchone()
    except OperationalError as problem:
        if isinstance(problem.__cause__, psycopg.errors.LockNotAvailable):
            raise _in_progress(key) from problem
        raise
    return row[0] if row else None


def _keep(row: int, response: HttpResponse, lease: datetime | None = None) -> None:
    IdempotentResponse.objects.filter(pk=row, leased_until=lease).update(
        status=response.status_code, body=response.content, leased_until=None
    )


def _first_answer(key: Key, caller: Caller, request_id: bytes, named_version: bool) -> HttpResponse:
    kept = IdempotentResponse.objects.filter(api_key_id=caller.key_id, place=key.place, key=key.text).first()
    if kept is None:  # freed in the meantime: the first request failed just now
        raise _in_progress(key)
    if bytes(kept.fingerprint) != request_id:
        raise KeyReused(f"The idempotency key {key} came before with another request. Use a new key for it.")
    if kept.status is None:
        raise _in_progress(key)
    if not named_version:
        return _answer(bytes(kept.body), kept.status)
    message = f"The idempotency key {key} was used before. Its first answer is in first_answer."
    error = {"message": message, "code": "duplicate_idempotency_key", "env": settings.ENVIRONMENT}
    body = json.dumps(error)[:-1].encode() + b', "first_answer": {"status": %d, "body": %b}}' % (
        kept.status,
        bytes(kept.body) or b"null",
    )
    return _answer(body, 409)


def _answer(body: bytes, status: int) -> HttpResponse:
    headers = {"Idempotent-Replayed": "true"}
    return HttpResponse(body, status=status, headers=headers, content_type="application/json")


def _in_progress(key: Key) -> InProgress:
    message = f"The first request with the idempotency key {key} is still running. Repeat it in a moment."
    return InProgress(message, headers={"Retry-After": "1"})
