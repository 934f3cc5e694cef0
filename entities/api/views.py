"""customers.* and entities.*, and the REST calls of the older clients."""

from collections.abc import Sequence
from typing import Any

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.http import HttpRequest

from billing.models import Subscription
from billing.services import customers, seats
from billing.services.customers import Details
from config import clock
from config.access.models import Scope
from config.api import Endpoint, Keyed, decode
from entities.api import paging, shapes
from entities.api.serializers import (
    CreateCustomerInput,
    CreateEntityInput,
    CustomerInput,
    EntityInput,
    LegacyEntityInput,
    ListCustomersInput,
    ListEntitiesInput,
    UpdateCustomerInput,
    UpdateEntityInput,
    details,
)
from entities.errors import EntityIdRequired, EntityNotFound
from entities.models import Customer, Entity
from entities.subject import Subject
from plans.errors import FeatureNotFound
from plans.models import Feature

DEFAULT_PAGE = 50
_NUMBERS = ("limit", "offset")


class GetOrCreateCustomer(Endpoint):
    """The customer with that id, created if it is new."""

    Input = CreateCustomerInput

    def handle(self, data: dict[str, Any], request: HttpRequest) -> dict[str, Any]:
        wall = clock.now()
        customer = customers.get_or_create(
            customer_id=data["customer_id"], details=Details(details(data)), at=wall, actor=self.actor
        )
        return shapes.customer(customer, wall=wall, expand=data.get("expand", []))


class GetCustomer(Endpoint):
    Input = CustomerInput
    access = Scope.READ

    def handle(self, data: dict[str, Any], request: HttpRequest) -> dict[str, Any]:
        customer = customers.get(data["customer_id"])
        if self.version.legacy:
            return shapes.legacy_customer(customer, wall=clock.now())
        return shapes.customer(customer, wall=clock.now(), expand=_expand(data, request))


class UpdateCustomer(Endpoint):
    Input = UpdateCustomerInput

    def handle(self, data: dict[str, Any], request: HttpRequest) -> dict[str, Any]:
        customer = customers.update(
            customer=customers.get(data["customer_id"]),
            details=Details(details(data)),
            new_id=data.get("new_customer_id"),
        )
        return shapes.customer(customer, wall=clock.now(), expand=data.get("expand", []))


class DeleteCustomer(Endpoint):
    """End all that a customer holds and free its id."""

    Input = CustomerInput
    keyed = Keyed.LEASE

    def handle(self, data: dict[str, Any], request: HttpRequest) -> dict[str, Any]:
        customer = customers.get(data["customer_id"])
        customers.delete(customer=customer, at=customer.now(clock.now()), actor=self.actor)
        return {"success": True}


class ListCustomers(Endpoint):
    """Customers newest first, by cursor; by offset for the older clients."""

    Input = ListCustomersInput
    access = Scope.READ

    def handle(self, data: dict[str, Any], request: HttpRequest) -> dict[str, Any]:
        rows = Customer.objects.live()
        created = data.get("created_at_range") or {}
        if data.get("search"):
            rows = rows.filter(customers.search(data["search"]))
        if "start" in created:
            rows = rows.filter(created_at__gte=created["start"])
        if "end" in created:
            rows = rows.filter(created_at__lte=created["end"])
        held = _held(data, customer=OuterRef("pk"))
        if held is not None:
            rows = rows.filter(Exists(held))
        page = paging.by_creation(rows, data, oldest_first=data.get("sort_order") == "asc", default=DEFAULT_PAGE)
        return page.shape(shapes.customers(page.rows, wall=clock.now()))


class CreateEntity(Endpoint):
    """Create an entity: it counts one seat and gets its own balances."""

    Input = CreateEntityInput
    keyed = Keyed.LEASE

    def handle(self, data: dict[str, Any], request: HttpRequest) -> dict[str, Any]:
        subject = _create_entity(self, data)
        return shapes.entity(subject, wall=clock.now())


class GetEntity(Endpoint):
    Input = EntityInput
    access = Scope.READ

    def handle(self, data: dict[str, Any], request: HttpRequest) -> dict[str, Any]:
        subject = _entity_subject(data)
        if self.version.legacy:
            return shapes.legacy_entity(subject, wall=clock.now())
        return shapes.entity(subject, wall=clock.now(), expand=_expand(data, request))


class UpdateEntity(Endpoint):
    Input = UpdateEntityInput

    def handle(self, data: dict[str, Any], request: HttpRequest) -> dict[str, Any]:
        subject = _entity_subject(data)
        customers.update_entity(entity=subject.member, billing_controls=data.get("billing_controls"))
        return shapes.entity(subject, wall=clock.now())


class DeleteEntity(Endpoint):
    """Delete an entity: its balances and plans end, its seat is freed, its id can be used again."""

    Input = EntityInput
    keyed = Keyed.LEASE

    def handle(self, data: dict[str, Any], request: HttpRequest) -> dict[str, Any]:
        subject = _entity_subject(data)
        seats.delete_entity(entity=subject.member, at=subject.customer.now(clock.now()), actor=self.actor)
        return {"success": True}


