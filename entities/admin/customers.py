"""Customers: the list, the page with everything about one, a form for what is written about them."""

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin.options import csrf_protect_m
from django.core.exceptions import PermissionDenied
from django.db.models import Count, OuterRef, Prefetch, QuerySet, Subquery, Sum
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from unfold.decorators import display

from billing.admin import entity_table, timeline
from billing.admin.actions import base, outcomes
from billing.admin.bars import bars
from billing.models import Balance, Invoice, Subscription
from billing.processors import get_processor
from billing.services import customers, invoices
from billing.services.customers import Details
from billing.services.due import forecasting
from billing.templatetags.shown import money, quantity
from config import clock, journal
from config.admin import Exported, Paged, actor
from config.errors import DomainError
from entities.models import Customer, Entity

# A customer with more paid plans has its invoices previewed on its entities' pages.
MOST_PREVIEWED = 40
ACTIONS = ("attach-plan", "grant", "set-limit", "set-card", "turn-clock")
SEATS = ("add-seat", "add-seats", "remove-seats")


@admin.register(Customer)
class CustomerAdmin(Exported, Paged):
    """Who pays."""

    page_template = "entities/customer.html"
    when_empty = "Applications make customers with customers.get_or_create. Add one by hand, or import a CSV file."
    list_display = ("called", "external_id", "email", "plans", "members", "owed", "created_at")
    list_display_links = ("called", "external_id")
    search_fields = ("external_id", "name", "email", "processor_id")
    search_help_text = "Customer id, name, e-mail or id at the payment processor"
    list_filter = (("deleted_at", admin.EmptyFieldListFilter), ("clock_at", admin.EmptyFieldListFilter))
    date_hierarchy = None
    ordering = ("-created_at", "-id")
    exported = ("external_id", "name", "email", "currency", "created_at", "deleted_at")
    fields = ("external_id", "name", "email", "fingerprint", "send_email_receipts", "disable_pooled_balance",
              "disable_overage_billing", "metadata")  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[Customer]:
        """With what the list shows of each, counted for the rows shown only."""
        mine = OuterRef("pk")
        entities = Entity.objects.live().filter(customer=mine).order_by().values("customer")
        unpaid = Invoice.objects.payable().filter(customer=mine).order_by().values("customer")
        rows: QuerySet[Customer] = super().get_queryset(request)
        held = Subscription.objects.live().filter(entity=None).select_related("plan").order_by("pk")
        return rows.annotate(
            entity_count=Subquery(entities.values(count=Count("pk"))),
            unpaid_total=Subquery(unpaid.values(sum=Sum("total"))),
        ).prefetch_related(_prefetch(held))

    @display(description="Name", ordering="name")
    def called(self, customer: Customer) -> str:
        """Without a name, its id."""
        return str(customer)

    @display(description="Plans of its own")
    def plans(self, customer: Any) -> str:
        """At customer level."""
        return ", ".join(str(subscription.plan) for subscription in customer.held) or "–"

    @display(description="Seats, workspaces …")
    def members(self, customer: Any) -> str:
        """Live entities."""
        return quantity(customer.entity_count or 0)

    @display(description="Unpaid")
    def owed(self, customer: Any) -> str:
        """Open invoices."""
        return money(customer.unpaid_total, customer.currency) if customer.unpaid_total else "–"

    def has_delete_permission(self, request: HttpRequest, obj: Customer | None = None) -> bool:
        """Through the API only: everything that a customer holds ends with it."""
        return False

    def get_urls(self) -> list[URLPattern]:
        """The form has an address of its own; the plain one shows the page."""
        edit = path("<int:pk>/edit/", self.admin_site.admin_view(self.edit_view), name="entities_customer_edit")
        return [edit, *super().get_urls()]

    @csrf_protect_m
    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """A new customer, through the service: plans that start by themselves start."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        form = NewCustomerForm(request.POST or None)
        if request.method == "POST" and form.is_valid():
            values = form.cleaned_data
            fields: dict[str, Any] = {"name": values["name"], "email": values["email"]}
            customer_id, at = values["external_id"], clock.now()
            try:
                customer = customers.get_or_create(
                    customer_id=customer_id, details=Details(fields), at=at, actor=actor(request)
                )
            except DomainError as refusal:
                form.add_error(None, refusal.message)
            else:
                self.log_addition(request, customer, self.noted("added", journal.changes(form)))
                messages.success(request, f"{customer} was created.")
                return redirect("admin:entities_customer_change", customer.pk)
        return self._form(request, form, "New customer", reverse("admin:entities_customer_changelist"))

    @csrf_protect_m
    def edit_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """What is written about a customer."""
        customer = self.get_object(request, str(pk))
        if customer is None or not self.has_change_permission(request, customer):
            raise PermissionDenied
        form = CustomerForm(request.POST or None, instance=customer)
        page = reverse("admin:entities_customer_change", args=[pk])
        if request.method == "POST" and form.is_valid():
            values = {name: form.cleaned_data[name] for name in form.changed_data}
            new_id = values.pop("external_id", None)
            stored = Customer.objects.get(pk=pk)
            try:
                customers.update(customer=stored, details=Details(values), new_id=new_id)
            except DomainError as refusal:
                form.add_error(None, refusal.message)
            else:
                self.log_change(request, stored, self.construct_change_message(request, form, []))
                messages.success(request, f"{stored} was saved.")
                return redirect(page)
        return self._form(request, form, f"Edit {customer}", page)

    def _form(self, request: HttpRequest, form: Any, title: str, back: str) -> HttpResponse:
        for field in form.fields.values():
            if not isinstance(field.widget, forms.CheckboxInput):
                field.widget.attrs.setdefault("class", base.INPUT)
        context = {**self.admin_site.each_context(request), "title": title, "form": form, "back": back}
        return TemplateResponse(request, "entities/form.html", context)

    def page(self, request: HttpRequest, customer: Customer) -> dict[str, Any]:
        """Everything about one customer."""
        return page(request, customer) | {"can_edit": self.has_change_permission(request, customer)}


class CustomerForm(forms.ModelForm):  # type: ignore[type-arg]
    """What staff may write."""

    class Meta:
        model = Customer
        fields = ("external_id", "name", "email", "send_email_receipts", "disable_pooled_balance",
                  "disable_overage_billing", "metadata")  # fmt: skip

    def _post_clean(self) -> None:
        """The service decides what may be stored."""


class NewCustomerForm(forms.Form):
    """The least that is needed."""

    external_id = forms.CharField(max_length=255, label="Customer id", help_text="The application's own id; unique.")
    name = forms.CharField(max_length=255, required=False)
    email = forms.EmailField(max_length=320, required=False, label="E-mail", help_text="Of whoever pays.")

    def clean_external_id(self) -> str:
        """Not one that is there."""
        customer_id: str = self.cleaned_data["external_id"]
        if Customer.objects.live().filter(external_id=customer_id).exists():
            raise forms.ValidationError(f"There is a customer {customer_id} already.")
        return customer_id


def page(request: HttpRequest, customer: Customer) -> dict[str, Any]:
    """What the customer's page shows; the same number of statements whatever the number of entities."""
    at = customer.now(clock.now())
    text = request.GET.get("q", "").replace("\x00", "")[:100]
    asked = request.GET.get("p", "1")
    number = min(max(int(asked), 1), 4000) if asked.isdecimal() and len(asked) < 6 else 1
    held = Subscription.objects.filter(customer=customer, entity=None).select_related("plan", "customer", "entity")
    rows = list(held.current_or_scheduled().order_by("is_add_on", "pk"))
    pools = Balance.objects.live(at).filter(customer=customer, level=Balance.Level.POOL).select_related("feature")
    unpaid = Invoice.objects.payable().filter(customer=customer)
    bills = _next_invoices(customer)
    return {
        "customer": customer,
        "at": at,
        "buttons": base.buttons(request.user, customer, *ACTIONS) if customer.deleted_at is None else [],
        "seat_buttons": base.buttons(request.user, customer, *SEATS) if customer.deleted_at is None else [],
        "card": _card(customer),
        "owed": unpaid.aggregate(sum=Sum("total"))["sum"],
        "held": [(row, ways(request, row)) for row in rows],
        "bars": bars(pools.order_by("feature__name", "pk")),
        "table": entity_table.page(customer, at=at, text=text, number=number),
        "bills": bills,
        "to_come": sum(bill.total for bill in bills or ()),
        "invoices": Invoice.objects.filter(customer=customer).shown()[:8],
        "timeline": timeline.of(customer),
        "is_sandbox": settings.ENVIRONMENT != "live",
    }


