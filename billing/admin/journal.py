"""What actions write into the audit log: with the reason, and what the member of staff was shown before."""

from typing import Any

from django.db.models import Model
from django.http import HttpRequest

from billing.admin.actions.base import Preview, Target
from billing.templatetags.shown import money
from config import journal
from config.journal import Done


def write(
    request: HttpRequest,
    target: Target,
    *,
    title: str,
    reason: str,
    preview: Preview,
    request_id: str = "",
    undo: dict[str, Any] | None = None,
) -> None:
    """Keep what was done to a customer or entity, and what undoes it."""
    row: Model = target.entity or target.customer
    bills = (f"{bill.title}: {money(bill.total, bill.currency)}" for bill in preview.bills)
    what, movements = [*preview.sentences, *bills], list(preview.movements)
    done = Done(target.at, title, reason, what, movements, request_id=request_id, undo=undo or {})
    journal.write(request, row, target.name, done)
