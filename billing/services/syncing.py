"""Telling the processor what a scope's subscription holds: said again as often as needed, it changes nothing more."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal

from billing import proration
from billing.models import Subscription
from billing.processors import SubscriptionItemState, get_processor
from billing.proration import Holding
from billing.services import holdings
from entities.models import Customer, Entity

ZERO = Decimal(0)
_LIVE = (Subscription.Status.ACTIVE, Subscription.Status.PAST_DUE)


def sync(
    *, customer: Customer, entity: Entity | None, ended: Iterable[Subscription], at: datetime, key: str
) -> None:
    """Bring the processor's subscriptions of one scope in line with our rows; `key` names this change.

    The paid plans of a scope share one subscription, those with a cycle of their own have one each. One that no plan
    uses any more ends, without credit: what there was to credit has been invoiced.
    """
    rows = [row for row in holdings.rows(customer).filter(entity=entity, is_paid=True) if row.status in _LIVE]
    groups: dict[int, list[Holding]] = defaultdict(list)
    for holding in holdings.load(rows, at=at):
        groups[holding.subscription.pk if holding.subscription.has_own_cycle else 0].append(holding)
    used = set()
    for group, held in groups.items():
        used.add(_put(customer, entity, held, at=at, key=f"{key}-{group}"))
    for subscription_id in {row.processor_subscription_id for row in ended} - used - {""}:
        get_processor().cancel_subscription(subscription_id, key=f"{key}-end")


def ensure_customer(customer: Customer) -> str:
    """The customer's id at the processor, made when it is first needed."""
    if not customer.processor_id:
        customer.processor_id = get_processor().ensure_customer(
            ref=customer.external_id, email=customer.email, name=customer.name, key=f"customer-{customer.pk}"
        )
        Customer.objects.filter(pk=customer.pk).update(processor_id=customer.processor_id)
    return customer.processor_id


def _put(customer: Customer, entity: Entity | None, held: list[Holding], *, at: datetime, key: str) -> str:
    processor, rows = get_processor(), [holding.subscription for holding in held]
    items = [item for holding in held for item in _items(holding)]
    first = min(rows, key=lambda row: row.current_period_end or at)
    start, end = first.current_period_start or at, first.current_period_end or at
    found = next((row.processor_subscription_id for row in rows if row.processor_subscription_id), "")
    if not found:
        found = processor.create_subscription(
            customer_id=ensure_customer(customer),
            entity_id=entity.external_id if entity else None,
            items=items,
            period_start=start,
            period_end=end,
            anchor=first.billing_cycle_anchor or at,
            key=f"{key}-subscription",
        )
    processor.update_subscription(
        found,
        items=items,
        period_start=start,
        period_end=end,
        status=_status(rows, at),
        cancel_at=_cancel_at(customer, entity, rows),
        key=f"{key}-items",
    )
    Subscription.objects.filter(pk__in=[row.pk for row in rows]).exclude(processor_subscription_id=found).update(
        processor_subscription_id=found
    )
    return found


def _items(holding: Holding) -> list[SubscriptionItemState]:
    """The prices as the processor shows them; seats without those that are only kept until the renewal."""
    kept: dict[int, int] = defaultdict(int)
    for seat in holdings.vacated([holding]):
        kept[seat.item_id] += 1
    return [
        SubscriptionItemState(
            plan_id=holding.subscription.plan.slug,
            feature_id=price.item.feature.slug if price.item else None,
            quantity=price.quantity - kept[price.item.pk] if price.item else price.quantity,
            amount=price.amount,
        )
        for price in proration.advances(holding)
        if price.interval is not None
    ]


def _status(rows: list[Subscription], at: datetime) -> str:
    if any(row.status == Subscription.Status.PAST_DUE for row in rows):
        return "past_due"
    return "trialing" if all(row.is_trialing(at) for row in rows) else "active"


def _cancel_at(customer: Customer, entity: Entity | None, rows: list[Subscription]) -> datetime | None:
    """When the last plan of the subscription ends, unless a paid one is waiting to take its place."""
    ends = [row.ends_at for row in rows]
    successor = Subscription.objects.filter(
        customer=customer, entity=entity, status=Subscription.Status.SCHEDULED, is_paid=True
    )
    if any(end is None for end in ends) or successor.exists():
        return None
    return max(end for end in ends if end is not None)
