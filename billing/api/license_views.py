"""licenses.*: assign licences to entities from what the customer bought, take them back, list both."""

from typing import Any

from django.http import HttpRequest

from billing.models import Subscription
from billing.services import licenses
from billing.services.licenses import Holder, Pool
from config import clock
from config.access.models import Scope
from config.api import Endpoint, IdField, Keyed, milliseconds
from entities.subject import Subject
from plans.api.fields import ManyField, Shape, SwitchField, TextField

MOST = 1000


class HolderInput(Shape):
    entity_id = IdField()
    name = TextField(max_length=255, default="")
    feature_id = IdField(max_length=100, default=None)


class AssignInput(Shape):
    customer_id = IdField()
    plan_id = IdField(max_length=100)
    entities = ManyField(child=HolderInput(), most=MOST)


class ReleaseInput(Shape):
    customer_id = IdField()
    license_plan_id = IdField(max_length=100, default=None)
    entity_ids = ManyField(child=IdField(), most=MOST)


class ListInput(Shape):
    customer_id = IdField()
    entity_id = IdField(default=None)


class ListAssignmentsInput(ListInput):
    plan_id = IdField(max_length=100, default=None)
    active = SwitchField(default=True)


class AttachLicense(Endpoint):
    """Assign a licence to each of some entities, creating those that aren't there."""

    Input = AssignInput
    keyed = Keyed.LEASE

    def handle(self, data: dict[str, Any], request: HttpRequest) -> dict[str, Any]:
        customer = Subject.get(data["customer_id"]).customer
        holders = [Holder(one["entity_id"], one["feature_id"], one["name"]) for one in data["entities"]]
        at = customer.now(clock.now())
        licenses.assign(customer=customer, plan_id=data["plan_id"], holders=holders, at=at, actor=self.actor)
        return {"success": True}


class ReleaseLicense(Endpoint):
    """Take licences back from entities."""

    Input = ReleaseInput

    def handle(self, data: dict[str, Any], request: HttpRequest) -> dict[str, Any]:
        customer = Subject.get(data["customer_id"]).customer
        licenses.release(
            customer=customer,
            plan_id=data["license_plan_id"],
            entity_ids=data["entity_ids"],
            at=customer.now(clock.now()),
            actor=self.actor,
        )
        return {"success": True}


class ListLicenses(Endpoint):
    """How many licences there are, and how many are assigned."""

    Input = ListInput
    access = Scope.READ

    def handle(self, data: dict[str, Any], request: HttpRequest) -> dict[str, Any]:
        subject = Subject.get(data["customer_id"], data["entity_id"])
        found = licenses.pools([subject.customer], entity=subject.entity).get(subject.customer.pk, [])
        return {"list": [pool(one) for one in found]}


class ListAssignments(Endpoint):
    """Which entities hold a licence, or (`active` false) held one."""

    Input = ListAssignmentsInput
    access = Scope.READ

    def handle(self, data: dict[str, Any], request: HttpRequest) -> dict[str, Any]:
        subject = Subject.get(data["customer_id"], data["entity_id"])
        found = licenses.assigned(
            subject.customer, entity=subject.entity, plan_id=data["plan_id"], active=data["active"]
        )
        return {"list": [_assignment(row) for row in found]}


def pool(found: Pool) -> dict[str, Any]:
    """A pool as customers and licenses.list show it."""
    return {
        "license_plan_id": found.license_plan.slug,
        "parent_plan_id": found.parent_plan.slug,
        "license_plan_name": found.license_plan.name,
        "granted": found.granted,
        "usage": found.usage,
        "remaining": found.remaining,
        "paid_quantity": found.paid,
    }


def _assignment(row: Subscription) -> dict[str, Any]:
    has_ended = row.status == Subscription.Status.EXPIRED
    return {
        "id": row.public_id,
        "entity_id": row.entity.external_id if row.entity is not None else None,
        "license_plan_id": row.plan.slug,
        "started_at": milliseconds(row.started_at),
        "ended_at": milliseconds(row.ends_at) if has_ended else None,
    }
