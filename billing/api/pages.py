"""The sandbox's hosted pages: checkout, card, invoice, portal. Plain forms that work without scripts."""

from decimal import Decimal
from typing import Any

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import URLPattern, path
from django.views import View

from billing.api import portal
from billing.errors import RewardNotFound
from billing.models import Invoice, Operation, SandboxCard, SandboxSession
from billing.processors import get_processor
from billing.processors.registry import sandbox
from billing.processors.sandbox import CARD_NUMBERS
from billing.services.collection import codes, payments
from config import clock
from config.api import moment
from config.errors import DomainError
from entities.models import Customer

CARDS = [(value, label, CARD_NUMBERS[SandboxCard.Behavior(value)]) for value, label in SandboxCard.Behavior.choices]


class Page(View):
    """A page reached by an address that nobody can guess; there are no accounts."""

    template = ""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        if settings.ENVIRONMENT == "live":
            raise Http404
        return super().dispatch(request, *args, **kwargs)

    def page(self, request: HttpRequest, status: int = 200, **context: Any) -> HttpResponse:
        shared = {"organization": settings.ORGANIZATION_NAME, "cards": CARDS}
        return render(request, f"billing/pay/{self.template}.html", {**shared, **context}, status=status)


class SessionPage(Page):
    """A page of one session and the customer it belongs to."""

    kind = ""

    def find(self, session_id: str) -> tuple[SandboxSession, Customer]:
        session = sandbox().page(session_id)
        customer = Customer.objects.filter(processor_id=session.customer_id).first() if session else None
        if session is None or customer is None or session.kind != self.kind:
            raise Http404
        return session, customer


class CheckoutPage(SessionPage):
    """Pay for a plan: nothing is granted before."""

    kind = template = "checkout"

    def get(self, request: HttpRequest, session_id: str) -> HttpResponse:
        session, customer = self.find(session_id)
        return self._show(request, session, customer)

    def post(self, request: HttpRequest, session_id: str) -> HttpResponse:
        session, customer = self.find(session_id)
        if request.POST.get("action") == "code":
            return self._enter_code(request, session, customer)
        behavior = _card(request)
        try:
            payments.complete_checkout(customer, at=customer.now(clock.now()), session_id=session_id, behavior=behavior)
        except DomainError as problem:
            return self._show(request, session, customer, problem=problem.message, status=problem.status)
        return _back(session.return_url, request.path)

    def _enter_code(self, request: HttpRequest, session: SandboxSession, customer: Customer) -> HttpResponse:
        code, at = request.POST.get("code", "").strip()[:100], customer.now(clock.now())
        try:
            codes.enter(customer=customer, session_id=session.session_id, code=code, at=at)
        except RewardNotFound as problem:
            why = f"There is no code {code}. Look whether it is spelled right."
            return self._show(request, session, customer, status=problem.status, code=code, code_problem=why)
        except DomainError as problem:
            why = problem.message
            return self._show(request, session, customer, status=problem.status, code=code, code_problem=why)
        return HttpResponseRedirect(request.path)

    def _show(
        self,
        request: HttpRequest,
        session: SandboxSession,
        customer: Customer,
        problem: str = "",
        status: int = 200,
        code: str = "",
        code_problem: str = "",
    ) -> HttpResponse:
        waiting = Operation.objects.filter(customer=customer, outcome__session_id=session.session_id)
        operation = waiting.select_related("entity").first()
        outcome = operation.outcome if operation else {}
        following = outcome.get("next")
        session.refresh_from_db()
        return self.page(
            request,
            status=status,
            session=session,
            customer=customer,
            lines=session.details.get("lines", []),
            currency=session.details.get("currency", "").upper(),
            entity=operation.entity if operation else None,
            total=outcome.get("total"),
            is_free=Decimal(outcome.get("total") or 0) <= 0,
            following=following and {**following, "at": moment(following["at"], "at")},
            problem=problem,
            code=code,
            code_problem=code_problem,
            is_done=session.status == "complete",
            is_closed=session.status == "expired",
        )


