"""One box for ids, names, e-mails, invoice numbers and keys; each kind by its own index, a few of each."""

from collections.abc import Iterable
from typing import Any

from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.views import View
from unfold.dataclasses import SearchResult

from billing.models import Invoice, Subscription
from billing.services import customers
from config.access.models import ApiKey
from entities.models import Customer, Entity

FEW = 10


def results(request: HttpRequest, text: str) -> list[SearchResult]:
    """What the member of staff may see of what matches, best kinds first."""
    term = text.replace("\x00", "").strip()[:200]
    if not term:
        return []
    kinds = (
        ("entities.view_customer", _customers),
        ("entities.view_entity", _entities),
        ("billing.view_invoice", _invoices),
        ("billing.view_subscription", _subscriptions),
        ("access.view_apikey", _keys),
    )
    return [result for permission, find in kinds if request.user.has_perm(permission) for result in find(term)]


class Find(View):
    """The results as a page; a single one is opened."""

    admin_site: Any = None

    def get(self, request: HttpRequest) -> HttpResponse:
        """Only reads."""
        text = request.GET.get("q", "")[:200]
        found = results(request, text)
        if len(found) == 1:
            return redirect(found[0].link)
        context = {**self.admin_site.each_context(request), "title": "Find", "text": text, "found": found}
        return TemplateResponse(request, "billing/find.html", context)


def _customers(term: str) -> Iterable[SearchResult]:
    exact = Customer.objects.filter(Q(external_id=term) | Q(processor_id=term)).order_by("-pk")[:FEW]
    like = Customer.objects.filter(customers.search(term)).order_by("-created_at", "-pk")[:FEW]
    for customer in dict.fromkeys([*exact, *like]):
        ended = ", deleted" if customer.deleted_at else ""
        yield SearchResult(
            title=f"{customer}",
            description=f"Customer {customer.external_id}{ended}" + (f", {customer.email}" if customer.email else ""),
            link=reverse("admin:entities_customer_change", args=[customer.pk]),
            icon="apartment",
        )


def _entities(term: str) -> Iterable[SearchResult]:
    rows = Entity.objects.live().select_related("customer", "feature")
    exact = rows.filter(external_id=term).order_by("-pk")[:FEW]
    like = rows.filter(Q(name__icontains=term) | Q(external_id__icontains=term)).order_by("-pk")[:FEW]
    for entity in dict.fromkeys([*exact, *like]):
        yield SearchResult(
            title=f"{entity}",
            description=f"{entity.feature} {entity.external_id} of {entity.customer}",
            link=reverse("admin:entities_entity_change", args=[entity.pk]),
            icon="person",
        )


def _invoices(term: str) -> Iterable[SearchResult]:
    number = Q(number=term) | Q(processor_id=term)
    if term.isdecimal():
        number |= Q(number=term.zfill(8))
    for invoice in Invoice.objects.shown().filter(number).select_related("customer")[:FEW]:
        yield SearchResult(
            title=f"Invoice {invoice}",
            description=f"of {invoice.customer}",
            link=reverse("admin:billing_invoice_change", args=[invoice.pk]),
            icon="receipt_long",
        )


def _subscriptions(term: str) -> Iterable[SearchResult]:
    rows = Subscription.objects.filter(Q(public_id=term) | Q(processor_subscription_id=term))
    for row in rows.select_related("plan", "customer", "entity").order_by("-pk")[:FEW]:
        yield SearchResult(
            title=f"{row}",
            description="Subscription",
            link=reverse("admin:billing_subscription_change", args=[row.pk]),
            icon="autorenew",
        )


def _keys(term: str) -> Iterable[SearchResult]:
    if not term.startswith("sl_"):
        return
    for key in ApiKey.objects.filter(prefix__startswith=term[:12]).order_by("-pk")[:FEW]:
        yield SearchResult(
            title=key.name,
            description=f"API key {key.prefix}…",
            link=reverse("admin:access_apikey_change", args=[key.pk]),
            icon="key",
        )
