"""The lines of an invoice: charges, credits, overage, seats; pure.

Every line is rounded half up on its own and only then summed, so that a preview and the invoice it announces agree to
the cent (decisions 10). Times count in milliseconds (spec billing 5.1).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction

from billing.models import Discount, InvoiceLine, Overage, PendingLine, Subscription, SubscriptionItem, VacatedSeat
from plans import pricing
from plans.intervals import Interval, period_around

ZERO = Decimal(0)
ONE = Decimal(1)
Kind = InvoiceLine.Kind
_MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Period:
    """From `start` until just before `end`."""

    start: datetime
    end: datetime

    def rest(self, at: datetime) -> tuple[int, int]:
        """How much of it is left at `at`, and how much it is in all, in milliseconds."""
        span = (self.end - self.start) // _MILLISECOND
        return max(0, min(span, (self.end - at) // _MILLISECOND)), span


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line to invoice, rounded; `item` is None for the base price and for custom lines."""

    kind: InvoiceLine.Kind
    amount: Decimal
    display_name: str
    description: str
    subscription: Subscription
    item: SubscriptionItem | None = None
    quantity: Decimal = Decimal(1)
    is_credit: bool = False
    period: Period | None = None
    pending: PendingLine | None = None  # the waiting line that this one bills
    overages: tuple[Overage, ...] = ()  # what was put aside and is billed by this line
    lowers: InvoiceLine.Kind | None = None  # of a discount: the kind of the line above it
    discount: Discount | None = None


@dataclass(frozen=True, slots=True)
class Covered:
    """An earlier line, charge or credit, whose period has not run out: what was paid for and is not used up yet.

    A discount has the kind of the line that it lowers.
    """

    kind: str
    item_id: int | None
    amount: Decimal
    period: Period
    display_name: str
    description: str
    is_discount: bool = False


@dataclass(slots=True)
class Holding:
    """A subscription with all that billing needs to know of it; the subscription and its items may be unsaved."""

    subscription: Subscription
    items: list[SubscriptionItem]
    # By the position of the item: standing units beyond the included ones; seats in use, the included ones counted;
    # what was consumed beyond the grant and is not put aside yet.
    seats: dict[int, Decimal] = field(default_factory=dict)
    seats_held: dict[int, Decimal] = field(default_factory=dict)
    overdrawn: dict[int, Decimal] = field(default_factory=dict)
    overages: list[Overage] = field(default_factory=list)  # put aside, unbilled
    covered: list[Covered] = field(default_factory=list)
    pending: list[PendingLine] = field(default_factory=list)
    vacated: list[VacatedSeat] = field(default_factory=list)  # paid seats that nobody took over yet, oldest first

    @property
    def anchor(self) -> datetime:
        """What its cycles are counted from; raises ValueError for what never recurs."""
        anchor = self.subscription.billing_cycle_anchor
        if anchor is None:
            raise ValueError(f"{self.subscription} has no cycles")
        return anchor


@dataclass(frozen=True, slots=True)
class Advance:
    """A price paid in advance: the amount of one whole interval (None: paid once), unrounded."""

    kind: InvoiceLine.Kind
    amount: Decimal
    interval: Interval | None
    item: SubscriptionItem | None = None
    quantity: Decimal = Decimal(1)


def rate(item: SubscriptionItem) -> pricing.Rate:
    """The item's terms as a rate."""
    return pricing.rate_of(
        included=item.included,
        amount=item.price_amount,
        tiers=item.tiers,
        is_volume=item.tier_behavior == item.TierBehavior.VOLUME,
        billing_units=item.billing_units,
    )


def advances(holding: Holding) -> list[Advance]:
    """What a holding pays in advance: base price, prepaid quantities, and seats that are billed when they change."""
    subscription = holding.subscription
    found = []
    if subscription.price_amount:
        base = subscription.price_amount * subscription.quantity
        kind = Kind.BASE if subscription.base_interval else Kind.ONE_OFF
        found.append(Advance(kind, base, subscription.base_interval, quantity=Decimal(subscription.quantity)))
    for item in holding.items:
        if item.is_prepaid:
            price = rate(item).price_of(item.quantity)
            kind = Kind.PREPAID if item.billed_every else Kind.ONE_OFF
            found.append(Advance(kind, price, item.billed_every, item, item.quantity))
        elif item.bills_seats_at_once:
            beyond = holding.seats.get(item.position, ZERO)
            price = rate(item).price_of(item.included + beyond)
            held = holding.seats_held.get(item.position, item.included + beyond)
            found.append(Advance(Kind.SEATS, price, item.billed_every, item, held))
    return found


def first_lines(holding: Holding, *, at: datetime, currency: str, whole: bool = False) -> list[Line]:
    """What starting at `at` costs: the rest of the cycle around it, pro rata, or `whole` ones; one-offs in full."""
    lines = []
    for price in advances(holding):
        if price.interval is None:
            lines.append(charge(holding.subscription, price, price.amount, None, currency))
            continue
        period = Period(*period_around(holding.anchor, price.interval, at))
        rest, span = period.rest(at)
        amount = price.amount if whole else pricing.share(price.amount, rest, span)
        lines.append(charge(holding.subscription, price, amount, replace(period, start=at), currency))
    return without_empty(lines)


