"""Carrying out what was computed: written down first, then the money, then our rows, then the processor's subscription.

No database transaction is open while the processor is called. A process that dies in between leaves the operation
pending; `due.recovery` computes it again and comes through here once more, and every call to the processor carries a
key made from the operation, so that nothing is charged twice. What the customer gets, credit and refunds, comes last:
once it is out of hand it can't be taken back.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any

from django.db import transaction

from billing.errors import PaymentDeclined
from billing.models import Invoice, InvoiceLine, Operation
from billing.outcomes import Outcome
from billing.processors import Charge, Collection, Problem, ProcessorInvoice, Renewal, get_processor
from billing.services import invoices
from billing.services.execution import announcing, applying, finishing, syncing
from billing.services.plan_changes import discounts
from config.actor import Actor
from entities.models import Customer, Entity

logger = logging.getLogger(__name__)

# How long a payment that a change waits for may take (spec billing 14.3).
PATIENCE = timedelta(minutes=10)


class Unpaid(Enum):
    """What becomes of a change whose invoice could not be paid at once."""

    WAITS = "waits"  # nothing is granted until it is paid
    REFUSED = "refused"  # nothing is left behind
    GOES_ON = "goes on"  # renewals: granted, and past due


@dataclass(frozen=True, slots=True)
class Job:
    """Whose change it is, who asks, how its invoice is collected; `work` is done in the transaction of the change."""

    customer: Customer
    entity: Entity | None
    kind: Operation.Kind
    cause: Invoice.Cause
    actor: Actor
    request: dict[str, Any]
    unpaid: Unpaid = Unpaid.WAITS
    collection: Collection = Collection.CARD
    granted_unpaid: bool = False  # `enable_plan_immediately`
    net_terms_days: int | None = None
    work: Callable[[int | None], Any] | None = None
    reason: str = ""
    renewal: Renewal | None = None  # where the processor opens the invoice itself
    refund: tuple[Invoice, Decimal] | None = None  # what goes back to the card of an invoice paid before
    key: str = ""  # for the processor, where the operation's own would not be the same at a second try


@dataclass(slots=True)
class Result:
    """What came of it. `problem` says why the customer has to act, `payment_url` where."""

    outcome: Outcome
    operation: Operation | None = None
    invoice: Invoice | None = None
    problem: Problem | None = None
    payment_url: str | None = None
    made: Any = None  # what `work` returned


def carry_out(job: Job, outcome: Outcome, *, operation: Operation | None = None) -> Result:
    """Do it; the caller holds the customer's turn. Raises PaymentDeclined where nothing may wait for payment."""
    operation = operation or write_down(job, outcome)
    collected = collect(job, outcome, operation)
    is_unpaid = collected is not None and collected.status != "paid"
    if collected is not None and is_unpaid and job.unpaid is Unpaid.WAITS and not job.granted_unpaid:
        return _wait(job, outcome, operation, collected)
    try:
        with transaction.atomic():
            result = record(job, outcome, operation, collected)
    except Exception:
        # A renewal is done again, under the same key at the processor; nothing else keeps money for nothing.
        if job.unpaid is not Unpaid.GOES_ON:
            reverse(job, outcome, operation, collected)
        raise
    finish(job, outcome, operation)
    if operation.outcome.get("is_credited") and result.invoice is not None:
        result.invoice.refresh_from_db(fields=["processor_id", "hosted_url"])
    return result


def collect(job: Job, outcome: Outcome, operation: Operation) -> ProcessorInvoice | None:
    """Charge what there is to charge; None when there is nothing. Raises PaymentDeclined where the job says so."""
    if not (outcome.leaves_invoice or outcome.total) or _is_credited_later(job, outcome):
        return None
    collected = get_processor().charge_invoice(**charge(job, outcome, operation).arguments())
    if collected.status != "paid" and job.unpaid is Unpaid.REFUSED:
        _refuse(operation, collected, outcome)
    return collected


def charge(job: Job, outcome: Outcome, operation: Operation) -> Charge:
    """What the processor is to charge for an operation."""
    return Charge(
        customer_id=syncing.ensure_customer(job.customer),
        currency=outcome.currency,
        items=invoices.to_processor(outcome.lines),
        collection=job.collection,
        key=f"{job.key}-invoice" if job.key else finishing.invoice_key(operation),
        net_terms_days=job.net_terms_days,
        renewal=job.renewal,
        tries_again=job.unpaid is Unpaid.GOES_ON,
        since=finishing.since(operation, job.customer),
    )


