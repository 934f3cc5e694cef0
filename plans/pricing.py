"""What a quantity costs: billing units, graduated and volume tiers, rounding to the currency; pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_HALF_UP, Decimal, localcontext
from fractions import Fraction

ZERO = Decimal(0)
# ISO 4217 currencies without minor units, and those with three decimals.
_NO_DECIMALS = frozenset(
    ["bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "ugx", "vnd", "vuv", "xaf", "xof", "xpf"]
)
_THREE_DECIMALS = frozenset(["bhd", "jod", "kwd", "omr", "tnd"])
# Enough for a product and a quotient of numeric(30, 10) columns before the one rounding at the end.
_PRECISION = 80


@dataclass(frozen=True, slots=True)
class Tier:
    """A price band. `to` counts from the very first unit, the included ones too; None is the last, open band."""

    to: Decimal | None
    amount: Decimal
    flat_amount: Decimal = ZERO


@dataclass(frozen=True, slots=True)
class Rate:
    """The price of one item: `amount` (or what the tiers say) per `billing_units`, beyond the included quantity."""

    included: Decimal = ZERO
    amount: Decimal | None = None
    tiers: tuple[Tier, ...] = ()
    is_volume: bool = False
    billing_units: Decimal = Decimal(1)

    def paid_units(self, quantity: Decimal) -> Decimal:
        """Units beyond the included ones, rounded up to whole billing units: 101 of 100s are 200."""
        return round_up(max(ZERO, quantity - self.included), self.billing_units)

    def price_of(self, quantity: Decimal) -> Decimal:
        """What `quantity` units in all (the included ones counted) cost, unrounded.

        Graduated tiers price each unit in its own band; volume tiers price the whole quantity, the included units
        too, in the band it reaches, as soon as the included ones are exceeded (spec billing 2.9).
        """
        paid = self.paid_units(quantity)
        if not paid:
            return ZERO
        with localcontext(prec=_PRECISION):
            if not self.tiers:
                return (self.amount or ZERO) * paid / self.billing_units
            if self.is_volume:
                return self._volume(self.included + paid)
            return self._graduated(self.included + paid)

    def _graduated(self, total: Decimal) -> Decimal:
        price, reached = ZERO, self.included
        for tier in self.tiers:
            top = total if tier.to is None else min(tier.to, total)
            if top > reached:
                price += (top - reached) * tier.amount / self.billing_units + tier.flat_amount
                reached = top
        return price

    def _volume(self, total: Decimal) -> Decimal:
        tier = next((tier for tier in self.tiers if tier.to is None or total <= tier.to), self.tiers[-1])
        return total * tier.amount / self.billing_units + tier.flat_amount


def rate_of(
    *,
    included: Decimal,
    amount: Decimal | None,
    tiers: Sequence[dict[str, str]],
    is_volume: bool,
    billing_units: Decimal,
) -> Rate:
    """The rate behind an item's columns; `tiers` as they are stored, decimals as text and "inf" for the open band."""
    bands = tuple(
        Tier(
            to=None if tier["to"] == "inf" else Decimal(tier["to"]),
            amount=Decimal(tier.get("amount") or 0),
            flat_amount=Decimal(tier.get("flat_amount") or 0),
        )
        for tier in tiers
    )
    return Rate(included=included, amount=amount, tiers=bands, is_volume=is_volume, billing_units=billing_units)


def round_up(quantity: Decimal, units: Decimal) -> Decimal:
    """`quantity` raised to the next multiple of `units`."""
    with localcontext(prec=_PRECISION):
        return (quantity / units).to_integral_value(ROUND_CEILING) * units


def round_money(amount: Decimal, currency: str) -> Decimal:
    """`amount` in major units, half up (away from 0) to what the currency can pay.

    Three-decimal currencies pay multiples of ten. A line is rounded once, here, and sums are of rounded lines, so a
    preview and its invoice agree to the cent.
    """
    places = 0 if currency in _NO_DECIMALS else 2
    return amount.quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP) + ZERO


def minor_units(amount: Decimal, currency: str) -> int:
    """`amount` in the smallest unit of the currency, as processors count."""
    return int(amount.scaleb(decimals(currency)).to_integral_value(ROUND_HALF_UP))


def decimals(currency: str) -> int:
    """How many decimals an amount of the currency is written with; `currency` in lower case."""
    return 0 if currency in _NO_DECIMALS else 3 if currency in _THREE_DECIMALS else 2


def smallest(currency: str) -> Decimal:
    """The least that a currency, in lower case, can pay, in major units: 0.01 dollars, 1 yen."""
    return Decimal(1).scaleb(-decimals(currency))


def share(amount: Decimal, part: int, whole: int) -> Decimal:
    """`amount` × part ÷ whole, unrounded; times are counted in milliseconds."""
    with localcontext(prec=_PRECISION):
        return amount * part / whole


def decimal(amount: Fraction) -> Decimal:
    """A sum of shares as a decimal, exact where it ends: half a cent made of thirds is half a cent."""
    with localcontext(prec=_PRECISION):
        return Decimal(amount.numerator) / amount.denominator
