"""Reading the balances that a subject can draw on: one statement, whatever the number of entities.

`read` sums per breakdown row and locks nothing; `lock` gives single balances held until the transaction ends, taken in
id order so that two tracks can never wait for each other in a circle. Both raise for an unknown customer, entity or
feature.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import groupby
from typing import Any

import orjson
from django.db import connection

from billing.controls import Controls
from entities.errors import CustomerNotFound, EntityNotFound
from plans.errors import FeatureNotFound
from plans.intervals import Interval, next_boundary

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Scope:
    """The subject of a call as the database knows it, with its present and the controls that bind it."""

    customer_pk: int
    customer_id: str
    at: datetime
    cycle_anchor: datetime
    disable_pooled_balance: bool
    customer_controls: Controls
    plan_controls: list[Controls]
    entity_pk: int | None = None
    entity_id: str | None = None
    entity_controls: Controls | None = None

    def controls(self) -> dict[str, Any]:
        """The three layers, as the rules in billing.controls take them."""
        return {"entity": self.entity_controls or {}, "customer": self.customer_controls, "plans": self.plan_controls}


@dataclass(frozen=True, slots=True)
class SourceFeature:
    """A feature that can pay for the asked one: itself, or a credit system at `cost` credits a unit."""

    id: int
    slug: str
    type: str
    consumable: bool
    cost: Decimal
    is_own: bool

    @property
    def is_boolean(self) -> bool:
        return self.type == "boolean"

    @property
    def is_allocated(self) -> bool:
        return self.type == "metered" and not self.consumable


@dataclass(slots=True)
class BalanceRow:
    """One balance, or several of one kind summed: `remaining` is floored at 0 per balance, `left` is not."""

    id: int
    count: int
    public_id: str
    feature_id: int
    level: str
    is_rollover: bool
    entity_id: int | None
    item_id: int | None
    plan_slug: str | None
    included: Decimal
    prepaid: Decimal
    granted: Decimal
    usage: Decimal
    held: Decimal
    expired: Decimal
    remaining: Decimal
    left: Decimal
    unlimited: bool
    allows_overage: bool
    max_overage: Decimal | None
    bills_at_once: bool
    is_prepaid: bool
    is_add_on: bool
    reset_interval: str
    reset_interval_count: int
    next_reset_at: datetime | None
    expires_at: datetime | None
    price_amount: Decimal | None
    price_tiers: list[dict[str, Any]]
    price_tier_behavior: str
    price_billing_units: Decimal | None
    price_billing_method: str
    price_max_purchase: Decimal | None

    @property
    def reset_every(self) -> Interval | None:
        return Interval.of(self.reset_interval, self.reset_interval_count)

    @property
    def used(self) -> Decimal:
        """Usage as the wire shows it: what is held counts as used until it is given back."""
        return self.usage + self.held


@dataclass(frozen=True, slots=True)
class Sources:
    """What was asked about, and the balances found for it."""

    scope: Scope
    features: list[SourceFeature]
    rows: list[BalanceRow]

    @property
    def feature(self) -> SourceFeature:
        """The feature asked for."""
        return self.features[0]

    def of(self, feature: SourceFeature) -> list[BalanceRow]:
        return [row for row in self.rows if row.feature_id == feature.id]

    def due(self) -> bool:
        """Whether a reset has come due that nobody has carried out yet."""
        return any(row.next_reset_at is not None and row.next_reset_at <= self.scope.at for row in self.rows)


_SUBJECT = """
subject AS (
  SELECT {number} AS no, c.id AS customer_pk, c.external_id AS customer_id,
    COALESCE(c.clock_at, %(wall)s::timestamptz) AS at, COALESCE(c.billing_cycle_anchor, c.created_at) AS cycle_anchor,
    c.disable_pooled_balance, c.billing_controls AS customer_controls, e.id AS entity_pk, e.external_id AS entity_id,
    e.billing_controls AS entity_controls,
    (SELECT jsonb_agg(s.billing_controls ORDER BY s.id) FROM billing_subscription s
      WHERE s.customer_id = c.id AND (s.entity_id IS NULL OR s.entity_id = e.id) AND s.status IN ('active', 'past_due')
        AND s.billing_controls <> '{{}}'::jsonb) AS plan_controls
  FROM {source}
  LEFT JOIN entities_entity e ON e.customer_id = c.id AND e.external_id = {entity_id} AND e.deleted_at IS NULL
  WHERE c.deleted_at IS NULL {condition}
)"""
_ONE_SUBJECT = _SUBJECT.format(
    number="1::bigint",
    source="entities_customer c",
    entity_id="%(entity_id)s::text",
    condition="AND c.external_id = %(customer_id)s::text",
)
_MANY_SUBJECTS = _SUBJECT.format(
    number="asked.no",
    source=(
        "unnest(%(customer_ids)s::text[], %(entity_ids)s::text[]) WITH ORDINALITY AS asked(customer_id, entity_id, no)"
        " JOIN entities_customer c ON c.external_id = asked.customer_id"
    ),
    entity_id="asked.entity_id",
    condition="",
)

# The feature itself and the credit systems that can pay for it, the feature first.
_ONE_FEATURE = """
features AS (
  SELECT f.id, f.slug, f.type, f.consumable, 1::numeric AS cost, true AS is_own
  FROM plans_feature f WHERE f.slug = ANY(%(features)s::text[]) AND f.deleted_at IS NULL
  UNION ALL
  SELECT s.id, s.slug, s.type, s.consumable, c.cost, false
  FROM plans_feature f
  JOIN plans_creditcost c ON c.metered_feature_id = f.id
  JOIN plans_feature s ON s.id = c.credit_system_id
  WHERE f.slug = ANY(%(features)s::text[]) AND f.deleted_at IS NULL
)"""

_EVERY_FEATURE = """
features AS (
  SELECT f.id, f.slug, f.type, f.consumable, 1::numeric AS cost, true AS is_own FROM plans_feature f
  WHERE f.id IN (SELECT feature_id FROM found{others})
)"""

_LIVE = "b.ended_at IS NULL AND (b.expires_at IS NULL OR b.expires_at > s.at)"

# Two indexed branches for an entity: an OR over both would read every slice of the customer.
_OF_ENTITY = f"""
  SELECT {{columns}} FROM subject s {{features}} JOIN billing_balance b
    ON b.customer_id = s.customer_pk {{feature_match}} AND b.level = 'pool' AND {_LIVE}
  UNION ALL
  SELECT {{columns}} FROM subject s {{features}} JOIN billing_balance b
    ON b.entity_id = s.entity_pk {{feature_match}} AND {_LIVE}"""
_OF_CUSTOMER = f"""
  SELECT {{columns}} FROM subject s {{features}} JOIN billing_balance b
    ON b.customer_id = s.customer_pk {{feature_match}} AND {_LIVE}"""

_GROUPED = """
grouped AS (
  SELECT b.subject_no, min(b.id) AS id, count(*) AS count, min(b.public_id) AS public_id, b.feature_id, b.level,
    b.rolled_over_from_id IS NOT NULL AS is_rollover, min(b.entity_id) AS entity_id, min(b.item_id) AS item_id,
    min(b.subscription_id) AS subscription_id, sum(b.included) AS included, sum(b.prepaid) AS prepaid,
    sum(b.granted) AS granted, sum(b.usage) AS usage, sum(b.held) AS held, sum(b.expired) AS expired,
    sum(greatest(b.granted - b.usage - b.held - b.expired, 0)) AS remaining,
    sum(b.granted - b.usage - b.held - b.expired) AS "left", bool_or(b.unlimited) AS unlimited,
    bool_or(b.allows_overage) AS allows_overage, sum(b.max_overage) AS max_overage,
    bool_or(b.bills_at_once) AS bills_at_once, bool_or(b.is_prepaid) AS is_prepaid, bool_or(b.is_add_on) AS is_add_on,
    min(b.reset_interval) AS reset_interval, min(b.reset_interval_count) AS reset_interval_count,
    min(b.next_reset_at) AS next_reset_at, min(b.expires_at) AS expires_at
  FROM found b
  GROUP BY b.subject_no, b.feature_id, b.level, b.rolled_over_from_id IS NOT NULL,
    CASE WHEN %(single)s::boolean OR b.level = 'pool' THEN b.id END,
    CASE WHEN b.level = 'slice' THEN b.item_id END,
    CASE WHEN b.rolled_over_from_id IS NOT NULL THEN b.expires_at END
)"""

_SINGLE = """
grouped AS (
  SELECT 1::bigint AS subject_no, b.id, 1::bigint AS count, b.public_id, b.feature_id, b.level,
    b.rolled_over_from_id IS NOT NULL AS is_rollover,
    b.entity_id, b.item_id, b.subscription_id, b.included, b.prepaid, b.granted, b.usage, b.held, b.expired,
    greatest(b.granted - b.usage - b.held - b.expired, 0) AS remaining,
    b.granted - b.usage - b.held - b.expired AS "left", b.unlimited, b.allows_overage, b.max_overage, b.bills_at_once,
    b.is_prepaid, b.is_add_on, b.reset_interval, b.reset_interval_count, b.next_reset_at, b.expires_at
  FROM found b
)"""

# A per-entity item that no entity has a slice of yet is shown to the customer with nothing in it; its `next_reset_at`
# is the anchor to count from.
_EMPTY_ITEMS = """
empty AS (
  SELECT s.no AS subject_no, -i.id AS id, 0::bigint AS count, ''::text AS public_id, i.feature_id,
    'slice'::text AS level, false AS is_rollover,
    NULL::bigint AS entity_id, i.id AS item_id, u.id AS subscription_id, 0::numeric AS included, 0::numeric AS prepaid,
    0::numeric AS granted, 0::numeric AS usage, 0::numeric AS held, 0::numeric AS expired, 0::numeric AS remaining,
    0::numeric AS "left", i.unlimited, i.billing_method = 'usage_based' AS allows_overage,
    NULL::numeric AS max_overage, false AS bills_at_once, i.billing_method = 'prepaid' AS is_prepaid, u.is_add_on,
    i.reset_interval, i.reset_interval_count, COALESCE(u.billing_cycle_anchor, u.started_at) AS next_reset_at,
    NULL::timestamptz AS expires_at
  FROM subject s
  JOIN billing_subscription u
    ON u.customer_id = s.customer_pk AND u.entity_id IS NULL AND u.status IN ('active', 'past_due')
  JOIN billing_subscriptionitem i ON i.subscription_id = u.id AND i.entity_feature_id IS NOT NULL {feature_match}
  WHERE NOT EXISTS (SELECT 1 FROM found b WHERE b.item_id = i.id AND b.subject_no = s.no)
)"""

_SELECT = """
SELECT s.customer_pk, s.customer_id, s.at, s.cycle_anchor, s.disable_pooled_balance, s.customer_controls,
  s.plan_controls, s.entity_pk, s.entity_id, s.entity_controls,
  f.id, f.slug, f.type, f.consumable, f.cost, f.is_own,
  g.id, g.count, g.public_id, g.feature_id, g.level, g.is_rollover, g.entity_id, g.item_id, p.slug, g.included,
  g.prepaid,
  g.granted, g.usage, g.held, g.expired, g.remaining, g."left", g.unlimited, g.allows_overage, g.max_overage,
  g.bills_at_once, g.is_prepaid, g.is_add_on, g.reset_interval, g.reset_interval_count, g.next_reset_at, g.expires_at,
  i.price_amount, i.tiers, COALESCE(i.tier_behavior, ''), i.billing_units, COALESCE(i.billing_method, ''),
  i.max_purchase, s.no
