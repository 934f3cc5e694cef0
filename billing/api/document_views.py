"""An invoice to print or to keep, for whoever has its address: the customer, and staff."""

from typing import Any

from django.conf import settings
from django.db.models import Prefetch
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import URLPattern, path
from django.utils.cache import patch_cache_control
from django.views import View

from billing.documents import pdf
from billing.documents.statement import statement
from billing.models import Invoice, InvoiceLine


class Document(View):
    """One invoice, found by its public id, which nobody can guess."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        response = super().dispatch(request, *args, **kwargs)
        patch_cache_control(response, private=True, no_cache=True)
        return response

    def find(self, public_id: str) -> Invoice:
        """The invoice with all that a statement needs."""
        lines = InvoiceLine.objects.select_related("entity")
        invoices = Invoice.objects.shown().select_related("customer").prefetch_related(Prefetch("lines", lines))
        invoice = invoices.filter(public_id=public_id).first()
        if invoice is None:
            raise Http404
        return invoice


class InvoicePage(Document):
    """The page to print."""

    def get(self, request: HttpRequest, public_id: str) -> HttpResponse:
        invoice = self.find(public_id)
        shown = statement(invoice)
        context = {"invoice": invoice, "shown": shown, "organization": settings.ORGANIZATION_NAME}
        return render(request, "billing/documents/invoice.html", context)


class InvoicePdf(Document):
    """The same as a PDF."""

    def get(self, request: HttpRequest, public_id: str) -> HttpResponse:
        invoice = self.find(public_id)
        name = f"invoice-{invoice.number or 'draft'}.pdf"
        return HttpResponse(
            pdf.render(statement(invoice)),
            content_type="application/pdf",
            headers={"Content-Disposition": f'inline; filename="{name}"'},
        )


document_urlpatterns: list[URLPattern] = [
    path("invoices/<slug:public_id>", InvoicePage.as_view(), name="invoice-page"),
    path("invoices/<slug:public_id>.pdf", InvoicePdf.as_view(), name="invoice-pdf"),
]
