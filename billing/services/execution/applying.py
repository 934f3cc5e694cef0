"""Carrying an outcome out on our own rows: one transaction, under the customer's lock."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal

from django.db import connection
from django.db.models import Count

from billing.models import Balance, InvoiceLine, Operation, Overage, PendingLine, Subscription, VacatedSeat
from billing.outcomes import End, NewCycle, NewQuantity, Outcome, Start
from billing.proration import Holding, Line
from billing.services import invoices
from billing.services.balances import ledger, provisioning, resets
from billing.services.balances.provisioning import CarryOver
from billing.services.execution import assignments
from billing.services.plan_changes import discounts
from config.actor import Actor
from entities.models import Customer

Status = Subscription.Status
_GO_ON = """
UPDATE billing_subscription s
SET billing_cycle_anchor = n.anchor, current_period_start = n.start, current_period_end = n.until
FROM unnest(%(id)s::bigint[], %(anchor)s::timestamptz[], %(start)s::timestamptz[], %(end)s::timestamptz[])
  AS n(id, anchor, start, until)
WHERE s.id = n.id
"""


def apply(outcome: Outcome, *, customer: Customer, operation: Operation | None, actor: Actor) -> None:
    """Change subscriptions and balances as computed. The caller holds the customer's row; lines are written after."""
    at, key = outcome.at, operation.pk if operation else None
    Subscription.objects.filter(pk__in=[row.pk for row in outcome.deletes]).delete()
    drop_vacated(outcome.vacated, at=at, actor=actor, operation_id=key)
    for end in outcome.ends:
        _end(end, at=at, actor=actor, operation_id=key)
    for row in outcome.pauses:
        _pause(row, at=at, actor=actor, operation_id=key)
    for start in outcome.starts:
        _start(start, at=at, actor=actor, operation_id=key)
    for holding in outcome.schedules:
        _save(holding)
    for row in outcome.resumes:
        _resume(row, at=at, actor=actor, operation_id=key)
    for row in [*(end.subscription for end in outcome.ends), *outcome.pauses]:
        assignments.hand_over(row, _heir(row, outcome), at=at, actor=actor, operation_id=key)
    for cancellation in outcome.cancellations:
        row = cancellation.subscription
        row.ends_at = cancellation.ends_at
        row.canceled_at = at if cancellation.ends_at is not None else None
        row.save(update_fields=["ends_at", "canceled_at"])
    go_on(outcome.cycles)
    for quantity in outcome.quantities:
        _set_quantity(quantity, at=at, actor=actor, operation_id=key)
    discounts.apply(outcome, customer=customer)
    settle_customer(customer, outcome)


def go_on(cycles: Sequence[NewCycle]) -> None:
    """Let subscriptions go on into their next periods."""
    if not cycles:
        return
    for cycle in cycles:
        row = cycle.subscription
        if row.billing_cycle_anchor != cycle.anchor:
            resets.count_from(cycle.anchor, [row.pk], at=cycle.start)
        row.billing_cycle_anchor = cycle.anchor
        row.current_period_start, row.current_period_end = cycle.start, cycle.end
    with connection.cursor() as cursor:
        cursor.execute(
            _GO_ON,
            {
                "id": [cycle.subscription.pk for cycle in cycles],
                "anchor": [cycle.anchor for cycle in cycles],
                "start": [cycle.start for cycle in cycles],
                "end": [cycle.end for cycle in cycles],
            },
        )


def fall_behind(outcomes: Sequence[Outcome]) -> None:
    """Renewals that could not be paid: what they bill goes on, past due."""
    rows = [cycle.subscription for outcome in outcomes for cycle in outcome.cycles]
    starts = [start.holding.subscription for outcome in outcomes for start in outcome.starts]
    rows += [row for row in starts if row.is_paid]
    for row in rows:
        row.status = Status.PAST_DUE
    Subscription.objects.filter(pk__in=[row.pk for row in rows]).update(status=Status.PAST_DUE)


def settle(outcome: Outcome, rows: Iterable[InvoiceLine]) -> None:
    """Settle what was put aside: with the line that bills it, else as waived."""
    ended = [end.subscription.pk for end in outcome.ends]
    by_item = {row.item_id: row for row in rows if row.kind == InvoiceLine.Kind.OVERAGE and row.item_id}
    for overage in Overage.objects.filter(item__subscription__in=ended, settled_at=None):
        overage.settled_at, overage.line = outcome.at, by_item.get(overage.item_id)
        overage.save(update_fields=["settled_at", "line"])
    waived = [overage.pk for overage in outcome.waived]
    Overage.objects.filter(pk__in=waived, settled_at=None).update(settled_at=outcome.at)


def wait(lines: Iterable[Line], *, at: datetime) -> None:
    """Keep lines for the next invoice of their subscriptions."""
    PendingLine.objects.bulk_create(
        [
            PendingLine(subscription=line.subscription, item=line.item, **invoices.columns(line), created_at=at)
            for line in lines
        ]
    )


