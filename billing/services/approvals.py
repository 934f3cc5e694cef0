"""What one member of staff may do alone; above it a second person looks."""

from decimal import Decimal

from django.conf import settings

ZERO = Decimal(0)


def is_needed(*, amount: Decimal = ZERO, units: Decimal = ZERO) -> bool:
    """Whether so much money (major units), or so many units of a feature, take a second person, as the settings say."""
    limits = ((amount, settings.APPROVAL_ABOVE_AMOUNT), (units, settings.APPROVAL_ABOVE_UNITS))
    return any(limit is not None and size > limit for size, limit in limits)
