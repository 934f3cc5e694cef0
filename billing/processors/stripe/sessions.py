"""Stripe's hosted pages: a checkout that takes what is due now and keeps the card, the card page, the portal."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.conf import settings

from billing.processors.failures import ProcessorRefused
from billing.processors.protocol import InvoiceItem, Session
from billing.processors.stripe import customers, invoicing
from billing.processors.stripe.client import Client, Found, digest, seconds
from billing.processors.stripe.money import to_minor
from config import clock

# Stripe's bounds for how long a page stays open, with room for clocks that differ.
_SHORTEST, _LONGEST = timedelta(minutes=31), timedelta(hours=23)
_EXPANDED = ["invoice", "payment_intent", "setup_intent"]


def checkout(
    client: Client,
    *,
    customer_id: str,
    currency: str,
    items: Sequence[InvoiceItem],
    return_url: str,
    expires_at: datetime,
    key: str,
) -> Session:
    """A page for what is due now; without anything due it only takes the card.

    The subscription is opened when the page is done, its first period paid by then. A test clock's instants mean
    nothing to the page, which lives in real time.
    """
    now = clock.now()
    params: Found = {
        "customer": customer_id,
        "success_url": return_url or settings.BASE_URL,
        "metadata": {invoicing.KEY: key},
        "expires_at": seconds(min(max(expires_at, now + _SHORTEST), now + _LONGEST)),
    }
    lines = _lines(items, currency)
    if lines:
        mark = {invoicing.KEY: f"{key.removesuffix('-checkout')}-invoice"}
        params |= {
            "mode": "payment",
            "line_items": lines,
            "payment_intent_data": {"setup_future_usage": "off_session"},
            "invoice_creation": {"enabled": True, "invoice_data": {"metadata": mark}},
        }
    else:
        params |= {"mode": "setup", "currency": currency}
    return _made(client, params, key=key)


def setup_card(client: Client, *, customer_id: str, return_url: str, key: str) -> Session:
    params: Found = {
        "customer": customer_id,
        "mode": "setup",
        "currency": settings.CURRENCY.lower(),
        "success_url": return_url or settings.BASE_URL,
        "metadata": {invoicing.KEY: key},
    }
    return _made(client, params, key=key)


def portal(client: Client, *, customer_id: str, return_url: str, key: str) -> Session:
    params = {"customer": customer_id, "return_url": return_url or settings.BASE_URL}
    found = client.call(
        client.api.v1.billing_portal.sessions.create, params=params, key=f"{key}-{digest(params)}" if key else ""
    )
    return Session(found["id"], found["url"])


def read(client: Client, session_id: str) -> Session:
    """The page as it is; one that was completed makes its card the one that is charged from now on."""
    found = client.call(client.api.v1.checkout.sessions.retrieve, session_id, params={"expand": _EXPANDED})
    if found["status"] == "complete":
        intent = found.get("setup_intent") or found.get("payment_intent") or {}
        if intent.get("payment_method"):
            customers.use_card(client, found["customer"], intent["payment_method"])
    return _shape(found)


def expire(client: Client, session_id: str) -> bool:
    """Close it; False when it was completed before."""
    try:
        client.call(client.api.v1.checkout.sessions.expire, session_id)
    except ProcessorRefused:
        found = client.call(client.api.v1.checkout.sessions.retrieve, session_id)
        return bool(found["status"] != "complete")
    return True


def _made(client: Client, params: Found, *, key: str) -> Session:
    """The page that was made under the key, while it is open; without a key of the caller's it is just another page."""
    pages = client.api.v1.checkout.sessions
    if key:
        wanted = {"customer": params["customer"], "status": "open"}
        for row in client.each(pages.list, params=wanted):
            if (row.get("metadata") or {}).get(invoicing.KEY) == key and row["success_url"] == params["success_url"]:
                return _shape(row)
    return _shape(client.call(pages.create, params=params, key=f"{key}-{digest(params)}" if key else ""))


def _shape(found: Found) -> Session:
    invoice = found.get("invoice")
    paid = invoicing.shape(invoice) if isinstance(invoice, dict) else None
    return Session(found["id"], found.get("url") or "", found["status"], paid)


def _lines(items: Sequence[InvoiceItem], currency: str) -> list[Found]:
    """Lines of a page are never below 0: with credits among them it shows the sum alone."""
    amounts = [(item.description, to_minor(item.amount, currency)) for item in items]
    total = sum(amount for _, amount in amounts)
    if total <= 0:
        return []
    if any(amount < 0 for _, amount in amounts):
        amounts = [("Due now, credits taken off", total)]
    return [
        {
            "price_data": {"currency": currency, "unit_amount": amount, "product_data": {"name": description[:250]}},
            "quantity": 1,
        }
        for description, amount in amounts
        if amount
    ]
