"""Our books against the processor's, field by field. Reads only, unless `repair` is asked for."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from billing.models import Invoice, Operation, Subscription
from billing.processors import SubscriptionTerms, registry
from billing.processors.failures import MissingAtProcessor, ProcessorMisconfigured
from billing.processors.protocol import ProcessorInvoice, ProcessorSubscription
from billing.processors.stripe import StripeProcessor
from billing.services.collection import processor_events
from billing.services.due import recovery
from billing.services.execution import queue, syncing
from entities.models import Customer, Entity

_LIVE = (Subscription.Status.ACTIVE, Subscription.Status.PAST_DUE)


@dataclass(frozen=True, slots=True)
class Difference:
    """One field of one thing that says different things here and there."""

    customer: str
    thing: str
    field: str
    ours: str
    theirs: str

    def __str__(self) -> str:
        return f"{self.customer}: {self.thing} {self.field}: here {self.ours}, at Stripe {self.theirs}"


def compare(customer: Customer, *, at: datetime) -> list[Difference]:
    """Everything about a customer that differs; `at` is the wall clock's present."""
    processor, name = _processor(), customer.external_id
    found = [
        Difference(name, f"operation {operation.pk}", "status", operation.status, "unknown")
        for operation in Operation.objects.filter(customer=customer, status=Operation.Status.PENDING)
    ]
    if not customer.processor_id:
        return found
    try:
        theirs = {row.id: row for row in processor.subscriptions(customer.processor_id)}
        billed = list(processor.invoices_with_marks(customer.processor_id))
    except MissingAtProcessor:
        return [*found, Difference(name, "customer", "id", customer.processor_id, "missing")]
    found += _subscriptions(customer, theirs, customer.now(at))
    found += _invoices(customer, billed)
    found += _refunds(customer, processor, {row.id for row, mark in billed if mark == "reversed"})
    return found


def repair(customer: Customer, *, at: datetime) -> None:
    """Say again what each scope's subscriptions are to be, and look at open invoices again; money is never moved."""
    with queue.customer(customer):
        recovery.finish_pending(customer)
        customer.refresh_from_db()
        moment = customer.now(at)
        for entity in scopes(customer):
            syncing.sync(
                customer=customer, entity=entity, ended=[], at=moment, key=f"reconcile-{customer.pk}-{at:%Y%m%d%H%M}"
            )
        processor, wanted = _processor(), _wanted(customer, moment)
        for row in processor.subscriptions(customer.processor_id):
            if row.ref and row.status != "canceled" and row.id not in wanted:
                processor.cancel_subscription(row.id, key=f"reconcile-{row.id}")
    for invoice in Invoice.objects.filter(customer=customer, status=Invoice.Status.OPEN).exclude(processor_id=""):
        processor_events.look_at_invoice(customer, invoice.processor_id, at)
    processor_events.copy_refunds(customer)


def scopes(customer: Customer) -> list[Entity | None]:
    """The scopes of a customer that have a live paid plan."""
    rows = Subscription.objects.filter(customer=customer, is_paid=True, status__in=_LIVE).select_related("entity")
    return list({row.entity_id: row.entity for row in rows}.values())


def _processor() -> StripeProcessor:
    found = registry.stripe()
    if found is None:
        raise ProcessorMisconfigured("Stripe is not set up here: there is nothing to compare with.")
    return found


def _wanted(customer: Customer, at: datetime) -> dict[str, SubscriptionTerms]:
    found: dict[str, SubscriptionTerms] = {}
    for entity in scopes(customer):
        for key, terms in syncing.wanted(customer, entity, at=at).items():
            found[key or f"(none for {terms.ref})"] = terms
    return found


