"""Writing invoices: numbered without gaps, line by line, and what becomes of them."""

import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from django.db import connection

from billing import proration
from billing.models import (
    Invoice,
    InvoiceLine,
    Operation,
    Overage,
    PendingLine,
    Subscription,
    SubscriptionItem,
)
from billing.processors import InvoiceItem, ProcessorInvoice
from billing.proration import Line
from config.errors import InvalidRequest
from entities.models import Customer, Entity

ZERO = Decimal(0)
LARGEST = Decimal(10) ** 12
Status = Invoice.Status
_NEXT_NUMBER = """
INSERT INTO billing_invoicenumber AS numbers (id, last) VALUES (1, 1)
ON CONFLICT (id) DO UPDATE SET last = numbers.last + 1 RETURNING last
"""
_STATUS = {"paid": Status.PAID, "open": Status.OPEN, "draft": Status.DRAFT, "void": Status.VOID}


def check_amounts(lines: Sequence[Line]) -> None:
    """Refuse, with InvalidRequest, what no invoice can hold."""
    if any(abs(line.amount) >= LARGEST for line in lines):
        raise InvalidRequest(f"An amount comes to {LARGEST} or more. Lower the price or the quantity.")


def to_processor(lines: Sequence[Line]) -> list[InvoiceItem]:
    """The lines as the processor shows them."""
    return [
        InvoiceItem(
            line.description,
            line.amount,
            line.period.start if line.period else None,
            line.period.end if line.period else None,
        )
        for line in lines
    ]


def write(
    *,
    customer: Customer,
    entity: Entity | None,
    operation: Operation | None,
    cause: Invoice.Cause,
    currency: str,
    lines: Sequence[Line],
    at: datetime,
    collected: ProcessorInvoice | None,
    net_terms_days: int | None = None,
    attributed: bool = True,
) -> tuple[Invoice, list[InvoiceLine]]:
    """Write an invoice as the processor has it; `collected` None keeps lines that cancel out, without showing them.

    With `attributed` off (not paid yet) the lines belong to no subscription until `attribute_to` says so, and what
    they bill stays unbilled.
    """
    status = _STATUS[collected.status] if collected else Status.PAID
    invoice = Invoice.objects.create(
        number="" if collected is None or status == Status.DRAFT else next_number(),
        public_id=secrets.token_urlsafe(24),
        customer=customer,
        entity=entity,
        operation=operation,
        cause=cause,
        status=status,
        currency=currency,
        total=proration.total(lines),
        is_internal=collected is None,
        processor_id=collected.id if collected else "",
        hosted_url=collected.url if collected else "",
        period_start=min((line.period.start for line in lines if line.period), default=None),
        period_end=max((line.period.end for line in lines if line.period), default=None),
        created_at=at,
        due_at=at + timedelta(days=net_terms_days) if net_terms_days is not None else None,
        paid_at=at if status == Status.PAID else None,
    )
    rows = [
        InvoiceLine(
            invoice=invoice,
            position=position,
            kind=line.kind,
            is_credit=line.is_credit,
            display_name=line.display_name[:255],
            description=line.description,
            amount=line.amount,
            quantity=line.quantity,
            plan=line.subscription.plan,
            feature=line.item.feature if line.item else None,
            entity=line.subscription.entity,
            subscription=line.subscription if attributed else None,
            item=line.item if attributed else None,
            lowers=line.lowers or "",
            discount=line.discount if line.discount is not None and line.discount.pk else None,
            period_start=line.period.start if line.period else None,
            period_end=line.period.end if line.period else None,
        )
        for position, line in enumerate(lines)
    ]
    InvoiceLine.objects.bulk_create(rows)
    if attributed:
        _mark_billed(rows, lines, at=at)
    return invoice, rows


def _mark_billed(rows: Sequence[InvoiceLine], lines: Sequence[Line], *, at: datetime) -> None:
    """What was put aside or waited is billed by these lines, and by no others."""
    for row, line in zip(rows, lines, strict=True):
        if line.overages:
            Overage.objects.filter(pk__in=[overage.pk for overage in line.overages]).update(settled_at=at, line=row)
        if line.pending is not None:
            PendingLine.objects.filter(pk=line.pending.pk).update(line=row)


def attribute_to(rows: Sequence[InvoiceLine], subscriptions: Sequence[Subscription]) -> None:
    """Tie lines written before their subscriptions existed to them, by plan and holder."""
    for row in rows:
        for subscription in subscriptions:
            if (subscription.plan_id, subscription.entity_id) == (row.plan_id, row.entity_id):
                row.subscription, row.item = subscription, _item_of(subscription, row)
                break
    InvoiceLine.objects.bulk_update(rows, ["subscription", "item"])


def next_number() -> str:
    """The next invoice number. The one row that counts stays locked until the transaction ends: no gaps."""
    with connection.cursor() as cursor:
        cursor.execute(_NEXT_NUMBER)
        return f"{cursor.fetchone()[0]:08d}"


def mark(invoice: Invoice, collected: ProcessorInvoice, *, at: datetime) -> None:
    """Bring an invoice up to date with the processor."""
    status = _STATUS[collected.status]
    if status == invoice.status:
        return
    if not invoice.number and status != Status.DRAFT and not invoice.is_internal:
        invoice.number = next_number()
    invoice.status = status
    invoice.paid_at = at if status == Status.PAID else None
    invoice.hosted_url = collected.url
    invoice.save(update_fields=["number", "status", "paid_at", "hosted_url"])


def _item_of(subscription: Subscription, row: InvoiceLine) -> SubscriptionItem | None:
    if row.feature_id is None:
        return None
    priced = [item for item in subscription.items.all() if item.feature_id == row.feature_id and item.is_priced]
    return priced[0] if priced else None
