"""The SQL behind check and track: whom a call is about, which features can pay, and which balances there are.

One statement per call, put together from the pieces below; `sources` runs them and reads the rows.
"""

from billing.models import WebhookType
from billing.services.webhooks.listening import is_told

NOW = "COALESCE(c.clock_at, %(wall)s::timestamptz)"


def live(now: str) -> str:
    """That a balance counts: neither ended nor expired."""
    return f"b.ended_at IS NULL AND (b.expires_at IS NULL OR b.expires_at > {now})"


_LIVE = live(NOW)

# -- whom it is about: alias c (customer) and e (entity, if one is asked for) --


# Empty controls come as NULL, which costs nothing to read. Few subscriptions have controls, so a partial index finds
# those at once, however many subscriptions the customer's entities have.
def _scope(*, for_entity: bool) -> str:
    plans = "(u.entity_id IS NULL OR u.entity_id = e.id)" if for_entity else "u.entity_id IS NULL"
    entity = "e.id, e.external_id, NULLIF(e.billing_controls, '{}')" if for_entity else "NULL, NULL, NULL"
    return f"""
  c.id, c.external_id, {NOW}, COALESCE(c.billing_cycle_anchor, c.created_at), c.disable_pooled_balance,
  NULLIF(c.billing_controls, '{{}}'),
  (SELECT jsonb_agg(u.billing_controls ORDER BY u.id) FROM billing_subscription u
    WHERE u.customer_id = c.id AND u.billing_controls <> '{{}}' AND u.status IN ('active', 'past_due') AND {plans}),
  {entity}"""


_CUSTOMER = "FROM entities_customer c"
_ENTITY = """
FROM entities_customer c
JOIN entities_entity e ON e.customer_id = c.id AND e.external_id = %(entity_id)s::text AND e.deleted_at IS NULL"""
_IS_SUBJECT = "WHERE c.external_id = %(customer_id)s::text AND c.deleted_at IS NULL"

_CUSTOMERS = """
FROM unnest(%(pks)s::bigint[]) WITH ORDINALITY AS asked(pk, no)
JOIN entities_customer c ON c.id = asked.pk AND c.deleted_at IS NULL"""
_ENTITIES = """
FROM unnest(%(pks)s::bigint[]) WITH ORDINALITY AS asked(pk, no)
JOIN entities_entity e ON e.id = asked.pk AND e.deleted_at IS NULL
JOIN entities_customer c ON c.id = e.customer_id AND c.deleted_at IS NULL"""

# -- which features can pay: alias f, the asked feature and the credit systems that cover it --

_FEATURE = "f.id, f.slug, f.type, f.consumable, f.cost, f.is_own"
_FEATURE_THAT_PAYS = """
LEFT JOIN plans_feature o ON {is_asked} AND o.deleted_at IS NULL AND o.type <> 'license'
LEFT JOIN LATERAL (
  SELECT o.id, o.slug, o.type, o.consumable, 1::numeric AS cost, true AS is_own WHERE o.id IS NOT NULL
  UNION ALL
  SELECT s.id, s.slug, s.type, s.consumable, k.cost, false
  FROM plans_creditcost k JOIN plans_feature s ON s.id = k.credit_system_id WHERE k.metered_feature_id = o.id
) f ON true"""

# -- which balances there are: alias b --

BALANCE = """
  b.id, 1::bigint AS count, b.public_id, b.feature_id, b.level, b.rolled_over_from_id IS NOT NULL AS is_rollover,
  b.entity_id, b.item_id, b.prepaid, b.granted, b.usage, b.held, b.expired,
  greatest(b.granted - b.usage - b.held - b.expired, 0) AS remaining, b.unlimited, b.allows_overage, b.max_overage,
  b.bills_at_once, b.is_prepaid, b.is_add_on, b.reset_interval, b.reset_interval_count, b.next_reset_at, b.expires_at"""
