"""Hosted pages: a checkout that a plan waits for, the adding of a card, the portal."""

from datetime import timedelta
from typing import Any

from billing import proration
from billing.models import Invoice, Operation
from billing.outcomes import Outcome
from billing.processors import get_processor
from billing.services import invoices
from billing.services.execution import operations, syncing
from billing.services.plan_changes import requests
from billing.services.plan_changes.requests import Attachment
from config.actor import Actor
from config.api import milliseconds
from entities.models import Customer
from entities.subject import Subject

# How long a checkout page stays open (spec billing 13).
OPEN_FOR = timedelta(hours=1)


def open_page(subject: Subject, request: Attachment, outcome: Outcome, *, actor: Actor) -> str:
    """The address of the page on which the plan is paid for; the same as before for the same request.

    Nothing is granted until it is completed. A page that was open for something else is closed (spec billing 14.2).
    """
    written = requests.written(request)
    compared = _same_again(written)
    waiting = Operation.objects.filter(
        customer=subject.customer,
        entity=subject.entity,
        kind=Operation.Kind.ATTACH,
        status=Operation.Status.WAITING,
        expires_at__gt=outcome.at,
    )
    for operation in waiting:
        asked = operation.outcome.get("asked", operation.request)
        if _same_again(asked) == compared and operation.outcome.get("url"):
            url: str = operation.outcome["url"]
            return url
    operations.expire_waiting(subject.customer, at=outcome.at)
    job = operations.Job(
        customer=subject.customer,
        entity=subject.entity,
        kind=Operation.Kind.ATTACH,
        cause=Invoice.Cause.ATTACH,
        actor=actor,
        request=written,
    )
    operation = operations.write_down(job, outcome, status=Operation.Status.WAITING)
    session = get_processor().checkout(
        customer_id=syncing.ensure_customer(subject.customer),
        currency=outcome.currency,
        items=invoices.to_processor(outcome.lines),
        return_url=requests.first_of(request).success_url,
        expires_at=outcome.at + OPEN_FOR,
        key=f"operation-{operation.pk}-checkout",
    )
    operation.outcome = {**operation.outcome, "session_id": session.id, "url": session.url, "next": following(outcome)}
    operation.expires_at = outcome.at + OPEN_FOR
    operation.save(update_fields=["outcome", "expires_at"])
    return session.url


def following(outcome: Outcome) -> dict[str, Any] | None:
    """What the page says of the invoice after this one."""
    cycle = outcome.next_cycle
    if cycle is None:
        return None
    total = proration.total(cycle.lines)
    return {"total": str(total), "at": milliseconds(cycle.starts_at), "has_usage": bool(cycle.usage)}


def _same_again(written: dict[str, Any]) -> dict[str, Any]:
    """A request without what each try names anew."""
    return {key: value for key, value in written.items() if key != "schedule_id"}


def card_page(customer: Customer, *, return_url: str, key: str) -> str:
    """The address of a page for entering a card."""
    return get_processor().setup_card(customer_id=syncing.ensure_customer(customer), return_url=return_url, key=key).url


def portal_page(customer: Customer, *, return_url: str, key: str) -> str:
    """The address of the customer's portal: plans, invoices, card."""
    return get_processor().portal(customer_id=syncing.ensure_customer(customer), return_url=return_url, key=key).url
