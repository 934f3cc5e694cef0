"""What the processor tells us: written down, then looked up again and applied, in any order, any number of times."""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

from billing.errors import NothingToPay
from billing.models import Invoice, Operation, ProcessorEvent, Subscription
from billing.processors import get_processor, registry
from billing.processors.failures import ProcessorMisconfigured, WrongVersion
from billing.processors.protocol import EventKind, ProcessorEventData, ProcessorSubscription
from billing.processors.stripe import StripeProcessor
from billing.services import invoices
from billing.services.collection import payments
from billing.services.due import clock as clocks
from billing.services.due import recovery
from billing.services.execution import operations, queue, syncing
from config.actor import Actor
from config.errors import DomainError
from entities.models import Customer
from entities.subject import Subject

logger = logging.getLogger(__name__)

Status = ProcessorEvent.Status
ACTOR = Actor("processor")
# After so many tries an event is left to people: `process_stripe_events` lists it as stuck.
MOST_TRIES = 12
_LONGEST_WAIT = timedelta(hours=6)
_LIVE = (Subscription.Status.ACTIVE, Subscription.Status.PAST_DUE)


def receive(body: bytes, signature: str, *, secret: str, at: datetime) -> ProcessorEvent:
    """Write a signed event down, committed, and process it unless that is done; a repeat finds the first one.

    Raises InvalidSignature, and WrongVersion for an endpoint that was made for another version of Stripe's API. What
    goes wrong in processing is kept on the event, whose status then is failed.
    """
    data = _processor().read_event(body, signature, secret)
    event, _ = ProcessorEvent.objects.get_or_create(
        event_id=data.id, defaults={"type": data.type[:100], "body": body.decode(), "received_at": at}
    )
    if data.note:
        # Nothing is read out of it; Stripe shows the endpoint as failing, and whoever set it up is told why.
        event.status, event.error = Status.IGNORED, data.note
        event.save(update_fields=["status", "error"])
        raise WrongVersion(data.note)
    if event.status in (Status.RECEIVED, Status.FAILED):
        process(event, at=at)
    return event


def process(event: ProcessorEvent, *, at: datetime) -> bool:
    """Apply an event; returns whether that is done. `at` is the wall clock's present."""
    event.attempts += 1
    try:
        event.status = _apply(_processor().reread_event(event.body), at)
        event.error, event.processed_at = "", at
    except Exception as problem:
        if not isinstance(problem, DomainError):
            logger.exception("event %s could not be processed", event.event_id)
        event.status = Status.FAILED
        event.error = getattr(problem, "message", "") or f"{type(problem).__name__}: {problem}"
    event.save(update_fields=["status", "attempts", "error", "processed_at"])
    return event.status != Status.FAILED


def process_due(*, at: datetime, limit: int = 1000) -> tuple[int, int]:
    """Try what is received or failed again, ever more slowly; returns how many were done and how many failed."""
    done, failed = 0, 0
    waiting = ProcessorEvent.objects.filter(
        status__in=[Status.RECEIVED, Status.FAILED], attempts__lt=MOST_TRIES
    ).order_by("received_at", "pk")
    for event in waiting[:limit]:
        if event.received_at + wait_before(event.attempts) > at:
            continue
        if process(event, at=at):
            done += 1
        else:
            failed += 1
    return done, failed


def wait_before(attempts: int) -> timedelta:
    """How long after its arrival an event is tried again: 1, 3, 7, 15 … minutes, then every six hours."""
    return sum((min(timedelta(minutes=2**n), _LONGEST_WAIT) for n in range(attempts)), timedelta())


def stuck() -> list[ProcessorEvent]:
    """Events that were given up: somebody has to look."""
    return list(ProcessorEvent.objects.filter(status=Status.FAILED, attempts__gte=MOST_TRIES).order_by("received_at"))


def sweep(*, at: datetime) -> list[str]:
    """Find what the webhooks never told us: renewals, paid pages and invoices, subscriptions; returns what was odd."""
    odd = []
    for customer_id in _processor().customers_with_renewals():
        customer = Customer.objects.filter(processor_id=customer_id).first()
        if customer is not None:
            odd += _try(customer, partial(_catch_up, customer, at))
    waiting = Operation.objects.filter(status=Operation.Status.WAITING, outcome__has_key="session_id")
    for operation in waiting.select_related("customer"):
        odd += _try(operation.customer, partial(_session, operation.customer, operation, at))
    owed = Invoice.objects.filter(status__in=[Invoice.Status.OPEN, Invoice.Status.DRAFT]).exclude(processor_id="")
    for invoice in owed.select_related("customer"):
        odd += _try(invoice.customer, partial(look_at_invoice, invoice.customer, invoice.processor_id, at))
    return odd + _sweep_subscriptions(at)


def _sweep_subscriptions(at: datetime) -> list[str]:
    """Look closer at those that end at Stripe and go on here, or the other way round."""
    odd = []
    living = {found.id: (found, owner) for found, owner in _processor().live_subscriptions()}
    rows = Subscription.objects.filter(status__in=_LIVE, is_paid=True).exclude(processor_subscription_id="")
    known = set()
    for row in rows.select_related("customer").order_by("pk").iterator(chunk_size=1000):
        known.add(row.processor_subscription_id)
        found, _ = living.get(row.processor_subscription_id, (None, ""))
        if found is None or (found.cancel_at is None) != (row.ends_at is None):
            odd += _try(row.customer, partial(_subscription, row.customer, row.processor_subscription_id, at))
    for key in living.keys() - known:
        odd.append(f"subscription {key} of {living[key][1]} belongs to no plan here: import or cancel it")
    return odd