class CardPage(SessionPage):
    """Enter or replace the card."""

    kind = "setup"
    template = "card"

    def get(self, request: HttpRequest, session_id: str) -> HttpResponse:
        session, customer = self.find(session_id)
        return self.page(
            request,
            session=session,
            customer=customer,
            card=get_processor().payment_method(customer.processor_id),
            is_done=session.status == "complete",
        )

    def post(self, request: HttpRequest, session_id: str) -> HttpResponse:
        session, customer = self.find(session_id)
        payments.set_card(customer, _card(request))
        sandbox().close_session(session_id)
        return _back(session.return_url, request.path)


class InvoicePage(Page):
    """An invoice: its lines, and a button to pay it or to pass 3D Secure."""

    template = "invoice"

    def get(self, request: HttpRequest, invoice_id: str) -> HttpResponse:
        return self._show(request, self._find(invoice_id))

    def post(self, request: HttpRequest, invoice_id: str) -> HttpResponse:
        invoice = self._find(invoice_id)
        if request.POST.get("answer") == "refuse":
            return self._show(request, invoice, problem="The bank was told that it wasn't you. The invoice stays open.")
        try:
            payments.pay_open_invoice(invoice.customer, at=invoice.customer.now(clock.now()), invoice=invoice)
        except DomainError as problem:
            return self._show(request, invoice, problem=problem.message, status=problem.status)
        return HttpResponseRedirect(request.path)

    def _find(self, invoice_id: str) -> Invoice:
        invoices = Invoice.objects.shown().select_related("customer", "entity").prefetch_related("lines")
        invoice = invoices.filter(processor_id=invoice_id).first()
        if invoice is None:
            raise Http404
        return invoice

    def _show(self, request: HttpRequest, invoice: Invoice, problem: str = "", status: int = 200) -> HttpResponse:
        collected = get_processor().invoice(invoice.processor_id)
        return self.page(
            request,
            status=status,
            invoice=invoice,
            currency=invoice.currency,
            lines=list(invoice.lines.all()),
            needs_authentication=collected.problem == "authentication",
            problem=problem,
        )


class PortalPage(SessionPage):
    """What a customer holds, entity by entity, the invoices and the card."""

    kind = template = "portal"

    def get(self, request: HttpRequest, session_id: str) -> HttpResponse:
        session, customer = self.find(session_id)
        return self._show(request, session, customer)

    def post(self, request: HttpRequest, session_id: str) -> HttpResponse:
        _, customer = self.find(session_id)
        payments.set_card(customer, _card(request))
        return HttpResponseRedirect(request.path)

    def _show(self, request: HttpRequest, session: SandboxSession, customer: Customer) -> HttpResponse:
        return self.page(
            request,
            session=session,
            customer=customer,
            card=get_processor().payment_method(customer.processor_id),
            back=session.return_url if _is_web(session.return_url) else "",
            **portal.shown(customer, at=customer.now(clock.now())),
        )


def _card(request: HttpRequest) -> str:
    chosen = request.POST.get("card", "")
    return chosen if chosen in SandboxCard.Behavior.values else SandboxCard.Behavior.SUCCESS


def _back(return_url: str, page: str) -> HttpResponse:
    """To where the application wants its customer next; only to a web address, else to the page itself."""
    return HttpResponseRedirect(return_url if _is_web(return_url) else page)


def _is_web(url: str) -> bool:
    return url.startswith(("https://", "http://"))


page_urlpatterns: list[URLPattern] = [
    path("pay/checkout/<str:session_id>", CheckoutPage.as_view(), name="pay-checkout"),
    path("pay/setup/<str:session_id>", CardPage.as_view(), name="pay-card"),
    path("pay/portal/<str:session_id>", PortalPage.as_view(), name="pay-portal"),
    path("pay/invoice/<str:invoice_id>", InvoicePage.as_view(), name="pay-invoice"),
]
