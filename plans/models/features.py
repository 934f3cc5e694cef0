"""Features: what can be granted and used, and what a unit costs in credits."""

from datetime import datetime
from typing import ClassVar, TypedDict

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q


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
