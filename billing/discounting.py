"""What discounts take off the lines of an invoice; pure.

Each line that is lowered is followed by a line for each discount that lowers it, rounded half up on its own. Discounts
are taken in the order in which they were given, each from what the ones before it left. Lowered are charges of a plan
of the discount's scope; neither credits, which give back what was really charged (spec billing 5.3), nor lines worded
by the caller, nor what was used before the discount began.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal

from billing.models import Discount, InvoiceLine
from billing.proration import Line
from plans import pricing

ZERO = Decimal(0)
HUNDRED = Decimal(100)
Kind = InvoiceLine.Kind
_NEVER_LOWERED = (Kind.CUSTOM, Kind.DISCOUNT)


def lower(lines: Sequence[Line], discounts: Iterable[Discount], *, at: datetime, currency: str) -> list[Line]:
    """The lines of an invoice of the instant `at`, each followed by what is taken off it."""
    left = [line.amount for line in lines]
    taken: dict[int, list[Line]] = defaultdict(list)
    for discount in discounts:
        if not discount.lasts_at(at):
            continue
        covered = {n: left[n] for n, line in enumerate(lines) if left[n] > 0 and covers(discount, line)}
        for n, amount in shares(discount, covered, currency).items():
            if amount:
                left[n] -= amount
                taken[n].append(_line(lines[n], discount, amount, currency))
    return [row for n, line in enumerate(lines) for row in (line, *taken[n])]


def covers(discount: Discount, line: Line) -> bool:
    """Whether a discount lowers a line."""
    if line.amount <= 0 or line.is_credit or line.kind in _NEVER_LOWERED:
        return False
    row = line.subscription
    if not discount.covers_entities and discount.entity_id != row.entity_id:
        return False
    if discount.plan_ids and row.plan.slug not in discount.plan_ids:
        return False
    return line.period is None or line.period.start >= discount.starts_at


def shares(discount: Discount, amounts: Mapping[int, Decimal], currency: str) -> dict[int, Decimal]:
    """What is taken off each amount: a percentage, or of a sum the part that the amount has in all, to the cent."""
    if discount.type == Discount.Type.PERCENTAGE:
        return {n: pricing.round_money(amount * discount.value / HUNDRED, currency) for n, amount in amounts.items()}
    whole = sum(amounts.values(), ZERO)
    sum_off = min(pricing.round_money(discount.value, currency), whole)
    found, passed, given = {}, ZERO, ZERO
    for n, amount in amounts.items():
        passed += amount
        until_here = pricing.round_money(sum_off * passed / whole, currency)
        found[n], given = until_here - given, until_here
    return found


def subtotal(lines: Iterable[Line]) -> Decimal:
    """The sum before discounts."""
    return sum((line.amount for line in lines if line.kind != Kind.DISCOUNT), ZERO)


def _line(line: Line, discount: Discount, amount: Decimal, currency: str) -> Line:
    return Line(
        kind=Kind.DISCOUNT,
        amount=-amount,
        display_name=discount.name,
        description=f"{discount.name} ({discount.takes_off(currency)})",
        subscription=line.subscription,
        item=line.item,
        period=line.period,
        lowers=line.kind,
        discount=discount,
    )
