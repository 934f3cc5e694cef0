"""What attaching a plan means for the plan held now: upgrade, downgrade, or neither; pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from plans.intervals import Interval, IntervalUnit
from plans.models import BasePrice, ItemTerms

ZERO = Decimal(0)


class Kind(StrEnum):
    """What a plan asks to be paid: nothing, once, or again and again."""

    FREE = "free"
    ONE_OFF = "one_off"
    RECURRING = "recurring"


class Schedule(StrEnum):
    """When a change takes effect; the wire's `plan_schedule`."""

    IMMEDIATE = "immediate"
    END_OF_CYCLE = "end_of_cycle"


@dataclass(frozen=True, slots=True)
class Price:
    """One price of a plan as far as comparing needs it; `amount` of a tiered one is its first tier's."""

    amount: Decimal
    interval: Interval | None  # None: paid once
    is_consumable: bool = False

    @property
    def monthly(self) -> Decimal:
        """The price of a month; 0 for what is paid once."""
        return self.amount / self.interval.months if self.interval else ZERO


@dataclass(frozen=True, slots=True)
class Terms:
    """The prices of a plan, customised or not; prices of 0 are no prices."""

    prices: tuple[Price, ...]

    @property
    def kind(self) -> Kind:
        if not self.prices:
            return Kind.FREE
        return Kind.RECURRING if any(price.interval for price in self.prices) else Kind.ONE_OFF

    @property
    def longest(self) -> Interval | None:
        """The longest recurring interval; None without one."""
        intervals = [price.interval for price in self.prices if price.interval]
        return max(intervals, key=lambda interval: interval.months, default=None)

    @property
    def shortest(self) -> Interval | None:
        """The shortest recurring interval, which is how often there is an invoice."""
        intervals = [price.interval for price in self.prices if price.interval]
        return min(intervals, key=lambda interval: interval.months, default=None)

    @property
    def is_all_consumable(self) -> bool:
        return bool(self.prices) and all(price.is_consumable for price in self.prices)

    @property
    def monthly(self) -> Decimal:
        """What a month costs before anything is consumed."""
        return sum((price.monthly for price in self.prices if not price.is_consumable), ZERO)


def terms_of(base: BasePrice, items: Iterable[ItemTerms]) -> Terms:
    """The prices of a plan or subscription and its items."""
    prices = []
    if base.price_amount:
        prices.append(Price(base.price_amount, base.base_interval))
    prices += [
        Price(amount, item.billed_every, item.is_usage_based and not item.feature.is_allocated)
        for item in items
        if item.is_priced and not item.is_unsold and (amount := first_amount(item)) is not None
    ]
    return Terms(tuple(prices))


def first_amount(item: ItemTerms) -> Decimal | None:
    """The amount, or the first tier's, that stands for an item's price; None when all of it is 0."""
    if not item.tiers:
        return item.price_amount or None
    amounts = [Decimal(tier.get("amount") or 0) for tier in item.tiers]
    flats = [Decimal(tier.get("flat_amount") or 0) for tier in item.tiers]
    return amounts[0] if any(amounts) or any(flats) else None


def is_upgrade(current: Terms, new: Terms) -> bool:
    """Whether going from `current` to `new` is an upgrade, which takes effect at once (spec billing 2.2)."""
    if current.kind is Kind.FREE or new.kind is Kind.FREE:
        return current.kind is Kind.FREE
    if Kind.ONE_OFF in (current.kind, new.kind):
        return True
    if current.is_all_consumable and new.is_all_consumable:
        return True
    if current.longest and new.longest and new.longest.months > current.longest.months:
        return True
    return current.monthly <= new.monthly


def decide(current: Terms | None, new: Terms, *, asked: Schedule | None = None) -> Schedule:
    """When the change takes effect: as asked, else at once unless it is a downgrade (spec billing 2.3).

    `current` is the main plan held in the same scope and group; None for add-ons, one-offs and a first plan.
    """
    if asked is not None and (current is not None or asked is Schedule.IMMEDIATE):
        return asked
    if current is None or is_upgrade(current, new):
        return Schedule.IMMEDIATE
    return Schedule.END_OF_CYCLE


def trial_interval(unit: str) -> Interval:
    """A trial's unit as an interval."""
    return Interval(IntervalUnit(unit))
