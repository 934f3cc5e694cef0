"""Customers as records: created once, edited, and deleted with everything they hold ended."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Q

from billing.models import Balance
from billing.services import subscriptions
from billing.services.execution import queue
from config.actor import Actor
from entities.errors import CustomerAlreadyExists, CustomerNotFound
from entities.models import Customer, Entity


@dataclass(frozen=True, slots=True)
class Details:
    """What may be said of a customer; only the `fields` given are touched."""

    fields: Mapping[str, Any]


def get(customer_id: str) -> Customer:
    """The live customer with that id; raises CustomerNotFound."""
    customer = Customer.objects.live().filter(external_id=customer_id).first()
    if customer is None:
        raise CustomerNotFound(customer_id)
    return customer


def get_or_create(*, customer_id: str, details: Details, at: datetime, actor: Actor) -> Customer:
    """The customer, created with the given details if it is new; plans that are enabled by default start at once.

    Two calls at once create one customer. Blank details of an existing customer are filled in, never changed.
    """
    found = Customer.objects.live().filter(external_id=customer_id).first()
    if found is not None:
        return found
    try:
        with transaction.atomic():
            customer = Customer.objects.create(external_id=customer_id, created_at=at, **details.fields)
    except IntegrityError:
        return get(customer_id)
    subscriptions.enable_defaults(customer=customer, at=customer.now(at), actor=actor)
    customer.refresh_from_db()
    return customer


def update(*, customer: Customer, details: Details, new_id: str | None) -> Customer:
    """Set the given details, and another id if one is given; raises CustomerAlreadyExists when that is taken.

    Of the billing controls each list given replaces the stored one, the others stay.
    """
    try:
        with transaction.atomic():
            stored = Customer.objects.locked().get(pk=customer.pk)
            for name, value in details.fields.items():
                setattr(stored, name, {**stored.billing_controls, **value} if name == "billing_controls" else value)
            changed = list(details.fields)
            if new_id and new_id != stored.external_id:
                stored.external_id = new_id
                changed.append("external_id")
            stored.save(update_fields=changed)
    except IntegrityError as taken:
        raise CustomerAlreadyExists(new_id or customer.external_id) from taken
    return stored


def update_entity(*, entity: Entity, billing_controls: Mapping[str, Any] | None, name: str | None = None) -> Entity:
    """Set an entity's controls, list by list (a list given replaces the stored one), or its name."""
    with transaction.atomic():
        stored = Entity.objects.select_for_update(no_key=True).get(pk=entity.pk)
        if billing_controls is not None:
            stored.billing_controls = {**stored.billing_controls, **billing_controls}
        if name is not None:
            stored.name = name
        stored.save(update_fields=["billing_controls", "name"])
    entity.billing_controls, entity.name = stored.billing_controls, stored.name
    return entity


def delete(*, customer: Customer, at: datetime, actor: Actor) -> None:
    """End all that a customer holds, at the processor too, without credit; invoices and ledger stay, the id is free."""
    with queue.still_there(customer):
        subscriptions.end_all(customer=customer, at=at, actor=actor, reason="Customer deleted")
        with transaction.atomic():
            Balance.objects.filter(customer=customer, ended_at=None).update(ended_at=at)
            Entity.objects.filter(customer=customer, deleted_at=None).update(deleted_at=at)
            Customer.objects.filter(pk=customer.pk).update(deleted_at=at)


def search(text: str) -> Q:
    """A filter by id, name or e-mail, as people type them."""
    return Q(external_id__icontains=text) | Q(name__icontains=text) | Q(email__icontains=text)
