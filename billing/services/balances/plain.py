"""The plain track, which is nearly every track, in one statement: lock, deduct, record, answer.

Plain is: something is taken; one balance alone can pay and has enough left (or is unlimited); no control, credit
system, hold, reset or expiry has a say, and no application is to be told that nothing is left. Then all rules come to
the same: that balance gives it all. The statement does that or nothing, and whatever is not plain goes through
billing.deduction. tests/domain/test_plain.py holds the two to each other.
"""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from billing.models import LedgerEntry, WebhookType
from billing.services.balances import ledger, sources
from billing.services.balances.sources import Sources
from billing.services.balances.statements import BALANCE, HAS_NO_CONTROLS, HAS_NO_CREDITS, NOW, compact, live
from billing.services.webhooks.listening import is_told
from config.actor import Actor
from config.api import encode
from config.database import prepared

# Nothing here can be stale when it counts: what the statement waits for, it looks at again.
_TRACK = """
WITH moved AS (
  UPDATE billing_balance b SET usage = b.usage + %(value)s::numeric
  FROM (
    SELECT c.id AS customer, {now} AS at, COALESCE(c.billing_cycle_anchor, c.created_at) AS cycle_anchor,
      c.disable_pooled_balance, {entity} AS entity, f.id AS feature, f.type, f.consumable, one.id AS balance
    FROM entities_customer c
    {join_entity}
    JOIN plans_feature f ON f.slug = %(feature)s::text AND f.deleted_at IS NULL AND f.type NOT IN ('boolean', 'license')
    JOIN LATERAL (SELECT min(b.id) AS id FROM ({candidates}) b HAVING count(*) = 1) one ON true
    WHERE c.external_id = %(customer_id)s::text AND c.deleted_at IS NULL AND {has_no_controls} AND {has_no_credits}
      AND (%(happened)s::timestamptz IS NULL OR %(happened)s::timestamptz <= {now})
  ) s
  WHERE {explained} AND b.id = s.balance AND {live}
    AND (b.next_reset_at IS NULL OR b.next_reset_at > s.at) AND b.held = 0 AND NOT b.bills_at_once
    AND (b.unlimited OR b.granted - b.usage - b.held - b.expired >= %(value)s::numeric + 1
      OR (b.granted - b.usage - b.held - b.expired >= %(value)s::numeric AND NOT {hears_limits}))
  RETURNING s.customer, s.at, s.cycle_anchor, s.disable_pooled_balance, s.entity, s.feature, s.type, s.consumable,
    {balance}
), event AS (
  INSERT INTO billing_usageevent (customer_id, entity_id, feature_id, event_name, value, properties, at, recorded_at,
    actor, request_id)
  SELECT customer, entity, feature, %(event_name)s, %(value)s, %(properties)s::jsonb,
    COALESCE(%(happened)s::timestamptz, at), %(wall)s, %(actor)s, %(request)s
  FROM moved
  RETURNING id
), entry AS (
  INSERT INTO billing_ledgerentry (balance_id, customer_id, entity_id, kind, at, granted, usage, held, expired,
    event_id, actor, request_id, reason)
  SELECT moved.id, customer, entity_id, %(kind)s, at, 0, %(value)s, 0, 0, event.id, %(actor)s, %(request)s, ''
  FROM moved, event
)
SELECT event.id, moved.* FROM moved, event
"""

_LIVE = live(NOW)
_OF_ENTITY = compact(
    _TRACK.format(
        now=NOW,
        entity="e.id",
        join_entity=(
            "JOIN entities_entity e ON e.customer_id = c.id AND e.external_id = %(entity_id)s::text "
            "AND e.deleted_at IS NULL AND e.billing_controls = '{}'"
        ),
        candidates=f"""
          SELECT b.id FROM billing_balance b
          WHERE b.customer_id = c.id AND b.level = 'pool' AND b.feature_id = f.id AND {_LIVE}
          UNION ALL
          SELECT b.id FROM billing_balance b WHERE b.entity_id = e.id AND b.feature_id = f.id AND {_LIVE}
        """,
        explained=ledger.EXPLAINED,
        live=live("s.at"),
        has_no_controls=HAS_NO_CONTROLS,
        has_no_credits=HAS_NO_CREDITS,
        hears_limits=is_told(WebhookType.LIMIT_REACHED),
        balance=BALANCE,
    )
)
# At customer level what entities hold is shown, and slices pay: plain only where there is none, not even an empty one.
_OF_CUSTOMER = compact(
    _TRACK.format(
        now=NOW,
        entity="NULL::bigint",
        join_entity="",
        candidates=f"""
          (SELECT CASE WHEN b.level = 'pool' THEN b.id END AS id FROM billing_balance b
           WHERE b.customer_id = c.id AND b.feature_id = f.id AND {_LIVE} LIMIT 2)
          UNION ALL
          SELECT NULL FROM billing_subscription u JOIN billing_subscriptionitem i ON i.subscription_id = u.id
          WHERE u.customer_id = c.id AND u.entity_id IS NULL AND u.status IN ('active', 'past_due')
            AND i.entity_feature_id IS NOT NULL AND i.feature_id = f.id
        """,
        explained=ledger.EXPLAINED,
        live=live("s.at"),
        has_no_controls=HAS_NO_CONTROLS,
        has_no_credits=HAS_NO_CREDITS,
        hears_limits=is_told(WebhookType.LIMIT_REACHED),
        balance=BALANCE,
    )
)


# Subject and feature that were not plain, and how many tracks of theirs go the general way before the next try.
_Key = tuple[str, str | None, str]
_declined: dict[_Key, int] = {}
_MOST_DECLINED = 10_000
_TRIES_SPARED = 15


def track(
    *,
    customer_id: str,
    entity_id: str | None,
    feature: str,
    value: Decimal,
    properties: Mapping[str, Any],
    event_name: str,
    happened: datetime | None,
    wall: datetime,
    actor: Actor,
) -> tuple[Sources, int] | None:
    """Carry out a track if it is plain: the one balance after it, and the event's id. None: nothing was done."""
    key = (customer_id, entity_id, feature)
    if value <= 0 or _is_hopeless(key):
        return None
    found = prepared.rows(
        _OF_ENTITY if entity_id else _OF_CUSTOMER,
        {
            "customer_id": customer_id,
            "entity_id": entity_id,
            "feature": feature,
            "value": value,
            "properties": encode(dict(properties)).decode() if properties else "{}",
            "event_name": event_name,
            "happened": happened,
            "wall": wall,
            "actor": actor.name,
            "request": actor.request_id,
            "kind": LedgerEntry.Kind.USAGE.value,
        },
    )
    if not found:
        _remember(key)
        return None
    _declined.pop(key, None)
    event_id, *row = found[0]
    return sources.from_simple_rows([row], customer_id=customer_id, entity_id=entity_id, feature=feature), event_id


def forget() -> None:
    """Try everybody again, for tests that use the same ids anew."""
    _declined.clear()


def _is_hopeless(key: _Key) -> bool:
    """Whether it is not worth trying: who was not plain a moment ago seldom is now. Tried again now and then."""
    left = _declined.get(key, 0)
    if left:
        _declined[key] = left - 1
    return left > 0


def _remember(key: _Key) -> None:
    if len(_declined) >= _MOST_DECLINED:
        _declined.clear()
    _declined[key] = _TRIES_SPARED
