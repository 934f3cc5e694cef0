"""Several outcomes made one: plans attached together, plans updated together."""

from collections.abc import Sequence
from datetime import datetime

from billing.outcomes import NextCycle, Outcome
from billing.services import attaching, invoices, situation
from billing.services.requests import MultiAttach
from config.errors import InvalidRequest
from entities.models import Customer, Entity
from entities.subject import Subject


def attachments(customer: Customer, request: MultiAttach, *, at: datetime, currency: str) -> Outcome:
    """All attachments as one outcome; two main plans of one group and scope exclude each other."""
    parts, seen = [], set()
    for scoped in request.plans:
        subject = scope(customer, scoped.entity_pk)
        found = situation.read(subject, scoped.attach, at=at, currency=currency)
        place = (scoped.entity_pk, found.plan.group)
        if found.is_main and place in seen:
            raise InvalidRequest(f"plans: {found.plan.slug} and another plan of its group can't be held together.")
        if found.is_main:
            seen.add(place)
        parts.append(attaching.compute(found))
    whole = merged(parts, at=at, currency=currency)
    invoices.check_amounts(whole.lines)
    ids = [start.holding.subscription.public_id for start in whole.starts]
    if len(set(ids)) < len(ids):
        raise InvalidRequest(
            "plans: a subscription_id is given twice. Choose another one.", code="subscription_id_taken"
        )
    return whole


def merged(outcomes: Sequence[Outcome], *, at: datetime, currency: str) -> Outcome:
    """Several outcomes of one instant as one."""
    whole = Outcome(at=at, currency=currency, intent=outcomes[0].intent if outcomes else "none")
    deleted: set[int] = set()
    for one in outcomes:
        whole.lines += one.lines
        whole.waiting += one.waiting
        whole.starts += one.starts
        whole.schedules += one.schedules
        whole.ends += one.ends
        whole.pauses += one.pauses
        whole.resumes += one.resumes
        whole.cancellations += one.cancellations
        whole.quantities += one.quantities
        whole.cycles += one.cycles
        whole.customer_anchor = whole.customer_anchor or one.customer_anchor
        whole.leaves_invoice = whole.leaves_invoice or one.leaves_invoice
        whole.checkout = whole.checkout or one.checkout
        for row in one.deletes:
            if row.pk not in deleted:
                deleted.add(row.pk)
                whole.deletes.append(row)
    ended = {end.subscription.pk for end in whole.ends}
    whole.cancellations = [c for c in whole.cancellations if c.subscription.pk not in ended]
    whole.next_cycle = _next_cycle([one.next_cycle for one in outcomes if one.next_cycle is not None])
    return whole


def _next_cycle(cycles: Sequence[NextCycle]) -> NextCycle | None:
    if not cycles:
        return None
    first = min(cycle.starts_at for cycle in cycles)
    whole = NextCycle(first, [])
    for cycle in cycles:
        if cycle.starts_at == first:
            whole.lines += cycle.lines
            whole.usage += cycle.usage
    return whole


def scope(customer: Customer, entity_pk: int | None) -> Subject:
    """The customer, or one of its entities."""
    if entity_pk is None:
        return Subject(customer)
    return Subject(customer, Entity.objects.select_related("feature").get(pk=entity_pk))