def renewal_lines(holding: Holding, *, at: datetime, currency: str) -> list[Line]:
    """What the cycles that begin at the boundary `at` cost: every price whose interval has a boundary there."""
    lines = []
    for price in advances(holding):
        if price.interval is not None and is_boundary(holding.anchor, price.interval, at):
            period = Period(*period_around(holding.anchor, price.interval, at))
            lines.append(charge(holding.subscription, price, price.amount, period, currency))
    return without_empty(lines)


def usage_lines(
    holding: Holding,
    *,
    at: datetime,
    currency: str,
    everything: bool = False,
    with_overdrawn: bool = False,
    with_seats: bool = True,
) -> list[Line]:
    """What was used until the boundary `at` and is billed afterwards: overage, then seats held in arrears.

    `everything` bills what is put aside although its own price's interval goes on, and `with_overdrawn` what is not
    put aside yet: the plan ends. Overage of one item
    is summed over entities and then rounded up to billing units, a boundary at a time (spec billing 9.7).
    """
    lines = []
    for item in holding.items:
        if not item.is_usage_based or not (everything or _ends(holding, item, at)):
            continue
        if item.feature.is_allocated:
            beyond = holding.seats.get(item.position, ZERO)
            if with_seats and not item.bills_seats_at_once and beyond:
                price = rate(item).price_of(item.included + beyond)
                lines.append(_arrear(holding, item, Kind.SEATS, price, beyond, at, currency))
        else:
            lines.extend(overage_lines(holding, item, at=at, currency=currency, with_overdrawn=with_overdrawn))
    return without_empty(lines)


def overage_lines(
    holding: Holding, item: SubscriptionItem, *, at: datetime, currency: str, with_overdrawn: bool
) -> list[Line]:
    """A line for each boundary with overage put aside, and one for what is overdrawn at this moment."""
    lines = []
    mine = [row for row in holding.overages if row.item_id == item.pk and row.boundary_at <= at]
    for moment in sorted({row.boundary_at for row in mine}):
        rows = tuple(row for row in mine if row.boundary_at == moment)
        quantity = sum((row.quantity for row in rows), ZERO)
        price = rate(item).price_of(item.included + quantity)
        lines.append(replace(_arrear(holding, item, Kind.OVERAGE, price, quantity, moment, currency), overages=rows))
    overdrawn = holding.overdrawn.get(item.position, ZERO)
    if overdrawn and with_overdrawn:
        price = rate(item).price_of(item.included + overdrawn)
        lines.append(_arrear(holding, item, Kind.OVERAGE, price, overdrawn, at, currency))
    return lines


def credit_lines(holding: Holding, *, at: datetime, currency: str, whole_cycles_only: bool = False) -> list[Line]:
    """What was paid for and will not be used after `at`: one line a price, counted from what was really charged.

    Charges and credits alike are spread evenly over their periods; the rest of their sum is what is unused (spec
    billing 5.3). With `whole_cycles_only` a period that has begun is not given back (spec billing 4.3).
    """
    unused: dict[tuple[str, int | None], Fraction] = {}
    shown: dict[tuple[str, int | None], Covered] = {}
    for line in holding.covered:
        rest, span = line.period.rest(at)
        if not rest or (whole_cycles_only and rest < span):
            continue
        key = (line.kind, line.item_id)
        unused[key] = unused.get(key, Fraction(0)) + Fraction(line.amount) * Fraction(rest, span)
        shown.setdefault(key, line)
    items = {item.pk: item for item in holding.items}
    lines = []
    for key, amount in unused.items():
        first = shown[key]
        item = items.get(first.item_id or 0)
        period = Period(at, first.period.end)
        what = f"Unused {_what(holding.subscription, item, None)}"
        lines.append(
            Line(
                kind=Kind(first.kind),
                amount=pricing.round_money(pricing.decimal(-amount), currency),
                display_name=first.display_name,
                description=_describe(holding.subscription, what, period),
                subscription=holding.subscription,
                item=item,
                is_credit=True,
                period=period,
            )
        )
    return without_empty(lines)


def change_line(
    holding: Holding,
    item: SubscriptionItem,
    *,
    before: Decimal,
    after: Decimal,
    at: datetime,
    whole: bool,
    currency: str,
) -> Line:
    """The line of a changed quantity: the difference of two prices of one item, for the rest of the cycle or `whole`.

    `before` and `after` are units in all, the included ones counted. What is given back of a price that was lowered by
    discounts is lowered as much.
    """
    interval = item.billed_every
    terms = rate(item)
    kind = Kind.PREPAID if item.is_prepaid else Kind.SEATS
    difference = terms.price_of(after) - terms.price_of(before)
    if difference < 0:
        difference *= _part_charged(holding, item, kind, at)
    period = None
    if interval is not None:
        cycle = Period(*period_around(holding.anchor, interval, at))
        period = replace(cycle, start=at)
        if not whole:
            difference = pricing.share(difference, *cycle.rest(at))
    quantity = abs(after - before)
    what = _what(holding.subscription, item, quantity)
    return Line(
        kind=kind,
        amount=pricing.round_money(difference, currency),
        display_name=item.feature.name,
        description=_describe(holding.subscription, what if difference >= 0 else f"Unused {what}", period),
        subscription=holding.subscription,
        item=item,
        quantity=quantity,
        is_credit=difference < 0,
        period=period,
    )


