"""What plans and the subscriptions made from them have in common: a base price, and items with grant and price."""

from decimal import Decimal
from typing import Any, ClassVar

from django.db import models

from plans.intervals import Interval, IntervalUnit
from plans.models.features import QUANTITY, Feature


class BasePrice(models.Model):
    """A fixed price per interval, paid in advance; abstract, shared by plans and the subscriptions made from them."""

    price_amount = models.DecimalField(
        **QUANTITY,
        null=True,
        blank=True,
        help_text="In major units of the currency (30 is thirty dollars). Empty: none.",
    )
    price_interval = models.CharField(max_length=20, choices=IntervalUnit, blank=True, default="")
    price_interval_count = models.PositiveSmallIntegerField(default=1)

    class Meta:
        abstract = True

    @property
    def base_interval(self) -> Interval | None:
        """How often the base price recurs; None without a base price or when it is paid once."""
        return Interval.of(self.price_interval, self.price_interval_count)


class ItemTerms(models.Model):
    """What is granted of one feature and what more of it costs; abstract, shared by plan and subscription items."""

    class BillingMethod(models.TextChoices):
        PREPAID = "prepaid", "Prepaid: a quantity is chosen and paid in advance"
        USAGE_BASED = "usage_based", "Usage-based: what is used beyond the grant is billed afterwards"

    class TierBehavior(models.TextChoices):
        GRADUATED = "graduated", "Graduated: each tier's units at its own price"
        VOLUME = "volume", "Volume: all units at the price of the tier reached"

    class OnIncrease(models.TextChoices):
        BILL_IMMEDIATELY = "bill_immediately", "Bill in full now"
        PRORATE_IMMEDIATELY = "prorate_immediately", "Bill the rest of the cycle now"
        PRORATE_NEXT_CYCLE = "prorate_next_cycle", "Bill the rest of the cycle with the next invoice"
        BILL_NEXT_CYCLE = "bill_next_cycle", "Bill from the next cycle on"

    class OnDecrease(models.TextChoices):
        PRORATE = "prorate", "Credit the rest of the cycle now"
        PRORATE_IMMEDIATELY = "prorate_immediately", "Credit the rest of the cycle immediately"
        PRORATE_NEXT_CYCLE = "prorate_next_cycle", "Credit the rest of the cycle with the next invoice"
        NONE = "none", "No credit; what is paid for stays until the renewal"
        NO_PRORATIONS = "no_prorations", "No credit"

    class RolloverExpiry(models.TextChoices):
        MONTH = "month", "after some months"
        FOREVER = "forever", "never"

    feature = models.ForeignKey(Feature, models.PROTECT, related_name="+")
    entity_feature = models.ForeignKey(
        Feature,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        help_text="Set: every entity of that feature gets its own grant. Empty: the holder has one.",
    )
    position = models.PositiveSmallIntegerField(default=0)
    included = models.DecimalField(**QUANTITY, default=Decimal(0))
    unlimited = models.BooleanField(default=False)
    pooled = models.BooleanField(default=False, help_text="What entities are granted adds to one shared balance.")
    reset_interval = models.CharField(max_length=20, choices=IntervalUnit, blank=True, default="")
    reset_interval_count = models.PositiveSmallIntegerField(default=1)
    price_amount = models.DecimalField(
        **QUANTITY, null=True, blank=True, help_text="Per billing units, in major units."
    )
    tiers = models.JSONField(
        default=list,
        blank=True,
        help_text='[{"to": "100" or "inf", "amount": "0.5", "flat_amount": "0"}], decimals as text.',
    )
    tier_behavior = models.CharField(max_length=20, choices=TierBehavior, blank=True, default="")
    price_interval = models.CharField(max_length=20, choices=IntervalUnit, blank=True, default="")
    price_interval_count = models.PositiveSmallIntegerField(default=1)
    billing_units = models.DecimalField(**QUANTITY, default=Decimal(1))
    billing_method = models.CharField(max_length=20, choices=BillingMethod, blank=True, default="")
    max_purchase = models.DecimalField(
        **QUANTITY, null=True, blank=True, help_text="Most units beyond the included ones."
    )
    on_increase = models.CharField(max_length=30, choices=OnIncrease, blank=True, default="")
    on_decrease = models.CharField(max_length=30, choices=OnDecrease, blank=True, default="")
    has_rollover = models.BooleanField(default=False)
    rollover_max = models.DecimalField(**QUANTITY, null=True, blank=True)
    rollover_max_percentage = models.DecimalField(max_digits=6, decimal_places=2, null=True, blank=True)
    rollover_expiry = models.CharField(max_length=10, choices=RolloverExpiry, blank=True, default="")
    rollover_expiry_length = models.PositiveSmallIntegerField(default=1)

    class Meta:
        abstract = True

    TERMS: ClassVar[tuple[str, ...]] = (
        "feature_id", "entity_feature_id", "position", "included", "unlimited", "pooled", "reset_interval",
        "reset_interval_count", "price_amount", "tiers", "tier_behavior", "price_interval", "price_interval_count",
        "billing_units", "billing_method", "max_purchase", "on_increase", "on_decrease", "has_rollover", "rollover_max",
        "rollover_max_percentage", "rollover_expiry", "rollover_expiry_length",
    )  # fmt: skip

    def terms(self) -> dict[str, Any]:
        """The terms by field name, to copy onto another item."""
        return {name: getattr(self, name) for name in self.TERMS}

    @property
    def is_priced(self) -> bool:
        return bool(self.billing_method)

    @property
    def is_unsold(self) -> bool:
        """Has a price that costs nothing as long as none is bought."""
        return False

    @property
    def is_prepaid(self) -> bool:
        return self.billing_method == self.BillingMethod.PREPAID

    @property
    def is_usage_based(self) -> bool:
        return self.billing_method == self.BillingMethod.USAGE_BASED

    @property
    def bills_seats_at_once(self) -> bool:
        """Seats whose changes are invoiced when they happen; without proration settings they are billed in arrears."""
        return self.is_usage_based and self.feature.is_allocated and bool(self.on_increase or self.on_decrease)

    @property
    def reset_every(self) -> Interval | None:
        """How often the balance refills; None when it never does."""
        return Interval.of(self.reset_interval, self.reset_interval_count)

    @property
    def billed_every(self) -> Interval | None:
        """How often the price recurs; None without a price or when it is paid once."""
        return Interval.of(self.price_interval, self.price_interval_count)
