"""Several outcomes made one: plans attached together, plans updated together."""

from collections.abc import Sequence
from datetime import datetime

from billing.models import Discount, Subscription
from billing.outcomes import Checkout, NextCycle, Outcome
from billing.services import invoices
from billing.services.plan_changes import attaching, discounts, situation
from billing.services.plan_changes.requests import Attach, MultiAttach, ScopedAttach
from billing.services.plan_changes.situation import Situation
from config.errors import InvalidRequest
from entities.models import Customer, Entity
from entities.subject import Subject


def attachment(found: Situation) -> Outcome:
    """What one attachment comes to, with what discounts take off."""
    outcome = attaching.compute(found)
    _lower(outcome, found.customer, [(found.subject.entity, found.request, [found.new.subscription])])
    return outcome


def attachments(customer: Customer, request: MultiAttach, *, at: datetime, currency: str) -> Outcome:
    """All attachments as one outcome; two main plans of one group and scope exclude each other."""
    found = situations(customer, request.plans, at=at, currency=currency)
    whole = merged([attaching.compute(one) for one in found], at=at, currency=currency)
    lower(whole, customer, found)
    ids = [start.holding.subscription.public_id for start in whole.starts]
    if len(set(ids)) < len(ids):
        raise InvalidRequest(
            "plans: a subscription_id is given twice. Choose another one.", code="subscription_id_taken"
        )
    return whole


def situations(customer: Customer, plans: Sequence[ScopedAttach], *, at: datetime, currency: str) -> list[Situation]:
    """What is there for each of several attachments; raises InvalidRequest where two can't be held together."""
    situations_, seen = [], set()
    for scoped in plans:
        found = situation.read(scope(customer, scoped.entity_pk), scoped.attach, at=at, currency=currency)
        place = (scoped.entity_pk, found.plan.group)
        if found.is_main and place in seen:
            raise InvalidRequest(f"plans: {found.plan.slug} and another plan of its group can't be held together.")
        if found.is_main:
            seen.add(place)
        situations_.append(found)
    return situations_


def lower(outcome: Outcome, customer: Customer, found: Sequence[Situation]) -> None:
    """Take discounts off what attachments come to; those asked for are given to each scope once."""
    scopes: dict[int | None, list[Situation]] = {}
    for one in found:
        scopes.setdefault(one.subject.entity.pk if one.subject.entity else None, []).append(one)
    _lower(
        outcome,
        customer,
        [
            (members[0].subject.entity, members[0].request, [one.new.subscription for one in members])
            for members in scopes.values()
        ],
    )
    invoices.check_amounts(outcome.lines)


def _lower(
    outcome: Outcome, customer: Customer, wanted: Sequence[tuple[Entity | None, Attach, list[Subscription]]]
) -> None:
    running = discounts.of(customer, at=outcome.at)
    given: list[Discount] = []
    removed: list[Discount] = []
    for entity, request, rows in wanted:
        taken_away = discounts.named(request.remove_discounts, running, entity)
        removed += [row for row in taken_away if row not in removed]
        starts = [row.started_at for row in rows] + ([request.starts_at] if request.starts_at else [])
        given += discounts.wanted(
            request.discounts,
            rows,
            customer=customer,
            entity=entity,
            starts_at=min(starts),
            running=[row for row in running if row not in removed],
        )
    discounts.lower(outcome, customer, given=given, removed=removed, running=running)
    only_once = all(row.is_one_off for _, _, rows in wanted for row in rows)
    if only_once and outcome.given and outcome.total <= 0 and outcome.checkout is Checkout.STRIPE:
        outcome.checkout = None  # nothing is left to pay on a page


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
        whole.given += one.given
        whole.spent += [row for row in one.spent if row not in whole.spent]
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
