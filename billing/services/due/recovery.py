"""Operations whose process died: finished when their money was taken, given up when it was not."""

import logging
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from django.db import DatabaseError, transaction

from billing.models import Invoice, Operation
from billing.outcomes import Outcome
from billing.processors import ProcessorInvoice, get_processor
from billing.processors.failures import RenewalNotReady
from billing.services import invoices
from billing.services.due import cycles
from billing.services.execution import finishing, operations
from billing.services.execution.operations import Job, Result
from billing.services.plan_changes import combining, phasing, requests, situation, updating
from billing.services.plan_changes.requests import Attachment, MultiAttach, Schedule, Update
from config.actor import Actor
from config.errors import DomainError
from entities.models import Customer
from entities.subject import Subject

logger = logging.getLogger(__name__)
Kind = Operation.Kind
Status = Operation.Status
# How long a request that is asked again is taken for the one that nobody answered.
_REMEMBERED = timedelta(hours=24)


def finish_pending(customer: Customer) -> list[Operation]:
    """Settle what earlier processes left behind; the caller holds the customer's turn, so nobody is at work on it.

    Returns the operations that are done now.
    """
    unfinished = Operation.objects.filter(customer=customer, status__in=[Status.PENDING, Status.WAITING])
    for operation in (found := list(unfinished.select_related("customer", "entity").order_by("pk"))):
        if operation.status == Status.PENDING:
            _settle(operation)
        else:
            _look_after(operation)
    return [operation for operation in found if operation.status == Status.DONE]


def answer_of(request: Any, done: Iterable[Operation], *, subject: Subject, at: datetime) -> Result | None:
    """What came of the same request, asked a moment ago by somebody who never got an answer; None if there was none."""
    written = requests.written(request)
    for operation in done:
        same = operation.request == written and operation.entity_id == (subject.entity.pk if subject.entity else None)
        if same and at - operation.at <= _REMEMBERED:
            outcome = Outcome(at=operation.at, currency=operation.outcome["currency"])
            return Result(outcome, operation, invoice=operation.invoices.shown().first())
    return None


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


def paid_for(operation: Operation, invoice: Invoice, paid: ProcessorInvoice, *, at: datetime) -> None:
    """Do what waited for the invoice or, where that can't be done any more, give the money back."""
    try:
        computed = recompute(operation)
        why = "It can't be done any more."
    except DomainError as problem:
        computed, why = None, problem.message
    if computed is not None and computed[1].total == paid.total:
        operations.complete(computed[0], computed[1], operation, paid=paid, at=at)
        return
    operations.give_back(operation, paid, at=at, why=why)
    with transaction.atomic():
        invoices.mark(invoice, paid, at=at)
        invoice.refunded = paid.total
        invoice.save(update_fields=["refunded"])


def attachment(subject: Subject, request: Attachment, *, at: datetime, currency: str) -> Outcome:
    """What one or several attachments, or a schedule, come to."""
    if isinstance(request, Schedule):
        return phasing.compute(subject.customer, request, at=at, currency=currency).outcome
    if isinstance(request, MultiAttach):
        return combining.attachments(subject.customer, request, at=at, currency=currency)
    return combining.attachment(situation.read(subject, request, at=at, currency=currency))


def _settle(operation: Operation) -> None:
    if operation.outcome.get("applied"):
        finishing.finish_written(operation)
        return
    if operation.kind == Kind.RENEWAL:
        _close(operation, Status.FAILED)
        try:
            cycles.again(operation)
        except RenewalNotReady as waits:
            logger.info("operation %s: %s", operation.pk, waits.message)
        return
    collected = get_processor().invoice_by_key(
        finishing.invoice_key(operation),
        customer_id=operation.customer.processor_id,
        since=finishing.since(operation, operation.customer),
    )
    if collected is None and "session_id" in operation.outcome:
        # The page is still open: nothing was paid on it.
        operation.status = Status.WAITING
        operation.save(update_fields=["status"])
    elif collected is None or collected.status == "void":
        _close(operation, Status.FAILED)
    elif collected.status != "paid":
        get_processor().void_invoice(collected.id, key=f"operation-{operation.pk}-void")
        _close(operation, Status.FAILED)
    else:
        _complete(operation, collected)


def _look_after(operation: Operation) -> None:
    """What waits for an invoice that was paid meanwhile is done, though nobody told us."""
    for invoice in operation.invoices.filter(status=Invoice.Status.OPEN):
        found = get_processor().invoice(invoice.processor_id)
        if found.status == "paid":
            paid_for(operation, invoice, found, at=operation.at)


def _complete(operation: Operation, collected: ProcessorInvoice) -> None:
    """The money is taken: do what it was taken for or, where that can't be done any more, give it back."""
    try:
        computed = recompute(operation)
    except DomainError:
        computed = None
    if computed is None or computed[1].total != collected.total:
        get_processor().reverse_invoice(collected.id, key=f"operation-{operation.pk}-reverse")
        _close(operation, Status.FAILED)
        return
    job, outcome = computed
    try:
        operations.carry_out(job, outcome, operation=operation)
    except DatabaseError:
        # Given back by carry_out; the customer's other calls must not fail for it again and again.
        logger.exception("operation %s could not be completed", operation.pk)


def _close(operation: Operation, status: Operation.Status) -> None:
    operation.status, operation.finished_at = status, operation.at
    operation.save(update_fields=["status", "finished_at"])
