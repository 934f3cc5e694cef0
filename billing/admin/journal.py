"""What staff did, and why: written with Django's own log of the admin, beside the ledger's entries."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db.models import Model, QuerySet
from django.http import HttpRequest

from billing.admin.actions.base import Preview, Target
from billing.templatetags.shown import money

MARK = "subledger"


@dataclass(frozen=True, slots=True)
class Done:
    """One thing that a member of staff did to a customer or entity; `at` is the customer's time."""

    at: datetime
    title: str
    reason: str
    what: list[str]
    staff: str
    request_id: str


def write(request: HttpRequest, target: Target, *, title: str, reason: str, preview: Preview, request_id: str) -> None:
    """Keep what was done with its reason and with what the member of staff was shown before."""
    row: Model = target.entity or target.customer
    what = [
        *preview.sentences,
        *(f"{bill.title}: {money(bill.total, bill.currency)}" for bill in preview.bills),
        *(f"{move.label}: {move.before} → {move.after}" for move in preview.movements),
    ]
    keep(request, row, f"{target.subject}", title=title, reason=reason, what=what, at=target.at, request_id=request_id)


def keep(
    request: HttpRequest,
    row: Model,
    name: str,
    *,
    title: str,
    reason: str,
    what: list[str],
    at: datetime,
    request_id: str,
) -> None:
    """Keep what was done to a row, in words."""
    told = {MARK: {"title": title, "reason": reason, "what": what, "at": at.isoformat(), "request_id": request_id}}
    LogEntry.objects.create(
        user_id=request.user.pk or 0,
        content_type=ContentType.objects.get_for_model(row),
        object_id=str(row.pk),
        object_repr=name[:200],
        action_flag=CHANGE,
        change_message=json.dumps([told]),
    )


def read(row: Model, *, limit: int) -> list[Done]:
    """What was done to a row, newest first."""
    rows: QuerySet[LogEntry] = LogEntry.objects.filter(
        content_type=ContentType.objects.get_for_model(row), object_id=str(row.pk)
    ).select_related("user")
    return [done for entry in rows.order_by("-pk")[:limit] if (done := told(entry)) is not None]


def told(entry: LogEntry) -> Done | None:
    """An entry as it was written; None for those that Django wrote by itself."""
    try:
        message = json.loads(entry.change_message)
    except ValueError:
        return None
    found: dict[str, Any] = next((part[MARK] for part in message if isinstance(part, dict) and MARK in part), {})
    if not found:
        return None
    return Done(
        at=datetime.fromisoformat(found["at"]).astimezone(UTC),
        title=found["title"],
        reason=found["reason"],
        what=found["what"],
        staff=entry.user.get_username(),
        request_id=found["request_id"],
    )
