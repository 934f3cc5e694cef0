"""What was written down and is never edited: ledger, events, holds, operations, the processor's events."""

from typing import Any

from django.contrib import admin
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.html import format_html
from unfold.decorators import display

from billing.admin.actions import approving, base
from billing.admin.timeline import describe
from billing.models import Approval, Hold, LedgerEntry, Operation, ProcessorEvent, UsageEvent
from billing.services import bulk, jobs
from billing.templatetags.shown import quantity
from config import clock
from config.admin import Exported, ReadOnlyAdmin, actor

STATES = {
    "Written down, not yet carried out": "warning",
    "Waits for the customer to pay or authenticate": "info",
    "Done": "success",
    "Failed, nothing changed": "danger",
    "Expired, nothing changed": "warning",
    "Received": "info",
    "Processed": "success",
    "Failed": "danger",
    "Ignored": "warning",
    "Held": "info",
    "Confirmed": "success",
    "Released": "warning",
    "Expired": "warning",
    "Waits for a second person": "info",
    "Approved and done": "success",
    "Declined, nothing changed": "warning",
}


@admin.register(LedgerEntry)
class LedgerEntryAdmin(ReadOnlyAdmin, Exported):
    """Every change of every balance."""

    when_empty = "Every change of a balance is written down here. Attach a plan or grant a balance to see the first."
    actions = ("export",)
    exported = ("at", "balance__customer__external_id", "balance__entity__external_id", "balance__feature__slug",
                "kind", "granted", "usage", "held", "expired", "reason", "actor", "request_id")  # fmt: skip

    list_display = ("at", "feature", "holder", "what", "reason", "actor")
    list_select_related = ("balance__feature", "balance__entity", "balance__customer")
    list_filter = ("kind",)
    search_fields = ("=actor", "=request_id")
    search_help_text = "Exact actor (staff:anna, key:sl_test_…) or request id"
    ordering = ("-id",)
    sortable_by = ()

    def get_queryset(self, request: HttpRequest) -> QuerySet[LedgerEntry]:
        """With names."""
        rows: QuerySet[LedgerEntry] = super().get_queryset(request)
        return rows.select_related(*self.list_select_related)

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        """A customer's page leads here."""
        return lookup in ("customer_id", "balance__id__exact", "event_id", "operation_id")

    @display(description="Feature")
    def feature(self, entry: LedgerEntry) -> str:
        """Of the balance."""
        return str(entry.balance.feature)

    @display(description="Whose")
    def holder(self, entry: LedgerEntry) -> str:
        """Customer, and entity."""
        balance = entry.balance
        return f"{balance.customer} / {balance.entity}" if balance.entity else str(balance.customer)

    @display(description="What")
    def what(self, entry: LedgerEntry) -> str:
        """The deltas."""
        return f"{entry.get_kind_display()}: {describe(entry)}"


@admin.register(UsageEvent)
class UsageEventAdmin(ReadOnlyAdmin, Exported):
    """What applications reported."""

    when_empty = "Applications report usage with balances.track. Make an API key, then try the call of the README."
    actions = ("export",)
    exported = ("at", "customer__external_id", "entity__external_id", "feature__slug", "value", "event_name")

    list_display = ("at", "feature", "shown_value", "customer", "entity", "event_name", "actor")
    list_select_related = ("feature", "customer", "entity")
    list_filter = ("feature",)
    search_fields = ("=customer__external_id", "=entity__external_id", "=request_id")
    search_help_text = "Exact id of the customer, the entity or the request"
    ordering = ("-at", "-id")
    sortable_by = ()

    @display(description="Value")
    def shown_value(self, event: UsageEvent) -> str:
        """As reported."""
        return quantity(event.value)


