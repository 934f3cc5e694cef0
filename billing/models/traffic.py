"""A picture of what was asked: how many checks there were, and who was refused. No books: nothing is paid by it."""

from typing import ClassVar

from django.db import models
from django.db.models.functions import Coalesce

from entities.models import Customer, Entity
from plans.models import QUANTITY, Feature


class CheckTally(models.Model):
    """How many checks of a feature were answered in one hour, and how."""

    # What is counted must not stand in the way of what goes, nor fail when it is gone: no constraint.
    feature = models.ForeignKey(Feature, models.CASCADE, db_constraint=False, related_name="+")
    hour = models.DateTimeField(help_text="Its beginning, UTC, by the wall clock.")
    allowed = models.BooleanField()
    count = models.PositiveBigIntegerField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["hour", "feature", "allowed"], name="check_tally_once_per_hour"),
        ]

    def __str__(self) -> str:
        return f"{self.count} checks of {self.feature} {'allowed' if self.allowed else 'refused'}"


class Refusal(models.Model):
    """A customer or an entity was told no: how often within one hour, and what the last time looked like."""

    customer = models.ForeignKey(Customer, models.CASCADE, db_constraint=False, db_index=False, related_name="+")
    entity = models.ForeignKey(
        Entity, models.CASCADE, db_constraint=False, db_index=False, related_name="+", null=True, blank=True
    )
    feature = models.ForeignKey(Feature, models.CASCADE, db_constraint=False, db_index=False, related_name="+")
    hour = models.DateTimeField(help_text="Its beginning, UTC, by the wall clock.")
    count = models.PositiveBigIntegerField()
    last_at = models.DateTimeField()
    required = models.DecimalField(**QUANTITY, help_text="What was asked for the last time.")
    remaining = models.DecimalField(**QUANTITY, null=True, help_text="What was left then; empty: held no such feature.")
    paid_by = models.ForeignKey(
        Feature,
        models.CASCADE,
        db_constraint=False,
        db_index=False,
        related_name="+",
        null=True,
        blank=True,
        help_text="Whose units were left: those of the feature itself, or of the credits that pay for it.",
    )

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                "customer_id", Coalesce("entity_id", 0), "feature_id", "hour", name="refusal_once_per_hour"
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["-last_at"], name="refusal_newest_first"),  # home, and what is pruned
            models.Index(fields=["entity", "-last_at"], name="refusal_by_entity"),
            models.Index(fields=["customer", "-last_at"], name="refusal_by_customer"),
        ]

    def __str__(self) -> str:
        return f"{self.entity or self.customer} was refused {self.feature} {self.count} times"
