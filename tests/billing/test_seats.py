"""Seats that are invoiced when they change, and seats that are billed for the cycle that ends (spec billing 9)."""

from decimal import Decimal
from typing import Any

import pytest

from tests.client import Api
from tests.selling import CUSTOMER, Shop, monthly, seats

D = Decimal
BOTH = ("prorate_immediately", "prorate_immediately")
KEPT = ("prorate_immediately", "none")
NEXT = ("prorate_next_cycle", "prorate_next_cycle")


@pytest.fixture(scope="module")
def opened(stage: Api) -> Shop:
    return Shop(stage)


def used(shop: Shop) -> Any:
    return Decimal(shop.customer()["balances"]["seats"]["usage"])


def at_processor(shop: Shop) -> Any:
    items = [item for row in shop.processor() for item in row["items"] if item["feature_id"] == "seats"]
    return Decimal(items[0]["quantity"]) if items else None


def test_with_settings_a_seat_is_invoiced_for_the_rest_of_the_cycle(shop: Shop) -> None:
    shop.plan("team", 20, seats(1, 50, *BOTH))
    shop.opens("2026-04-01", "ada")
    assert shop.buys("team") == 20
    shop.on("2026-04-15")
    shop.joins("bob")
    shop.joins("cleo")
    assert shop.invoices() == [D("26.67"), D("26.67"), 20]
    assert at_processor(shop) == 3
    shop.on("2026-04-22")
    shop.leaves("bob")
    assert shop.invoices()[0] == -15
    assert at_processor(shop) == used(shop) == 2
    shop.on("2026-05-02")
    assert shop.invoices()[0] == 70


def test_a_seat_can_be_charged_whole(shop: Shop) -> None:
    shop.plan("team", 20, seats(1, 50, "bill_immediately", "none"))
    shop.opens("2026-04-01", "ada")
    shop.buys("team")
    shop.on("2026-04-25")
    shop.joins("bob")
    assert shop.invoices() == [50, 20]
    shop.on("2026-05-02")
    assert shop.invoices()[0] == 70


def test_included_seats_cost_nothing(shop: Shop) -> None:
    shop.plan("team", 20, seats(3, 50, *BOTH))
    shop.opens("2026-04-01", "ada")
    shop.buys("team")
    shop.joins("bob")
    shop.joins("cleo")
    assert shop.invoices() == [20]
    assert at_processor(shop) == 3
    shop.leaves("bob")
    assert shop.invoices() == [20]


def test_people_who_are_there_are_charged_with_the_plan(shop: Shop) -> None:
    shop.plan("team", 20, seats(1, 50, *BOTH))
    shop.opens("2026-04-01", "ada", "bob", "cleo")
    assert shop.buys("team") == 120
    assert used(shop) == 3


def test_through_a_checkout_page_people_are_charged_as_well(shop: Shop) -> None:
    shop.plan("team", 20, seats(1, 50, *BOTH))
    shop.opens("2026-04-01", "ada", "bob", "cleo", card=None)
    assert shop.attach("team")["payment_url"]
    shop.api.post("sandbox.complete_checkout", customer_id=CUSTOMER)
    assert shop.invoices() == [120]
    assert at_processor(shop) == 3


def test_a_vacated_seat_is_kept_until_the_renewal_and_taken_for_nothing(shop: Shop) -> None:
    shop.plan("team", 20, seats(0, 50, *KEPT))
    shop.opens("2026-04-01", "ada", "bob")
    assert shop.buys("team") == 120
    shop.on("2026-04-10")
    shop.leaves("bob")
    assert (used(shop), at_processor(shop)) == (2, 1)
    shop.joins("cleo")
    assert (used(shop), at_processor(shop)) == (2, 2)
    assert shop.invoices() == [120]
    shop.leaves("cleo")
    shop.on("2026-05-02")
    assert (used(shop), at_processor(shop)) == (1, 1)
    assert shop.invoices() == [70, 120]
    shop.on("2026-05-16T12:00:00")
    shop.joins("dan")
    assert shop.invoices()[0] == 25


def test_more_newcomers_than_vacated_seats_pay_for_the_others(shop: Shop) -> None:
    shop.plan("team", 20, seats(0, 50, *KEPT))
    shop.opens("2026-04-01", "ada", "bob")
    shop.buys("team")
    shop.on("2026-04-16")
    shop.leaves("bob")
    shop.joins("cleo")
    shop.joins("dan")
    assert shop.invoices() == [25, 120]


def test_changes_before_the_next_invoice_net_out(shop: Shop) -> None:
    shop.plan("team", 20, seats(0, 30, *NEXT))
    shop.opens("2026-04-01", "ada")
    assert shop.buys("team") == 50
    shop.on("2026-04-16")
    shop.joins("bob")
    shop.joins("cleo")
    shop.leaves("bob")
    assert shop.invoices() == [50]
    shop.on("2026-05-02")
    assert shop.invoices() == [95, 50]  # 20 + 2 * 30, and 15 for half of April


def test_a_seat_can_be_free_until_the_renewal(shop: Shop) -> None:
    shop.plan("team", 20, seats(0, 30, "bill_next_cycle", "none"))
    shop.opens("2026-04-01", "ada")
    shop.buys("team")
    shop.on("2026-04-16")
    shop.joins("bob")
    assert shop.invoices() == [50]
    shop.on("2026-05-02")
    assert shop.invoices() == [80, 50]


def test_without_settings_seats_held_at_the_end_are_billed_for_the_cycle(shop: Shop) -> None:
    shop.plan("team", 30, seats(1, 30))
    shop.opens("2026-04-01", "ada")
    assert shop.buys("team") == 30
    for name in ("bob", "cleo", "dan", "eve"):
        shop.joins(name)
    shop.leaves("eve")
    assert shop.invoices() == [30]
    shop.on("2026-05-02")
    assert shop.invoices() == [120, 30]
    balance = shop.customer()["balances"]["seats"]
    assert (balance["usage"], balance["next_reset_at"]) == (4, None)


