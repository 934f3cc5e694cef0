"""Sums over what the entities of a customer hold, so that nobody has to read ten thousand rows to know the total."""

from typing import ClassVar

from django.db import models

from billing.models.balances import Balance
from plans.models import QUANTITY


class BalanceTally(models.Model):
    """One summand of a customer's total of the entities' balances that are of one kind (the fields before `count`).

    A trigger of the database adds a row whenever such a balance comes, moves or goes, so nobody waits for a row that
    all entities share; now and then it replaces a customer's rows by their sums. The total is the sum of all rows.
    """

    customer_id = models.BigIntegerField()
    feature_id = models.BigIntegerField()
    level = models.CharField(max_length=10, choices=Balance.Level)
    item_id = models.BigIntegerField(null=True, blank=True, help_text="Of slices; what entities own is one kind.")
    is_rollover = models.BooleanField()
    expires_at = models.DateTimeField(null=True, blank=True)
    unlimited = models.BooleanField()
    allows_overage = models.BooleanField()
    max_overage = models.DecimalField(**QUANTITY, null=True, blank=True)
    count = models.BigIntegerField()
    prepaid = models.DecimalField(**QUANTITY)
    granted = models.DecimalField(**QUANTITY)
    usage = models.DecimalField(**QUANTITY)
    held = models.DecimalField(**QUANTITY)
    expired = models.DecimalField(**QUANTITY)
    remaining = models.DecimalField(**QUANTITY, help_text="Each balance floored at 0.")

    class Meta:
        verbose_name_plural = "balance tallies"
        indexes: ClassVar = [
            # A customer's check of one feature, and of all. With the key in it rows come in order, which keeps
            # PostgreSQL from a bitmap scan: that would visit folded rows again and again until they are vacuumed.
            models.Index(fields=["customer_id", "feature_id", "id"], name="tally_by_customer"),
        ]

    def __str__(self) -> str:
        return f"{self.count} balances of customer {self.customer_id}"
