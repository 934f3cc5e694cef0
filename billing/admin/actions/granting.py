"""Balances given by hand, beside those of plans, and ended again."""

from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from django import forms
from django.db.models import Count, Q
from django.utils.text import format_lazy
from unfold.widgets import UnfoldAdminDecimalFieldWidget, UnfoldAdminSelectWidget

from billing.admin.actions.balances import live, selection, state
from billing.admin.actions.base import Action, Counter, Moment, Preview, register
from billing.models import Balance, LedgerEntry
from billing.services.balances import grants
from billing.services.balances.grants import Grant
from billing.templatetags.shown import quantity
from config import zones
from config.actor import Actor
from config.errors import InvalidRequest
from config.journal import Movement
from entities.subject import Subject
from plans.intervals import Interval, IntervalUnit
from plans.models import QUANTITY, Feature

ZERO = Decimal(0)
NEVER = "never"


class GrantForm(forms.Form):
    """A balance that belongs to no plan."""

    feature = forms.ModelChoiceField(Feature.objects.none(), empty_label=None, widget=UnfoldAdminSelectWidget)
    amount = forms.DecimalField(
        required=False, min_value=Decimal(0), **QUANTITY, widget=UnfoldAdminDecimalFieldWidget,
        help_text="Leave it empty for a feature that is only switched on.",
    )  # fmt: skip
    expires_at = Moment(
        required=False,
        label="Until",
        help_text=format_lazy("Empty: it stays until it is used up. {}", zones.yours()),
        presets=("Today", "Tomorrow", "Friday", "In a week", "End of the month"),
    )
    every = forms.ChoiceField(
        label="Refills",
        required=False,
        choices=[(NEVER, "Never"), *((unit, f"Every {unit.label}") for unit in IntervalUnit if unit != "one_off")],
        widget=UnfoldAdminSelectWidget,
    )

    def __init__(self, *args: Any, subject: Subject, at: datetime, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        until: Any = self.fields["expires_at"]
        until.count_from(at)
        choice: Any = self.fields["feature"]
        held = Q(balances__customer=subject.customer, balances__entity=subject.entity, balances__ended_at=None)
        # What is spent and held comes first: that is what is asked for.
        features = Feature.objects.live().annotate(held=Count("balances", filter=held))
        choice.queryset = features.order_by("-consumable", "-held", "name")


@register
class GrantBalance(Action):
    """So much more, until then."""

    slug = "grant"
    title = "Grant more"
    verb = "Grant it"
    permission = "can_grant_balance"

    def form(self, data: Any = None) -> forms.Form:
        """Of which feature, how much, until when."""
        return GrantForm(data, subject=self.target.subject, at=self.target.at)

    def preview(self, values: dict[str, Any]) -> Preview:
        """What there is, and what there will be."""
        subject, feature = self.target.subject, values["feature"]
        grant = _grant(values)
        if grant.expires_at is not None and grant.expires_at <= self.target.at:
            raise InvalidRequest("It would have expired already. Choose a time ahead.")
        left = _left(subject, feature, self.target.at)
        until = f" until {zones.told(grant.expires_at)}" if grant.expires_at else ""
        if feature.type == Feature.Type.BOOLEAN:
            return Preview(
                [f"{feature} is switched on for {subject}{until}."],
                undo="Press Undo when it is done, or take the grant back later on the balance's page.",
            )
        if grant.included is None:
            raise InvalidRequest("Say how much is granted.")
        return Preview(
            sentences=[f"{subject.entity or subject.customer} gets {quantity(grant.included)} {feature} more{until}."],
            movements=[
                Movement(f"{feature}, left", quantity(max(left, ZERO)), quantity(max(left, ZERO) + grant.included))
            ],
            undo="Press Undo when it is done, or take it back later on the balance's page. What was used stays used.",
            units=grant.included,
        )

    def run(self, values: dict[str, Any], actor: Actor, reason: str) -> str:
        """Create the balance."""
        grants.create(subject=self.target.subject, grant=_grant(values), at=self.target.at, actor=actor, reason=reason)
        amount = f"{quantity(values['amount'])} " if values["amount"] is not None else ""
        return f"{amount}{values['feature']} granted."

    def counter(self, values: dict[str, Any], request_id: str) -> Counter | None:
        """The end of the grant."""
        entries = LedgerEntry.objects.filter(customer_id=self.target.customer.pk, request_id=request_id)
        entry = entries.select_related("balance").order_by("-pk").first()
        return Counter("end-balance", {"balance": entry.balance}) if entry is not None else None


@register
class EndBalance(Action):
    """The end of a balance that was granted by hand."""

    slug = "end-balance"
    title = "Take back"
    verb = "Take it back"
    permission = "can_grant_balance"
    needs = ("balance",)
    is_dangerous = True

    @property
    def heading(self) -> str:
        """Which balance."""
        return f"Take back {self.target.balance}"

    def preview(self, values: dict[str, Any]) -> Preview:
        """What goes."""
        balance = live(self)
        if balance.item_id is not None:
            raise InvalidRequest("This balance comes with a plan. Cancel or change the plan instead.")
        return Preview(
            sentences=["The grant ends; its ledger stays."],
            movements=[Movement("Left", quantity(balance.remaining), "ended")],
            undo="Grant as much again.",
            state=state(balance),
        )

    def run(self, values: dict[str, Any], actor: Actor, reason: str) -> str:
        """End it."""
        balance = live(self)
        grants.delete(
            subject=Subject(self.target.customer, balance.entity),
            selection=selection(balance),
            at=self.target.at,
            actor=actor,
            reason=reason,
        )
        return f"{balance} was taken back."

    def page_after(self) -> str:
        """Of whoever had it: the balance itself is history now."""
        return replace(self.target, balance=None).page


def _grant(values: dict[str, Any]) -> Grant:
    every = values["every"]
    return Grant(
        feature=values["feature"].slug,
        included=values["amount"],
        expires_at=values["expires_at"],
        reset=Interval.of(every, 1) if every not in ("", NEVER) else None,
    )


def _left(subject: Subject, feature: Feature, at: datetime) -> Decimal:
    rows = Balance.objects.live(at).filter(customer=subject.customer, feature=feature, entity=subject.entity)
    return sum((row.remaining for row in rows), ZERO)
