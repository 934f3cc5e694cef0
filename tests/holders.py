"""Customers on plans, straight in the database: for tests of what the catalogue may still change."""

from datetime import UTC, datetime
from typing import Any

from billing.models import Subscription
from entities.models import Customer
from plans.models import Plan

EARLIER = datetime(2026, 4, 1, tzinfo=UTC)


def hold(plan_id: str, *, by: str = "acme", **fields: Any) -> Subscription:
    """The customer `by`, made if need be, holds the latest version of the plan since April."""
    customer, _ = Customer.objects.get_or_create(external_id=by, defaults={"created_at": EARLIER})
    plan = Plan.objects.get(slug=plan_id, is_latest=True)
    values: dict[str, Any] = {
        "status": Subscription.Status.ACTIVE,
        "started_at": EARLIER,
        "created_at": EARLIER,
        "group": plan.group,
        "is_add_on": plan.is_add_on,
        "price_amount": plan.price_amount,
        "price_interval": plan.price_interval,
        **fields,
    }
    number = Subscription.objects.count()
    return Subscription.objects.create(customer=customer, plan=plan, public_id=f"sub_{number}", **values)
