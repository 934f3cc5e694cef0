"""Webhooks: signed by Stripe, in our words. What they say is looked up again before it is believed."""

import json
from typing import Any

import stripe

from billing.processors.failures import InvalidSignature
from billing.processors.protocol import EventKind, ProcessorEventData
from billing.processors.stripe.client import API_VERSION, moment

KINDS = {
    "checkout.session.completed": EventKind.SESSION,
    "checkout.session.expired": EventKind.SESSION,
    "customer.subscription.created": EventKind.SUBSCRIPTION,
    "customer.subscription.updated": EventKind.SUBSCRIPTION,
    "customer.subscription.deleted": EventKind.SUBSCRIPTION,
    "invoice.created": EventKind.INVOICE,
    "invoice.finalized": EventKind.INVOICE,
    "invoice.paid": EventKind.INVOICE,
    "invoice.payment_failed": EventKind.INVOICE,
    "invoice.payment_action_required": EventKind.INVOICE,
    "invoice.voided": EventKind.INVOICE,
    "invoice.marked_uncollectible": EventKind.INVOICE,
    "customer.updated": EventKind.CUSTOMER,
    "charge.refunded": EventKind.REFUND,
}


def parse(body: bytes, signature: str, secret: str) -> ProcessorEventData:
    """The event in a body whose signature is right; raises InvalidSignature."""
    try:
        stripe.Webhook.construct_event(body, signature, secret)
    except (ValueError, stripe.SignatureVerificationError) as problem:
        raise InvalidSignature(str(problem)) from problem
    return read(body.decode())


def read(body: str) -> ProcessorEventData:
    """The event in a body that was written down before."""
    event: dict[str, Any] = json.loads(body)
    thing = event["data"]["object"]
    kind = KINDS.get(event["type"])
    customer = thing["id"] if kind is EventKind.CUSTOMER else thing.get("customer")
    return ProcessorEventData(
        id=event["id"],
        type=event["type"],
        kind=kind if event.get("api_version") == API_VERSION else None,
        object_id=str(thing.get("id", "")),
        customer_id=customer if isinstance(customer, str) else "",
        subscription_id=_subscription(thing) if kind is EventKind.INVOICE else "",
        boundary=moment(thing["period_end"]) if thing.get("billing_reason") == "subscription_cycle" else None,
        note="" if event.get("api_version") == API_VERSION else _wrong_version(event),
    )


def _wrong_version(event: dict[str, Any]) -> str:
    return (
        f"Written for Stripe's API {event.get('api_version')}; {API_VERSION} is spoken here. "
        "Delete the endpoint on Stripe's dashboard and make one with create_stripe_webhook."
    )


def _subscription(invoice: dict[str, Any]) -> str:
    return str(((invoice.get("parent") or {}).get("subscription_details") or {}).get("subscription") or "")
