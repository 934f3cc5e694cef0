"""Plans of customers and entities: attach, change, cancel, and what each would cost."""

from dataclasses import dataclass, replace
from datetime import datetime

from django.db import transaction

from billing import changes
from billing.errors import StateMoved
from billing.models import Invoice, Operation, Subscription
from billing.outcomes import End, Outcome, Start
from billing.processors import Collection
from billing.services import invoices
from billing.services.due import clock, recovery
from billing.services.execution import checkouts, operations, queue
from billing.services.execution.operations import Job, Result
from billing.services.plan_changes import combining, holdings, requests, situation, updating
from billing.services.plan_changes.requests import Attach, Update
from billing.services.plan_changes.situation import Situation
from config.actor import Actor
from entities.models import Customer
from entities.subject import Subject
from plans.models import Plan


@dataclass(frozen=True, slots=True)
class Answer:
    """What an action did: its result, or the page on which the customer has to pay first."""

    result: Result | None
    payment_url: str | None = None


def attach(*, subject: Subject, request: Attach, at: datetime, actor: Actor) -> Answer:
    """Attach a plan: at once, at the end of the cycle, or when it is paid for.

    Raises PlanNotFound, PlanAlreadyAttached, and InvalidRequest for what can't be done as things stand.
    """
    more = _more_licenses(subject, request)
    if more is not None:
        return update(subject=subject, request=more, at=at, actor=actor)
    with queue.still_there(subject.customer, subject.entity.pk if subject.entity else None):
        done = clock.catch_up(customer=subject.customer, at=at, actor=actor)
        if (again := recovery.answer_of(request, done, subject=subject, at=at)) is not None:
            return Answer(again)
        found, outcome = _plan_attach(subject, request, at, locks=True)
        if outcome.checkout is not None:
            return Answer(None, checkouts.open_page(found.subject, request, outcome, actor=actor))
        result = operations.carry_out(attach_job(found.subject, request, actor), outcome)
        if result.operation is not None and result.operation.status == Operation.Status.DONE:
            operations.expire_waiting(found.customer, at=at, except_for=result.operation.pk)
        return Answer(result, result.payment_url)


def preview_attach(*, subject: Subject, request: Attach, at: datetime) -> Outcome:
    """What `attach` would do, with the same errors; changes nothing."""
    more = _more_licenses(subject, request)
    if more is not None:
        return preview_update(subject=subject, request=more, at=at)
    return _plan_attach(subject, request, at, locks=False)[1]


def update(*, subject: Subject, request: Update, at: datetime, actor: Actor, reason: str = "") -> Answer:
    """Change a plan that is held, with the reason that staff gave; raises SubscriptionNotFound and InvalidRequest."""
    with queue.still_there(subject.customer, subject.entity.pk if subject.entity else None):
        done = clock.catch_up(customer=subject.customer, at=at, actor=actor)
        if (again := recovery.answer_of(request, done, subject=subject, at=at)) is not None:
            return Answer(again)
        found, outcome = _plan_update(subject, request, at, locks=True)
        job = replace(update_job(found.subject, request, actor), reason=reason)
        last = updating.last_payment(found.row) if outcome.refund else None
        if outcome.refund and last is not None:
            job = replace(job, refund=(last, outcome.refund))
        result = operations.carry_out(job, outcome)
        if result.operation is not None and result.operation.status == Operation.Status.DONE:
            operations.expire_waiting(found.subject.customer, at=at, except_for=result.operation.pk)
        return Answer(result, result.payment_url)


def preview_update(*, subject: Subject, request: Update, at: datetime) -> Outcome:
    """What `update` would do, with the same errors; changes nothing."""
    return _plan_update(subject, request, at, locks=False)[1]


def _more_licenses(subject: Subject, request: Attach) -> Update | None:
    """Attaching a plan that is held already, with a number of licences, is how that number is changed."""
    if not request.licenses or request.version is not None or request.customize.changes_terms:
        return None
    held = Subscription.objects.in_scope(subject).live().filter(plan__slug=request.plan, is_add_on=False)
    if not held.exists():
        return None
    return Update(
        plan=request.plan,
        quantities=request.quantities,
        licenses=request.licenses,
        invoice_mode=request.invoice_mode,
        prorates=request.prorates,
        redirect_mode=request.redirect_mode,
        bills=request.bills,
        fingerprint=request.fingerprint,
    )


def enable_defaults(*, customer: Customer, at: datetime, actor: Actor) -> None:
    """Attach the plans that start by themselves, one per group: free ones, and paid ones whose trial needs no card."""
    seen: set[str] = set()
    for plan in Plan.objects.enabled_for_new_customers().with_items().order_by("group", "pk"):
        if plan.group in seen or not _starts_by_itself(plan):
            continue
        seen.add(plan.group)
        request = Attach(plan=plan.slug, redirect_mode="never", auto_enabled=True)
        attach(subject=Subject(customer), request=request, at=at, actor=actor)


