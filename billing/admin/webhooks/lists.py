"""Webhook endpoints, and what was sent to them: how it went, and once more."""

import json
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from unfold.decorators import display

from billing.admin.webhooks import steps
from billing.models import WebhookDelivery, WebhookEndpoint, WebhookType
from billing.services.webhooks import sending
from config import clock, journal, zones
from config.admin import Paged, ReadOnlyAdmin

TONES = {"Told": "success", "Failing": "danger", "Disabled": "warning", "Removed": "warning"}
STATES = {"Waiting to be sent": "info", "Delivered": "success", "Given up": "danger"}
SHOWN = 20


@admin.register(WebhookEndpoint)
class WebhookEndpointAdmin(ReadOnlyAdmin, Paged):
    """Those that applications receive at; what can be done about one is on its page."""

    page_template = "billing/webhook_endpoint.html"
    when_empty = "Applications can be told when an alert goes off, a limit is reached or plans change. Add an endpoint."
    list_display = ("public_id", "url", "told", "state", "failing_since", "description")
    search_fields = ("public_id", "url", "description")
    ordering = ("public_id",)
    sortable_by = ()

    def get_queryset(self, request: HttpRequest) -> QuerySet[WebhookEndpoint]:
        """Removed ones have a page, and are in no list."""
        rows: QuerySet[WebhookEndpoint] = super().get_queryset(request)
        is_list = request.resolver_match is not None and request.resolver_match.kwargs.get("object_id") is None
        return rows.filter(deleted_at=None) if is_list else rows

    @display(description="What it is told")
    def told(self, endpoint: WebhookEndpoint) -> str:
        """The types."""
        return ", ".join(endpoint.events) or "everything"

    @display(description="Status", label=TONES)
    def state(self, endpoint: WebhookEndpoint) -> str:
        """In a word."""
        return state(endpoint)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """By a page of its own."""
        return steps.allowed(request.user, steps.Add)

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """There."""
        return redirect("admin:webhook-add", "add")

    def page(self, request: HttpRequest, row: WebhookEndpoint) -> dict[str, Any]:
        """What it is told, how that goes, and what can be done."""
        sent = WebhookDelivery.objects.filter(endpoint=row).select_related("message", "message__customer")
        return {
            "title": f"Webhook endpoint {row}",
            "row": row,
            "state": state(row),
            "told": [steps.TOLD[kind] for kind in steps.TOLD if not row.events or kind.value in row.events],
            "is_both": len(row.secrets(clock.now())) > 1,
            "buttons": steps.buttons(request.user, row),
            "sent": sent.order_by("-pk")[:SHOWN],
            "done": journal.read([row], limit=SHOWN),
        }


@admin.register(WebhookDelivery)
class WebhookDeliveryAdmin(ReadOnlyAdmin, Paged):
    """One message to one endpoint."""

    page_template = "billing/webhook_delivery.html"
    when_empty = "What is sent to webhook endpoints is listed here, with what they answered."
    list_display = ("shown_at", "type", "customer", "endpoint", "shown_state", "attempts", "shown_next")
    list_display_links = ("shown_at", "type")
    list_select_related = ("message__customer", "endpoint")
    list_filter = ("status", ("endpoint", admin.RelatedOnlyFieldListFilter), "message__type")
    search_fields = ("=message__public_id", "=message__customer__external_id")
    search_help_text = "Exact webhook-id or customer id"
    ordering = ("-id",)
    sortable_by = ()
    actions = ("send_again",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[WebhookDelivery]:
        """With names."""
        rows: QuerySet[WebhookDelivery] = super().get_queryset(request)
        return rows.select_related(*self.list_select_related)

    @display(description="When")
    def shown_at(self, delivery: WebhookDelivery) -> Any:
        """When it happened."""
        return zones.shown(delivery.message.created_at)

    @display(description="What")
    def type(self, delivery: WebhookDelivery) -> str:
        """The type of the message."""
        return delivery.message.type

    @display(description="Customer")
    def customer(self, delivery: WebhookDelivery) -> str:
        """Whom it is about."""
        return str(delivery.message.customer or "–")

    @display(description="Status", label=STATES)
    def shown_state(self, delivery: WebhookDelivery) -> str:
        """In words."""
        return delivery.get_status_display()

    @display(description="Next attempt")
    def shown_next(self, delivery: WebhookDelivery) -> Any:
        """When it waits."""
        return zones.shown(delivery.next_attempt_at) if delivery.next_attempt_at else "–"

    def page(self, request: HttpRequest, row: WebhookDelivery) -> dict[str, Any]:
        """What was sent, and what was answered each time."""
        return {
            "title": f"{_named(row.message.type)}, told to {row.endpoint}",
            "row": row,
            "tone": {"success": "good", "danger": "danger"}.get(STATES[row.get_status_display()], "calm"),
            "body": json.dumps(json.loads(row.message.body), indent=2, ensure_ascii=False),
            "tried": row.tried.order_by("-pk")[:100],
            "may_resend": self.has_resend_permission(request) and _is_open(row.endpoint),
        }

    def has_resend_permission(self, request: HttpRequest) -> bool:
        """Support and Billing."""
        return request.user.has_perm(f"billing.{steps.RESEND}")

    @admin.action(description="Send again", permissions=("resend",))
    def send_again(self, request: HttpRequest, queryset: QuerySet[WebhookDelivery]) -> None:
        """One or many, the same messages under the same ids."""
        rows = list(queryset.select_related("endpoint")[:1000])
        sent = sending.send_again(rows, at=clock.now())
        left = (
            f" {len(rows) - sent} are being sent just now, or their endpoint is disabled." if sent < len(rows) else ""
        )
        noun = "delivery goes" if sent == 1 else "deliveries go"
        tell = messages.success if sent else messages.warning
        tell(request, f"{sent} {noun} out again.{left}")


def state(endpoint: WebhookEndpoint) -> str:
    """In a word."""
    if endpoint.deleted_at is not None:
        return "Removed"
    if endpoint.disabled_at is not None:
        return "Disabled"
    return "Failing" if endpoint.failing_since is not None else "Told"


def _named(kind: str) -> str:
    return WebhookType(kind).label if kind in WebhookType.values else kind


def _is_open(endpoint: WebhookEndpoint) -> bool:
    return endpoint.deleted_at is None and endpoint.disabled_at is None
