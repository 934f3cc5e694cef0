"""What a schedule comes to: the first phase is attached, the plans of the later ones wait for their instants.

Within a scope the main plans of a group follow each other, as copies of one add-on do. A plan that the next phase
names again, unchanged, goes on; one that it doesn't name ends there. What no phase speaks of stays as it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from billing import proration
from billing.models import Subscription
from billing.outcomes import Cancellation, NextCycle, Outcome
from billing.proration import Holding
from billing.services import invoices
from billing.services.plan_changes import attaching, combining, drafts, holdings, postponing
from billing.services.plan_changes.requests import Customize, Phase, Schedule, ScopedAttach
from config.errors import InvalidRequest
from entities.models import Customer
from entities.subject import Subject

Status = Subscription.Status
_LIVE = (Status.ACTIVE, Status.PAST_DUE)
# Which plans replace each other: a scope's main plans of a group, or an add-on of that id.
type Place = tuple[int | None, str, str]


@dataclass(slots=True)
class Planned:
    """A schedule's outcome, and which subscriptions each of its phases has."""

    outcome: Outcome
    phases: list[list[Subscription]] = field(default_factory=list)


@dataclass(slots=True)
class _Run:
    """The places of a schedule while its phases are laid out, and what ends when."""

    customer: Customer
    request: Schedule
    at: datetime
    currency: str
    outcome: Outcome
    held: dict[Place, Holding] = field(default_factory=dict)  # what there is before the schedule
    last: dict[Place, Holding] = field(default_factory=dict)  # what the phase before left in each place
    touched: set[Place] = field(default_factory=set)
    ends: dict[int, Cancellation] = field(default_factory=dict)  # of saved rows
    waiting: list[Subscription] = field(default_factory=list)  # scheduled before


def compute(customer: Customer, request: Schedule, *, at: datetime, currency: str) -> Planned:
    """What the schedule comes to; raises what is wrong with any of its plans, and then nothing is done."""
    run = _Run(customer, request, at, currency, Outcome(at=at, currency=currency, intent="attach"))
    _read(run)
    planned = Planned(run.outcome)
    later = list(request.phases)
    if later[0].starts_at <= at:
        planned.phases.append(_attach(run, later.pop(0)))
        planned.outcome = run.outcome
    elif request.others:
        raise InvalidRequest("unscheduled_plans are attached with a first phase that starts now.")
    for phase in later:
        planned.phases.append(_lay_out(run, phase))
    _replace_earlier(run)
    run.outcome.cancellations += list(run.ends.values())
    _expect_next(run)
    return planned


def _read(run: _Run) -> None:
    rows = list(holdings.rows(run.customer).filter(is_one_off=False, license_item=None).current_or_scheduled())
    run.waiting = [row for row in rows if row.status == Status.SCHEDULED]
    for holding in holdings.load([row for row in rows if row.status in _LIVE], at=run.at):
        run.held[_place(holding.subscription)] = holding


def _place(row: Subscription) -> Place:
    return (row.entity_id, "add-on", row.plan.slug) if row.is_add_on else (row.entity_id, "group", row.group)


def _attach(run: _Run, phase: Phase) -> list[Subscription]:
    """The first phase: plans held already stay, the others are attached now."""
    kept, new = [], []
    for scoped in [*phase.plans, *run.request.others]:
        holding = _held(run, scoped)
        if holding is None:
            new.append(scoped)
        else:
            kept.append(holding)
            run.ends[holding.subscription.pk] = Cancellation(holding.subscription, None)
    found = combining.situations(run.customer, new, at=run.at, currency=run.currency)
    if found:
        run.outcome = combining.merged([attaching.compute(one) for one in found], at=run.at, currency=run.currency)
        combining.lower(run.outcome, run.customer, found)
    for one in found:
        one.new.subscription.schedule_id = run.request.schedule_id
    others = {(scoped.entity_pk, scoped.attach.plan) for scoped in run.request.others}
    begun = []
    for holding in [*kept, *(one.new for one in found)]:
        row = holding.subscription
        if (row.entity_id, row.plan.slug) in others:
            run.touched.add(_place(row))
            continue
        begun.append(row)
        if not row.is_one_off:
            _put(run, holding)
    return begun


def _held(run: _Run, scoped: ScopedAttach) -> Holding | None:
    """The plan asked for, where it is held on these terms."""
    attach = scoped.attach
    for place, holding in run.held.items():
        row = holding.subscription
        same = place[0] == scoped.entity_pk and row.plan.slug == attach.plan
        if same and attach.version in (None, row.plan.version) and _says_nothing(scoped):
            return holding
    return None


def _says_nothing(scoped: ScopedAttach) -> bool:
    """Whether a plan is named without terms of its own."""
    attach = scoped.attach
    return not (attach.customize != Customize() or attach.quantities or attach.licenses or attach.subscription_id)


