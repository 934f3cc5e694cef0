"""Invoices: what was charged or credited, line by line, in the customer's currency."""

from decimal import Decimal
from typing import Any, ClassVar

from django.db import models
from django.db.models import Q

from billing.models.rewards import Discount
from billing.models.subscriptions import Subscription, SubscriptionItem
from entities.models import Customer, Entity
from plans.models import QUANTITY, Feature, Plan

MONEY: dict[str, Any] = {"max_digits": 20, "decimal_places": 4}


class InvoiceNumber(models.Model):
    """The one row that hands out invoice numbers, so that there are no gaps."""

    last = models.PositiveBigIntegerField(default=0)

    def __str__(self) -> str:
        return str(self.last)


class InvoiceQuerySet(models.QuerySet["Invoice"]):
    def shown(self) -> "InvoiceQuerySet":
        """What customers and staff see: newest first, without those kept only for their lines."""
        return self.filter(is_internal=False).order_by("-created_at", "-pk")

    def payable(self) -> "InvoiceQuerySet":
        return self.filter(status=Invoice.Status.OPEN, is_internal=False)


class Invoice(models.Model):
    """A charge (or, below 0, a credit) to a customer for one scope; its lines sum to its total."""

    class Status(models.TextChoices):
        DRAFT = "draft", "Draft"
        OPEN = "open", "Open"
        PAID = "paid", "Paid"
        VOID = "void", "Void"
        UNCOLLECTIBLE = "uncollectible", "Uncollectible"

    class Cause(models.TextChoices):
        ATTACH = "attach", "Plan attached or changed"
        UPDATE = "update", "Plan updated"
        SEATS = "seats", "Seats changed"
        RENEWAL = "renewal", "Renewal"
        TRIAL = "trial", "Trial started"

    number = models.CharField(max_length=40, blank=True, default="", help_text="Without gaps, given when finalised.")
    public_id = models.CharField(
        max_length=64, unique=True, help_text="Unguessable; part of the hosted page's address."
    )
    customer = models.ForeignKey(Customer, models.PROTECT, related_name="invoices")
    entity = models.ForeignKey(Entity, models.PROTECT, null=True, blank=True, related_name="invoices")
    operation = models.ForeignKey("billing.Operation", models.PROTECT, null=True, blank=True, related_name="invoices")
    cause = models.CharField(max_length=20, choices=Cause)
    status = models.CharField(max_length=20, choices=Status)
    currency = models.CharField(max_length=3)
    total = models.DecimalField(**MONEY)
    refunded = models.DecimalField(**MONEY, default=Decimal(0), help_text="Given back to the card.")
    is_internal = models.BooleanField(
        default=False,
        help_text="Its lines cancel out: kept because later credits build on them, not numbered, not shown.",
    )
    processor_id = models.CharField(max_length=255, blank=True, default="")
    hosted_url = models.CharField(max_length=1000, blank=True, default="")
    period_start = models.DateTimeField(null=True, blank=True)
    period_end = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(help_text="In the customer's time.")
    due_at = models.DateTimeField(null=True, blank=True)
    paid_at = models.DateTimeField(null=True, blank=True)

    objects = InvoiceQuerySet.as_manager()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["number"], condition=~Q(number=""), name="invoice_number_once",
                violation_error_message="This invoice number is taken.",
            ),
        ]  # fmt: skip
        indexes: ClassVar = [
            models.Index(fields=["customer", "-created_at", "-id"], name="invoice_newest_first"),
            models.Index(fields=["processor_id"], condition=~Q(processor_id=""), name="invoice_by_processor"),
            models.Index(fields=["status", "id"], condition=Q(status="open"), name="invoice_open"),
        ]

    def __str__(self) -> str:
        return self.number or self.public_id


class LineTerms(models.Model):
    """What a line says; abstract, shared by invoice lines and those still waiting for an invoice."""

    class Kind(models.TextChoices):
        BASE = "base", "Base price"
        PREPAID = "prepaid", "Prepaid quantity"
        SEATS = "seats", "Seats"
        OVERAGE = "overage", "Overage"
        ONE_OFF = "one_off", "One-off"
        CUSTOM = "custom", "Custom"
        DISCOUNT = "discount", "Discount"

    kind = models.CharField(max_length=20, choices=Kind)
    is_credit = models.BooleanField(default=False, help_text="Gives back the unused rest of an earlier line.")
    display_name = models.CharField(max_length=255)
    description = models.CharField(max_length=500)
    amount = models.DecimalField(**MONEY)
    quantity = models.DecimalField(**QUANTITY, default=Decimal(1))
    plan = models.ForeignKey(Plan, models.PROTECT, null=True, blank=True, related_name="+")
    feature = models.ForeignKey(Feature, models.PROTECT, null=True, blank=True, related_name="+")
    entity = models.ForeignKey(Entity, models.PROTECT, null=True, blank=True, related_name="+")
    period_start = models.DateTimeField(null=True, blank=True)
    period_end = models.DateTimeField(null=True, blank=True)

    class Meta:
        abstract = True


class InvoiceLine(LineTerms):
    """One line of an invoice, rounded half up on its own; credits are below 0 and name the line they give back."""

    invoice = models.ForeignKey(Invoice, models.CASCADE, related_name="lines")
    position = models.PositiveIntegerField()
    subscription = models.ForeignKey(Subscription, models.PROTECT, null=True, blank=True, related_name="invoice_lines")
    item = models.ForeignKey(SubscriptionItem, models.PROTECT, null=True, blank=True, related_name="invoice_lines")
    lowers = models.CharField(
        max_length=20,
        choices=LineTerms.Kind,
        blank=True,
        default="",
        help_text="Of a discount: the kind of the line above it, which it lowers and with which it is given back.",
    )
    discount = models.ForeignKey(Discount, models.SET_NULL, null=True, blank=True, related_name="lines", db_index=False)

    class Meta:
        ordering: ClassVar = ["position"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["invoice", "position"], name="invoice_line_once_per_position"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["subscription", "period_end"], name="invoice_line_by_subscription"),
            models.Index(fields=["discount"], condition=Q(discount__isnull=False), name="invoice_line_by_discount"),
        ]

    def __str__(self) -> str:
        return self.description

    @property
    def is_discount(self) -> bool:
        return self.kind == self.Kind.DISCOUNT


class PendingLine(LineTerms):
    """A charge or credit that waits for the next invoice of its subscription (settings `…_next_cycle`)."""

    subscription = models.ForeignKey(Subscription, models.CASCADE, related_name="pending_lines")
    item = models.ForeignKey(SubscriptionItem, models.CASCADE, null=True, blank=True, related_name="pending_lines")
    created_at = models.DateTimeField()
    line = models.OneToOneField(
        InvoiceLine, models.SET_NULL, null=True, blank=True, related_name="pending", help_text="Where it was billed."
    )

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["subscription"], condition=Q(line=None), name="pending_line_open"),
        ]

    def __str__(self) -> str:
        return self.description
