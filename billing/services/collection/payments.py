"""What customers do at the processor: pay, authenticate, complete a checkout, cancel there; and what follows here."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import msgspec
from django.db import transaction

from billing.errors import NothingToPay, PaymentDeclined, StateMoved
from billing.models import Invoice, Operation, Subscription
from billing.outcomes import Cancellation, End, Outcome, Start
from billing.processors import ProcessorInvoice, Session, get_processor
from billing.processors.registry import controls
from billing.proration import Holding
from billing.services import invoices, multiple, schedules, subscriptions
from billing.services.due import clock, recovery
from billing.services.execution import announcing, finishing, operations, queue, syncing
from billing.services.execution.operations import Job, Unpaid
from billing.services.plan_changes import holdings, requests, updating
from billing.services.plan_changes.requests import Attachment, MultiAttach, Schedule, Update
from config.actor import Actor
from config.errors import DomainError
from entities.models import Customer
from entities.subject import Subject

Status = Subscription.Status


def set_card(customer: Customer, behavior: str | None) -> None:
    """Replace or remove the card of a test customer."""
    controls().set_card(syncing.ensure_customer(customer), behavior)


def complete_checkout(
    customer: Customer, *, at: datetime, session_id: str | None = None, behavior: str = "success"
) -> None:
    """The customer enters a card on the checkout page (the one opened last) and pays; the plan that waited starts.

    Raises NothingToPay when no page is open, and PaymentDeclined: the page then stays open for another card.
    """
    with queue.customer(customer):
        recovery.finish_pending(customer)
        waiting = Operation.objects.filter(
            customer=customer, status=Operation.Status.WAITING, outcome__has_key="session_id", expires_at__gt=at
        ).order_by("-pk")
        if session_id is not None:
            waiting = waiting.filter(outcome__session_id=session_id)
        operation = waiting.select_related("customer", "entity").first()
        if operation is None:
            raise NothingToPay("No checkout page is open. Attach a paid plan to a customer without a card to get one.")
        session = controls().complete_session(operation.outcome["session_id"], behavior)
        _complete(operation, session, at=at)
        controls().close_session(session.id)


def checkout_completed(operation: Operation, *, at: datetime) -> None:
    """The processor says that a page was completed: what waited for it is done, once. The caller holds the turn."""
    operation.refresh_from_db()
    if operation.status != Operation.Status.WAITING:
        return
    session = get_processor().session(operation.outcome["session_id"])
    if session.status == "complete":
        _complete(operation, session, at=at)


def _complete(operation: Operation, session: Session, *, at: datetime) -> None:
    """Carry out what waited for a page. What was paid on it is for the change as it was when the page was opened."""
    paid = session.invoice
    moment = operation.at if paid is not None else at
    request = _without_page(requests.read_attach(operation.request))
    subject = Subject(Customer.objects.get(pk=operation.customer_id), operation.entity)
    actor = Actor(operation.actor, operation.request_id)
    currency = invoices.currency_of(subject.customer)
    try:
        outcome = recovery.attachment(subject, request, at=moment, currency=currency)
        if paid is not None and outcome.total != paid.total:
            raise StateMoved(f"What was paid for comes to {outcome.total} by now. The payment was given back.")
    except DomainError as problem:
        if paid is None:
            raise
        operations.give_back(operation, paid, at=at, why=problem.message)
        return
    job = replace(
        _job(subject, request, actor),
        unpaid=Unpaid.REFUSED,
    )
    operation.status, operation.at = Operation.Status.PENDING, moment
    operation.request = requests.written(request)
    operation.save(update_fields=["status", "at", "request"])
    try:
        operations.carry_out(job, outcome, operation=operation)
    except PaymentDeclined:
        # The page stays open: another card may do.
        operation.outcome = {**operation.outcome, "tries": operation.outcome.get("tries", 0) + 1}
        operation.status, operation.finished_at = Operation.Status.WAITING, None
        operation.save(update_fields=["status", "finished_at", "outcome"])
        raise


def _job(subject: Subject, request: Attachment, actor: Actor) -> Job:
    if isinstance(request, Schedule):
        return schedules.job(subject.customer, request, actor)
    if isinstance(request, MultiAttach):
        return multiple.attach_job(subject.customer, request, actor)
    return subscriptions.attach_job(subject, request, actor)


def _without_page(request: Attachment) -> Attachment:
    """The request as it is carried out on the page, which needs no other page."""
    return requests.each(request, lambda attach: msgspec.structs.replace(attach, redirect_mode="never"))


def pay_open_invoice(customer: Customer, *, at: datetime, invoice: Invoice | None = None) -> Invoice:
    """The customer pays an open invoice (the newest) on its page, or passes 3D Secure for it; raises NothingToPay."""
    with queue.customer(customer):
        recovery.finish_pending(customer)
        operations.expire_waiting(customer, at=at, only_due=True)
        payable = Invoice.objects.filter(customer=customer).payable().order_by("-created_at", "-pk")
        found = payable.filter(pk=invoice.pk).first() if invoice is not None else payable.first()
        if found is None:
            raise NothingToPay("There is no open invoice to pay.")
        paid = controls().settle_invoice(found.processor_id)
        invoice_paid(found, paid, at=at)
        return found


def invoice_paid(invoice: Invoice, paid: ProcessorInvoice, *, at: datetime) -> None:
    """An open invoice is paid: what waited for it is done, what was past due is not any more."""
    operation = invoice.operation
    if operation is not None and operation.status == Operation.Status.WAITING:
        recovery.paid_for(operation, invoice, paid, at=at)
        return
    with transaction.atomic():
        invoices.mark(invoice, paid, at=at)
        recovered = _no_longer_due(invoice)
        with announcing.plans_of([invoice.customer], cause=f"invoice:{invoice.pk}:paid", at=at):
            Subscription.objects.filter(pk__in=recovered).update(status=Status.ACTIVE)
        done = _recovery(invoice, at=at) if recovered else None
    if done is not None:
        finishing.finish_written(done)


def _recovery(invoice: Invoice, *, at: datetime) -> Operation:
    """What is left to do when nothing of a scope is past due any more: the processor has to know."""
    return Operation.objects.create(
        customer=invoice.customer,
        entity=invoice.entity,
        kind=Operation.Kind.UPDATE,
        status=Operation.Status.PENDING,
        outcome={"currency": invoice.currency, "applied": True, "scopes": [invoice.entity_id or 0], "ended": []},
        reason="What was past due is paid",
        at=at,
    )


def _no_longer_due(invoice: Invoice) -> list[int]:
    """The past due plans of the invoice's scope, once nothing of the scope's renewals is open."""
    open_renewals = Invoice.objects.filter(
        customer=invoice.customer, entity=invoice.entity, cause=Invoice.Cause.RENEWAL
    ).payable()
    if open_renewals.exclude(pk=invoice.pk).exists():
        return []
    due = Subscription.objects.filter(customer=invoice.customer, entity=invoice.entity, status=Status.PAST_DUE)
    return list(due.values_list("pk", flat=True))


def canceled_at_processor(
    subject: Subject,
    *,
    at_period_end: bool,
    at: datetime,
    actor: Actor,
    rows: Sequence[Subscription] | None = None,
) -> None:
    """A subscription was canceled at the processor: its plans end, without credit (spec billing 16).

    It is that of `rows`, or of the scope; raises NothingToPay where there is none.
    """
    customer = subject.customer
    with queue.customer(customer):
        clock.catch_up(customer=customer, at=at, actor=actor)
        held = _shared(subject, at, rows)
        if not held:
            raise NothingToPay("This scope has no subscription at the processor.", code="invalid_request")
        outcome = Outcome(at=at, currency=invoices.currency_of(customer), intent="cancel_immediately")
        for holding in held:
            _cancel(outcome, subject, holding, at_period_end=at_period_end)
        _run(subject, outcome, actor, "Canceled at the processor")


def resumed_at_processor(
    subject: Subject, *, at: datetime, actor: Actor, rows: Sequence[Subscription] | None = None
) -> None:
    """A cancellation at the period's end was taken back at the processor."""
    customer = subject.customer
    with queue.customer(customer):
        clock.catch_up(customer=customer, at=at, actor=actor)
        outcome = Outcome(at=at, currency=invoices.currency_of(customer), intent="uncancel")
        for holding in _shared(subject, at, rows):
            row = holding.subscription
            if row.ends_at is not None:
                outcome.cancellations.append(Cancellation(row, None))
                outcome.deletes += _waiting(subject, row)
        _run(subject, outcome, actor, "Resumed at the processor")


