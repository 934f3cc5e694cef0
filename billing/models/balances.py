"""Balances, the append-only ledger that explains them, usage events and the counters behind usage limits."""

from datetime import datetime
from decimal import Decimal
from typing import ClassVar

from django.db import models
from django.db.models import F, Q

from billing.models.subscriptions import Subscription, SubscriptionItem
from entities.models import Customer, Entity
from plans.intervals import Interval, IntervalUnit
from plans.models import QUANTITY, Feature


class BalanceQuerySet(models.QuerySet["Balance"]):
    def live(self, at: datetime) -> "BalanceQuerySet":
        """Balances that count now: neither ended with their plan or entity nor expired."""
        return self.filter(Q(expires_at=None) | Q(expires_at__gt=at), ended_at=None)

    def due(self, at: datetime) -> "BalanceQuerySet":
        """Balances whose refill is due."""
        return self.refilled().filter(next_reset_at__lte=at)

    def refilled(self) -> "BalanceQuerySet":
        """Balances that their next boundary refills (spec balances 10.6): a plan that ends there does not, nor one that
        is past due, unless it says so or an invoice sells what is used."""
        goes_on = Q(subscription__ends_at=None) | Q(subscription__ends_at__gt=F("next_reset_at"))
        is_paid = ~Q(subscription__status=Subscription.Status.PAST_DUE) | Q(subscription__plan__ignore_past_due=True)
        is_sold = Q(allows_overage=True) | Q(is_prepaid=True)
        return self.filter(Q(subscription=None) | (goes_on & (is_paid | is_sold)), ended_at=None)


class Balance(models.Model):
    """One source of one feature for a customer or one of its entities: the row both seed stories end in.

    `granted`, `usage`, `held` and `expired` describe the present period and are changed only together with a ledger
    entry carrying the same deltas, so the entries of a balance always sum to its row (decisions 9).
    """

    class Level(models.TextChoices):
        POOL = "pool", "Shared: the customer and all its entities"
        SLICE = "slice", "An entity's share of a customer plan"
        OWN = "own", "An entity's own"

    public_id = models.CharField(
        max_length=255, blank=True, default="", help_text="Given by the application, or empty."
    )
    customer = models.ForeignKey(Customer, models.CASCADE, related_name="balances", db_index=False)
    entity = models.ForeignKey(Entity, models.CASCADE, null=True, blank=True, related_name="balances")
    feature = models.ForeignKey(Feature, models.PROTECT, related_name="balances")
    level = models.CharField(max_length=10, choices=Level)
    subscription = models.ForeignKey(Subscription, models.CASCADE, null=True, blank=True, related_name="balances")
    item = models.ForeignKey(
        SubscriptionItem,
        models.CASCADE,
        null=True,
        blank=True,
        related_name="balances",
        db_index=False,
        help_text="Empty: granted by hand.",
    )
    rolled_over_from = models.ForeignKey("self", models.CASCADE, null=True, blank=True, related_name="rollovers")

    included = models.DecimalField(**QUANTITY, default=Decimal(0), help_text="Granted anew at each reset.")
    prepaid = models.DecimalField(
        **QUANTITY, default=Decimal(0), help_text="Bought on top, granted anew at each reset."
    )
    granted = models.DecimalField(**QUANTITY, default=Decimal(0))
    usage = models.DecimalField(**QUANTITY, default=Decimal(0), help_text="Below 0 when set above the grant.")
    held = models.DecimalField(**QUANTITY, default=Decimal(0))
    expired = models.DecimalField(**QUANTITY, default=Decimal(0))
    unlimited = models.BooleanField(default=False)

    allows_overage = models.BooleanField(default=False, help_text="Usage beyond the grant is sold (usage-based price).")
    max_overage = models.DecimalField(
        **QUANTITY, null=True, blank=True, help_text="Most overage sold; empty: no bound."
    )
    bills_at_once = models.BooleanField(default=False, help_text="Seats whose overage is invoiced when it changes.")
    is_prepaid = models.BooleanField(default=False)
    is_add_on = models.BooleanField(default=False)

    reset_interval = models.CharField(max_length=20, choices=IntervalUnit, blank=True, default="")
    reset_interval_count = models.PositiveSmallIntegerField(default=1)
    reset_anchor = models.DateTimeField(
        null=True, blank=True, help_text="Boundaries are counted from it, never drifting."
    )
    next_reset_at = models.DateTimeField(null=True, blank=True)
    rolls_over = models.BooleanField(default=False, help_text="What is left at a reset goes on as a rollover.")
    rollover_max = models.DecimalField(**QUANTITY, null=True, blank=True)
    rollover_max_percentage = models.DecimalField(max_digits=6, decimal_places=2, null=True, blank=True)
    rollover_months = models.PositiveSmallIntegerField(
        null=True, blank=True, help_text="Empty: rollovers never expire."
    )
    expires_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(
        null=True, blank=True, help_text="When its plan, entity or grant ended; empty: live."
    )
    created_at = models.DateTimeField()

    objects = BalanceQuerySet.as_manager()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["customer", "public_id"],
                condition=~Q(public_id="") & Q(ended_at=None),
                name="balance_one_live_per_public_id",
                violation_error_message="This customer already has a balance with that id.",
            ),
            models.CheckConstraint(
                condition=(Q(level="pool") & Q(entity=None)) | (~Q(level="pool") & Q(entity__isnull=False)),
                name="balance_level_fits_entity",
                violation_error_message="A shared balance belongs to no entity, any other to one.",
            ),
            models.CheckConstraint(
                condition=Q(held__gte=0) & Q(expired__gte=0) & Q(prepaid__gte=0),
                name="balance_held_and_expired_not_negative",
                violation_error_message="Held, expired and prepaid quantities cannot be below 0.",
            ),
            models.CheckConstraint(
                condition=Q(rolled_over_from=None)
                | (Q(usage__gte=0) & Q(granted__gte=F("usage") + F("held") + F("expired"))),
                name="balance_rollover_not_overdrawn",
                violation_error_message="A rollover cannot be overdrawn.",
            ),
            models.CheckConstraint(
                condition=Q(next_reset_at=None) | Q(reset_anchor__isnull=False),
                name="balance_reset_has_anchor",
                violation_error_message="A balance that resets needs an anchor to count from.",
            ),
        ]
        indexes: ClassVar = [
            # check and track: the shared rows of a customer, which of its entities' own rows and of an item's slices
            # resets first, and the rows of one entity. Beside these there is no plain index on customer or item: it
            # would be taken instead, and read all there are.
            models.Index(
                fields=["customer", "feature", "level", "next_reset_at"],
                condition=Q(ended_at=None),
                name="balance_live_by_customer",
            ),
            models.Index(fields=["item", "next_reset_at"], condition=Q(ended_at=None), name="balance_live_by_item"),
            models.Index(fields=["entity", "feature"], condition=Q(ended_at=None), name="balance_live_by_entity"),
            models.Index(fields=["next_reset_at", "id"], condition=Q(ended_at=None), name="balance_due_for_reset"),
            models.Index(fields=["expires_at", "id"], condition=Q(ended_at=None), name="balance_due_to_expire"),
        ]

    def __str__(self) -> str:
        return f"{self.feature} of {self.entity or self.customer}"

    @property
    def remaining(self) -> Decimal:
        """What is left, below 0 when overdrawn; the wire shows it floored at 0."""
        return self.granted - self.usage - self.held - self.expired

    @property
    def reset_every(self) -> Interval | None:
        return Interval.of(self.reset_interval, self.reset_interval_count)


