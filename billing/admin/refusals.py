"""Who was told no, and why, as it was then."""

from datetime import datetime, timedelta

from django.db.models import QuerySet

from billing.models import Refusal
from billing.templatetags.shown import quantity
from entities.models import Customer, Entity

SHOWN = 8
LATELY = timedelta(days=1)


def lately(now: datetime) -> list[Refusal]:
    """The newest of the last day, whoever it was."""
    return list(_rows().filter(last_at__gt=now - LATELY, customer__deleted_at=None)[:SHOWN])


def of(row: Customer | Entity) -> list[Refusal]:
    """The newest of a customer, its entities' included, or of one entity."""
    mine = _rows().filter(entity=row) if isinstance(row, Entity) else _rows().filter(customer=row)
    return list(mine[:SHOWN])


def often(refusal: Refusal) -> str:
    """`once`, `14 times within the hour`."""
    return "once" if refusal.count == 1 else f"{quantity(refusal.count)} times within the hour"


def why(refusal: Refusal) -> str:
    """What stood in the way the last time."""
    asked = f"{quantity(refusal.required)} asked for"
    if refusal.remaining is None:
        return f"{asked}, and nothing held that gives it"
    unit = "" if refusal.paid_by_id == refusal.feature_id else f" of {refusal.paid_by}"
    if refusal.remaining > 0 and refusal.paid_by_id == refusal.feature_id and refusal.remaining >= refusal.required:
        return f"{asked}, {quantity(refusal.remaining)} left, and a limit stopped it"
    return f"{asked}, {quantity(refusal.remaining)}{unit} left"


def _rows() -> QuerySet[Refusal]:
    return Refusal.objects.select_related("customer", "entity", "feature", "paid_by").order_by("-last_at", "-pk")
