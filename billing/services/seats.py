"""Entities that come and go, with what their seats cost (spec billing 9): declined means nothing happened."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db import transaction

from billing import proration
from billing.errors import SeatLimitReached, SeatsAreBilled
from billing.models import Balance, Invoice, Operation, Subscription, SubscriptionItem, VacatedSeat
from billing.outcomes import End, Outcome
from billing.proration import Holding
from billing.services.balances import provisioning
from billing.services.due import clock
from billing.services.execution import operations, queue
from billing.services.execution.operations import Job, Unpaid
from billing.services.plan_changes import discounts, holdings, requests
from config.actor import Actor
from config.errors import InvalidRequest, LockBusy
from entities.errors import EntityAlreadyExists
from entities.models import Customer, Entity
from plans.models import Feature

ZERO = Decimal(0)
ONE = Decimal(1)
Increase = SubscriptionItem.OnIncrease
Decrease = SubscriptionItem.OnDecrease


def create_entity(
    *,
    customer: Customer,
    entity_id: str,
    feature: Feature,
    name: str,
    billing_controls: Mapping[str, Any],
    at: datetime,
    actor: Actor,
) -> Entity:
    """Create an entity: it takes a vacated seat, or one that is invoiced as its plan says.

    Raises EntityAlreadyExists, SeatLimitReached, PaymentDeclined, and InvalidRequest for a feature without entities.
    """
    check_countable(feature)
    with queue.still_there(customer):
        clock.catch_up(customer=customer, at=at, actor=actor)
        customer.refresh_from_db()
        if Entity.objects.live().filter(customer=customer, external_id=entity_id).exists():
            raise EntityAlreadyExists(entity_id)
        outcome = Outcome(at=at, currency=_currency(customer), intent="seats")
        taken: dict[int, VacatedSeat] = {}
        is_billed = _take_seats(_counting(customer, feature, at), outcome, taken)
        if is_billed:
            discounts.lower(outcome, customer)

        def work(operation_id: int | None) -> Entity:
            seats = {item: seat.leaver for item, seat in taken.items()}
            entity = provisioning.add_entity(
                customer=customer,
                entity_id=entity_id,
                feature=feature,
                name=name,
                billing_controls=billing_controls,
                at=at,
                actor=actor,
                seats_taken_over=seats,
                operation_id=operation_id,
            )
            keys = [seat.pk for seat in taken.values()]
            VacatedSeat.objects.filter(pk__in=keys).update(closed_at=at, taken_by=entity)
            return entity

        if not is_billed:
            with transaction.atomic():
                Customer.objects.locked().get(pk=customer.pk)
                return work(None)
        seat = requests.Seat(
            entity_id=entity_id, feature=feature.slug, name=name, billing_controls=dict(billing_controls)
        )
        job = _job(customer, None, Operation.Kind.SEATS, actor, requests.written(seat), work)
        made: Entity = operations.carry_out(job, outcome).made
        return made


def check_countable(feature: Feature) -> None:
    """Refuse, with InvalidRequest, a feature that entities cannot be counted by."""
    if not feature.is_allocated:
        raise InvalidRequest(
            f"feature_id {feature.slug} is consumable or not metered. Entities need a standing count, such as seats."
        )


def delete_entity(*, entity: Entity, at: datetime, actor: Actor) -> None:
    """Delete an entity: its plans end without credit, its balances end, its seat is given back as its plan says.

    Raises EntityNotFound if somebody else did while this call waited for its turn.
    """
    customer = entity.customer
    with queue.still_there(customer, entity.pk):
        done = clock.catch_up(customer=customer, at=at, actor=actor)
        if any(one.kind == Operation.Kind.DELETE_ENTITY and one.entity_id == entity.pk for one in done):
            return  # The process that began this died, and its deletion was just finished.
        customer.refresh_from_db()
        operations.expire_waiting(customer, at=at, of_entity=entity)
        outcome = Outcome(at=at, currency=_currency(customer), intent="seats")
        kept: list[int] = []
        is_billed = _free_seats(_counting(customer, entity.feature, at), outcome, kept)
        for row in holdings.rows(customer).filter(entity=entity).exclude(status=Subscription.Status.EXPIRED):
            if row.status == Subscription.Status.SCHEDULED:
                outcome.deletes.append(row)
            else:
                outcome.ends.append(End(row, f"{entity} was deleted"))

        def work(operation_id: int | None) -> None:
            provisioning.remove_entity(
                entity=entity, at=at, actor=actor, keep_seats_of_items=kept, operation_id=operation_id
            )
            VacatedSeat.objects.bulk_create(VacatedSeat(item_id=item, leaver=entity, vacated_at=at) for item in kept)

        if not is_billed and not outcome.ends and not outcome.deletes:
            with transaction.atomic():
                Customer.objects.locked().get(pk=customer.pk)
                work(None)
            return
        leaving = requests.Leaving(entity_pk=entity.pk)
        job = _job(customer, entity, Operation.Kind.DELETE_ENTITY, actor, requests.written(leaving), work)
        operations.carry_out(job, outcome)


def preview_create(*, customer: Customer, feature: Feature, at: datetime, ahead: int = 0) -> Outcome:
    """What one more entity would cost now, once `ahead` others have come; raises SeatLimitReached. Changes nothing."""
    outcome = Outcome(at=at, currency=_currency(customer), intent="seats")
    _take_seats(_counting(customer, feature, at), outcome, {}, ahead=ahead)
    discounts.lower(outcome, customer)
    return outcome


def preview_delete(*, entity: Entity, at: datetime, ahead: int = 0) -> Outcome:
    """What would end with an entity and be credited for its seat, once `ahead` others have left; changes nothing."""
    customer = entity.customer
    outcome = Outcome(at=at, currency=_currency(customer), intent="seats")
    _free_seats(_counting(customer, entity.feature, at), outcome, [], ahead=ahead)
    for row in holdings.rows(customer).filter(entity=entity).exclude(status=Subscription.Status.EXPIRED):
        if row.status == Subscription.Status.SCHEDULED:
            outcome.deletes.append(row)
        else:
            outcome.ends.append(End(row, f"{entity} was deleted"))
    return outcome


@contextmanager
def billed(due: SeatsAreBilled, *, wall: datetime, actor: Actor) -> Iterator[None]:
    """Invoice a change of standing units that are billed when they change, and let the block record it.

    Raises PaymentDeclined before the block runs; if the block fails, what was charged is given back.
    """
    customer = Balance.objects.select_related("customer").get(pk=due.balance_pk).customer
    with queue.customer(customer):
        clock.catch_up(customer=customer, at=customer.now(wall), actor=actor)
        customer.refresh_from_db()
        at = customer.now(wall)
        balance = Balance.objects.select_related("item", "subscription__entity").get(pk=due.balance_pk)
        item, used = balance.item, balance.usage + balance.held
        outcome = Outcome(at=at, currency=_currency(customer), intent="seats")
        if item is not None and balance.subscription is not None:
            row = holdings.rows(customer).get(pk=balance.subscription.pk)
            holding = holdings.one(row, at=at)
            own = next(other for other in holding.items if other.pk == item.pk)
            _bill(outcome, holding, own, before=max(used, balance.granted), after=max(used + due.by, balance.granted))
            discounts.lower(outcome, customer)
        tracking = requests.Tracking(balance_pk=balance.pk, usage=due.by)
        entity = balance.subscription.entity if balance.subscription is not None else None
        job = _job(customer, entity, Operation.Kind.SEATS, actor, requests.written(tracking), None)
        operation = operations.write_down(job, outcome)
        collected = operations.collect(job, outcome, operation)
        try:
            with transaction.atomic():
                yield
                _expect(balance, used + due.by)
                operations.record(job, outcome, operation, collected)
        except BaseException:
            operations.reverse(job, outcome, operation, collected)
            raise
        operations.finish(job, outcome, operation)


def _expect(balance: Balance, used: Decimal) -> None:
    """Refuse to record what was not invoiced: somebody else used what was included meanwhile."""
    balance.refresh_from_db(fields=["usage", "held"])
    if balance.usage + balance.held != used:
        raise LockBusy("The seats changed at this moment. Try again.")


def _job(
    customer: Customer, entity: Entity | None, kind: Operation.Kind, actor: Actor, request: dict[str, Any], work: Any
) -> Job:
    return Job(
        customer=customer,
        entity=entity,
        kind=kind,
        cause=Invoice.Cause.SEATS,
        actor=actor,
        request=request,
        unpaid=Unpaid.REFUSED,
        work=work,
    )


def _currency(customer: Customer) -> str:
    return customer.currency or settings.CURRENCY


def _counting(customer: Customer, feature: Feature, at: datetime) -> list[tuple[Holding, SubscriptionItem]]:
    """The priced items of the customer's live plans that count entities of the feature as seats."""
    rows = holdings.rows(customer).filter(entity=None, items__feature=feature).live().distinct()
    return [
        (holding, item)
        for holding in holdings.load(rows, at=at)
        for item in holding.items
        if item.feature_id == feature.pk and item.is_usage_based and item.entity_feature_id is None
    ]


