"""Plans in versions, what a version grants, and which plans it offers as licences for entities."""

from typing import ClassVar

from django.db import models
from django.db.models import F, Q

from plans.models.terms import BasePrice, ItemTerms


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