def ways(request: HttpRequest, row: Subscription) -> list[base.Button]:
    """What can be done with a plan that is held."""
    if row.status == Subscription.Status.SCHEDULED:
        return base.buttons(request.user, row.customer, "cancel-plan", subscription=row)
    slugs = ["uncancel-plan" if row.ends_at is not None else "cancel-plan"]
    if row.is_trialing(row.customer.now(clock.now())):
        slugs.insert(0, "extend-trial")
    return base.buttons(request.user, row.customer, *slugs, subscription=row)


def _card(customer: Customer) -> str:
    """What the sandbox knows of the card; the processor of a live deployment is not asked on each page."""
    if settings.STRIPE_SECRET_KEY or settings.ENVIRONMENT == "live":
        return "At the payment processor"
    method = get_processor().payment_method(customer.processor_id) if customer.processor_id else None
    return method.label if method is not None else "None"


def _next_invoices(customer: Customer) -> list[base.Bill] | None:
    """The invoices to come; None when there are too many to compute on one page."""
    if (
        Subscription.objects.live().filter(customer=customer, is_paid=True)[: MOST_PREVIEWED + 1].count()
        > MOST_PREVIEWED
    ):
        return None
    currency = invoices.currency_of(customer)
    return [
        outcomes.bill(f"{group.entity or customer}, {outcomes.date(group.boundary)}", outcome.lines, outcome.currency)
        for group, outcome in forecasting.invoice_previews(customer, currency=currency)
    ]


def _prefetch(held: QuerySet[Subscription]) -> Any:
    return Prefetch("subscriptions", queryset=held, to_attr="held")