def _lay_out(run: _Run, phase: Phase) -> list[Subscription]:
    """A later phase: its plans wait, those of the phase before end when it starts."""
    named: dict[Place, Holding] = {}
    for scoped in phase.plans:
        subject = combining.scope(run.customer, scoped.entity_pk)
        place, holding = _next(run, phase, scoped, subject)
        if place in named:
            raise InvalidRequest(f"phases: {scoped.attach.plan} and another plan of its group can't be held together.")
        if place in run.touched and place not in run.last:
            raise InvalidRequest(f"phases: {scoped.attach.plan} would replace a plan of unscheduled_plans. Choose one.")
        named[place] = holding
    for place, holding in list(run.last.items()):
        if named.get(place) is not holding:
            _end(run, holding.subscription, phase.starts_at)
            del run.last[place]
    for place, holding in named.items():
        before = run.held.get(place)
        if before is not None and place not in run.touched and before is not holding:
            _end(run, before.subscription, phase.starts_at)
        _put(run, holding)
    return [holding.subscription for holding in named.values()]


def _next(run: _Run, phase: Phase, scoped: ScopedAttach, subject: Subject) -> tuple[Place, Holding]:
    """What a later phase has in a place: what went before, where it goes on, else a plan that waits."""
    attach = scoped.attach
    plan = drafts.plan(attach.plan, attach.version)
    entity_pk = subject.entity.pk if subject.entity else None
    place = (entity_pk, "add-on", plan.slug) if plan.is_add_on else (entity_pk, "group", plan.group)
    before = run.last.get(place)
    if before is None and place not in run.touched:
        before = run.held.get(place)
    if before is not None and before.subscription.plan.pk == plan.pk and _says_nothing(scoped):
        return place, before
    new = drafts.holding(
        subject,
        plan,
        customize=attach.customize,
        quantities=attach.quantities,
        licenses=attach.licenses,
        at=run.at,
        carried=before,
    )
    row = new.subscription
    postponing.postpone(new, phase.starts_at, before, customer=run.customer)
    if phase.resets_cycle and row.is_paid:
        row.billing_cycle_anchor = phase.starts_at
    row.schedule_id, row.metadata = run.request.schedule_id, dict(attach.metadata)
    if attach.subscription_id:
        row.public_id = attach.subscription_id
        _check_id(run, row)
    run.outcome.schedules.append(new)
    return place, new


def _check_id(run: _Run, row: Subscription) -> None:
    starts = [start.holding.subscription for start in run.outcome.starts]
    used = {other.public_id for other in [*starts, *(one.subscription for one in run.outcome.schedules)]}
    kept = Subscription.objects.filter(public_id=row.public_id).exclude(status=Status.EXPIRED)
    if row.public_id in used or kept.exclude(pk__in=[other.pk for other in _replaced(run)]).exists():
        raise InvalidRequest(
            f"subscription_id {row.public_id} is taken by another plan. Choose another one.",
            code="subscription_id_taken",
            status=409,
        )


def _put(run: _Run, holding: Holding) -> None:
    place = _place(holding.subscription)
    run.last[place] = holding
    run.touched.add(place)


def _end(run: _Run, row: Subscription, at: datetime) -> None:
    if row.pk is None:
        row.ends_at, row.canceled_at = at, run.at
    else:
        run.ends[row.pk] = Cancellation(row, at)


def _replaced(run: _Run) -> list[Subscription]:
    """What was scheduled before and gives way: all of earlier schedules in these scopes, and what waits in a place."""
    scopes = {place[0] for place in run.touched} | {run.request.entity_pk}
    return [row for row in run.waiting if _place(row) in run.touched or (row.schedule_id and row.entity_id in scopes)]


def _replace_earlier(run: _Run) -> None:
    """The last request wins: what was scheduled before is taken back, and with it the ends that it set."""
    known = {row.pk for row in run.outcome.deletes}
    replaced = _replaced(run)
    run.outcome.deletes += [row for row in replaced if row.pk not in known]
    ending = {end.subscription.pk for end in run.outcome.ends}
    instants = {(_place(row), row.started_at) for row in replaced}
    for place, holding in run.held.items():
        row = holding.subscription
        if row.pk in ending or row.pk in run.ends:
            continue
        if row.ends_at is not None and (place, row.ends_at) in instants:
            run.ends[row.pk] = Cancellation(row, None)
    # Nothing is said of an end that isn't there.
    run.ends = {
        key: one
        for key, one in run.ends.items()
        if key not in ending and (one.ends_at is not None or one.subscription.ends_at is not None)
    }


def _expect_next(run: _Run) -> None:
    """Without anything billed before, the first plans that wait are what comes next."""
    outcome = run.outcome
    invoices.check_amounts(outcome.lines)
    if outcome.next_cycle is not None or not outcome.schedules:
        return
    first = min(holding.subscription.started_at for holding in outcome.schedules)
    starting = [holding for holding in outcome.schedules if holding.subscription.started_at == first]
    outcome.next_cycle = NextCycle(first, _first_lines(starting, first, run.currency))


def _first_lines(starting: Sequence[Holding], at: datetime, currency: str) -> list[proration.Line]:
    return [
        line
        for holding in starting
        if holding.subscription.is_paid
        for line in proration.first_lines(holding, at=at, currency=currency)
    ]
