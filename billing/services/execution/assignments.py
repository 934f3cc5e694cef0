"""Licences that entities hold, as subscriptions that cost nothing: ended, given back to their pool, passed on.

Everything here is database work inside the caller's transaction, with the customer row locked by the caller.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal

from django.db.models import Count, QuerySet

from billing.models import Balance, Subscription, SubscriptionItem
from billing.services.balances import ledger, provisioning, resets
from config.actor import Actor
from entities.models import Customer

Kind = ledger.Kind
Status = Subscription.Status


def of(customer: Customer) -> QuerySet[Subscription]:
    """The licences that entities of the customer hold, oldest first."""
    rows = Subscription.objects.live().filter(customer=customer, license_item__isnull=False)
    return rows.select_related("plan", "entity", "license_item").order_by("pk")


def pools(customer: Customer, plan_id: str) -> list[Balance]:
    """The balances that count the licences of a plan, the pool bought first first."""
    balances = Balance.objects.filter(customer=customer, ended_at=None, item__license_plan__slug=plan_id)
    related = balances.select_related("item__license_plan", "item__subscription", "feature")
    return list(related.select_for_update(of=("self",), no_key=True).order_by("pk"))


def take(pool: Balance, row: Subscription, *, at: datetime, actor: Actor) -> None:
    """Count one licence more as assigned."""
    change = ledger.Change(pool.pk, Kind.SEAT, usage=Decimal(1), reason=f"{row.entity} got a licence")
    ledger.record([change], at=at, actor=actor)
    pool.usage += 1


def end(
    rows: Iterable[Subscription], *, at: datetime, actor: Actor, reason: str, operation_id: int | None = None
) -> None:
    """End plans of entities with their balances; licences among them go back to their pools."""
    for row in rows:
        row.status, row.canceled_at, row.ends_at = Status.EXPIRED, row.canceled_at or at, at
        row.save(update_fields=["status", "canceled_at", "ends_at"])
        provisioning.stop(subscription=row, at=at, actor=actor, reason=reason, operation_id=operation_id)
        give_back(row, at=at, actor=actor, operation_id=operation_id)


def give_back(row: Subscription, *, at: datetime, actor: Actor, operation_id: int | None = None) -> None:
    """Count the licence of a plan that ended as free again; nothing happens for other plans and pools that are gone."""
    if row.license_item_id is None:
        return
    reason = f"{row.entity} gave a licence back"
    recount([row.license_item_id], at=at, actor=actor, reason=reason, operation=operation_id)


def hand_over(
    row: Subscription, heir: Subscription | None, *, at: datetime, actor: Actor, operation_id: int | None = None
) -> None:
    """Pass the assigned licences of a plan that ended on to the pools of its heir.

    What the heir doesn't offer, or has too few of, ends: the licences assigned last first.
    """
    if row.entity_id is not None:
        return
    assigned: dict[str, list[Subscription]] = defaultdict(list)
    for assignment in of(row.customer).filter(license_item__subscription=row):
        assigned[assignment.plan.slug].append(assignment)
    if not assigned:
        return
    successors = _pool_items(heir) if heir is not None else {}
    for slug, rows in assigned.items():
        item = successors.get(slug)
        size = int(max(item.included, item.quantity)) if item is not None else 0
        if item is not None and heir is not None:
            _move(rows[:size], item, heir, at=at)
        end(rows[size:], at=at, actor=actor, reason=f"{row.plan} ended", operation_id=operation_id)
    keys = [item.pk for item in successors.values()]
    recount(keys, at=at, actor=actor, reason=f"Passed on from {row.plan}", operation=operation_id)


def recount(items: Sequence[int], *, at: datetime, actor: Actor, reason: str, operation: int | None = None) -> None:
    """Make the pools of these items say how many of their licences are assigned."""
    held = Subscription.objects.live().filter(license_item__in=items).values_list("license_item")
    numbers = dict(held.annotate(number=Count("pk")).order_by())
    balances = Balance.objects.filter(item__in=items, ended_at=None).select_for_update(no_key=True).order_by("pk")
    ledger.record(
        [
            ledger.Change(balance.pk, Kind.SEAT, usage=by, operation_id=operation, reason=reason)
            for balance in balances
            if (by := numbers.get(balance.item_id, 0) - balance.usage)
        ],
        at=at,
        actor=actor,
    )


def _move(rows: Sequence[Subscription], item: SubscriptionItem, heir: Subscription, *, at: datetime) -> None:
    """Count licences in another pool; their cycles follow those of the plan that offers them now."""
    anchor = heir.billing_cycle_anchor or heir.started_at
    keys = [row.pk for row in rows]
    Subscription.objects.filter(pk__in=keys).update(license_item=item, billing_cycle_anchor=anchor)
    resets.count_from(anchor, keys, at=at)


def _pool_items(row: Subscription) -> dict[str, SubscriptionItem]:
    items = SubscriptionItem.objects.filter(subscription=row, license_plan__isnull=False).select_related("license_plan")
    return {item.license_plan.slug: item for item in items if item.license_plan is not None}
