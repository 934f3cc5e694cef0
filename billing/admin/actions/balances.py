"""Balances by hand: grant, adjust, refill, end, and taking back what was done by hand."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from django import forms
from django.db.models import Count, Q
from unfold.widgets import UnfoldAdminDecimalFieldWidget, UnfoldAdminRadioSelectWidget, UnfoldAdminSelectWidget

from billing.admin.actions.base import Action, Moment, Movement, Preview, register
from billing.admin.actions.outcomes import date
from billing.models import Balance, LedgerEntry
from billing.services import grants
from billing.services.grants import Grant, Selection, Setting
from billing.templatetags.shown import quantity
from config.actor import Actor
from config.errors import InvalidRequest
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
    expires_at = Moment(required=False, label="Until (UTC)", help_text="Empty: it stays until it is used up.")
    every = forms.ChoiceField(
        label="Refills",
        required=False,
        choices=[(NEVER, "Never"), *((unit, f"Every {unit.label}") for unit in IntervalUnit if unit != "one_off")],
        widget=UnfoldAdminSelectWidget,
    )

    def __init__(self, *args: Any, subject: Subject, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
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
        return GrantForm(data, subject=self.target.subject)

    def preview(self, values: dict[str, Any]) -> Preview:
        """What there is, and what there will be."""
        subject, feature = self.target.subject, values["feature"]
        grant = _grant(values)
        if grant.expires_at is not None and grant.expires_at <= self.target.at:
            raise InvalidRequest("It would have expired already. Choose a time ahead.")
        left = _left(subject, feature, self.target.at)
        until = f" until {grant.expires_at:%-d %B %Y, %H:%M} UTC" if grant.expires_at else ""
        if feature.type == Feature.Type.BOOLEAN:
            return Preview([f"{feature} is switched on for {subject}{until}."], undo="End the balance on its page.")
        if grant.included is None:
            raise InvalidRequest("Say how much is granted.")
        return Preview(
            sentences=[f"{subject.entity or subject.customer} gets {quantity(grant.included)} {feature} more{until}."],
            movements=[
                Movement(f"{feature}, left", quantity(max(left, ZERO)), quantity(max(left, ZERO) + grant.included))
            ],
            undo="End the balance on its page. What was used of it by then stays used.",
        )

    def run(self, values: dict[str, Any], actor: Actor, reason: str) -> str:
        """Create the balance."""
        grants.create(subject=self.target.subject, grant=_grant(values), at=self.target.at, actor=actor, reason=reason)
        amount = f"{quantity(values['amount'])} " if values["amount"] is not None else ""
        return f"{amount}{values['feature']} granted."


class AdjustForm(forms.Form):
    """How to change what is left."""

    how = forms.ChoiceField(
        label="Change",
        choices=[
            ("add", "Add to what is left"),
            ("take", "Take from what is left"),
            ("remaining", "Set what is left"),
            ("usage", "Set what is used"),
        ],
        initial="add",
        widget=UnfoldAdminRadioSelectWidget,
    )
    amount = forms.DecimalField(min_value=Decimal(0), **QUANTITY, widget=UnfoldAdminDecimalFieldWidget)


@register
class AdjustBalance(Action):
    """Another number on a balance, by an entry in its ledger."""

    slug = "adjust"
    title = "Adjust"
    verb = "Adjust it"
    permission = "can_adjust_balance"
    needs = ("balance",)
    form_class = AdjustForm

    @property
    def heading(self) -> str:
        """Which balance."""
        return f"Adjust {self.target.balance}"

    def preview(self, values: dict[str, Any]) -> Preview:
        """Before and after."""
        balance, by = _live(self), self._by(values)
        return Preview(
            sentences=["An entry in the ledger records the change. No event is written and no limit counts it."],
            movements=[
                Movement("Used", quantity(balance.usage), quantity(balance.usage - by)),
                Movement("Left", quantity(balance.remaining), quantity(balance.remaining + by)),
            ],
            undo="Press Undo beside the entry on the balance's page.",
            state=_state(balance),
        )

    def run(self, values: dict[str, Any], actor: Actor, reason: str) -> str:
        """Set it."""
        by = self._by(values)
        if not by:
            raise InvalidRequest("That changes nothing.")
        _set(self, Setting(add=by), actor, reason)
        return f"{self.target.balance} was adjusted."

    def _by(self, values: dict[str, Any]) -> Decimal:
        balance, amount = _live(self), values["amount"]
        changes: dict[str, Decimal] = {
            "add": amount,
            "take": -amount,
            "remaining": amount - balance.remaining,
            "usage": balance.usage - amount,
        }
        return changes[values["how"]]


@register
class Refill(Action):
    """As if it had just been reset, without moving the next reset."""

    slug = "refill"
    title = "Refill now"
    verb = "Refill it"
    permission = "can_adjust_balance"
    needs = ("balance",)

    @property
    def heading(self) -> str:
        """Which balance."""
        return f"Refill {self.target.balance}"

    def preview(self, values: dict[str, Any]) -> Preview:
        """Before and after."""
        balance = _live(self)
        if not balance.usage:
            raise InvalidRequest("Nothing of it is used; there is nothing to refill.")
        next_reset = f"It still resets on {date(balance.next_reset_at)}." if balance.next_reset_at else ""
        shown = Preview(
            sentences=[sentence for sentence in ("What is used is cleared by an adjustment.", next_reset) if sentence],
            movements=[Movement("Left", quantity(balance.remaining), quantity(balance.remaining + balance.usage))],
            undo="Press Undo beside the entry on the balance's page.",
            state=_state(balance),
        )
        if balance.remaining < 0 and balance.allows_overage:
            shown.warnings.append(f"{quantity(-balance.remaining)} of overage would then not be billed.")
        return shown

    def run(self, values: dict[str, Any], actor: Actor, reason: str) -> str:
        """Clear the usage."""
        _set(self, Setting(usage=ZERO), actor, reason)
        return f"{self.target.balance} is full again."


@register
class EndBalance(Action):
    """The end of a balance that was granted by hand."""

    slug = "end-balance"
    title = "End"
    verb = "End it"
    permission = "can_grant_balance"
    needs = ("balance",)
    is_dangerous = True

    @property
    def heading(self) -> str:
        """Which balance."""
        return f"End {self.target.balance}"

    def preview(self, values: dict[str, Any]) -> Preview:
        """What goes."""
        balance = _live(self)
        if balance.item_id is not None:
            raise InvalidRequest("This balance comes with a plan. Cancel or change the plan instead.")
        return Preview(
            sentences=["The balance ends; its ledger stays."],
            movements=[Movement("Left", quantity(balance.remaining), "ended")],
            undo="Grant as much again.",
            state=_state(balance),
        )

    def run(self, values: dict[str, Any], actor: Actor, reason: str) -> str:
        """End it."""
        balance = _live(self)
        grants.delete(
            subject=Subject(self.target.customer, balance.entity),
            selection=_selection(balance),
            at=self.target.at,
            actor=actor,
            reason=reason,
        )
        return f"{balance} has ended."


@register
class UndoEntry(Action):
    """A compensating entry for an adjustment made by hand."""

    slug = "undo"
    title = "Undo"
    verb = "Undo it"
    permission = "can_adjust_balance"
    needs = ("balance", "entry")

    @property
    def heading(self) -> str:
        """Of which balance."""
        return f"Undo an adjustment of {self.target.balance}"

    def preview(self, values: dict[str, Any]) -> Preview:
        """Before and after."""
        balance, entry = _live(self), self._entry()
        by = entry.usage - entry.granted
        return Preview(
            sentences=[f"An entry the other way round makes up for that of {entry.at:%-d %B %Y, %H:%M} UTC."],
            movements=[Movement("Left", quantity(balance.remaining), quantity(balance.remaining + by))],
            undo="Adjust it again.",
            state=_state(balance),
        )

    def run(self, values: dict[str, Any], actor: Actor, reason: str) -> str:
        """Write the entry."""
        entry = self._entry()
        why = f"Undoes entry {entry.pk}: {reason}"
        if entry.usage:
            _set(self, Setting(add=entry.usage), actor, why)
        if entry.granted:
            balance = _live(self)
            _set(self, Setting(included=balance.granted - balance.prepaid - entry.granted), actor, why)
        return "It was undone."

    def _entry(self) -> LedgerEntry:
        entry, balance = self.target.entry, self.target.balance
        if entry is None or balance is None or entry.balance_id != balance.pk:
            raise InvalidRequest("This entry is of another balance.")
        if not is_undoable(entry):
            raise InvalidRequest("Only adjustments made by hand can be undone.")
        mark = f"Undoes entry {entry.pk}:"
        if LedgerEntry.objects.filter(balance=balance, pk__gt=entry.pk, reason__startswith=mark).exists():
            raise InvalidRequest("This entry was undone already.")
        return entry


def is_undoable(entry: LedgerEntry) -> bool:
    """Was it made by hand?"""
    return entry.kind == LedgerEntry.Kind.ADJUSTMENT and entry.actor.startswith("staff:")


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


def _live(action: Action) -> Balance:
    """The balance as it is now."""
    target = action.target
    if target.balance is None:
        raise InvalidRequest("Say which balance.")
    balance = Balance.objects.select_related("feature", "entity", "customer").get(pk=target.balance.pk)
    if balance.ended_at is not None:
        raise InvalidRequest("This balance has ended.")
    return balance


def _state(balance: Balance) -> tuple[Any, ...]:
    return (balance.granted, balance.usage, balance.held, balance.expired, balance.next_reset_at)


def _selection(balance: Balance) -> Selection:
    return Selection(balance.feature.slug, balance.public_id or f"bal_{balance.pk}")


def _set(action: Action, setting: Setting, actor: Actor, reason: str) -> None:
    balance = _live(action)
    grants.update(
        subject=Subject(action.target.customer, balance.entity),
        selection=_selection(balance),
        setting=setting,
        at=action.target.at,
        actor=actor,
        reason=reason,
    )