def record(job: Job, outcome: Outcome, operation: Operation, collected: ProcessorInvoice | None) -> Result:
    """Write it all to our rows; inside the caller's transaction."""
    customer = Customer.objects.locked().get(pk=job.customer.pk)
    result = Result(outcome, operation, problem=collected.problem if collected else None)
    with announcing.plans_of([customer], cause=f"operation:{operation.pk}", at=outcome.at):
        applying.apply(outcome, customer=customer, operation=operation, actor=job.actor)
        if result.problem is not None and job.unpaid is Unpaid.GOES_ON:
            applying.fall_behind([outcome])
        result.made = job.work(operation.pk) if job.work else None
    lines: list[InvoiceLine] = []
    is_credited = _is_credited_later(job, outcome)
    if is_credited:
        collected = ProcessorInvoice("", "paid", outcome.total, outcome.currency, "")
    if outcome.lines or collected is not None:
        result.invoice, lines = invoices.write(invoice_draft(job, outcome, operation, collected))
    applying.settle(outcome, lines)
    applying.wait(outcome.waiting, at=outcome.at)
    _written(job, outcome, operation, is_credited=is_credited)
    if result.invoice is not None and result.invoice.is_internal:
        result.invoice = None
    if collected is not None and collected.status == "open":
        result.payment_url = collected.url
    return result


def invoice_draft(
    job: Job, outcome: Outcome, operation: Operation, collected: ProcessorInvoice | None
) -> invoices.Draft:
    """The invoice of an operation."""
    return invoices.Draft(
        customer=job.customer,
        entity=job.entity,
        operation=operation,
        cause=job.cause,
        currency=outcome.currency,
        lines=outcome.lines,
        at=outcome.at,
        collected=collected,
        net_terms_days=job.net_terms_days,
    )


def reverse(job: Job, outcome: Outcome, operation: Operation, collected: ProcessorInvoice | None) -> None:
    """Give back what was charged for a change that could not be recorded after all."""
    if collected is not None and collected.status == "paid":
        get_processor().reverse_invoice(collected.id, key=f"operation-{operation.pk}-reverse")
    _fail(operation, outcome)


def give_back(operation: Operation, paid: ProcessorInvoice, *, at: datetime, why: str) -> None:
    """Refund what a customer paid for a change that can't be made any more, and close the change."""
    logger.warning("operation %s: %s is given back: %s", operation.pk, paid.id, why)
    get_processor().reverse_invoice(paid.id, key=f"operation-{operation.pk}-reverse")
    operation.status, operation.finished_at, operation.reason = Operation.Status.FAILED, at, why[:500]
    operation.save(update_fields=["status", "finished_at", "reason"])


def complete(job: Job, outcome: Outcome, operation: Operation, *, paid: ProcessorInvoice, at: datetime) -> None:
    """Carry out a change that waited, now that its invoice is paid: as it was computed then, with the lines of then."""
    with transaction.atomic():
        customer = Customer.objects.locked().get(pk=job.customer.pk)
        with announcing.plans_of([customer], cause=f"operation:{operation.pk}", at=outcome.at):
            applying.apply(outcome, customer=customer, operation=operation, actor=job.actor)
            if job.work:
                job.work(operation.pk)
        invoice = operation.invoices.get(processor_id=paid.id)
        invoices.mark(invoice, paid, at=at)
        rows = list(invoice.lines.all())
        starts = [start.holding.subscription for start in outcome.starts]
        ends = [end.subscription for end in outcome.ends]
        changed = [change.item.subscription for change in outcome.quantities]
        invoices.attribute_to(rows, [*starts, *ends, *changed])
        discounts.attribute(rows, outcome)
        applying.settle(outcome, rows)
        _written(job, outcome, operation)
    finish(job, outcome, operation)


def finish(job: Job, outcome: Outcome, operation: Operation) -> None:
    """The last steps: credit and refund, the processor's subscriptions, then the operation is done."""
    finishing.finish(
        operation,
        customer=job.customer,
        scopes=finishing.scopes(outcome, operation, job.entity),
        ended=[end.subscription for end in outcome.ends],
    )


