"""Rewards that can be given: coupons and granted features, the codes that stand for them, and what customers got."""

from datetime import datetime
from decimal import Decimal
from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Upper

from entities.models import Customer, Entity
from plans import wording
from plans.intervals import Interval, IntervalUnit, boundary
from plans.models import QUANTITY, Feature


class DiscountTerms(models.Model):
    """What a coupon takes off, of which plans, and for how long; abstract."""

    class Type(models.TextChoices):
        PERCENTAGE = "percentage_discount", "Percentage off"
        FIXED = "fixed_discount", "Amount off each invoice"
        FEATURES = "feature_grant", "Granted features"

    class Duration(models.TextChoices):
        ONE_OFF = "one_off", "One invoice"
        MONTHS = "months", "Months"
        FOREVER = "forever", "As long as the plan is held"

    name = models.CharField(max_length=200)
    type = models.CharField(max_length=30, choices=Type)
    value = models.DecimalField(
        **QUANTITY, default=Decimal(0), help_text="Percent, or an amount in the currency that customers pay in."
    )
    duration = models.CharField(max_length=10, choices=Duration, default=Duration.ONE_OFF)
    duration_months = models.PositiveSmallIntegerField(null=True, blank=True, help_text="For a number of months only.")
    plan_ids = ArrayField(
        models.CharField(max_length=100), default=list, blank=True, help_text="Plans that it is for; empty: all."
    )

    class Meta:
        abstract = True

    def takes_off(self, currency: str) -> str:
        """What it takes off: `20% off`, `$10 off`."""
        if self.type == self.Type.PERCENTAGE:
            return f"{wording.number(self.value)}% off"
        return f"{wording.money(self.value, currency)} off"

    @property
    def months(self) -> Interval | None:
        """How long it lasts, where that is a time."""
        return Interval(IntervalUnit.MONTH, self.duration_months) if self.duration_months else None


class RewardQuerySet(models.QuerySet["Reward"]):
    def live(self) -> "RewardQuerySet":
        return self.filter(deleted_at=None)

    def with_parts(self) -> "RewardQuerySet":
        """With their codes and granted features, oldest first."""
        return self.prefetch_related("codes", "grants__feature").order_by("created_at", "pk")


class Reward(DiscountTerms):
    """A coupon, or features granted to whoever enters a code. What customers got from it stays when it is deleted."""

    slug = models.CharField("reward id", max_length=255, help_text="Used by applications; never changes.")
    created_at = models.DateTimeField()
    deleted_at = models.DateTimeField(null=True, blank=True)

    objects = RewardQuerySet.as_manager()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["slug"],
                condition=Q(deleted_at=None),
                name="reward_one_live_per_id",
                violation_error_message="There is a reward with that id already.",
            ),
            models.CheckConstraint(
                condition=Q(type="feature_grant")
                | (Q(value__gt=0) & (~Q(type="percentage_discount") | Q(value__lte=100))),
                name="reward_value_in_range",
                violation_error_message="A discount is above 0, and at most 100 where it is a percentage.",
            ),
        ]

    def __str__(self) -> str:
        return self.name or self.slug

    @property
    def is_coupon(self) -> bool:
        return self.type != self.Type.FEATURES


class RewardCode(models.Model):
    """A code that customers enter for a reward; upper and lower case are the same."""

    reward = models.ForeignKey(Reward, models.CASCADE, related_name="codes")
    code = models.CharField(max_length=100)
    most_redemptions = models.PositiveIntegerField(null=True, blank=True, help_text="Empty: no bound.")
    is_for_first_purchase = models.BooleanField(
        default=False, help_text="Only for customers who have paid for nothing yet."
    )
    redeemed = models.PositiveIntegerField(default=0)

    class Meta:
        ordering: ClassVar = ["pk"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                Upper("code"), name="reward_code_once", violation_error_message="That code stands for a reward already."
            ),
            models.CheckConstraint(
                condition=Q(most_redemptions=None) | Q(redeemed__lte=F("most_redemptions")),
                name="reward_code_not_overused",
                violation_error_message="That code was used as often as it can be.",
            ),
        ]

    def __str__(self) -> str:
        return self.code

    @property
    def is_used_up(self) -> bool:
        return self.most_redemptions is not None and self.redeemed >= self.most_redemptions


