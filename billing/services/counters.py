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
from billing.services.sources import Scope, SourceFeature
from entities.models import Customer, Entity

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Counted:
    """What one balance gave, as limits count it: `amount` in its own units, `units` in those of the tracked feature."""

    feature_id: int
    amount: Decimal
    units: Decimal
    unlimited: bool = False


def limits(scope: Scope, features: Sequence[SourceFeature]) -> dict[int, UsageLimit]:
    """The usage limits in force in this scope, by feature."""
    layers = scope.controls()
    if not any("usage_limits" in layer for layer in (layers["entity"], layers["customer"], *layers["plans"])):
        return {}
    found = {feature.id: controls.usage_limit(feature.slug, **layers) for feature in features}
    return {feature_id: limit for feature_id, limit in found.items() if limit is not None}


def headroom(
    scope: Scope, features: Sequence[SourceFeature], properties: Mapping[str, Any], *, lock: bool = False
) -> dict[int, Decimal]:
    """What each limit that counts an event with these properties leaves, by feature; below 0 when overflowed."""
    in_force = {feature_id: limit for feature_id, limit in limits(scope, features).items() if limit.counts(properties)}
    return {
        feature_id: limit.limit - _used(scope, feature_id, limit, lock=lock) for feature_id, limit in in_force.items()
    }


def count(
    scope: Scope, features: Sequence[SourceFeature], moved: Sequence[Counted], properties: Mapping[str, Any]
) -> None:
    """Count what was taken (below 0: given back): tracked units against the feature's own limit whatever paid, and
    credits against a credit feature's. Unlimited balances are not counted."""
    for feature_id, limit in limits(scope, features).items():
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


def shown(stored: controls.Controls, *, customer: Customer, entity: Entity | None, at: datetime) -> dict[str, Decimal]:
    """The present usage of each limit of a customer or entity, by feature slug, as reads show it."""
    anchor = customer.billing_cycle_anchor or customer.created_at
    in_force = {}
    for slug in controls.limited_features(stored):
        layer: dict[str, Any] = {"entity": stored if entity else {}, "customer": {} if entity else stored, "plans": []}
        limit = controls.usage_limit(slug, **layer)
        if limit is not None:
            in_force[slug] = limit
    if not in_force:
        return {}
    counted = {
        (counter.feature.slug, counter.limit_key, counter.window_start): counter.used
        for counter in UsageCounter.objects.filter(
            customer=customer, entity=entity, feature__slug__in=in_force
        ).select_related("feature")
    }
    return {slug: counted.get((slug, limit.key, limit.window(at, anchor)[0]), ZERO) for slug, limit in in_force.items()}


def _used(scope: Scope, feature_id: int, limit: UsageLimit, *, lock: bool) -> Decimal:
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