def write_down(job: Job, outcome: Outcome, *, status: Operation.Status = Operation.Status.PENDING) -> Operation:
    """The operation's row, committed before anything happens."""
    operation = written_down(job, outcome, status=status)
    operation.save(force_insert=True)
    return operation


def written_down(job: Job, outcome: Outcome, *, status: Operation.Status = Operation.Status.PENDING) -> Operation:
    """The operation's row, unsaved."""
    return Operation(
        customer=job.customer,
        entity=job.entity,
        kind=job.kind,
        status=status,
        request=job.request,
        outcome={"total": str(outcome.total), "currency": outcome.currency, "refund": _promised(job)},
        actor=job.actor.name,
        request_id=job.actor.request_id,
        reason=job.reason,
        at=outcome.at,
    )


def _is_credited_later(job: Job, outcome: Outcome) -> bool:
    """Whether there is only credit, which is given when all is written; renewals are done again by their key."""
    return outcome.total < 0 and not job.key and job.collection is not Collection.DRAFT


def _written(job: Job, outcome: Outcome, operation: Operation, *, is_credited: bool = False) -> None:
    left = finishing.left_to_do(outcome, finishing.scopes(outcome, operation, job.entity))
    finishing.remember([(operation, {"is_credited": is_credited, **left})])


def expire_waiting(
    customer: Customer,
    *,
    at: datetime,
    of_entity: Entity | None = None,
    except_for: int | None = None,
    only_due: bool = False,
) -> None:
    """Give up changes that wait for the customer (or for `of_entity` alone): invoices are voided, pages closed."""
    waiting = Operation.objects.filter(customer=customer, status=Operation.Status.WAITING).exclude(pk=except_for or 0)
    if of_entity is not None:
        waiting = waiting.filter(entity=of_entity)
    if only_due:
        waiting = waiting.filter(expires_at__lte=at)
    for operation in waiting:
        expire(operation, at=at)


def expire(operation: Operation, *, at: datetime) -> None:
    """Give up one change that waits; one that was paid a moment ago stays, and the processor's word completes it."""
    session = operation.outcome.get("session_id")
    closed = not session or get_processor().expire_session(session)
    for invoice in operation.invoices.filter(status__in=[Invoice.Status.OPEN, Invoice.Status.DRAFT]):
        voided = get_processor().void_invoice(invoice.processor_id, key=f"operation-{operation.pk}-void")
        if voided.status == Invoice.Status.PAID:
            closed = False
        else:
            invoices.mark(invoice, voided, at=at)
    if closed:
        operation.status, operation.finished_at = Operation.Status.EXPIRED, at
    operation.expires_at = operation.expires_at if closed else None
    operation.save(update_fields=["status", "finished_at", "expires_at"])


def _refuse(operation: Operation, collected: ProcessorInvoice, outcome: Outcome) -> None:
    get_processor().void_invoice(collected.id, key=f"operation-{operation.pk}-void")
    _fail(operation, outcome)
    raise PaymentDeclined(
        {
            Problem.DECLINED: "The card was declined.",
            Problem.AUTHENTICATION: "The card was declined: it asks for 3D Secure, which can't be passed here.",
            Problem.NO_CARD: "The payment was declined: there is no card on file.",
        }[collected.problem or Problem.DECLINED]
    )


def _promised(job: Job) -> dict[str, Any] | None:
    return {"invoice": job.refund[0].pk, "amount": str(job.refund[1])} if job.refund is not None else None


def _fail(operation: Operation, outcome: Outcome) -> None:
    operation.status, operation.finished_at = Operation.Status.FAILED, outcome.at
    operation.save(update_fields=["status", "finished_at"])


def _wait(job: Job, outcome: Outcome, operation: Operation, collected: ProcessorInvoice) -> Result:
    expire_waiting(job.customer, at=outcome.at, except_for=operation.pk)
    with transaction.atomic():
        draft = replace(invoice_draft(job, outcome, operation, collected), attributed=False)
        invoice, _ = invoices.write(draft)
        operation.status = Operation.Status.WAITING
        operation.expires_at = outcome.at + PATIENCE if job.collection is Collection.CARD else None
        operation.save(update_fields=["status", "expires_at"])
    url = collected.url if collected.status == "open" else None
    return Result(outcome, operation, invoice, collected.problem, url)
