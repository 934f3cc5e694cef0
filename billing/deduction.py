"""How one tracked quantity is spread over the balances that can pay for it: pure, and the only place that knows.

Rules: spec/balances.md 7 and 7A. Quantities are Decimals; a source that is a credit balance has a `cost`, and its
amounts are in credits while the tracked value stays in units of the tracked feature.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import ROUND_DOWN, Decimal
from enum import StrEnum

from plans.intervals import Interval

ZERO = Decimal(0)
PLACES = Decimal("1e-10")
NEVER = datetime.max.replace(tzinfo=UTC)


class OverageBehavior(StrEnum):
    """What happens to the part of a track that no balance can pay."""

    CAP = "cap"
    REJECT = "reject"
    OVERFLOW = "overflow"


@dataclass(frozen=True, slots=True)
class Source:
    """A balance as the deduction sees it.

    `left` is granted - usage - held - expired (below 0 when overdrawn), `usage` what a refund can give back,
    `overage` how far below 0 it may be taken in all (0: not at all, None: without bound).
    """

    id: int
    left: Decimal
    usage: Decimal
    feature_id: int
    unlimited: bool = False
    cost: Decimal = Decimal(1)
    overage: Decimal | None = ZERO
    is_own_feature: bool = True
    is_rollover: bool = False
    is_pool: bool = True
    interval: Interval | None = None
    expires_at: datetime | None = None
    is_add_on: bool = False
    is_prepaid: bool = False
    item_id: int = 0
    entity_id: int = 0


@dataclass(frozen=True, slots=True)
class Part:
    """What one source gives (below 0: gets back): `amount` in its own units, `units` in the tracked feature's."""

    source_id: int
    amount: Decimal
    units: Decimal


@dataclass(frozen=True, slots=True)
class Deduction:
    """How a value was spread; `applied` of it found a source, all of it when `complete`."""

    value: Decimal
    parts: tuple[Part, ...] = ()
    applied: Decimal = ZERO
    complete: bool = False


@dataclass(slots=True)
class _Run:
    """One deduction under way: what is still to place, and what each source has given so far."""

    todo: Decimal
    taken: dict[int, Decimal] = field(default_factory=dict)
    units: dict[int, Decimal] = field(default_factory=dict)

    def move(self, source: Source, amount: Decimal, units: Decimal) -> None:
        self.taken[source.id] = self.taken.get(source.id, ZERO) + amount
        self.units[source.id] = self.units.get(source.id, ZERO) + units
        self.todo -= units

    def left(self, source: Source) -> Decimal:
        return source.left - self.taken.get(source.id, ZERO)

    def usage(self, source: Source) -> Decimal:
        return source.usage + self.taken.get(source.id, ZERO)


def in_order(sources: Iterable[Source], *, for_entity: bool) -> list[Source]:
    """The sources in the order in which they pay (7A): an entity uses its own before the shared ones, a customer the
    shared ones before its entities', oldest entity first. What is alike otherwise pays by age, as ids tell."""

    def key(source: Source) -> tuple[object, ...]:
        expiry = source.expires_at or NEVER
        # The slices of an item are as old as the item, whenever their entities came.
        is_one_of_many = not source.is_pool and not for_entity
        return (
            not source.unlimited,
            not source.is_own_feature,
            0 if source.is_own_feature else source.feature_id,
            not source.is_rollover,
            expiry if source.is_rollover else NEVER,
            source.is_pool == for_entity,
            source.interval is None,
            source.interval.months if source.interval else ZERO,
            expiry,
            source.is_add_on,
            not source.is_prepaid,
            source.item_id if is_one_of_many else 0,
            source.entity_id,
            source.id,
        )

    return sorted(sources, key=key)


