"""Time passing for a customer: everything that falls due, in order, each at its own instant."""

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from functools import cache
from typing import Any

from django.conf import settings
from django.db import connection
from django.db.models import QuerySet, Value

from billing.models import Balance, Hold, Operation, Subscription
from billing.processors import get_processor
from billing.processors.failures import RenewalNotReady
from billing.services import invoices
from billing.services.balances import holds, resets
from billing.services.due import cycles, recovery
from billing.services.execution import operations, queue
from billing.services.plan_changes import holdings
from config.actor import Actor
from config.errors import InvalidRequest
from entities.models import Customer
from plans.models import Plan

logger = logging.getLogger(__name__)

Status = Subscription.Status
_LIVE = (Status.ACTIVE, Status.PAST_DUE)
# More rounds at one instant than any customer can need: something does not make progress.
TOO_MANY = 1000
# Stand in a statement for what it is asked with.
_WHOSE, _UNTIL = -1, datetime.min.replace(tzinfo=UTC)


class What(Enum):
    """What can be due for a customer."""

    RENEWAL = "renewal"
    END = "end"
    START = "start"
    REVERT = "revert"
    MOVE = "move"
    RESET = "reset"
    HOLD = "hold"
    PAYMENT = "payment"


# The rest, what balances and locks have due, is swept apart, and looked for by whoever touches those.
OF_PLANS = frozenset(What) - {What.RESET, What.HOLD}
# What nearly every instant is about; only with the rest somebody has to look what lapses, ends, starts or moves.
ORDINARY = frozenset({What.RENEWAL, What.RESET})


@dataclass(frozen=True, slots=True)
class Due:
    """An instant at which something has to be done, and what."""

    at: datetime
    whats: frozenset[What]


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


def catch_up(*, customer: Customer, at: datetime, actor: Actor) -> list[Operation]:
    """Do what plans have due by now, so that a late cron is never seen; the caller holds the customer's turn.

    Returns the operations of dead processes that were finished by the way, as recovery.finish_pending does.
    """
    done = recovery.finish_pending(customer)
    if next_due(customer, at, of_plans=True) is not None:
        _advance(customer, at, actor, of_plans=True)
    return done


def advance(*, customer: Customer, until: datetime, actor: Actor) -> int:
    """Do everything that is due for one customer up to `until`, in the order of its instants; returns the steps."""
    with queue.customer(customer):
        recovery.finish_pending(customer)
        return _advance(customer, until, actor)


def _advance(customer: Customer, until: datetime, actor: Actor, *, of_plans: bool = False) -> int:
    steps, repeated, last = 0, 0, None
    while (due := next_due(customer, until, of_plans=of_plans)) is not None:
        repeated = repeated + 1 if due.at == last else 0
        if repeated > TOO_MANY:
            raise RuntimeError(f"customer {customer.pk} makes no progress at {due.at}")
        last = due.at
        if customer.clock_at is not None and due.at > customer.clock_at:
            _tell(customer, due.at)
        try:
            # What balances and locks have due was not asked for `of_plans`: then it is looked for at each instant.
            _do(customer, due, actor, is_ordinary=due.whats <= ORDINARY and not of_plans)
        except RenewalNotReady as waits:
            # What comes later must not come first: the next run, or the processor's word, goes on from here.
            logger.info("customer %s: %s", customer.pk, waits.message)
            break
        steps += 1
    return steps


def next_due(customer: Customer, until: datetime, *, of_plans: bool = False) -> Due | None:
    """The earliest instant up to `until` at which something has to be done; None when there is nothing.

    With `of_plans` what balances and locks have due is left out.
    """
    statement, parameters = _finds_first(of_plans)
    asked: dict[Any, Any] = {_WHOSE: customer.pk, _UNTIL: until}
    with connection.cursor() as cursor:
        cursor.execute(statement, [asked.get(one, one) for one in parameters])
        found = cursor.fetchall()
    if not found:
        return None
    at = min(moment for moment, _ in found)
    return Due(at, frozenset(What(what) for moment, what in found if moment == at))


