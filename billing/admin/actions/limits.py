"""Limits of customers and entities: how much of a feature in a window, and whether more than the grant is sold."""

import json
from decimal import Decimal
from typing import Any

from django import forms
from rest_framework import serializers
from unfold.widgets import UnfoldAdminDecimalFieldWidget, UnfoldAdminRadioSelectWidget, UnfoldAdminSelectWidget

from billing.admin.actions.base import Action, Counter, Preview, register
from billing.services import customers
from billing.services.customers import Details
from billing.templatetags.shown import quantity
from config.actor import Actor
from config.errors import InvalidRequest
from config.journal import Movement
from entities.models import Customer, Entity
from plans.api.controls import BillingControlsField, Window
from plans.models import QUANTITY, Feature

type Entries = list[dict[str, Any]]
type Mine = dict[str, Entries]
KINDS = {"usage_limits": "use in a window", "spend_limits": "beyond the grant"}
AMOUNTS = ("limit", "overage_limit")


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


class Limits(Action):
    """Other limits of one feature, in the same controls that applications set."""

    permission = "can_adjust_balance"
    before: Mine

    def wanted(self, values: dict[str, Any]) -> Mine:
        """The feature's limits as they shall be. Raises InvalidRequest where that makes no sense."""
        raise NotImplementedError

    def preview(self, values: dict[str, Any]) -> Preview:
        """Before and after."""
        before, after = self._stored(values["feature"]), self.wanted(values)
        self._checked(values["feature"], after)
        shown = Preview(undo="Press Undo when it is done, or later in the audit log.", state=(repr(before),))
        for kind, label in KINDS.items():
            was, becomes = (", ".join(map(_told, one[kind])) or "no limit" for one in (before, after))
            if was != becomes:
                shown.movements.append(Movement(f"{values['feature']}, {label}", was, becomes))
        if not shown.movements:
            raise InvalidRequest("That changes nothing.")
        if self.target.entity is None:
            shown.sentences.append("It binds the customer; an entity's own limit goes before it.")
        return shown

    def run(self, values: dict[str, Any], actor: Actor, reason: str) -> str:
        """Store them."""
        holder, feature = self._holder(), values["feature"]
        self.before, after = self._stored(feature), self.wanted(values)
        controls = self._checked(feature, after)
        if isinstance(holder, Entity):
            customers.update_entity(entity=holder, billing_controls=controls)
        else:
            customers.update(customer=holder, details=Details({"billing_controls": controls}), new_id=None)
        return f"The limits of {feature} were set."

    def counter(self, values: dict[str, Any], request_id: str) -> Counter | None:
        """Those before, as long as they are still what was set."""
        feature = values["feature"]
        answers = {
            "feature": str(feature.pk), "restored": _written(self.before), "replaced": _written(self._stored(feature))
        }  # fmt: skip
        return Counter("restore-limit", {"entity": self.target.entity}, answers)

    def _stored(self, feature: Feature) -> Mine:
        stored = self._holder().billing_controls
        return {kind: [one for one in stored.get(kind, []) if one["feature_id"] == feature.slug] for kind in KINDS}

    def _holder(self) -> Customer | Entity:
        target = self.target
        if target.entity is not None:
            return Entity.objects.get(pk=target.entity.pk)
        return Customer.objects.get(pk=target.customer.pk)

    def _checked(self, feature: Feature, mine: Mine) -> Mine:
        """All limits of the holder with this feature's replaced, as the service wants them."""
        stored = self._holder().billing_controls
        asked = {
            kind: _numbers([one for one in stored.get(kind, []) if one["feature_id"] != feature.slug] + mine[kind])
            for kind in KINDS
        }
        try:
            checked: Mine = BillingControlsField(auto_topups=False).run_validation(asked)
        except serializers.ValidationError as wrong:
            raise InvalidRequest(f"These limits don't go together: {_sentences(wrong.detail)}") from wrong
        return checked


@register
class SetLimit(Limits):
    """A limit set or taken away."""

    slug = "set-limit"
    title = "Set limit"
    verb = "Set it"
    form_class = LimitForm

    def wanted(self, values: dict[str, Any]) -> Mine:
        """Of its kind the only one; the other kind stays."""
        slug, amount, kind = values["feature"].slug, values["amount"], values["kind"]
        if kind == "none":
            return {one: [] for one in KINDS}
        if amount is None:
            raise InvalidRequest("Say how much at most.")
        mine, limit = self._stored(values["feature"]), {"feature_id": slug, "enabled": True}
        if kind == "usage":
            window = values["window"] or Window.MONTH
            return {**mine, "usage_limits": [{**limit, "limit": str(amount), "interval": str(window)}]}
        return {**mine, "spend_limits": [{**limit, "overage_limit": str(amount)}]}


class RestoreForm(forms.Form):
    """Which limits come back, and which they replace."""

    feature = forms.ModelChoiceField(Feature.objects.all(), widget=forms.HiddenInput)
    restored = forms.JSONField(required=False, widget=forms.HiddenInput)
    replaced = forms.JSONField(required=False, widget=forms.HiddenInput)


@register
class RestoreLimit(Limits):
    """The limits that a feature had before, unless they were set anew meanwhile."""

    slug = "restore-limit"
    title = "Set the limits back"
    verb = "Set them back"
    form_class = RestoreForm

    def wanted(self, values: dict[str, Any]) -> Mine:
        """As they were."""
        if _written(self._stored(values["feature"])) != _written(_known(values["replaced"])):
            raise InvalidRequest("These limits were set anew meanwhile. Look at them, and set what should be.")
        return _known(values["restored"])


def _known(answer: Any) -> Mine:
    """Limits as `_written` wrote them; raises InvalidRequest for anything else."""
    lists: list[Any] = [answer.get(kind, []) for kind in KINDS] if isinstance(answer, dict) else [None]
    if any(not isinstance(one, list) or any(not isinstance(entry, dict) for entry in one) for one in lists):
        raise InvalidRequest("These are no limits.")
    return dict(zip(KINDS, lists, strict=True))


def _written(mine: Mine) -> str:
    return json.dumps(mine, sort_keys=True, default=str)


def _sentences(detail: Any) -> str:
    """What a serializer found wrong, without its brackets."""
    if isinstance(detail, dict | list):
        return " ".join(_sentences(one) for one in (detail.values() if isinstance(detail, dict) else detail))
    return str(detail)


def _numbers(entries: Entries) -> Entries:
    """Stored limits are text; what is checked are numbers."""
    return [
        {name: Decimal(value) if name in AMOUNTS and value is not None else value for name, value in entry.items()}
        for entry in entries
    ]


def _told(entry: dict[str, Any]) -> str:
    """`at most 100 a day`, `at most 20, switched off`."""
    most = entry.get("limit", entry.get("overage_limit"))
    text = f"at most {quantity(Decimal(most))}" if most is not None else "no bound"
    if "interval" in entry:
        text += f" a {entry['interval']}"
    if entry.get("limit_type") == "usage_percentage":
        text += " %"
    return text if entry.get("enabled", True) else f"{text}, switched off"