def _take_seats(
    counting: list[tuple[Holding, SubscriptionItem]],
    outcome: Outcome,
    taken: dict[int, VacatedSeat],
    *,
    ahead: int = 0,
) -> bool:
    """Bill one more seat on each item, or take a vacated one; returns whether any is billed when it changes.

    So many others are `ahead`, who take what is vacant first.
    """
    is_billed = False
    for holding, item in counting:
        vacant = [seat for seat in holdings.vacated([holding]) if seat.item_id == item.pk]
        if len(vacant) > ahead:
            taken[item.pk] = vacant[ahead]
            is_billed = True
            continue
        used = holding.seats_held.get(item.position, ZERO) + ahead - len(vacant)
        if item.max_purchase is not None and used + ONE > item.included + item.max_purchase:
            raise SeatLimitReached(item.feature.slug)
        if item.bills_seats_at_once:
            is_billed = True
            _bill(outcome, holding, item, before=max(used, item.included), after=max(used + ONE, item.included))
    return is_billed


def _free_seats(
    counting: list[tuple[Holding, SubscriptionItem]], outcome: Outcome, kept: list[int], *, ahead: int = 0
) -> bool:
    """Credit one seat less on each item, or keep it until the renewal; returns whether any is billed at once.

    So many others are `ahead` and have left.
    """
    is_billed = False
    for holding, item in counting:
        if not item.bills_seats_at_once:
            continue
        is_billed = True
        used = holding.seats_held.get(item.position, ZERO) - ahead
        vacant = Decimal(sum(1 for seat in holdings.vacated([holding]) if seat.item_id == item.pk))
        if item.on_decrease == Decrease.NONE and used - vacant > item.included:
            kept.append(item.pk)
            continue
        _bill(outcome, holding, item, before=max(used, item.included), after=max(used - ONE, item.included))
    return is_billed


def _bill(outcome: Outcome, holding: Holding, item: SubscriptionItem, *, before: Decimal, after: Decimal) -> None:
    """The line of a changed number of seats, now or with the next invoice, as the item says (spec billing 9.4)."""
    if after == before or holding.subscription.is_trialing(outcome.at):
        return
    if after > before:
        setting = item.on_increase or Increase.PRORATE_IMMEDIATELY
        bills_now = setting in (Increase.PRORATE_IMMEDIATELY, Increase.BILL_IMMEDIATELY)
        waits = setting == Increase.PRORATE_NEXT_CYCLE
    else:
        setting = item.on_decrease or Decrease.PRORATE_IMMEDIATELY
        bills_now = setting in (Decrease.PRORATE_IMMEDIATELY, Decrease.PRORATE)
        waits = setting == Decrease.PRORATE_NEXT_CYCLE
    line = proration.change_line(
        holding,
        item,
        before=before,
        after=after,
        at=outcome.at,
        whole=setting == Increase.BILL_IMMEDIATELY,
        currency=outcome.currency,
    )
    if line.amount and bills_now:
        outcome.lines.append(line)
    elif line.amount and waits:
        outcome.waiting.append(line)
