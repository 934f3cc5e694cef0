"""invoices.list: all that was charged, in pages."""

from typing import Any

from django.http import HttpRequest

from billing.api import billing_shapes
from billing.models import Invoice
from billing.services import customers
from config.access.models import Scope
from config.api import Endpoint, IdField
from config.errors import InvalidInput
from entities.api import paging
from plans.api.fields import CountField, ManyField, OneOfField, Shape, TextField

DEFAULT_PAGE = 50
PROCESSORS = ["stripe", "revenuecat"]  # the second is the peer's; nothing here is paid through it


class InvoicesInput(Shape):
    customer_id = IdField(required=False)
    entity_id = IdField(required=False)
    status = ManyField(child=OneOfField(choices=Invoice.Status.values), most=10, required=False)
    processor_types = ManyField(child=OneOfField(choices=PROCESSORS), most=10, required=False)
    start_cursor = TextField(max_length=500, required=False)
    limit = CountField(least=1, most=5000, required=False)


class ListInvoices(Endpoint):
    """Invoices in the order in which they were made, the newest first; those of deleted entities as well."""

    Input = InvoicesInput
    access = Scope.READ

    def handle(self, data: dict[str, Any], request: HttpRequest) -> dict[str, Any]:
        if "entity_id" in data and "customer_id" not in data:
            raise InvalidInput("entity_id needs the customer_id with it.")
        rows = Invoice.objects.shown().filter(customer__deleted_at=None)
        if "customer_id" in data:
            rows = rows.filter(customer=customers.get(data["customer_id"]))
        if "entity_id" in data:
            rows = rows.filter(entity__external_id=data["entity_id"])
        if data.get("status"):
            rows = rows.filter(status__in=data["status"])
        if data.get("processor_types") and "stripe" not in data["processor_types"]:
            rows = rows.none()
        rows = rows.select_related("customer", "entity").prefetch_related("lines__plan")
        page = paging.by_creation(rows, data, oldest_first=False, default=DEFAULT_PAGE)
        return page.shape([billing_shapes.listed_invoice(row) for row in page.rows])
