"""The catalogue: features, plans in versions, and the items of a plan."""

from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar, TypedDict

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q

from plans.intervals import Interval, IntervalUnit


class _Digits(TypedDict):
    max_digits: int
    decimal_places: int


# The columns of quantities and money: 20 digits before the point, 10 after.
QUANTITY: _Digits = {"max_digits": 30, "decimal_places": 10}


class FeatureQuerySet(models.QuerySet["Feature"]):
    def live(self) -> "FeatureQuerySet":
        """Features that new plans may use."""
        return self.filter(archived_at=None)

    def listening_to(self, event_name: str) -> "FeatureQuerySet":
        """Metered features that a track of `event_name` fans out to."""
        return self.filter(type=Feature.Type.METERED, event_names__contains=[event_name])

    def with_credit_costs(self) -> "FeatureQuerySet":
        costs = CreditCost.objects.select_related("metered_feature")
        return self.prefetch_related(models.Prefetch("credit_costs", costs))


_FeatureManager = models.Manager.from_queryset(FeatureQuerySet)


class FeatureManager(_FeatureManager["Feature"]):
    """What a catalogue knows: without the deleted, which only history refers to, and without counts of licences."""

    def get_queryset(self) -> FeatureQuerySet:
        rows = FeatureQuerySet(self.model, using=self._db)
        return rows.filter(deleted_at=None).exclude(type=Feature.Type.LICENSE)

    def counting(self, plan_id: str, name: str, *, at: datetime) -> "Feature":
        """The feature that counts the licences of a plan."""
        feature, _ = FeatureQuerySet(self.model, using=self._db).get_or_create(
            slug=f"license:{plan_id}",
            type=Feature.Type.LICENSE,
            deleted_at=None,
            defaults={"name": name, "created_at": at},
        )
        if feature.name != name:
            feature.name = name
            feature.save(update_fields=["name"])
        return feature


class Feature(models.Model):
    """Something a plan grants: a switch, a metered quantity, or credits that pay for metered quantities."""

    class Type(models.TextChoices):
        BOOLEAN = "boolean", "Boolean"
        METERED = "metered", "Metered"
        CREDIT_SYSTEM = "credit_system", "Credit system"
        AI_CREDIT_SYSTEM = "ai_credit_system", "AI credit system"
        LICENSE = "license", "Licences (kept by the system: how many of a plan are bought and assigned)"

    slug = models.CharField("feature id", max_length=120, help_text="Used by applications; never changes.")
    name = models.CharField(max_length=200)
    type = models.CharField(max_length=20, choices=Type, default=Type.METERED)
    consumable = models.BooleanField(
        default=False,
        help_text="Usage is spent and comes back with a reset. Off: a standing count, such as seats.",
    )
    event_names = ArrayField(
        models.CharField(max_length=200),
        default=list,
        blank=True,
        help_text="Events that count as usage of this feature.",
    )
    display_singular = models.CharField(max_length=100, blank=True, default="")
    display_plural = models.CharField(max_length=100, blank=True, default="")
    created_at = models.DateTimeField()
    archived_at = models.DateTimeField(null=True, blank=True, help_text="Set: hidden from new plans, balances live on.")
    deleted_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = FeatureManager()

    class Meta:
        ordering: ClassVar = ["slug"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["slug"],
                condition=Q(deleted_at=None) & ~Q(type="license"),
                name="feature_one_live_per_id",
                violation_error_message="There is a feature with that id already.",
            ),
            models.UniqueConstraint(
                fields=["slug"],
                condition=Q(deleted_at=None, type="license"),
                name="feature_one_count_of_licenses_per_plan",
                violation_error_message="The licences of that plan are counted already.",
            ),
            models.CheckConstraint(
                condition=Q(consumable=False) | ~Q(type="boolean"),
                name="feature_boolean_is_not_consumable",
                violation_error_message="A boolean feature cannot be consumable.",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_credit_system(self) -> bool:
        return self.type in (self.Type.CREDIT_SYSTEM, self.Type.AI_CREDIT_SYSTEM)

    @property
    def is_allocated(self) -> bool:
        """A standing count, such as seats: it never resets, and only such features can have entities."""
        return self.type in (self.Type.METERED, self.Type.LICENSE) and not self.consumable


class CreditCost(models.Model):
    """What one unit of a metered feature costs in credits."""

    credit_system = models.ForeignKey(Feature, models.CASCADE, related_name="credit_costs")
    metered_feature = models.ForeignKey(Feature, models.PROTECT, related_name="paid_by")
    cost = models.DecimalField(**QUANTITY, help_text="Credits for one unit.")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["credit_system", "metered_feature"],
                name="credit_cost_once_per_feature",
                violation_error_message="This credit system already has a cost for that feature.",
            ),
            models.CheckConstraint(
                condition=Q(cost__gt=0),
                name="credit_cost_positive",
                violation_error_message="A credit cost must be above 0.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.metered_feature} costs {self.cost} {self.credit_system}"


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


class PlanQuerySet(models.QuerySet["Plan"]):
    def newest(self) -> "PlanQuerySet":
        """The latest version of each plan."""
        return self.filter(is_latest=True)

    def live(self) -> "PlanQuerySet":
        """Plans that can be attached."""
        return self.filter(is_latest=True, archived_at=None)

    def enabled_for_new_customers(self) -> "PlanQuerySet":
        """Plans attached when a customer is created, one per group."""
        return self.live().filter(auto_enable=True)

    def with_items(self) -> "PlanQuerySet":
        """With what a version consists of: its items, and the licences it offers."""
        items = PlanItem.objects.select_related("feature", "entity_feature").order_by("position", "pk")
        licenses = PlanLicense.objects.with_newest_version()
        return self.prefetch_related(models.Prefetch("items", items), models.Prefetch("licenses", licenses))


_PlanManager = models.Manager.from_queryset(PlanQuerySet)


class PlanManager(_PlanManager["Plan"]):
    """Without the deleted: those are kept only for the history that refers to them, and their ids are free."""

    def get_queryset(self) -> PlanQuerySet:
        return PlanQuerySet(self.model, using=self._db).filter(deleted_at=None)


class Plan(BasePrice):
    """One version of a plan. A version that a customer has held is never edited: an edit makes the next version."""

    class TrialUnit(models.TextChoices):
        DAY = "day", "days"
        MONTH = "month", "months"
        YEAR = "year", "years"

    class TrialEnd(models.TextChoices):
        BILL = "bill", "Charge and go on"
        REVERT = "revert", "Return to the plan before"

    slug = models.CharField("plan id", max_length=100, help_text="Used by applications; the same for all versions.")
    version = models.PositiveIntegerField(default=1)
    is_latest = models.BooleanField(default=True, help_text="The version that a new attach gets.")
    name = models.CharField(max_length=200)
    description = models.TextField(blank=True, default="")
    group = models.CharField(
        max_length=100,
        blank=True,
        default="",
        help_text="A customer or entity holds at most one main plan of a group.",
    )
    is_add_on = models.BooleanField(
        "add-on", default=False, help_text="Stands beside the main plan and replaces nothing."
    )
    auto_enable = models.BooleanField(default=False, help_text="Attached when a customer is created.")
    trial_length = models.PositiveIntegerField(null=True, blank=True, help_text="Empty: no free trial.")
    trial_unit = models.CharField(max_length=10, choices=TrialUnit, blank=True, default="")
    trial_card_required = models.BooleanField(default=True)
    trial_on_end = models.CharField(max_length=10, choices=TrialEnd, default=TrialEnd.BILL)
    billing_controls = models.JSONField(default=dict, blank=True, help_text="Defaults for those who hold the plan.")
    metadata = models.JSONField(default=dict, blank=True)
    ignore_past_due = models.BooleanField(default=False)
    created_at = models.DateTimeField()
    archived_at = models.DateTimeField(null=True, blank=True, help_text="Set: cannot be attached any more.")

    deleted_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = PlanManager()

    class Meta:
        ordering: ClassVar = ["slug", "-version"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["slug", "version"],
                condition=Q(deleted_at=None),
                name="plan_version_once",
                violation_error_message="This plan already has a version with that number.",
            ),
            models.UniqueConstraint(
                fields=["slug"],
                condition=Q(is_latest=True, deleted_at=None),
                name="plan_one_latest_version",
                violation_error_message="A plan has one latest version.",
            ),
            models.CheckConstraint(
                condition=Q(price_amount=None) | Q(price_amount__gte=0),
                name="plan_price_not_negative",
                violation_error_message="A price cannot be below 0.",
            ),
        ]

    def __str__(self) -> str:
        return self.name if self.version == 1 else f"{self.name} v{self.version}"


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


