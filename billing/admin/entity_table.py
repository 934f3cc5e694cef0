"""The entities of a customer, those that will be blocked next first: one statement, whatever their number."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from django.db import connection

from billing.admin.bars import Bar, bars
from billing.models import Balance, Subscription
from entities.models import Customer, Entity

PER_PAGE = 25

# What is left of what there is, per entity and feature: its own and its share, with the pool that it falls back on.
# The smallest part left ranks the entity. Boolean and standing features block nobody.
_RANKED = """
WITH live AS (
  SELECT b.entity_id, b.feature_id, b.level, b.granted, b.unlimited OR b.allows_overage AS open,
    b.granted - b.usage - b.held - b.expired AS remaining
  FROM billing_balance b JOIN plans_feature f ON f.id = b.feature_id
  WHERE b.customer_id = %(customer)s AND b.ended_at IS NULL AND (b.expires_at IS NULL OR b.expires_at > %(at)s)
    AND f.type <> 'boolean' AND f.consumable
), pool AS (
  SELECT feature_id, sum(granted) AS granted, sum(greatest(remaining, 0)) AS remaining, bool_or(open) AS open
  FROM live WHERE level = 'pool' GROUP BY feature_id
), own AS (
  SELECT entity_id, feature_id, sum(granted) AS granted, sum(remaining) AS remaining, bool_or(open) AS open
  FROM live WHERE level <> 'pool' GROUP BY entity_id, feature_id
), share AS (
  SELECT own.entity_id, min(
    CASE WHEN own.open OR coalesce(pool.open, false) THEN 2
      ELSE greatest(own.remaining, 0) + coalesce(pool.remaining, 0)
    END / greatest(CASE WHEN own.open OR coalesce(pool.open, false) THEN 1
      ELSE own.granted + coalesce(pool.granted, 0) END, 0.000001)
  ) AS part
  FROM own LEFT JOIN pool USING (feature_id) GROUP BY own.entity_id
)
SELECT e.id, s.part FROM entities_entity e LEFT JOIN share s ON s.entity_id = e.id
WHERE e.customer_id = %(customer)s AND e.deleted_at IS NULL
  AND (%(text)s = '' OR e.external_id ILIKE %(pattern)s OR e.name ILIKE %(pattern)s)
ORDER BY s.part NULLS LAST, e.id LIMIT %(limit)s OFFSET %(offset)s
"""
# The last use of each balance, by its own index.
_LAST_USE = """
SELECT b.id, (
  SELECT l.at FROM billing_ledgerentry l
  WHERE l.balance_id = b.id AND l.kind IN ('usage', 'settle') ORDER BY l.id DESC LIMIT 1
) FROM unnest(%(balances)s::bigint[]) AS b(id)
"""


@dataclass(slots=True)
class Row:
    """An entity with what it is on and what it has left."""

    entity: Entity
    part: Decimal | None  # of the feature that runs out first; None where nothing can run out
    plans: list[Subscription] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)
    last_use: datetime | None = None

    @property
    def is_out(self) -> bool:
        return self.part is not None and self.part <= 0


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the table; `total` counts all live entities that match."""

    rows: list[Row]
    total: int
    number: int
    text: str

    @property
    def pages(self) -> int:
        return max(1, -(-self.total // PER_PAGE))


def page(customer: Customer, *, at: datetime, text: str, number: int) -> Page:
    """One page, six statements."""
    parameters: dict[str, str | int | datetime] = {
        "customer": customer.pk,
        "at": at,
        "text": text,
        "pattern": "%" + text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%",
        "limit": PER_PAGE,
        "offset": (number - 1) * PER_PAGE,
    }
    with connection.cursor() as cursor:
        cursor.execute(_RANKED, parameters)
        ranked: list[tuple[int, Decimal | None]] = cursor.fetchall()
    live = Entity.objects.live().filter(customer=customer)
    matching = live.filter(name__icontains=text) | live.filter(external_id__icontains=text) if text else live
    entities = Entity.objects.select_related("feature").in_bulk([pk for pk, _ in ranked])
    rows = [Row(entities[pk], None if part is None or part > 1 else part) for pk, part in ranked if pk in entities]
    _fill(rows, at=at)
    return Page(rows, matching.count(), number, text)


def _fill(rows: Sequence[Row], *, at: datetime) -> None:
    by_pk = {row.entity.pk: row for row in rows}
    held = Subscription.objects.filter(entity__in=by_pk).current_or_scheduled().select_related("plan")
    for subscription in held.order_by("pk"):
        by_pk[subscription.entity_id or 0].plans.append(subscription)
    balances = list(Balance.objects.live(at).filter(entity__in=by_pk).select_related("feature").order_by("pk"))
    with connection.cursor() as cursor:
        cursor.execute(_LAST_USE, {"balances": [balance.pk for balance in balances]})
        used: dict[int, datetime | None] = dict(cursor.fetchall())
    for row in rows:
        mine = [balance for balance in balances if balance.entity_id == row.entity.pk]
        row.bars = bars(mine)
        uses = [used.get(balance.pk) for balance in mine]
        row.last_use = max((use for use in uses if use is not None), default=None)
