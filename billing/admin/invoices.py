"""Invoices, with their lines by seat or workspace."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.decorators import display

from billing.admin.actions import base
from billing.models import Invoice, InvoiceLine
from billing.templatetags.shown import money
from config.admin import Exported, Paged, ReadOnlyAdmin
from plans import pricing

TONES = {"Paid": "success", "Open": "danger", "Draft": "info", "Void": "warning", "Uncollectible": "danger"}


@admin.register(Invoice)
class InvoiceAdmin(ReadOnlyAdmin, Exported, Paged):
    """Written by billing only."""

    page_template = "billing/invoice.html"
    when_empty = "The first invoice comes with a paid plan. Attach one on a customer's page."
    actions = ("export",)
    exported = ("number", "customer__external_id", "entity__external_id", "status", "currency", "total", "created_at")

    list_display = ("shown_number", "customer", "entity", "shown_total", "state", "cause", "created_at")
    list_select_related = ("customer", "entity")
    list_filter = ("status", "cause")
    search_fields = ("=number", "=customer__external_id", "=processor_id")
    search_help_text = "Exact invoice number, customer id, or id at the processor"
    ordering = ("-id",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Invoice]:
        """Without those that are kept for their lines only."""
        rows: QuerySet[Invoice] = super().get_queryset(request).filter(is_internal=False)
        return rows.select_related("customer", "entity", "operation")

    @display(description="Number", ordering="number")
    def shown_number(self, invoice: Invoice) -> str:
        """A draft has none."""
        return invoice.number or "Draft"

    @display(description="Total", ordering="total")
    def shown_total(self, invoice: Invoice) -> str:
        """With its currency."""
        return money(invoice.total, invoice.currency)

    @display(description="Status", ordering="status", label=TONES)
    def state(self, invoice: Invoice) -> str:
        """In words."""
        return invoice.get_status_display()

    def page(self, request: HttpRequest, invoice: Invoice) -> dict[str, Any]:
        """The invoice as finance reads it."""
        lines: dict[Any, list[Any]] = {}
        for line in invoice.lines.select_related("plan", "feature", "entity", "subscription"):
            lines.setdefault(line.entity or invoice.customer, []).append((line, why(line, invoice.currency)))
        slugs: tuple[str, ...] = ()
        if invoice.status == Invoice.Status.OPEN:
            slugs = ("pay-invoice", "void-invoice")
        elif invoice.status == Invoice.Status.PAID and invoice.total > invoice.refunded and invoice.processor_id:
            slugs = ("refund-invoice",)
        return {
            "title": f"Invoice {invoice.number or 'in draft'}",
            "invoice": invoice,
            "groups": [(holder, rows, sum(row.amount for row, _ in rows)) for holder, rows in lines.items()],
            "buttons": base.buttons(request.user, invoice.customer, *slugs, invoice=invoice),
        }


def why(line: InvoiceLine, currency: str) -> str:
    """What a reader may wonder about a line: `part of $20.00, for what is left of the period`."""
    if line.is_credit:
        return "gives back what was paid and not used"
    row = line.subscription
    if line.kind != InvoiceLine.Kind.BASE or row is None or not row.price_amount:
        return ""
    whole = pricing.round_money(row.price_amount, currency)
    return f"part of {money(whole, currency)}, for what was left of the period" if 0 < line.amount < whole else ""