_BALANCE_COLUMNS = """
  b.id, b.count, b.public_id, b.feature_id, b.level, b.is_rollover, b.entity_id, b.item_id, b.prepaid, b.granted,
  b.usage, b.held, b.expired, b.remaining, b.unlimited, b.allows_overage, b.max_overage, b.bills_at_once,
  b.is_prepaid, b.is_add_on, b.reset_interval, b.reset_interval_count, b.next_reset_at, b.expires_at"""

# Two indexed branches for an entity: an OR over both would read every slice of the customer.
_POOLS = f"""
  SELECT {BALANCE} FROM billing_balance b
  WHERE b.customer_id = c.id AND b.level = 'pool' AND {_LIVE} {{of_feature}}"""
_OF_ENTITY = f"""
  SELECT {BALANCE} FROM billing_balance b WHERE b.entity_id = e.id AND {_LIVE} {{of_feature}}"""

# What the entities hold is read as sums (billing.models.BalanceTally), with what is alike within a kind from the
# balance that resets first: of an item's slices, or of what entities own. Each has an index in that order; together in
# one condition PostgreSQL may read ten thousand rows to find the first.
_OF_ENTITIES = f"""
  SELECT COALESCE(b.id, 0), t.count, COALESCE(b.public_id, ''), t.feature_id, t.level, t.is_rollover, b.entity_id,
    t.item_id, t.prepaid, t.granted, t.usage, t.held, t.expired, t.remaining, t.unlimited, t.allows_overage,
    t.max_overage, COALESCE(b.bills_at_once, false), COALESCE(b.is_prepaid, false), COALESCE(b.is_add_on, false),
    COALESCE(b.reset_interval, ''), COALESCE(b.reset_interval_count, 1), b.next_reset_at, t.expires_at
  FROM (
    SELECT k.feature_id, k.level, k.is_rollover, k.item_id, sum(k.count)::bigint AS count, sum(k.prepaid) AS prepaid,
      sum(k.granted) AS granted, sum(k.usage) AS usage, sum(k.held) AS held, sum(k.expired) AS expired,
      sum(k.remaining) AS remaining, bool_or(k.unlimited) AS unlimited, bool_or(k.allows_overage) AS allows_overage,
      sum(k.max_overage * k.count) AS max_overage, min(k.expires_at) AS expires_at
    FROM (
      SELECT b.feature_id, b.level, b.item_id, b.is_rollover, b.expires_at, b.unlimited, b.allows_overage,
        b.max_overage, sum(b.count) AS count, sum(b.prepaid) AS prepaid, sum(b.granted) AS granted,
        sum(b.usage) AS usage, sum(b.held) AS held, sum(b.expired) AS expired, sum(b.remaining) AS remaining
      FROM (
        SELECT * FROM billing_balancetally b WHERE b.customer_id = c.id {{of_feature}} ORDER BY b.feature_id, b.id
      ) b
      WHERE b.expires_at IS NULL OR b.expires_at > {NOW}
      GROUP BY 1, 2, 3, 4, 5, 6, 7, 8 HAVING sum(b.count) > 0
    ) k
    GROUP BY k.feature_id, k.level, k.is_rollover, k.item_id, CASE WHEN k.is_rollover THEN k.expires_at END
  ) t
  LEFT JOIN billing_balance b ON b.id = CASE WHEN t.is_rollover THEN NULL
    WHEN t.item_id IS NOT NULL THEN (SELECT b.id FROM billing_balance b
      WHERE b.item_id = t.item_id AND b.rolled_over_from_id IS NULL AND {_LIVE} ORDER BY b.next_reset_at LIMIT 1)
    ELSE (SELECT b.id FROM billing_balance b
      WHERE b.customer_id = c.id AND b.feature_id = t.feature_id AND b.level = t.level
        AND b.rolled_over_from_id IS NULL AND {_LIVE} ORDER BY b.next_reset_at LIMIT 1) END"""

