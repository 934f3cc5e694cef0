"""Subscriptions: a plan held by a customer or by one of its entities, with its terms copied at the time."""

from datetime import datetime
from decimal import Decimal
from typing import ClassVar

from django.db import models
from django.db.models import Q

from entities.models import Customer, Entity
from entities.subject import Subject
from plans.models import QUANTITY, BasePrice, ItemTerms, Plan


class SubscriptionQuerySet(models.QuerySet["Subscription"]):
    def in_scope(self, subject: Subject) -> "SubscriptionQuerySet":
        """Exactly the scope asked for: the entity's own, or the customer's own (never an entity's)."""
        return self.filter(customer=subject.customer, entity=subject.entity)

    def seen_by(self, subject: Subject) -> "SubscriptionQuerySet":
        """What a read shows: an entity sees its own and the customer's, a customer sees everything."""
        rows = self.filter(customer=subject.customer)
        return rows.filter(Q(entity=subject.entity) | Q(entity=None)) if subject.entity else rows

    def live(self) -> "SubscriptionQuerySet":
        """Those that grant something now."""
        return self.filter(status__in=[Subscription.Status.ACTIVE, Subscription.Status.PAST_DUE])

    def current_or_scheduled(self) -> "SubscriptionQuerySet":
        return self.filter(
            status__in=[Subscription.Status.ACTIVE, Subscription.Status.PAST_DUE, Subscription.Status.SCHEDULED]
        )


class Subscription(BasePrice):
    """A plan in one scope (the customer, or one entity), once per attachment. Editing the plan never moves it."""

    class Status(models.TextChoices):
        SCHEDULED = "scheduled", "Scheduled"
        ACTIVE = "active", "Active"
        PAST_DUE = "past_due", "Past due"
        PAUSED = "paused", "Paused"
        EXPIRED = "expired", "Ended"

    public_id = models.CharField(max_length=255, unique=True)
    customer = models.ForeignKey(Customer, models.CASCADE, related_name="subscriptions")
    entity = models.ForeignKey(Entity, models.CASCADE, null=True, blank=True, related_name="subscriptions")
    plan = models.ForeignKey(Plan, models.PROTECT, related_name="subscriptions")
    group = models.CharField(max_length=100, blank=True, default="", help_text="Copied from the plan.")
    is_add_on = models.BooleanField(default=False)
    is_one_off = models.BooleanField(default=False, help_text="Bought once: listed under purchases, never renewed.")
    is_paid = models.BooleanField(
        default=False, help_text="Has a recurring price: has a subscription at the processor."
    )
    auto_enabled = models.BooleanField(default=False)
    quantity = models.PositiveIntegerField(default=1)
    status = models.CharField(max_length=20, choices=Status)
    started_at = models.DateTimeField(help_text="Of a scheduled one: when it will start.")
    canceled_at = models.DateTimeField(null=True, blank=True, help_text="When the end was asked for.")
    ends_at = models.DateTimeField(null=True, blank=True, help_text="When it ends or ended.")
    trial_ends_at = models.DateTimeField(
        null=True, blank=True, help_text="Kept after the trial, as the proof that it was had."
    )
    trial_card_required = models.BooleanField(
        default=True, help_text="Off: without a card the plan ends with its trial."
    )
    trial_on_end = models.CharField(max_length=10, choices=Plan.TrialEnd, default=Plan.TrialEnd.BILL)
    billing_cycle_anchor = models.DateTimeField(
        null=True, blank=True, help_text="Every boundary is counted from it; empty for what never renews."
    )
    new_anchor_at = models.DateTimeField(
        null=True, blank=True, help_text="When it comes, every boundary is counted from it; the cycle until then stays."
    )
    has_own_cycle = models.BooleanField(
        default=False,
        help_text="Has a subscription of its own at the processor, apart from its scope's and from the shared cycle.",
    )
    sends_invoice = models.BooleanField(default=False, help_text="Invoices are sent to be paid, no card is charged.")
    net_terms_days = models.PositiveSmallIntegerField(null=True, blank=True, help_text="Days to pay a sent invoice.")
    current_period_start = models.DateTimeField(null=True, blank=True)
    current_period_end = models.DateTimeField(
        null=True, blank=True, help_text="The next boundary: everything before it has been billed, nothing after it."
    )
    billing_controls = models.JSONField(default=dict, blank=True, help_text="Copied from the plan.")
    processor_subscription_id = models.CharField(
        max_length=255, blank=True, default="", help_text="Shared by the plans of one scope."
    )
    license_item = models.ForeignKey(
        "billing.SubscriptionItem",
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="assignments",
        help_text="Set: a licence assigned to an entity, from the pool that this item of the customer's plan is.",
    )
    schedule_id = models.CharField(
        max_length=64,
        blank=True,
        default="",
        help_text="Of the schedule that it belongs to (billing.create_schedule).",
    )
    metadata = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField()

    objects = SubscriptionQuerySet.as_manager()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["customer", "group"],
                condition=Q(entity=None, is_add_on=False, is_one_off=False, status__in=["active", "past_due"]),
                name="subscription_one_live_per_customer_group",
                violation_error_message="This customer already has a plan of that group.",
            ),
            models.UniqueConstraint(
                fields=["entity", "group"],
                condition=Q(entity__isnull=False, is_add_on=False, is_one_off=False, status__in=["active", "past_due"]),
                name="subscription_one_live_per_entity_group",
                violation_error_message="This entity already has a plan of that group.",
            ),
            models.UniqueConstraint(
                fields=["customer", "group", "started_at"],
                condition=Q(entity=None, is_add_on=False, is_one_off=False, status="scheduled"),
                name="subscription_one_scheduled_per_customer_group",
                violation_error_message="A plan of that group is scheduled for this customer at that instant already.",
            ),
            models.UniqueConstraint(
                fields=["entity", "group", "started_at"],
                condition=Q(entity__isnull=False, is_add_on=False, is_one_off=False, status="scheduled"),
                name="subscription_one_scheduled_per_entity_group",
                violation_error_message="A plan of that group is scheduled for this entity at that instant already.",
            ),
            models.UniqueConstraint(
                fields=["entity", "license_item"],
                condition=Q(license_item__isnull=False, status__in=["active", "past_due"]),
                name="subscription_one_license_per_entity_and_pool",
                violation_error_message="This entity already has that licence.",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["customer", "status"], name="subscription_by_customer"),
            models.Index(fields=["license_item"], condition=Q(license_item__isnull=False), name="subscription_license"),
            models.Index(
                fields=["current_period_end", "id"],
                condition=Q(status__in=["active", "past_due"]),
                name="subscription_due_to_renew",
            ),
            models.Index(
                fields=["started_at", "id"], condition=Q(status="scheduled"), name="subscription_due_to_start"
            ),
            models.Index(
                fields=["ends_at", "id"],
                condition=Q(status__in=["active", "past_due"], ends_at__isnull=False),
                name="subscription_due_to_end",
            ),
            models.Index(
                fields=["new_anchor_at"],
                condition=Q(status__in=["active", "past_due"], new_anchor_at__isnull=False),
                name="subscription_due_to_move",
            ),
            models.Index(
                fields=["processor_subscription_id"],
                condition=~Q(processor_subscription_id=""),
                name="subscription_by_processor",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.plan} for {self.entity or self.customer}"

    @property
    def subject(self) -> Subject:
        return Subject(self.customer, self.entity)

    def is_trialing(self, at: datetime) -> bool:
        return self.trial_ends_at is not None and self.trial_ends_at > at


