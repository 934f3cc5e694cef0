"""Prepaid quantities: bought inclusive of what is included, changed in whole packs."""

from decimal import Decimal
from typing import Any

import pytest

from tests.client import Api
from tests.selling import CUSTOMER, Shop, monthly, prepaid

D = Decimal
RESET = {"interval": "month"}


def packs(quantity: int) -> dict[str, Any]:
    return {"feature_quantities": [{"feature_id": "messages", "quantity": quantity}]}


@pytest.fixture(scope="module")
def opened(stage: Api) -> Shop:
    shop = Shop(stage)
    shop.plan("pack", 20, prepaid("messages", 100, 10, 100, reset=RESET))
    return shop


def test_more_packs_are_charged_for_the_rest_of_the_cycle_and_granted_at_once(shop: Shop) -> None:
    shop.opens("2026-04-01", "a", "b")
    assert shop.buys("pack", "a", **packs(300)) == 40
    assert shop.buys("pack", "b", **packs(300)) == 40
    shop.uses("messages", 120, "a")
    shop.on("2026-04-16")
    assert shop.changes("pack", "a", **packs(700)) == 20
    assert (shop.left("messages", "a"), shop.left("messages", "b")) == (580, 300)
    shop.on("2026-05-02")
    assert sorted(shop.invoices()[:2]) == [40, 80]
    assert shop.left("messages", "a") == 700


def test_fewer_packs_are_credited_for_the_rest_of_the_cycle(shop: Shop) -> None:
    shop.opens("2026-04-01", "a", "b")
    shop.buys("pack", "a", **packs(500))
    shop.buys("pack", "b", **packs(200))
    shop.on("2026-04-21")
    assert shop.changes("pack", "a", **packs(200)) == -10
    assert (shop.left("messages", "a"), shop.left("messages", "b")) == (200, 200)
    assert shop.changes("pack", "b", **packs(500)) == 10
    shop.on("2026-05-02")
    assert sorted(shop.invoices()[:2]) == [30, 60]


def test_what_is_used_already_stays_used_when_packs_are_given_back(shop: Shop) -> None:
    shop.opens("2026-04-01")
    shop.buys("pack", **packs(500))
    shop.uses("messages", 450)
    shop.changes("pack", **packs(200))
    balance = shop.customer()["balances"]["messages"]
    assert (balance["granted"], balance["usage"], balance["remaining"]) == (200, 450, 0)


def test_a_quantity_is_rounded_up_to_whole_packs(shop: Shop) -> None:
    shop.opens("2026-04-01")
    assert shop.buys("pack", **packs(101)) == 30
    assert shop.left("messages") == 200
    assert shop.changes("pack", **packs(150)) == 0
    assert shop.left("messages") == 200
    assert shop.changes("pack", **packs(201)) == 10


def test_a_quantity_that_is_the_same_leaves_no_invoice(shop: Shop) -> None:
    shop.opens("2026-04-01")
    shop.buys("pack", **packs(300))
    assert shop.changes("pack", **packs(300)) == 0
    assert shop.invoices() == [40]


def test_below_the_included_nothing_is_bought(shop: Shop) -> None:
    shop.opens("2026-04-01")
    assert shop.buys("pack", **packs(0)) == 20
    assert shop.left("messages") == 100


def test_up_and_down_again_in_one_instant_nets_to_nothing(shop: Shop) -> None:
    shop.opens("2026-04-01")
    shop.buys("pack", **packs(300))
    shop.on("2026-04-13T07:33:21")
    up = shop.changes("pack", **packs(900))
    down = shop.changes("pack", **packs(300))
    assert up == -down > 0


def test_a_changed_quantity_is_what_canceling_credits(shop: Shop) -> None:
    shop.opens("2026-04-01", "a")
    shop.buys("pack", "a", **packs(300))
    shop.on("2026-04-11")
    assert shop.changes("pack", "a", **packs(600)) == 20
    shop.on("2026-04-21")
    assert shop.changes("pack", "a", cancel_action="cancel_immediately") == D(
        "-23.34"
    )  # 6.67 of the base price, 16.67 of the packs


def test_a_successor_survives_a_changed_quantity(shop: Shop) -> None:
    shop.plan("less", 5, monthly("messages", 10))
    shop.opens("2026-04-01", "a")
    shop.buys("pack", "a", **packs(300))
    shop.buys("less", "a")
    shop.on("2026-04-16")
    assert shop.changes("pack", "a", **packs(500)) == 10
    assert shop.plans("a") == {"pack": "canceling", "less": "scheduled"}
    shop.on("2026-05-02")
    assert shop.plans("a") == {"less": "active"}
    assert shop.invoices()[0] == 5


def test_graduated_packs_are_charged_by_the_difference_of_their_tiers(shop: Shop) -> None:
    tiers = [{"to": 500, "amount": 0.1}, {"to": "inf", "amount": 0.05}]
    price = {"tiers": tiers, "interval": "month", "billing_method": "prepaid", "tier_behavior": "graduated"}
    shop.plan("tiered", None, {**monthly("messages", 0), "price": price}, group="t")
    shop.opens("2026-04-01", "a")
    assert shop.buys("tiered", "a", **packs(400)) == 40
    shop.on("2026-04-16")
    assert shop.changes("tiered", "a", **packs(800)) == D("12.50")  # (50 + 15 - 40) / 2


@pytest.mark.parametrize("tracked", [0, 250])
def test_packs_refill_at_the_renewal_with_what_was_bought(shop: Shop, tracked: int) -> None:
    shop.opens("2026-04-01")
    shop.buys("pack", **packs(300))
    if tracked:
        shop.uses("messages", tracked)
    shop.on("2026-05-02")
    assert shop.left("messages") == 300
    assert shop.invoices() == [40, 40]


@pytest.mark.parametrize(
    ("plan", "body", "status"),
    [
        ("pack", {"feature_quantities": [{"feature_id": "words", "quantity": 1}]}, 400),
        ("pack", {"feature_quantities": [{"feature_id": "messages", "quantity": -5}]}, 400),
        ("pack", {"feature_quantities": []}, 400),
        ("topup", packs(200), 400),
        ("later", packs(200), 400),
        ("pack", {"feature_quantities": [{"feature_id": "messages", "quantity": 100_000}]}, 400),
    ],
)
def test_what_makes_no_sense_is_refused(shop: Shop, plan: str, body: Any, status: int) -> None:
    shop.plan("topup", 5, prepaid("messages", 0, 10, 100, "one_off"), every="one_off")
    limited = prepaid("messages", 0, 10, 100, reset=RESET)
    limited["price"]["max_purchase"] = 500
    shop.plan("pack2", 10, limited, group="p2")
    shop.plan("later", 10, prepaid("messages", 0, 1, 100, reset=RESET))
    shop.opens("2026-04-01")
    shop.buys("pack", **packs(300))
    shop.buys("topup", **packs(100))
    shop.buys("pack2")
    shop.buys("later")
    named = "pack2" if body["feature_quantities"][:1] == [{"feature_id": "messages", "quantity": 100_000}] else plan
    shop.api.refused(status, "billing.update", customer_id=CUSTOMER, plan_id=named, **body)
    shop.api.refused(status, "billing.preview_update", customer_id=CUSTOMER, plan_id=named, **body)
