"""Renewals and all that happens at an instant of its own: trial ends, scheduled starts, ends. Once each, in order."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from billing import proration
from billing.models import Discount, Invoice, Operation, Subscription
from billing.outcomes import End, NewCycle, NewQuantity, Outcome, Start
from billing.processors import Collection, Renewal, get_processor
from billing.proration import Holding
from billing.services.balances import resets
from billing.services.execution import operations
from billing.services.execution.operations import Job, Result, Unpaid
from billing.services.plan_changes import attaching, discounts, holdings, reverting, situation, updating
from billing.services.plan_changes.requests import Update
from config.actor import Actor
from config.api import milliseconds
from entities.models import Customer, Entity
from entities.subject import Subject
from plans.intervals import next_boundary

ZERO = Decimal(0)
Status = Subscription.Status


class Step(StrEnum):
    """What happens at an instant of its own; part of the keys by which it happens once."""

    RENEW = "renewal"
    START = "start"
    END = "end"
    TRIAL = "trial"
    MOVE = "move"


@dataclass(frozen=True, slots=True)
class Group:
    """The plans that share an invoice at a boundary: those of one scope, or one with a cycle of its own."""

    customer: Customer
    entity: Entity | None
    rows: list[Subscription]
    boundary: datetime


def groups(rows: Iterable[Subscription], boundary: datetime) -> list[Group]:
    """The rows that renew at the boundary, by invoice; the customer's own first, then entities by age."""
    found: dict[tuple[int, int], list[Subscription]] = {}
    for row in rows:
        found.setdefault((row.entity_id or 0, row.pk if row.has_own_cycle else 0), []).append(row)
    return [Group(members[0].customer, members[0].entity, members, boundary) for _, members in sorted(found.items())]


@dataclass(frozen=True, slots=True)
class Known:
    """What is read before a renewal is computed."""

    held: list[Holding]
    waiting: list[Subscription]  # plans of the scope that are to start at the boundary
    discounts: list[Discount]  # of the customer, running then


def renew(group: Group, *, actor: Actor, currency: str) -> Result:
    """Close the cycle that ends at the boundary and open the next: one invoice, once.

    Overage and seats of the closing cycle, what waited, then the next cycle of what goes on and the first one of what
    takes its place. An invoice that can't be collected leaves the plans past due, not ended (spec billing 12).
    Raises RenewalNotReady, having done nothing, while the processor has yet to open the invoice.
    """
    due = renewal_at(group)
    goes_on = any(not _ends(row, group.boundary) for row in group.rows)
    get_processor().expect_renewal(due, goes_on=goes_on)
    _reset(group, actor)
    outcome = renewal(group, currency=currency)
    return operations.carry_out(job(group, actor=actor), outcome)


def renewal_at(group: Group) -> Renewal:
    """Which renewal of the processor's subscription it is."""
    return Renewal(next((row.processor_subscription_id for row in group.rows), ""), group.boundary)


def job(group: Group, *, actor: Actor) -> Job:
    """A renewal as an operation. Its key is the boundary's: made twice, it is charged once."""
    first = group.rows[0]
    return Job(
        customer=group.customer,
        entity=group.entity,
        kind=Operation.Kind.RENEWAL,
        cause=Invoice.Cause.RENEWAL,
        actor=actor,
        request=_request(Step.RENEW, group.rows, group.boundary),
        unpaid=Unpaid.GOES_ON,
        collection=Collection.SEND if first.sends_invoice else Collection.CARD,
        net_terms_days=first.net_terms_days,
        renewal=renewal_at(group),
        key=f"{Step.RENEW}-{first.pk}-{milliseconds(group.boundary)}",
    )


def read(group: Group) -> Known:
    """What has to be known of one group."""
    running = discounts.of(group.customer, at=group.boundary)
    return Known(holdings.load(group.rows, at=None), _scheduled(group), running)


def is_plain(group: Group, known: Known) -> bool:
    """Whether all of it goes on as it is: nothing ends, starts or changes, so that its lines are all there is to do."""
    at = group.boundary
    is_spent = any(row.duration == Discount.Duration.ONE_OFF for row in known.discounts)
    return (
        not known.waiting
        and not is_spent
        and all(
            (row.ends_at is None or row.ends_at > at)
            and row.trial_ends_at != at
            and not holding.vacated
            and not any(item.upcoming_quantity is not None for item in holding.items)
            and situation.terms(holding).shortest is not None
            for holding in known.held
            for row in [holding.subscription]
        )
    )