class SubscriptionItem(ItemTerms):
    """The terms of one feature of a subscription, copied from the plan (or customised) when it was attached."""

    subscription = models.ForeignKey(Subscription, models.CASCADE, related_name="items")
    quantity = models.DecimalField(
        **QUANTITY, default=Decimal(0), help_text="Prepaid: units bought in all, the included ones counted."
    )
    upcoming_quantity = models.DecimalField(
        **QUANTITY, null=True, blank=True, help_text="Prepaid: the quantity from the next renewal on."
    )

    license_plan = models.ForeignKey(
        Plan,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        help_text="Set: this item is a pool of licences, each of which gives an entity this version of a plan.",
    )
    license_customize = models.JSONField(
        default=dict, blank=True, help_text="Where the licences differ from their plan, as `PlanLicense.customize`."
    )

    class Meta:
        ordering: ClassVar = ["position", "pk"]

    @property
    def is_unsold(self) -> bool:
        """Licences have a price from the first one that is bought on."""
        return self.license_plan_id is not None and self.quantity <= self.included

    def __str__(self) -> str:
        return f"{self.feature} of {self.subscription_id}"


class VacatedSeat(models.Model):
    """A paid seat whose holder left and that is kept until the renewal; the next entity takes it without charge."""

    item = models.ForeignKey(SubscriptionItem, models.CASCADE, related_name="vacated_seats")
    leaver = models.ForeignKey(Entity, models.SET_NULL, null=True, blank=True, related_name="+")
    vacated_at = models.DateTimeField()
    taken_by = models.ForeignKey(Entity, models.SET_NULL, null=True, blank=True, related_name="+")
    closed_at = models.DateTimeField(null=True, blank=True, help_text="When it was taken or dropped at a renewal.")

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["item", "id"], condition=Q(closed_at=None), name="vacated_seat_open"),
        ]

    def __str__(self) -> str:
        return f"Seat vacated by {self.leaver}"
