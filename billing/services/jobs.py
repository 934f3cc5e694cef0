"""Many rows gone through in the background: each exactly once, whoever dies in between.

A process leases the job, goes through a few rows, notes each with how far it came, and goes on. When it dies, `run_due`
finds the lease run out and goes on from there. Work that is one transaction is written together with its note; other
work has to be able to tell that it was done, by the row's id or request.
"""

import logging
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.db.models import Q, QuerySet, Sum
from django.db.models.functions import Abs
from psycopg.errors import LockNotAvailable

from billing.errors import StateMoved
from billing.models import BulkJob, BulkRow
from config import clock
from config.actor import Actor
from config.errors import DomainError, InvalidRequest, LockBusy

logger = logging.getLogger(__name__)
LEASE = timedelta(minutes=2)
PATIENCE = timedelta(seconds=15)
AT_ONCE = 25  # rows read together
Kind = BulkJob.Kind
Status = BulkJob.Status
State = BulkRow.State
UNDER_WAY = (Status.LOOKING, Status.RUNNING, Status.STOPPING)
DECIDED = "Somebody else has decided on this meanwhile."
MOVED = "It has changed since it was looked at. It was left as it is."
_PROGRESS = ("looked", "done", "skipped", "failed")
_RESULT = ("state", "what", "why", "amount", "currency", "fingerprint", "cells")


@dataclass(frozen=True, slots=True)
class Work:
    """How the rows of a kind are done.

    `do` carries a row out and says whether there was anything to do; `look` fills in what would happen. Both raise
    DomainError for a row that can't be done. `undo` are the kind and the cells that take the rows done back.
    """

    do: Callable[[BulkJob, BulkRow, datetime, Actor], bool]
    look: Callable[[BulkJob, BulkRow, datetime], None] | None = None
    is_one_transaction: bool = False
    undo: Callable[[BulkRow], dict[str, Any]] | None = None
    undo_kind: Kind | None = None


class _TakenOver(Exception):
    """We took longer than our lease, and another process goes on with the job."""


class _Busy(Exception):
    """Somebody else has the customer's turn for long, who may be at work on this very row. `run_due` tries again."""


@transaction.atomic
def begin(
    *,
    kind: Kind,
    title: str,
    status: Status,
    rows: Iterable[tuple[int, Mapping[str, Any]]],
    actor: Actor,
    at: datetime,
    undoes: BulkJob | None = None,
) -> BulkJob:
    """Write the rows down, by number; nothing of them is done yet. `status` says whether they are looked at first."""
    job = BulkJob.objects.create(
        kind=kind,
        title=title[:200],
        status=status,
        actor=actor.name,
        request_id=actor.request_id or f"job-{secrets.token_hex(8)}",
        started_at=at,
        undoes=undoes,
    )
    made = (BulkRow(job=job, number=number, cells=dict(cells)) for number, cells in rows)
    BulkRow.objects.bulk_create(made, batch_size=2000)
    count(job)
    return job


def count(job: BulkJob) -> None:
    """Note how many rows there are, once they are written down."""
    job.total = job.rows.count()
    job.save(update_fields=["total"])


def size(job: BulkJob) -> Decimal:
    """The money that moves if the job is carried out, charges and credits together, in major units."""
    sizes = job.rows.filter(state=State.LOOKED).aggregate(sum=Sum(Abs("amount")))
    return sizes["sum"] or Decimal(0)


def ask(job: BulkJob, *, reason: str) -> None:
    """Have it wait for a second person; raises InvalidRequest where somebody else decided on it meanwhile."""
    if not BulkJob.objects.filter(pk=job.pk, status=Status.READY).update(status=Status.WAITING, reason=reason):
        raise InvalidRequest(DECIDED)


def let_run(job: BulkJob, *, reason: str) -> None:
    """Carry it out; raises InvalidRequest where somebody else decided on it meanwhile."""
    waits = BulkJob.objects.filter(pk=job.pk, status__in=[Status.READY, Status.WAITING])
    if not waits.update(status=Status.RUNNING, reason=reason, leased_until=clock.now()):
        raise InvalidRequest(DECIDED)


def stop(job: BulkJob) -> None:
    """Leave the rest as it is: at once, or after the row at hand. What was done stays."""
    now = clock.now()
    with transaction.atomic():
        row = BulkJob.objects.select_for_update().get(pk=job.pk)
        if row.status in (Status.STOPPED, Status.DONE):
            return
        is_at_work = row.leased_until is not None and row.leased_until > now
        row.status = Status.STOPPING if is_at_work else Status.STOPPED
        if not is_at_work:
            row.finished_at, row.leased_until = now, None
        row.save(update_fields=["status", "finished_at", "leased_until"])


def work(job: BulkJob, kinds: Mapping[Kind, Work]) -> None:
    """Go through the rows that are left, unless somebody else is at it."""
    claimed = _claim(job)
    while claimed is not None:
        rows = [] if claimed.status == Status.STOPPING else list(_left(claimed)[:AT_ONCE])
        if not rows:
            _finish(claimed)
        try:
            for row in rows:
                if not _ours(claimed).filter(status=claimed.status).exists():
                    break
                _go_through(claimed, row, kinds[Kind(claimed.kind)])
        except _TakenOver:
            return
        except _Busy:
            _ours(claimed).update(leased_until=clock.now())
            return
        claimed = _ours(claimed).filter(status__in=UNDER_WAY).first()


