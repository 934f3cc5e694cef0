"""Holds: quantities set aside by a check with a lock until they are confirmed, released or expire."""

from typing import ClassVar

from django.db import models
from django.db.models import Q

from billing.models.balances import Balance
from entities.models import Customer, Entity
from plans.models import QUANTITY, Feature


class Hold(models.Model):
    """A quantity set aside under the application's lock id, in the scope it was taken in."""

    class Status(models.TextChoices):
        HELD = "held", "Held"
        CONFIRMED = "confirmed", "Confirmed"
        RELEASED = "released", "Released"
        EXPIRED = "expired", "Expired"

    lock_id = models.CharField(max_length=256)
    customer = models.ForeignKey(Customer, models.CASCADE, related_name="holds")
    entity = models.ForeignKey(Entity, models.SET_NULL, null=True, blank=True, related_name="holds")
    feature = models.ForeignKey(Feature, models.PROTECT, related_name="+")
    value = models.DecimalField(**QUANTITY, help_text="In units of the feature, as asked for.")
    status = models.CharField(max_length=20, choices=Status, default=Status.HELD)
    properties = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True, blank=True, help_text="Released by itself from then on.")
    finalized_at = models.DateTimeField(null=True, blank=True)
    final_value = models.DecimalField(**QUANTITY, null=True, blank=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["lock_id"], name="hold_once_per_lock_id", violation_error_message="This lock id is taken."
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["expires_at"], condition=Q(status="held"), name="hold_due_to_expire"),
            models.Index(fields=["customer", "status"], name="hold_by_customer"),
        ]

    def __str__(self) -> str:
        return self.lock_id


class HoldPart(models.Model):
    """What a hold took from one balance, in the order taken: given back last in, first out."""

    hold = models.ForeignKey(Hold, models.CASCADE, related_name="parts")
    balance = models.ForeignKey(Balance, models.CASCADE, related_name="hold_parts")
    position = models.PositiveIntegerField()
    amount = models.DecimalField(**QUANTITY, help_text="In units of the balance (credits where a credit system paid).")
    units = models.DecimalField(**QUANTITY, help_text="In units of the held feature.")
    cleared_at = models.DateTimeField(
        null=True, blank=True, help_text="When a reset cleared it: nothing of it is held any more."
    )

    class Meta:
        ordering: ClassVar = ["position"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["hold", "position"], name="hold_part_once_per_position"),
        ]
        indexes: ClassVar = [models.Index(fields=["balance"], name="hold_part_by_balance")]

    def __str__(self) -> str:
        return f"{self.amount} of {self.balance_id}"
