"""The other end of the scale: no framework, no rules, one statement. What a check and a track cost at the least.

It looks a key up in a dict, reads JSON, finds customer, entity, feature and balance by their public ids, and for a
track moves the balance and writes event and ledger entry, durably. It shares server, driver and database with ours; its
balances are a copy without our triggers.
"""

import os
import threading
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import orjson
import psycopg

_OWN = "b.entity_id = e.id"
_POOL = "b.customer_id = c.id AND b.level = 'pool'"

_FIND = """
FROM entities_customer c
JOIN entities_entity e ON e.customer_id = c.id AND e.external_id = %(entity_id)s AND e.deleted_at IS NULL
JOIN plans_feature f ON f.slug = %(feature_id)s
JOIN bare_balance b ON {match} AND b.feature_id = f.id AND b.ended_at IS NULL
WHERE c.external_id = %(customer_id)s AND c.deleted_at IS NULL
"""
_CHECK = "SELECT b.granted, b.usage, b.granted - b.usage - b.held - b.expired AS remaining" + _FIND
_TRACK = (
    """
WITH found AS (SELECT b.id, c.id AS customer, e.id AS entity, f.id AS feature"""
    + _FIND
    + """
), moved AS (
  UPDATE bare_balance b SET usage = b.usage + 1 FROM found
  WHERE b.id = found.id AND b.granted - b.usage - b.held - b.expired >= 1
  RETURNING b.id, found.customer, found.entity, found.feature, b.granted, b.usage,
    b.granted - b.usage - b.held - b.expired AS remaining
), event AS (
  INSERT INTO billing_usageevent (customer_id, entity_id, feature_id, event_name, value, properties, at, recorded_at,
    actor, request_id)
  SELECT customer, entity, feature, '', 1, '{{}}', now(), now(), 'bare', '' FROM moved RETURNING id
), entry AS (
  INSERT INTO billing_ledgerentry (balance_id, customer_id, entity_id, kind, at, granted, usage, held, expired,
    event_id, actor, request_id, reason)
  SELECT moved.id, customer, entity, 'usage', now(), 0, 1, 0, 0, event.id, 'bare', '', '' FROM moved, event
)
SELECT granted, usage, remaining FROM moved
"""
)
_STATEMENTS = {
    "/own/check": _CHECK.format(match=_OWN),
    "/own/track": _TRACK.format(match=_OWN),
    "/pool/check": _CHECK.format(match=_POOL),
    "/pool/track": _TRACK.format(match=_POOL),
}
_KEYS = {f"Bearer {os.environ.get('BENCH_KEY', '')}"}

_local = threading.local()
_read = msgspec.json.Decoder(dict[str, Any])


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer `/own/check`, `/own/track` and the same under `/pool`."""
    if environ.get("HTTP_AUTHORIZATION") not in _KEYS:
        start_response("401 Unauthorized", [("Content-Type", "application/json")])
        return [b"{}"]
    asked = _read.decode(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
    row = _connection().execute(_STATEMENTS[environ["PATH_INFO"]], asked, prepare=True).fetchone()
    if row is None:
        start_response("404 Not Found", [("Content-Type", "application/json")])
        return [b"{}"]
    granted, usage, remaining = row
    answer = {
        "allowed": remaining >= 1,
        "customer_id": asked["customer_id"],
        "entity_id": asked["entity_id"],
        "balance": {"feature_id": asked["feature_id"], "granted": granted, "usage": usage, "remaining": remaining},
    }
    body = orjson.dumps(answer, default=float)
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


def _connection() -> psycopg.Connection[Any]:
    known: psycopg.Connection[Any] | None = getattr(_local, "connection", None)
    if known is None:
        known = _local.connection = psycopg.connect(os.environ["BENCH_DATABASE"], autocommit=True)
    return known
