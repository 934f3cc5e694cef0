"""Every operation with faults at every call: asked again, it ends as if nothing had gone wrong.

Each call of an operation is hit by one fault, the faults in turn; by all of them when tests try hard (tests/effort.py).
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from billing.models import Operation
from billing.services.collection import reconciliation
from config import clock
from entities.models import Customer
from tests.billing.mortality import again
from tests.client import Api
from tests.effort import tries
from tests.processors.fake_stripe import FakeStripe, Fault
from tests.selling import Shop, ms

type Endpoint = Callable[[bytes, str], int]
type Act = Callable[["Buyer"], tuple[str, dict[str, Any]]]


class Buyer:
    """Acme, with Stripe collecting."""

    name = "acme"

    def __init__(self, api: Api, fake: FakeStripe) -> None:
        self.api, self.fake = api, fake

    def does(self, path: str, **body: Any) -> int:
        response = self.api.send(path, {"customer_id": self.name, **body})
        return int(response.status_code)

    def opens(self, card: str | None = "success") -> None:
        self.does("sandbox.set_clock", now=ms("2027-04-01"))
        self.does("sandbox.set_payment_method", payment_method=card)
        for entity in ("a", "b"):
            self.does("entities.create", entity_id=entity, feature_id="seats")

    def later(self, day: str = "2027-04-16") -> None:
        self.does("sandbox.set_clock", now=ms(day))

    def state(self) -> dict[str, Any]:
        """What the customer sees, and what the cards were charged."""
        shown = self.api.post("customers.get", customer_id=self.name, expand=["invoices"])
        entities = self.api.post("entities.list", customer_id=self.name)["list"]
        row = Customer.objects.get(external_id=self.name)
        return {
            "plans": sorted(
                (plan["plan_id"], plan["entity_id"] or "", plan["status"], bool(plan["canceled_at"]), plan["past_due"])
                for plan in shown["subscriptions"]
            ),
            "invoices": [(invoice["total"], invoice["status"]) for invoice in shown["invoices"]],
            "left": sorted((key, value["remaining"], value["usage"]) for key, value in shown["balances"].items()),
            "entities": sorted(entity["id"] for entity in entities),
            "charged": Decimal(self.fake.paid(row.processor_id)) / 100,
            "credit": self.fake.world.get("customer", row.processor_id)["balance"],
        }


@dataclass(frozen=True)
class Case:
    """What was there before, and the call that goes wrong."""

    name: str
    before: Callable[[Buyer], None]
    path: str
    body: dict[str, Any]


def _nothing(buyer: Buyer) -> None:
    buyer.opens()


def _holds(plan: str, **body: Any) -> Callable[[Buyer], None]:
    def before(buyer: Buyer) -> None:
        buyer.opens()
        assert buyer.does("billing.attach", plan_id=plan, **body) == 200
        buyer.does("balances.track", feature_id="words", value=155)
        buyer.later()

    return before


def _canceled(buyer: Buyer) -> None:
    _holds("pro")(buyer)
    assert buyer.does("billing.update", **_CANCEL, cancel_action="cancel_end_of_cycle") == 200


def _packs(number: int) -> dict[str, Any]:
    return {"feature_quantities": [{"feature_id": "messages", "quantity": number}]}


_CANCEL = {"plan_id": "pro"}
_REFUND = {"cancel_action": "cancel_immediately", "refund_last_payment": "full"}
CASES = [
    Case("attach the first plan", _nothing, "billing.attach", {"plan_id": "pro"}),
    Case("attach to an entity in mid-cycle", _holds("pro"), "billing.attach", {"plan_id": "pro", "entity_id": "a"}),
    Case("upgrade", _holds("pro"), "billing.attach", {"plan_id": "premium"}),
    Case("downgrade at the end", _holds("premium"), "billing.attach", {"plan_id": "pro"}),
    Case("another interval", _holds("pro"), "billing.attach", {"plan_id": "yearly"}),
    Case("cancel at the end", _holds("pro"), "billing.update", _CANCEL | {"cancel_action": "cancel_end_of_cycle"}),
    Case("cancel now for credit", _holds("pro"), "billing.update", _CANCEL | {"cancel_action": "cancel_immediately"}),
    Case("cancel now for a refund", _holds("pro"), "billing.update", _CANCEL | _REFUND),
    Case("buy more in advance", _holds("packs", **_packs(100)), "billing.update", {"plan_id": "packs"} | _packs(300)),
    Case("add a seat", _holds("team"), "entities.create", {"entity_id": "c", "feature_id": "seats"}),
    Case("give a seat back", _holds("team"), "entities.delete", {"entity_id": "b"}),
    Case("renew with overage", _holds("pro"), "sandbox.set_clock", {"now": ms("2027-05-02")}),
    Case("renew after a downgrade", _holds("premium"), "sandbox.set_clock", {"now": ms("2027-05-02")}),
]  # fmt: skip
# Few calls, or much like another's.
CASES += [
    Case("take a cancellation back", _canceled, "billing.update", _CANCEL | {"cancel_action": "uncancel"}),
    Case("buy less in advance", _holds("packs", **_packs(300)), "billing.update", {"plan_id": "packs"} | _packs(100)),
][: tries(0, 2)]
# (fault, how often in a row): the SDK itself tries three times.
FAULTS = [
    (Fault.LOST_REPLY, 1),
    (Fault.LOST_REPLY, 3),
    (Fault.TIMEOUT, 3),
    (Fault.RATE_LIMIT, 3),
    (Fault.LOCKED, 3),
    (Fault.SERVER_ERROR, 3),
    (Fault.STICKY_SERVER_ERROR, 3),
]


TURNS = range(tries(1, len(FAULTS)))


@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_asked_again_it_ends_as_if_nothing_had_gone_wrong(
    shop: Shop, fake: FakeStripe, endpoint: Endpoint, case: Case, turn: int
) -> None:
    buyer = Buyer(shop.api, fake)
    case.before(buyer)
    fake.webhooks.drop()  # the events of setting up are the matter of other tests
    with again(), fake.again():
        assert buyer.does(case.path, **case.body) == 200
        expected = buyer.state()
    for place in range(60):
        fault, times = FAULTS[(CASES.index(case) + place + turn) % len(FAULTS)]
        with again(), fake.again():
            fake.faults.struck.clear()
            fake.faults.order(fault, times=times, skip=place)
            first = buyer.does(case.path, **case.body)
            fake.faults.clear()
            if not fake.faults.struck:
                assert place > 1, "no call was hit"
                return
            where = f"{fault} ×{times} at call {place}: {fake.faults.struck[0][1]}"
            assert first in (200, 402, 409, 503), where
            _ask_again(buyer, case, endpoint, where)
            assert buyer.state() == expected, where
            if os.environ.get("FAULT_TABLE"):
                with Path(os.environ["FAULT_TABLE"]).open("a") as table:
                    table.write(f"{case.name}\t{where}\t{first}\tas without\n")
    raise AssertionError("more calls than expected")


def _ask_again(buyer: Buyer, case: Case, endpoint: Endpoint, where: str) -> None:
    """What comes after a fault: the client asks again, cron comes by, webhooks arrive; then both books agree."""
    buyer.fake.forget_keys()  # at the latest a day after
    for _ in range(3):
        status = buyer.does(case.path, **case.body)
        if status < 500:
            break
    assert status < 500, where
    call_command("run_due", stdout=StringIO())  # a deletion done already is not found again: cron gives the credit
    buyer.fake.webhooks.deliver(endpoint)
    row = Customer.objects.get(external_id=buyer.name)
    assert not Operation.objects.filter(customer=row, status="pending").exists(), where
    assert [str(found) for found in reconciliation.compare(row, at=clock.now())] == [], where
