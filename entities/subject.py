"""Whom a request is about."""

from dataclasses import dataclass

from entities.errors import CustomerNotFound, EntityNotFound
from entities.models import Customer, Entity


@dataclass(frozen=True, slots=True)
class Subject:
    """A customer, or one of its entities: the scope that balances, plans and limits are looked up in."""

    customer: Customer
    entity: Entity | None = None

    @classmethod
    def get(cls, customer_id: str, entity_id: str | None = None) -> "Subject":
        """The live subject behind the public ids.

        Raises EntityNotFound whenever an entity was asked for and is not there, even when the customer is the thing
        missing (spec balances 6.3), else CustomerNotFound.
        """
        if not entity_id:
            customer = Customer.objects.live().filter(external_id=customer_id).first()
            if customer is None:
                raise CustomerNotFound(customer_id)
            return cls(customer)
        entity = (
            Entity.objects.live()
            .select_related("customer", "feature")
            .filter(customer__external_id=customer_id, customer__deleted_at=None, external_id=entity_id)
            .first()
        )
        if entity is None:
            raise EntityNotFound(entity_id)
        return cls(entity.customer, entity)

    @property
    def customer_id(self) -> str:
        return self.customer.external_id

    @property
    def entity_id(self) -> str | None:
        return self.entity.external_id if self.entity else None

    @property
    def member(self) -> Entity:
        """The entity of a subject that is known to be one."""
        if self.entity is None:
            raise TypeError(f"{self} is a customer, not an entity")
        return self.entity

    def __str__(self) -> str:
        return f"{self.customer_id} / {self.entity_id}" if self.entity else self.customer_id
