"""Giving and taking balances: when a plan starts or stops, when an entity comes or goes.

Everything here is database work inside the caller's transaction, with the customer row locked by the caller; what costs
money is decided before, in billing.services.seats and billing.services.subscriptions.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import IntegrityError, transaction

from billing.models import Balance, Overage, Subscription, SubscriptionItem
from billing.services.balances import ledger, watching
from config.actor import Actor
from config.errors import InvalidRequest
from entities.errors import EntityAlreadyExists
from entities.models import Customer, Entity
from entities.subject import Subject
from plans.intervals import next_boundary
from plans.models import Feature

ZERO = Decimal(0)
Kind = ledger.Kind
Level = Balance.Level


@dataclass(frozen=True, slots=True)
class CarryOver:
    """What of the consumable balances outlives a plan change; None: nothing, empty: every feature."""

    balances: Collection[str] | None = None
    usages: Collection[str] | None = None

    def keeps_balance(self, feature: Feature) -> bool:
        return self.balances is not None and (not self.balances or feature.slug in self.balances)

    def keeps_usage(self, feature: Feature) -> bool:
        return feature.is_allocated or (self.usages is not None and (not self.usages or feature.slug in self.usages))


NOTHING = CarryOver()


def start(
    *,
    subscription: Subscription,
    at: datetime,
    actor: Actor,
    predecessor: Subscription | None = None,
    carry: CarryOver = NOTHING,
    operation_id: int | None = None,
) -> list[Balance]:
    """Create the balances of a subscription that becomes active.

    A customer's plan gives shared balances, and for items per entity a slice to every live entity of that feature; an
    entity's plan gives the entity its own. Every balance starts full, whenever it starts; standing counts (seats) carry
    over from `predecessor`, and entities that exist count as seats in use (spec balances 4).
    """
    items = list(subscription.items.select_related("feature", "entity_feature"))
    entities = _entities_by_feature(subscription.customer, items)
    before = _usage_before(predecessor, at) if predecessor is not None else {}
    balances, usage_before = [], []
    for item in items:
        for entity in _holders(subscription, item, entities):
            balance = _new_balance(subscription, item, entity, at)
            carried = before.get((item.feature_id, entity.pk if entity else None, balance.level))
            if carried is not None and carry.keeps_usage(item.feature):
                usage_before.append((balance, carried.usage))
            if carried is not None and carry.keeps_balance(item.feature):
                balance.granted += max(carried.left, ZERO)
            in_use = len(entities.get(item.feature_id, ())) if balance.level == Level.POOL else 0
            if in_use:
                # The entities that exist are the truth about their feature, whatever was carried over.
                balance.usage = Decimal(in_use)
            balances.append(balance)
    opened = ledger.open_balances(
        balances, at=at, actor=actor, kind=Kind.GRANT, reason=f"{subscription.plan} started", operation_id=operation_id
    )
    _carry(usage_before, predecessor, at=at, actor=actor, operation_id=operation_id)
    return opened


def stop(
    *, subscription: Subscription, at: datetime, actor: Actor, reason: str = "", operation_id: int | None = None
) -> None:
    """End the balances of a subscription; what was used beyond the grant and is sold is put aside as Overage."""
    balances = list(
        Balance.objects.filter(subscription=subscription, ended_at=None)
        .select_related("item", "item__feature")
        .select_for_update(of=("self",), no_key=True)
        .order_by("pk")
    )
    _put_overage_aside(balances, at=at)
    _end(balances, at=at, actor=actor, reason=reason or f"{subscription.plan} ended", operation_id=operation_id)


def set_prepaid(
    *, item: SubscriptionItem, quantity: Decimal, at: datetime, actor: Actor, operation_id: int | None = None
) -> None:
    """Make `quantity` units in all, the included ones counted, the grant of a prepaid item, now and at each reset."""
    prepaid = max(quantity - item.included, ZERO)
    balances = list(
        Balance.objects.filter(item=item, ended_at=None, rolled_over_from=None)
        .select_for_update(no_key=True)
        .order_by("pk")
    )
    ledger.record(
        [
            ledger.Change(
                balance.pk,
                Kind.PLAN_CHANGE,
                granted=prepaid - balance.prepaid,
                operation_id=operation_id,
                reason=f"Quantity is now {quantity.normalize():f}",
            )
            for balance in balances
            if balance.prepaid != prepaid
        ],
        at=at,
        actor=actor,
    )
    Balance.objects.filter(pk__in=[balance.pk for balance in balances]).update(prepaid=prepaid)


def add_entity(
    *,
    customer: Customer,
    entity_id: str,
    feature: Feature,
    name: str,
    billing_controls: Mapping[str, Any],
    at: datetime,
    actor: Actor,
    seats_taken_over: Mapping[int, Entity | None] | None = None,
    operation_id: int | None = None,
) -> Entity:
    """Create an entity: it takes a seat in every plan that counts its feature and gets its slices, full.

    `seats_taken_over` names, per subscription item, the leaver whose vacated seat it takes: that seat is still counted,
    and the leaver's slices pass on as they were left (spec balances 8.5).
    """
    if not feature.is_allocated:
        raise InvalidRequest(
            f"Feature {feature.slug} is consumable or not metered. Entities need a standing count, such as seats."
        )
    try:
        with transaction.atomic():
            entity = Entity.objects.create(
                customer=customer,
                external_id=entity_id,
                name=name,
                feature=feature,
                billing_controls=dict(billing_controls),
                created_at=at,
            )
    except IntegrityError as clash:
        raise EntityAlreadyExists(entity_id) from clash
    taken = seats_taken_over or {}
    _count_seats(
        customer, feature, Decimal(1), at=at, actor=actor, except_items=taken, operation_id=operation_id, who=entity
    )
    _give_slices(entity, leavers=[leaver for leaver in taken.values() if leaver], at=at, actor=actor)
    return entity


def remove_entity(
    *,
    entity: Entity,
    at: datetime,
    actor: Actor,
    keep_seats_of_items: Collection[int] = (),
    operation_id: int | None = None,
) -> None:
    """Delete an entity: its balances end with their usage, its seat is freed, its id can be used again.

    The plans it holds must have been stopped before. `keep_seats_of_items` are items whose seat stays counted until
    the renewal (it was paid for).
    """
    balances = list(
        Balance.objects.filter(entity=entity, ended_at=None)
        .select_related("item", "item__feature")
        .select_for_update(of=("self",), no_key=True)
        .order_by("pk")
    )
    _put_overage_aside(balances, at=at)
    _end(balances, at=at, actor=actor, reason=f"{entity} was deleted", operation_id=operation_id)
    _count_seats(
        entity.customer,
        entity.feature,
        Decimal(-1),
        at=at,
        actor=actor,
        except_items=keep_seats_of_items,
        operation_id=operation_id,
        who=entity,
    )
    Entity.objects.filter(pk=entity.pk).update(deleted_at=at)


@dataclass(slots=True)
class _Before:
    """What a predecessor's balances of one feature and holder held, summed."""

    usage: Decimal = ZERO
    left: Decimal = ZERO


