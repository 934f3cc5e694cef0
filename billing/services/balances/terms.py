"""What never changes of a subscription's items: the plan's id and the price, remembered by each process.

Terms are copied when a plan is attached and not edited while balances refer to them, and a plan that has been held
keeps its id (plans.catalog.versions), so nothing here can go stale.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import orjson

from config.database import prepared

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


_TERMS = """
SELECT i.id, p.slug, i.price_amount, i.tiers::text, i.tier_behavior, i.billing_units, i.billing_method, i.max_purchase
FROM billing_subscriptionitem i
JOIN billing_subscription u ON u.id = i.subscription_id
JOIN plans_plan p ON p.id = u.plan_id
WHERE i.id = ANY(%(items)s::bigint[])
"""


def _read(pks: Collection[int]) -> dict[int, Terms]:
    rows = prepared.rows(_TERMS, {"items": list(pks)})
    return {row[0]: Terms(row[1], row[2], tuple(orjson.loads(row[3])), *row[4:]) for row in rows}
