"""The columns of imported files, and what becomes of a row: the same verbs as the API's, one row at a time."""

import csv
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation

from billing.models import BulkJob
from billing.services import customers, seats
from billing.services.balances import grants, metering
from billing.services.balances.grants import Grant
from billing.services.balances.metering import Usage
from billing.services.customers import Details
from config.actor import Actor
from config.errors import DomainError, InvalidInput, InvalidRequest
from entities.errors import EntityAlreadyExists
from entities.models import Customer, Entity
from entities.subject import Subject
from plans.errors import FeatureNotFound
from plans.models import Feature

Kind = BulkJob.Kind
MOST_ROWS = 50_000
MOST_CHARACTERS = 255
_LARGEST = Decimal(10) ** 15


@dataclass(frozen=True, slots=True)
class Columns:
    """What a file of a kind has to have in its header, and what it may have."""

    needed: tuple[str, ...]
    optional: tuple[str, ...] = ()


COLUMNS = {
    Kind.CUSTOMERS: Columns(("customer_id",), ("name", "email")),
    Kind.ENTITIES: Columns(("customer_id", "entity_id", "feature_id"), ("name",)),
    Kind.USAGE: Columns(("customer_id", "feature_id", "value"), ("entity_id",)),
    Kind.GRANTS: Columns(("customer_id", "feature_id", "amount"), ("entity_id", "expires_at")),
    Kind.REMOVALS: Columns(("customer_id", "entity_id")),
}


@dataclass(frozen=True, slots=True)
class Row:
    """One row with its line in the file."""

    line: int
    cells: dict[str, str]

    def get(self, name: str) -> str:
        return self.cells.get(name, "")


def read(kind: str, content: str) -> list[Row]:
    """The rows of a file with a header; raises InvalidInput with the line of the first mistake in its form."""
    reader = csv.reader(content.lstrip("\ufeff").splitlines())
    header = [name.strip().lower() for name in next(reader, [])]
    columns = COLUMNS[Kind(kind)]
    if missing := [name for name in columns.needed if name not in header]:
        raise InvalidInput(f"The first line has to name the columns; {', '.join(missing)} is missing.")
    if unknown := [name for name in header if name not in (*columns.needed, *columns.optional)]:
        raise InvalidInput(f"The column {unknown[0]} is unknown. Known are {', '.join(known(kind))}.")
    rows = []
    for line in reader:
        cells = [cell.strip() for cell in line]
        if not any(cells):
            continue
        if len(cells) > len(header):
            raise InvalidInput(f"Line {reader.line_num} has more cells than the header names columns.")
        rows.append(Row(reader.line_num, dict(zip(header, cells, strict=False))))
        if len(rows) > MOST_ROWS:
            raise InvalidInput(f"Bring at most {MOST_ROWS:,} rows at once.")
    if not rows:
        raise InvalidInput("The file has no rows beneath its header.")
    return rows


def known(kind: str) -> tuple[str, ...]:
    """All columns, those that are needed first."""
    columns = COLUMNS[Kind(kind)]
    return (*columns.needed, *columns.optional)


def bring_in(kind: str, row: Row, *, wall: datetime, actor: Actor, reason: str) -> bool:
    """Do what the row says; False where it was there already. Raises DomainError where it can't be done."""
    check(kind, row)
    return _DO[Kind(kind)](row, wall, actor, reason)


def check(kind: str, row: Row) -> None:
    """What is wrong with a row by itself; raises InvalidInput."""
    for name in COLUMNS[Kind(kind)].needed:
        if not row.get(name):
            raise InvalidInput(f"{name} is empty.")
    if any(len(cell) > MOST_CHARACTERS or "\x00" in cell for cell in row.cells.values()):
        raise InvalidInput(f"A cell is longer than {MOST_CHARACTERS} characters, or no text.")
    if kind == Kind.USAGE:
        _number(row, "value")
    if kind == Kind.GRANTS:
        _number(row, "amount")
        _moment(row, "expires_at")


def _customer(row: Row, wall: datetime, actor: Actor, reason: str) -> bool:
    if Customer.objects.live().filter(external_id=row.get("customer_id")).exists():
        return False
    details = Details({name: row.get(name) for name in ("name", "email") if row.get(name)})
    customers.get_or_create(customer_id=row.get("customer_id"), details=details, at=wall, actor=actor)
    return True


def _entity(row: Row, wall: datetime, actor: Actor, reason: str) -> bool:
    customer = customers.get(row.get("customer_id"))
    feature = Feature.objects.live().filter(slug=row.get("feature_id")).first()
    if feature is None:
        raise FeatureNotFound(row.get("feature_id"))
    try:
        seats.create_entity(
            customer=customer,
            entity_id=row.get("entity_id"),
            feature=feature,
            name=row.get("name"),
            billing_controls={},
            at=customer.now(wall),
            actor=actor,
        )
    except EntityAlreadyExists:
        return False
    return True