def renewal(group: Group, *, currency: str, is_forecast: bool = False, known: Known | None = None) -> Outcome:
    """What the boundary comes to. A forecast looks ahead: what is overdrawn now counts as what will be put aside.

    `known` is what was read for many groups at once; a plain group is computed from it without another look.
    """
    at = group.boundary
    outcome = Outcome(at=at, currency=currency, intent="renewal")
    known = known or read(group)
    charges = []
    for holding in known.held:
        row = holding.subscription
        after_trial = row.trial_ends_at == at
        ends = _ends(row, at)
        if after_trial:
            outcome.waived += holding.overages
        else:
            outcome.lines += proration.usage_lines(
                holding, at=at, currency=currency, everything=ends, with_overdrawn=ends or is_forecast
            )
        outcome.lines += proration.pending_lines(holding)
        if ends:
            outcome.ends.append(End(row, "The trial ended without a card" if after_trial else "Ended with its cycle"))
            successor = _successor(row, known.waiting)
            if successor is not None:
                charges += _begin(outcome, successor, holding, currency)
            elif after_trial:
                _fall_back(outcome, holding)
        else:
            charges += _go_on(outcome, holding, currency)
            if after_trial and _sets_anchor(row, at):
                outcome.customer_anchor = holding.anchor
    outcome.lines += charges
    outcome.leaves_invoice = bool(outcome.cycles)
    discounts.lower(outcome, group.customer, running=known.discounts)
    return outcome


def start_scheduled(row: Subscription, *, at: datetime, actor: Actor, currency: str) -> Result:
    """Start a plan whose time has come although nothing renews or ends with it."""
    outcome = Outcome(at=at, currency=currency, intent="attach")
    live = holdings.rows(row.customer).filter(entity=row.entity, is_one_off=False).live()
    if row.is_add_on:
        found = live.filter(plan__slug=row.plan.slug, is_add_on=True, ends_at=at).first()
    else:
        found = live.filter(group=row.group, is_add_on=False).first()
    current = holdings.one(found, at=at) if found is not None else None
    if current is not None:
        outcome.ends.append(End(current.subscription, f"{row.plan.name} took its place"))
        outcome.lines += proration.usage_lines(
            current, at=at, currency=currency, everything=True, with_overdrawn=True, with_seats=False
        )
        outcome.lines += proration.pending_lines(current)
        outcome.lines += proration.credit_lines(current, at=at, currency=currency)
    outcome.lines += _begin(outcome, row, current, currency)
    if row.is_paid and not row.has_own_cycle:
        others = Subscription.objects.filter(customer=row.customer, is_paid=True, has_own_cycle=False).live()
        if not others.exclude(pk=current.subscription.pk if current else 0).exclude(trial_ends_at__gt=at).exists():
            outcome.customer_anchor = row.billing_cycle_anchor
    discounts.lower(outcome, row.customer)
    return _run(Step.START, row, outcome, actor, reason=f"{row.plan} starts as scheduled")


def is_followed(row: Subscription, at: datetime) -> bool:
    """Whether a plan that ends at `at` gives way to one that starts then, which credits what is unused of it."""
    waiting = Subscription.objects.filter(
        customer=row.customer, entity=row.entity, status=Status.SCHEDULED, started_at__lte=at, is_add_on=row.is_add_on
    )
    same_place = waiting.filter(plan__slug=row.plan.slug) if row.is_add_on else waiting.filter(group=row.group)
    return not row.is_one_off and same_place.exists()


def end_due(row: Subscription, *, at: datetime, actor: Actor, currency: str) -> Result:
    """End a plan whose end has come although nothing renews then; what was used beyond the grant is billed."""
    outcome = Outcome(at=at, currency=currency, intent="cancel_end_of_cycle")
    holding = holdings.one(row, at=at)
    if row.is_trialing(at) or row.trial_ends_at == at:
        outcome.waived += holding.overages
    else:
        outcome.lines = proration.usage_lines(holding, at=at, currency=currency, everything=True, with_overdrawn=True)
    outcome.lines += proration.pending_lines(holding)
    outcome.ends = [End(row, "Its end has come")]
    discounts.lower(outcome, row.customer)
    return _run(Step.END, row, outcome, actor, reason=f"{row.plan} ends")


def end_trial(row: Subscription, *, at: datetime, actor: Actor, currency: str) -> Result:
    """End a trial that goes back to the plan before."""
    outcome = Outcome(at=at, currency=currency, intent="cancel_immediately")
    outcome.ends = [End(row, "The trial is over")]
    paused = reverting.paused_by(row)
    if paused is not None:
        reverting.resume(outcome, paused)
        discounts.lower(outcome, row.customer)
    return _run(Step.TRIAL, row, outcome, actor, reason=f"The trial of {row.plan} is over")


def again(operation: Operation) -> None:
    """Do once more what a process died over, where it is still to be done, under the same key: nothing came since."""
    step, actor = Step(operation.request["step"]), Actor(operation.actor, operation.request_id)
    at, currency = operation.at, operation.outcome["currency"]
    rows = holdings.rows(operation.customer).filter(pk__in=operation.request["subscriptions"])
    live = [row for row in rows if row.status in (Status.ACTIVE, Status.PAST_DUE)]
    if step is Step.RENEW:
        for group in groups([row for row in live if row.current_period_end == at], at):
            renew(group, actor=actor, currency=currency)
    elif step is Step.START:
        for row in rows.filter(status=Status.SCHEDULED):
            start_scheduled(row, at=at, actor=actor, currency=currency)
    else:
        act = {Step.END: end_due, Step.TRIAL: end_trial, Step.MOVE: move}[step]
        for row in live:
            act(row, at=at, actor=actor, currency=currency)


