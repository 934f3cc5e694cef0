"""Carrying a deduction out: from balances that were locked, through the rules, to rows, event and ledger entries."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import connection

from billing import controls, deduction
from billing.deduction import Deduction, OverageBehavior
from billing.errors import SeatsAreBilled
from billing.models import LedgerEntry
from billing.services.balances import counters, ledger
from billing.services.balances.sources import BalanceRow, SourceFeature, Sources
from config.actor import Actor
from config.api import encode

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Posting:
    """What to post: the event's `value`, name and properties, and how the balances move.

    With `event_pk` the event exists already and no other is written. With `hold_pk` what is taken is held rather than
    used. `seats_are_paid` says that billing.services.seats has invoiced the change, where one has a price.
    Without `counts` usage limits have heard of it already.
    """

    value: Decimal
    at: datetime
    event_pk: int | None = None
    properties: Mapping[str, Any] = field(default_factory=dict)
    event_name: str = ""
    hold_pk: int | None = None
    seats_are_paid: bool = False
    counts: bool = True


@dataclass(frozen=True, slots=True)
class PaidBy:
    """What one balance gave, in its own units (below 0: got back)."""

    row: BalanceRow
    feature: SourceFeature
    amount: Decimal
    units: Decimal

    @property
    def counted(self) -> counters.Counted:
        return counters.Counted(self.feature.id, self.amount, self.units, self.row.unlimited)


def spread(found: Sources, value: Decimal, *, behavior: OverageBehavior, properties: Mapping[str, Any]) -> Deduction:
    """Run the rules on locked balances; the counters of usage limits that bind are locked as well."""
    if found.feature.is_boolean or not found.rows:
        return Deduction(value, complete=value <= 0)
    left = counters.headroom(found.scope, found.features, properties, lock=True)
    sources = [source(found, row, behavior) for row in found.rows]
    return deduction.deduct(
        deduction.in_order(sources, for_entity=found.scope.entity_pk is not None),
        value,
        behavior=behavior,
        headroom=left.get(found.feature.id),
        credit_headroom={
            feature.id: left[feature.id] for feature in found.features if not feature.is_own and feature.id in left
        },
        overage_headroom=overage_headroom(found, found.feature),
    )


def source(found: Sources, row: BalanceRow, behavior: OverageBehavior) -> deduction.Source:
    """A balance as the rules see it, with what it may be overdrawn by under the controls in force."""
    feature = feature_of(found, row)
    return deduction.Source(
        id=row.id,
        left=row.left,
        usage=row.usage,
        feature_id=feature.id,
        unlimited=row.unlimited,
        cost=feature.cost,
        overage=deduction.overage_bound(
            behavior=behavior,
            allowed=controls.overage_allowed(feature.slug, **found.scope.controls()),
            is_sold=row.allows_overage,
            most_sold=row.max_overage,
            is_allocated=feature.is_allocated,
            is_rollover=row.is_rollover,
        ),
        is_own_feature=feature.is_own,
        is_rollover=row.is_rollover,
        is_pool=row.level == "pool",
        interval=row.reset_every,
        expires_at=row.expires_at,
        is_add_on=row.is_add_on,
        is_prepaid=row.is_prepaid,
        item_id=row.item_id or 0,
        entity_id=row.entity_id or 0,
    )


def overage_headroom(found: Sources, feature: SourceFeature) -> Decimal | None:
    """What the spend limit in force still leaves below 0, over all balances of the feature in this scope."""
    limit = controls.spend_limit(feature.slug, **found.scope.controls())
    if limit is None:
        return None
    rows = [row for row in found.of(feature) if not row.is_rollover]
    overdrawn = sum((max(-row.left, ZERO) for row in rows), ZERO)
    return max(limit.most_overage(sum((row.granted for row in rows), ZERO)) - overdrawn, ZERO)


def feature_of(found: Sources, row: BalanceRow) -> SourceFeature:
    return next(feature for feature in found.features if feature.id == row.feature_id)


_POST = f"""
WITH event AS (
  INSERT INTO billing_usageevent (customer_id, entity_id, feature_id, event_name, value, properties, at, recorded_at,
    hold_id, actor, request_id)
  SELECT %(customer)s, %(entity)s::bigint, %(feature)s, %(event_name)s, %(value)s::numeric, %(properties)s::jsonb,
    %(at)s::timestamptz, %(wall)s::timestamptz, %(hold)s::bigint, %(actor)s, %(request)s
  WHERE %(event)s::bigint IS NULL
  RETURNING id
), the_event AS (
  SELECT COALESCE(%(event)s::bigint, (SELECT id FROM event)) AS id
), part AS (
  SELECT * FROM unnest(%(balances)s::bigint[], %(used)s::numeric[], %(held)s::numeric[]) AS p(balance_id, usage, held)
), moved AS (
  UPDATE billing_balance b SET usage = b.usage + p.usage, held = b.held + p.held
  FROM part p WHERE b.id = p.balance_id AND {ledger.EXPLAINED}
  RETURNING b.id, b.entity_id, p.usage, p.held
), entry AS (
  INSERT INTO billing_ledgerentry (balance_id, customer_id, entity_id, kind, at, granted, usage, held, expired,
    event_id, hold_id, actor, request_id, reason)
  SELECT m.id, %(customer)s, m.entity_id, %(kind)s, %(now)s::timestamptz, 0, m.usage, m.held, 0, e.id, %(hold)s::bigint,
    %(actor)s, %(request)s, ''
  FROM moved m, the_event e
)
SELECT id FROM the_event
"""


def post(
    found: Sources, result: Deduction, posting: Posting, *, wall: datetime, actor: Actor
) -> tuple[int, list[PaidBy]]:
    """Write event, balances and ledger entries in one statement, and the rows in hand accordingly.

    Returns the event's id and what each balance gave. Raises SeatsAreBilled, with nothing written, where a change has a
    price that nobody has invoiced.
    """
    by_id = {row.id: row for row in found.rows}
    paid = [
        PaidBy(by_id[part.source_id], feature_of(found, by_id[part.source_id]), part.amount, part.units)
        for part in result.parts
        if part.amount
    ]
    if not posting.seats_are_paid:
        _refuse_unpaid_seats(paid)
    if posting.counts:
        counters.count(found.scope, found.features, [part.counted for part in paid], posting.properties)
    # Only what is taken can be held; what a hold below 0 gives back is given back at once.
    holds = posting.hold_pk is not None
    held = [part.amount if holds and part.amount > 0 else ZERO for part in paid]
    with connection.cursor() as cursor:
        cursor.execute(
            _POST,
            {
                "customer": found.scope.customer_pk,
                "entity": found.scope.entity_pk,
                "feature": found.feature.id,
                "event_name": posting.event_name,
                "event": posting.event_pk,
                "value": posting.value,
                "properties": encode(dict(posting.properties)).decode(),
                "at": posting.at,
                "now": found.scope.at,
                "wall": wall,
                "actor": actor.name,
                "request": actor.request_id,
                "balances": [part.row.id for part in paid],
                "used": [part.amount - on_hold for part, on_hold in zip(paid, held, strict=True)],
                "held": held,
                "hold": posting.hold_pk,
                "kind": _kind(posting),
            },
        )
        event_id: int = cursor.fetchone()[0]
    for part, on_hold in zip(paid, held, strict=True):
        part.row.usage += part.amount - on_hold
        part.row.held += on_hold
        part.row.left -= part.amount
        part.row.remaining = max(part.row.left, ZERO)
    return event_id, paid


def _kind(posting: Posting) -> str:
    if posting.hold_pk is not None and posting.value > 0:
        return LedgerEntry.Kind.HOLD
    return LedgerEntry.Kind.USAGE if posting.value >= 0 else LedgerEntry.Kind.REFUND


def _refuse_unpaid_seats(paid: Sequence[PaidBy]) -> None:
    for part in paid:
        before, after = max(-part.row.left, ZERO), max(-(part.row.left - part.amount), ZERO)
        if part.row.bills_at_once and before != after:
            raise SeatsAreBilled(part.row.id, part.amount)
