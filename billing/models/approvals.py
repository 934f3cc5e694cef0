"""Changes by hand that are large enough to wait for a second person."""

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from billing.models.bulk import BulkJob
from entities.models import Customer


class Approval(models.Model):
    """A change that one member of staff asked for; another looks at it afresh, and does it or declines."""

    class Status(models.TextChoices):
        WAITING = "waiting", "Waits for a second person"
        APPROVED = "approved", "Approved and done"
        DECLINED = "declined", "Declined, nothing changed"

    action = models.CharField(max_length=40, help_text="The slug of the action, or the kind of the job.")
    customer = models.ForeignKey(Customer, models.CASCADE, null=True, blank=True, related_name="+")
    job = models.OneToOneField(
        BulkJob, models.CASCADE, null=True, blank=True, related_name="approval", help_text="Set: it is about many."
    )
    rows = models.JSONField(default=dict, help_text="What it is about beside the customer: keys by name.")
    answers = models.JSONField(default=dict, help_text="The form as it was filled in.")
    title = models.CharField(max_length=300)
    reason = models.CharField(max_length=400)
    status = models.CharField(max_length=10, choices=Status, default=Status.WAITING)
    asked_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    asked_at = models.DateTimeField()
    decided_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+")
    decided_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=~Q(status="approved") | ~Q(decided_by=F("asked_by")), name="approval_by_a_second_person",
                violation_error_message="Nobody approves what they asked for themselves.",
            ),
            models.CheckConstraint(
                condition=Q(customer=None, job__isnull=False) | Q(customer__isnull=False, job=None),
                name="approval_of_one_thing",
                violation_error_message="What is approved is about one customer, or one job.",
            ),
        ]  # fmt: skip
        indexes: ClassVar = [
            # For the home page.
            models.Index(fields=["id"], condition=Q(status="waiting"), name="approval_waiting"),
        ]

    def __str__(self) -> str:
        return self.title