def move(row: Subscription, *, at: datetime, actor: Actor, currency: str) -> Result:
    """Count the cycles of a plan, and of those it shares a subscription with, from now on, as was asked for earlier."""
    return _run(
        Step.MOVE, row, moved(row, at=at, currency=currency), actor, reason=f"{row.plan} counts its cycles from now on"
    )


def moved(row: Subscription, *, at: datetime, currency: str) -> Outcome:
    """What counting cycles from `at` on comes to."""
    found = updating.setup(row.subject, Update(subscription_id=row.public_id, anchor=at), at=at, currency=currency)
    return updating.compute(found)


def _run(step: Step, row: Subscription, outcome: Outcome, actor: Actor, *, reason: str) -> Result:
    job = Job(
        customer=row.customer,
        entity=row.entity,
        kind=Operation.Kind.RENEWAL,
        cause=Invoice.Cause.RENEWAL,
        actor=actor,
        request=_request(step, [row], outcome.at),
        unpaid=Unpaid.GOES_ON,
        reason=reason,
        key=f"{step}-{row.pk}-{milliseconds(outcome.at)}",
    )
    return operations.carry_out(job, outcome)


def _request(step: Step, rows: Iterable[Subscription], at: datetime) -> dict[str, Any]:
    return {"step": step, "subscriptions": [row.pk for row in rows], "boundary": milliseconds(at)}


def _reset(group: Group, actor: Actor) -> None:
    while resets.reset_due(at=group.boundary, actor=actor, customer_pk=group.customer.pk):
        pass


def _scheduled(group: Group) -> list[Subscription]:
    rows = holdings.rows(group.customer).filter(entity=group.entity, status=Status.SCHEDULED)
    return list(rows.filter(started_at__lte=group.boundary))


def _successor(row: Subscription, waiting: Sequence[Subscription]) -> Subscription | None:
    if row.is_add_on:
        return None
    return next((other for other in waiting if other.group == row.group and not other.is_add_on), None)


def _ends(row: Subscription, at: datetime) -> bool:
    """Whether it ends with the cycle that ends at `at`: its end has come, or its trial's and nobody can pay."""
    return (row.ends_at is not None and row.ends_at <= at) or (row.trial_ends_at == at and _is_unpayable(row))


def _is_unpayable(row: Subscription) -> bool:
    """A trial that asked for no card ends with the plan when there still is none."""
    if row.trial_card_required or row.sends_invoice:
        return False
    customer_id = row.customer.processor_id
    return not customer_id or get_processor().payment_method(customer_id) is None


def _sets_anchor(row: Subscription, at: datetime) -> bool:
    """Whether a plan that leaves its trial is the first of the customer that is paid for."""
    others = Subscription.objects.filter(customer=row.customer, is_paid=True, has_own_cycle=False).live()
    return not row.has_own_cycle and not others.exclude(pk=row.pk).exclude(trial_ends_at__gte=at).exists()


def _go_on(outcome: Outcome, holding: Holding, currency: str) -> list[proration.Line]:
    row, at = holding.subscription, outcome.at
    dropped = holding.vacated
    for seat in dropped:
        position = seat.item.position
        holding.seats[position] = max(ZERO, holding.seats.get(position, ZERO) - 1)
        holding.seats_held[position] = max(ZERO, holding.seats_held.get(position, ZERO) - 1)
    outcome.vacated += dropped
    for item in holding.items:
        if item.upcoming_quantity is not None:
            outcome.quantities.append(NewQuantity(item, item.upcoming_quantity))
            item.quantity = item.upcoming_quantity
    shortest = situation.terms(holding).shortest
    if shortest is not None:
        end = next_boundary(holding.anchor, shortest, at)
        outcome.cycles.append(NewCycle(row, holding.anchor, at, end))
    return proration.renewal_lines(holding, at=at, currency=currency)


def _begin(outcome: Outcome, row: Subscription, predecessor: Holding | None, currency: str) -> list[proration.Line]:
    """Start a scheduled plan in an outcome; returns what its first cycle costs."""
    at = outcome.at
    starting = Holding(row, list(row.items.all()))
    holdings.expect_seats(starting, predecessor, Subject(row.customer, row.entity))
    row.started_at = at
    if row.is_paid and row.billing_cycle_anchor is None:
        row.billing_cycle_anchor = at
    attaching.first_period(starting, at)
    outcome.starts.append(Start(starting, predecessor.subscription if predecessor else None))
    return proration.first_lines(starting, at=at, currency=currency) if row.is_paid else []


def _fall_back(outcome: Outcome, holding: Holding) -> None:
    row = holding.subscription
    scope = Subject(row.customer, row.entity)
    in_scope = list(holdings.rows(row.customer).filter(entity=row.entity, is_one_off=False).current_or_scheduled())
    found = updating.Setup(scope, Update(), outcome.at, outcome.currency, holding, in_scope)
    start = updating.fall_back(found)
    if start is not None:
        outcome.starts.append(start)
