"""The Stripe processor: the protocol's calls, each told in a module of its own."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from decimal import Decimal

import stripe

from billing.processors.failures import MissingAtProcessor, ProcessorRefused
from billing.processors.protocol import (
    Charge,
    Collection,
    InvoiceItem,
    PaymentMethod,
    ProcessorEventData,
    ProcessorInvoice,
    ProcessorSubscription,
    Put,
    Renewal,
    Session,
    SubscriptionItemState,
    SubscriptionTerms,
)
from billing.processors.stripe import customers, endpoints, events, invoicing, refunding, sessions, subscribing
from billing.processors.stripe.client import Client
from billing.processors.stripe.money import from_minor


class StripeProcessor:
    """Stripe renews and collects what the engine computed (decisions 10); one subscription per scope (decisions 3)."""

    name = "stripe"
    takes_many = False

    def __init__(self, api_key: str, *, http_client: stripe.HTTPClient | None = None) -> None:
        self.client = Client(api_key, http_client=http_client)
        self.products = customers.Products(self.client)

    # -- customers --

    def ensure_customer(self, *, ref: str, email: str, name: str, clock_at: datetime | None, key: str) -> str:
        return customers.ensure(self.client, ref=ref, email=email, name=name, clock_at=clock_at, key=key)

    def turn_clock(self, customer_id: str, at: datetime) -> None:
        customers.turn_clock(self.client, customer_id, at)

    def payment_method(self, customer_id: str) -> PaymentMethod | None:
        return customers.payment_method(customers.read(self.client, customer_id))

    def credit(self, customer_id: str, currency: str) -> Decimal:
        found = customers.read(self.client, customer_id)
        if found.get("currency") not in (None, currency):
            return Decimal(0)
        return from_minor(max(0, -found["balance"]), currency)

    # -- invoices --

    def charge_invoice(
        self,
        *,
        customer_id: str,
        currency: str,
        items: Sequence[InvoiceItem],
        collection: Collection,
        key: str,
        net_terms_days: int | None = None,
        renewal: Renewal | None = None,
        tries_again: bool = False,
        since: datetime | None = None,
    ) -> ProcessorInvoice:
        if renewal is not None:
            return invoicing.renew(
                self.client,
                renewal,
                customer_id=customer_id,
                currency=currency,
                items=items,
                collection=collection,
                key=key,
                net_terms_days=net_terms_days,
                since=since,
            )
        return invoicing.charge(
            self.client,
            customer_id=customer_id,
            currency=currency,
            items=items,
            collection=collection,
            key=key,
            net_terms_days=net_terms_days,
            tries_again=tries_again,
            since=since,
        )

    def charge_invoices(self, charges: Sequence[Charge]) -> list[ProcessorInvoice]:
        return [self.charge_invoice(**charge.arguments()) for charge in charges]

    def expect_renewal(self, renewal: Renewal, *, goes_on: bool) -> None:
        if renewal.subscription_id:
            invoicing.expect_renewal(self.client, renewal, goes_on=goes_on)

    def invoice(self, invoice_id: str) -> ProcessorInvoice:
        return invoicing.shape(invoicing.read(self.client, invoice_id))

    def invoice_by_key(self, key: str, *, customer_id: str, since: datetime | None = None) -> ProcessorInvoice | None:
        found = invoicing.find(self.client, customer_id, key, since=since)
        return invoicing.shape(found) if found is not None else None

    def pay_invoice(self, invoice_id: str, *, key: str) -> ProcessorInvoice:
        return invoicing.pay(self.client, invoicing.read(self.client, invoice_id), key=key)

    def finalize_invoice(self, invoice_id: str, *, key: str) -> ProcessorInvoice:
        return invoicing.finalize(self.client, invoice_id, key=key)

    def void_invoice(self, invoice_id: str, *, key: str) -> ProcessorInvoice:
        return invoicing.void(self.client, invoice_id, key=key)

    def refund(self, invoice_id: str, amount: Decimal, *, key: str) -> Decimal:
        return refunding.refund(self.client, invoice_id, amount, key=key)

    def reverse_invoice(self, invoice_id: str, *, key: str) -> None:
        if invoice_id:
            refunding.reverse(self.client, invoice_id, key=key)

    # -- pages --

    def checkout(
        self,
        *,
        customer_id: str,
        currency: str,
        items: Sequence[InvoiceItem],
        return_url: str,
        expires_at: datetime,
        key: str,
    ) -> Session:
        return sessions.checkout(
            self.client,
            customer_id=customer_id,
            currency=currency,
            items=items,
            return_url=return_url,
            expires_at=expires_at,
            key=key,
        )

    def setup_card(self, *, customer_id: str, return_url: str, key: str) -> Session:
        return sessions.setup_card(self.client, customer_id=customer_id, return_url=return_url, key=key)

    def portal(self, *, customer_id: str, return_url: str, key: str) -> Session:
        return sessions.portal(self.client, customer_id=customer_id, return_url=return_url, key=key)

    def session(self, session_id: str) -> Session:
        return sessions.read(self.client, session_id)

    def expire_session(self, session_id: str) -> bool:
        return sessions.expire(self.client, session_id)

    # -- subscriptions --

    def put_subscription(self, subscription_id: str, terms: SubscriptionTerms, *, key: str) -> str:
        return subscribing.put(self.client, self.products, subscription_id, terms, key=key)

    def put_subscriptions(self, puts: Sequence[Put]) -> list[str]:
        return [self.put_subscription(put.subscription_id, put.terms, key=put.key) for put in puts]

    def cancel_subscription(self, subscription_id: str, *, key: str) -> None:
        subscribing.end(self.client, subscription_id, key=key)

    def subscription(self, subscription_id: str) -> ProcessorSubscription | None:
        try:
            found = self.client.call(self.client.api.v1.subscriptions.retrieve, subscription_id)
        except MissingAtProcessor:
            return None
        return subscribing.shape(found)

    def subscriptions(self, customer_id: str) -> list[ProcessorSubscription]:
        rows = [subscribing.shape(row) for row in subscribing.all_of(self.client, customer_id)]
        return rows[::-1]

    # -- for sweeps and comparisons --

    def invoices_with_marks(self, customer_id: str) -> Iterator[tuple[ProcessorInvoice, str]]:
        """All invoices of a customer with whose they are: "" none of ours, "ours", "reversed", "belongs to <id>"."""
        for row in self.client.each(self.client.api.v1.invoices.list, params={"customer": customer_id}):
            yield invoicing.shape(row), invoicing.mark_of(row)

    def refunds(self, customer_id: str) -> dict[str, Decimal]:
        """What was given back to the customer's cards, by anybody, by invoice."""
        return refunding.refunds(self.client, customer_id)

    def shown(self, terms: SubscriptionTerms) -> list[SubscriptionItemState]:
        """The items as Stripe holds them, which takes only so many."""
        return subscribing.folded(terms)

    def customer_email(self, customer_id: str) -> str:
        return customers.read(self.client, customer_id).get("email") or ""

    def customers_with_renewals(self) -> list[str]:
        """Customers for whom Stripe has opened a renewal that nobody filled in yet."""
        drafts = self.client.each(self.client.api.v1.invoices.list, params={"status": "draft"})
        return list({row["customer"]: None for row in drafts if invoicing.is_cycle(row)})

    def live_subscriptions(self) -> Iterator[tuple[ProcessorSubscription, str]]:
        """Every live subscription of the account with its customer."""
        for row in self.client.each(self.client.api.v1.subscriptions.list, params={}):
            yield subscribing.shape(row), row["customer"]

    # -- what it tells us, and how it is set up --

    def read_event(self, body: bytes, signature: str, secret: str) -> ProcessorEventData:
        return events.parse(body, signature, secret)

    def reread_event(self, body: str) -> ProcessorEventData:
        return events.read(body)

    def create_endpoint(self, url: str) -> str:
        """Ask for webhooks at an address; returns their signing secret. Raises ProcessorRefused when there is one."""
        return endpoints.create(self.client, url)

    # -- what a test customer does --

    def set_card(self, customer_id: str, behavior: str | None) -> None:
        customers.set_test_card(self.client, customer_id, behavior)

    def complete_session(self, session_id: str, behavior: str) -> Session:
        found = self.session(session_id)
        if found.status != "complete":
            raise ProcessorRefused(f"Stripe's page can be completed in a browser only: {found.url}")
        return found

    def close_session(self, session_id: str) -> None:
        """Stripe closed it when it was completed."""

    def settle_invoice(self, invoice_id: str) -> ProcessorInvoice:
        found = invoicing.read(self.client, invoice_id)
        customers.set_test_card(self.client, found["customer"], "success")
        return invoicing.pay(self.client, found, key="")
