"""Balances corrected by hand: adjusted, refilled, and corrections taken back."""

from decimal import Decimal
from typing import Any

from django import forms
from unfold.widgets import UnfoldAdminDecimalFieldWidget, UnfoldAdminRadioSelectWidget

from billing.admin.actions.base import Action, Counter, Preview, register
from billing.admin.actions.outcomes import date
from billing.models import Balance, LedgerEntry
from billing.services.balances import grants
from billing.services.balances.grants import Selection, Setting
from billing.templatetags.shown import quantity
from config import zones
from config.actor import Actor
from config.errors import InvalidRequest
from config.journal import Movement
from entities.subject import Subject
from plans.models import QUANTITY

ZERO = Decimal(0)


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
        balance, by = live(self), self._by(values)
        return Preview(
            sentences=["An entry in the ledger records the change. No event is written and no limit counts it."],
            movements=[
                Movement("Used", quantity(balance.usage), quantity(balance.usage - by)),
                Movement("Left", quantity(balance.remaining), quantity(balance.remaining + by)),
            ],
            undo="Press Undo when it is done, or later beside the entry on the balance's page.",
            units=abs(by),
            state=state(balance),
        )

    def run(self, values: dict[str, Any], actor: Actor, reason: str) -> str:
        """Set it."""
        by = self._by(values)
        if not by:
            raise InvalidRequest("That changes nothing.")
        _set(self, Setting(add=by), actor, reason)
        return f"{self.target.balance} was adjusted."

    def counter(self, values: dict[str, Any], request_id: str) -> Counter | None:
        """The entry the other way round."""
        return _undo(self, request_id)

    def _by(self, values: dict[str, Any]) -> Decimal:
        balance, amount = live(self), values["amount"]
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
        balance = live(self)
        if not balance.usage:
            raise InvalidRequest("Nothing of it is used; there is nothing to refill.")
        next_reset = f"It still resets on {date(balance.next_reset_at)}." if balance.next_reset_at else ""
        shown = Preview(
            sentences=[sentence for sentence in ("What is used is cleared by an adjustment.", next_reset) if sentence],
            movements=[Movement("Left", quantity(balance.remaining), quantity(balance.remaining + balance.usage))],
            undo="Press Undo when it is done, or later beside the entry on the balance's page.",
            units=abs(balance.usage),
            state=state(balance),
        )
        if balance.remaining < 0 and balance.allows_overage:
            shown.warnings.append(f"{quantity(-balance.remaining)} of overage would then not be billed.")
        return shown

    def run(self, values: dict[str, Any], actor: Actor, reason: str) -> str:
        """Clear the usage."""
        _set(self, Setting(usage=ZERO), actor, reason)
        return f"{self.target.balance} is full again."

    def counter(self, values: dict[str, Any], request_id: str) -> Counter | None:
        """The entry the other way round."""
        return _undo(self, request_id)


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
        balance, entry = live(self), self._entry()
        by = entry.usage - entry.granted
        return Preview(
            sentences=[f"An entry the other way round makes up for that of {zones.told(entry.at)}."],
            movements=[Movement("Left", quantity(balance.remaining), quantity(balance.remaining + by))],
            undo="Adjust it again.",
            state=state(balance),
        )

    def run(self, values: dict[str, Any], actor: Actor, reason: str) -> str:
        """Write the entry."""
        entry = self._entry()
        why = f"Undoes entry {entry.pk}: {reason}"
        if entry.usage:
            _set(self, Setting(add=entry.usage), actor, why)
        if entry.granted:
            balance = live(self)
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


def live(action: Action) -> Balance:
    """The balance as it is now."""
    target = action.target
    if target.balance is None:
        raise InvalidRequest("Say which balance.")
    balance = Balance.objects.select_related("feature", "entity", "customer").get(pk=target.balance.pk)
    if balance.ended_at is not None:
        raise InvalidRequest("This balance has ended.")
    return balance


def state(balance: Balance) -> tuple[Any, ...]:
    return (balance.granted, balance.usage, balance.held, balance.expired, balance.next_reset_at)


def _undo(action: Action, request_id: str) -> Counter | None:
    entry = LedgerEntry.objects.filter(balance=action.target.balance, request_id=request_id).order_by("-pk").first()
    return Counter("undo", {"balance": action.target.balance, "entry": entry}) if entry is not None else None


def selection(balance: Balance) -> Selection:
    return Selection(balance.feature.slug, balance.public_id or f"bal_{balance.pk}")


def _set(action: Action, setting: Setting, actor: Actor, reason: str) -> None:
    balance = live(action)
    grants.update(
        subject=Subject(action.target.customer, balance.entity),
        selection=selection(balance),
        setting=setting,
        at=action.target.at,
        actor=actor,
        reason=reason,
    )
