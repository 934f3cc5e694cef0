"""Random lives of a paying customer, over HTTP, beside a slow model of what it owes.

    MONEY_SEED=7 MONEY_STEPS=500 pytest tests/domain/test_money_model.py

runs one life again, or a longer one. After every step the invoices sum to what was held, second by second, to half a
cent a line; every preview was the invoice that followed; every scope holds the plans the model says, one in a group.
"""

import os
import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from django.db.models import Sum

from billing.models import Invoice, InvoiceLine, SandboxInvoice, Subscription
from billing.services import audit
from tests.client import Api
from tests.domain.money import Ledger
from tests.effort import tries
from tests.selling import CUSTOMER, Shop, monthly, plan_state, prepaid, seats

START = datetime(2027, 1, 31, 8, 30, tzinfo=UTC)
STEPS = int(os.environ.get("MONEY_STEPS", tries(20, 300)))
SEEDS = [int(os.environ["MONEY_SEED"])] if "MONEY_SEED" in os.environ else [1, 2, 3]
HALF_A_CENT = Fraction(1, 200)
MAIN = {"free": Fraction(0), "pro": Fraction(20), "premium": Fraction(50), "ultra": Fraction(99)}
NOW, END, BACK = "cancel_immediately", "cancel_end_of_cycle", "uncancel"


def packs(quantity: int) -> dict[str, Any]:
    return {"feature_quantities": [{"feature_id": "words", "quantity": quantity}]}


def shop_of(api: Api) -> Shop:
    shop = Shop(api)
    for plan, price in MAIN.items():
        shop.plan(plan, int(price) or None, monthly("messages", 100))
    shop.plan("pack", 7, prepaid("words", 0, 10, 100, reset={"interval": "month"}), group="pack")
    shop.plan("team", 19, seats(0, 13, "prorate_immediately", "prorate_immediately"), group="team")
    shop.opens(START.isoformat().removesuffix("+00:00"))
    return shop