def test_seats_in_arrears_cost_nothing_at_a_switch(shop: Shop) -> None:
    shop.plan("small", 30, seats(1, 10))
    shop.plan("large", 60, seats(1, 20))
    shop.opens("2026-04-01", "ada", "bob", "cleo")
    assert shop.buys("small") == 30
    shop.on("2026-04-16")
    assert shop.buys("large") == 15
    shop.on("2026-05-02")
    assert shop.invoices()[0] == 100


def test_at_an_upgrade_invoiced_seats_are_credited_and_charged(shop: Shop) -> None:
    shop.plan("small", 20, seats(1, 10, *BOTH))
    shop.plan("large", 50, seats(1, 20, *BOTH))
    shop.opens("2026-04-01", "ada", "bob", "cleo")
    assert shop.buys("small") == 40
    shop.on("2026-04-16")
    assert shop.buys("large") == 25  # (50 + 40 - 20 - 20) / 2
    assert used(shop) == 3
    assert at_processor(shop) == 3


def test_an_upgrade_to_more_included_seats_leaves_nothing_to_pay_for_them(shop: Shop) -> None:
    shop.plan("small", 20, seats(1, 10, *BOTH))
    shop.plan("large", 50, seats(5, 10, *BOTH))
    shop.opens("2026-04-01", "ada", "bob", "cleo")
    shop.buys("small")
    assert shop.buys("large") == 10
    balance = shop.customer()["balances"]["seats"]
    assert (balance["granted"], balance["usage"], balance["remaining"]) == (5, 3, 2)


def test_nobody_joins_with_a_declined_card_and_the_next_try_with_a_good_one_does(shop: Shop) -> None:
    shop.plan("team", 20, seats(1, 50, *BOTH), monthly("messages", 100, per="seats"))
    shop.opens("2026-04-01", "ada")
    shop.buys("team")
    shop.card("declines")
    body = {"customer_id": CUSTOMER, "entity_id": "bob", "feature_id": "seats"}
    assert "declined" in shop.api.refused(402, "entities.create", **body)["message"]
    assert (used(shop), at_processor(shop), shop.left("messages")) == (1, 1, 100)
    assert len([i for i in shop.customer("invoices")["invoices"] if i["status"] != "void"]) == 1
    shop.card("success")
    shop.joins("bob")
    assert (used(shop), at_processor(shop), shop.left("messages")) == (2, 2, 200)
    assert shop.invoices()[0] == 50


def test_tracked_seats_are_invoiced_like_people(shop: Shop) -> None:
    shop.plan("team", 20, seats(1, 50, *BOTH))
    shop.opens("2026-04-01")
    shop.buys("team")
    shop.on("2026-04-16")
    shop.uses("seats", 3)
    assert shop.invoices() == [50, 20]
    shop.uses("seats", -1)
    assert shop.invoices() == [-25, 50, 20]
    assert at_processor(shop) == 2
    shop.card("declines")
    shop.api.refused(402, "balances.track", customer_id=CUSTOMER, feature_id="seats", value=3)
    assert used(shop) == 2


def test_the_most_that_can_be_bought_is_the_limit(shop: Shop) -> None:
    item = seats(1, 10, *BOTH)
    item["price"]["max_purchase"] = 2
    shop.plan("team", 30, item)
    shop.opens("2026-04-01", "ada", "bob", "cleo")
    shop.buys("team")
    body = {"customer_id": CUSTOMER, "entity_id": "dan", "feature_id": "seats"}
    assert shop.api.refused(400, "entities.create", **body)["code"] == "feature_limit_reached"
    shop.leaves("cleo")
    shop.joins("dan")
    assert used(shop) == 3


def test_graduated_seats_cost_what_their_band_says(shop: Shop) -> None:
    item = seats(0, 0, *BOTH)
    del item["price"]["amount"]
    item["price"] |= {"tiers": [{"to": 2, "amount": 10}, {"to": "inf", "amount": 4}], "tier_behavior": "graduated"}
    shop.plan("team", 20, item)
    shop.opens("2026-04-01", "ada")
    assert shop.buys("team") == 30
    shop.on("2026-04-16")
    shop.joins("bob")
    shop.joins("cleo")
    assert shop.invoices()[:2] == [2, 5]
    shop.leaves("ada")
    assert shop.invoices()[0] == -2


def test_seats_of_two_plans_are_on_one_invoice(shop: Shop) -> None:
    shop.plan("team", 20, seats(0, 10, *BOTH))
    shop.plan("pass", 5, seats(0, 2, *BOTH), add_on=True)
    shop.opens("2026-04-01", "ada")
    assert shop.buys("team") == 30
    assert shop.buys("pass") == 7
    shop.on("2026-04-16")
    shop.joins("bob")
    assert shop.invoices()[0] == 6
    shop.on("2026-05-02")
    assert shop.invoices()[0] == 49


def test_a_workspace_pays_for_standing_units_of_its_own(shop: Shop) -> None:
    shop.api.post("features.create", feature_id="flows", name="Flows", type="metered", consumable=False)
    item = {**seats(1, 10, *BOTH), "feature_id": "flows"}
    shop.plan("space", 20, item)
    shop.opens("2026-04-01", "a", "b")
    shop.buys("space", "a")
    shop.buys("space", "b")
    shop.on("2026-04-16")
    shop.uses("flows", 3, "a")
    assert shop.invoices()[0] == 10
    assert shop.left("flows", "b") == 1
    shop.on("2026-05-02")
    assert sorted(shop.invoices()[:2]) == [20, 40]
