"""What one entity has left, moved to another."""

from decimal import Decimal
from typing import Any

from django import forms
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminDecimalFieldWidget, UnfoldAdminTextInputWidget

from billing.admin.actions.balances import live, state
from billing.admin.actions.base import Action, Counter, Preview, named, register
from billing.models import Balance
from billing.services.balances import transfers
from billing.templatetags.shown import quantity
from config.actor import Actor
from config.errors import InvalidRequest
from config.journal import Movement
from plans.models import QUANTITY

MOST_SUGGESTED = 100


class Suggesting(UnfoldAdminTextInputWidget):
    """A text that the browser completes from a few."""

    suggestions: list[tuple[str, str]] = []

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        """The field with its list."""
        listed = f"{name}-suggestions"
        options = format_html_join("", '<option value="{}">{}</option>', self.suggestions)
        field = super().render(name, value, {**(attrs or {}), "list": listed}, renderer)
        return format_html('{}<datalist id="{}">{}</datalist>', field, listed, options)


class TransferForm(forms.Form):
    """To whom, and how much."""

    to = forms.CharField(max_length=255, label="To", widget=Suggesting, help_text="The id of another that has it.")
    amount = forms.DecimalField(min_value=Decimal(0), **QUANTITY, widget=UnfoldAdminDecimalFieldWidget)


@register
class Transfer(Action):
    """So much less here, so much more there."""

    slug = "transfer"
    title = "Move to another"
    verb = "Move it"
    permission = "can_adjust_balance"
    needs = ("balance",)

    @property
    def heading(self) -> str:
        """What is moved."""
        return f"Move {self.target.balance}"

    def form(self, data: Any = None) -> forms.Form:
        """All that is left, unless another amount is said."""
        balance = named(self.target.balance, "balance")
        form = TransferForm(data, initial={"amount": quantity(max(balance.remaining, Decimal(0))).replace(",", "")})
        others = self._others(balance)[:MOST_SUGGESTED]
        widget: Any = form.fields["to"].widget
        widget.suggestions = [(row.entity.external_id, str(row.entity)) for row in others if row.entity is not None]
        return form

    def preview(self, values: dict[str, Any]) -> Preview:
        """Before and after, of both."""
        giver, taker, amount = live(self), self._taker(values), values["amount"]
        if not 0 < amount <= giver.remaining:
            raise InvalidRequest(f"Choose an amount up to the {quantity(giver.remaining)} that are left.")
        shown = Preview(
            sentences=["Both keep their own grant: with the next reset each has what its plan gives it again."],
            movements=[
                Movement(f"{giver}, left", quantity(giver.remaining), quantity(giver.remaining - amount)),
                Movement(f"{taker}, left", quantity(taker.remaining), quantity(taker.remaining + amount)),
            ],
            undo="Press Undo when it is done, or move it back later.",
            units=amount,
            state=(state(giver), state(taker)),
        )
        if taker.remaining < 0 and taker.allows_overage:
            covered = quantity(min(amount, -taker.remaining))
            shown.warnings.append(f"{covered} of overage of {taker.entity} would then not be billed.")
        return shown

    def run(self, values: dict[str, Any], actor: Actor, reason: str) -> str:
        """Move it."""
        taker = self._taker(values)
        transfers.transfer(
            source=live(self), target=taker, amount=values["amount"], at=self.target.at, actor=actor, reason=reason
        )
        return f"{quantity(values['amount'])} {taker.feature} were moved to {taker.entity}."

    def counter(self, values: dict[str, Any], request_id: str) -> Counter | None:
        """The way back."""
        entity = named(self.target.balance, "balance").entity
        if entity is None:
            return None
        taker = self._taker(values)
        answers = {"to": entity.external_id, "amount": str(values["amount"])}
        return Counter("transfer", {"balance": taker, "entity": taker.entity}, answers)

    def _taker(self, values: dict[str, Any]) -> Balance:
        giver = live(self)
        found: Balance | None = self._others(giver).filter(entity__external_id=values["to"]).first()
        if found is None:
            raise InvalidRequest(f"{values['to']} has no balance of {giver.feature} to move it to. Choose another id.")
        return found

    def _others(self, giver: Balance) -> Any:
        rows = Balance.objects.live(self.target.at).filter(customer=giver.customer_id, feature=giver.feature_id)
        rows = rows.filter(entity__deleted_at=None, rolled_over_from=None, unlimited=False)
        return (
            rows.exclude(entity=None).exclude(entity=giver.entity_id).select_related("entity", "feature").order_by("pk")
        )
