"""Subscriptions: who is on which plan, with the terms copied at the time."""

from typing import Any

from django.conf import settings
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.decorators import display

from billing.admin.actions import base
from billing.admin.bars import bars
from billing.models import Balance, InvoiceLine, Subscription
from config.admin import Exported, Paged, ReadOnlyAdmin
from plans import wording

TONES = {"Active": "success", "Past due": "danger", "Scheduled": "info", "Ended": "warning", "Paused": "warning"}


class LiveFilter(admin.SimpleListFilter):
    """Those that grant something now, or will."""

    title = "holding"
    parameter_name = "live"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Two kinds."""
        return [("yes", "Live or scheduled"), ("no", "Ended or paused")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Subscription]) -> QuerySet[Subscription]:
        """As asked for."""
        live = Subscription.objects.current_or_scheduled().values("pk")
        if self.value() == "yes":
            return queryset.filter(pk__in=live)
        return queryset.exclude(pk__in=live) if self.value() == "no" else queryset


@admin.register(Subscription)
class SubscriptionAdmin(ReadOnlyAdmin, Exported, Paged):
    """Changed on the pages of customers and entities."""

    page_template = "billing/subscription.html"
    when_empty = "Attach a plan on the page of a customer, seat or workspace."
    actions = ("export",)
    exported = ("public_id", "customer__external_id", "entity__external_id", "plan__slug", "plan__version", "status",
                "started_at", "current_period_end", "ends_at")  # fmt: skip
    list_display = ("plan", "holder", "customer", "state", "started_at", "current_period_end", "ends_at")
    list_display_links = ("plan", "holder")
    list_select_related = ("plan", "customer", "entity")
    list_filter = (LiveFilter, "status", "is_paid", "is_add_on", ("plan", admin.RelatedOnlyFieldListFilter))
    search_fields = ("public_id", "=customer__external_id", "=entity__external_id", "=processor_subscription_id")
    search_help_text = "Exact id of the subscription, the customer, the entity, or the id at the processor"
    ordering = ("-id",)

    @display(description="Holder")
    def holder(self, subscription: Subscription) -> str:
        """The scope."""
        return str(subscription.entity) if subscription.entity else "the customer itself"

    @display(description="Status", ordering="status", label=TONES)
    def state(self, subscription: Subscription) -> str:
        """In words."""
        return subscription.get_status_display()

    def page(self, request: HttpRequest, row: Subscription) -> dict[str, Any]:
        """What is held, on which terms, and what it has cost."""
        items = row.items.select_related("feature", "entity_feature")
        balances = Balance.objects.filter(subscription=row, ended_at=None).select_related("feature")
        lines = InvoiceLine.objects.filter(subscription=row, invoice__is_internal=False).select_related("invoice")
        slug = "uncancel-plan" if row.ends_at is not None else "cancel-plan"
        is_over = row.status == Subscription.Status.EXPIRED
        return {
            "row": row,
            "customer": row.customer,
            "terms": [wording.sentence(item, settings.CURRENCY) for item in items],
            "bars": bars(balances.order_by("feature__name", "pk")),
            "lines": lines.order_by("-invoice_id", "position")[:30],
            "buttons": [] if is_over else base.buttons(request.user, row.customer, slug, subscription=row),
        }

    def get_queryset(self, request: HttpRequest) -> QuerySet[Subscription]:
        """With names."""
        rows: QuerySet[Subscription] = super().get_queryset(request).select_related("plan", "customer", "entity")
        return rows
