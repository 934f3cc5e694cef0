"""Licences: assigned to entities from the pools that a customer's plans offer, released, listed.

An assigned licence is a plan of the entity that costs nothing: the pool was paid for. Its balances come and go with it.
"""

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db import transaction

from billing.errors import LicenseConflict, LicenseNotAssigned, LicenseNotFound, LicensesUsedUp
from billing.models import Balance, Subscription
from billing.services import seats
from billing.services.balances import provisioning
from billing.services.due import clock
from billing.services.execution import announcing, assignments, queue
from billing.services.plan_changes import drafts
from billing.services.plan_changes import pools as pool_items
from billing.services.plan_changes.requests import Customize
from config.actor import Actor
from config.errors import InvalidInput, InvalidRequest
from entities.errors import EntityNotFound
from entities.models import Customer, Entity
from entities.subject import Subject
from plans.errors import FeatureNotFound, PlanNotFound
from plans.models import Feature, Plan


@dataclass(frozen=True, slots=True)
class Holder:
    """Who is to get a licence; `feature` (what it counts as) and `name` are for an entity that isn't there yet."""

    entity_id: str
    feature: str | None = None
    name: str = ""


@dataclass(frozen=True, slots=True)
class Pool:
    """The licences of one plan that another plan of the customer offers."""

    license_plan: Plan
    parent_plan: Plan
    granted: Decimal
    usage: Decimal
    paid: Decimal

    @property
    def remaining(self) -> Decimal:
        return max(self.granted - self.usage, Decimal(0))


def assign(*, customer: Customer, plan_id: str, holders: Sequence[Holder], at: datetime, actor: Actor) -> None:
    """Give each holder a licence, all or none; who holds one of that plan already keeps it.

    Entities that aren't there are created first, with what their seats cost. A licence of another plan in the same
    group is given back, a free plan of it ends. Raises PlanNotFound, LicenseNotFound, LicensesUsedUp, LicenseConflict,
    EntityNotFound, and what creating an entity raises.
    """
    wanted = {holder.entity_id: holder for holder in holders}
    if not wanted:
        raise InvalidInput("entities must name at least one entity.")
    with queue.still_there(customer):
        clock.catch_up(customer=customer, at=at, actor=actor)
        customer.refresh_from_db()
        with transaction.atomic():
            _check(customer, plan_id, wanted.values(), at=at)
        for holder in _missing(customer, wanted.values()):
            seats.create_entity(
                customer=customer,
                entity_id=holder.entity_id,
                feature=_feature(holder),
                name=holder.name,
                billing_controls={},
                at=at,
                actor=actor,
            )
        with transaction.atomic():
            Customer.objects.locked().get(pk=customer.pk)
            pools = assignments.pools(customer, plan_id)
            with announcing.plans_of([customer], cause=f"licenses:{secrets.token_hex(8)}", at=at):
                for entity in _entities(customer, wanted):
                    _assign(pools, entity, at=at, actor=actor)


def release(*, customer: Customer, plan_id: str | None, entity_ids: Sequence[str], at: datetime, actor: Actor) -> None:
    """Take the licences of these entities back, all or none: their balances end, the pool has them again.

    Raises EntityNotFound, LicenseNotAssigned, and InvalidInput where an entity holds licences of several plans and none
    is named.
    """
    if not entity_ids:
        raise InvalidInput("entity_ids must name at least one entity.")
    with queue.still_there(customer), transaction.atomic():
        Customer.objects.locked().get(pk=customer.pk)
        held = assignments.of(customer)
        rows = []
        for entity in _entities(customer, dict.fromkeys(entity_ids)):
            own = [row for row in held if row.entity_id == entity.pk and plan_id in (None, row.plan.slug)]
            if not own:
                raise LicenseNotAssigned(entity.external_id, plan_id)
            if len(own) > 1 and plan_id is None:
                plans = ", ".join(row.plan.slug for row in own)
                raise InvalidInput(f"license_plan_id: entity {entity.external_id} holds licences of {plans}. Name one.")
            rows += own
        with announcing.plans_of([customer], cause=f"licenses:{secrets.token_hex(8)}", at=at):
            assignments.end(rows, at=at, actor=actor, reason="The licence was released")


def pools(customers: Iterable[Customer], *, entity: Entity | None = None) -> dict[int, list[Pool]]:
    """The pools of customers by primary key, in one query; of an entity only those that it holds a licence from."""
    balances = Balance.objects.filter(customer__in=list(customers), ended_at=None, item__license_plan__isnull=False)
    if entity is not None:
        balances = balances.filter(item__assignments__in=Subscription.objects.live().filter(entity=entity))
    found: dict[int, list[Pool]] = {}
    for balance in balances.select_related("item__license_plan", "subscription__plan").order_by("pk"):
        if balance.item is None or balance.item.license_plan is None or balance.subscription is None:
            continue
        pool = Pool(
            license_plan=balance.item.license_plan,
            parent_plan=balance.subscription.plan,
            granted=balance.granted - balance.expired,
            usage=balance.usage,
            paid=balance.prepaid,
        )
        found.setdefault(balance.customer_id, []).append(pool)
    return found


