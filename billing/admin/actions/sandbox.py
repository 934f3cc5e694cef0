"""What only a sandbox has: time that is turned, and cards that behave as told."""

from datetime import datetime
from typing import Any

from django import forms
from unfold.widgets import UnfoldAdminRadioSelectWidget

from billing.admin.actions import outcomes
from billing.admin.actions.base import Action, Bill, Moment, Preview, register
from billing.models import Subscription
from billing.services import invoices
from billing.services.collection import payments
from billing.services.due import clock, forecasting
from config import zones
from config.actor import Actor
from config.errors import InvalidRequest
from config.journal import Movement

# A forecast of more renewals than this is left out of the preview.
MOST_PREVIEWED = 40


class ClockForm(forms.Form):
    """A time ahead."""

    to = Moment(
        label="Turn the clock to",
        help_text=zones.yours(),
        presets=("A day on", "A week on", "A month on", "A year on"),
        moves=True,
    )

    def __init__(self, *args: Any, at: datetime, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        to: Any = self.fields["to"]
        to.initial = at
        to.count_from(at)


@register
class TurnClock(Action):
    """The customer's own present, turned forward."""

    slug = "turn-clock"
    title = "Turn the clock"
    verb = "Turn the clock"
    permission = "can_turn_clock"
    form_class = ClockForm
    sandbox_only = True

    def form(self, data: Any = None) -> forms.Form:
        """Starts at the present."""
        return ClockForm(data, at=self.target.at)

    def preview(self, values: dict[str, Any]) -> Preview:
        """What falls due first, and the invoices that are known now."""
        customer, to = self.target.customer, values["to"]
        if customer.clock_at is not None and to < customer.clock_at:
            raise InvalidRequest("The clock only turns forward. Choose a time after the one it shows.")
        shown = Preview(undo="Time does not turn back. Try it on a customer made for it.")
        if customer.clock_at is None:
            shown.sentences.append("The customer leaves the wall clock and gets a test clock of its own, for good.")
        shown.movements.append(Movement("The customer's present", zones.told(self.target.at), zones.told(to)))
        due = clock.next_due(customer, to) if customer.clock_at is not None else None
        if due is not None:
            shown.sentences.append(f"First due: {zones.told(due.at)}. Everything up to the new time follows.")
            shown.bills = self._bills(to)
        elif customer.clock_at is not None:
            shown.sentences.append("Nothing falls due until then.")
        return shown

    def _bills(self, to: Any) -> list[Bill]:
        customer = self.target.customer
        paid = Subscription.objects.live().filter(customer=customer, is_paid=True)
        if paid[: MOST_PREVIEWED + 1].count() > MOST_PREVIEWED:
            return []
        currency = invoices.currency_of(customer)
        return [
            outcomes.bill(f"{group.entity or customer}, {outcomes.date(group.boundary)}", outcome.lines, currency)
            for group, outcome in forecasting.invoice_previews(customer, currency=currency)
            if group.boundary <= to
        ]

    def run(self, values: dict[str, Any], actor: Actor, reason: str) -> str:
        """Turn it."""
        progress = clock.set(customer=self.target.customer, at=values["to"], actor=actor)
        steps = "1 thing fell" if progress.steps == 1 else f"{progress.steps} things fell"
        return f"It is {zones.told(progress.at)} for this customer now; {steps} due on the way."


class CardForm(forms.Form):
    """How the card behaves."""

    card = forms.ChoiceField(
        choices=[
            ("success", "A card that pays"),
            ("declines", "A card that is declined"),
            ("requires_authentication", "A card that asks for 3D Secure"),
            ("none", "No card"),
        ],
        initial="success",
        widget=UnfoldAdminRadioSelectWidget,
    )


@register
class SetCard(Action):
    """The sandbox card on file."""

    slug = "set-card"
    title = "Set card"
    verb = "Set the card"
    permission = "can_set_card"
    form_class = CardForm
    sandbox_only = True

    def preview(self, values: dict[str, Any]) -> Preview:
        """Which card."""
        labels = {
            "success": "From now on charges are paid.",
            "declines": "From now on charges are declined.",
            "requires_authentication": "From now on charges wait for 3D Secure.",
            "none": "The card is removed.",
        }
        return Preview(sentences=[labels[values["card"]]], undo="Set another card.")

    def run(self, values: dict[str, Any], actor: Actor, reason: str) -> str:
        """Set it."""
        payments.set_card(self.target.customer, None if values["card"] == "none" else values["card"])
        return "The card was set."