def _part_charged(holding: Holding, item: SubscriptionItem, kind: InvoiceLine.Kind, at: datetime) -> Decimal:
    """How much of an item's price was charged for what is running at `at`: 1 where no discount lowered it."""
    running = [
        line for line in holding.covered if line.item_id == item.pk and line.kind == kind and line.period.end > at
    ]
    listed = sum((line.amount for line in running if line.amount > 0), ZERO)
    lowered = sum((line.amount for line in running if line.is_discount), ZERO)
    return (listed + lowered) / listed if listed and lowered else ONE


def pending_lines(holding: Holding) -> list[Line]:
    """The lines that wait for this invoice."""
    items = {item.pk: item for item in holding.items}
    return [
        Line(
            kind=Kind(row.kind),
            amount=row.amount,
            display_name=row.display_name,
            description=row.description,
            subscription=holding.subscription,
            item=items.get(row.item_id or 0),
            quantity=row.quantity,
            is_credit=row.is_credit,
            period=Period(row.period_start, row.period_end) if row.period_start and row.period_end else None,
            pending=row,
        )
        for row in holding.pending
    ]


def custom_line(subscription: Subscription, *, amount: Decimal, description: str, currency: str) -> Line:
    """A line that the caller worded and priced."""
    return Line(
        kind=Kind.CUSTOM,
        amount=pricing.round_money(amount, currency),
        display_name=subscription.plan.name,
        description=description,
        subscription=subscription,
        is_credit=amount < 0,
    )


def charge(subscription: Subscription, price: Advance, amount: Decimal, period: Period | None, currency: str) -> Line:
    """The line of a price paid in advance."""
    quantity = None if price.item is None else price.quantity
    return Line(
        kind=price.kind,
        amount=pricing.round_money(amount, currency),
        display_name=price.item.feature.name if price.item else subscription.plan.name,
        description=_describe(subscription, _what(subscription, price.item, quantity), period),
        subscription=subscription,
        item=price.item,
        quantity=price.quantity,
        period=period,
    )


def is_boundary(anchor: datetime, interval: Interval, at: datetime) -> bool:
    """Whether a cycle of `interval` begins at `at`."""
    return period_around(anchor, interval, at)[0] == at


def previous_boundary(anchor: datetime, interval: Interval, at: datetime) -> datetime:
    """The boundary before `at`: where the cycle that ends at `at` began."""
    return period_around(anchor, interval, at - _MILLISECOND)[0]


def total(lines: Iterable[Line]) -> Decimal:
    """The sum of rounded lines."""
    return sum((line.amount for line in lines), ZERO)


def without_empty(lines: Iterable[Line]) -> list[Line]:
    """Lines that say something: what costs nothing and bills nothing is left out."""
    return [line for line in lines if line.amount or line.overages or line.pending]


def _ends(holding: Holding, item: SubscriptionItem, at: datetime) -> bool:
    interval = item.billed_every or item.reset_every
    return interval is not None and is_boundary(holding.anchor, interval, at)


def _arrear(
    holding: Holding,
    item: SubscriptionItem,
    kind: InvoiceLine.Kind,
    price: Decimal,
    quantity: Decimal,
    end: datetime,
    currency: str,
) -> Line:
    interval = item.reset_every or item.billed_every
    period = None
    if interval is not None and holding.subscription.billing_cycle_anchor is not None:
        period = Period(previous_boundary(holding.anchor, interval, end), end)
    return Line(
        kind=kind,
        amount=pricing.round_money(price, currency),
        display_name=item.feature.name,
        description=_describe(holding.subscription, _what(holding.subscription, item, quantity), period),
        subscription=holding.subscription,
        item=item,
        quantity=quantity,
        period=period,
    )


def _what(subscription: Subscription, item: SubscriptionItem | None, quantity: Decimal | None) -> str:
    if item is None:
        return f"{subscription.plan.name} - Base Price"
    count = "" if quantity is None else f"{quantity.normalize():f} "
    return f"{subscription.plan.name} - {count}{item.feature.name}"


def _describe(subscription: Subscription, what: str, period: Period | None) -> str:
    dates = f" (from {_date(period.start)} to {_date(period.end)})" if period else ""
    holder = f" ({subscription.entity})" if subscription.entity is not None else ""
    return f"{what}{dates}{holder}"[:500]


def _date(moment: datetime) -> str:
    return f"{moment.day} {moment:%b %Y}"
