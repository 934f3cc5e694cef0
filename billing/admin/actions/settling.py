"""What is open and waits for somebody: holds and unpaid invoices."""

from decimal import Decimal
from typing import Any

from django import forms
from unfold.widgets import UnfoldAdminDecimalFieldWidget, UnfoldAdminRadioSelectWidget

from billing.admin.actions.base import Action, Bill, MoneyLine, Preview, named, register
from billing.models import Hold, Invoice, Operation
from billing.services.balances import holds
from billing.services.collection import payments, refunds
from billing.services.execution import operations
from billing.templatetags.shown import money, quantity
from config.actor import Actor
from config.errors import InvalidRequest
from config.journal import Movement
from plans import pricing
from plans.models import QUANTITY

ZERO = Decimal(0)


class HoldForm(forms.Form):
    """What becomes of a hold."""

    how = forms.ChoiceField(
        label="What becomes of it",
        choices=[("release", "Release: all of it goes back"), ("confirm", "Confirm: it was used")],
        initial="release",
        widget=UnfoldAdminRadioSelectWidget,
    )
    amount = forms.DecimalField(
        required=False, min_value=Decimal(0), **QUANTITY, widget=UnfoldAdminDecimalFieldWidget,
        label="Used", help_text="When confirming: what was really used. Empty: what was held.",
    )  # fmt: skip


@register
class FinalizeHold(Action):
    """The end of a hold that its application forgot."""

    slug = "finalize-hold"
    title = "Settle hold"
    verb = "Settle it"
    permission = "can_finalize_hold"
    needs = ("hold",)
    form_class = HoldForm

    @property
    def heading(self) -> str:
        """Which hold."""
        return f"Settle hold {self.target.hold}"

    def preview(self, values: dict[str, Any]) -> Preview:
        """What goes back, and what is used."""
        hold = Hold.objects.select_related("feature").get(pk=self._hold().pk)
        if hold.status != Hold.Status.HELD:
            raise InvalidRequest(f"This hold is {hold.get_status_display().lower()} already.")
        used = Decimal(0) if values["how"] == "release" else hold.value
        if values["how"] == "confirm" and values["amount"] is not None:
            used = values["amount"]
        return Preview(
            sentences=[f"{quantity(hold.value)} {hold.feature} are held under {hold.lock_id}."],
            movements=[
                Movement("Held", quantity(hold.value), quantity(0)),
                Movement("Used of it", quantity(0), quantity(used)),
            ],
            undo="Adjust the balance by as much.",
            state=(hold.status, hold.value),
        )

    def run(self, values: dict[str, Any], actor: Actor, reason: str) -> str:
        """Settle it."""
        confirms = values["how"] == "confirm"
        holds.finalize(
            lock_id=self._hold().lock_id,
            confirm=confirms,
            override=values["amount"] if confirms else None,
            properties=None,
            wall=self.target.wall,
            actor=actor,
        )
        return "The hold was confirmed." if confirms else "The hold was released."

    def _hold(self) -> Hold:
        return named(self.target.hold, "hold")


@register
class PayInvoice(Action):
    """The customer pays, in the sandbox."""

    slug = "pay-invoice"
    title = "Pay"
    verb = "Pay it"
    permission = "can_settle_invoice"
    needs = ("invoice",)
    sandbox_only = True

    @property
    def heading(self) -> str:
        """Which invoice."""
        return f"Pay invoice {self.target.invoice}"

    def preview(self, values: dict[str, Any]) -> Preview:
        """What is paid."""
        invoice = Invoice.objects.get(pk=self._invoice().pk)
        if invoice.status != Invoice.Status.OPEN:
            raise InvalidRequest(f"This invoice is {invoice.get_status_display().lower()}.")
        return Preview(
            sentences=["The invoice counts as paid by the customer on its page; what waited for it goes on."],
            movements=[Movement(f"Invoice {invoice}", f"open, {money(invoice.total, invoice.currency)}", "paid")],
            undo="Refund the invoice: the money goes back to the card.",
            state=(invoice.status, invoice.total),
        )

    def run(self, values: dict[str, Any], actor: Actor, reason: str) -> str:
        """Pay it."""
        invoice = self._invoice()
        payments.pay_open_invoice(self.target.customer, at=self.target.at, invoice=invoice)
        return f"Invoice {invoice} is paid."

    def _invoice(self) -> Invoice:
        return named(self.target.invoice, "invoice")


