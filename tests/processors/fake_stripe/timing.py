"""Time passing: renewals, drafts that finalize by themselves, payments tried again."""

from collections.abc import Iterator
from typing import Any

from tests.processors.fake_stripe import customers, invoices, subscriptions
from tests.processors.fake_stripe.errors import Refused
from tests.processors.fake_stripe.world import Thing, World

# A draft that the endpoint never took word of is finalized all the same, after three days.
PATIENCE = 72 * invoices.HOUR


def create_clock(world: World, params: dict[str, Any]) -> Thing:
    clock = {
        "frozen_time": params["frozen_time"],
        "name": params.get("name"),
        "status": "ready",
        "created": world.now(),
        "deletes_after": world.now() + 30 * 86_400,
    }
    customer = world.get("customer", params["customer"]) if "customer" in params else None
    if customer is not None and customer["test_clock"]:
        raise Refused("The customer is on a test clock already, and stays there.", param="customer")
    made = world.add("test_helpers.test_clock", clock)
    if customer is not None:
        for thing in [customer, *_of(world, customer["id"])]:
            thing["test_clock"] = made["id"]
    return made


def _of(world: World, customer: str) -> Iterator[Thing]:
    for kind in ("subscription", "invoice"):
        yield from world.all(kind, customer=customer)


def advance_clock(world: World, key: str, to: int) -> Thing:
    clock = world.get("test_helpers.test_clock", key)
    if to <= clock["frozen_time"]:
        raise Refused("A test clock only turns forward.", param="frozen_time")
    lengths = [
        item["current_period_end"] - item["current_period_start"]
        for subscription in world.all("subscription", test_clock=key)
        if subscription["status"] in subscriptions.LIVE
        for item in subscription["items"]["data"]
    ]
    # Stubs are short: never stricter than two days.
    most = max(2 * max(lengths), 2 * 86_400) if lengths else 2 * 366 * 86_400
    if to - clock["frozen_time"] > most:
        raise Refused("You can't advance more than two intervals of the shortest subscription.", param="frozen_time")
    pass_time(world, to, clock=clock)
    return {**clock, "status": "advancing"}  # ready when it is asked next


def read_clock(world: World, key: str) -> Thing:
    return world.get("test_helpers.test_clock", key)


def pass_time(world: World, to: int, *, clock: Thing | None = None) -> None:
    """Let everything happen until `to`, in order, for the customers of a clock (None: of the wall)."""
    key = clock["id"] if clock else None
    while True:
        moments = list(_moments(world, key))
        if not moments or min(moments)[0] > to:
            break
        at, _, what, thing = min(moments)
        _set(world, clock, max(at, _time(world, clock)))
        _do(world, what, thing, at)
    if clock:
        _set(world, clock, to)
    else:
        world.pass_through(None)


def _time(world: World, clock: Thing | None) -> int:
    frozen: int = clock["frozen_time"] if clock else world.now()
    return frozen


def _set(world: World, clock: Thing | None, to: int) -> None:
    if clock:
        clock["frozen_time"] = to
    else:
        world.pass_through(to)


def _moments(world: World, key: str | None) -> Iterator[tuple[int, str, str, Any]]:
    for subscription in world.all("subscription", test_clock=key):
        at = subscriptions.due(world, subscription)
        if at is not None:
            yield at, subscription["id"], "subscription", _Ordered(subscription)
    for invoice in world.all("invoice", test_clock=key):
        if invoice["status"] == "draft" and invoice["automatically_finalizes_at"] and invoice["auto_advance"]:
            late = 0 if world.heard("invoice.created", invoice["id"]) else PATIENCE - invoices.HOUR
            yield invoice["automatically_finalizes_at"] + late, invoice["id"], "finalize", _Ordered(invoice)
        elif invoice["status"] == "open" and invoice["next_payment_attempt"]:
            yield invoice["next_payment_attempt"], invoice["id"], "pay", _Ordered(invoice)
    for session in world.all("checkout.session"):
        if key is None and session["status"] == "open":
            yield session["expires_at"], session["id"], "expire", _Ordered(session)


class _Ordered:
    """Keeps things out of comparisons."""

    def __init__(self, thing: Thing) -> None:
        self.thing = thing

    def __lt__(self, other: object) -> bool:
        return False


def _do(world: World, what: str, ordered: _Ordered, at: int) -> None:
    thing = ordered.thing
    if what == "subscription":
        subscriptions.turn(world, thing, at)
    elif what == "expire":
        thing["status"] = "expired"
        world.tell("checkout.session.expired", thing, at=at)
    else:
        if what == "finalize":
            invoices.finalize(world, thing["id"])
        collect(world, thing)


def collect(world: World, invoice: Thing) -> None:
    """Stripe tries the card by itself; what fails makes the subscription past due."""
    if invoice["status"] != "open" or invoice["collection_method"] == "send_invoice":
        return
    try:
        if customers.card_of(world, invoice["customer"]) is None:
            invoice["next_payment_attempt"] = None
            world.tell("invoice.payment_failed", invoice)
            raise Refused("There is no card.")
        invoices.pay(world, invoice["id"], off_session=True)
    except Refused:
        mark_past_due(world, invoice)


def mark_past_due(world: World, invoice: Thing) -> None:
    key = invoices.subscription_of(invoice)
    if key is None:
        return
    subscription = world.get("subscription", key)
    if subscription["status"] == "active" and invoice["billing_reason"] == "subscription_cycle":
        subscription["status"] = "past_due"
        world.tell("customer.subscription.updated", subscription)
