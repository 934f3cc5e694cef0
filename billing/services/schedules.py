"""Schedules: several plans after each other, asked for at once (billing.create_schedule)."""

import secrets
from dataclasses import dataclass, replace
from datetime import datetime

import msgspec

from billing.models import Operation, Subscription
from billing.outcomes import Outcome
from billing.services import invoices, subscriptions
from billing.services.due import clock
from billing.services.execution import checkouts, operations, queue
from billing.services.execution.operations import Job
from billing.services.plan_changes import combining, phasing, requests
from billing.services.plan_changes.requests import Schedule
from billing.services.subscriptions import Answer
from config.actor import Actor
from entities.models import Customer


@dataclass(frozen=True, slots=True)
class Scheduled:
    """What became of a schedule; `phases` are empty while it waits for the customer to pay."""

    answer: Answer
    schedule_id: str
    phases: list[list[Subscription]]


def create(*, customer: Customer, request: Schedule, at: datetime, actor: Actor) -> Scheduled:
    """Attach the first phase and let the others wait, in place of what was scheduled before.

    Raises what attaching any of its plans raises, and then nothing is done.
    """
    with queue.still_there(customer, request.entity_pk):
        clock.catch_up(customer=customer, at=at, actor=actor)
        customer.refresh_from_db()
        request = msgspec.structs.replace(request, schedule_id=f"sch_{secrets.token_urlsafe(12)}")
        planned = phasing.compute(customer, request, at=at, currency=invoices.currency_of(customer))
        subject = combining.scope(customer, request.entity_pk)
        if planned.outcome.checkout is not None:
            url = checkouts.open_page(subject, request, planned.outcome, actor=actor)
            return Scheduled(Answer(None, url), request.schedule_id, [])
        result = operations.carry_out(job(customer, request, actor), planned.outcome)
        waits = result.operation is not None and result.operation.status == Operation.Status.WAITING
        if result.operation is not None and not waits:
            operations.expire_waiting(customer, at=at, except_for=result.operation.pk)
        phases = [] if waits else planned.phases
        return Scheduled(Answer(result, result.payment_url), request.schedule_id, phases)


def preview(*, customer: Customer, request: Schedule, at: datetime) -> Outcome:
    """What `create` would do, with the same errors; changes nothing."""
    return phasing.compute(customer, request, at=at, currency=invoices.currency_of(customer)).outcome


def job(customer: Customer, request: Schedule, actor: Actor) -> Job:
    """How a schedule is carried out: as the first plan of its first phase says."""
    subject = combining.scope(customer, request.entity_pk)
    first = request.attachments[0].attach
    return replace(subscriptions.attach_job(subject, first, actor), request=requests.written(request))
