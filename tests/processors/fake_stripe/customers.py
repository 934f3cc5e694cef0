"""Customers, their cards, and products."""

from typing import Any

from tests.processors.fake_stripe.errors import Refused
from tests.processors.fake_stripe.world import Thing, World

# Stripe's documented test cards, and how they behave when they are charged later.
CARDS = {
    "pm_card_visa": ("success", "visa", "4242"),
    "pm_card_chargeCustomerFail": ("declines", "visa", "0341"),
    "pm_card_authenticationRequired": ("requires_authentication", "visa", "3184"),
}


def create(world: World, params: dict[str, Any]) -> Thing:
    clock = params.get("test_clock")
    if clock:
        world.get("test_helpers.test_clock", clock)
    thing = {
        "email": params.get("email") or None,
        "name": params.get("name") or None,
        "description": params.get("description"),
        "metadata": params.get("metadata") or {},
        "balance": 0,
        "currency": None,
        "test_clock": clock,
        "invoice_settings": {"default_payment_method": None},
        "default_source": None,
    }
    customer = world.add("customer", thing)
    customer["created"] = world.now(customer["id"])
    world.tell("customer.created", customer)
    return customer


def update(world: World, key: str, params: dict[str, Any]) -> Thing:
    customer = world.get("customer", key)
    settings = params.pop("invoice_settings", {})
    if "default_payment_method" in settings:
        card = settings["default_payment_method"]
        if card and world.get("payment_method", card)["customer"] != key:
            raise Refused("The payment method isn't attached to this customer.", param="invoice_settings")
        customer["invoice_settings"]["default_payment_method"] = card or None
    metadata = params.pop("metadata", {})
    customer["metadata"] = {name: text for name, text in {**customer["metadata"], **metadata}.items() if text}
    for name, value in params.items():
        if name not in ("email", "name", "description"):
            raise Refused(f"The fake doesn't know {name} of customers.", param=name)
        customer[name] = value or None
    world.tell("customer.updated", customer)
    return customer


def delete(world: World, key: str) -> Thing:
    world.get("customer", key)["deleted"] = True
    return {"id": key, "object": "customer", "deleted": True}


def move_balance(world: World, key: str, params: dict[str, Any]) -> Thing:
    """A balance transaction: above 0 the customer owes more with the next invoice."""
    customer = world.get("customer", key)
    customer["balance"] += params["amount"]
    row = {
        "customer": key,
        "amount": params["amount"],
        "currency": params["currency"],
        "metadata": params.get("metadata") or {},
        "ending_balance": customer["balance"],
        "type": "adjustment",
        "created": world.now(key),
    }
    return world.add("customer_balance_transaction", row)


def attach_card(world: World, token: str, customer: str) -> Thing:
    """A test card becomes a payment method of its own; one that is there already is attached as it is."""
    card = new_card(world, token) if token in CARDS else world.get("payment_method", token)
    if card["customer"] not in (None, customer):
        raise Refused("The payment method is attached to another customer.")
    world.get("customer", customer)
    card["customer"] = customer
    world.tell("payment_method.attached", card)
    return card


def new_card(world: World, token: str) -> Thing:
    behavior, brand, last4 = CARDS[token]
    card = {
        "type": "card",
        "customer": None,
        "card": {"brand": brand, "last4": last4, "exp_month": 12, "exp_year": 2034},
        "created": world.now(),
        "metadata": {},
    }
    found = world.add("payment_method", card)
    found["_behavior"] = behavior
    return found


def detach_card(world: World, key: str) -> Thing:
    card = world.get("payment_method", key)
    for customer in world.all("customer"):
        if customer["invoice_settings"]["default_payment_method"] == key:
            customer["invoice_settings"]["default_payment_method"] = None
    owner, card["customer"] = card["customer"], None
    world.tell("payment_method.detached", {**card, "customer": None, "_was": owner})
    return card


def card_of(world: World, customer: str) -> Thing | None:
    """The card that invoices are charged to."""
    key = world.get("customer", customer)["invoice_settings"]["default_payment_method"]
    return world.get("payment_method", key) if key else None


def create_product(world: World, params: dict[str, Any]) -> Thing:
    key = params.pop("id", "")
    if key and key in world.things["product"]:
        raise Refused(f"Product already exists: {key}", code="resource_already_exists", param="id")
    allowed = {"name", "metadata", "description"}
    if params.keys() - allowed:
        raise Refused(f"The fake doesn't know {params.keys() - allowed} of products.")
    product = {"name": params["name"], "active": True, "metadata": params.get("metadata") or {}, "created": world.now()}
    return world.add("product", product, key=key)