class ListEntities(Endpoint):
    """Entities oldest first, by cursor; by offset for the older clients."""

    Input = ListEntitiesInput
    access = Scope.READ

    def handle(self, data: dict[str, Any], request: HttpRequest) -> dict[str, Any]:
        rows = Entity.objects.live().filter(customer__deleted_at=None).select_related("customer", "feature")
        if "customer_id" in data:
            rows = rows.filter(customer__external_id=data["customer_id"])
        if data.get("search"):
            rows = rows.filter(Q(external_id__icontains=data["search"]) | Q(name__icontains=data["search"]))
        held = _held(data, customer=OuterRef("customer"))
        if held is not None:
            rows = rows.filter(Exists(held.filter(Q(entity=None) | Q(entity=OuterRef("pk")))))
        page = paging.by_creation(rows, data, oldest_first=True, default=DEFAULT_PAGE)
        return page.shape(shapes.entities([Subject(row.customer, row) for row in page.rows], wall=clock.now()))


class CreateEntityByPath(Endpoint):
    """POST /v1/customers/{customer_id}/entities of the older clients: `id` instead of `entity_id`."""

    Input = LegacyEntityInput
    keyed = Keyed.LEASE

    def handle(self, data: dict[str, Any], request: HttpRequest) -> dict[str, Any]:
        subject = _create_entity(self, {**data, "entity_id": data["id"]})
        if self.version.legacy:
            return shapes.legacy_entity(subject, wall=clock.now())
        return shapes.entity(subject, wall=clock.now())


class CreateCustomerByBody(GetOrCreateCustomer):
    """POST /v1/customers of the older clients: `id` instead of `customer_id`."""

    def read(self, body: bytes, request: HttpRequest, path: dict[str, Any]) -> Any:
        given = decode(body)
        named = {"customer_id": given["id"]} if isinstance(given, dict) and "id" in given else {}
        return super().read(body, request, {**path, **named})


def _create_entity(endpoint: Endpoint, data: dict[str, Any]) -> Subject:
    wall = clock.now()
    feature = Feature.objects.filter(slug=data["feature_id"]).first()
    if feature is None:
        raise FeatureNotFound(data["feature_id"])
    seats.check_countable(feature)  # before a customer is created for nothing
    customer = customers.get_or_create(
        customer_id=data["customer_id"],
        details=Details(details(data.get("customer_data") or {})),
        at=wall,
        actor=endpoint.actor,
    )
    entity = seats.create_entity(
        customer=customer,
        entity_id=data["entity_id"],
        feature=feature,
        name=data.get("name", ""),
        billing_controls=data.get("billing_controls", {}),
        at=customer.now(wall),
        actor=endpoint.actor,
    )
    return Subject(customer, entity)


def _entity_subject(data: dict[str, Any]) -> Subject:
    """The entity asked for; without a customer it must be the only live one with that id."""
    entity_id = data["entity_id"]
    if "customer_id" in data:
        return Subject.get(data["customer_id"], entity_id)
    rows = Entity.objects.live().filter(external_id=entity_id, customer__deleted_at=None)
    found = list(rows.select_related("customer", "feature")[:2])
    if not found:
        raise EntityNotFound(entity_id)
    if len(found) > 1:
        raise EntityIdRequired(entity_id)
    return Subject(found[0].customer, found[0])


def _expand(data: dict[str, Any], request: HttpRequest) -> Sequence[str]:
    """What to expand: a list in the body, or comma-separated in the query of a GET."""
    asked = request.GET.get("expand")
    return asked.split(",") if asked else data.get("expand", [])


def _held(data: dict[str, Any], *, customer: OuterRef) -> QuerySet[Subscription] | None:
    """The subscriptions that a list is filtered by; None when it is not filtered by plans."""
    plans, status = data.get("plans"), data.get("subscription_status")
    if not plans and not status:
        return None
    rows = Subscription.objects.filter(customer=customer)
    rows = (
        rows.filter(status="scheduled")
        if status == "scheduled"
        else rows.live()
        if status
        else rows.current_or_scheduled()
    )
    if plans:
        wanted = Q()
        for plan in plans:
            one = Q(plan__slug=plan["id"])
            wanted |= one & Q(plan__version__in=plan["versions"]) if plan.get("versions") else one
        rows = rows.filter(wanted)
    return rows


class GetCustomerByPath(GetCustomer):
    methods = ("GET",)


class DeleteCustomerByPath(DeleteCustomer):
    methods = ("DELETE",)


class GetEntityByPath(GetEntity):
    methods = ("GET",)


class DeleteEntityByPath(DeleteEntity):
    methods = ("DELETE",)


class ListCustomersByOffset(ListCustomers):
    """POST /v1/customers/list: pages by offset, 10 at a time unless asked."""

    def read(self, body: bytes, request: HttpRequest, path: dict[str, Any]) -> Any:
        data = super().read(body, request, path)
        return {"offset": 0, "limit": 10, **data}


class ListCustomersByQuery(ListCustomersByOffset):
    """GET /v1/customers?limit&offset; numbers come as text there."""

    methods = ("GET",)

    def read(self, body: bytes, request: HttpRequest, path: dict[str, Any]) -> Any:
        numbers = {key: int(text) for key, text in request.GET.dict().items() if key in _NUMBERS and text.isdecimal()}
        return super().read(body, request, {**path, **numbers})
