"""Files on their way in: what would become of each row, and the job that brings them in."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from billing.models import BulkJob, BulkRow
from billing.services import customers, jobs, seats
from billing.services.imports import csv_rows
from billing.services.jobs import Kind, Status, Work
from config.actor import Actor
from plans.errors import FeatureNotFound
from plans.models import Feature

AHEAD = "ahead"
NO_NEWS = ("is there already", "is not there")


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
        is_known = verdict in NO_NEWS
        key = (row.get("customer_id"), row.get("entity_id"))
        if not verdict and kind not in (Kind.USAGE, Kind.GRANTS) and key in seen:
            verdict, is_known = "comes twice; the first counts", True
        seen.add(key)
        found.append(Forecast(row, verdict, bool(verdict) and not is_known))
    return found


def begin(
    *, kind: Kind, title: str, rows: Iterable[csv_rows.Row], actor: Actor, at: datetime, is_known: bool = False
) -> BulkJob:
    """Write the rows down; nothing of them is in yet.

    What costs money is looked at first, in the background, unless what it comes to `is_known`.
    """
    status = Status.READY if is_known or WORKS[kind].look is None else Status.LOOKING
    return jobs.begin(kind=kind, title=title, status=status, rows=_in_line(kind, rows), actor=actor, at=at)


def _in_line(kind: Kind, rows: Iterable[csv_rows.Row]) -> Iterator[tuple[int, dict[str, str]]]:
    """Each row by its number; who comes or goes, with how many of the same customer are ahead, for the price."""
    ahead: Counter[str] = Counter()
    for row in rows:
        customer = row.get("customer_id")
        place = {} if WORKS[kind].look is None else {AHEAD: str(ahead[customer])}
        ahead[customer] += 1
        yield row.line, {**row.cells, **place}


def _bring_in(job: BulkJob, row: BulkRow, wall: datetime, actor: Actor) -> bool:
    return csv_rows.bring_in(job.kind, _cells(row), wall=wall, actor=actor, reason=job.reason)


def _remove(job: BulkJob, row: BulkRow, wall: datetime, actor: Actor) -> bool:
    """Remove an entity; its row keeps what is needed to add it again."""
    entity = csv_rows.member(_cells(row))
    if entity is not None:
        row.cells |= {"feature_id": entity.feature.slug, "name": entity.name}
    return _bring_in(job, row, wall, actor)


def _look_at_entity(job: BulkJob, row: BulkRow, wall: datetime) -> None:
    csv_rows.check(job.kind, _cells(row))
    customer = customers.get(row.get("customer_id"))
    feature = Feature.objects.live().filter(slug=row.get("feature_id")).first()
    if feature is None:
        raise FeatureNotFound(row.get("feature_id"))
    if csv_rows.member(_cells(row)) is not None:
        row.what, row.amount = "is there already", Decimal(0)
        return
    outcome = seats.preview_create(customer=customer, feature=feature, at=customer.now(wall), ahead=_ahead(row))
    row.what, row.amount, row.currency = "comes in", outcome.total, outcome.currency


def _look_at_removal(job: BulkJob, row: BulkRow, wall: datetime) -> None:
    csv_rows.check(job.kind, _cells(row))
    entity = csv_rows.member(_cells(row))
    if entity is None:
        row.what, row.amount = "is not there", Decimal(0)
        return
    outcome = seats.preview_delete(entity=entity, at=entity.customer.now(wall), ahead=_ahead(row))
    row.what, row.amount, row.currency = "leaves", outcome.total, outcome.currency


def _ahead(row: BulkRow) -> int:
    return int(row.get(AHEAD) or 0)


def _cells(row: BulkRow) -> csv_rows.Row:
    return csv_rows.Row(row.number, row.cells)


def _cells_of_entity(row: BulkRow) -> dict[str, Any]:
    return dict(row.cells)


WORKS = {
    Kind.CUSTOMERS: Work(_bring_in),
    Kind.ENTITIES: Work(_bring_in, look=_look_at_entity, undo=_cells_of_entity, undo_kind=Kind.REMOVALS),
    Kind.USAGE: Work(_bring_in, is_one_transaction=True),
    Kind.GRANTS: Work(_bring_in, is_one_transaction=True),
    Kind.REMOVALS: Work(_remove, look=_look_at_removal, undo=_cells_of_entity, undo_kind=Kind.ENTITIES),
}
