"""Limits of customers and entities: how much of a feature in a window, and whether more than the grant is sold."""

from decimal import Decimal
from typing import Any

from django import forms
from rest_framework import serializers
from unfold.widgets import UnfoldAdminDecimalFieldWidget, UnfoldAdminRadioSelectWidget, UnfoldAdminSelectWidget

from billing.admin.actions.base import Action, Movement, Preview, register
from billing.services import customers
from billing.services.customers import Details
from billing.templatetags.shown import quantity
from config.actor import Actor
from config.errors import InvalidRequest
from entities.models import Customer, Entity
from plans.api.controls import BillingControlsField, Window
from plans.models import QUANTITY, Feature

type Entries = list[dict[str, Any]]


class LimitForm(forms.Form):
    """One limit of one feature."""

    feature = forms.ModelChoiceField(
        Feature.objects.live().filter(consumable=True).order_by("name"),
        empty_label=None,
        widget=UnfoldAdminSelectWidget,
    )
    kind = forms.ChoiceField(
        label="What",
        choices=[
            ("usage", "At most so much use in a window"),
            ("overage", "At most so much beyond the grant"),
            ("none", "Take limits of this feature away"),
        ],
        initial="usage",
        widget=UnfoldAdminRadioSelectWidget,
    )
    amount = forms.DecimalField(
        required=False, min_value=Decimal(0), **QUANTITY, label="At most", widget=UnfoldAdminDecimalFieldWidget
    )
    window = forms.ChoiceField(
        label="In a", choices=[(one.value, one.value) for one in Window], initial="month", required=False,
        widget=UnfoldAdminSelectWidget,
    )  # fmt: skip


@register
class SetLimit(Action):
    """A limit set or taken away, in the same controls that applications set."""

    slug = "set-limit"
    title = "Set limit"
    verb = "Set it"
    permission = "can_adjust_balance"
    form_class = LimitForm

    def preview(self, values: dict[str, Any]) -> Preview:
        """Before and after."""
        before, after = self._holder().billing_controls, self._controls(values)
        shown = Preview(undo="Set it back the same way.", state=(repr(before),))
        for kind, label in (("usage_limits", "use in a window"), ("spend_limits", "beyond the grant")):
            mine = [_told(entry) for entry in before.get(kind, []) if entry["feature_id"] == values["feature"].slug]
            then = [_told(entry) for entry in after[kind] if entry["feature_id"] == values["feature"].slug]
            if mine != then:
                row = f"{values['feature']}, {label}"
                shown.movements.append(Movement(row, ", ".join(mine) or "no limit", ", ".join(then) or "no limit"))
        if not shown.movements:
            raise InvalidRequest("That changes nothing.")
        if self.target.entity is None:
            shown.sentences.append("It binds the customer; an entity's own limit goes before it.")
        return shown

    def run(self, values: dict[str, Any], actor: Actor, reason: str) -> str:
        """Store it."""
        holder, controls = self._holder(), self._controls(values)
        if isinstance(holder, Entity):
            customers.update_entity(entity=holder, billing_controls=controls)
        else:
            fields = {"billing_controls": {**holder.billing_controls, **controls}}
            customers.update(customer=holder, details=Details(fields), new_id=None)
        return f"The limits of {values['feature']} were set."

    def _holder(self) -> Customer | Entity:
        target = self.target
        if target.entity is not None:
            return Entity.objects.get(pk=target.entity.pk)
        return Customer.objects.get(pk=target.customer.pk)

    def _controls(self, values: dict[str, Any]) -> dict[str, Entries]:
        slug, stored = values["feature"].slug, self._holder().billing_controls
        usage = [entry for entry in stored.get("usage_limits", []) if entry["feature_id"] != slug]
        spend = [entry for entry in stored.get("spend_limits", []) if entry["feature_id"] != slug]
        if values["kind"] != "none" and values["amount"] is None:
            raise InvalidRequest("Say how much at most.")
        if values["kind"] == "usage":
            window = values["window"] or Window.MONTH
            usage.append({"feature_id": slug, "enabled": True, "limit": values["amount"], "interval": window})
            spend = stored.get("spend_limits", [])
        elif values["kind"] == "overage":
            spend.append({"feature_id": slug, "enabled": True, "overage_limit": values["amount"]})
            usage = stored.get("usage_limits", [])
        field = BillingControlsField(auto_topups=False)
        try:
            checked: dict[str, Entries] = field.run_validation(
                {"usage_limits": _numbers(usage, "limit"), "spend_limits": _numbers(spend, "overage_limit")}
            )
        except serializers.ValidationError as wrong:
            raise InvalidRequest(f"These limits don't go together: {wrong}") from wrong
        return checked


def _numbers(entries: Entries, name: str) -> Entries:
    """Stored limits are text; what is checked are numbers."""
    return [entry if entry.get(name) is None else {**entry, name: Decimal(entry[name])} for entry in entries]


def _told(entry: dict[str, Any]) -> str:
    """`at most 100 a day`, `at most 20, switched off`."""
    most = entry.get("limit", entry.get("overage_limit"))
    text = f"at most {quantity(Decimal(most))}" if most is not None else "no bound"
    if "interval" in entry:
        text += f" a {entry['interval']}"
    if entry.get("limit_type") == "usage_percentage":
        text += " %"
    return text if entry.get("enabled", True) else f"{text}, switched off"
