"""webhooks.*: the endpoints that applications are told at. (What the processor tells us comes in at api.webhooks.)"""

from typing import Any

from django.http import HttpRequest

from billing.models import WebhookEndpoint
from billing.services.webhooks import endpoints
from billing.services.webhooks.endpoints import SENT, Terms
from config import clock
from config.access.models import Scope
from config.api import Endpoint, IdField, milliseconds
from plans.api.fields import ManyField, OneOfField, Shape, SwitchField, TextField

# Names of the contract that clients may list, of what doesn't happen here.
NEVER_SENT = (
    "customer.products.updated", "customer.threshold_reached", "billing.auto_topup_failed",
    "billing.auto_topup_succeeded", "invoice.finalized", "vercel.resources.deleted", "vercel.resources.provisioned",
    "vercel.resources.rotate_secrets", "vercel.webhooks.event",
)  # fmt: skip
EVENTS = [*(kind.value for kind in SENT), *NEVER_SENT]


class NamedInput(Shape):
    id = IdField()


class UpdateInput(NamedInput):
    url = TextField(max_length=2000, default=None)
    events = ManyField(child=OneOfField(choices=EVENTS), most=len(EVENTS), default=None)
    description = TextField(max_length=500, default=None)
    disabled = SwitchField(default=None)


class CreateInput(UpdateInput):
    url = TextField(max_length=2000, blank=False)


def shape(row: WebhookEndpoint) -> dict[str, Any]:
    """An endpoint on the wire; its secret is told once, when it is made."""
    return {
        "id": row.public_id,
        "url": row.url,
        "description": row.description or None,
        "events": row.events,
        "disabled": row.disabled_at is not None,
        "created_at": milliseconds(row.created_at),
        "updated_at": milliseconds(row.updated_at),
    }


def _terms(data: dict[str, Any]) -> Terms:
    return Terms(data["url"], data["events"], data["description"], data["disabled"])


class CreateWebhook(Endpoint):
    """Add an endpoint."""

    Input = CreateInput

    def handle(self, data: dict[str, Any], request: HttpRequest) -> dict[str, Any]:
        row = endpoints.create(data["id"], _terms(data), at=clock.now())
        return {**shape(row), "secret": row.secret}


class GetWebhook(Endpoint):
    """One endpoint."""

    Input, access = NamedInput, Scope.READ

    def handle(self, data: dict[str, Any], request: HttpRequest) -> dict[str, Any]:
        return shape(endpoints.get(data["id"]))


class ListWebhooks(Endpoint):
    """All endpoints."""

    Input, access = Shape, Scope.READ

    def handle(self, data: dict[str, Any], request: HttpRequest) -> dict[str, Any]:
        return {"list": [shape(row) for row in WebhookEndpoint.objects.present().order_by("created_at", "pk")]}


class UpdateWebhook(Endpoint):
    """Change what is given."""

    Input = UpdateInput

    def handle(self, data: dict[str, Any], request: HttpRequest) -> dict[str, Any]:
        return shape(endpoints.update(data["id"], _terms(data), at=clock.now()))


class DeleteWebhook(Endpoint):
    """Remove an endpoint."""

    Input = NamedInput

    def handle(self, data: dict[str, Any], request: HttpRequest) -> dict[str, Any]:
        endpoints.remove(data["id"], at=clock.now())
        return {"success": True}
