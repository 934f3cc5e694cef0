"""Files brought in row by row, in the background: exactly once each, whoever dies in between.

A process leases the file, does a few rows, notes how far it came, and goes on. When it dies, `run_due` finds the lease
run out and goes on from there. Usage and grants are written in one transaction with the note, so none counts twice;
customers and entities are told by their ids, so doing a row again finds it there.
"""

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import QuerySet

from billing.models import CsvImport
from billing.services.imports import csv_rows
from config import clock
from config.actor import Actor
from config.errors import DomainError

logger = logging.getLogger(__name__)
LEASE = timedelta(minutes=2)
AT_ONCE = 25  # rows between two looks at the lease
MOST_PROBLEMS = 100
_PROGRESS = ("done", "skipped", "failed", "problems")
_IN_ONE_TRANSACTION = (CsvImport.Kind.USAGE, CsvImport.Kind.GRANTS)


class _TakenOver(Exception):
    """We took longer than our lease, and another process goes on with the file."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """What would become of a row."""

    row: csv_rows.Row
    verdict: str
    is_problem: bool


def forecast(kind: str, rows: list[csv_rows.Row]) -> list[Forecast]:
    """For each row, in a handful of statements whatever their number. What costs money is known when it is done."""
    told = csv_rows.unknown(kind, rows)
    seen: set[tuple[str, str]] = set()
    found = []
    for row in rows:
        problem = csv_rows.problem_of(kind, row)
        verdict = problem or told.get(row.line, "")
        is_there = verdict == "is there already"
        key = (row.get("customer_id"), row.get("entity_id"))
        if not verdict and kind in (CsvImport.Kind.CUSTOMERS, CsvImport.Kind.ENTITIES) and key in seen:
            verdict, is_there = "comes twice; the first counts", True
        seen.add(key)
        found.append(Forecast(row, verdict or "comes in", bool(verdict) and not is_there))
    return found


def begin(*, kind: str, content: str, reason: str, by: User, request_id: str, at: datetime) -> CsvImport:
    """Write the file down; nothing of it is in yet. Raises InvalidInput for a file that can't be read."""
    rows = csv_rows.read(kind, content)
    return CsvImport.objects.create(
        kind=kind, content=content, total=len(rows), reason=reason, started_by=by, request_id=request_id, started_at=at
    )


def work(job: CsvImport) -> None:
    """Bring in what is left of the file, unless somebody else is at it."""
    rows: list[csv_rows.Row] | None = None
    while claimed := _claim(job):
        rows = rows or csv_rows.read(claimed.kind, claimed.content)
        try:
            for row in rows[claimed.done : claimed.done + AT_ONCE]:
                _bring_in(claimed, row)
        except _TakenOver:
            return
        finished_at = clock.now() if claimed.done >= claimed.total else None
        _ours(claimed).update(finished_at=finished_at, leased_until=None)


def resume() -> int:
    """Go on with the files whose process died; returns how many there were."""
    left = list(CsvImport.objects.filter(finished_at=None).order_by("pk")[:10])
    stale = [job for job in left if job.leased_until is None or job.leased_until <= clock.now()]
    for job in stale:
        work(job)
    return len(stale)


def _claim(job: CsvImport) -> CsvImport | None:
    """The file, leased to this process; None when it is through or somebody else has it."""
    now = clock.now()
    with transaction.atomic():
        row = CsvImport.objects.select_for_update(of=("self",)).select_related("started_by").get(pk=job.pk)
        if row.finished_at is not None or (row.leased_until is not None and row.leased_until > now):
            return None
        row.leased_until = now + LEASE
        row.save(update_fields=["leased_until"])
    return row


def _bring_in(job: CsvImport, row: csv_rows.Row) -> None:
    """One row and the note that it was gone through."""
    before = {name: getattr(job, name) for name in (*_PROGRESS, "leased_until")}
    try:
        if job.kind in _IN_ONE_TRANSACTION:
            with transaction.atomic():
                _do(job, row)
                _note(job)
            return
        _do(job, row)
    except DomainError as problem:
        _fail(job, row, problem.message)
    except _TakenOver:
        raise
    except Exception:
        # One row that nobody foresaw must not hold up those after it; what was noted of it is undone.
        logger.exception("import %s, line %s", job.pk, row.line)
        for name, value in before.items():
            setattr(job, name, value)
        _fail(job, row, "Something went wrong that we have to look at; it is in the log.")
    _note(job)


def _do(job: CsvImport, row: csv_rows.Row) -> None:
    actor = Actor(f"staff:{job.started_by.get_username()}"[:100], job.request_id)
    if not csv_rows.bring_in(job.kind, row, wall=clock.now(), actor=actor, reason=job.reason):
        job.skipped += 1


def _fail(job: CsvImport, row: csv_rows.Row, why: str) -> None:
    job.failed += 1
    if len(job.problems) < MOST_PROBLEMS:
        job.problems = [*job.problems, {"line": row.line, "why": why}]


def _note(job: CsvImport) -> None:
    """Write down how far it came, and hold the file for longer; raises _TakenOver where it is another's by now."""
    job.done += 1
    progress = {name: getattr(job, name) for name in _PROGRESS} | {"leased_until": clock.now() + LEASE}
    if not _ours(job).update(**progress):
        raise _TakenOver
    job.leased_until = progress["leased_until"]


def _ours(job: CsvImport) -> QuerySet[CsvImport]:
    """The file, as long as nobody has leased it since we did."""
    return CsvImport.objects.filter(pk=job.pk, leased_until=job.leased_until)