def deduct(
    sources: Sequence[Source],
    value: Decimal,
    *,
    behavior: OverageBehavior,
    headroom: Decimal | None = None,
    credit_headroom: Mapping[int, Decimal] | None = None,
    overage_headroom: Decimal | None = None,
) -> Deduction:
    """Spread `value` over `sources`, which are in paying order.

    `headroom` is what usage limits leave for the tracked feature, `credit_headroom` the same per credit feature in
    credits, `overage_headroom` what a spend limit leaves for going below 0 in all; None means no limit. Overflow
    ignores usage limits. With reject an incomplete deduction takes nothing.
    """
    if value < 0:
        return _give_back(sources, value, behavior)
    unlimited = next((source for source in sources if source.unlimited), None)
    if unlimited is not None:
        amount = _exact(value * unlimited.cost)
        return Deduction(value, _parts({unlimited.id: amount}, {unlimited.id: value}), value, complete=True)
    limits = dict(credit_headroom or {})
    if behavior is OverageBehavior.OVERFLOW:
        headroom, limits = None, {}
    run = _Run(value if headroom is None else min(value, max(headroom, ZERO)))
    for source in sources:
        _take(run, source, run.left(source), limits)
    for source in sources:
        if source.overage == ZERO or run.todo <= 0:
            continue
        below = None if source.overage is None else source.overage + min(run.left(source), ZERO)
        room = _tighter(below, overage_headroom)
        before = run.taken.get(source.id, ZERO)
        _take(run, source, room, limits)
        if overage_headroom is not None:
            overage_headroom -= run.taken.get(source.id, ZERO) - before
    applied = sum(run.units.values(), ZERO)
    complete = applied == value
    if behavior is OverageBehavior.REJECT and not complete:
        return Deduction(value)
    return Deduction(value, _parts(run.taken, run.units), applied, complete)


def overage_bound(
    *,
    behavior: OverageBehavior,
    allowed: bool | None,
    is_sold: bool,
    most_sold: Decimal | None,
    is_allocated: bool,
    is_rollover: bool,
) -> Decimal | None:
    """How far below 0 a balance may be taken: 0 not at all, None without bound (spec balances 7.6, 7.7, 11.1).

    `allowed` is the overage_allowed control in force, None when there is none.
    """
    if is_rollover:
        return ZERO
    if behavior is OverageBehavior.OVERFLOW:
        return None
    if allowed is not None:
        return None if allowed else ZERO
    if is_sold:
        return most_sold
    if is_allocated and behavior is OverageBehavior.CAP:
        return None
    return ZERO


def _take(run: _Run, source: Source, room: Decimal | None, limits: dict[int, Decimal]) -> None:
    """Take from one source up to `room` of its own units (None: whatever is wanted) and up to its feature's limit."""
    if run.todo <= 0:
        return
    limit = None if source.is_own_feature else limits.get(source.feature_id)
    wanted = _exact(run.todo * source.cost)
    most = _tighter(room, limit)
    amount = wanted if most is None else min(wanted, most)
    if amount <= 0:
        return
    units = run.todo if amount == wanted else _exact(amount / source.cost)
    run.move(source, amount, units)
    if limit is not None:
        limits[source.feature_id] = limit - amount


def _give_back(sources: Sequence[Source], value: Decimal, behavior: OverageBehavior) -> Deduction:
    """A refund first cures overdrafts, then lifts each source up to its own grant; the surplus is dropped, or with
    overflow left on the first source (spec balances 7.6, 7.8)."""
    run = _Run(value)
    unlimited = next((source for source in sources if source.unlimited), None)
    if unlimited is not None:
        run.move(unlimited, _exact(value * unlimited.cost), value)
        return Deduction(value, _parts(run.taken, run.units), value, complete=True)
    for source in sources:
        _return(run, source, -run.left(source))
    for source in sources:
        _return(run, source, run.usage(source))
    main = next((source for source in sources if not source.is_rollover), None)
    if behavior is OverageBehavior.OVERFLOW and run.todo < 0 and main is not None:
        run.move(main, _exact(run.todo * main.cost), run.todo)
    # A refund that finds no usage to undo is not an error: the event records what was asked for.
    return Deduction(value, _parts(run.taken, run.units), sum(run.units.values(), ZERO), complete=True)


def _return(run: _Run, source: Source, room: Decimal) -> None:
    wanted = _exact(-run.todo * source.cost)
    amount = min(wanted, room)
    if amount <= 0:
        return
    units = -run.todo if amount == wanted else _exact(amount / source.cost)
    run.move(source, -amount, -units)


def _parts(taken: Mapping[int, Decimal], units: Mapping[int, Decimal]) -> tuple[Part, ...]:
    return tuple(
        Part(source_id, amount, units[source_id]) for source_id, amount in taken.items() if amount or units[source_id]
    )


def _tighter(one: Decimal | None, other: Decimal | None) -> Decimal | None:
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)


def _exact(amount: Decimal) -> Decimal:
    """Balances keep ten decimals (spec balances 7.9)."""
    return amount.quantize(PLACES, ROUND_DOWN) if amount.as_tuple().exponent < -10 else amount  # type: ignore[operator]
