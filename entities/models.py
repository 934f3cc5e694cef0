"""Customers, and the entities (seats, users, workspaces, projects) beneath them."""

from datetime import datetime
from typing import ClassVar

from django.db import models
from django.db.models import Q

from plans.models import Feature


class CustomerQuerySet(models.QuerySet["Customer"]):
    def live(self) -> "CustomerQuerySet":
        return self.filter(deleted_at=None)

    def locked(self) -> "CustomerQuerySet":
        """Rows held until the transaction ends: whatever changes a customer's plans, seats or clock queues here."""
        return self.select_for_update(no_key=True)


class Customer(models.Model):
    """Who pays: a person or company with plans of its own and entities beneath it."""

    external_id = models.CharField("customer id", max_length=255, help_text="Given by the application; unique.")
    name = models.CharField(max_length=255, blank=True, default="")
    email = models.CharField(max_length=320, blank=True, default="")
    fingerprint = models.CharField(
        max_length=255,
        blank=True,
        default="",
        help_text="Recognises the same person behind several customers (trials).",
    )
    processor_id = models.CharField(max_length=255, blank=True, default="", help_text="Id at the payment processor.")
    currency = models.CharField(max_length=3, blank=True, default="", help_text="Locked by the first invoice.")
    send_email_receipts = models.BooleanField(default=False)
    disable_pooled_balance = models.BooleanField(
        default=False,
        help_text="An entity that has a balance of its own for a feature does not fall back on the shared one.",
    )
    disable_overage_billing = models.BooleanField(default=False)
    billing_controls = models.JSONField(default=dict, blank=True)
    metadata = models.JSONField(default=dict, blank=True)
    billing_cycle_anchor = models.DateTimeField(
        null=True,
        blank=True,
        help_text="Set by the first paid plan in any scope; later subscriptions count their cycles from it.",
    )
    clock_at = models.DateTimeField(
        "test clock", null=True, blank=True, help_text="Sandbox only: this customer's present, turned forward by hand."
    )
    created_at = models.DateTimeField()
    deleted_at = models.DateTimeField(
        null=True, blank=True, help_text="A deleted customer keeps its invoices and ledger, and frees its id."
    )

    objects = CustomerQuerySet.as_manager()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["external_id"],
                condition=Q(deleted_at=None),
                name="customer_one_live_per_id",
                violation_error_message="There is a customer with that id already.",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["-created_at", "-id"], name="customer_newest_first"),
            models.Index(fields=["fingerprint"], condition=~Q(fingerprint=""), name="customer_fingerprint"),
            models.Index(fields=["processor_id"], condition=~Q(processor_id=""), name="customer_processor_id"),
        ]

    def __str__(self) -> str:
        return self.name or self.external_id

    def now(self, wall: datetime) -> datetime:
        """This customer's present: its test clock if it has one, else the wall clock."""
        return self.clock_at or wall


class EntityQuerySet(models.QuerySet["Entity"]):
    def live(self) -> "EntityQuerySet":
        return self.filter(deleted_at=None)

    def oldest_first(self) -> "EntityQuerySet":
        """Creation order: the order in which customer-level usage is taken (seed: sub-entity balances)."""
        return self.order_by("pk")


class Entity(models.Model):
    """A seat, user, workspace or project of a customer; a deleted one keeps its history and frees its id."""

    customer = models.ForeignKey(Customer, models.CASCADE, related_name="entities")
    external_id = models.CharField(
        "entity id", max_length=255, help_text="Given by the application; unique per customer."
    )
    name = models.CharField(max_length=255, blank=True, default="")
    feature = models.ForeignKey(
        Feature, models.PROTECT, related_name="entities", help_text="What it counts as: seats, …"
    )
    billing_controls = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField()
    deleted_at = models.DateTimeField(null=True, blank=True)

    objects = EntityQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "entities"
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["customer", "external_id"],
                condition=Q(deleted_at=None),
                name="entity_one_live_per_id",
                violation_error_message="This customer already has an entity with that id.",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["customer", "id"], condition=Q(deleted_at=None), name="entity_live_oldest_first"),
            models.Index(fields=["external_id"], condition=Q(deleted_at=None), name="entity_live_by_id"),
        ]

    def __str__(self) -> str:
        return self.name or self.external_id