def _usage_before(predecessor: Subscription, at: datetime) -> dict[tuple[int, int | None, str], _Before]:
    # The balances may have been ended a moment ago, in this same change.
    rows = Balance.objects.filter(subscription=predecessor, rolled_over_from=None).exclude(ended_at__lt=at)
    found: dict[tuple[int, int | None, str], _Before] = defaultdict(_Before)
    for row in rows:
        sums = found[row.feature_id, row.entity_id, row.level]
        sums.usage += row.usage + row.held
        sums.left += row.granted - row.usage - row.held
    return found


def _carry(
    usage_before: Sequence[tuple[Balance, Decimal]],
    predecessor: Subscription | None,
    *,
    at: datetime,
    actor: Actor,
    operation_id: int | None,
) -> None:
    """Put what was used under the plan before on the new balances, except where entities were counted instead."""
    reason = f"Carried over from {predecessor.plan}" if predecessor else ""
    carried = [(balance, usage) for balance, usage in usage_before if usage and not balance.usage]
    ledger.record(
        [
            ledger.Change(balance.pk, Kind.TRANSFER, usage=usage, operation_id=operation_id, reason=reason)
            for balance, usage in carried
        ],
        at=at,
        actor=actor,
    )
    for balance, usage in carried:
        balance.usage += usage


def _entities_by_feature(customer: Customer, items: Iterable[SubscriptionItem]) -> dict[int, list[Entity]]:
    features = {item.entity_feature_id for item in items} | {
        item.feature_id for item in items if item.feature.is_allocated
    }
    found: dict[int, list[Entity]] = defaultdict(list)
    for entity in Entity.objects.live().oldest_first().filter(customer=customer, feature__in=features - {None}):
        found[entity.feature_id].append(entity)
    return found


def _holders(
    subscription: Subscription, item: SubscriptionItem, entities: Mapping[int, list[Entity]]
) -> Sequence[Entity | None]:
    """Who gets a balance of an item: the entity itself, every entity of the linked feature, or the customer (None)."""
    if subscription.entity is not None:
        return [subscription.entity]
    if item.entity_feature_id is not None:
        return entities.get(item.entity_feature_id, [])
    return [None]


