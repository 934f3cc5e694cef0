"""What usage limits have counted, and what they leave (spec balances 11.2).

A customer's or a plan's limit is one counter shared by all its entities; an entity's own limit is its own counter and
takes the entity out of the shared one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import connection

from billing import controls
from billing.controls import UsageLimit
from billing.models import UsageCounter
from billing.services.balances.sources import Scope, SourceFeature
from entities.models import Customer, Entity

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Counted:
    """What one balance gave, as limits count it: `amount` in its own units, `units` in those of the tracked feature."""

    feature_id: int
    amount: Decimal
    units: Decimal
    unlimited: bool = False


def limits(scope: Scope, features: Sequence[SourceFeature]) -> list[tuple[int, UsageLimit]]:
    """The usage limits in force in this scope, with the feature that each caps."""
    if not scope.has_controls:
        return []
    layers = scope.controls()
    if not any("usage_limits" in layer for layer in (layers["entity"], layers["customer"], *layers["plans"])):
        return []
    return [(feature.id, limit) for feature in features for limit in controls.usage_limits(feature.slug, **layers)]


def headroom(
    scope: Scope, features: Sequence[SourceFeature], properties: Mapping[str, Any], *, lock: bool = False
) -> dict[int, Decimal]:
    """What the limits that count an event with these properties leave, by feature; below 0 when overflowed."""
    left: dict[int, Decimal] = {}
    for feature_id, limit in limits(scope, features):
        if limit.counts(properties):
            room = limit.limit - used(scope, feature_id, limit, lock=lock)
            left[feature_id] = min(room, left.get(feature_id, room))
    return left


def count(
    scope: Scope, features: Sequence[SourceFeature], moved: Sequence[Counted], properties: Mapping[str, Any]
) -> None:
    """Count what was taken (below 0: given back): tracked units against the feature's own limits whatever paid, and
    credits against a credit feature's. Unlimited balances are not counted."""
    for feature_id, limit in limits(scope, features):
        if not limit.counts(properties):
            continue
        is_own = features[0].id == feature_id
        counted = [part for part in moved if not part.unlimited and (is_own or part.feature_id == feature_id)]
        by = sum((part.units if is_own else part.amount for part in counted), ZERO)
        if by:
            add(scope, feature_id, limit, by)


_ADD = """
INSERT INTO billing_usagecounter (customer_id, entity_id, feature_id, limit_key, window_start, used)
VALUES (%(customer)s, %(entity)s, %(feature)s, %(key)s, %(start)s, greatest(%(by)s::numeric, 0))
ON CONFLICT ({target}) WHERE {condition}
DO UPDATE SET used = greatest(billing_usagecounter.used + %(by)s::numeric, 0)
"""
_ADD_TO_CUSTOMER = _ADD.format(target="customer_id, feature_id, limit_key, window_start", condition="entity_id IS NULL")
_ADD_TO_ENTITY = _ADD.format(target="entity_id, feature_id, limit_key, window_start", condition="entity_id IS NOT NULL")


def add(scope: Scope, feature_id: int, limit: UsageLimit, by: Decimal) -> None:
    """Move one counter; a window that starts counts from 0."""
    of_entity = limit.owner == "entity"
    with connection.cursor() as cursor:
        cursor.execute(
            _ADD_TO_ENTITY if of_entity else _ADD_TO_CUSTOMER,
            {
                "customer": scope.customer_pk,
                "entity": scope.entity_pk if of_entity else None,
                "feature": feature_id,
                "key": limit.key,
                "start": limit.window(scope.at, scope.cycle_anchor)[0],
                "by": by,
            },
        )


def shown(stored: controls.Controls, *, customer: Customer, entity: Entity | None, at: datetime) -> list[Decimal]:
    """The present usage of each limit of a customer or entity, in the order of its entries, as reads show it."""
    in_force = controls.usage_limits_of(stored, "entity" if entity else "customer")
    slugs = [limit.feature for limit in in_force if limit is not None]
    if not slugs:
        return [ZERO] * len(in_force)
    anchor = customer.billing_cycle_anchor or customer.created_at
    counted = {
        (counter.feature.slug, counter.limit_key, counter.window_start): counter.used
        for counter in UsageCounter.objects.filter(
            customer=customer, entity=entity, feature__slug__in=slugs
        ).select_related("feature")
    }
    return [
        ZERO if limit is None else counted.get((limit.feature, limit.key, limit.window(at, anchor)[0]), ZERO)
        for limit in in_force
    ]


def used(scope: Scope, feature_id: int, limit: UsageLimit, *, lock: bool = False) -> Decimal:
    """What a limit has counted in its present window; with `lock` nobody else counts until the transaction ends."""
    of_entity = limit.owner == "entity"
    if lock:
        # Makes sure there is a row to hold: two tracks at once must not both see the whole headroom.
        add(scope, feature_id, limit, ZERO)
    rows = UsageCounter.objects.filter(
        customer_id=scope.customer_pk,
        entity=scope.entity_pk if of_entity else None,
        feature_id=feature_id,
        limit_key=limit.key,
        window_start=limit.window(scope.at, scope.cycle_anchor)[0],
    ).values_list("used", flat=True)
    return next(iter(rows), ZERO)