# Items per entity, for the case that no entity has a slice yet: shown to the customer with nothing in them. Their
# `next_reset_at` is the anchor to count from.
_PER_ENTITY_ITEMS = """
  SELECT -b.id, 0::bigint, '', b.feature_id, 'slice', false, NULL::bigint, b.id, 0::numeric, 0::numeric, 0::numeric,
    0::numeric, 0::numeric, 0::numeric, b.unlimited, b.billing_method = 'usage_based', NULL::numeric, false,
    b.billing_method = 'prepaid', u.is_add_on, b.reset_interval, b.reset_interval_count,
    COALESCE(u.billing_cycle_anchor, u.started_at), NULL::timestamptz
  FROM billing_subscription u JOIN billing_subscriptionitem b ON b.subscription_id = u.id
  WHERE u.customer_id = c.id AND u.entity_id IS NULL AND u.status IN ('active', 'past_due')
    AND b.entity_feature_id IS NOT NULL {of_feature}"""


def _branches(*, for_entity: bool, of_feature: str) -> str:
    branches = [_POOLS, _OF_ENTITY] if for_entity else [_POOLS, _OF_ENTITIES, _PER_ENTITY_ITEMS]
    return "\n  UNION ALL".join(branches).format(of_feature=of_feature)


# For nearly every subject: no controls anywhere, no credit system that covers the feature.
HAS_NO_CONTROLS = """
  c.billing_controls = '{}' AND NOT EXISTS (SELECT FROM billing_subscription u
    WHERE u.customer_id = c.id AND u.billing_controls <> '{}' AND u.status IN ('active', 'past_due'))"""
HAS_NO_CREDITS = "NOT EXISTS (SELECT FROM plans_creditcost k WHERE k.metered_feature_id = f.id)"


def read_simple(*, for_entity: bool) -> str:
    """As `read_one`, but no rows unless there are neither controls nor credit systems that could have a say."""
    entity = """
      JOIN entities_entity e ON e.customer_id = c.id AND e.external_id = %(entity_id)s::text AND e.deleted_at IS NULL
        AND e.billing_controls = '{}'"""
    balances = _branches(for_entity=for_entity, of_feature="AND b.feature_id = f.id")
    return compact(f"""
SELECT c.id, {NOW}, COALESCE(c.billing_cycle_anchor, c.created_at), c.disable_pooled_balance,
  {"e.id" if for_entity else "NULL::bigint"}, f.id, f.type, f.consumable, {_BALANCE_COLUMNS}
FROM entities_customer c {entity if for_entity else ""}
JOIN plans_feature f ON f.slug = %(feature)s::text AND f.deleted_at IS NULL AND f.type <> 'license'
LEFT JOIN LATERAL ({balances}) b ON true
{_IS_SUBJECT} AND {HAS_NO_CONTROLS} AND {HAS_NO_CREDITS}""")


def _subject(*, for_entity: bool) -> str:
    return _ENTITY if for_entity else _CUSTOMER


def read_one(*, for_entity: bool) -> str:
    """The balances of one feature and of the credit systems that cover it; parameters `wall`, `customer_id`,
    `entity_id`, `feature`."""
    pays = _FEATURE_THAT_PAYS.format(is_asked="o.slug = %(feature)s::text")
    balances = _branches(for_entity=for_entity, of_feature="AND b.feature_id = f.id")
    return compact(f"""
SELECT {_scope(for_entity=for_entity)}, {_FEATURE}, {_BALANCE_COLUMNS} {_subject(for_entity=for_entity)} {pays}
LEFT JOIN LATERAL ({balances}) b ON true {_IS_SUBJECT}""")


def read_all(*, for_entity: bool) -> str:
    """Every balance of one subject; parameters `wall`, `customer_id`, `entity_id`."""
    return _every_balance(
        for_entity=for_entity, subject=f"{_subject(for_entity=for_entity)} {{balances}} {_IS_SUBJECT}"
    )


def read_many(*, for_entity: bool) -> str:
    """Every balance of customers or entities, in the order of their keys; parameters `wall`, `pks`."""
    subjects = _ENTITIES if for_entity else _CUSTOMERS
    return _every_balance(for_entity=for_entity, subject=f"{subjects} {{balances}} ORDER BY asked.no")


