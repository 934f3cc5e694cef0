"""Customers, cards, products and test clocks at Stripe."""

import time
from collections.abc import Mapping
from datetime import datetime

from billing.processors.failures import MissingAtProcessor, ProcessorRefused, ProcessorUnavailable
from billing.processors.protocol import PaymentMethod
from billing.processors.stripe.client import Client, Found, digest, moment, seconds
from config import clock

# Stripe's own test cards, by what they do when charged later.
TEST_CARDS = {
    "success": "pm_card_visa",
    "declines": "pm_card_chargeCustomerFail",
    "requires_authentication": "pm_card_authenticationRequired",
}
_CLOCK_PATIENCE = 60


def ensure(client: Client, *, ref: str, email: str, name: str, clock_at: datetime | None, key: str) -> str:
    params: Found = {"metadata": {"customer_id": ref[:500]}}
    if email:
        params["email"] = email
    if name:
        params["name"] = name
    if clock_at is not None and client.is_test:
        clock_params = {"frozen_time": seconds(clock_at), "name": ref[:300]}
        made = client.call(
            client.api.v1.test_helpers.test_clocks.create,
            params=clock_params,
            key=f"{key}-clock-{digest(clock_params)}",
        )
        params["test_clock"] = made["id"]
    found = client.call(client.api.v1.customers.create, params=params, key=f"{key}-{digest(params)}")
    return str(found["id"])


def read(client: Client, customer_id: str) -> Found:
    params = {"expand": ["invoice_settings.default_payment_method"]}
    return client.call(client.api.v1.customers.retrieve, customer_id, params=params)


def payment_method(customer: Found) -> PaymentMethod | None:
    """The card that invoices are charged to."""
    found = (customer.get("invoice_settings") or {}).get("default_payment_method")
    if found is None:
        # Customers from before payment methods pay from a source.
        return PaymentMethod("source", "card on file") if customer.get("default_source") else None
    card = found.get("card")
    label = f"{card['brand'].title()} •••• {card['last4']}" if card else found["type"]
    return PaymentMethod(found["type"], label)


def use_card(client: Client, customer_id: str, payment_method_id: str) -> None:
    """Charge this card from now on, unless it is gone again or the customer has a newer one."""
    try:
        card = client.call(client.api.v1.payment_methods.retrieve, payment_method_id)
    except MissingAtProcessor:
        return
    present = (read(client, customer_id).get("invoice_settings") or {}).get("default_payment_method")
    if card.get("customer") != customer_id or (present is not None and present["created"] >= card["created"]):
        return
    params = {"invoice_settings": {"default_payment_method": payment_method_id}}
    client.call(client.api.v1.customers.update, customer_id, params=params)


def set_test_card(client: Client, customer_id: str, behavior: str | None) -> None:
    """Replace or remove the card of a test customer."""
    _expect_test(client)
    before = [row["id"] for row in client.each(client.api.v1.payment_methods.list, params={"customer": customer_id})]
    if behavior is not None:
        card = client.call(client.api.v1.payment_methods.attach, TEST_CARDS[behavior], params={"customer": customer_id})
        params = {"invoice_settings": {"default_payment_method": card["id"]}}
        client.call(client.api.v1.customers.update, customer_id, params=params)
    for old in before:
        client.call(client.api.v1.payment_methods.detach, old)


def time_of(client: Client, customer_id: str) -> datetime:
    """What time it is for the customer at Stripe."""
    key = read(client, customer_id).get("test_clock")
    if not key:
        return clock.now()
    found = client.call(client.api.v1.test_helpers.test_clocks.retrieve, key)
    return moment(found["frozen_time"]) or clock.now()


def turn_clock(client: Client, customer_id: str, at: datetime) -> None:
    """Turn a customer's test clock to `at` and wait until everything there is done."""
    if not client.is_test:
        return
    clocks = client.api.v1.test_helpers.test_clocks
    key = read(client, customer_id).get("test_clock")
    if not key:
        params = {"frozen_time": seconds(at), "customer": customer_id}
        client.call(clocks.create, params=params, key=f"clock-{customer_id}-{digest(params)}")
        return
    if client.call(clocks.retrieve, key)["frozen_time"] >= seconds(at):
        return
    found = client.call(clocks.advance, key, params={"frozen_time": seconds(at)})
    waited = 0
    while found["status"] != "ready":
        if found["status"] != "advancing" or waited >= _CLOCK_PATIENCE:
            raise ProcessorUnavailable(f"Stripe's test clock {key} is {found['status']}. Try again.")
        found = client.call(clocks.retrieve, key)
        if found["status"] != "ready":
            time.sleep(client.pause)
            waited += 1


class Products:
    """A product for each plan, made once and found again by an id that the plan determines."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.known: set[str] = set()

    def ensure(self, names: Mapping[str, str]) -> dict[str, str]:
        """The product of each plan of `names` (id to name)."""
        return {plan: self._one(plan, name) for plan, name in names.items()}

    def _one(self, plan: str, name: str) -> str:
        key = f"subledger_{plan}"[:200]
        if key in self.known:
            return key
        products = self.client.api.v1.products
        try:
            self.client.call(products.retrieve, key)
        except MissingAtProcessor:
            self._create(key, plan, name)
        self.known.add(key)
        return key

    def _create(self, key: str, plan: str, name: str) -> None:
        products = self.client.api.v1.products
        params = {"id": key, "name": name or plan, "metadata": {"plan_id": plan}}
        try:
            self.client.call(products.create, params=params)
        except ProcessorRefused:
            self.client.call(products.retrieve, key)  # somebody made it meanwhile


def _expect_test(client: Client) -> None:
    if not client.is_test:
        raise ProcessorRefused("Cards can be set by hand with a test key only.")