class Life:
    """One customer in both worlds, doing the same things."""

    def __init__(self, api: Api, seed: int) -> None:
        self.random, self.shop = random.Random(seed), shop_of(api)
        self.model = Ledger(START, MAIN)
        self.people: list[str] = []
        self.joined = 0
        self.log: list[str] = []

    def step(self) -> None:
        kinds = {
            self.turn: 5,
            self.attach: 6,
            self.cancel: 3,
            self.buy_packs: 4,
            self.take_team: 2,
            self.join: 3,
            self.leave: 1,
        }
        (kind,) = self.random.choices(list(kinds), list(kinds.values()))
        kind()

    def turn(self) -> None:
        days = self.random.choice([0, 0, 1, 5, 12, 30, 75])
        to = self.model.now + timedelta(days=days, seconds=self.random.randrange(86_400))
        self.note(f"turn to {to}")
        self.shop.on(to.isoformat().removesuffix("+00:00"))
        self.model.turn(to)

    def attach(self) -> None:
        scope, plan = self.scope(), self.random.choice(list(MAIN))
        held = self.model.held.get((scope, "main"))
        self.note(f"attach {plan} to {scope or 'the customer'}")
        if held is not None and held.plan == plan:
            body = {"customer_id": CUSTOMER, "plan_id": plan, "entity_id": scope or None}
            self.shop.api.refused(409, "billing.attach", **body)
            return
        self.shop.buys(plan, scope or None)
        if held is not None and held.stretch is not None and MAIN[plan] < MAIN[held.plan]:
            held.ends, held.then = self.model.next_month, plan
        else:
            self.model.start((scope, "main"), plan, MAIN[plan])

    def cancel(self) -> None:
        paid = sorted(place for place, held in self.model.held.items() if held.stretch is not None)
        if not paid:
            return
        place = self.random.choice(paid)
        held, action = self.model.held[place], self.random.choice([NOW, END, BACK])
        self.note(f"{action} {held.plan} of {place[0] or 'the customer'}")
        self.shop.changes(held.plan, place[0] or None, cancel_action=action)
        if action == NOW:
            self.model.stop(place)
        else:
            held.ends, held.then = (self.model.next_month if action == END else None), None

    def buy_packs(self) -> None:
        place, quantity = (self.scope(), "pack"), self.random.randrange(0, 900, 50)
        price = 7 + 10 * Fraction(-(-quantity // 100))
        self.note(f"{quantity} packs for {place[0] or 'the customer'}")
        held = self.model.held.get(place)
        if held is None:
            self.shop.buys("pack", place[0] or None, **packs(quantity))
            self.model.start(place, "pack", price)
        else:
            self.shop.changes("pack", place[0] or None, **packs(quantity))
            self.model.reprice(place, price)

    def take_team(self) -> None:
        if ("", "team") in self.model.held:
            return
        self.note("take the team plan")
        self.shop.buys("team")
        self.model.start(("", "team"), "team", self.team_price)

    def join(self) -> None:
        self.joined += 1
        self.people.append(f"p{self.joined}")
        self.note(f"{self.people[-1]} joins")
        self.shop.joins(self.people[-1])
        self.recount()

    def leave(self) -> None:
        if not self.people:
            return
        who = self.people.pop(self.random.randrange(len(self.people)))
        self.note(f"{who} leaves")
        self.shop.leaves(who)
        for place in [place for place in self.model.held if place[0] == who]:
            self.model.stop(place, keeps_the_rest=True)
        self.recount()

    def recount(self) -> None:
        if ("", "team") in self.model.held:
            self.model.reprice(("", "team"), self.team_price)

    @property
    def team_price(self) -> Fraction:
        return Fraction(19 + 13 * len(self.people))

    def scope(self) -> str:
        return self.random.choice(["", *self.people])

    def note(self, what: str) -> None:
        self.log.append(f"{self.model.now} {what}")

    # -- comparing --

    def compare(self) -> None:
        story = "\n".join(self.log)
        lines = InvoiceLine.objects.count()
        shown = self.shop.customer("invoices")
        invoiced = Fraction(sum(Decimal(invoice["total"]) for invoice in shown["invoices"]))
        assert abs(invoiced - self.model.owed) <= HALF_A_CENT * lines, f"{story}\n{invoiced} {float(self.model.owed)}"
        expected: dict[str, dict[str, str]] = {scope: {} for scope in ["", *self.people]}
        for (scope, _), held in self.model.held.items():
            expected[scope][held.plan] = "canceling" if held.ends else "active"
            if held.then:
                expected[scope][held.then] = "scheduled"
        found: dict[str, dict[str, str]] = {scope: {} for scope in expected}
        for row in shown["subscriptions"]:
            found[row["entity_id"] or ""][row["plan_id"]] = plan_state(row)
        assert found == expected, story
        someone = self.scope()
        assert self.shop.plans(someone or None) == expected[someone], f"{story}\n{someone}"

    def close(self) -> None:
        numbers = Invoice.objects.exclude(number="").order_by("pk").values_list("number", flat=True)
        assert [int(number) for number in numbers] == list(range(1, len(numbers) + 1))
        taken = SandboxInvoice.objects.filter(status="paid").aggregate(sum=Sum("total"))["sum"]
        assert taken == sum(self.shop.invoices())
        assert not [found for progress in audit.prove() for found in progress.found]
        places = Subscription.objects.live().filter(is_add_on=False, is_one_off=False).values_list("entity", "group")
        assert len(places) == len(set(places))


@pytest.mark.parametrize("seed", SEEDS)
def test_invoices_sum_to_what_was_held_second_by_second(api: Api, seed: int) -> None:
    life = Life(api, seed)
    for _ in range(STEPS):
        life.step()
        life.compare()
    life.close()


@pytest.mark.parametrize("seed", SEEDS)
def test_attaching_and_canceling_in_one_instant_nets_to_nothing(api: Api, seed: int) -> None:
    shop, chance, now = shop_of(api), random.Random(seed), START
    shop.joins("a")
    shop.buys("ultra", "a")  # whose months are joined in their middle
    for _ in range(5):
        now += timedelta(seconds=chance.randrange(86_400 * 5))
        shop.on(now.isoformat().removesuffix("+00:00"))
        plan, more = chance.choice([("pro", {}), ("premium", {}), ("pack", packs(chance.randrange(900))), ("team", {})])
        cost = shop.buys(plan, **more)
        assert shop.changes(plan, cancel_action=NOW) == -cost < 0
    assert sum(shop.invoices()) % 99 == 0  # nothing but the months of what stayed
