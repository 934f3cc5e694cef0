"""Plans of customers and entities: attach or change, cancel, take a cancellation back."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

from django import forms
from django.conf import settings
from django.db.models import Q, QuerySet
from unfold.widgets import (
    UnfoldAdminDecimalFieldWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminRadioSelectWidget,
    UnfoldAdminSelectWidget,
)

from billing.admin.actions import outcomes
from billing.admin.actions.base import Action, Counter, Preview, register
from billing.models import Subscription
from billing.outcomes import Outcome
from billing.services import subscriptions
from billing.services.plan_changes.requests import Attach, Customize, Quantity, Trial, Update
from config.actor import Actor
from config.errors import InvalidRequest
from config.journal import Movement
from entities.subject import Subject
from plans import wording
from plans.models import Feature, ItemTerms, Plan

PREFIX = "quantity_of_"


class PlanChoice(forms.ModelChoiceField):  # type: ignore[type-arg]
    """Plans with their prices: `Workspace Pro · $20 per month`."""

    held: frozenset[str] = frozenset()

    def label_from_instance(self, obj: Any) -> str:
        """As a customer would read it, and whether it is held already."""
        price = " ".join(wording.base_price(obj, settings.CURRENCY)) if obj.price_amount else "no base price"
        return f"{obj.name} · {price}" + (" · held now" if obj.slug in self.held else "")


class PlanForm(forms.Form):
    """A plan, and how many of what is prepaid."""

    plan = PlanChoice(Plan.objects.none(), empty_label=None, widget=UnfoldAdminSelectWidget)

    def __init__(self, *args: Any, subject: Subject, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choice: Any = self.fields["plan"]
        choice.queryset = Plan.objects.live().order_by("name")
        held = Subscription.objects.in_scope(subject).live().select_related("plan")
        groups = {row.plan.slug: row.plan.group for row in held if not row.is_add_on}
        choice.held = frozenset(groups)
        if groups:
            # Whoever has a plan comes for another of its group.
            others = choice.queryset.filter(group__in=groups.values(), is_add_on=False).exclude(slug__in=groups)
            choice.initial = others.first()
        bought = Q(type=Feature.Type.METERED) | Q(type=Feature.Type.CREDIT_SYSTEM)
        prepaid = Plan.objects.live().filter(items__billing_method=ItemTerms.BillingMethod.PREPAID)
        features = Feature.objects.filter(bought, pk__in=prepaid.values("items__feature"), archived_at=None).order_by(
            "name"
        )[:20]
        for feature in features:
            self.fields[f"{PREFIX}{feature.slug}"] = forms.DecimalField(
                required=False,
                min_value=Decimal(0),
                label=f"{feature}: how many in all",
                help_text="For plans that sell it in advance. Empty: as before, or what is included.",
                widget=UnfoldAdminDecimalFieldWidget,
            )


@register
class AttachPlan(Action):
    """A plan for a customer or entity; within a group it replaces the plan held."""

    slug = "attach-plan"
    title = "Attach or change plan"
    verb = "Attach it"
    permission = "can_attach_plan"

    def form(self, data: Any = None) -> forms.Form:
        """Which plan; the one of the same group first where one is held."""
        return PlanForm(data, subject=self.target.subject)

    def preview(self, values: dict[str, Any]) -> Preview:
        """What starts, ends and is charged."""
        outcome = subscriptions.preview_attach(subject=self.target.subject, request=_attach(values), at=self.target.at)
        shown = outcomes.preview(outcome)
        shown.state = _held(self.target.subject.customer.pk)
        shown.undo = self._undo(outcome)
        return shown

    def run(self, values: dict[str, Any], actor: Actor, reason: str) -> str:
        """Attach."""
        self.before = set(self._in_scope().values_list("pk", flat=True))
        answer = subscriptions.attach(
            subject=self.target.subject, request=_attach(values), at=self.target.at, actor=actor
        )
        self.is_there = not answer.payment_url
        if answer.payment_url:
            return f"Nothing has changed yet. The customer has to pay first, at {answer.payment_url}"
        return f"{values['plan']} was attached to {self.target.name}."

    def counter(self, values: dict[str, Any], request_id: str) -> Counter | None:
        """The end of what it made: of what waits for its time without a trace, else now and with credit."""
        rows = list(self._in_scope())
        made = [row for row in rows if row.pk not in self.before and row.plan.slug == values["plan"].slug]
        if not self.is_there or len(made) != 1:
            return None
        replaced = self.before - {row.pk for row in rows}
        leaves_no_trace = made[0].status == Subscription.Status.SCHEDULED or not (made[0].is_paid or replaced)
        instead = "" if leaves_no_trace else "Cancel it now, with credit"
        return Counter("cancel-plan", {"subscription": made[0]}, {"when": NOW}, instead)

    def _in_scope(self) -> QuerySet[Subscription]:
        return Subscription.objects.in_scope(self.target.subject).current_or_scheduled().select_related("plan")

    def _undo(self, outcome: Outcome) -> str:
        starts = [str(start.holding.subscription.plan) for start in outcome.starts]
        ends = [str(end.subscription.plan) for end in outcome.ends]
        if not starts:
            return "Press Undo when it is done, or cancel the plan any time before it starts."
        again = f" Then attach {' and '.join(ends)} again: it starts fresh." if ends else ""
        return f"Cancel {' and '.join(starts)} now: what is paid and not used is credited.{again}"


AT_END, NOW = "cancel_end_of_cycle", "cancel_immediately"


class CancelForm(forms.Form):
    """When to end; only now where there is no paid cycle to wait for."""

    when = forms.ChoiceField(
        choices=[
            (AT_END, "At the end of the cycle: paid for, so it is kept until then"),
            (NOW, "Now: what is paid and not used is credited"),
        ],
        initial=AT_END,
        widget=UnfoldAdminRadioSelectWidget,
    )

    def __init__(self, *args: Any, row: Subscription | None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        when: Any = self.fields["when"]
        if row is None or (row.is_paid and not row.is_one_off and row.status != Subscription.Status.SCHEDULED):
            return
        is_credited = row.is_paid and row.status != Subscription.Status.SCHEDULED
        when.choices = [(NOW, "Now: what is paid and not used is credited" if is_credited else "Now")]
        when.initial = NOW


@register
class CancelPlan(Action):
    """The end of a plan, now or with its cycle."""

    slug = "cancel-plan"
    title = "Cancel plan"
    verb = "Cancel the plan"
    permission = "can_cancel_plan"
    needs = ("subscription",)
    is_dangerous = True

    @property
    def heading(self) -> str:
        """Which plan."""
        return f"Cancel {self.target.subscription}"

    def form(self, data: Any = None) -> forms.Form:
        """When."""
        return CancelForm(data, row=self.target.subscription)

    def preview(self, values: dict[str, Any]) -> Preview:
        """What ends, when, and what is credited."""
        request = _update(self.target.subscription, values["when"])
        subject = _subject(self)
        shown = outcomes.preview(subscriptions.preview_update(subject=subject, request=request, at=self.target.at))
        shown.state = _held(subject.customer.pk)
        at_end = values["when"] == AT_END
        shown.undo = (
            "Take the cancellation back any time before." if at_end else "Attach the plan again: it starts fresh."
        )
        return shown

    def run(self, values: dict[str, Any], actor: Actor, reason: str) -> str:
        """Cancel."""
        request = _update(self.target.subscription, values["when"])
        subscriptions.update(subject=_subject(self), request=request, at=self.target.at, actor=actor)
        row = self.target.subscription
        if row is not None and row.status == Subscription.Status.SCHEDULED:
            return f"{row} will not start."
        if values["when"] == NOW:
            return f"{row} has ended."
        return f"{self.target.subscription} ends with its cycle."

    def counter(self, values: dict[str, Any], request_id: str) -> Counter | None:
        """Keeping it, while it lasts."""
        at_end = values["when"] == AT_END
        return Counter("uncancel-plan", {"subscription": self.target.subscription}) if at_end else None


@register
class UncancelPlan(Action):
    """A cancellation taken back."""

    slug = "uncancel-plan"
    title = "Keep plan"
    verb = "Keep the plan"
    permission = "can_cancel_plan"
    needs = ("subscription",)

    @property
    def heading(self) -> str:
        """Which plan."""
        return f"Keep {self.target.subscription}"

    def preview(self, values: dict[str, Any]) -> Preview:
        """That it goes on."""
        request = _update(self.target.subscription, "uncancel")
        subject = _subject(self)
        shown = outcomes.preview(subscriptions.preview_update(subject=subject, request=request, at=self.target.at))
        shown.state = _held(subject.customer.pk)
        shown.undo = "Cancel it again."
        return shown

    def run(self, values: dict[str, Any], actor: Actor, reason: str) -> str:
        """Take the cancellation back."""
        request = _update(self.target.subscription, "uncancel")
        subscriptions.update(subject=_subject(self), request=request, at=self.target.at, actor=actor)
        return f"{self.target.subscription} goes on."

    def counter(self, values: dict[str, Any], request_id: str) -> Counter | None:
        """The cancellation again."""
        return Counter("cancel-plan", {"subscription": self.target.subscription}, {"when": AT_END})


class TrialForm(forms.Form):
    """How long."""

    days = forms.IntegerField(
        min_value=1, max_value=730, label="Days from now", widget=UnfoldAdminIntegerFieldWidget,
        help_text="The trial ends so many days from now, whenever it was to end before.",
    )  # fmt: skip


@register
class ExtendTrial(Action):
    """A free trial that ends later, or begins."""

    slug = "extend-trial"
    title = "Extend trial"
    verb = "Extend it"
    permission = "can_extend_trial"
    form_class = TrialForm
    needs = ("subscription",)

    @property
    def heading(self) -> str:
        """Of which plan."""
        return f"Trial of {self.target.subscription}"

    def preview(self, values: dict[str, Any]) -> Preview:
        """When it ends, and what is charged then."""
        row, subject = self._row(), _subject(self)
        shown = outcomes.preview(
            subscriptions.preview_update(subject=subject, request=self._update(values), at=self.target.at)
        )
        ends = self.target.at + timedelta(days=values["days"])
        shown.movements = [Movement("End of the trial", outcomes.date(row.trial_ends_at), outcomes.date(ends))]
        shown.sentences = [f"{row} stays free until {outcomes.date(ends)}. What was used stays used."]
        shown.state = _held(subject.customer.pk)
        shown.undo = "Set the days again; a trial can be made shorter too."
        return shown

    def run(self, values: dict[str, Any], actor: Actor, reason: str) -> str:
        """Set it."""
        subscriptions.update(subject=_subject(self), request=self._update(values), at=self.target.at, actor=actor)
        return "The trial was set."

    def _row(self) -> Subscription:
        row = self.target.subscription
        if row is None or not row.is_trialing(self.target.at):
            raise InvalidRequest("This plan is not in a trial.")
        return row

    def _update(self, values: dict[str, Any]) -> Update:
        trial = Trial(length=values["days"], unit="day", card_required=self._row().trial_card_required)
        return Update(subscription_id=self._row().public_id, customize=Customize(free_trial=trial))


def _attach(values: dict[str, Any]) -> Attach:
    asked = [
        Quantity(feature=name.removeprefix(PREFIX), quantity=value)
        for name, value in values.items()
        if name.startswith(PREFIX) and value is not None
    ]
    sold = {item.feature.slug for item in values["plan"].items.select_related("feature") if item.is_prepaid}
    return Attach(plan=values["plan"].slug, quantities=[one for one in asked if one.feature in sold])


def _update(subscription: Subscription | None, action: str) -> Update:
    if subscription is None:
        raise InvalidRequest("Say which plan: open this from the plan's row.")
    return Update(subscription_id=subscription.public_id, action=action)


def _subject(action: Action) -> Any:
    subscription = action.target.subscription
    return subscription.subject if subscription is not None else action.target.subject


def _held(customer_pk: int) -> tuple[Any, ...]:
    rows = Subscription.objects.filter(customer=customer_pk).exclude(status=Subscription.Status.EXPIRED)
    return tuple(rows.order_by("pk").values_list("pk", "status", "ends_at", "current_period_end")[:200])
