"""Reading the balances that a subject can draw on: one statement, whatever the number of entities.

`read` sums per breakdown row and locks nothing; `lock` gives single balances held until the transaction ends, taken in
id order so that two tracks can never wait for each other in a circle. Both raise for an unknown customer, entity or
feature.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import groupby
from typing import Any

import orjson

from billing.controls import Controls
from billing.services.balances import statements, terms
from billing.services.balances.terms import BY_HAND, Terms
from config.database import prepared
from entities.errors import CustomerNotFound, EntityNotFound
from plans.errors import FeatureNotFound
from plans.intervals import Interval, next_boundary

ZERO, ONE = Decimal(0), Decimal(1)


# Several of these are made for each call; a frozen one takes three times as long to make.
@dataclass(slots=True)
class Scope:
    """The subject of a call as the database knows it, with its present and the controls that bind it."""

    customer_pk: int
    customer_id: str
    at: datetime
    cycle_anchor: datetime
    disable_pooled_balance: bool
    customer_controls: Controls
    plan_controls: list[Controls]
    entity_pk: int | None = None
    entity_id: str | None = None
    entity_controls: Controls | None = None

    @property
    def has_controls(self) -> bool:
        return bool(self.customer_controls or self.plan_controls or self.entity_controls)

    def controls(self) -> dict[str, Any]:
        """The three layers, as the rules in billing.controls take them."""
        return {"entity": self.entity_controls or {}, "customer": self.customer_controls, "plans": self.plan_controls}


@dataclass(slots=True)
class SourceFeature:
    """A feature that can pay for the asked one: itself, or a credit system at `cost` credits a unit."""

    id: int
    slug: str
    type: str
    consumable: bool
    cost: Decimal
    is_own: bool

    @property
    def is_boolean(self) -> bool:
        return self.type == "boolean"

    @property
    def is_allocated(self) -> bool:
        return self.type == "metered" and not self.consumable

    @property
    def counts_licenses(self) -> bool:
        """Kept by billing.services.licenses; applications can neither name nor see it."""
        return self.type == "license"


@dataclass(slots=True)
class BalanceRow:
    """One balance, or several of one kind summed: `remaining` is floored at 0 per balance, `left` is not."""

    id: int
    count: int
    public_id: str
    feature_id: int
    level: str
    is_rollover: bool
    entity_id: int | None
    item_id: int | None
    prepaid: Decimal
    granted: Decimal
    usage: Decimal
    held: Decimal
    expired: Decimal
    remaining: Decimal
    unlimited: bool
    allows_overage: bool
    max_overage: Decimal | None
    bills_at_once: bool
    is_prepaid: bool
    is_add_on: bool
    reset_interval: str
    reset_interval_count: int
    next_reset_at: datetime | None
    expires_at: datetime | None
    terms: Terms = BY_HAND
    left: Decimal = ZERO

    @property
    def plan_slug(self) -> str | None:
        return self.terms.plan_slug

    @property
    def reset_every(self) -> Interval | None:
        return Interval.of(self.reset_interval, self.reset_interval_count)

    @property
    def used(self) -> Decimal:
        """Usage as the wire shows it: what is held counts as used until it is given back."""
        return self.usage + self.held


@dataclass(frozen=True, slots=True)
class Hears:
    """Of which changes of balances some endpoint of an application is told."""

    limits: bool = False
    alerts: bool = False


NOBODY = Hears()


@dataclass(slots=True)
class Sources:
    """What was asked about, and the balances found for it; locked ones come with who is told of their changes."""

    scope: Scope
    features: list[SourceFeature]
    rows: list[BalanceRow]
    hears: Hears = NOBODY

    @property
    def feature(self) -> SourceFeature:
        """The feature asked for."""
        return self.features[0]

    def of(self, feature: SourceFeature) -> list[BalanceRow]:
        return [row for row in self.rows if row.feature_id == feature.id]

    def due(self) -> bool:
        """Whether a reset has come due that nobody has carried out yet."""
        return any(row.next_reset_at is not None and row.next_reset_at <= self.scope.at for row in self.rows)


def totals(rows: Sequence[BalanceRow]) -> tuple[Decimal, Decimal, Decimal, bool]:
    """Granted, used and left over all of these, and whether one is unlimited; in one pass, as each call asks."""
    granted = used = remaining = ZERO
    unlimited = False
    for row in rows:
        granted += row.granted - row.expired
        used += row.used
        remaining += row.remaining
        unlimited = unlimited or row.unlimited
    return granted, used, remaining, unlimited


_READ_SIMPLE = {scope: statements.read_simple(for_entity=scope) for scope in (True, False)}
_READ_ONE = {scope: statements.read_one(for_entity=scope) for scope in (True, False)}
_READ_ALL = {scope: statements.read_all(for_entity=scope) for scope in (True, False)}
_READ_MANY = {scope: statements.read_many(for_entity=scope) for scope in (True, False)}
_LOCK = {scope: statements.lock(for_entity=scope) for scope in (True, False)}
# A customer-level track seldom needs more: each has something left.
FIRST_SLICES = 16
_LOCK_FIRST = statements.lock(for_entity=False, first=FIRST_SLICES)


def read(*, customer_id: str, entity_id: str | None, feature: str | None, wall: datetime) -> Sources:
    """The balances of one feature (and of the credit systems covering it), or of every feature; nothing is locked.

    For an entity every balance is a row of its own; for a customer the slices of one item are summed, and what entities
    own is summed per feature (level `own`).
    """
    parameters = {"customer_id": customer_id, "entity_id": entity_id, "wall": wall, "feature": feature}
    if feature is None:
        return _found(_READ_ALL[bool(entity_id)], parameters)
    simple = prepared.rows(_READ_SIMPLE[bool(entity_id)], parameters)
    if simple:
        return from_simple_rows(simple, customer_id=customer_id, entity_id=entity_id, feature=feature)
    return _found(_READ_ONE[bool(entity_id)], parameters)


def read_many(*, wall: datetime, customers: Sequence[int] = (), entities: Sequence[int] = ()) -> list[Sources]:
    """Every balance of these customers, or of these entities (keys), in their order; who is gone is left out."""
    pks = list(entities or customers)
    found = prepared.rows(_READ_MANY[bool(entities)], {"pks": pks, "wall": wall}) if pks else []
    return [from_rows(list(rows)) for _, rows in groupby(found, key=lambda row: (row[0], row[7]))]


def lock(*, customer_id: str, entity_id: str | None, feature: str, wall: datetime, only_first: bool = False) -> Sources:
    """The single balances that a deduction may touch, locked until the transaction ends.

    With `only_first` at most FIRST_SLICES of a customer's slices, those that pay first.
    """
    parameters = {"customer_id": customer_id, "entity_id": entity_id, "wall": wall, "features": [feature]}
    statement = _LOCK_FIRST if only_first and not entity_id else _LOCK[bool(entity_id)]
    while True:
        found = prepared.rows(statement, parameters)
        # A plan that was changed meanwhile: what it gave is locked next, and no unit lost between the two.
        if not found or not found[0][-1]:
            locked = _checked([row[:-3] for row in found], parameters)
            locked.hears = Hears(*found[0][-3:-1])
            return locked


def lock_all(*, customer_id: str, entity_id: str | None, features: list[str], wall: datetime) -> None:
    """Lock the balances of several features at once, in id order, before they are deducted from one by one."""
    parameters = {"customer_id": customer_id, "entity_id": entity_id, "wall": wall, "features": features}
    prepared.rows(_LOCK[bool(entity_id)], parameters)


def _found(statement: str, parameters: dict[str, Any]) -> Sources:
    return _checked(prepared.rows(statement, parameters), parameters)


def _checked(found: list[tuple[Any, ...]], parameters: dict[str, Any]) -> Sources:
    """The rows as sources; raises for what was asked for and is not there."""
    if not found:
        raise _missing(parameters["customer_id"], parameters["entity_id"])
    # An empty id is an id too, and not found.
    feature = parameters.get("feature", next(iter(parameters.get("features", ())), None))
    if feature is not None and found[0][10] is None:
        raise FeatureNotFound(feature)
    return from_rows(found)


def _missing(customer_id: str, entity_id: str | None) -> EntityNotFound | CustomerNotFound:
    """With an entity asked for, the entity is what is missing, even when its customer is (spec balances 6.3)."""
    return EntityNotFound(entity_id) if entity_id else CustomerNotFound(customer_id)


def from_rows(found: list[tuple[Any, ...]]) -> Sources:
    """One subject's rows: the scope is on each, features and balances may be missing."""
    scope = _scope(found[0])
    features = {row[10]: SourceFeature(*row[10:16]) for row in found if row[10] is not None}
    in_order = sorted(features.values(), key=lambda feature: (not feature.is_own, feature.id))
    rows = _balance_rows([row[16:] for row in found if row[16] is not None], scope.at)
    return Sources(scope, in_order, _without_disabled_pool(scope, rows))