class LedgerEntry(models.Model):
    """One change of one balance: append-only. The four deltas of all its entries sum to the balance's row."""

    class Kind(models.TextChoices):
        GRANT = "grant", "Granted"
        USAGE = "usage", "Used"
        REFUND = "refund", "Given back"
        HOLD = "hold", "Held"
        RELEASE = "release", "Hold released"
        SETTLE = "settle", "Hold settled"
        RESET = "reset", "Reset"
        ROLLOVER = "rollover", "Rolled over"
        EXPIRY = "expiry", "Expired"
        ADJUSTMENT = "adjustment", "Adjusted"
        PLAN_CHANGE = "plan_change", "Plan changed"
        SEAT = "seat", "Seat taken or freed"
        TRANSFER = "transfer", "Moved"
        CORRECTION = "correction", "Corrected"
        CLOSING = "closing", "Carried forward"

    balance = models.ForeignKey(Balance, models.CASCADE, related_name="entries")
    customer_id = models.BigIntegerField(help_text="Of the balance; here so that a timeline needs no join.")
    entity_id = models.BigIntegerField(null=True, blank=True)
    kind = models.CharField(max_length=20, choices=Kind)
    at = models.DateTimeField(help_text="In the customer's time.")
    granted = models.DecimalField(**QUANTITY, default=Decimal(0))
    usage = models.DecimalField(**QUANTITY, default=Decimal(0))
    held = models.DecimalField(**QUANTITY, default=Decimal(0))
    expired = models.DecimalField(**QUANTITY, default=Decimal(0))
    event_id = models.BigIntegerField(null=True, blank=True, help_text="The usage event behind it.")
    hold_id = models.BigIntegerField(null=True, blank=True)
    operation_id = models.BigIntegerField(null=True, blank=True)
    boundary_at = models.DateTimeField(null=True, blank=True, help_text="Of a reset: the boundary it stands for.")
    actor = models.CharField(max_length=100, blank=True, default="", help_text="key:…, staff:… or the command.")
    request_id = models.CharField(max_length=64, blank=True, default="")
    reason = models.CharField(max_length=500, blank=True, default="")

    class Meta:
        verbose_name_plural = "ledger entries"
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["balance", "boundary_at"],
                condition=Q(kind="reset"),
                name="ledger_one_reset_per_boundary",
                violation_error_message="This balance was already reset at that boundary.",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["balance", "id"], name="ledger_by_balance"),
            models.Index(fields=["customer_id", "id"], name="ledger_by_customer"),
            models.Index(fields=["event_id"], condition=Q(event_id__isnull=False), name="ledger_by_event"),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} ({self.pk})"