def assigned(
    customer: Customer, *, entity: Entity | None = None, plan_id: str | None = None, active: bool = True
) -> list[Subscription]:
    """Licences assigned now or (`active` False) taken back, oldest first."""
    rows = Subscription.objects.filter(customer=customer, license_item__isnull=False)
    rows = rows.live() if active else rows.filter(status=Subscription.Status.EXPIRED)
    if entity is not None:
        rows = rows.filter(entity=entity)
    if plan_id is not None:
        rows = rows.filter(plan__slug=plan_id)
    return list(rows.select_related("plan", "entity").order_by("pk"))


def _check(customer: Customer, plan_id: str, holders: Iterable[Holder], *, at: datetime) -> None:
    """Refuse before anything happens what can't be done for all."""
    pools = assignments.pools(customer, plan_id)
    if not pools:
        raise LicenseNotFound(plan_id) if Plan.objects.filter(slug=plan_id).exists() else PlanNotFound(plan_id)
    known = {entity.external_id: entity for entity in _live(customer, [holder.entity_id for holder in holders])}
    holding = set(assignments.of(customer).filter(plan__slug=plan_id).values_list("entity", flat=True))
    new = [holder for holder in holders if holder.entity_id not in known or known[holder.entity_id].pk not in holding]
    for holder in new:
        if holder.entity_id not in known:
            seats.check_countable(_feature(holder))
    left = int(sum(pool.remaining for pool in pools))
    if len(new) > left:
        raise LicensesUsedUp(plan_id, len(new), left)
    for holder in new:
        if holder.entity_id in known:
            _replaced(pools[0], known[holder.entity_id])


def _assign(pools: Sequence[Balance], entity: Entity, *, at: datetime, actor: Actor) -> None:
    plan_id = _plan(pools[0]).slug if pools else ""
    if assignments.of(entity.customer).filter(entity=entity, plan__slug=plan_id).exists():
        return
    pool = next((pool for pool in pools if pool.remaining >= 1), None)
    if pool is None or pool.item is None:
        raise LicensesUsedUp(plan_id, 1, 0)
    replaced = _replaced(pool, entity)
    if replaced is not None:
        assignments.end([replaced], at=at, actor=actor, reason=f"A licence of {_plan(pool)} took its place")
    terms = pool_items.terms(pool.item)
    customize = Customize(price=None, add_items=list(terms.add_items), remove_items=list(terms.remove_items))
    draft = drafts.holding(Subject(entity.customer, entity), _plan(pool), customize=customize, quantities=(), at=at)
    row, parent = draft.subscription, pool.item.subscription
    row.license_item = pool.item
    row.billing_cycle_anchor = parent.billing_cycle_anchor or parent.started_at
    row.save()
    for item in draft.items:
        item.subscription = row
        item.save()
    provisioning.start(subscription=row, at=at, actor=actor, predecessor=replaced)
    assignments.take(pool, row, at=at, actor=actor)


def _replaced(pool: Balance, entity: Entity) -> Subscription | None:
    """The plan of the entity that the licence takes the place of; raises LicenseConflict for one that is paid for."""
    plan = _plan(pool)
    if plan.is_add_on:
        return None
    rows = Subscription.objects.live().filter(entity=entity, group=plan.group, is_add_on=False, is_one_off=False)
    row = rows.select_related("plan", "entity", "customer").first()
    if row is not None and row.is_paid:
        raise LicenseConflict(entity.external_id, row.plan.name)
    return row


def _plan(pool: Balance) -> Plan:
    if pool.item is None or pool.item.license_plan is None:
        raise ValueError(f"balance {pool.pk} counts no licences")
    return pool.item.license_plan


def _live(customer: Customer, entity_ids: Iterable[str]) -> list[Entity]:
    rows = Entity.objects.live().filter(customer=customer, external_id__in=list(entity_ids))
    return list(rows.select_related("customer", "feature"))


def _entities(customer: Customer, entity_ids: Iterable[str]) -> list[Entity]:
    """The entities in the order of their ids; raises EntityNotFound."""
    found = {entity.external_id: entity for entity in _live(customer, entity_ids)}
    for entity_id in entity_ids:
        if entity_id not in found:
            raise EntityNotFound(entity_id)
    return [found[entity_id] for entity_id in entity_ids]


def _missing(customer: Customer, holders: Iterable[Holder]) -> list[Holder]:
    known = {entity.external_id for entity in _live(customer, [holder.entity_id for holder in holders])}
    return [holder for holder in holders if holder.entity_id not in known]


def _feature(holder: Holder) -> Feature:
    if holder.feature is None:
        raise InvalidRequest(
            f"There is no entity {holder.entity_id}. Send its feature_id too, and it is created.",
            code="entity_not_found",
            status=404,
        )
    feature = Feature.objects.filter(slug=holder.feature).first()
    if feature is None:
        raise FeatureNotFound(holder.feature)
    return feature