def is_left(job: BulkJob) -> bool:
    """Has nobody been at work on it for a while, though it is under way?"""
    since = job.leased_until or job.started_at
    return job.status in UNDER_WAY and since < clock.now() - PATIENCE


def resume(kinds: Mapping[Kind, Work]) -> int:
    """Go on with the jobs whose process died; returns how many there were."""
    free = Q(leased_until=None) | Q(leased_until__lte=clock.now())
    stale = list(BulkJob.objects.filter(free, status__in=UNDER_WAY).order_by("pk")[:10])
    for job in stale:
        work(job, kinds)
    return len(stale)


def undo(job: BulkJob, works: Work, *, actor: Actor, at: datetime) -> BulkJob:
    """A job that takes back what this one did, to be looked at first; raises InvalidRequest where nothing does."""
    if works.undo is None or works.undo_kind is None:
        raise InvalidRequest("What this did is taken back one by one.")
    done = job.rows.filter(state=State.DONE).order_by("number")
    cells = ((row.number, works.undo(row)) for row in done.iterator(2000))
    title = f"Take back: {job.title}"
    return begin(kind=works.undo_kind, title=title, status=Status.LOOKING, rows=cells, actor=actor, at=at, undoes=job)


def _claim(job: BulkJob) -> BulkJob | None:
    """The job, leased to this process; None when nothing is left of it or somebody else has it."""
    now = clock.now()
    with transaction.atomic():
        row = BulkJob.objects.select_for_update().get(pk=job.pk)
        if row.status not in UNDER_WAY or (row.leased_until is not None and row.leased_until > now):
            return None
        row.leased_until = now + LEASE
        row.save(update_fields=["leased_until"])
    return row


def _left(job: BulkJob) -> QuerySet[BulkRow]:
    states = [State.NEW] if job.status == Status.LOOKING else [State.NEW, State.LOOKED]
    return BulkRow.objects.filter(job=job, state__in=states).order_by("number")


def _finish(job: BulkJob) -> None:
    """No row is left. Whoever asked to stop meanwhile is heard the next time round."""
    after = {Status.LOOKING: Status.READY, Status.RUNNING: Status.DONE, Status.STOPPING: Status.STOPPED}
    status = after[Status(job.status)]
    finished_at = None if status == Status.READY else clock.now()
    _ours(job).filter(status=job.status).update(status=status, finished_at=finished_at, leased_until=None)


def _go_through(job: BulkJob, row: BulkRow, works: Work) -> None:
    """One row, and the note of what became of it."""
    before = {name: getattr(job, name) for name in (*_PROGRESS, "leased_until")}
    try:
        if works.is_one_transaction:
            with transaction.atomic():
                _do(job, row, works)
                _note(job, row)
            return
        _do(job, row, works)
    except LockBusy as busy:
        raise _Busy from busy
    except StateMoved:
        _leave_out(job, row, MOVED)
    except DomainError as problem:
        _leave_out(job, row, problem.message)
    except _TakenOver:
        raise
    except Exception as problem:
        if isinstance(problem.__cause__, LockNotAvailable):
            raise _Busy from problem
        # One row that nobody foresaw must not hold up those after it; what was noted of it is undone.
        logger.exception("job %s, row %s", job.pk, row.number)
        for name, value in before.items():
            setattr(job, name, value)
        _leave_out(job, row, "Something went wrong that we have to look at; it is in the log.")
    _note(job, row)


def _do(job: BulkJob, row: BulkRow, works: Work) -> None:
    wall = clock.now()
    if job.status == Status.LOOKING:
        if works.look is not None:
            works.look(job, row, wall)
        row.state = State.LOOKED
        return
    actor = Actor(job.actor, f"{job.request_id}-{row.number}")
    is_done = works.do(job, row, wall, actor)
    row.state = State.DONE if is_done else State.SKIPPED
    job.skipped += not is_done


def _leave_out(job: BulkJob, row: BulkRow, why: str) -> None:
    row.state, row.why = State.LEFT_OUT, why
    job.failed += 1


def _note(job: BulkJob, row: BulkRow) -> None:
    """Write down how far it came, and hold the job for longer; raises _TakenOver where it is another's by now."""
    is_looking = job.status == Status.LOOKING
    job.looked += is_looking
    job.done += not is_looking or row.state == State.LEFT_OUT
    progress = {name: getattr(job, name) for name in _PROGRESS} | {"leased_until": clock.now() + LEASE}
    with transaction.atomic():
        row.save(update_fields=_RESULT)
        if not _ours(job).update(**progress):
            raise _TakenOver
    job.leased_until = progress["leased_until"]


def _ours(job: BulkJob) -> QuerySet[BulkJob]:
    """The job, as long as nobody has leased it since we did."""
    return BulkJob.objects.filter(pk=job.pk, leased_until=job.leased_until)