def _cancel(outcome: Outcome, subject: Subject, holding: Holding, *, at_period_end: bool) -> None:
    row, waiting = holding.subscription, _waiting(subject, holding.subscription)
    found = updating.setup(
        subject, Update(subscription_id=row.public_id, action="uncancel"), at=outcome.at, currency=outcome.currency
    )
    if at_period_end:
        planned = updating.cancel_at_end(found)
        outcome.cancellations += planned.cancellations
        outcome.deletes += planned.deletes
        outcome.schedules += planned.schedules
        return
    outcome.ends.append(End(row, "Canceled at the processor"))
    outcome.deletes += [other for other in waiting if other.is_paid]
    free = next((other for other in waiting if not other.is_paid), None)
    if free is not None:
        free.started_at = outcome.at
        outcome.starts.append(Start(Holding(free, list(free.items.all())), row))
        return
    fallback = updating.fall_back(found)
    if fallback is not None:
        outcome.starts.append(fallback)


def _shared(subject: Subject, at: datetime, rows: Sequence[Subscription] | None) -> list[Holding]:
    found = holdings.rows(subject.customer).filter(entity=subject.entity, is_paid=True).live()
    found = found.filter(has_own_cycle=False) if rows is None else found.filter(pk__in=[row.pk for row in rows])
    return holdings.load(found, at=at)


def _waiting(subject: Subject, row: Subscription) -> list[Subscription]:
    if row.is_add_on:
        return []
    rows = holdings.rows(subject.customer).filter(entity=subject.entity, status=Status.SCHEDULED)
    return list(rows.filter(group=row.group, is_add_on=False))


def _run(subject: Subject, outcome: Outcome, actor: Actor, reason: str) -> None:
    job = Job(
        customer=subject.customer,
        entity=subject.entity,
        kind=Operation.Kind.UPDATE,
        cause=Invoice.Cause.UPDATE,
        actor=actor,
        request={},
        reason=reason,
    )
    operations.carry_out(job, outcome)
