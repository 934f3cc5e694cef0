"""Telling the processor what a scope's subscription holds: said again as often as needed, it changes nothing more."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings

from billing import changes, proration
from billing.models import Subscription
from billing.processors import Put, SubscriptionItemState, SubscriptionTerms, get_processor
from billing.proration import Holding
from billing.services.plan_changes import holdings
from entities.models import Customer, Entity
from plans.intervals import Interval

_LIVE = (Subscription.Status.ACTIVE, Subscription.Status.PAST_DUE)


@dataclass(frozen=True, slots=True)
class Scope:
    """What a scope holds and is about to hold: its paid plans that are live, and those that are scheduled."""

    customer: Customer
    entity: Entity | None
    live: list[Holding]
    waiting: list[Holding]

    def shared(self) -> dict[int, list[Holding]]:
        """The live ones by the subscription that they share at the processor; those with their own by their keys."""
        groups: dict[int, list[Holding]] = defaultdict(list)
        for holding in self.live:
            groups[holding.subscription.pk if holding.subscription.has_own_cycle else 0].append(holding)
        return groups


def sync(*, customer: Customer, entity: Entity | None, ended: Iterable[Subscription], at: datetime, key: str) -> None:
    """Bring the processor's subscriptions of one scope in line with our rows; `key` names this change.

    The paid plans of a scope share one subscription, those with a cycle of their own have one each. One that no plan
    uses any more ends, without credit: what there was to credit has been invoiced.
    """
    used = put_all([(_read(customer, entity), at, key)])
    for subscription_id in {row.processor_subscription_id for row in ended} - used - {""}:
        get_processor().cancel_subscription(subscription_id, key=f"{key}-end")


def put_all(scopes: Iterable[tuple[Scope, datetime, str]]) -> set[str]:
    """Bring the processor's subscriptions of scopes in line, each at its instant under its key; returns their ids."""
    puts, rows = [], []
    used = set()
    for scope, at, key in scopes:
        for group, held in scope.shared().items():
            found, terms = _id(held), _terms(scope, held, at)
            if terms is None:
                used.add(found)
            else:
                puts.append(Put(found, terms, f"{key}-{group}-subscription"))
                rows.append([holding.subscription for holding in held])
    if not puts:
        return used
    for put, members in zip(get_processor().put_subscriptions(puts), rows, strict=True):
        used.add(put)
        moved = [row.pk for row in members if row.processor_subscription_id != put]
        if moved:
            Subscription.objects.filter(pk__in=moved).update(processor_subscription_id=put)
    return used


def wanted(customer: Customer, entity: Entity | None, *, at: datetime) -> dict[str, SubscriptionTerms]:
    """What the processor's subscriptions of a scope are to be, by id ("" for one that is to be opened)."""
    scope = _read(customer, entity)
    found = {_id(held): _terms(scope, held, at) for held in scope.shared().values()}
    return {key: terms for key, terms in found.items() if terms is not None}


def _read(customer: Customer, entity: Entity | None) -> Scope:
    rows = holdings.rows(customer).filter(entity=entity, is_paid=True).current_or_scheduled()
    held = holdings.load(rows, at=None)
    return Scope(
        customer,
        entity,
        [holding for holding in held if holding.subscription.status in _LIVE],
        [holding for holding in held if holding.subscription.status not in _LIVE],
    )


def _id(held: list[Holding]) -> str:
    rows = [holding.subscription for holding in held]
    return next((row.processor_subscription_id for row in rows if row.processor_subscription_id), "")


def ensure_customer(customer: Customer) -> str:
    """The customer's id at the processor, made when it is first needed."""
    if not customer.processor_id:
        customer.processor_id = get_processor().ensure_customer(
            ref=customer.external_id,
            email=customer.email,
            name=customer.name,
            clock_at=customer.clock_at,
            key=f"customer-{customer.pk}",
        )
        Customer.objects.filter(pk=customer.pk).update(processor_id=customer.processor_id)
    return customer.processor_id