def from_simple_rows(
    found: Sequence[Sequence[Any]], *, customer_id: str, entity_id: str | None, feature: str
) -> Sources:
    """Rows of one feature and a subject without controls, in which what was asked for is not repeated."""
    customer_pk, at, cycle_anchor, disable_pooled_balance, entity_pk, feature_pk, kind, consumable = found[0][:8]
    scope = Scope(
        customer_pk=customer_pk,
        customer_id=customer_id,
        at=at,
        cycle_anchor=cycle_anchor,
        disable_pooled_balance=disable_pooled_balance,
        customer_controls={},
        plan_controls=[],
        entity_pk=entity_pk,
        entity_id=entity_id,
    )
    own = SourceFeature(feature_pk, feature, kind, consumable, ONE, is_own=True)
    rows = _balance_rows([row[8:] for row in found if row[8] is not None], at)
    return Sources(scope, [own], _without_disabled_pool(scope, rows))


def _scope(row: tuple[Any, ...]) -> Scope:
    return Scope(
        customer_pk=row[0],
        customer_id=row[1],
        at=row[2],
        cycle_anchor=row[3],
        disable_pooled_balance=row[4],
        customer_controls=_json(row[5]) or {},
        plan_controls=_json(row[6]) or [],
        entity_pk=row[7],
        entity_id=row[8],
        entity_controls=_json(row[9]),
    )