def _usage(row: Row, wall: datetime, actor: Actor, reason: str) -> bool:
    feature = Feature.objects.filter(slug=row.get("feature_id")).first()
    if feature is not None and not feature.consumable:
        raise InvalidRequest(f"{feature.slug} is a standing count. Import its entities instead.")
    usage = Usage(row.get("customer_id"), row.get("feature_id"), _number(row, "value"), row.get("entity_id") or None)
    metering.track(usage, wall=wall, actor=actor)
    return True


def _grant(row: Row, wall: datetime, actor: Actor, reason: str) -> bool:
    subject = Subject.get(row.get("customer_id"), row.get("entity_id") or None)
    grant = Grant(row.get("feature_id"), included=_number(row, "amount"), expires_at=_moment(row, "expires_at"))
    grants.create(subject=subject, grant=grant, at=subject.customer.now(wall), actor=actor, reason=reason)
    return True


def _removal(row: Row, wall: datetime, actor: Actor, reason: str) -> bool:
    customer = customers.get(row.get("customer_id"))
    entity = member(row)
    if entity is None:
        return False
    seats.delete_entity(entity=entity, at=customer.now(wall), actor=actor)
    return True


def member(row: Row) -> Entity | None:
    """The live entity that a row names."""
    rows = Entity.objects.live().select_related("customer", "feature")
    return rows.filter(customer__external_id=row.get("customer_id"), external_id=row.get("entity_id")).first()


_DO: dict[Kind, Callable[[Row, datetime, Actor, str], bool]] = {
    Kind.CUSTOMERS: _customer,
    Kind.ENTITIES: _entity,
    Kind.USAGE: _usage,
    Kind.GRANTS: _grant,
    Kind.REMOVALS: _removal,
}


def unknown(kind: str, rows: Iterable[Row]) -> dict[int, str]:
    """What the rows name that is not there, or is there already, by line; looked up together, in three statements."""
    rows = list(rows)
    names = {row.get("customer_id") for row in rows}
    found = dict(Customer.objects.live().filter(external_id__in=names).values_list("external_id", "pk"))
    if kind == Kind.CUSTOMERS:
        return {row.line: "is there already" for row in rows if row.get("customer_id") in found}
    features = set(Feature.objects.live().values_list("slug", flat=True))
    live = Entity.objects.live().filter(customer__in=found.values())
    ids = {row.get("entity_id") for row in rows if row.get("entity_id")}
    there = set(live.filter(external_id__in=ids).values_list("customer__external_id", "external_id"))
    told = {}
    for row in rows:
        is_there = (row.get("customer_id"), row.get("entity_id")) in there
        if row.get("customer_id") not in found:
            told[row.line] = f"there is no customer {row.get('customer_id')}"
        elif kind == Kind.REMOVALS:
            told |= {} if is_there else {row.line: "is not there"}
        elif row.get("feature_id") not in features:
            told[row.line] = f"there is no feature {row.get('feature_id')}"
        elif kind == Kind.ENTITIES and is_there:
            told[row.line] = "is there already"
        elif kind != Kind.ENTITIES and row.get("entity_id") and not is_there:
            told[row.line] = f"there is no entity {row.get('entity_id')}"
    return told


def _number(row: Row, name: str) -> Decimal:
    try:
        number = Decimal(row.get(name))
    except InvalidOperation as wrong:
        raise InvalidInput(f"{name} is no number: {row.get(name)}.") from wrong
    if not number.is_finite() or not 0 < number < _LARGEST:
        raise InvalidInput(f"{name} has to be more than 0: {row.get(name)}.")
    return number


def _moment(row: Row, name: str) -> datetime | None:
    if not row.get(name):
        return None
    try:
        at = datetime.fromisoformat(row.get(name))
    except ValueError as wrong:
        raise InvalidInput(f"{name} is no time such as 2026-12-04T18:00:00Z: {row.get(name)}.") from wrong
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def units(kind: str, rows: Iterable[Row]) -> Decimal:
    """How many units the rows give away together; rows that make no sense give none."""
    if kind != Kind.GRANTS:
        return Decimal(0)
    return sum((_number(row, "amount") for row in rows if not problem_of(kind, row)), Decimal(0))


def problem_of(kind: str, row: Row) -> str:
    """The sentence on what is wrong with a row by itself; empty where nothing is."""
    try:
        check(kind, row)
    except DomainError as problem:
        return problem.message
    return ""