def _terms(scope: Scope, held: list[Holding], at: datetime) -> SubscriptionTerms | None:
    """What the processor is to hold for plans that share a subscription; None for plans without cycles."""
    customer, entity = scope.customer, scope.entity
    rows = [holding.subscription for holding in held]
    first = min(rows, key=lambda row: row.current_period_end or at)
    interval = _interval(held)
    if interval is None:
        return None
    start, end = first.current_period_start or at, first.current_period_end or at
    following = _following(scope, held, end)
    goes_on = following == held or (
        bool(following) and _interval(following) == interval and _is_priced(following) == _is_priced(held)
    )
    shown = following if goes_on else held
    own = rows[0].pk if rows[0].has_own_cycle else 0
    return SubscriptionTerms(
        ref=f"{customer.pk}.{entity.pk if entity else 0}.{own}",
        customer_id=ensure_customer(customer),
        entity_id=entity.external_id if entity else None,
        currency=customer.currency or settings.CURRENCY.lower(),
        items=[item for holding in shown for item in _items(holding)],
        interval=interval,
        anchor=first.billing_cycle_anchor or at,
        period_start=start,
        period_end=end,
        status=_status(rows, at),
        trial_ends_at=first.trial_ends_at if first.is_trialing(at) else None,
        ends_without_card=all(not row.trial_card_required and not row.sends_invoice for row in rows),
        cancel_at=_cancel_at([_end(row, scope) for row in rows], following, end, goes_on=goes_on),
        sends_invoice=first.sends_invoice,
        net_terms_days=first.net_terms_days,
        name=first.plan.slug,
    )


def _following(scope: Scope, held: list[Holding], end: datetime) -> list[Holding]:
    """What the next renewal bills: the plans that go on, and the paid ones that are to start there."""
    staying = [holding for holding in held if not _ends_by(holding.subscription, end)]
    own, groups = held[0].subscription.has_own_cycle, {holding.subscription.group for holding in held}
    waiting = [
        holding
        for holding in scope.waiting
        for row in [holding.subscription]
        if row.has_own_cycle == own and row.started_at <= end and (not own or row.group in groups)
    ]
    return [*staying, *waiting]


def _ends_by(row: Subscription, end: datetime) -> bool:
    return row.ends_at is not None and row.ends_at <= end


def _interval(held: list[Holding]) -> Interval | None:
    intervals = [changes.terms_of(holding.subscription, holding.items).shortest for holding in held]
    return min((found for found in intervals if found), key=lambda interval: interval.months, default=None)


def _is_priced(held: list[Holding]) -> bool:
    """Whether anything is paid in advance with the shortest interval: what is not can't turn into what is."""
    interval = _interval(held)
    return any(item.amount and item.interval == interval for holding in held for item in _items(holding))


def _items(holding: Holding) -> list[SubscriptionItemState]:
    """The prices as the processor shows them; seats without those that are only kept until the renewal."""
    kept: dict[int, int] = defaultdict(int)
    for seat in holding.vacated:
        kept[seat.item_id] += 1
    return [_item(holding, price, kept) for price in proration.advances(holding) if price.interval is not None]


def _item(holding: Holding, price: proration.Advance, kept: dict[int, int]) -> SubscriptionItemState:
    """One price with what the next renewal will count: without kept seats, with a quantity that is set for then."""
    plan, item = holding.subscription.plan, price.item
    quantity, amount = price.quantity, price.amount
    if item is not None and (kept[item.pk] or item.upcoming_quantity is not None):
        quantity = item.upcoming_quantity if item.upcoming_quantity is not None else quantity - kept[item.pk]
        amount = proration.rate(item).price_of(quantity)
    return SubscriptionItemState(
        plan_id=plan.slug,
        feature_id=item.feature.slug if item is not None else None,
        quantity=quantity,
        amount=amount,
        interval=price.interval,
        name=plan.name,
    )


def _status(rows: list[Subscription], at: datetime) -> str:
    if any(row.status == Subscription.Status.PAST_DUE for row in rows):
        return "past_due"
    return "trialing" if all(row.is_trialing(at) for row in rows) else "active"


def _end(row: Subscription, scope: Scope) -> datetime | None:
    """When the plan ends; never for the processor, where another paid one of a schedule takes over."""
    takes_over = any(
        other.group == row.group and other.is_add_on == row.is_add_on and other.started_at == row.ends_at
        for other in (holding.subscription for holding in scope.waiting)
    )
    return None if takes_over else row.ends_at


def _cancel_at(
    ends: list[datetime | None], following: list[Holding], end: datetime, *, goes_on: bool
) -> datetime | None:
    """When the last plan of the subscription ends. What follows on other terms gets a subscription of its own then."""
    waiting = [holding.subscription.status == Subscription.Status.SCHEDULED for holding in following]
    if waiting and all(waiting) and not goes_on:
        return end
    if any(waiting) or any(moment is None for moment in ends):
        return None
    return max(moment for moment in ends if moment is not None)