@register
class VoidInvoice(Action):
    """An unpaid change given up: its invoice is void and nothing of it happens."""

    slug = "void-invoice"
    title = "Void"
    verb = "Void it"
    permission = "can_settle_invoice"
    needs = ("invoice",)
    is_dangerous = True

    @property
    def heading(self) -> str:
        """Which invoice."""
        return f"Void invoice {self.target.invoice}"

    def preview(self, values: dict[str, Any]) -> Preview:
        """What is given up."""
        invoice, operation = self._waiting()
        return Preview(
            sentences=[
                "The invoice is void and can't be paid any more.",
                f"What waited for it will not happen: {operation.get_kind_display().lower()}.",
            ],
            movements=[Movement(f"Invoice {invoice}", f"open, {money(invoice.total, invoice.currency)}", "void")],
            undo="Do the change again: it gets a new invoice.",
            amount=invoice.total,
            state=(invoice.status, operation.status),
        )

    def run(self, values: dict[str, Any], actor: Actor, reason: str) -> str:
        """Give it up."""
        invoice, operation = self._waiting()
        operations.expire(operation, at=self.target.at)
        return f"Invoice {invoice} is void."

    def _waiting(self) -> tuple[Invoice, Operation]:
        pk = named(self.target.invoice, "invoice").pk
        invoice = Invoice.objects.select_related("operation").get(pk=pk)
        if invoice.status != Invoice.Status.OPEN:
            raise InvalidRequest(f"This invoice is {invoice.get_status_display().lower()}.")
        if invoice.operation is None or invoice.operation.status != Operation.Status.WAITING:
            raise InvalidRequest("What this invoice bills has been granted already. Cancel the plan instead.")
        return invoice, invoice.operation


class RefundForm(forms.Form):
    """How much."""

    amount = forms.DecimalField(
        min_value=Decimal(0), **QUANTITY, widget=UnfoldAdminDecimalFieldWidget,
        help_text="In the invoice's currency, at most what was paid and not given back yet.",
    )  # fmt: skip


@register
class RefundInvoice(Action):
    """Money back to the card; plans and balances stay."""

    slug = "refund-invoice"
    title = "Refund"
    verb = "Refund it"
    permission = "can_settle_invoice"
    needs = ("invoice",)
    form_class = RefundForm
    is_dangerous = True

    @property
    def heading(self) -> str:
        """Which invoice."""
        return f"Refund invoice {self.target.invoice}"

    def form(self, data: Any = None) -> forms.Form:
        """All of it, unless another amount is said."""
        invoice = named(self.target.invoice, "invoice")
        left = invoice.total - invoice.refunded
        return RefundForm(data, initial={"amount": left.quantize(pricing.smallest(invoice.currency))})

    def preview(self, values: dict[str, Any]) -> Preview:
        """What goes back."""
        invoice = Invoice.objects.get(pk=named(self.target.invoice, "invoice").pk)
        if invoice.status != Invoice.Status.PAID:
            raise InvalidRequest(
                f"This invoice is {invoice.get_status_display().lower()}; only what is paid goes back."
            )
        amount, left, currency = values["amount"], invoice.total - invoice.refunded, invoice.currency
        if not left:
            raise InvalidRequest("All of this invoice was given back already.")
        if amount != pricing.round_money(amount, currency) or not ZERO < amount <= left:
            least = money(pricing.smallest(currency), currency)
            raise InvalidRequest(f"Choose an amount from {least} to {money(left, currency)}, a multiple of {least}.")
        line = MoneyLine(f"Refund of invoice {invoice}", -amount)
        return Preview(
            sentences=[
                "The money goes back to the card. What was paid from credit stays credit.",
                "Plans and balances stay as they are. To end them, cancel the plan instead.",
            ],
            bills=[Bill("Given back now", (line,), -amount, currency)],
            movements=[Movement("Kept of this invoice", money(left, currency), money(left - amount, currency))],
            undo="Charge the amount again with a new invoice; a refund itself can't be called back.",
            amount=amount,
            state=(invoice.status, invoice.refunded),
        )

    def run(self, values: dict[str, Any], actor: Actor, reason: str) -> str:
        """Give it back."""
        invoice = named(self.target.invoice, "invoice")
        given = refunds.refund(invoice=invoice, amount=values["amount"], at=self.target.at, actor=actor, reason=reason)
        return f"{money(given, invoice.currency)} of invoice {invoice} is on its way back to the card."
