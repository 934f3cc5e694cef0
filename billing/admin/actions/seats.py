"""Seats, workspaces and other entities: adding and removing them."""

from typing import Any

from django import forms
from django.db.models import Count, Q, QuerySet
from django.urls import reverse
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from billing.admin.actions import outcomes
from billing.admin.actions.base import Action, Counter, Preview, register
from billing.models import Subscription, SubscriptionItem
from billing.outcomes import Outcome
from billing.services import customers, seats
from billing.templatetags.shown import quantity
from config.actor import Actor
from config.errors import InvalidRequest
from config.journal import Movement
from entities.errors import EntityAlreadyExists
from entities.models import Entity
from plans import wording
from plans.models import Feature

HOLDS = [Subscription.Status.ACTIVE, Subscription.Status.PAST_DUE]


class SeatForm(forms.Form):
    """A new entity."""

    feature = forms.ModelChoiceField(
        Feature.objects.none(), label="What is added", empty_label=None, widget=UnfoldAdminSelectWidget
    )
    name = forms.CharField(max_length=255, required=False, widget=UnfoldAdminTextInputWidget)
    entity_id = forms.CharField(
        max_length=255, label="Id", widget=UnfoldAdminTextInputWidget, help_text="The application's own id for it."
    )

    def __init__(self, *args: Any, customer_pk: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choice: Any = self.fields["feature"]
        choice.queryset = countable(customer_pk)


def countable(customer_pk: int) -> QuerySet[Feature]:
    """Features that entities can be of; those that the customer has most of first."""
    mine = Count("entities", filter=Q(entities__customer=customer_pk, entities__deleted_at=None))
    features = Feature.objects.live().filter(type=Feature.Type.METERED, consumable=False)
    return features.annotate(mine=mine).order_by("-mine", "name")


def later(customer_pk: int, feature: Feature, outcome: Outcome) -> list[str]:
    """Where a seat costs nothing now: that it will, with the next invoice, and on which terms."""
    if outcome.lines or outcome.waiting:
        return []
    rows = SubscriptionItem.objects.filter(
        subscription__customer=customer_pk, subscription__status__in=HOLDS, feature=feature
    )
    return [
        f"Nothing is charged now; {row.subscription.plan} bills with its next invoice: "
        f"{wording.sentence(row, outcome.currency)}."
        for row in rows.select_related("subscription__plan", "feature", "entity_feature")
        if row.is_priced
    ]


@register
class AddSeat(Action):
    """A seat, user, workspace or project more."""

    slug = "add-seat"
    title = "Add a seat or workspace"
    verb = "Add it"
    permission = "can_add_seat"

    def form(self, data: Any = None) -> forms.Form:
        """Which, and under what id."""
        return SeatForm(data, customer_pk=self.target.customer.pk)

    def preview(self, values: dict[str, Any]) -> Preview:
        """What it costs and what it gets."""
        customer, feature = self.target.customer, values["feature"]
        if Entity.objects.live().filter(customer=customer, external_id=values["entity_id"]).exists():
            raise EntityAlreadyExists(values["entity_id"])
        outcome = seats.preview_create(customer=customer, feature=feature, at=self.target.at)
        shown = outcomes.preview(outcome)
        shown.sentences += later(customer.pk, feature, outcome)
        name = values["name"] or values["entity_id"]
        count = Entity.objects.live().filter(customer=customer, feature=feature).count()
        shown.sentences.insert(0, f"{name} is added to {customer}.")
        shown.movements.append(Movement(f"{feature} of {customer}", quantity(count), quantity(count + 1)))
        granted = SubscriptionItem.objects.filter(
            subscription__customer=customer,
            subscription__entity=None,
            subscription__status__in=HOLDS,
            entity_feature=feature,
        ).select_related("feature", "entity_feature")
        for item in granted:
            text = "Unlimited" if item.unlimited else quantity(item.included)
            shown.movements.append(Movement(f"{item.feature} of {name}", "–", text))
        shown.undo = f"Remove {name} again. What was paid is credited as the plan says."
        return shown

    def run(self, values: dict[str, Any], actor: Actor, reason: str) -> str:
        """Create the entity."""
        entity = seats.create_entity(
            customer=self.target.customer,
            entity_id=values["entity_id"],
            feature=values["feature"],
            name=values["name"],
            billing_controls={},
            at=self.target.at,
            actor=actor,
        )
        return f"{entity} was added."

    def counter(self, values: dict[str, Any], request_id: str) -> Counter | None:
        """Its removal."""
        live = Entity.objects.live().filter(customer=self.target.customer, external_id=values["entity_id"])
        return Counter("remove-seat", {"entity": live.first()})


@register
class RemoveSeat(Action):
    """An entity that leaves, with its plans and balances."""

    slug = "remove-seat"
    title = "Remove"
    verb = "Remove it"
    permission = "can_remove_seat"
    needs = ("entity",)
    is_dangerous = True

    def preview(self, values: dict[str, Any]) -> Preview:
        """What ends with it."""
        entity = self.target.entity
        if entity is None or entity.deleted_at is not None:
            raise InvalidRequest("It was removed already.")
        shown = outcomes.preview(seats.preview_delete(entity=entity, at=self.target.at))
        shown.sentences.insert(0, f"{entity} is removed; its history stays.")
        shown.movements = outcomes.lost_with(entity)
        shown.undo = (
            f"Add it again with the id {entity.external_id}. It starts fresh: what it had left does not come back."
        )
        return shown

    def run(self, values: dict[str, Any], actor: Actor, reason: str) -> str:
        """Delete the entity."""
        entity = self.target.subject.member
        seats.delete_entity(entity=entity, at=self.target.at, actor=actor)
        return f"{entity} was removed."

    def page_after(self) -> str:
        """The customer's page: the entity has none any more."""
        return reverse("admin:entities_customer_change", args=[self.target.customer.pk])


class NameForm(forms.Form):
    """A name."""

    name = forms.CharField(max_length=255, widget=UnfoldAdminTextInputWidget)


@register
class Rename(Action):
    """Another name for an entity; its id stays."""

    slug = "rename"
    title = "Rename"
    verb = "Rename it"
    permission = "can_add_seat"
    needs = ("entity",)

    def form(self, data: Any = None) -> forms.Form:
        """The new name."""
        return NameForm(data, initial={"name": self.target.subject.member.name})

    def preview(self, values: dict[str, Any]) -> Preview:
        """Before and after."""
        entity = self.target.subject.member
        return Preview(
            sentences=["Its id, plans and balances stay."],
            movements=[Movement("Name", entity.name or "–", values["name"])],
            undo="Rename it back.",
        )

    def run(self, values: dict[str, Any], actor: Actor, reason: str) -> str:
        """Store the name."""
        entity = self.target.subject.member
        self.before = entity.name
        customers.update_entity(entity=entity, billing_controls=None, name=values["name"])
        return f"It is called {values['name']} now."

    def counter(self, values: dict[str, Any], request_id: str) -> Counter | None:
        """The name before."""
        return Counter("rename", {"entity": self.target.entity}, {"name": self.before}) if self.before else None