FROM subject s
LEFT JOIN features f ON true
LEFT JOIN {rows} g ON g.feature_id = f.id AND g.subject_no = s.no
LEFT JOIN billing_subscription u ON u.id = g.subscription_id
LEFT JOIN plans_plan p ON p.id = u.plan_id
LEFT JOIN billing_subscriptionitem i ON i.id = g.item_id
ORDER BY s.no, f.is_own DESC, f.id, g.is_rollover, g.id
"""


def _statement(*, for_entity: bool, one_feature: bool = False, lock: bool = False, many: bool = False) -> str:
    subject = _MANY_SUBJECTS if many else _ONE_SUBJECT
    branches = (_OF_ENTITY if for_entity else _OF_CUSTOMER).format(
        columns="b.id" if lock else "s.no AS subject_no, b.*",
        features="CROSS JOIN features f" if one_feature else "",
        feature_match="AND b.feature_id = f.id" if one_feature else "",
    )
    if lock:
        # A customer-level track never touches what an entity owns, so it does not wait for it either.
        shared = "" if for_entity else "AND b.level <> 'own'"
        branches = (
            f"SELECT b.* FROM billing_balance b WHERE b.id = ANY(ARRAY({branches} {shared})) AND b.ended_at IS NULL "
            "ORDER BY b.id FOR NO KEY UPDATE"
        )
    found = f"found AS ({branches})"
    parts = [subject, _ONE_FEATURE, found] if one_feature else [subject, found]
    rows = "grouped"
    if not lock and not for_entity:
        match = "AND i.feature_id IN (SELECT id FROM features)" if one_feature else ""
        parts.append(_EMPTY_ITEMS.format(feature_match=match))
        rows = "(SELECT * FROM grouped UNION ALL SELECT * FROM empty)"
    if not one_feature:
        others = "" if for_entity else " UNION SELECT feature_id FROM empty"
        parts.append(_EVERY_FEATURE.format(others=others))
    parts.append(_SINGLE if lock else _GROUPED)
    return "WITH " + ",".join(parts) + _SELECT.format(rows=rows)


_READ_ONE = {scope: _statement(for_entity=scope, one_feature=True) for scope in (True, False)}
_READ_ALL = {scope: _statement(for_entity=scope) for scope in (True, False)}
_READ_MANY = {scope: _statement(for_entity=scope, many=True) for scope in (True, False)}
_LOCK = {scope: _statement(for_entity=scope, one_feature=True, lock=True) for scope in (True, False)}


def read(*, customer_id: str, entity_id: str | None, feature: str | None, wall: datetime) -> Sources:
    """The balances of one feature (and of the credit systems covering it), or of every feature; nothing is locked.

    For an entity every balance is a row of its own; for a customer the slices of one item are summed, and what entities
    own is summed per feature (level `own`).
    """
    statements = _READ_ALL if feature is None else _READ_ONE
    parameters: dict[str, Any] = {"customer_id": customer_id, "entity_id": entity_id, "wall": wall}
    parameters["single"] = bool(entity_id)
    if feature is not None:
        parameters["features"] = [feature]
    return _found(statements[bool(entity_id)], parameters, feature)


def read_many(subjects: Sequence[tuple[str, str | None]], *, wall: datetime) -> list[Sources]:
    """Every balance of each subject, in their order; subjects that are gone are left out.

    A subject is the public ids of customer and entity; all are customers (None), or all are entities.
    """
    if not subjects:
        return []
    for_entity = subjects[0][1] is not None
    with connection.cursor() as cursor:
        cursor.execute(
            _READ_MANY[for_entity],
            {
                "customer_ids": [customer_id for customer_id, _ in subjects],
                "entity_ids": [entity_id for _, entity_id in subjects],
                "wall": wall,
                "single": for_entity,
            },
        )
        found = cursor.fetchall()
    return [_sources(list(rows)) for _, rows in groupby(found, key=lambda row: row[-1])]


def lock(*, customer_id: str, entity_id: str | None, feature: str, wall: datetime) -> Sources:
    """The single balances that a deduction may touch, locked until the transaction ends."""
    parameters = {"customer_id": customer_id, "entity_id": entity_id, "wall": wall, "features": [feature]}
    return _found(_LOCK[bool(entity_id)], parameters, feature)


def lock_all(*, customer_id: str, entity_id: str | None, features: list[str], wall: datetime) -> None:
    """Lock the balances of several features at once, in id order, before they are deducted from one by one."""
    with connection.cursor() as cursor:
        cursor.execute(
            _LOCK[bool(entity_id)],
            {"customer_id": customer_id, "entity_id": entity_id, "wall": wall, "features": features},
        )


def _found(statement: str, parameters: dict[str, Any], feature: str | None) -> Sources:
    customer_id, entity_id = parameters["customer_id"], parameters["entity_id"]
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        found = cursor.fetchall()
    if not found:
        # With an entity asked for, the entity is what is missing, even when its customer is (spec balances 6.3).
        raise EntityNotFound(entity_id) if entity_id else CustomerNotFound(customer_id)
    scope = _scope(found[0])
    if entity_id and scope.entity_pk is None:
        raise EntityNotFound(entity_id)
    if feature is not None and found[0][10] is None:
        raise FeatureNotFound(feature)
    return _sources(found)


def _sources(found: list[tuple[Any, ...]]) -> Sources:
    """One subject's rows: the scope is on each, features and balances may be missing."""
    scope = _scope(found[0])
    features = {row[10]: SourceFeature(*row[10:16]) for row in found if row[10] is not None}
    rows = [_balance_row(row[16:-1], scope.at) for row in found if row[16] is not None]
    return Sources(scope, list(features.values()), _without_disabled_pool(scope, rows))


