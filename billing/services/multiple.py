"""Several plans changed in one call: computed together before anything happens, billed together."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from billing.models import Invoice, Operation, Subscription
from billing.outcomes import Outcome
from billing.services import invoices, subscriptions
from billing.services.due import clock
from billing.services.execution import checkouts, operations, queue
from billing.services.execution.operations import Job, Result
from billing.services.plan_changes import combining, requests, updating
from billing.services.plan_changes.requests import MultiAttach, ScopedUpdate
from billing.services.subscriptions import Answer
from config.actor import Actor
from config.errors import InvalidRequest
from entities.models import Customer, Entity
from entities.subject import Subject


@dataclass(slots=True)
class Part:
    """The updates of plans that share an invoice, as one change."""

    entity: Entity | None
    rows: list[Subscription]
    outcome: Outcome


def attach(*, customer: Customer, request: MultiAttach, at: datetime, actor: Actor) -> Answer:
    """Attach several plans on one invoice; raises what any of them would raise, and then attaches none."""
    with queue.still_there(customer, *(scoped.entity_pk for scoped in request.plans)):
        clock.catch_up(customer=customer, at=at, actor=actor)
        customer.refresh_from_db()
        outcome = preview_attach(customer=customer, request=request, at=at)
        if outcome.checkout is not None:
            return Answer(None, checkouts.open_page(Subject(customer), request, outcome, actor=actor))
        result = operations.carry_out(attach_job(customer, request, actor), outcome)
        return Answer(result, result.payment_url)


def preview_attach(*, customer: Customer, request: MultiAttach, at: datetime) -> Outcome:
    """What `attach` would do; changes nothing."""
    return combining.attachments(customer, request, at=at, currency=invoices.currency_of(customer))


def attach_job(customer: Customer, request: MultiAttach, actor: Actor) -> Job:
    """How several attachments are carried out: as the first of them says."""
    first = request.plans[0]
    entities = {scoped.entity_pk for scoped in request.plans}
    subject = combining.scope(customer, first.entity_pk if len(entities) == 1 else None)
    job = subscriptions.attach_job(subject, first.attach, actor)
    return Job(
        customer=customer,
        entity=subject.entity,
        kind=job.kind,
        cause=job.cause,
        actor=actor,
        request=requests.written(request),
        collection=job.collection,
        granted_unpaid=job.granted_unpaid,
        net_terms_days=job.net_terms_days,
    )


def update(*, customer: Customer, updates: Sequence[ScopedUpdate], at: datetime, actor: Actor) -> Answer:
    """Cancel or uncancel several plans: all are found and checked first; one invoice for each shared subscription."""
    with queue.still_there(customer, *(scoped.entity_pk for scoped in updates)):
        clock.catch_up(customer=customer, at=at, actor=actor)
        customer.refresh_from_db()
        results: list[Result] = []
        for part in preview_update(customer=customer, updates=updates, at=at):
            job = Job(
                customer=customer,
                entity=part.entity,
                kind=Operation.Kind.UPDATE,
                cause=Invoice.Cause.UPDATE,
                actor=actor,
                request={"updates": [requests.written(scoped) for scoped in updates]},
            )
            results.append(operations.carry_out(job, part.outcome))
        billed = [result for result in results if result.invoice is not None]
        result = (billed or results)[0]
        return Answer(result, result.payment_url)


def preview_update(*, customer: Customer, updates: Sequence[ScopedUpdate], at: datetime) -> list[Part]:
    """What `update` would do, by subscription at the processor; changes nothing."""
    currency = invoices.currency_of(customer)
    parts: dict[tuple[int | None, int], list[tuple[Subscription, Outcome]]] = {}
    seen: set[int] = set()
    for scoped in updates:
        found = updating.setup(combining.scope(customer, scoped.entity_pk), scoped.update, at=at, currency=currency)
        if found.row.pk in seen:
            raise InvalidRequest(f"updates: {found.row.plan.slug} is named twice. Keep one.")
        seen.add(found.row.pk)
        group = (found.row.entity_id, found.row.pk if found.row.has_own_cycle else 0)
        parts.setdefault(group, []).append((found.row, updating.compute(found)))
    return [
        Part(
            members[0][0].entity,
            [row for row, _ in members],
            combining.merged([outcome for _, outcome in members], at=at, currency=currency),
        )
        for members in parts.values()
    ]