@admin.register(Hold)
class HoldAdmin(ReadOnlyAdmin):
    """Quantities set aside."""

    when_empty = "Applications hold a quantity with balances.check and a lock. Nothing is held."
    list_display = ("lock_id", "feature", "shown_value", "customer", "entity", "state", "created_at", "expires_at")
    list_select_related = ("feature", "customer", "entity")
    list_filter = ("status", "feature")
    search_fields = ("=lock_id", "=customer__external_id")
    search_help_text = "Exact lock id or customer id"
    ordering = ("-id",)
    readonly_fields = ("settle",)

    @display(description="Value")
    def shown_value(self, hold: Hold) -> str:
        """As asked for."""
        return quantity(hold.value)

    @display(description="Status", ordering="status", label=STATES)
    def state(self, hold: Hold) -> str:
        """In words."""
        return hold.get_status_display()

    @display(description="Settle")
    def settle(self, hold: Hold) -> str:
        """A way to the action."""
        if hold.status != Hold.Status.HELD:
            return "It is settled."
        url = base.link("finalize-hold", hold.customer, hold=hold)
        return format_html('<a class="sl-button" href="{}">Release or confirm it</a>', url)


@admin.register(Operation)
class OperationAdmin(ReadOnlyAdmin):
    """Billing changes, in progress or done."""

    list_display = ("at", "kind", "customer", "entity", "state", "actor", "reason")
    list_select_related = ("customer", "entity")
    list_filter = ("status", "kind")
    search_fields = ("=customer__external_id", "=actor", "=request_id")
    search_help_text = "Exact customer id, actor or request id"
    ordering = ("-id",)

    @display(description="Status", ordering="status", label=STATES)
    def state(self, operation: Operation) -> str:
        """In words."""
        return operation.get_status_display()


@admin.register(Approval)
class ApprovalAdmin(ReadOnlyAdmin):
    """What waits for a second person, and what became of it."""

    when_empty = (
        "Nothing waits. The settings APPROVAL_ABOVE_AMOUNT and APPROVAL_ABOVE_UNITS say what needs a second person."
    )
    list_display = ("asked_at", "title", "customer", "state", "asked_by", "reason", "decided_by")
    list_display_links = ("title",)
    list_select_related = ("customer", "asked_by", "decided_by")
    list_filter = ("status",)
    search_fields = ("=customer__external_id", "title")
    ordering = ("-id",)

    @display(description="Status", ordering="status", label=STATES)
    def state(self, approval: Approval) -> str:
        """In words."""
        return approval.get_status_display()

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """What waits is decided on its own page."""
        row = self.get_object(request, object_id)
        if row is not None and row.status == Approval.Status.WAITING and request.user.has_perm(approving.PERMISSION):
            return redirect(approving.address(row))
        response: HttpResponse = super().change_view(request, object_id, form_url, extra_context)
        return response


@admin.register(ProcessorEvent)
class ProcessorEventAdmin(ReadOnlyAdmin):
    """What the payment processor sent."""

    when_empty = "What the payment processor sends is written down here. With Stripe, run create_stripe_webhook first."
    list_display = ("received_at", "type", "event_id", "state", "attempts", "error")
    actions = ("process_again",)
    list_filter = ("status", "type")
    search_fields = ("=event_id", "=type")
    search_help_text = "Exact event id or type"
    ordering = ("-id",)

    @display(description="Status", ordering="status", label=STATES)
    def state(self, event: ProcessorEvent) -> str:
        """In words."""
        return event.get_status_display()

    def has_settle_permission(self, request: HttpRequest) -> bool:
        """Who may pay and void may also repeat what the processor said."""
        return request.user.has_perm("billing.can_settle_invoice")

    @admin.action(description="Process again", permissions=("settle",))
    def process_again(self, request: HttpRequest, queryset: QuerySet[ProcessorEvent]) -> HttpResponse:
        """Those that failed, oldest first, in the background; the others are done once and for all."""
        failed = queryset.filter(status=ProcessorEvent.Status.FAILED).order_by("pk")
        cells = failed.values_list("pk", "event_id", "type").iterator(2000)
        rows = ((n, {"event": pk, "event_id": name, "type": kind}) for n, (pk, name, kind) in enumerate(cells, 1))
        with transaction.atomic():
            job = jobs.begin(
                kind=jobs.Kind.EVENTS,
                title="Process events again",
                status=jobs.Status.READY,
                rows=rows,
                actor=actor(request),
                at=clock.now(),
            )
            jobs.let_run(job, reason="They failed")
        bulk.start(job)
        return redirect("admin:job", job.pk)
