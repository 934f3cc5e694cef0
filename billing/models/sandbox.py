"""What the built-in sandbox processor remembers: only its own module may read these tables."""

from decimal import Decimal
from typing import Any, ClassVar

from django.db import models
from django.db.models import Q

MONEY: dict[str, Any] = {"max_digits": 20, "decimal_places": 4}


class SandboxCard(models.Model):
    """The card of a sandbox customer, and how it behaves."""

    class Behavior(models.TextChoices):
        SUCCESS = "success", "Pays"
        DECLINES = "declines", "Is declined"
        REQUIRES_AUTHENTICATION = "requires_authentication", "Asks for 3D Secure"

    customer_id = models.CharField(max_length=64, unique=True, help_text="The processor's customer id.")
    behavior = models.CharField(max_length=30, choices=Behavior)

    def __str__(self) -> str:
        return self.get_behavior_display()


class SandboxSubscription(models.Model):
    """A subscription as the sandbox processor holds it: what it would show on its dashboard."""

    subscription_id = models.CharField(max_length=64, unique=True)
    customer_id = models.CharField(max_length=64, db_index=True)
    entity_id = models.CharField(max_length=255, blank=True, default="")
    status = models.CharField(max_length=20)
    items = models.JSONField(default=list)
    current_period_start = models.DateTimeField(null=True, blank=True)
    current_period_end = models.DateTimeField(null=True, blank=True)
    cancel_at = models.DateTimeField(null=True, blank=True)
    idempotency_key = models.CharField(max_length=255, unique=True)

    class Meta:
        ordering: ClassVar = ["pk"]

    def __str__(self) -> str:
        return self.subscription_id


class SandboxInvoice(models.Model):
    """An invoice as the sandbox processor holds it."""

    invoice_id = models.CharField(max_length=64, unique=True)
    customer_id = models.CharField(max_length=64, db_index=True)
    status = models.CharField(max_length=30)
    total = models.DecimalField(**MONEY)
    refunded = models.DecimalField(**MONEY, default=Decimal(0))
    credit_used = models.DecimalField(**MONEY, default=Decimal(0), help_text="Paid from earlier negative invoices.")
    currency = models.CharField(max_length=3)
    problem = models.CharField(max_length=30, blank=True, default="", help_text="Why it is still open.")
    refund_keys = models.JSONField(default=list, help_text="Refunds already given.")
    lines = models.JSONField(default=list)
    idempotency_key = models.CharField(max_length=255, unique=True)

    class Meta:
        indexes: ClassVar = [
            # What a customer has left of earlier credit, however many invoices there are.
            models.Index(
                fields=["customer_id", "currency"],
                condition=Q(total__lt=0) | Q(credit_used__gt=0),
                name="sandbox_invoice_credit",
            ),
        ]

    def __str__(self) -> str:
        return self.invoice_id


class SandboxSession(models.Model):
    """A hosted page in progress: a checkout or the adding of a card."""

    session_id = models.CharField(max_length=64, unique=True)
    customer_id = models.CharField(max_length=64, db_index=True)
    kind = models.CharField(max_length=20)
    status = models.CharField(max_length=20)
    details = models.JSONField(default=dict)
    return_url = models.CharField(max_length=2000, blank=True, default="")
    expires_at = models.DateTimeField(null=True, blank=True)
    idempotency_key = models.CharField(max_length=255, unique=True)

    def __str__(self) -> str:
        return self.session_id
