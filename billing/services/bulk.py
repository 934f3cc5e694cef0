"""What can be done to many in the background: each kind of job with its work, and who goes through it."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from functools import partial

from django.contrib.auth.models import User
from django.db import transaction

from billing.models import Approval, BulkJob, BulkRow, ProcessorEvent
from billing.services import approvals, background, jobs, moves
from billing.services.collection import processor_events
from billing.services.imports import csv_imports, csv_rows
from billing.services.jobs import Kind, Work
from config.actor import Actor
from config.errors import InvalidRequest


def _try_again(job: BulkJob, row: BulkRow, wall: datetime, actor: Actor) -> bool:
    """Process an event of the payment processor that failed; raises InvalidRequest with what it fails with now."""
    event = ProcessorEvent.objects.filter(pk=row.cells["event"], status=ProcessorEvent.Status.FAILED).first()
    if event is None:
        return False
    if not processor_events.process(event, at=wall):
        raise InvalidRequest(event.error)
    return True


WORKS: Mapping[Kind, Work] = {
    **csv_imports.WORKS,
    Kind.MOVES: Work(moves.move, look=moves.look, undo=moves.back, undo_kind=Kind.MOVES),
    Kind.EVENTS: Work(_try_again),
}


def work(job: BulkJob) -> None:
    """Go through what is left of the job, unless somebody else is at it."""
    jobs.work(job, WORKS)


def start(job: BulkJob) -> None:
    """Go to work beside the request. Nothing is lost when the process ends: `run_due` goes on."""
    background.start(f"job-{job.pk}", partial(work, job))


def resume() -> int:
    """Go on with the jobs whose process died; returns how many there were."""
    return jobs.resume(WORKS)


def units(job: BulkJob) -> Decimal:
    """How many units the job gives away."""
    if job.kind != Kind.GRANTS:
        return Decimal(0)
    rows = job.rows.values_list("number", "cells").iterator(2000)
    return csv_rows.units(job.kind, (csv_rows.Row(number, cells) for number, cells in rows))


@transaction.atomic
def confirm(job: BulkJob, *, reason: str, by: User, at: datetime) -> bool:
    """Let what was looked at be carried out; False where it waits for a second person first."""
    if not approvals.is_needed(amount=jobs.size(job), units=units(job)):
        jobs.let_run(job, reason=reason)
        return True
    jobs.ask(job, reason=reason)
    Approval.objects.create(action=job.kind, job=job, title=job.title[:300], reason=reason, asked_by=by, asked_at=at)
    return False


@transaction.atomic
def approve(job: BulkJob, *, approval: Approval, reason: str, by: User, at: datetime) -> None:
    """The second person lets it be carried out; raises InvalidRequest for the first one, or where it was decided."""
    approvals.decide(approval, Approval.Status.APPROVED, by=by, at=at)
    asker = approval.asked_by.get_username()
    jobs.let_run(job, reason=f"{reason} (asked by {asker}: {approval.reason})"[:400])


@transaction.atomic
def decline(job: BulkJob, *, approval: Approval, by: User, at: datetime) -> None:
    """Nothing is done; raises InvalidRequest where it was decided."""
    approvals.decide(approval, Approval.Status.DECLINED, by=by, at=at)
    jobs.stop(job)


def undo(job: BulkJob, *, actor: Actor, at: datetime) -> BulkJob:
    """A job that takes back what this one did, to be looked at first; raises InvalidRequest where nothing does."""
    return jobs.undo(job, WORKS[Kind(job.kind)], actor=actor, at=at)
