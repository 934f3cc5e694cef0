"""Plans that change are told of, in the transaction that changes them (`billing.updated`)."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from datetime import datetime
from itertools import groupby
from typing import Any

from django.db.models import Q

from billing import plan_events
from billing.models import Subscription, WebhookType
from billing.plan_events import Lifecycle, State
from billing.services.webhooks import outbox
from config.api import milliseconds
from entities.models import Customer

Status = Subscription.Status
_GONE = (Status.EXPIRED, Status.PAUSED)
TRIAL_ENDED = "trial_ended"


@contextmanager
def plans_of(customers: Collection[Customer], *, cause: str, at: datetime) -> Iterator[None]:
    """Tell what became of these customers' plans in the block: one message for each scope whose plans changed.

    The caller holds the customers' rows, so nobody else changes plans meanwhile. `cause` names the change: told once.
    """
    if not outbox.is_heard(WebhookType.BILLING_UPDATED):
        yield
        return
    before = _read(~Q(status=Status.EXPIRED), customers)
    yield
    after = _read(~Q(status=Status.EXPIRED) | Q(pk__in=before), customers)
    gone = {pk: _ended(row, at) for pk, row in before.items() if pk not in after}
    rows = sorted({**after, **gone}.values(), key=lambda row: (row.customer_id, row.entity_id or 0, row.pk))
    for (customer, entity), members in groupby(rows, key=lambda row: (row.customer, row.entity)):
        told = [_told(before.get(row.pk), row, at) for row in members]
        changes = [change for change, _ in told if change]
        if changes:
            data = {
                "object": WebhookType.BILLING_UPDATED.value,
                "customer_id": customer.external_id,
                "entity_id": entity.external_id if entity else None,
                "plan_changes": changes,
                "tags": [TRIAL_ENDED] if any(ended for _, ended in told) else [],
            }
            key = f"{cause}:plans:{customer.pk}:{entity.pk if entity else ''}"
            outbox.write(WebhookType.BILLING_UPDATED, data, cause=key, at=at, customer_pk=customer.pk)


def _read(which: Q, customers: Collection[Customer]) -> dict[int, Subscription]:
    rows = Subscription.objects.filter(which, customer__in=[customer.pk for customer in customers])
    return {row.pk: row for row in rows.select_related("plan", "customer", "entity")}


def _ended(row: Subscription, at: datetime) -> Subscription:
    """A scheduled plan that was dropped leaves no row: it is told as if it had ended."""
    row = copy(row)
    row.status, row.ends_at, row.canceled_at = Status.EXPIRED, at, row.canceled_at or at
    return row


def _told(before: Subscription | None, row: Subscription, at: datetime) -> tuple[dict[str, Any] | None, bool]:
    """The change of one plan on the wire, None without one, and whether its trial is over with it."""
    was, now = _lifecycle(before, at) if before is not None else None, _lifecycle(row, at)
    # At the boundary itself the trial is over already: what tells is that the plan went on from there, or ended.
    has_moved = before is not None and (
        before.current_period_start != row.current_period_start or before.status != row.status
    )
    is_trial_over = has_moved and before is not None and before.trial_ends_at == at
    if is_trial_over and was is not None:
        was = replace(was, trial_ends_at=at)
    change = plan_events.change(was, now)
    if change is None:
        return None, False
    kind = "purchase" if row.is_one_off else "subscription"
    previous = change.previous and {
        name: milliseconds(value) if isinstance(value, datetime) else value for name, value in change.previous.items()
    }
    shape = _purchase(row, now) if row.is_one_off else _subscription(row, now)
    told: dict[str, Any] = {
        "action": change.action.value,
        kind: shape,
        "previous_attributes": previous,
        "item_changes": [],
    }
    return told, bool(previous and previous.get("trial_ends_at") and now.trial_ends_at is None)


def _lifecycle(row: Subscription, at: datetime) -> Lifecycle:
    gone, waits = row.status in _GONE, row.status == Status.SCHEDULED
    return Lifecycle(
        status=State.EXPIRED if gone else State.SCHEDULED if waits else State.ACTIVE,
        past_due=row.status == Status.PAST_DUE,
        canceled_at=row.canceled_at,
        expires_at=row.ends_at,
        trial_ends_at=row.trial_ends_at if row.is_trialing(at) and not gone else None,
    )


def _subscription(row: Subscription, now: Lifecycle) -> dict[str, Any]:
    return {
        **_purchase(row, now),
        "past_due": now.past_due,
        "started_at": milliseconds(row.started_at),
        "canceled_at": milliseconds(now.canceled_at),
        "trial_ends_at": milliseconds(now.trial_ends_at),
        "current_period_start": milliseconds(row.current_period_start),
        "current_period_end": milliseconds(row.current_period_end),
    }


def _purchase(row: Subscription, now: Lifecycle) -> dict[str, Any]:
    return {"plan_id": row.plan.slug, "status": now.status.value, "expires_at": milliseconds(now.expires_at)}