def _balance_rows(found: Sequence[Sequence[Any]], at: datetime) -> list[BalanceRow]:
    rows = [BalanceRow(*row) for row in found]
    known = terms.of_items({row.item_id for row in rows if row.item_id is not None})
    # An item is shown with nothing in it only while no entity has a slice of it.
    sliced = {row.item_id for row in rows if row.count and not row.is_rollover}
    rows = [row for row in rows if row.count or row.item_id not in sliced]
    for row in rows:
        row.left = row.granted - row.usage - row.held - row.expired
        if row.item_id is not None:
            row.terms = known[row.item_id]
        if not row.count and row.next_reset_at is not None:
            interval = row.reset_every
            row.next_reset_at = next_boundary(row.next_reset_at, interval, at) if interval else None
    rows.sort(key=lambda row: (row.is_rollover, row.id))
    return rows


def _json(value: Any) -> Any:
    return orjson.loads(value) if isinstance(value, str | bytes) else value


def _without_disabled_pool(scope: Scope, rows: list[BalanceRow]) -> list[BalanceRow]:
    """With the pooled balance disabled, an entity that has balances of its own sees only those (spec balances 5.3)."""
    if not scope.disable_pooled_balance or scope.entity_pk is None:
        return rows
    own = {row.feature_id for row in rows if row.level != "pool"}
    return [row for row in rows if row.level != "pool" or row.feature_id not in own]
