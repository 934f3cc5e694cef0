"""What the fake remembers, what time it is there, and what it has to tell."""

import copy
import itertools
from collections.abc import Iterator
from typing import Any

from config import clock as wall_clock
from tests.processors.fake_stripe.errors import Refused, missing

type Thing = dict[str, Any]

_KINDS = {
    "customer": "cus", "product": "prod", "price": "price", "payment_method": "pm", "subscription": "sub",
    "subscription_item": "si", "invoice": "in", "line_item": "il", "invoiceitem": "ii", "payment_intent": "pi",
    "refund": "re", "checkout.session": "cs_test", "billing_portal.session": "bps", "test_helpers.test_clock": "clock",
    "event": "evt", "webhook_endpoint": "we", "setup_intent": "seti", "invoice_payment": "inpay",
    "customer_balance_transaction": "cbtxn",
}  # fmt: skip


class World:
    """All things by kind and id. `wall` (Unix seconds) stands still when set; test clocks have times of their own."""

    def __init__(self) -> None:
        self.things: dict[str, dict[str, Thing]] = {kind: {} for kind in _KINDS}
        self.wall: int | None = None
        self.events: list[Thing] = []
        self.request_key: str | None = None
        self._passing: int | None = None
        self._numbers = itertools.count(1)

    # -- things --

    def add(self, kind: str, thing: Thing, *, key: str = "") -> Thing:
        found = {
            "id": key or f"{_KINDS[kind]}_{next(self._numbers):08d}fake",
            "object": kind,
            "livemode": False,
            **thing,
        }
        self.things[kind][found["id"]] = found
        return found

    def get(self, kind: str, key: Any) -> Thing:
        found = self.things[kind].get(key) if isinstance(key, str) else None
        if found is None or found.get("deleted"):
            raise missing(kind, str(key))
        return found

    def all(self, kind: str, **wanted: Any) -> Iterator[Thing]:
        """Oldest first."""
        for thing in list(self.things[kind].values()):
            if not thing.get("deleted") and all(thing.get(name) == value for name, value in wanted.items()):
                yield thing

    # -- time --

    def now(self, customer: str | None = None) -> int:
        clock = self.things["customer"][customer].get("test_clock") if customer else None
        if clock:
            frozen: int = self.things["test_helpers.test_clock"][clock]["frozen_time"]
            return frozen
        return self._passing or self.wall or int(wall_clock.now().timestamp())

    def pass_through(self, at: int | None) -> None:
        """It is `at` for customers without a test clock while something is done there; None: it is now again."""
        self._passing = at

    # -- news --

    def tell(self, kind: str, thing: Thing, *, at: int | None = None) -> None:
        """Write an event down; it is delivered when a test says so."""
        customer = thing.get("customer") if thing["object"] != "customer" else thing["id"]
        event = {
            "id": f"evt_{next(self._numbers):08d}fake",
            "object": "event",
            "api_version": "2026-10-28.endive",
            "created": at if at is not None else self.now(customer if isinstance(customer, str) else None),
            "type": kind,
            "livemode": False,
            "pending_webhooks": 1,
            "request": {"id": "req_fake" if self.request_key else None, "idempotency_key": self.request_key},
            "data": {"object": copy.deepcopy(thing)},
        }
        self.events.append({"event": event, "delivered": False, "attempts": 0})

    def heard(self, kind: str, key: str) -> bool:
        """Whether every event of that kind about that thing was taken by the endpoint."""
        return all(
            row["delivered"]
            for row in self.events
            if row["event"]["type"] == kind and row["event"]["data"]["object"]["id"] == key
        )


def expect_currency(customer: Thing, currency: str) -> None:
    """One currency per customer, once there was one."""
    if customer["currency"] not in (None, currency):
        raise Refused(
            f"You cannot combine currencies on a single customer. This customer has had {customer['currency']}.",
            param="currency",
        )
    customer["currency"] = currency
