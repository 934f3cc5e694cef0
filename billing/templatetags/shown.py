"""Quantities, money and times as staff read them."""

from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from django import template
from django.conf import settings
from django.utils.safestring import SafeString

from config import zones
from config.actor import told
from plans import pricing, wording

register = template.Library()

MINUS = "\N{MINUS SIGN}"

register.filter("who", told)


@register.filter
def quantity(value: Decimal | int | None) -> str:
    """10,000 or 0.5; an en dash for nothing."""
    if value is None:
        return "–"
    number = Decimal(value)
    return f"{MINUS if number < 0 else ''}{wording.number(abs(number))}"


@register.filter
def signed(value: Decimal) -> str:
    """+5, −3; empty for nothing."""
    if not value:
        return ""
    return f"+{quantity(value)}" if value > 0 else quantity(value)


@register.filter
def money(value: Decimal | None, currency: str = "") -> str:
    """$30.00, −€4.52, ¥500; in the deployment's currency unless another is given, with all its decimals."""
    if value is None:
        return "–"
    amount, code = Decimal(value), (currency or settings.CURRENCY).lower()
    decimals = pricing.decimals(code)
    exact = abs(amount).quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP)
    whole, _, places = wording.money(exact, code).partition(".")
    shown = f"{whole}.{places:0<{decimals}}" if decimals else whole
    return f"{MINUS if amount < 0 and exact else ''}{shown}"


@register.filter
def moment(value: datetime | None, form: str = "%-d %b %Y, %H:%M") -> SafeString | str:
    """A time in the viewer's zone; the whole of it in UTC on hover."""
    return "–" if value is None else zones.shown(value, form)


@register.filter
def day(value: datetime | None) -> SafeString | str:
    """The day of a time in the viewer's zone; the whole of it in UTC on hover."""
    return moment(value, "%-d %b %Y")


@register.filter
def of(mapping: Any, key: Any) -> Any:
    """The value of a mapping under a key that a template has in a variable."""
    return mapping.get(key)
