"""Amounts as invoices write them."""

from decimal import Decimal

from django import template

from plans import wording

register = template.Library()


@register.filter
def amount(value: Decimal | str | None, currency: str) -> str:
    """1,234.50 USD, −1,235 JPY, 0.125 KWD; processors' figures may come as text."""
    return wording.amount(Decimal(value or 0), currency)
