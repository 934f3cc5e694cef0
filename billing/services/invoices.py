"""Writing invoices: numbered without gaps, line by line, and what becomes of them."""

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db import connection

from billing import proration
from billing.models import (
    Invoice,
    InvoiceLine,
    Operation,
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
_NEXT_NUMBERS = """
INSERT INTO billing_invoicenumber AS numbers (id, last) VALUES (1, %(count)s)
ON CONFLICT (id) DO UPDATE SET last = numbers.last + %(count)s RETURNING last
"""
_SETTLE = """
UPDATE billing_overage o SET line_id = b.line, settled_at = b.at
FROM unnest(%s::bigint[], %s::bigint[], %s::timestamptz[]) AS b(id, line, at) WHERE o.id = b.id
"""
_BILL = """
UPDATE billing_pendingline p SET line_id = b.line FROM unnest(%s::bigint[], %s::bigint[]) AS b(id, line)
WHERE p.id = b.id
"""
_BATCH = 1000
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
            is_discount=line.discount is not None,
        )
        for line in lines
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """An invoice to be written as the processor has it; `collected` None keeps lines that cancel out, without showing.

    With `attributed` off (not paid yet) the lines belong to no subscription until `attribute_to` says so, and what
    they bill stays unbilled.
    """

    customer: Customer
    entity: Entity | None
    operation: Operation | None
    cause: Invoice.Cause
    currency: str
    lines: Sequence[Line]
    at: datetime
    collected: ProcessorInvoice | None
    net_terms_days: int | None = None
    attributed: bool = True

    @property
    def status(self) -> Invoice.Status:
        return _STATUS[self.collected.status] if self.collected else Status.PAID

    @property
    def is_numbered(self) -> bool:
        return self.collected is not None and self.status != Status.DRAFT


def write(draft: Draft) -> tuple[Invoice, list[InvoiceLine]]:
    """Write one invoice."""
    return write_all([draft])[0]


def write_all(drafts: Sequence[Draft]) -> list[tuple[Invoice, list[InvoiceLine]]]:
    """Write invoices, numbered in this order, and mark what they bill as billed; inside the caller's transaction."""
    numbers = iter(_numbers(sum(draft.is_numbered for draft in drafts)))
    made = Invoice.objects.bulk_create(
        [_invoice(draft, next(numbers) if draft.is_numbered else "") for draft in drafts], batch_size=_BATCH
    )
    written = [
        (invoice, [_line(draft, invoice, position, line) for position, line in enumerate(draft.lines)])
        for invoice, draft in zip(made, drafts, strict=True)
    ]
    InvoiceLine.objects.bulk_create([row for _, rows in written for row in rows], batch_size=_BATCH)
    _mark_billed([(draft, rows) for draft, (_, rows) in zip(drafts, written, strict=True) if draft.attributed])
    return written


def _invoice(draft: Draft, number: str) -> Invoice:
    at, lines, collected = draft.at, draft.lines, draft.collected
    return Invoice(
        number=number,
        public_id=secrets.token_urlsafe(24),
        customer=draft.customer,
        entity=draft.entity,
        operation=draft.operation,
        cause=draft.cause,
        status=draft.status,
        currency=draft.currency,
        total=proration.total(lines),
        is_internal=collected is None,
        processor_id=collected.id if collected else "",
        hosted_url=collected.url if collected else "",
        period_start=min((line.period.start for line in lines if line.period), default=None),
        period_end=max((line.period.end for line in lines if line.period), default=None),
        created_at=at,
        due_at=at + timedelta(days=draft.net_terms_days) if draft.net_terms_days is not None else None,
        paid_at=at if draft.status == Status.PAID else None,
    )


def columns(line: Line) -> dict[str, Any]:
    """What a line says, as the rows hold it that are invoiced and those that wait for an invoice."""
    return {
        "kind": line.kind,
        "is_credit": line.is_credit,
        "display_name": line.display_name[:255],
        "description": line.description,
        "amount": line.amount,
        "quantity": line.quantity,
        "plan_id": line.subscription.plan_id,
        "feature_id": line.item.feature_id if line.item else None,
        "entity_id": line.subscription.entity_id,
        "period_start": line.period.start if line.period else None,
        "period_end": line.period.end if line.period else None,
    }


def _line(draft: Draft, invoice: Invoice, position: int, line: Line) -> InvoiceLine:
    return InvoiceLine(
        invoice=invoice,
        position=position,
        **columns(line),
        subscription=line.subscription if draft.attributed else None,
        item=line.item if draft.attributed else None,
        lowers=line.lowers or "",
        discount=line.discount if line.discount is not None and line.discount.pk else None,
    )


def _mark_billed(written: Iterable[tuple[Draft, Sequence[InvoiceLine]]]) -> None:
    """What was put aside or waited is billed by these lines, and by no others."""
    overages: list[tuple[int, int, datetime]] = []
    pending: list[tuple[int, int]] = []
    for draft, rows in written:
        for row, line in zip(rows, draft.lines, strict=True):
            overages += [(overage.pk, row.pk, draft.at) for overage in line.overages]
            if line.pending is not None:
                pending.append((line.pending.pk, row.pk))
    with connection.cursor() as cursor:
        if overages:
            columns = [list(column) for column in zip(*overages, strict=True)]
            cursor.execute(_SETTLE, columns)
        if pending:
            cursor.execute(_BILL, [list(column) for column in zip(*pending, strict=True)])


def attribute_to(rows: Sequence[InvoiceLine], subscriptions: Sequence[Subscription]) -> None:
    """Tie lines written before their subscriptions existed to them, by plan and holder."""
    for row in rows:
        for subscription in subscriptions:
            if (subscription.plan_id, subscription.entity_id) == (row.plan_id, row.entity_id):
                row.subscription, row.item = subscription, _item_of(subscription, row)
                break
    InvoiceLine.objects.bulk_update(rows, ["subscription", "item"])


def currency_of(customer: Customer) -> str:
    """What the customer pays in: what the first invoice locked, else what everybody here pays in."""
    return customer.currency or settings.CURRENCY


def next_number() -> str:
    """The next invoice number."""
    return _numbers(1)[0]


def _numbers(count: int) -> list[str]:
    """The next invoice numbers. The one row that counts stays locked until the transaction ends: no gaps."""
    if not count:
        return []
    with connection.cursor() as cursor:
        cursor.execute(_NEXT_NUMBERS, {"count": count})
        (last,) = cursor.fetchone()
    return [f"{number:08d}" for number in range(last - count + 1, last + 1)]


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
