"""Time passing for a customer: everything that falls due, in order, each at its own instant."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db.models import F, Q, QuerySet

from billing.models import Balance, Hold, Operation, Subscription
from billing.processors import get_processor
from billing.processors.failures import RenewalNotReady
from billing.services import cycles, holdings, holds, operations, queue, recovery, resets, subscriptions
from config.actor import Actor
from config.errors import InvalidRequest
from entities.models import Customer
from plans.models import Plan

logger = logging.getLogger(__name__)

Status = Subscription.Status
_LIVE = (Status.ACTIVE, Status.PAST_DUE)
# More rounds at one instant than any customer can need: something does not make progress.
_TOO_MANY = 1000


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a customer was brought, and in how many steps."""

    at: datetime
    steps: int


def set(*, customer: Customer, at: datetime, actor: Actor) -> Progress:  # noqa: A001  read as clock.set
    """Turn a customer's test clock to `at`, doing everything that falls due on the way; it never turns back.

    The first instant is free. Raises InvalidRequest for a step backward, or where the environment is live.
    """
    if settings.ENVIRONMENT == "live":
        raise InvalidRequest("Test clocks are for the sandbox only.")
    with queue.customer(customer):
        customer.refresh_from_db()
        if customer.clock_at is None:
            _tell(customer, at)
            return Progress(at, 0)
        if at < customer.clock_at:
            raise InvalidRequest("now lies before the customer's clock, which only turns forward.")
        steps = advance(customer=customer, until=at, actor=actor)
        _tell(customer, at)
        return Progress(at, steps)


def advance(*, customer: Customer, until: datetime, actor: Actor) -> int:
    """Do everything that is due for one customer up to `until`, in the order of its instants; returns the steps."""
    with queue.customer(customer):
        recovery.finish_pending(customer)
        steps, repeated, last = 0, 0, None
        while (moment := next_due(customer, until)) is not None:
            repeated = repeated + 1 if moment == last else 0
            if repeated > _TOO_MANY:
                raise RuntimeError(f"customer {customer.pk} makes no progress at {moment}")
            last = moment
            if customer.clock_at is not None and moment > customer.clock_at:
                _tell(customer, moment)
            try:
                _do(customer, moment, actor)
            except RenewalNotReady as waits:
                # What comes later must not come first: the next run, or the processor's word, goes on from here.
                logger.info("customer %s: %s", customer.pk, waits.message)
                break
            steps += 1
        return steps


def next_due(customer: Customer, until: datetime) -> datetime | None:
    """The earliest instant up to `until` at which something has to be done; None when there is nothing."""
    rows = Subscription.objects.filter(customer=customer)
    live = rows.filter(status__in=_LIVE)
    balances = Balance.objects.filter(customer=customer, ended_at=None).filter(
        Q(subscription=None) | Q(subscription__ends_at=None) | Q(subscription__ends_at__gt=F("next_reset_at"))
    )
    paid = live.filter(is_paid=True)
    held = Hold.objects.filter(customer=customer, status=Hold.Status.HELD)
    waiting = Operation.objects.filter(customer=customer, status=Operation.Status.WAITING)
    moments = [
        *_earliest(paid, "current_period_end", until),
        *_earliest(live, "ends_at", until),
        *_earliest(rows.filter(status=Status.SCHEDULED), "started_at", until),
        *_earliest(live.filter(trial_on_end=Plan.TrialEnd.REVERT), "trial_ends_at", until),
        *_earliest(balances, "next_reset_at", until),
        *_earliest(held, "expires_at", until),
        *_earliest(waiting, "expires_at", until),
    ]
    return min(moments, default=None)


def _earliest(rows: QuerySet[Any], field: str, until: datetime) -> list[datetime]:
    return list(rows.filter(**{f"{field}__lte": until}).order_by(field).values_list(field, flat=True)[:1])


def due_customers(at: datetime) -> Iterable[int]:
    """Keys of the customers for whom something is due; those with a test clock have a time of their own."""
    on_wall = Q(customer__clock_at=None)
    live = Subscription.objects.filter(on_wall, status__in=_LIVE)
    due = (
        live.filter(is_paid=True, current_period_end__lte=at).values("customer"),
        live.filter(ends_at__lte=at).values("customer"),
        live.filter(trial_on_end=Plan.TrialEnd.REVERT, trial_ends_at__lte=at).values("customer"),
        Subscription.objects.filter(on_wall, status=Status.SCHEDULED, started_at__lte=at).values("customer"),
        Operation.objects.filter(on_wall, status=Operation.Status.WAITING, expires_at__lte=at).values("customer"),
        Operation.objects.filter(status=Operation.Status.PENDING).values("customer"),
    )
    first, *others = due
    return first.union(*others).values_list("customer", flat=True)


def _do(customer: Customer, at: datetime, actor: Actor) -> None:
    """Everything of one instant: what lapses, renewals, ends, starts, and last the resets that are left."""
    currency = subscriptions.currency_of(customer)
    operations.expire_waiting(customer, at=at, only_due=True)
    holds.expire_due(at=at, wall=at, actor=actor, customer_pk=customer.pk)
    reverting = holdings.rows(customer).live().filter(trial_on_end=Plan.TrialEnd.REVERT, trial_ends_at__lte=at)
    for row in reverting:
        cycles.end_trial(row, at=at, actor=actor, currency=currency)
    due = holdings.rows(customer).filter(is_paid=True, current_period_end__lte=at).live()
    for group in cycles.groups(due, at):
        cycles.renew(group, actor=actor, currency=currency)
        customer.refresh_from_db()
    for row in holdings.rows(customer).live().filter(ends_at__lte=at):
        if not cycles.is_followed(row, at):
            cycles.end_due(row, at=at, actor=actor, currency=currency)
    for row in holdings.rows(customer).filter(status=Status.SCHEDULED, started_at__lte=at):
        cycles.start_scheduled(row, at=at, actor=actor, currency=currency)
    while resets.reset_due(at=at, actor=actor, customer_pk=customer.pk):
        pass


def _tell(customer: Customer, at: datetime) -> None:
    customer.clock_at = at
    customer.save(update_fields=["clock_at"])
    if customer.processor_id:
        get_processor().turn_clock(customer.processor_id, at)
