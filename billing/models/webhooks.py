"""Webhooks, outgoing: whom we tell, what there is to tell, and how telling it went.

Not to be taken for ProcessorEvent, which is what the payment processor tells us.
"""

from datetime import datetime
from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from entities.models import Customer


class WebhookType(models.TextChoices):
    """What applications are told; the names are those of the contract."""

    USAGE_ALERT = "balances.usage_alert_triggered", "Usage alert triggered"
    LIMIT_REACHED = "balances.limit_reached", "Limit reached"
    BILLING_UPDATED = "billing.updated", "Plans changed"
    TEST = "webhook.test", "Test"


class WebhookEndpointQuerySet(models.QuerySet["WebhookEndpoint"]):
    def present(self) -> "WebhookEndpointQuerySet":
        """Those that were not removed, disabled ones among them."""
        return self.filter(deleted_at=None)

    def listening(self) -> "WebhookEndpointQuerySet":
        """Those that are sent to."""
        return self.present().filter(disabled_at=None)


class WebhookEndpoint(models.Model):
    """An address of an application that is told what happens."""

    public_id = models.CharField("ID", max_length=255, help_text="Chosen by whoever adds it; never changes.")
    url = models.CharField("URL", max_length=2000)
    description = models.CharField(max_length=500, blank=True, default="")
    events = ArrayField(
        models.CharField(max_length=100), default=list, blank=True, help_text="What it is told. Empty: everything."
    )
    # As it is: signing needs it, so a hash won't do. Whoever reads it can only pretend to be us towards this endpoint.
    secret = models.CharField(max_length=100, editable=False)
    # For a while after a roll messages carry both signatures, so that no receiver is caught between two secrets.
    previous_secret = models.CharField(max_length=100, blank=True, default="", editable=False)
    previous_secret_until = models.DateTimeField(null=True, blank=True, editable=False)
    disabled_at = models.DateTimeField(null=True, blank=True, help_text="Set: nothing is sent to it.")
    failing_since = models.DateTimeField(
        null=True, blank=True, help_text="First of the failed attempts since the last that went through."
    )
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()
    deleted_at = models.DateTimeField(null=True, blank=True, help_text="What it was sent stays listed.")

    objects = WebhookEndpointQuerySet.as_manager()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["public_id"], condition=Q(deleted_at=None), name="webhook_endpoint_one_per_id",
                violation_error_message="There is a webhook endpoint with that id already.",
            ),
        ]  # fmt: skip

    def __str__(self) -> str:
        return self.public_id

    def secrets(self, at: datetime) -> list[str]:
        """The secrets to sign with, the newest first."""
        is_kept = self.previous_secret_until is not None and self.previous_secret_until > at
        return [self.secret, self.previous_secret] if self.previous_secret and is_kept else [self.secret]


class WebhookMessage(models.Model):
    """One thing that happened, as it is told to every endpoint: written in the transaction in which it happened."""

    public_id = models.CharField(max_length=64, unique=True, help_text="The webhook-id header of every attempt.")
    type = models.CharField(max_length=100)
    body = models.TextField(help_text="Exactly what is signed and sent.")
    cause = models.CharField(max_length=300, unique=True, help_text="What made it: each cause makes one message.")
    customer = models.ForeignKey(Customer, models.CASCADE, null=True, blank=True, related_name="webhook_messages")
    created_at = models.DateTimeField()

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["created_at"], name="webhook_message_age"),  # for pruning
        ]

    def __str__(self) -> str:
        return f"{self.type} ({self.public_id})"


class WebhookDelivery(models.Model):
    """A message on its way to one endpoint. At least once: whoever dies between sending and noting it sends again."""

    class Status(models.TextChoices):
        PENDING = "pending", "Waiting to be sent"
        DELIVERED = "delivered", "Delivered"
        FAILED = "failed", "Given up"

    message = models.ForeignKey(WebhookMessage, models.CASCADE, related_name="deliveries")
    endpoint = models.ForeignKey(WebhookEndpoint, models.CASCADE, related_name="deliveries", db_index=False)
    status = models.CharField(max_length=10, choices=Status, default=Status.PENDING)
    attempts = models.PositiveSmallIntegerField(default=0, help_text="Since it was written, or sent again by hand.")
    next_attempt_at = models.DateTimeField(null=True, blank=True)
    leased_until = models.DateTimeField(null=True, blank=True, help_text="Whoever sends it holds it until then.")
    delivered_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name_plural = "webhook deliveries"
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["message", "endpoint"], name="webhook_delivery_once",
                violation_error_message="This message is on its way to that endpoint already.",
            ),
            models.CheckConstraint(
                condition=Q(status="pending", next_attempt_at__isnull=False)
                | (~Q(status="pending") & Q(next_attempt_at=None)),
                name="webhook_delivery_pending_has_time",
                violation_error_message="What waits is sent at some time, and nothing else is.",
            ),
        ]  # fmt: skip
        indexes: ClassVar = [
            # What is due, for each endpoint by itself: one that answers slowly holds no other up.
            models.Index(
                fields=["endpoint", "next_attempt_at"], condition=Q(status="pending"), name="webhook_delivery_due"
            ),
            models.Index(fields=["id"], condition=Q(status="failed"), name="webhook_delivery_failed"),
        ]

    def __str__(self) -> str:
        return f"{self.message} to {self.endpoint}"


class WebhookAttempt(models.Model):
    """One attempt to send a delivery, and what was answered."""

    delivery = models.ForeignKey(WebhookDelivery, models.CASCADE, related_name="tried")
    at = models.DateTimeField()
    took_ms = models.PositiveIntegerField()
    status_code = models.PositiveSmallIntegerField(null=True, blank=True, help_text="Empty: there was no answer.")
    answer = models.CharField(max_length=1000, blank=True, default="", help_text="The beginning of what was answered.")
    error = models.CharField(max_length=300, blank=True, default="")

    def __str__(self) -> str:
        return f"{self.status_code or self.error} at {self.at:%Y-%m-%d %H:%M:%S}"
