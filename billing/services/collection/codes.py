"""A promotion code that the customer enters on a checkout page, before paying."""

from datetime import datetime

import msgspec

from billing.errors import NothingToPay
from billing.models import Operation
from billing.processors.registry import sandbox
from billing.services import invoices
from billing.services.due import recovery
from billing.services.execution import checkouts, queue
from billing.services.plan_changes import requests
from billing.services.plan_changes.requests import Attach, Coupon
from entities.models import Customer
from entities.subject import Subject


def enter(*, customer: Customer, session_id: str, code: str, at: datetime) -> None:
    """Lower what waits for a page by a code; raises NothingToPay, RewardNotFound, CodeRefused, InvalidRequest."""
    with queue.customer(customer):
        waiting = Operation.objects.filter(
            customer=customer,
            status=Operation.Status.WAITING,
            outcome__session_id=session_id,
            expires_at__gt=at,
        )
        operation = waiting.select_related("entity").first()
        if operation is None:
            raise NothingToPay("This page is closed. Ask for a new link where you came from.")

        def with_code(attach: Attach) -> Attach:
            others = [coupon for coupon in attach.discounts if (coupon.code or "").upper() != code.upper()]
            return msgspec.structs.replace(attach, discounts=[*others, Coupon(code=code)])

        request = requests.each(requests.read_attach(operation.request), with_code)
        subject = Subject(customer, operation.entity)
        currency = operation.outcome["currency"]
        outcome = recovery.attachment(subject, request, at=operation.at, currency=currency)
        sandbox().show(session_id, invoices.to_processor(outcome.lines))
        # The application that asks again, without the code, gets the same page.
        asked = operation.outcome.get("asked", operation.request)
        operation.request = requests.written(request)
        operation.outcome = {
            **operation.outcome,
            "asked": asked,
            "total": str(outcome.total),
            "next": checkouts.following(outcome),
        }
        operation.save(update_fields=["request", "outcome"])