def _every_balance(*, for_entity: bool, subject: str) -> str:
    feature = "f.id, f.slug, f.type, f.consumable, 1::numeric, true"
    balances = _branches(for_entity=for_entity, of_feature="")
    found = f"LEFT JOIN LATERAL ({balances}) b ON true LEFT JOIN plans_feature f ON f.id = b.feature_id"
    columns = f"{_scope(for_entity=for_entity)}, {feature}, {_BALANCE_COLUMNS}"
    return compact(f"SELECT {columns} {subject.format(balances=found)}")


def lock(*, for_entity: bool, first: int = 0) -> str:
    """As `read_one`, of several `features`, with single balances that stay locked until the transaction ends.

    They are locked in id order, so two tracks never wait for each other in a circle. The last columns say
    whether somebody is told of limits reached, and of alerts, and whether some of the balances ended while they were
    waited for: what took their place is yet to be locked. A customer-level track never
    touches what an entity owns, so it does not wait for it either; with `first` it locks no more than that many slices,
    those of the oldest entities that have something left (or may have, once what is due was done).
    """
    scope, subject = _scope(for_entity=for_entity), _subject(for_entity=for_entity)
    pays = _FEATURE_THAT_PAYS.format(is_asked="o.slug = ANY(%(features)s::text[])")
    if for_entity:
        others = f"SELECT b.id FROM billing_balance b WHERE b.entity_id = e.id AND b.feature_id = f.id AND {_LIVE}"
    elif first:
        others = _FIRST_SLICES.format(most=first)
    else:
        others = (
            "SELECT b.id FROM billing_balance b "
            f"WHERE b.customer_id = c.id AND b.level = 'slice' AND b.feature_id = f.id AND {_LIVE}"
        )
    return compact(f"""
WITH wanted AS MATERIALIZED (
  SELECT ARRAY(
    SELECT b.id {subject} {pays} JOIN LATERAL (
      SELECT b.id FROM billing_balance b
      WHERE b.customer_id = c.id AND b.level = 'pool' AND b.feature_id = f.id AND {_LIVE}
      UNION ALL
      ({others})
    ) b ON true {_IS_SUBJECT}
  ) AS ids
), locked AS (
  SELECT * FROM billing_balance b
  WHERE b.id = ANY((SELECT ids FROM wanted)::bigint[]) AND b.ended_at IS NULL ORDER BY b.id FOR NO KEY UPDATE
)
SELECT {scope}, {_FEATURE}, {BALANCE},
  {is_told(WebhookType.LIMIT_REACHED)}, {is_told(WebhookType.USAGE_ALERT)},
  (SELECT cardinality(ids) FROM wanted) <> (SELECT count(*) FROM locked) AS some_ended {subject} {pays}
LEFT JOIN locked b ON b.feature_id = f.id {_IS_SUBJECT}""")


def compact(statement: str) -> str:
    """Without the layout, which PostgreSQL would keep with each prepared statement."""
    return " ".join(statement.split())


# Only where all slices are of one kind: then the order of their entities is the order in which they pay.
_FIRST_SLICES = f"""
      SELECT b.id FROM entities_entity n
      JOIN billing_balance b ON b.entity_id = n.id AND b.feature_id = f.id AND b.level = 'slice' AND {_LIVE}
      WHERE n.customer_id = c.id AND n.deleted_at IS NULL
        AND (b.granted > b.usage + b.held + b.expired OR b.unlimited OR b.held > 0 OR b.next_reset_at <= {NOW})
        AND 1 = (SELECT count(DISTINCT (t.item_id, t.is_rollover, t.expires_at, t.unlimited, t.allows_overage))
          FROM billing_balancetally t
          WHERE t.customer_id = c.id AND t.feature_id = f.id AND t.level = 'slice')
      ORDER BY n.id, b.id LIMIT {{most}}"""
