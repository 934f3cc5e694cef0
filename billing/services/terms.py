"""What never changes of a subscription's items: the plan's id and the price, remembered by each process.

Terms are copied when a plan is attached and not edited while balances refer to them, and a plan that has been held
keeps its id (plans.catalog.versions), so nothing here can go stale.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from billing.models import SubscriptionItem

# Larger than the working set of most deployments; dropped whole when full.
_MOST = 100_000


@dataclass(frozen=True, slots=True)
class Terms:
    """Of which plan a balance is, and what its item costs (an empty `billing_method`: nothing)."""

    plan_slug: str | None = None
    price_amount: Decimal | None = None
    price_tiers: tuple[dict[str, Any], ...] = ()
    price_tier_behavior: str = ""
    price_billing_units: Decimal | None = None
    price_billing_method: str = ""
    price_max_purchase: Decimal | None = None


BY_HAND = Terms()
_known: dict[int, Terms] = {}


def of_items(pks: Collection[int]) -> Mapping[int, Terms]:
    """The terms of these items, by key; one query if any is new to this process."""
    found = {pk: _known.get(pk) for pk in pks}
    missing = [pk for pk, terms in found.items() if terms is None]
    if missing:
        learnt = _read(missing)
        if len(_known) + len(learnt) > _MOST:
            _known.clear()
        _known.update(learnt)
        found.update(learnt)
    return {pk: terms for pk, terms in found.items() if terms is not None}


def _read(pks: Collection[int]) -> dict[int, Terms]:
    items = SubscriptionItem.objects.filter(pk__in=pks).select_related("subscription__plan")
    return {
        item.pk: Terms(
            plan_slug=item.subscription.plan.slug,
            price_amount=item.price_amount,
            price_tiers=tuple(item.tiers),
            price_tier_behavior=item.tier_behavior,
            price_billing_units=item.billing_units,
            price_billing_method=item.billing_method,
            price_max_purchase=item.max_purchase,
        )
        for item in items
    }