def drop_vacated(seats: Iterable[VacatedSeat], *, at: datetime, actor: Actor, operation_id: int | None = None) -> None:
    """Stop counting vacated seats that nobody took over."""
    keys = [seat.pk for seat in seats]
    if not keys:
        return
    counts = VacatedSeat.objects.filter(pk__in=keys, closed_at=None).values("item").annotate(seats=Count("pk"))
    changes = [
        ledger.Change(
            balance.pk,
            ledger.Kind.SEAT,
            usage=Decimal(-row["seats"]),
            operation_id=operation_id,
            reason="A vacated seat was given up",
        )
        for row in counts
        for balance in Balance.objects.filter(item=row["item"], ended_at=None, rolled_over_from=None)[:1]
    ]
    ledger.record(changes, at=at, actor=actor)
    VacatedSeat.objects.filter(pk__in=keys).update(closed_at=at)


def _save(holding: Holding) -> None:
    row = holding.subscription
    for former in Subscription.objects.filter(public_id=row.public_id, status=Status.EXPIRED).exclude(pk=row.pk or 0):
        _give_up_id(former)
    row.save()
    for item in holding.items:
        item.subscription = row
        item.save()


def _start(start: Start, *, at: datetime, actor: Actor, operation_id: int | None) -> None:
    row, predecessor = start.holding.subscription, start.predecessor
    if row.status != Status.PAST_DUE:
        row.status = Status.ACTIVE
    if predecessor is not None and start.takes_id:
        row.public_id = predecessor.public_id
        _give_up_id(predecessor)
    if predecessor is not None and predecessor.is_paid and row.is_paid and not row.processor_subscription_id:
        row.processor_subscription_id = predecessor.processor_subscription_id
    _save(start.holding)
    provisioning.start(
        subscription=row,
        at=at,
        actor=actor,
        predecessor=predecessor,
        carry=CarryOver(balances=start.carried_balances, usages=start.carried_usages),
        operation_id=operation_id,
    )


def _give_up_id(row: Subscription) -> None:
    """What has ended leaves its id to what lives."""
    row.public_id = f"{row.public_id[:200]}~{row.pk}"
    row.save(update_fields=["public_id"])


def _end(end: End, *, at: datetime, actor: Actor, operation_id: int | None) -> None:
    row = end.subscription
    open_seats = VacatedSeat.objects.filter(item__subscription=row, closed_at=None)
    drop_vacated(open_seats, at=at, actor=actor, operation_id=operation_id)
    row.status = Status.EXPIRED
    row.canceled_at = row.canceled_at or at
    row.ends_at = at
    row.save(update_fields=["status", "canceled_at", "ends_at"])
    provisioning.stop(subscription=row, at=at, actor=actor, reason=end.reason, operation_id=operation_id)
    assignments.give_back(row, at=at, actor=actor, operation_id=operation_id)


def _heir(row: Subscription, outcome: Outcome) -> Subscription | None:
    """What takes the place of a plan that ends or pauses."""
    for start in outcome.starts:
        if start.predecessor is not None and start.predecessor.pk == row.pk:
            return start.holding.subscription
    return next((other for other in outcome.resumes if other.group == row.group), None)


def _pause(row: Subscription, *, at: datetime, actor: Actor, operation_id: int | None) -> None:
    row.status = Status.PAUSED
    row.save(update_fields=["status"])
    provisioning.stop(subscription=row, at=at, actor=actor, reason="Paused by a trial", operation_id=operation_id)


def _resume(row: Subscription, *, at: datetime, actor: Actor, operation_id: int | None) -> None:
    row.status = Status.ACTIVE
    row.save(update_fields=["status"])
    provisioning.start(subscription=row, at=at, actor=actor, operation_id=operation_id)


def _set_quantity(change: NewQuantity, *, at: datetime, actor: Actor, operation_id: int | None) -> None:
    item = change.item
    if change.at_renewal:
        item.upcoming_quantity = change.quantity
    else:
        item.quantity, item.upcoming_quantity = change.quantity, None
    item.save(update_fields=["quantity", "upcoming_quantity"])
    if not change.at_renewal:
        provisioning.set_prepaid(item=item, quantity=change.quantity, at=at, actor=actor, operation_id=operation_id)


def settle_customer(customer: Customer, outcome: Outcome) -> None:
    """What the first paid plan settles for the customer: anchor and currency."""
    changed = []
    if outcome.customer_anchor is not None and customer.billing_cycle_anchor != outcome.customer_anchor:
        customer.billing_cycle_anchor = outcome.customer_anchor
        changed.append("billing_cycle_anchor")
    if outcome.lines and not customer.currency:
        customer.currency = outcome.currency
        changed.append("currency")
    if changed:
        customer.save(update_fields=changed)
