"""sandbox.*: the test clock, and what a customer or the processor would do. Not there in a live environment."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest

from billing.models import SandboxCard
from billing.processors import ProcessorSubscription, get_processor
from billing.services import customers
from billing.services.collection import payments
from billing.services.customers import Details
from billing.services.due import clock as clocks
from config import clock
from config.access.models import Scope
from config.api import Endpoint, IdField, Keyed, TimestampField, milliseconds
from config.errors import NotFound
from entities.models import Customer
from entities.subject import Subject
from plans.api.fields import OneOfField, Shape, SwitchField


class CustomerInput(Shape):
    customer_id = IdField()


class ScopeInput(CustomerInput):
    entity_id = IdField(required=False)
    at_period_end = SwitchField(default=False)


class ClockInput(CustomerInput):
    now = TimestampField()


class PaymentMethodInput(CustomerInput):
    payment_method = OneOfField(choices=SandboxCard.Behavior.values, allow_null=True)


class SandboxEndpoint(Endpoint):
    """A call that only the sandbox has."""

    Input = CustomerInput
    keyed = Keyed.LEASE

    def initial(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if settings.ENVIRONMENT == "live":
            raise NotFound("sandbox calls are not there in the live environment.")


class SetClock(SandboxEndpoint):
    """Turn a customer's clock forward; everything due on the way is done when this answers."""

    Input = ClockInput

    def handle(self, data: dict[str, Any], request: HttpRequest) -> dict[str, Any]:
        at = data["now"]
        customer = Customer.objects.live().filter(external_id=data["customer_id"]).first()
        if customer is None:
            details = Details({"clock_at": at})
            customers.get_or_create(customer_id=data["customer_id"], details=details, at=at, actor=self.actor)
        else:
            clocks.set(customer=customer, at=at, actor=self.actor)
        return {"customer_id": data["customer_id"], "now": milliseconds(at)}


class SetPaymentMethod(SandboxEndpoint):
    Input = PaymentMethodInput

    def handle(self, data: dict[str, Any], request: HttpRequest) -> dict[str, Any]:
        payments.set_card(customers.get(data["customer_id"]), data["payment_method"])
        return {"customer_id": data["customer_id"], "payment_method": data["payment_method"]}


class CompleteCheckout(SandboxEndpoint):
    """The customer pays on the checkout page opened last."""

    def handle(self, data: dict[str, Any], request: HttpRequest) -> dict[str, Any]:
        customer = customers.get(data["customer_id"])
        payments.complete_checkout(customer, at=customer.now(clock.now()))
        return {"success": True}


class PayInvoice(SandboxEndpoint):
    """The customer pays the open invoice, or passes 3D Secure for it."""

    def handle(self, data: dict[str, Any], request: HttpRequest) -> dict[str, Any]:
        customer = customers.get(data["customer_id"])
        payments.pay_open_invoice(customer, at=customer.now(clock.now()))
        return {"success": True}


class CancelSubscription(SandboxEndpoint):
    """The subscription of a scope is canceled at the processor, not through us."""

    Input = ScopeInput

    def handle(self, data: dict[str, Any], request: HttpRequest) -> dict[str, Any]:
        subject = Subject.get(data["customer_id"], data.get("entity_id"))
        payments.canceled_at_processor(
            subject,
            at_period_end=data["at_period_end"],
            at=subject.customer.now(clock.now()),
            actor=self.actor,
        )
        return {"success": True}


class ResumeSubscription(SandboxEndpoint):
    Input = ScopeInput

    def handle(self, data: dict[str, Any], request: HttpRequest) -> dict[str, Any]:
        subject = Subject.get(data["customer_id"], data.get("entity_id"))
        payments.resumed_at_processor(subject, at=subject.customer.now(clock.now()), actor=self.actor)
        return {"success": True}


class ProcessorState(SandboxEndpoint):
    """What the processor holds for a customer."""

    access = Scope.READ

    def handle(self, data: dict[str, Any], request: HttpRequest) -> dict[str, Any]:
        customer_id = customers.get(data["customer_id"]).processor_id
        processor = get_processor()
        card = processor.payment_method(customer_id) if customer_id else None
        return {
            "payment_method": card.kind if card else None,
            "subscriptions": [_shape(row) for row in processor.subscriptions(customer_id)] if customer_id else [],
        }


def _shape(row: ProcessorSubscription) -> dict[str, Any]:
    return {
        "id": row.id,
        "status": row.status,
        "entity_id": row.entity_id,
        "items": [
            {
                "plan_id": item.plan_id,
                "feature_id": item.feature_id,
                "quantity": item.quantity,
                "amount": item.amount,
            }
            for item in row.items
        ],
        "current_period_start": milliseconds(row.current_period_start),
        "current_period_end": milliseconds(row.current_period_end),
        "cancel_at": milliseconds(row.cancel_at),
    }
