"""A long while of dealings with things going wrong at random: in the end both books agree and everybody paid once."""

import random
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db.models import F, Sum

from billing.models import Invoice, InvoiceLine, Operation, Subscription
from billing.services.collection import processor_events, reconciliation
from config import clock
from entities.models import Customer
from tests.effort import tries
from tests.processors.fake_stripe import FakeStripe, Fault
from tests.selling import CUSTOMER, Shop

type Endpoint = Callable[[bytes, str], int]

PLANS = ["pro", "premium", "yearly", "metered", "team"]
FAULTS = [fault for fault in Fault if fault not in (Fault.FORBIDDEN, Fault.UNAUTHORIZED)]


class Life:
    """One customer's dealings, drawn from a seed."""

    def __init__(self, shop: Shop, fake: FakeStripe, endpoint: Endpoint, seed: int) -> None:
        self.shop, self.fake, self.endpoint = shop, fake, endpoint
        self.dice = random.Random(seed)
        self.now = datetime(2027, 1, 31, 10, 20, 30, tzinfo=UTC)
        self.told: list[str] = []
        shop.api.post("sandbox.set_clock", customer_id=CUSTOMER, now=int(self.now.timestamp() * 1000))
        shop.card("success")
        for entity in ("a", "b"):
            shop.joins(entity)

    def call(self, path: str, **body: Any) -> int:
        response = self.shop.api.send(path, {"customer_id": CUSTOMER, **body})
        status = int(response.status_code)
        self.told.append(f"{path} {body} -> {status}")
        assert status != 500, "\n".join(self.told)
        return status

    def scope(self) -> str | None:
        return self.dice.choice([None, "a", "b"])

    def step(self) -> None:
        if self.dice.random() < 0.3:
            fault, skip = self.dice.choice(FAULTS), self.dice.randrange(12)
            self.fake.faults.order(fault, times=self.dice.choice([1, 3]), skip=skip)
            self.told.append(f"{fault} after {skip} calls")
        act = self.dice.choice(
            [self.attach, self.attach, self.update, self.use, self.entity, self.wait, self.wait, self.card, self.hear]
        )
        act()
        if self.dice.random() < 0.5:
            self.fake.faults.clear()

    def attach(self) -> None:
        self.call("billing.attach", plan_id=self.dice.choice(PLANS), entity_id=self.scope())

    def update(self) -> None:
        action = self.dice.choice(["cancel_end_of_cycle", "cancel_immediately", "uncancel"])
        self.call("billing.update", plan_id=self.dice.choice(PLANS), entity_id=self.scope(), cancel_action=action)

    def use(self) -> None:
        self.call("balances.track", feature_id="words", value=self.dice.randrange(300), entity_id=self.scope())

    def entity(self) -> None:
        name = self.dice.choice(["a", "b", "c", "d"])
        path, more = self.dice.choice([("entities.create", {"feature_id": "seats"}), ("entities.delete", {})])
        self.call(path, entity_id=name, **more)

    def wait(self) -> None:
        self.now += timedelta(hours=self.dice.choice([1, 30, 24 * 9, 24 * 20]))
        self.call("sandbox.set_clock", now=int(self.now.timestamp() * 1000))

    def card(self) -> None:
        behavior = self.dice.choice(["success", "success", "declines", "requires_authentication"])
        self.call("sandbox.set_payment_method", payment_method=behavior)

    def hear(self) -> None:
        if self.dice.random() < 0.3:
            self.fake.webhooks.drop()
        self.fake.webhooks.deliver(self.endpoint, shuffled=self.dice, doubled=self.dice.random() < 0.5)

    def settle(self) -> None:
        """Everything works again, and a day passes at Stripe."""
        self.fake.faults.clear()
        self.fake.forget_keys()
        self.shop.card("success")
        for _ in range(2):
            self.call("sandbox.set_clock", now=int(self.now.timestamp() * 1000))
            self.fake.webhooks.deliver(self.endpoint)
            processor_events.sweep(at=clock.now())


@pytest.mark.parametrize("seed", range(tries(5, 50)))
def test_in_the_end_both_books_agree_and_everybody_paid_once(
    shop: Shop, fake: FakeStripe, endpoint: Endpoint, seed: int
) -> None:
    life = Life(shop, fake, endpoint, seed)
    for _ in range(25):
        life.step()
    life.settle()
    customer = Customer.objects.get(external_id=CUSTOMER)
    story = "\n".join(life.told)
    assert not Operation.objects.filter(status="pending").exists(), story
    assert [str(row) for row in reconciliation.compare(customer, at=clock.now())] == [], story
    assert_paid_once(customer, fake, story)
    assert_nothing_unpaid(customer, story)


def assert_paid_once(customer: Customer, fake: FakeStripe, story: str) -> None:
    """Cards were charged what our paid invoices say, and no invoice says the same thing twice."""
    paid = Invoice.objects.filter(customer=customer, status="paid", is_internal=False)
    billed = paid.aggregate(sum=Sum(F("total") - F("refunded")))["sum"] or Decimal(0)
    balance = Decimal(fake.world.get("customer", customer.processor_id)["balance"]) / 100
    assert Decimal(fake.paid(customer.processor_id)) / 100 == billed - balance, story
    lines = InvoiceLine.objects.filter(invoice__in=paid, is_credit=False, kind="base", subscription__isnull=False)
    said = Counter(lines.values_list("subscription", "period_start"))
    assert [line for line, times in said.items() if times > 1] == [], story


def assert_nothing_unpaid(customer: Customer, story: str) -> None:
    """Every live plan with a base price has its present cycle on an invoice; one that is open makes it past due."""
    at = customer.clock_at
    assert at is not None
    for row in Subscription.objects.filter(customer=customer, status__in=["active", "past_due"], price_amount__gt=0):
        cover = InvoiceLine.objects.filter(
            subscription=row, kind="base", is_credit=False, period_start__lte=at, period_end__gt=at
        ).select_related("invoice")
        assert cover, f"{row} has no invoice for now\n{story}"
        if any(line.invoice.status != "paid" for line in cover):
            assert row.status == "past_due", f"{row} is not paid for\n{story}"
