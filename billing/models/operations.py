"""Operations, written down before the processor is called, and its events, written down before they are believed."""

from typing import ClassVar

from django.db import models
from django.db.models import Q

from entities.models import Customer, Entity


class Operation(models.Model):
    """A billing change in progress or done. Idempotency keys at the processor derive from its id and step."""

    class Kind(models.TextChoices):
        ATTACH = "attach", "Attach a plan"
        UPDATE = "update", "Update a plan"
        SEATS = "seats", "Change seats"
        RENEWAL = "renewal", "Renew"
        DELETE_ENTITY = "delete_entity", "Delete an entity"
        CLOCK = "clock", "Turn the clock"
        REFUND = "refund", "Refund an invoice"

    class Status(models.TextChoices):
        PENDING = "pending", "Written down, not yet carried out"
        WAITING = "waiting", "Waits for the customer to pay or authenticate"
        DONE = "done", "Done"
        FAILED = "failed", "Failed, nothing changed"
        EXPIRED = "expired", "Expired, nothing changed"

    customer = models.ForeignKey(Customer, models.CASCADE, related_name="operations")
    entity = models.ForeignKey(Entity, models.SET_NULL, null=True, blank=True, related_name="operations")
    kind = models.CharField(max_length=20, choices=Kind)
    status = models.CharField(max_length=20, choices=Status)
    request = models.JSONField(default=dict, help_text="What was asked for, as validated.")
    outcome = models.JSONField(
        default=dict, blank=True, help_text="What was computed, and what the processor answered."
    )
    actor = models.CharField(max_length=100, blank=True, default="")
    request_id = models.CharField(max_length=64, blank=True, default="")
    reason = models.CharField(max_length=500, blank=True, default="")
    at = models.DateTimeField(help_text="In the customer's time.")
    expires_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["customer", "-id"], name="operation_newest_first"),
            models.Index(
                fields=["status", "id"], condition=Q(status__in=["pending", "waiting"]), name="operation_unfinished"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} ({self.pk})"


class ProcessorEvent(models.Model):
    """An event of the processor, written down raw before it is processed; the unique id makes repeats harmless."""

    class Status(models.TextChoices):
        RECEIVED = "received", "Received"
        DONE = "done", "Processed"
        FAILED = "failed", "Failed"
        IGNORED = "ignored", "Ignored"

    event_id = models.CharField(max_length=255, unique=True)
    type = models.CharField(max_length=100)
    body = models.TextField()
    status = models.CharField(max_length=20, choices=Status, default=Status.RECEIVED)
    attempts = models.PositiveIntegerField(default=0)
    error = models.TextField(blank=True, default="")
    received_at = models.DateTimeField()
    processed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes: ClassVar = [
            models.Index(
                fields=["received_at"],
                condition=Q(status__in=["received", "failed"]),
                name="processor_event_unprocessed",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.event_id}"
