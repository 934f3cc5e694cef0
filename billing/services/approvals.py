"""What one member of staff may do alone; above it a second person looks."""

from datetime import datetime
from decimal import Decimal

from django.conf import settings
from django.contrib.auth.models import User

from billing.models import Approval
from config.errors import InvalidRequest

ZERO = Decimal(0)
OWN = "You asked for this yourself. Somebody else has to look at it."
DECIDED = "This was decided by somebody else meanwhile. Nothing more was done."


def is_needed(*, amount: Decimal = ZERO, units: Decimal = ZERO) -> bool:
    """Whether so much money (major units), or so many units of a feature, take a second person, as the settings say."""
    limits = ((amount, settings.APPROVAL_ABOVE_AMOUNT), (units, settings.APPROVAL_ABOVE_UNITS))
    return any(limit is not None and size > limit for size, limit in limits)


def decide(approval: Approval, status: Approval.Status, *, by: User, at: datetime) -> None:
    """Claim the decision, once; raises InvalidRequest where it was taken already, or by who asked, who may withdraw."""
    if status == Approval.Status.APPROVED and approval.asked_by_id == by.pk:
        raise InvalidRequest(OWN)
    waiting = Approval.objects.filter(pk=approval.pk, status=Approval.Status.WAITING)
    if not waiting.update(status=status, decided_by=by.pk, decided_at=at):
        raise InvalidRequest(DECIDED)