def _subscriptions(customer: Customer, theirs: dict[str, ProcessorSubscription], at: datetime) -> Iterator[Difference]:
    name, wanted = customer.external_id, _wanted(customer, at)
    for key, terms in wanted.items():
        thing = f"subscription {key} of {terms.entity_id or 'the customer'}"
        row = theirs.get(key)
        if row is None or row.status == "canceled":
            yield Difference(name, thing, "status", terms.status, row.status if row else "missing")
            continue
        for field, ours, there in _fields(terms, row):
            if ours != there:
                yield Difference(name, thing, field, str(ours), str(there))
    for row in theirs.values():
        if row.status != "canceled" and row.id not in wanted:
            owner = "ours" if row.ref else "not made by us: import or cancel it"
            yield Difference(name, f"subscription {row.id}", "status", "unknown", f"{row.status} ({owner})")


def _fields(terms: SubscriptionTerms, row: ProcessorSubscription) -> Iterator[tuple[str, object, object]]:
    yield "ref", terms.ref, row.ref
    yield "entity_id", terms.entity_id, row.entity_id
    yield "currency", terms.currency, row.currency
    yield "sends invoices", terms.sends_invoice, row.sends_invoice
    yield "current_period_end", _second(terms.period_end), row.current_period_end
    yield "cancel_at", _second(terms.cancel_at), row.cancel_at
    yield "is trialing", terms.status == "trialing", row.status == "trialing"
    ours = {
        (item.plan_id, item.feature_id): (item.quantity.normalize(), item.amount) for item in _processor().shown(terms)
    }
    there = {(item.plan_id, item.feature_id): (item.quantity.normalize(), item.amount) for item in row.items}
    for key in ours.keys() | there.keys():
        label = f"{key[0]} {key[1] or 'base price'}"
        yield label, _priced(ours.get(key)), _priced(there.get(key))


def _priced(value: tuple[Decimal, Decimal] | None) -> str:
    return "nothing" if value is None else f"{value[0]:f} for {value[1].normalize():f}"


def _second(moment: datetime | None) -> datetime | None:
    return moment.replace(microsecond=0) if moment is not None else None


def _refunds(customer: Customer, processor: StripeProcessor, reversed_ones: set[str]) -> Iterator[Difference]:
    """What was undone altogether is refunded in full here, though credit may have paid a part of it."""
    given = processor.refunds(customer.processor_id)
    for invoice in Invoice.objects.filter(customer=customer, status=Invoice.Status.PAID).exclude(processor_id=""):
        theirs = given.get(invoice.processor_id, Decimal(0))
        if invoice.refunded != theirs and invoice.processor_id not in reversed_ones:
            yield Difference(customer.external_id, f"invoice {invoice}", "refunded", str(invoice.refunded), str(theirs))


def _invoices(customer: Customer, billed: list[tuple[ProcessorInvoice, str]]) -> Iterator[Difference]:
    """Every invoice of ours is there with its total and status; none of Stripe's that we made or renewed is unknown."""
    name = customer.external_id
    ours = {
        row.processor_id: row
        for row in Invoice.objects.filter(customer=customer, is_internal=False).exclude(processor_id="")
    }
    theirs = {row.id: row for row, _ in billed}
    totals: dict[str, Decimal] = {}
    for row, mark in billed:
        # What a late renewal lacked is an invoice of its own; ours counts both.
        belongs_to = mark.removeprefix("belongs to ") if mark.startswith("belongs to ") else row.id
        totals[belongs_to] = totals.get(belongs_to, Decimal(0)) + row.total
    for key, invoice in ours.items():
        thing = f"invoice {invoice}"
        found = theirs.get(key)
        if found is None:
            # A draft that was taken back is deleted there.
            if invoice.status != Invoice.Status.VOID:
                yield Difference(name, thing, "status", invoice.status, "missing")
            continue
        if found.status != invoice.status and not (found.status == "draft" and invoice.status == "void"):
            yield Difference(name, thing, "status", invoice.status, found.status)
        if totals[key] != invoice.total:
            yield Difference(name, thing, "total", str(invoice.total), str(totals[key]))
    for row, mark in billed:
        if mark == "ours" and row.id not in ours and row.status in ("paid", "open") and row.total:
            yield Difference(name, f"invoice {row.id}", "status", "unknown", f"{row.status} over {row.total}")
