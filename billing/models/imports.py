"""Files of customers, entities, usage or grants on their way in, row by row."""

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import F, Q


class CsvImport(models.Model):
    """A file, and how far it has come. Rows before `done` are in; whoever holds the lease is at work on the next."""

    class Kind(models.TextChoices):
        CUSTOMERS = "customers", "Customers"
        ENTITIES = "entities", "Seats, workspaces and other entities"
        USAGE = "usage", "Usage"
        GRANTS = "grants", "Grants"

    kind = models.CharField(max_length=10, choices=Kind)
    content = models.TextField(help_text="The file, with its header.")
    total = models.PositiveIntegerField()
    done = models.PositiveIntegerField(default=0, help_text="Rows gone through, those with problems included.")
    skipped = models.PositiveIntegerField(default=0, help_text="Rows whose customer or entity was there already.")
    failed = models.PositiveIntegerField(default=0)
    problems = models.JSONField(default=list, blank=True, help_text="The first of them, each with its line.")
    reason = models.CharField(max_length=400)
    started_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    request_id = models.CharField(max_length=64)
    started_at = models.DateTimeField()
    leased_until = models.DateTimeField(null=True, blank=True, help_text="Past: its process died, the next goes on.")
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(done__lte=F("total")), name="import_no_row_twice",
                violation_error_message="More rows were counted than the file has.",
            ),
        ]  # fmt: skip
        indexes: ClassVar = [
            models.Index(fields=["id"], condition=Q(finished_at=None), name="import_unfinished"),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()}, {self.total} rows"