class PlanItem(ItemTerms):
    """What one version of a plan grants of one feature, and what it costs."""

    plan = models.ForeignKey(Plan, models.CASCADE, related_name="items")

    class Meta:
        ordering: ClassVar = ["position", "pk"]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(included__gte=0),
                name="plan_item_included_not_negative",
                violation_error_message="The included quantity cannot be below 0.",
            ),
            models.CheckConstraint(
                condition=Q(billing_units__gt=0),
                name="plan_item_billing_units_positive",
                violation_error_message="Billing units must be above 0.",
            ),
            models.CheckConstraint(
                condition=Q(entity_feature=None) | ~Q(entity_feature=F("feature")),
                name="plan_item_not_per_itself",
                violation_error_message="A feature cannot be granted per entity of itself.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.plan}: {self.feature}"


class PlanLicenseQuerySet(models.QuerySet["PlanLicense"]):
    def with_newest_version(self) -> "PlanLicenseQuerySet":
        """Each with `newest_version`, the version of its plan that new holders get."""
        newest = Plan.objects.newest().filter(slug=models.OuterRef("license_slug")).values("version")
        return self.annotate(newest_version=models.Subquery(newest[:1])).order_by("position", "pk")


class PlanLicense(models.Model):
    """Another plan that one version of a plan offers as a licence: so many included, more can be bought at its price.

    A holder of the plan has a pool of them to assign to entities. The licence follows its plan: new holders get the
    newest version, those who hold it keep theirs.
    """

    plan = models.ForeignKey(Plan, models.CASCADE, related_name="licenses")
    license_slug = models.CharField("license plan id", max_length=100, help_text="What one licence gives an entity.")
    position = models.PositiveSmallIntegerField(default=0)
    included = models.PositiveIntegerField(default=1, help_text="Licences that cost nothing extra.")
    customize = models.JSONField(
        default=dict, blank=True, help_text="Where the licence differs from its plan: price, items added and removed."
    )
    metadata = models.JSONField(default=dict, blank=True)

    objects = PlanLicenseQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["position", "pk"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["plan", "license_slug"],
                name="plan_license_once_per_plan",
                violation_error_message="This plan offers that licence already.",
            ),
        ]
        indexes: ClassVar = [models.Index(fields=["license_slug"], name="plan_license_by_license")]

    def __str__(self) -> str:
        return f"{self.license_slug} under {self.plan}"