class Overage(models.Model):
    """Usage beyond the grant, put aside when the balance is reset or ends, until an invoice bills it.

    A reset may so happen the moment it is due, whenever the renewal runs: nothing used is lost or billed twice.
    """

    item = models.ForeignKey(SubscriptionItem, models.CASCADE, related_name="overages")
    balance = models.ForeignKey(Balance, models.CASCADE, related_name="overages")
    boundary_at = models.DateTimeField(help_text="End of the period in which it was used.")
    quantity = models.DecimalField(**QUANTITY)
    settled_at = models.DateTimeField(
        null=True, blank=True, help_text="When it was billed or waived (trial, deletion)."
    )
    line = models.ForeignKey(
        "billing.InvoiceLine",
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="overages",
        help_text="Empty: waived.",
    )

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["balance", "boundary_at"], name="overage_once_per_boundary"),
            models.CheckConstraint(condition=Q(quantity__gt=0), name="overage_positive"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["item", "boundary_at"], condition=Q(settled_at=None), name="overage_unsettled"),
        ]

    def __str__(self) -> str:
        return f"{self.quantity} of {self.balance} until {self.boundary_at:%Y-%m-%d}"


class UsageEvent(models.Model):
    """What an application reported: append-only, kept in full even when less could be deducted."""

    customer = models.ForeignKey(Customer, models.CASCADE, related_name="events")
    entity = models.ForeignKey(Entity, models.SET_NULL, null=True, blank=True, related_name="events")
    feature = models.ForeignKey(Feature, models.PROTECT, related_name="+")
    event_name = models.CharField(max_length=200, blank=True, default="")
    value = models.DecimalField(**QUANTITY, help_text="As requested; below 0 gives back.")
    properties = models.JSONField(default=dict, blank=True)
    at = models.DateTimeField(help_text="When it happened, in the customer's time.")
    hold_id = models.BigIntegerField(null=True, blank=True, help_text="The hold that it belongs to.")
    recorded_at = models.DateTimeField()
    actor = models.CharField(max_length=100, blank=True, default="")
    request_id = models.CharField(max_length=64, blank=True, default="")

    class Meta:
        indexes: ClassVar = [
            # events.list: newest first for a customer; events.aggregate: a range of one feature.
            models.Index(fields=["customer", "-at", "-id"], name="event_newest_first"),
            models.Index(fields=["customer", "feature", "at"], name="event_by_feature"),
            models.Index(fields=["-at", "-id"], name="event_all_newest_first"),
        ]

    def __str__(self) -> str:
        return f"{self.value} {self.feature} at {self.at:%Y-%m-%d %H:%M}"

    @property
    def public_id(self) -> str:
        return f"evt_{self.pk}"


class UsageCounter(models.Model):
    """What a usage limit has counted in its present window, for a customer (shared by its entities) or one entity."""

    customer = models.ForeignKey(Customer, models.CASCADE, related_name="usage_counters")
    entity = models.ForeignKey(Entity, models.CASCADE, null=True, blank=True, related_name="usage_counters")
    feature = models.ForeignKey(Feature, models.CASCADE, related_name="+")
    limit_key = models.CharField(max_length=100, help_text="Interval, anchor and filter of the limit it counts for.")
    window_start = models.DateTimeField()
    used = models.DecimalField(**QUANTITY, default=Decimal(0))

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["customer", "feature", "limit_key", "window_start"],
                condition=Q(entity=None),
                name="counter_once_per_customer_window",
            ),
            models.UniqueConstraint(
                fields=["entity", "feature", "limit_key", "window_start"],
                condition=Q(entity__isnull=False),
                name="counter_once_per_entity_window",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.used} {self.feature} since {self.window_start:%Y-%m-%d}"