def _new_balance(subscription: Subscription, item: SubscriptionItem, entity: Entity | None, at: datetime) -> Balance:
    interval = None if item.feature.is_allocated or item.feature.type == Feature.Type.BOOLEAN else item.reset_every
    anchor = subscription.billing_cycle_anchor or subscription.started_at
    prepaid = max(item.quantity - item.included, ZERO) if item.is_prepaid else ZERO
    granted = ZERO if item.unlimited else item.included + prepaid
    whose = Level.OWN if subscription.entity_id is not None else Level.SLICE
    return Balance(
        customer_id=subscription.customer_id,
        entity=entity,
        feature=item.feature,
        level=Level.POOL if entity is None else whose,
        subscription=subscription,
        item=item,
        included=ZERO if item.unlimited else item.included,
        prepaid=prepaid,
        granted=granted,
        unlimited=item.unlimited,
        allows_overage=item.is_usage_based,
        max_overage=item.max_purchase if item.is_usage_based else None,
        bills_at_once=item.bills_seats_at_once,
        is_prepaid=item.is_prepaid,
        is_add_on=subscription.is_add_on,
        reset_interval=interval.unit if interval else "",
        reset_interval_count=interval.count if interval else 1,
        reset_anchor=anchor if interval else None,
        next_reset_at=next_boundary(anchor, interval, at) if interval else None,
        rolls_over=item.has_rollover and interval is not None,
        rollover_max=item.rollover_max,
        rollover_max_percentage=item.rollover_max_percentage,
        rollover_months=None if item.rollover_expiry == item.RolloverExpiry.FOREVER else item.rollover_expiry_length,
        created_at=at,
    )


def _give_slices(entity: Entity, *, leavers: Sequence[Entity], at: datetime, actor: Actor) -> None:
    """The new entity's share of every live customer plan; what a leaver had left, where it takes over a seat."""
    items = (
        SubscriptionItem.objects.filter(
            subscription__customer=entity.customer_id,
            subscription__entity=None,
            subscription__status__in=["active", "past_due"],
            entity_feature=entity.feature_id,
        )
        .select_related("feature", "subscription", "subscription__plan")
        .order_by("pk")
    )
    left_behind = {
        row.item_id: row
        for row in Balance.objects.filter(entity__in=leavers, level=Level.SLICE, rolled_over_from=None).order_by(
            "ended_at"
        )
    }
    balances = []
    for item in items:
        balance = _new_balance(item.subscription, item, entity, at)
        inherited = left_behind.get(item.pk)
        if inherited is not None and _same_period(inherited, balance):
            balance.granted, balance.usage = inherited.granted, inherited.usage + inherited.held
        balances.append(balance)
    ledger.open_balances(balances, at=at, actor=actor, reason=f"{entity} was created")


def _same_period(left_behind: Balance, new: Balance) -> bool:
    return left_behind.next_reset_at == new.next_reset_at


def _count_seats(
    customer: Customer,
    feature: Feature,
    by: Decimal,
    *,
    at: datetime,
    actor: Actor,
    except_items: Collection[int] | Mapping[int, Any],
    operation_id: int | None,
    who: Entity,
) -> None:
    """Move the seats in use by one on every live shared balance of the entity's feature."""
    shared = Balance.objects.live(at).filter(customer=customer, feature=feature, level=Level.POOL)
    counting = shared.exclude(item__in=list(except_items))
    locked = list(counting.select_for_update(of=("self",), no_key=True).order_by("pk"))
    # Who leaves crosses nothing.
    watch = watching.look(Subject(customer), feature.slug, at=at) if by > 0 and locked else None
    verb = "takes" if by > 0 else "frees"
    changes = []
    for balance in locked:
        changes.append(
            ledger.Change(balance.pk, Kind.SEAT, usage=by, operation_id=operation_id, reason=f"{who} {verb} a seat")
        )
        if by < 0 and balance.usage + by < 0:
            # Fewer were counted by hand than there are entities: a seat that was not counted is not freed.
            changes.append(
                ledger.Change(
                    balance.pk, Kind.ADJUSTMENT, usage=-by, reason="Never freed below 0", operation_id=operation_id
                )
            )
    ledger.record(changes, at=at, actor=actor)
    watching.end(watch, cause=f"entity:{who.pk}")


def _put_overage_aside(balances: Sequence[Balance], *, at: datetime) -> None:
    """Consumable usage beyond the grant, for the invoice to come; standing counts are billed by how many there are."""
    Overage.objects.bulk_create(
        [
            Overage(item=balance.item, balance=balance, boundary_at=at, quantity=-balance.remaining)
            for balance in balances
            if balance.allows_overage
            and balance.item is not None
            and not balance.item.feature.is_allocated
            and balance.remaining < 0
        ],
        ignore_conflicts=True,
    )


def _end(
    balances: Sequence[Balance], *, at: datetime, actor: Actor, reason: str, operation_id: int | None = None
) -> None:
    """End balances: what is left of them expires, so that nothing remains of what nobody holds any more."""
    ledger.record(
        [
            ledger.Change(
                balance.pk, Kind.EXPIRY, expired=balance.remaining, operation_id=operation_id, reason=reason or "Ended"
            )
            for balance in balances
            if balance.remaining > 0
        ],
        at=at,
        actor=actor,
    )
    Balance.objects.filter(pk__in=[balance.pk for balance in balances]).update(ended_at=at)
