"""Subscriptions with what their balances, invoices and vacated seats say: all that computing needs."""

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from decimal import Decimal

from django.db.models import Q

from billing.models import Balance, Invoice, InvoiceLine, Overage, PendingLine, Subscription, VacatedSeat
from billing.models.subscriptions import SubscriptionQuerySet
from billing.proration import Covered, Holding, Period
from entities.models import Customer, Entity
from entities.subject import Subject

ZERO = Decimal(0)
_DEAD = (Invoice.Status.VOID, Invoice.Status.UNCOLLECTIBLE)


def rows(customer: Customer) -> SubscriptionQuerySet:
    """The customer's subscriptions with all that rendering and computing touch."""
    return (
        Subscription.objects.filter(customer=customer)
        .select_related("plan", "entity", "customer")
        .prefetch_related("items__feature", "items__entity_feature", "items__license_plan")
        .order_by("started_at", "pk")
    )


def rows_in(scopes: Collection[tuple[int, int | None]]) -> SubscriptionQuerySet:
    """The same for many scopes (keys of customer and entity): plans, customers and features are read once each."""
    entities = [entity for _, entity in scopes if entity is not None]
    owners = [customer for customer, entity in scopes if entity is None]
    return (
        Subscription.objects.filter(Q(entity__in=entities) | Q(entity=None, customer__in=owners))
        .prefetch_related("plan", "entity", "customer", "items__feature", "items__entity_feature")
        .order_by("started_at", "pk")
    )


def load(subscriptions: Iterable[Subscription], *, at: datetime | None) -> list[Holding]:
    """The holdings of saved subscriptions, in their order, with what is unbilled and what covers time after `at`.

    None leaves out what covers time: nothing is going to be given back.
    """
    found = {row.pk: Holding(row, list(row.items.all())) for row in subscriptions}
    if found:
        _read_lines(found, at)
        for seat in vacated(list(found.values())):
            found[seat.item.subscription_id].vacated.append(seat)
        # Only what is sold by usage can be overdrawn or count seats.
        sold = {pk for pk, holding in found.items() if any(item.is_usage_based for item in holding.items)}
        if sold:
            _read_balances({pk: found[pk] for pk in sold})
            for overage in Overage.objects.filter(item__subscription__in=sold, settled_at=None).select_related("item"):
                found[overage.item.subscription_id].overages.append(overage)
    return list(found.values())


def one(subscription: Subscription, *, at: datetime) -> Holding:
    """The holding of one saved subscription."""
    return load([subscription], at=at)[0]


def vacated(holdings: Sequence[Holding]) -> list[VacatedSeat]:
    """Paid seats whose holders left and that nobody took over yet, oldest first."""
    items = [item.pk for holding in holdings for item in holding.items if item.on_decrease == item.OnDecrease.NONE]
    if not items:
        return []
    seats = VacatedSeat.objects.filter(item__in=items, closed_at=None).select_related("leaver", "item")
    return list(seats.order_by("pk"))


def expect_seats(holding: Holding, predecessor: Holding | None, subject: Subject) -> None:
    """Count the seats that an unsaved holding will start with, as provisioning will count them.

    Standing counts carry over from the predecessor, and entities that exist are seats in use (spec billing 9.1).
    """
    standing = [item for item in holding.items if item.feature.is_allocated and item.is_usage_based]
    if not standing:
        return
    before = _standing_usage(predecessor)
    for item in standing:
        if subject.entity is not None:
            used = [before.get((item.feature_id, subject.entity.pk), ZERO)]
        elif item.entity_feature_id is not None:
            holders = Entity.objects.live().filter(customer=subject.customer, feature=item.entity_feature_id)
            used = [before.get((item.feature_id, pk), ZERO) for pk in holders.values_list("pk", flat=True)]
        else:
            entities = Entity.objects.live().filter(customer=subject.customer, feature=item.feature_id).count()
            used = [max(before.get((item.feature_id, None), ZERO), Decimal(entities))]
        holding.seats[item.position] = sum((max(ZERO, use - item.included) for use in used), ZERO)
        holding.seats_held[item.position] = sum(used, ZERO)


def _standing_usage(predecessor: Holding | None) -> dict[tuple[int, int | None], Decimal]:
    if predecessor is None:
        return {}
    usage: dict[tuple[int, int | None], Decimal] = defaultdict(Decimal)
    for balance in Balance.objects.filter(subscription=predecessor.subscription, ended_at=None, rolled_over_from=None):
        usage[balance.feature_id, balance.entity_id] += balance.usage + balance.held
    for seat in vacated([predecessor]):
        usage[seat.item.feature_id, predecessor.subscription.entity_id] -= 1  # ends with the plan that it was paid in
    return usage


def _read_balances(found: dict[int, Holding]) -> None:
    positions = {item.pk: (holding, item) for holding in found.values() for item in holding.items}
    balances = Balance.objects.filter(subscription__in=found, ended_at=None, rolled_over_from=None, allows_overage=True)
    for balance in balances:
        if balance.item_id not in positions:
            continue
        holding, item = positions[balance.item_id]
        beyond = max(ZERO, -balance.remaining)
        counts = holding.seats if item.feature.is_allocated else holding.overdrawn
        counts[item.position] = counts.get(item.position, ZERO) + beyond
        if item.feature.is_allocated:
            held = holding.seats_held.get(item.position, ZERO)
            holding.seats_held[item.position] = held + balance.usage + balance.held


def _read_lines(found: dict[int, Holding], at: datetime | None) -> None:
    if at is not None:
        lines = InvoiceLine.objects.filter(
            Q(subscription__in=found) & Q(period_end__gt=at) & ~Q(invoice__status__in=_DEAD)
        ).order_by("pk")
        for line in lines:
            found[line.subscription_id or 0].covered.append(_covered(line))
    waiting = PendingLine.objects.filter(subscription__in=found, line=None).order_by("pk")
    for row in waiting:
        holding = found[row.subscription_id]
        holding.pending.append(row)
        if at is not None and row.period_end is not None and row.period_end > at:
            holding.covered.append(_covered(row))


def _covered(line: InvoiceLine | PendingLine) -> Covered:
    start, end = line.period_start, line.period_end
    if start is None or end is None:
        raise ValueError(f"line {line.pk} has no period")
    lowers = line.lowers if isinstance(line, InvoiceLine) else ""
    kind, period = lowers or line.kind, Period(start, end)
    return Covered(kind, line.item_id, line.amount, period, line.display_name, line.description, bool(lowers))


def fingerprint(held: Iterable[Holding], *others: object) -> str:
    """What a computation rested on, as a short text: plans, quantities, seats, overage; not the time."""
    state = [
        (
            row.pk,
            row.status,
            row.ends_at,
            row.current_period_end,
            [(item.pk, str(item.quantity), str(item.upcoming_quantity)) for item in holding.items],
            sorted(holding.seats.items()),
            sorted(holding.overdrawn.items()),
            [overage.pk for overage in holding.overages],
            [line.pk for line in holding.pending],
        )
        for holding in held
        for row in [holding.subscription]
    ]
    return hashlib.sha256(repr((state, others)).encode()).hexdigest()[:32]
