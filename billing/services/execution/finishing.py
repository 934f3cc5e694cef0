"""The last steps of an operation, once all is written: credit, refund, the processor's subscriptions.

Whatever they need is in the operation's row as well, so that another process can take them when the first one dies.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import connection, transaction

from billing.models import Invoice, Operation, Subscription
from billing.outcomes import Outcome
from billing.processors import Collection, InvoiceItem, get_processor
from billing.services.execution import syncing
from entities.models import Customer, Entity

_REMEMBER = """
UPDATE billing_operation o SET outcome = w.outcome, status = %s
FROM unnest(%s::bigint[], %s::jsonb[]) AS w(id, outcome) WHERE o.id = w.id
"""

Scopes = Mapping[int | None, Entity | None]


def finish(operation: Operation, *, customer: Customer, scopes: Scopes, ended: Iterable[Subscription]) -> None:
    """Give what there is to give, bring the processor's subscriptions of the scopes up to date; then it is done."""
    if operation.outcome.get("is_credited"):
        _credit(operation, customer)
    if operation.outcome.get("refund"):
        _refund(operation)
    gone = list(ended)
    for key, entity in scopes.items():
        syncing.sync(
            customer=customer,
            entity=entity,
            ended=[row for row in gone if row.entity_id == key],
            at=operation.at,
            key=sync_key(operation, key),
        )
    operation.status, operation.finished_at = Operation.Status.DONE, operation.at
    operation.save(update_fields=["status", "finished_at"])


def finish_written(operation: Operation) -> None:
    """Take the last steps of an operation whose process died before it could."""
    written = operation.outcome
    entities = Entity.objects.in_bulk([key for key in written["scopes"] if key])
    finish(
        operation,
        customer=operation.customer,
        scopes={key or None: entities.get(key) for key in written["scopes"]},
        ended=Subscription.objects.filter(pk__in=written["ended"]),
    )


def sync_key(operation: Operation, entity_pk: int | None) -> str:
    """The key under which the processor is told what an operation left in a scope."""
    return f"operation-{operation.pk}-{entity_pk or 0}"


def remember(written: Sequence[tuple[Operation, Mapping[str, Any]]]) -> None:
    """Remember that all is written, and what is left to do, for another process to do it if this one dies."""
    for operation, left in written:
        operation.outcome = {**operation.outcome, "applied": True, **left}
        operation.status = Operation.Status.PENDING  # from where any process can finish it
    keys = [operation.pk for operation, _ in written]
    outcomes = [json.dumps(operation.outcome) for operation, _ in written]
    with connection.cursor() as cursor:
        cursor.execute(_REMEMBER, [Operation.Status.PENDING.value, keys, outcomes])


def left_to_do(outcome: Outcome, found: Scopes) -> dict[str, Any]:
    """What `finish_written` has to know of an outcome; part of the operation's row."""
    return {"scopes": [key or 0 for key in found], "ended": [end.subscription.pk for end in outcome.ends]}


def scopes(outcome: Outcome, operation: Operation, entity: Entity | None) -> Scopes:
    """The scopes whose paid plans an outcome touches, by the entity's key (None: the customer's own)."""
    found: dict[int | None, Entity | None] = {row.entity_id: row.entity for row in _touched(outcome)}
    if operation.kind == Operation.Kind.SEATS:
        found[entity.pk if entity else None] = entity
    if operation.kind == Operation.Kind.DELETE_ENTITY:
        found[None] = None
    return found


def invoice_key(operation: Operation) -> str:
    """The key of the operation's invoice at the processor; another for each try after a card was declined for good."""
    tries = operation.outcome.get("tries", 0)
    return f"operation-{operation.pk}-invoice" + (f"-{tries}" if tries else "")


def since(operation: Operation, customer: Customer) -> datetime | None:
    """The operation's invoice can't be older than this at the processor, whose test clock may lag behind ours."""
    return operation.at if customer.clock_at is None else None


def _touched(outcome: Outcome) -> list[Subscription]:
    rows: list[Subscription] = [
        *(end.subscription for end in outcome.ends),
        *(start.holding.subscription for start in outcome.starts),
        *(cancellation.subscription for cancellation in outcome.cancellations),
        *(cycle.subscription for cycle in outcome.cycles),
        *(change.item.subscription for change in outcome.quantities),
        *outcome.deletes,
        *outcome.resumes,
        *outcome.pauses,
    ]
    return [row for row in rows if row.is_paid]


def _credit(operation: Operation, customer: Customer) -> None:
    """Give the credit of an invoice below 0, once."""
    invoice = operation.invoices.filter(processor_id="", is_internal=False).first()
    if invoice is None:
        return
    given = get_processor().charge_invoice(
        customer_id=syncing.ensure_customer(customer),
        currency=invoice.currency,
        items=[
            InvoiceItem(line.description, line.amount, line.period_start, line.period_end)
            for line in invoice.lines.all()
        ],
        collection=Collection.CARD,
        key=invoice_key(operation),
        since=since(operation, customer),
    )
    invoice.processor_id, invoice.hosted_url = given.id, given.url
    invoice.save(update_fields=["processor_id", "hosted_url"])


def _refund(operation: Operation) -> None:
    """Give back what the operation promised of an invoice that was paid before, once."""
    wanted = operation.outcome["refund"]
    invoice = Invoice.objects.get(pk=wanted["invoice"])
    key = f"operation-{operation.pk}-refund"
    given = get_processor().refund(invoice.processor_id, Decimal(wanted["amount"]), key=key)
    with transaction.atomic():
        invoice.refunded += given
        invoice.save(update_fields=["refunded"])
        operation.outcome = {**operation.outcome, "refund": None}
        operation.save(update_fields=["outcome"])