@cache
def _finds_first(of_plans: bool) -> tuple[str, tuple[Any, ...]]:
    """The statement that finds the first of each source, put together once; for whom and until when stand in it."""
    first, *others = [
        rows.filter(customer=_WHOSE, **{f"{column}__lte": _UNTIL})
        .order_by(column)
        .values_list(column, Value(what.value))[:1]
        for what, (rows, column) in sources().items()
        if what in OF_PLANS or not of_plans
    ]
    statement, parameters = first.union(*others, all=True).query.sql_with_params()
    return str(statement), parameters


def sources() -> dict[What, tuple[QuerySet[Any], str]]:
    """Where what is due is found, and the column that says when."""
    live = Subscription.objects.filter(status__in=_LIVE)
    return {
        What.RENEWAL: (live.filter(is_paid=True), "current_period_end"),
        What.END: (live, "ends_at"),
        What.START: (Subscription.objects.filter(status=Status.SCHEDULED), "started_at"),
        What.REVERT: (live.filter(trial_on_end=Plan.TrialEnd.REVERT), "trial_ends_at"),
        What.MOVE: (live.filter(ends_at=None), "new_anchor_at"),
        What.RESET: (Balance.objects.refilled(), "next_reset_at"),
        What.HOLD: (Hold.objects.filter(status=Hold.Status.HELD), "expires_at"),
        What.PAYMENT: (Operation.objects.filter(status=Operation.Status.WAITING), "expires_at"),
    }


def _do(customer: Customer, due: Due, actor: Actor, *, is_ordinary: bool) -> None:
    """Everything of one instant: what lapses, renewals, ends, starts, and last the resets that are left."""
    if not is_ordinary:
        lapse(customer, due.at, actor)
    if What.RENEWAL in due.whats or not is_ordinary:  # a trial that just went back may have left one
        rows = holdings.rows(customer).filter(is_paid=True, current_period_end__lte=due.at).live()
        for group in cycles.groups(rows, due.at):
            cycles.renew(group, actor=actor, currency=invoices.currency_of(customer))
            customer.refresh_from_db()
    if not is_ordinary:
        end_and_start(customer, due.at, actor)
    while resets.reset_due(at=due.at, actor=actor, customer_pk=customer.pk):
        pass


def lapse(customer: Customer, at: datetime, actor: Actor) -> None:
    """What lapses first: payments that nobody made, holds, trials that go back."""
    operations.expire_waiting(customer, at=at, only_due=True)
    holds.expire_due(at=at, wall=at, actor=actor, customer_pk=customer.pk)
    reverting = holdings.rows(customer).live().filter(trial_on_end=Plan.TrialEnd.REVERT, trial_ends_at__lte=at)
    for row in reverting:
        cycles.end_trial(row, at=at, actor=actor, currency=invoices.currency_of(customer))


def end_and_start(customer: Customer, at: datetime, actor: Actor) -> None:
    """What ends, starts and moves although nothing renews then."""
    currency = invoices.currency_of(customer)
    for row in holdings.rows(customer).live().filter(ends_at__lte=at):
        if not cycles.is_followed(row, at):
            cycles.end_due(row, at=at, actor=actor, currency=currency)
    for row in holdings.rows(customer).filter(status=Status.SCHEDULED, started_at__lte=at):
        cycles.start_scheduled(row, at=at, actor=actor, currency=currency)
    for row in holdings.rows(customer).live().filter(ends_at=None, new_anchor_at__lte=at):
        cycles.move(row, at=at, actor=actor, currency=currency)


def _tell(customer: Customer, at: datetime) -> None:
    customer.clock_at = at
    customer.save(update_fields=["clock_at"])
    if customer.processor_id:
        get_processor().turn_clock(customer.processor_id, at)
