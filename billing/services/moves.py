"""Holders of a plan moved to another version of it: each looked at first, then moved under its customer's turn."""

from collections.abc import Collection
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Count, Sum

from billing import proration
from billing.errors import SubscriptionNotFound
from billing.models import Balance, BulkJob, BulkRow, Operation, Subscription
from billing.outcomes import Outcome
from billing.services import jobs, subscriptions
from billing.services.execution import queue
from billing.services.jobs import Kind, Status
from billing.services.plan_changes.requests import Update
from config.actor import Actor
from config.errors import InvalidRequest
from plans import wording
from plans.models import Plan

UNPAID = "Its payment waits for the customer. It moves when that is paid."
# Written down by the database itself, so that a hundred thousand holders take no memory here.
_HOLDERS = """
INSERT INTO billing_bulkrow (job_id, number, cells, state, what, currency, fingerprint, why)
SELECT %(job)s, row_number() OVER (ORDER BY s.id), jsonb_build_object('subscription', s.public_id,
  'customer_id', c.external_id, 'entity_id', e.external_id, 'from', p.version, 'to', %(to)s::int), 'new', '', '', '', ''
FROM billing_subscription s
JOIN plans_plan p ON p.id = s.plan_id
JOIN entities_customer c ON c.id = s.customer_id
LEFT JOIN entities_entity e ON e.id = s.entity_id
WHERE p.slug = %(slug)s AND p.deleted_at IS NULL AND p.version = ANY(%(versions)s) AND p.version <> %(to)s
  AND s.status IN ('active', 'past_due')
"""


def holders(plan: Plan) -> dict[int, int]:
    """How many hold each other version of the plan, newest version first."""
    rows = Subscription.objects.live().filter(plan__slug=plan.slug, plan__deleted_at=None).exclude(plan=plan)
    counts = rows.values_list("plan__version").annotate(count=Count("pk")).order_by("-plan__version")
    return dict(counts)


@transaction.atomic
def begin(*, plan: Plan, versions: Collection[int], actor: Actor, at: datetime) -> BulkJob:
    """A job that looks what moving everybody who holds these versions to `plan` comes to; nobody is moved yet."""
    title = f"Move holders of {plan.name} to v{plan.version}"
    job = jobs.begin(kind=Kind.MOVES, title=title, status=Status.LOOKING, rows=(), actor=actor, at=at)
    values: dict[str, Any] = {"job": job.pk, "slug": plan.slug, "to": plan.version, "versions": sorted(versions)}
    with connection.cursor() as cursor:
        cursor.execute(_HOLDERS, values)
    jobs.count(job)
    return job


def look(job: BulkJob, row: BulkRow, wall: datetime) -> None:
    """What the move of one holder comes to."""
    held = _held(row)
    if held.plan.version == row.cells["to"]:
        raise InvalidRequest("It is on that version already.")
    outcome = subscriptions.preview_update(subject=held.subject, request=_update(row), at=held.customer.now(wall))
    row.what, row.fingerprint = _told(held, outcome), outcome.fingerprint
    row.amount, row.currency = outcome.total, outcome.currency


def move(job: BulkJob, row: BulkRow, wall: datetime, actor: Actor) -> bool:
    """Move one holder, unless an earlier try did; raises StateMoved where things have changed since the look."""
    held = _held(row)
    with queue.customer(held.customer):
        tried = Operation.objects.filter(customer=held.customer, request_id=actor.request_id).order_by("-pk").first()
        if tried is not None and tried.status == Operation.Status.DONE:
            return True
        if tried is None or tried.status != Operation.Status.WAITING:
            answer = subscriptions.update(
                subject=held.subject,
                request=_update(row),
                at=held.customer.now(wall),
                actor=actor,
                reason=job.reason,
            )
            tried = answer.result.operation if answer.result is not None else None
    if tried is None or tried.status != Operation.Status.DONE:
        raise InvalidRequest(UNPAID)
    return True


def back(row: BulkRow) -> dict[str, Any]:
    """The cells of the way back: the same plan keeps its id through all its versions."""
    return {**row.cells, "from": row.cells["to"], "to": row.cells["from"]}


def _held(row: BulkRow) -> Subscription:
    rows = Subscription.objects.select_related("customer", "entity", "plan")
    held = rows.filter(public_id=row.get("subscription")).first()
    if held is None:
        raise SubscriptionNotFound(row.get("subscription"))
    return held


def _update(row: BulkRow) -> Update:
    return Update(subscription_id=row.get("subscription"), version=int(row.cells["to"]), fingerprint=row.fingerprint)


def _told(held: Subscription, outcome: Outcome) -> str:
    """Each feature with what was used of it and what the new version grants; then what comes with the next invoice."""
    sums = Balance.objects.filter(subscription=held, ended_at=None).values_list("feature__name")
    of_each = sums.annotate(Sum("usage"), Sum("granted")).order_by("feature__name")
    before = {name: f"{wording.number(used)} of {wording.number(granted)} used" for name, used, granted in of_each}
    told = [
        f"{item.feature}: {before.pop(item.feature.name, 'none')} → {wording.sentence(item, settings.CURRENCY)}"
        for start in outcome.starts
        for item in start.holding.items
    ]
    told += [f"{name}: {used} → ends" for name, used in before.items()]
    if outcome.next_cycle is not None and outcome.next_cycle.lines:
        total = proration.total(outcome.next_cycle.lines)
        told.append(f"Next invoice: {wording.money(total, outcome.currency)}")
    return "; ".join(told)
