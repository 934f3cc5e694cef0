"""Operations whose process died: finished when their money was taken, given up when it was not."""

import logging
from datetime import datetime

from django.db import DatabaseError

from billing.models import Invoice, Operation, Subscription
from billing.outcomes import End, Outcome
from billing.processors import ProcessorInvoice, get_processor
from billing.services import attaching, combining, holdings, operations, requests, situation, updating
from billing.services.operations import Job
from billing.services.requests import Attach, MultiAttach, Update
from config.actor import Actor
from config.errors import DomainError
from entities.models import Customer
from entities.subject import Subject

logger = logging.getLogger(__name__)
Kind = Operation.Kind
Status = Operation.Status


def finish_pending(customer: Customer) -> int:
    """Settle what earlier processes left behind; the caller holds the customer's turn, so nobody is at work on it."""
    pending = list(Operation.objects.filter(customer=customer, status=Status.PENDING).order_by("pk"))
    for operation in pending:
        _settle(operation)
    return len(pending)


def recompute(operation: Operation) -> tuple[Job, Outcome] | None:
    """What an attachment or update came to at its own instant; None for other kinds, which are asked for again."""
    subject = Subject(operation.customer, operation.entity)
    actor = Actor(operation.actor, operation.request_id)
    currency = operation.outcome["currency"]
    if operation.kind == Kind.ATTACH:
        cause = Invoice.Cause.ATTACH
        outcome = attachment(subject, requests.read_attach(operation.request), at=operation.at, currency=currency)
    elif operation.kind == Kind.UPDATE:
        update = requests.read(operation.request, Update)
        outcome = updating.compute(updating.setup(subject, update, at=operation.at, currency=currency))
        cause = Invoice.Cause.UPDATE
    else:
        return None
    job = Job(
        customer=operation.customer,
        entity=operation.entity,
        kind=Kind(operation.kind),
        cause=cause,
        actor=actor,
        request=operation.request,
    )
    return job, outcome


def attachment(subject: Subject, request: Attach | MultiAttach, *, at: datetime, currency: str) -> Outcome:
    """What one or several attachments come to."""
    if isinstance(request, MultiAttach):
        return combining.attachments(subject.customer, request, at=at, currency=currency)
    return attaching.compute(situation.read(subject, request, at=at, currency=currency))


def _settle(operation: Operation) -> None:
    if operation.outcome.get("applied"):
        _finish(operation)
        return
    if operation.kind == Kind.RENEWAL:
        # Done again by whoever brings the customer up to date, under the same key at the processor.
        _close(operation, Status.FAILED)
        return
    collected = get_processor().invoice_by_key(
        operations.invoice_key(operation), customer_id=operation.customer.processor_id
    )
    if collected is None or collected.status == "void":
        _close(operation, Status.FAILED)
    elif collected.status != "paid":
        get_processor().void_invoice(collected.id, key=f"operation-{operation.pk}-void")
        _close(operation, Status.FAILED)
    else:
        _complete(operation, collected)


def _complete(operation: Operation, collected: ProcessorInvoice) -> None:
    """The money is taken: do what it was taken for or, where that can't be done any more, give it back."""
    try:
        computed = recompute(operation)
    except DomainError:
        computed = None
    if computed is None or computed[1].total != collected.total:
        if collected.total > 0:
            get_processor().refund(collected.id, collected.total, key=f"operation-{operation.pk}-reverse")
        _close(operation, Status.FAILED)
        return
    job, outcome = computed
    try:
        operations.carry_out(job, outcome, operation=operation)
    except DatabaseError:
        # Given back by carry_out; the customer's other calls must not fail for it again and again.
        logger.exception("operation %s could not be completed", operation.pk)


def _finish(operation: Operation) -> None:
    """Everything is written; only the processor's subscription may not know yet."""
    ended = holdings.rows(operation.customer).filter(
        entity=operation.entity, status=Subscription.Status.EXPIRED, ends_at=operation.at
    )
    outcome = Outcome(at=operation.at, currency=operation.outcome["currency"])
    outcome.ends = [End(row, "") for row in ended]
    job = Job(
        customer=operation.customer,
        entity=operation.entity,
        kind=Kind(operation.kind),
        cause=Invoice.Cause.UPDATE,
        actor=Actor(operation.actor),
        request=operation.request,
    )
    operations.finish(job, outcome, operation, always=True)


def _close(operation: Operation, status: Operation.Status) -> None:
    operation.status, operation.finished_at = status, operation.at
    operation.save(update_fields=["status", "finished_at"])
