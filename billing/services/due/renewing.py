"""Renewing many scopes at once: read together, computed one by one by the rule that renews one, written together.

What is not plain (something ends, starts or changes at the boundary) is renewed by itself, by the same rule. The steps
are those of `execution.operations`, and a process that dies between any two leaves what those leave: operations that
are pending, whose renewals are made again under the same keys.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby, takewhile

from django.db import transaction
from django.db.models import F

from billing.models import Discount, Operation, Subscription
from billing.outcomes import Outcome
from billing.processors import ProcessorInvoice, get_processor
from billing.proration import Holding
from billing.services import invoices
from billing.services.due import cycles
from billing.services.due.cycles import Group, Known
from billing.services.execution import announcing, applying, finishing, operations, syncing
from billing.services.execution.operations import Job
from billing.services.plan_changes import discounts, holdings
from config.actor import Actor
from entities.models import Customer

# Renewals in one go: more would keep their customers waiting for seconds, fewer would not share the round trips.
MOST = 500
Status = Subscription.Status

type _Scope = tuple[int, int | None]  # keys of customer and entity


@dataclass(frozen=True, slots=True)
class _Work:
    """A renewal with all that was read for it."""

    group: Group
    known: Known
    others: list[Holding]  # paid plans of the scope that don't renew now, and scheduled ones
    job: Job
    outcome: Outcome


def renew(moments: Mapping[int, datetime], *, actor: Actor) -> None:
    """Renew whatever is due for these customers (by key), each at its own instant; the caller holds their turns.

    What was used until then has been put aside (resets). In the order of a customer's scopes: the customer's own first,
    then its entities by age.
    """
    due = _due(moments)
    for start in range(0, len(due), MOST):
        _renew(due[start : start + MOST], moments, actor)


def _due(moments: Mapping[int, datetime]) -> list[_Scope]:
    rows = (
        Subscription.objects.filter(customer__in=moments, is_paid=True, current_period_end__lte=max(moments.values()))
        .live()
        .values_list("customer", "entity", "current_period_end")
    )
    found = {(customer, entity) for customer, entity, end in rows if end is not None and end <= moments[customer]}
    return sorted(found, key=_by_age)


def _renew(scopes: Sequence[_Scope], moments: Mapping[int, datetime], actor: Actor) -> None:
    done: set[tuple[int, int | None, int]] = set()
    while scopes:
        plain, alone, left = [], [], []
        for found in _read(scopes, moments):
            due = [one for one in found if _name(one[0]) not in done]
            # A customer's renewals keep their order: what comes after one that is not plain is left for the next round.
            leading = list(takewhile(lambda one: cycles.is_plain(one[0], one[1]), due))
            plain += leading
            alone += [group for group, _, _ in due[len(leading) : len(leading) + 1]]
            left += [group for group, _, _ in due[len(leading) + 1 :]]
        if plain:
            _carry_out([_compute(group, known, others, actor) for group, known, others in plain])
        for group in alone:
            # The one before may have changed the customer (its anchor, its id at the processor).
            group.customer.refresh_from_db()
            cycles.renew(group, actor=actor, currency=invoices.currency_of(group.customer))
        done |= {_name(group) for group in [*(group for group, _, _ in plain), *alone]}
        scopes = sorted({_name(group)[:2] for group in left}, key=_by_age)


def _by_age(scope: _Scope) -> tuple[int, int]:
    return scope[0], scope[1] or 0


def _name(group: Group) -> tuple[int, int | None, int]:
    own = group.rows[0].pk if group.rows[0].has_own_cycle else 0
    return group.customer.pk, group.entity.pk if group.entity else None, own


def _read(
    scopes: Collection[_Scope], moments: Mapping[int, datetime]
) -> list[list[tuple[Group, Known, list[Holding]]]]:
    """What is due in the scopes, by customer, with all that computing and the processor need."""
    rows = [row for row in holdings.rows_in(scopes).current_or_scheduled() if not row.is_one_off]
    held = {holding.subscription.pk: holding for holding in holdings.load(rows, at=None)}
    running = discounts.of_many({customer: moments[customer] for customer, _ in scopes})
    by_scope: dict[_Scope, list[Subscription]] = {scope: [] for scope in scopes}
    for row in rows:
        by_scope[row.customer_id, row.entity_id].append(row)
    found = []
    for customer, members in groupby(scopes, key=lambda scope: scope[0]):
        at = moments[customer]
        found.append([one for scope in members for one in _groups(by_scope[scope], held, running[customer], at)])
    return found


def _groups(
    rows: Sequence[Subscription], held: Mapping[int, Holding], running: list[Discount], at: datetime
) -> Iterable[tuple[Group, Known, list[Holding]]]:
    due = [
        row
        for row in rows
        if row.is_paid
        and row.status != Status.SCHEDULED
        and row.current_period_end is not None
        and row.current_period_end <= at
    ]
    waiting = [row for row in rows if row.status == Status.SCHEDULED and row.started_at <= at]
    for group in cycles.groups(due, at):
        mine = {row.pk for row in group.rows}
        others = [held[row.pk] for row in rows if row.pk not in mine and row.is_paid]
        yield group, Known([held[row.pk] for row in group.rows], waiting, running), others


def _compute(group: Group, known: Known, others: list[Holding], actor: Actor) -> _Work:
    outcome = cycles.renewal(group, currency=invoices.currency_of(group.customer), known=known)
    return _Work(group, known, others, cycles.job(group, actor=actor), outcome)


def _carry_out(works: Sequence[_Work]) -> None:
    """Write down, charge, record, tell the processor; no transaction is open while the processor is called."""
    for work in works:
        get_processor().expect_renewal(cycles.renewal_at(work.group), goes_on=True)
    written = Operation.objects.bulk_create([operations.written_down(work.job, work.outcome) for work in works])
    charges = [
        operations.charge(work.job, work.outcome, operation) for work, operation in zip(works, written, strict=True)
    ]
    collected = get_processor().charge_invoices(charges)
    with transaction.atomic():
        _record(works, written, collected)
    syncing.put_all(
        (_scope(work), work.outcome.at, finishing.sync_key(operation, work.group.rows[0].entity_id))
        for work, operation in zip(works, written, strict=True)
    )
    keys = [operation.pk for operation in written]
    Operation.objects.filter(pk__in=keys).update(status=Operation.Status.DONE, finished_at=F("at"))


def _record(works: Sequence[_Work], written: Sequence[Operation], collected: Sequence[ProcessorInvoice]) -> None:
    customers = Customer.objects.locked().filter(pk__in={work.group.customer.pk for work in works}).order_by("pk")
    by_key = {customer.pk: customer for customer in customers}
    applying.go_on([cycle for work in works for cycle in work.outcome.cycles])
    behind = [(work, written[n]) for n, work in enumerate(works) if collected[n].problem]
    for work, operation in behind:
        with announcing.plans_of([work.group.customer], cause=f"operation:{operation.pk}", at=work.outcome.at):
            applying.fall_behind([work.outcome])
    for work in works:
        applying.settle_customer(by_key[work.group.customer.pk], work.outcome)
    invoices.write_all(
        [
            operations.invoice_draft(work.job, work.outcome, operation, paid)
            for work, operation, paid in zip(works, written, collected, strict=True)
        ]
    )
    finishing.remember(
        [
            (operation, finishing.left_to_do(work.outcome, {work.group.rows[0].entity_id: work.group.entity}))
            for work, operation in zip(works, written, strict=True)
        ]
    )


def _scope(work: _Work) -> syncing.Scope:
    held = sorted([*work.known.held, *work.others], key=lambda holding: holding.subscription.pk)
    held.sort(key=lambda holding: holding.subscription.started_at)
    return syncing.Scope(
        work.group.customer,
        work.group.entity,
        [holding for holding in held if holding.subscription.status != Status.SCHEDULED],
        [holding for holding in held if holding.subscription.status == Status.SCHEDULED],
    )
