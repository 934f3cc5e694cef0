"""Prices and plan items as a customer would read them on a pricing page; pure."""

from decimal import Decimal

from plans import pricing
from plans.intervals import IntervalUnit
from plans.models import BasePrice, Feature, ItemTerms

MINUS = "\N{MINUS SIGN}"
_SYMBOLS = {"usd": "$", "eur": "€", "gbp": "£", "jpy": "¥", "inr": "₹", "aud": "A$", "cad": "C$"}


def number(value: Decimal) -> str:
    """`value` with thousands separated and no idle zeros: 10,000 or 0.5."""
    digits = format(value, ",f")
    return digits.rstrip("0").rstrip(".") if "." in digits else digits


def money(amount: Decimal, currency: str) -> str:
    """`amount` in major units with its currency: $30, $0.50, CHF 30."""
    digits = number(amount)
    whole, _, places = digits.partition(".")
    if len(places) == 1:
        digits = f"{whole}.{places}0"
    symbol = _SYMBOLS.get(currency)
    return f"{symbol}{digits}" if symbol else f"{currency.upper()} {digits}"


def amount(value: Decimal, currency: str) -> str:
    """An amount as invoices write it, with all the decimals of its currency: 1,234.50 USD, −1,235 JPY, 0.125 KWD."""
    code = currency.lower()
    exact = pricing.minor_units(abs(value), code) * Decimal(1).scaleb(-pricing.decimals(code))
    return f"{MINUS if value < 0 and exact else ''}{exact:,f} {currency.upper()}"


def every(interval: str, count: int) -> str:
    """`per month`, `per 3 months`, `one-off`."""
    if interval in ("", IntervalUnit.ONE_OFF):
        return "one-off"
    unit = IntervalUnit(interval).label
    if count == 1:
        return f"per {unit}"
    return f"per {count} half-years" if interval == IntervalUnit.SEMI_ANNUAL else f"per {count} {unit}s"


def name(feature: Feature, quantity: Decimal) -> str:
    """The feature's name for that many of it."""
    special = feature.display_singular if quantity == 1 else feature.display_plural
    return special or feature.name


def base_price(plan: BasePrice, currency: str) -> tuple[str, str]:
    """The plan's price in two texts: `$30`, `per month`."""
    interval = every(plan.price_interval, plan.price_interval_count)
    return money(plan.price_amount or Decimal(0), currency), interval


def item(terms: ItemTerms, currency: str) -> tuple[str, str]:
    """What an item grants and what more of it costs: `50 Summaries`, `then $1 per Summary`; either may be empty."""
    feature = terms.feature
    if feature.type == Feature.Type.BOOLEAN:
        return feature.name, ""
    if terms.unlimited:
        return f"Unlimited {name(feature, Decimal(2))}", ""
    granted = f"{number(terms.included)} {name(feature, terms.included)}"
    if not terms.is_priced:
        return granted, ""
    rate = _rate(terms, currency)
    if terms.included:
        return granted, f"then {rate}"
    return rate, every(terms.price_interval, terms.price_interval_count)


def sentence(terms: ItemTerms, currency: str) -> str:
    """An item whole, as staff say it: `50 Summaries per seat, every month, then $1 per Summary`."""
    text, then = item(terms, currency)
    if terms.entity_feature is not None:
        one = terms.entity_feature.display_singular
        text += f" per {one}" if one else f" for each of its {terms.entity_feature}"
    if terms.reset_interval:
        text += f", {every(terms.reset_interval, terms.reset_interval_count).replace('per ', 'every ')}"
    return f"{text}, {then}" if then else text


def _rate(terms: ItemTerms, currency: str) -> str:
    units = terms.billing_units
    per = name(terms.feature, units) if units == 1 else f"{number(units)} {name(terms.feature, units)}"
    if not terms.tiers:
        return f"{money(terms.price_amount or Decimal(0), currency)} per {per}"
    amounts = sorted(Decimal(tier["amount"]) for tier in terms.tiers)
    low, high = money(amounts[0], currency), money(amounts[-1], currency)
    return f"{low} per {per}" if low == high else f"{low} – {high} per {per}"