def end_all(*, customer: Customer, at: datetime, actor: Actor, reason: str) -> None:
    """End every plan of a customer and its entities, without credit or bill; the caller holds the customer's turn."""
    recovery.finish_pending(customer)
    operations.expire_waiting(customer, at=at)
    rows = list(holdings.rows(customer).exclude(status=Subscription.Status.EXPIRED))
    scopes = {row.entity_id: row.entity for row in rows}
    for entity_id, entity in scopes.items():
        outcome = Outcome(at=at, currency=invoices.currency_of(customer), intent="cancel_immediately")
        for row in rows:
            if row.entity_id == entity_id and row.status == Subscription.Status.SCHEDULED:
                outcome.deletes.append(row)
            elif row.entity_id == entity_id:
                outcome.ends.append(End(row, reason))
        job = Job(
            customer=customer,
            entity=entity,
            kind=Operation.Kind.UPDATE,
            cause=Invoice.Cause.UPDATE,
            actor=actor,
            request={},
            reason=reason,
        )
        operations.carry_out(job, outcome)


def attach_job(subject: Subject, request: Attach, actor: Actor) -> Job:
    """How an attachment is carried out."""
    mode = request.invoice_mode
    sends = mode is not None and mode.enabled
    granted = request.enable_plan_immediately or (mode is not None and mode.enable_plan_immediately)
    terms = None if not sends else mode.net_terms_days if mode is not None and mode.net_terms_days is not None else 30
    return Job(
        customer=subject.customer,
        entity=subject.entity,
        kind=Operation.Kind.ATTACH,
        cause=Invoice.Cause.ATTACH,
        actor=actor,
        request=requests.written(request),
        collection=_collection(request.invoice_mode),
        granted_unpaid=granted and sends,
        net_terms_days=terms,
    )


def update_job(subject: Subject, request: Update, actor: Actor) -> Job:
    """How an update is carried out."""
    mode = request.invoice_mode
    return Job(
        customer=subject.customer,
        entity=subject.entity,
        kind=Operation.Kind.UPDATE,
        cause=Invoice.Cause.UPDATE,
        actor=actor,
        request=requests.written(request),
        collection=_collection(mode),
        granted_unpaid=mode is not None and mode.enabled and mode.enable_plan_immediately,
        net_terms_days=mode.net_terms_days if mode is not None else None,
    )


def _plan_attach(subject: Subject, request: Attach, at: datetime, *, locks: bool) -> tuple[Situation, Outcome]:
    with transaction.atomic():
        scope = Subject(_customer(subject, locks=locks), subject.entity)
        currency = invoices.currency_of(scope.customer)
        found = situation.read(scope, request, at=at, currency=currency)
    outcome = combining.attachment(found)
    invoices.check_amounts(outcome.lines)
    plan = found.plan
    waiting = [row.pk for row in found.scheduled]
    outcome.fingerprint = holdings.fingerprint(found.live_in_scope, plan.pk, plan.version, waiting)
    _check_fingerprint(request.fingerprint, outcome)
    return found, outcome


def _plan_update(subject: Subject, request: Update, at: datetime, *, locks: bool) -> tuple[updating.Setup, Outcome]:
    with transaction.atomic():
        scope = Subject(_customer(subject, locks=locks), subject.entity)
        found = updating.setup(scope, request, at=at, currency=invoices.currency_of(scope.customer))
    outcome = updating.compute(found)
    invoices.check_amounts(outcome.lines)
    outcome.fingerprint = holdings.fingerprint(
        [found.target], [(row.pk, row.status) for row in found.in_scope], [_terms(start) for start in outcome.starts]
    )
    _check_fingerprint(request.fingerprint, outcome)
    return found, outcome


def _terms(start: Start) -> tuple[object, ...]:
    """What starts, as its plan reads now: a version that nobody holds may still be edited."""
    row = start.holding.subscription
    return row.plan_id, row.price_amount, row.price_interval, [str(item.terms()) for item in start.holding.items]


def _check_fingerprint(expected: str, outcome: Outcome) -> None:
    if expected and expected != outcome.fingerprint:
        raise StateMoved("Things changed since the preview: look at it again and send its new fingerprint.")


def _customer(subject: Subject, *, locks: bool) -> Customer:
    customers = Customer.objects.locked() if locks else Customer.objects.all()
    return customers.get(pk=subject.customer.pk)


def _collection(mode: requests.InvoiceMode | None) -> Collection:
    if mode is None or not mode.enabled:
        return Collection.CARD
    return Collection.SEND if mode.finalize else Collection.DRAFT


def _starts_by_itself(plan: Plan) -> bool:
    is_free = changes.terms_of(plan, list(plan.items.all())).kind is changes.Kind.FREE
    return is_free or (plan.trial_length is not None and not plan.trial_card_required)
