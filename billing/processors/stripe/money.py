"""Amounts as Stripe counts them: whole minor units."""

from decimal import Decimal

from plans import pricing

# Without minor units, yet counted by Stripe as if they had two.
_AS_IF_TWO_DECIMALS = frozenset(["isk", "ugx"])


def to_minor(amount: Decimal, currency: str) -> int:
    """Minor units, rounded half up as every line is."""
    rounded = pricing.round_money(amount, currency)
    if currency in _AS_IF_TWO_DECIMALS:
        return int(rounded.quantize(Decimal(1))) * 100
    return pricing.minor_units(rounded, currency)


def from_minor(amount: int, currency: str) -> Decimal:
    """Major units, exactly."""
    if currency in _AS_IF_TWO_DECIMALS:
        return Decimal(amount).scaleb(-2)
    places = next(n for n in (0, 2, 3) if pricing.minor_units(Decimal(1), currency) == 10**n)
    return Decimal(amount).scaleb(-places)
