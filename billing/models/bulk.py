"""Many rows gone through in the background: files brought in, holders moved to a version, seats that come or go."""

from typing import ClassVar

from django.db import models
from django.db.models import F, Q

from plans.models import QUANTITY


class BulkJob(models.Model):
    """What is to be done to many rows, and how far it has come; whoever holds the lease is at work on the next."""

    class Kind(models.TextChoices):
        CUSTOMERS = "customers", "Customers"
        ENTITIES = "entities", "Seats, workspaces and other entities"
        USAGE = "usage", "Usage"
        GRANTS = "grants", "Grants"
        REMOVALS = "removals", "Seats, workspaces and others that leave"
        MOVES = "moves", "Holders of a plan"
        EVENTS = "events", "Events of the payment processor"

    class Status(models.TextChoices):
        LOOKING = "looking", "Looks what would happen"
        READY = "ready", "Ready: nothing was done yet"
        WAITING = "waiting", "Waits for a second person"
        RUNNING = "running", "Under way"
        STOPPING = "stopping", "Stops after the row at hand"
        STOPPED = "stopped", "Stopped"
        DONE = "done", "Done"

    kind = models.CharField(max_length=10, choices=Kind)
    status = models.CharField(max_length=10, choices=Status)
    title = models.CharField(max_length=200)
    total = models.PositiveIntegerField(default=0)
    looked = models.PositiveIntegerField(default=0, help_text="Rows of which it is known what would happen.")
    done = models.PositiveIntegerField(default=0, help_text="Rows gone through, those left out included.")
    skipped = models.PositiveIntegerField(default=0, help_text="Rows of which nothing was left to do.")
    failed = models.PositiveIntegerField(default=0, help_text="Rows left out.")
    reason = models.CharField(max_length=400, blank=True, default="")
    actor = models.CharField(max_length=100, help_text="Who began it, as the ledger names them.")
    request_id = models.CharField(max_length=48, help_text="With a row's number: the request of that row.")
    undoes = models.ForeignKey("self", models.SET_NULL, null=True, blank=True, related_name="undone_by")
    started_at = models.DateTimeField()
    leased_until = models.DateTimeField(null=True, blank=True, help_text="Past: its process died, the next goes on.")
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(done__lte=F("total"), looked__lte=F("total")), name="bulk_job_no_row_twice",
                violation_error_message="More rows were counted than there are.",
            ),
            models.UniqueConstraint(
                fields=["request_id"], name="bulk_job_request_once",
                violation_error_message="Another job goes by that request id.",
            ),
        ]  # fmt: skip
        indexes: ClassVar = [
            # For run_due, which goes on with what a process left.
            models.Index(
                fields=["id"], condition=Q(status__in=["looking", "running", "stopping"]), name="bulk_job_under_way"
            ),
        ]

    def __str__(self) -> str:
        return self.title


class BulkRow(models.Model):
    """One of the rows: what it says, what would come of it, and what did."""

    class State(models.TextChoices):
        NEW = "new", "Not looked at"
        LOOKED = "looked", "Not done"
        DONE = "done", "Done"
        SKIPPED = "skipped", "Nothing to do"
        LEFT_OUT = "left_out", "Left out"

    job = models.ForeignKey(BulkJob, models.CASCADE, related_name="rows")
    number = models.PositiveIntegerField(help_text="Its line in a file, or its place.")
    cells = models.JSONField(help_text="By the name of the column.")
    state = models.CharField(max_length=10, choices=State, default=State.NEW)
    what = models.TextField(blank=True, default="", help_text="What would happen, as it was looked at.")
    amount = models.DecimalField(**QUANTITY, null=True, blank=True, help_text="Charged (below 0: credited) at once.")
    currency = models.CharField(max_length=3, blank=True, default="")
    fingerprint = models.CharField(max_length=64, blank=True, default="", help_text="Of the state it was looked at in.")
    why = models.TextField(blank=True, default="", help_text="Why it was left out.")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["job", "number"], name="bulk_row_once", violation_error_message="This row is there already."
            ),
        ]
        indexes: ClassVar = [
            # For the next rows to do, and for what was left out.
            models.Index(fields=["job", "state", "number"], name="bulk_row_by_state"),
        ]

    def __str__(self) -> str:
        return f"{self.number}: {', '.join(str(cell) for cell in self.cells.values() if cell)}"

    def get(self, column: str) -> str:
        """The cell of a column; empty where there is none."""
        return str(self.cells.get(column) or "")