def _scope(row: tuple[Any, ...]) -> Scope:
    return Scope(
        customer_pk=row[0],
        customer_id=row[1],
        at=row[2],
        cycle_anchor=row[3],
        disable_pooled_balance=row[4],
        customer_controls=_json(row[5]) or {},
        plan_controls=_json(row[6]) or [],
        entity_pk=row[7],
        entity_id=row[8],
        entity_controls=_json(row[9]),
    )


def _balance_row(row: tuple[Any, ...], at: datetime) -> BalanceRow:
    balance = BalanceRow(*row)
    balance.price_tiers = _json(row[28]) or []
    if not balance.count and balance.next_reset_at is not None:
        interval = balance.reset_every
        balance.next_reset_at = next_boundary(balance.next_reset_at, interval, at) if interval else None
    return balance


def _json(value: Any) -> Any:
    return orjson.loads(value) if isinstance(value, str | bytes) else value


def _without_disabled_pool(scope: Scope, rows: list[BalanceRow]) -> list[BalanceRow]:
    """With the pooled balance disabled, an entity that has balances of its own sees only those (spec balances 5.3)."""
    if not scope.disable_pooled_balance or scope.entity_pk is None:
        return rows
    own = {row.feature_id for row in rows if row.level != "pool"}
    return [row for row in rows if row.level != "pool" or row.feature_id not in own]