class RewardGrant(models.Model):
    """So much of a feature, granted to whoever redeems the reward."""

    reward = models.ForeignKey(Reward, models.CASCADE, related_name="grants")
    feature = models.ForeignKey(Feature, models.PROTECT, related_name="+")
    included = models.DecimalField(**QUANTITY, null=True, blank=True, help_text="Empty for a switch.")
    expiry_unit = models.CharField(max_length=20, choices=IntervalUnit, blank=True, default="")
    expiry_count = models.PositiveSmallIntegerField(default=1)

    class Meta:
        ordering: ClassVar = ["pk"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["reward", "feature"],
                name="reward_grants_a_feature_once",
                violation_error_message="This reward grants that feature already.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.feature} from {self.reward_id}"


class RewardRedemption(models.Model):
    """That a customer was granted a reward's features: once each."""

    reward = models.ForeignKey(Reward, models.PROTECT, related_name="redemptions")
    code = models.ForeignKey(RewardCode, models.SET_NULL, null=True, blank=True, related_name="+")
    customer = models.ForeignKey(Customer, models.CASCADE, related_name="reward_redemptions")
    at = models.DateTimeField(help_text="In the customer's time.")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["reward", "customer"],
                name="reward_redeemed_once_per_customer",
                violation_error_message="This customer has that reward already.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.reward} for {self.customer}"


class DiscountQuerySet(models.QuerySet["Discount"]):
    def running(self, at: datetime) -> "DiscountQuerySet":
        """Those that lower an invoice of that instant, in the order in which they were given."""
        ended = Q(ended_at=None) | Q(ended_at__gt=at)
        lapsed = Q(ends_at=None) | Q(ends_at__gt=at)
        return self.filter(ended, lapsed, starts_at__lte=at).order_by("pk")


class Discount(DiscountTerms):
    """A coupon that a customer has, with its terms copied: it lowers what the plans of one scope cost.

    It lives in the scope (the customer, or one entity), not on one plan: an upgrade keeps it. It ends when it is used
    up, taken away, or the scope's last paid plan ends.
    """

    customer = models.ForeignKey(Customer, models.CASCADE, related_name="discounts")
    entity = models.ForeignKey(Entity, models.CASCADE, null=True, blank=True, related_name="discounts")
    covers_entities = models.BooleanField(
        default=False, help_text="Redeemed by the customer: for its own plans and for those of its entities."
    )
    reward = models.ForeignKey(Reward, models.SET_NULL, null=True, blank=True, related_name="discounts")
    reward_slug = models.CharField(max_length=255, help_text="As it was when the discount was given.")
    code = models.ForeignKey(RewardCode, models.SET_NULL, null=True, blank=True, related_name="discounts")
    starts_at = models.DateTimeField(help_text="What was used before is not lowered.")
    ends_at = models.DateTimeField(null=True, blank=True, help_text="Invoices from then on are not lowered.")
    ended_at = models.DateTimeField(null=True, blank=True, help_text="When it was used up, taken away or had no plan.")

    objects = DiscountQuerySet.as_manager()

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(covers_entities=False) | Q(entity=None),
                name="discount_for_all_belongs_to_customer",
                violation_error_message="A discount for everything belongs to no entity.",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["customer"], condition=Q(ended_at=None), name="discount_running"),
        ]

    def __str__(self) -> str:
        return self.name

    def lasts_at(self, at: datetime) -> bool:
        """Whether an invoice of that instant is lowered, as `DiscountQuerySet.running` says it in SQL."""
        return (
            self.starts_at <= at
            and (self.ends_at is None or self.ends_at > at)
            and (self.ended_at is None or self.ended_at > at)
        )

    @classmethod
    def given(
        cls,
        reward: Reward,
        *,
        customer: Customer,
        entity: Entity | None,
        starts_at: datetime,
        code: RewardCode | None = None,
        covers_entities: bool = False,
    ) -> "Discount":
        """The reward as a customer has it from `starts_at` on, unsaved."""
        months = reward.months
        return cls(
            customer=customer,
            entity=entity,
            covers_entities=covers_entities,
            reward=reward,
            reward_slug=reward.slug,
            code=code,
            name=reward.name,
            type=reward.type,
            value=reward.value,
            duration=reward.duration,
            duration_months=reward.duration_months,
            plan_ids=list(reward.plan_ids),
            starts_at=starts_at,
            ends_at=boundary(starts_at, months, 1) if months is not None else None,
        )