def _try(customer: Customer, act: Callable[[], object]) -> list[str]:
    try:
        act()
    except DomainError as problem:
        return [f"{customer.external_id}: {problem.message}"]
    return []


def _processor() -> StripeProcessor:
    found = registry.stripe()
    if found is None:
        raise ProcessorMisconfigured("Stripe is not set up here. Set STRIPE_SECRET_KEY.")
    return found


def _apply(data: ProcessorEventData, at: datetime) -> ProcessorEvent.Status:
    if data.kind is None:
        return Status.IGNORED
    customer = Customer.objects.filter(processor_id=data.customer_id).first() if data.customer_id else None
    if customer is None:
        return Status.IGNORED
    match data.kind:
        case EventKind.SESSION:
            operation = Operation.objects.filter(customer=customer, outcome__session_id=data.object_id).first()
            _session(customer, operation, at, session_id=data.object_id)
        case EventKind.SUBSCRIPTION:
            _subscription(customer, data.object_id, at)
        case EventKind.INVOICE:
            if data.boundary is not None:
                _catch_up(customer, at)
                _expect_renewed(customer, data, at)
            look_at_invoice(customer, data.object_id, at)
        case EventKind.CUSTOMER:
            _customer(customer)
        case EventKind.REFUND:
            copy_refunds(customer)
    return Status.DONE


def _catch_up(customer: Customer, at: datetime) -> None:
    customer.refresh_from_db()
    clocks.advance(customer=customer, until=customer.now(at), actor=ACTOR)


def _expect_renewed(customer: Customer, data: ProcessorEventData, at: datetime) -> None:
    """While a renewal is not collected here, Stripe is told that the event was not taken: the draft waits for us."""
    if data.type != "invoice.created" or data.boundary is None:
        return
    rows = Subscription.objects.filter(
        customer=customer, processor_subscription_id=data.subscription_id, status__in=_LIVE, is_paid=True
    )
    due = rows.filter(current_period_end__lte=min(data.boundary + timedelta(seconds=1), customer.now(at)))
    if due.exists():
        raise DomainError(f"The renewal of {data.boundary} has yet to be collected.", code="renewal_not_ready")


def _session(customer: Customer, operation: Operation | None, at: datetime, *, session_id: str = "") -> None:
    with queue.customer(customer):
        recovery.finish_pending(customer)
        customer.refresh_from_db()
        if operation is None:
            get_processor().session(session_id)  # a card page: its card is the one from now on
            return
        operation.refresh_from_db()
        if operation.status == Operation.Status.WAITING:
            payments.checkout_completed(operation, at=customer.now(at))
        operation.refresh_from_db()
        session = get_processor().session(operation.outcome["session_id"])
        if operation.status == Operation.Status.WAITING and session.status == "expired":
            operations.expire(operation, at=customer.now(at))


def look_at_invoice(customer: Customer, invoice_id: str, at: datetime) -> None:
    """Bring our invoice in line with Stripe's: paid on its page or by a later try, voided, finalized by hand."""
    with queue.customer(customer):
        recovery.finish_pending(customer)
        customer.refresh_from_db()
        invoice = (
            Invoice.objects.select_related("operation", "customer", "entity")
            .filter(customer=customer, processor_id=invoice_id)
            .exclude(status=Invoice.Status.PAID)
            .first()
        )
        if invoice is None:
            return
        found = get_processor().invoice(invoice_id)
        moment = customer.now(at)
        if found.status == "paid":
            payments.invoice_paid(invoice, found, at=moment)
        elif found.status != invoice.status:
            invoices.mark(invoice, found, at=moment)


def copy_refunds(customer: Customer) -> None:
    """Take over what was given back on Stripe's dashboard."""
    with queue.customer(customer):
        recovery.finish_pending(customer)
        for key, given in _processor().refunds(customer.processor_id).items():
            Invoice.objects.filter(customer=customer, processor_id=key, refunded__lt=given).update(refunded=given)


def _subscription(customer: Customer, subscription_id: str, at: datetime) -> None:
    """Apply what was done to a subscription at Stripe and not by us: cancelled, at once or later, or taken back."""
    with queue.customer(customer):
        _catch_up(customer, at)
        rows = list(
            Subscription.objects.filter(
                customer=customer, processor_subscription_id=subscription_id, status__in=_LIVE, is_paid=True
            ).select_related("entity")
        )
        if not rows:
            return
        found = _processor().subscription(subscription_id)
        moment = customer.now(at)
        subject = Subject(customer, rows[0].entity)
        if found is None or found.status == "canceled":
            _ended(subject, rows, moment)
        else:
            _end_moved(subject, rows, found, moment)


def _ended(subject: Subject, rows: list[Subscription], at: datetime) -> None:
    payments.canceled_at_processor(subject, at_period_end=False, at=at, actor=ACTOR, rows=rows)


def _end_moved(subject: Subject, rows: list[Subscription], found: ProcessorSubscription, at: datetime) -> None:
    wanted = syncing.wanted(subject.customer, subject.entity, at=at).get(found.id)
    if wanted is None:
        return
    ours = wanted.cancel_at.replace(microsecond=0) if wanted.cancel_at else None
    if found.cancel_at == ours:
        return
    try:
        if found.cancel_at is not None and not any(row.ends_at for row in rows):
            payments.canceled_at_processor(subject, at_period_end=True, at=at, actor=ACTOR, rows=rows)
        elif found.cancel_at is None and ours is not None:
            payments.resumed_at_processor(subject, at=at, actor=ACTOR, rows=rows)
    except NothingToPay:
        logger.info("subscription %s has nothing left here", found.id)


def _customer(customer: Customer) -> None:
    email = _processor().customer_email(customer.processor_id)
    if email and email != customer.email:
        Customer.objects.filter(pk=customer.pk).update(email=email[:320])
