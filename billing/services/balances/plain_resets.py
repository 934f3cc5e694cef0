"""Plain resets, which are nearly all, a batch in one statement: lock, refill, explain, put overage aside.

Plain is a balance that rolls nothing over, has no hold on it and is not over by then. The calendar is that of
billing.refill and plans.intervals, said in SQL; tests/domain/test_plain_resets.py holds the two to each other.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

from billing.models import LedgerEntry
from billing.services.balances import ledger
from billing.services.balances.statements import compact
from config.actor import Actor
from config.database import prepared
from plans.intervals import MONTHS, SPANS


def _cases(values: dict[str, str], otherwise: str) -> str:
    cases = " ".join(f"WHEN '{unit}' THEN {value}" for unit, value in values.items())
    return f"CASE b.reset_interval {cases} {otherwise} END"


# Of an interval, one of the two: months, or a span of fixed length.
_MONTHS = _cases({unit.value: str(months) for unit, months in MONTHS.items()}, "ELSE 0")
_SPAN = _cases({unit.value: f"interval '{span.total_seconds():.0f} seconds'" for unit, span in SPANS.items()}, "")


def _boundary(n: str) -> str:
    """The nth boundary after the anchor: in months from the anchor's day, clamped to the month's end, in UTC."""
    return (
        f"CASE WHEN d.months > 0 THEN (d.anchor + make_interval(months => (({n}) * d.months)::int)) "
        f"ELSE d.anchor + d.span * ({n}) END"
    )


def _number(at: str) -> str:
    """The greatest n whose boundary is not after `at`."""
    # date_part counts in floats, exactly as far as months go; extract in decimals, exactly to the microsecond.
    months = (
        f"((date_part('year', {at}) - date_part('year', d.anchor)) * 12 + date_part('month', {at}) "
        "- date_part('month', d.anchor))"
    )
    return (
        f"CASE WHEN d.months > 0 THEN floor({months} / d.months) "
        f"ELSE floor(extract(epoch FROM {at} - d.anchor) / extract(epoch FROM d.span))::float8 END"
    )


# `due` holds the rows as they are once they are locked; whatever is computed from them cannot be stale. All times in
# it are UTC without a zone, so that months are those of UTC whatever the session's zone. Each step is materialized, or
# PostgreSQL would work the steps before it out again for each mention; the array makes it go to the rows by their key
# instead of reading all balances for each batch.
_RESET = """
WITH due AS MATERIALIZED (
  SELECT b.id, b.included + b.prepaid AS refilled, b.granted, b.usage, b.expired, b.allows_overage, b.item_id,
    b.reset_anchor AT TIME ZONE 'UTC' AS anchor, b.next_reset_at AT TIME ZONE 'UTC' AS due_at,
    least({at}, b.expires_at - interval '1 microsecond') AT TIME ZONE 'UTC' AS at, {at} AS seen,
    {months} * b.reset_interval_count AS months, {span} * b.reset_interval_count AS span
  FROM {rows}
  WHERE b.next_reset_at <= {at} AND b.ended_at IS NULL AND NOT b.rolls_over AND b.held = 0
    AND b.reset_interval NOT IN ('', 'one_off') AND (b.expires_at IS NULL OR b.expires_at > b.next_reset_at)
    AND NOT EXISTS (SELECT FROM billing_subscription u WHERE u.id = b.subscription_id AND (u.ends_at <= b.next_reset_at
      OR (u.status = 'past_due' AND NOT b.allows_overage AND NOT b.is_prepaid
        AND NOT (SELECT p.ignore_past_due FROM plans_plan p WHERE p.id = u.plan_id))))
    {condition}
  ORDER BY {order} LIMIT %(limit)s
  FOR NO KEY UPDATE OF b {waiting}
), guessed AS MATERIALIZED (
  SELECT d.*, {number_at} AS n FROM due d
), reached AS MATERIALIZED (
  SELECT d.*,
    greatest(CASE WHEN {boundary_n} <= d.at THEN {boundary_n} ELSE {boundary_before} END, d.due_at) AS boundary
  FROM guessed d
), numbered AS MATERIALIZED (
  SELECT d.id, d.refilled, d.granted, d.usage, d.expired, d.allows_overage, d.item_id, d.anchor, d.months, d.span,
    d.boundary, d.seen, {number_boundary} AS n
  FROM reached d
), refilled AS (
  SELECT d.*, CASE WHEN d.boundary < d.anchor THEN d.anchor WHEN {boundary_n} <= d.boundary THEN {boundary_after}
    ELSE {boundary_n} END AS next
  FROM numbered d
), moved AS (
  UPDATE billing_balance b SET granted = d.refilled, usage = 0, expired = 0, next_reset_at = d.next AT TIME ZONE 'UTC'
  FROM refilled d WHERE b.id = d.id AND b.id = ANY(ARRAY(SELECT id FROM due)) AND {explained}
  RETURNING b.id, b.customer_id, b.entity_id, d.boundary, d.refilled, d.granted, d.usage, d.expired, d.allows_overage,
    d.item_id, d.seen
), entry AS (
  INSERT INTO billing_ledgerentry (balance_id, customer_id, entity_id, kind, at, granted, usage, held, expired,
    boundary_at, actor, request_id, reason)
  SELECT m.id, m.customer_id, m.entity_id, %(kind)s, m.seen, m.refilled - m.granted, -m.usage, 0, -m.expired,
    m.boundary AT TIME ZONE 'UTC', %(actor)s, %(request)s, trim_scale(m.usage)::text || ' used was cleared'
  FROM moved m
), overage AS (
  INSERT INTO billing_overage (item_id, balance_id, boundary_at, quantity)
  SELECT m.item_id, m.id, m.boundary AT TIME ZONE 'UTC', m.usage + m.expired - m.granted
  FROM moved m
  WHERE m.allows_overage AND m.item_id IS NOT NULL AND m.usage + m.expired > m.granted
  ON CONFLICT DO NOTHING
)
SELECT count(*) FROM moved
"""


_AT = "%(at)s"


def _statement(
    *, condition: str = "", order: str = "b.id", waiting: str = "", rows: str = "billing_balance b", at: str = _AT
) -> str:
    return compact(
        _RESET.format(
            rows=rows,
            at=at,
            explained=ledger.EXPLAINED,
            months=_MONTHS,
            span=_SPAN,
            condition=condition,
            order=order,
            waiting=waiting,
            number_at=_number("d.at"),
            number_boundary=_number("d.boundary"),
            boundary_n=_boundary("d.n"),
            boundary_before=_boundary("d.n - 1"),
            boundary_after=_boundary("d.n + 1"),
        )
    )


# A sweep leaves alone what somebody else holds, and customers with a clock of their own; where all lock rows and wait,
# they do so in the order of their ids.
_ON_WALL_TIME = "AND EXISTS (SELECT FROM entities_customer c WHERE c.id = b.customer_id AND c.clock_at IS NULL)"
_SWEEP = _statement(condition=_ON_WALL_TIME, order="b.next_reset_at, b.id", waiting="SKIP LOCKED")
_SWEEP_REST = _statement(condition=_ON_WALL_TIME)
_OF_CUSTOMER = _statement(condition="AND b.customer_id = %(customer)s")
_OF_BALANCES = _statement(condition="AND b.id = ANY(%(balances)s::bigint[])")
_OF_CUSTOMERS = _statement(
    rows="unnest(%(customers)s::bigint[], %(moments)s::timestamptz[]) AS w(customer_id, at) "
    "JOIN billing_balance b ON b.customer_id = w.customer_id",
    at="w.at",
)


def sweep(*, at: datetime, actor: Actor, limit: int, wait: bool) -> int:
    """Reset up to `limit` plain balances of customers in wall time; wait for those that are locked, or leave them."""
    return _run(_SWEEP_REST if wait else _SWEEP, at=at, actor=actor, limit=limit)


def reset(
    *, at: datetime, actor: Actor, limit: int, customer_pk: int | None = None, balance_pks: Sequence[int] | None = None
) -> int:
    """Reset the plain ones among a customer's balances, or among these."""
    if balance_pks is not None:
        return _run(_OF_BALANCES, at=at, actor=actor, limit=limit, balances=list(balance_pks))
    return _run(_OF_CUSTOMER, at=at, actor=actor, limit=limit, customer=customer_pk)


def reset_customers(moments: Mapping[int, datetime], *, actor: Actor, limit: int) -> int:
    """Reset the plain ones among the balances of these customers (by key), each at its own instant."""
    instants = list(moments.values())
    return _run(_OF_CUSTOMERS, at=max(instants), actor=actor, limit=limit, customers=list(moments), moments=instants)


def _run(statement: str, *, at: datetime, actor: Actor, limit: int, **which: object) -> int:
    parameters = {
        "at": at,
        "limit": limit,
        "kind": LedgerEntry.Kind.RESET.value,
        "actor": actor.name,
        "request": actor.request_id,
        **which,
    }
    count: int = prepared.rows(statement, parameters)[0][0]
    return count
